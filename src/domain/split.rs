//! Long text in parts: providers take only so much of it in one message.

use unicode_normalization::char::is_combining_mark;

use super::message::{Choices, Content, Media, MediaKind, Text};

/// How far back from the end of a part a character is looked for that may be parted from the one
/// before it. One that has more marks than this is torn.
const MARKS_MAX: usize = 64;

/// The longest texts that a provider takes, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLimits {
    /// Of a text message.
    pub text: usize,
    /// Of the text under an image, a video or a document.
    pub caption: usize,
}

impl TextLimits {
    /// What fits both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { text: self.text.min(other.text), caption: self.caption.min(other.caption) }
    }
}

/// Content as the messages that a provider takes, in order; the first is the content itself, but
/// for choices, which come last, so that the customer's next message may choose. What does not
/// fit below a file follows it as text.
#[must_use]
pub fn parts(content: Content, limits: TextLimits) -> Vec<Content> {
    match content {
        Content::Text { text } => split(&text.0, limits.text).into_iter().map(of_text).collect(),
        Content::Media(media) => of_media(media, limits),
        Content::Choices(it) => of_choices(it, limits.text),
        other => vec![other],
    }
}

/// What stands above the options goes before them in parts, and as much of its end as fits stays
/// with them. Where the options alone are too long, the last of them stay.
fn of_choices(it: Choices, chars_max: usize) -> Vec<Content> {
    if end_of(&it.text.0, chars_max).is_none() {
        return vec![Content::Choices(it)];
    }
    let Choices { text, prompt, header, footer, button, options, is_list } = it;
    let with = |prompt: &str| {
        let choices = Choices::new(prompt, options.clone(), is_list);
        Choices { button: button.clone(), ..choices.with_edges("", &footer.0) }
    };
    let above = [&header, &prompt].map(|it| it.0.trim()).join("\n\n");
    let n_below = with("").text.0.chars().count() + "\n\n".len();
    let (mut texts, choices) = match chars_max.checked_sub(n_below) {
        Some(room @ 1..) if !prompt.is_empty() => {
            let mut texts = split(above.trim(), chars_max);
            let mut last = split(texts.pop().unwrap_or_default(), room);
            let prompt = last.pop().unwrap_or_default();
            texts.append(&mut last);
            (texts, with(prompt))
        }
        _ => {
            let mut texts = split(&text.0, chars_max);
            let text = Text(texts.pop().unwrap_or_default().to_owned());
            (texts, Choices { text, options, is_list, ..Choices::default() })
        }
    };
    texts.retain(|it| !it.is_empty());
    texts.into_iter().map(of_text).chain([Content::Choices(choices)]).collect()
}

fn of_text(text: &str) -> Content {
    Content::text(text)
}

fn of_media(mut media: Media, limits: TextLimits) -> Vec<Content> {
    // Neither of these two has a text of its own on WhatsApp.
    let is_bare = matches!(media.kind, MediaKind::Audio | MediaKind::Sticker);
    let caption = media.caption.0.clone();
    let (first, rest) =
        if is_bare { ("", caption.trim()) } else { first_part(&caption, limits.caption) };
    media.caption = Text(first.to_owned());
    let rest = Some(rest).filter(|it| !it.is_empty());
    let texts = rest.map(|it| split(it, limits.text)).unwrap_or_default();
    [Content::Media(media)].into_iter().chain(texts.into_iter().map(of_text)).collect()
}

/// Text in parts of at most so many characters: cut between paragraphs, else lines, else words,
/// and inside a word only where it is longer than a part. White space at a cut is left out, and
/// at both ends of a text that is cut at all. There is always one part.
#[must_use]
pub fn split(text: &str, chars_max: usize) -> Vec<&str> {
    let (first, mut rest) = first_part(text, chars_max);
    let mut parts = vec![first];
    while !rest.is_empty() {
        let part;
        (part, rest) = first_part(rest, chars_max);
        parts.push(part);
    }
    parts
}

/// The first part, and what is left.
fn first_part(text: &str, chars_max: usize) -> (&str, &str) {
    let chars_max = chars_max.max(1);
    if end_of(text, chars_max).is_none() {
        return (text, "");
    }
    let text = text.trim();
    let Some(end) = end_of(text, chars_max) else { return (text, "") };
    let (part, rest) = text.split_at(between_words(text, end).unwrap_or(in_word(text, end)));
    (part.trim_end(), rest.trim_start())
}

/// Where so many characters end, if there are more.
fn end_of(text: &str, n_chars: usize) -> Option<usize> {
    text.char_indices().nth(n_chars).map(|it| it.0)
}

/// The best place for a cut at `end` or before; not one that makes a short part of a long one for
/// the sake of a line.
fn between_words(text: &str, end: usize) -> Option<usize> {
    // White space may begin right at the end.
    let window = |n_chars: usize| {
        let after = text[end..].chars().take_while(|it| it.is_whitespace()).take(n_chars);
        &text[..end + after.map(char::len_utf8).sum::<usize>()]
    };
    let long_enough = |at: &usize| *at >= end / 2 && *at <= end;
    let paragraph = window(2).rfind("\n\n").filter(long_enough);
    let line = || window(1).rfind('\n').filter(long_enough);
    paragraph.or_else(line).or_else(|| window(1).rfind(is_breaking).filter(|it| *it > 0))
}

/// White space that does not bind, as that before a French colon does.
fn is_breaking(it: char) -> bool {
    it.is_whitespace() && !matches!(it, '\u{a0}' | '\u{2007}' | '\u{202f}')
}

/// The last place at `end` or before where a character may be parted from the one before it.
fn in_word(text: &str, end: usize) -> usize {
    let places = text[..end].char_indices().rev().map(|it| it.0).take_while(|it| *it > 0);
    let mut places = [end].into_iter().chain(places).take(MARKS_MAX);
    places.find(|it| !is_one(&text[..*it], &text[*it..])).unwrap_or(end)
}

/// Whether the end of `before` and the beginning of `after` are one sign to a reader: a letter and
/// its accent, the parts of an emoji, the two letters of a flag.
fn is_one(before: &str, after: &str) -> bool {
    let (Some(last), Some(next)) = (before.chars().next_back(), after.chars().next()) else {
        return false;
    };
    let joins = |it| it == '\u{200d}';
    let is_skin = matches!(next, '\u{1f3fb}'..='\u{1f3ff}');
    let is_tag = matches!(next, '\u{e0020}'..='\u{e007f}');
    let is_flag = |it: &char| matches!(it, '\u{1f1e6}'..='\u{1f1ff}');
    let n_flags = before.chars().rev().take_while(is_flag).count();
    joins(last)
        || joins(next)
        || is_combining_mark(next)
        || is_skin
        || is_tag
        || (is_flag(&next) && n_flags % 2 == 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: TextLimits = TextLimits { text: 12, caption: 6 };

    #[test]
    fn text_is_cut_where_a_reader_would() {
        let check = |text: &str, want: &[&str]| assert_eq!(split(text, 12), want, "{text:?}");
        check("", &[""]);
        check(" as it is ", &[" as it is "]);
        check("twelve chars", &["twelve chars"]);
        check("twelve chars and more", &["twelve chars", "and more"]);
        check("one two three four", &["one two", "three four"]);
        check("one two\nthree four", &["one two", "three four"]);
        check("one\n\ntwo\nthree four", &["one\n\ntwo", "three four"]);
        check("one two\n\nthree\nfour", &["one two", "three\nfour"]);
        check("elevenchars\n\nmore", &["elevenchars", "more"]);
        check("  0123456789ab  \n\n  cd  ", &["0123456789ab", "cd"]);
        check("0123456789abcdef", &["0123456789ab", "cdef"]);
        check("ok 0123456789abcdef", &["ok", "0123456789ab", "cdef"]);
        // Not between a number and its unit.
        check("ouvert à 19\u{a0}h", &["ouvert à", "19\u{a0}h"]);
        // Neither an accent, a family nor a flag is torn.
        check("0123456789ae\u{301}b", &["0123456789a", "e\u{301}b"]);
        check("0123456789👨\u{200d}👩\u{200d}👧!", &["0123456789", "👨\u{200d}👩\u{200d}👧!"]);
        check("01234567🇸🇳🇫🇷🇲🇱", &["01234567🇸🇳🇫🇷", "🇲🇱"]);
        check("01234567890👍🏽", &["01234567890", "👍🏽"]);
        check(&"\u{301}".repeat(13), &[&"\u{301}".repeat(12), "\u{301}"]);
    }

    fn media(kind: MediaKind, caption: &str) -> Content {
        let fields = serde_json::json!({ "kind": kind, "caption": caption });
        Content::Media(serde_json::from_value(fields).unwrap())
    }

    #[test]
    fn what_does_not_fit_below_a_file_follows_it() {
        let parts = |content: Content| parts(content, LIMITS);
        let image = |caption: &str| media(MediaKind::Image, caption);
        assert_eq!(parts(image("short")), [image("short")]);
        assert_eq!(
            parts(image("a long caption, really")),
            [image("a long"), Content::text("caption,"), Content::text("really")]
        );
        let sticker = |caption: &str| media(MediaKind::Sticker, caption);
        assert_eq!(parts(sticker(" ")), [sticker("")]);
        assert_eq!(parts(sticker("hello")), [sticker(""), Content::text("hello")]);
    }

    #[test]
    fn choices_come_last() {
        let option = |it: &str| super::super::message::Choice {
            id: it.to_owned(),
            title: Text(it.to_owned()),
            description: Text::default(),
        };
        let options = vec![option("yes"), option("no")];
        let long = Choices::new("Would you like it?", options.clone(), false);
        let parts = parts(Content::Choices(long), LIMITS);
        assert_eq!(parts[..2], [Content::text("Would you"), Content::text("like it?")]);
        let Content::Choices(last) = &parts[2] else { panic!("{parts:?}") };
        assert_eq!((last.text.0.as_str(), &last.options), ("1. yes\n2. no", &options));
    }

    /// Words of a few scripts, with the white space and the marks that make cutting hard.
    fn texts() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[a-zé]{1,9}",
            Just("👨\u{200d}👩\u{200d}👧".to_owned()),
            Just("🇸🇳".to_owned()),
            Just("e\u{301}".to_owned()),
            Just("\u{a0}".to_owned()),
            Just("\r\n".to_owned()),
            "[ \n\t]{1,4}",
            "\\PC{0,3}",
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|it| it.concat())
    }

    fn letters(text: &str) -> String {
        text.chars().filter(|it| !it.is_whitespace()).collect()
    }

    proptest! {
        #[test]
        fn choices_are_asked_once(
            [above, prompt, below] in [texts(), texts(), texts()],
            titles in proptest::collection::vec("[a-z]{1,12}", 1..6),
            chars_max in 8_usize..200,
        ) {
            let option = |it: &String| crate::domain::message::Choice {
                id: it.clone(),
                title: Text(it.clone()),
                description: Text::default(),
            };
            let options = titles.iter().map(option).collect();
            let whole = Choices::new(&prompt, options, true).with_edges(&above, &below);
            let mut all = parts(Content::Choices(whole.clone()), TextLimits { text: chars_max, ..LIMITS });
            let Some(Content::Choices(last)) = all.pop() else { panic!("they come last") };
            let texts: String = all.iter().map(|it| it.as_text().to_owned()).collect();
            prop_assert_eq!(&last.options, &whole.options);
            prop_assert_eq!(letters(&(texts.clone() + &last.text.0)), letters(&whole.text.0));
            let fits = |it: &str| it.chars().count() <= chars_max;
            prop_assert!(fits(&last.text.0) && all.iter().all(|it| fits(it.as_text())));
            // With real buttons the prompt is what is above them.
            if !last.prompt.is_empty() {
                let read = texts + &last.header.0 + &last.prompt.0;
                prop_assert_eq!(letters(&read), letters(&(above + &whole.prompt.0)));
                prop_assert_eq!(&last.footer, &whole.footer);
            }
        }
    }

    proptest! {
        #[test]
        fn parts_fit_and_lose_nothing_but_white_space(text in texts(), max in 1_usize..40) {
            let parts = split(&text, max);
            for part in &parts {
                prop_assert!(part.chars().count() <= max, "{part:?}");
            }
            prop_assert_eq!(letters(&parts.concat()), letters(&text));
            if parts.len() > 1 {
                prop_assert!(parts.iter().all(|it| !it.trim().is_empty()), "{parts:?}");
                // What is left out stood at a cut: each part is a piece of the text, in order.
                let mut rest = text.as_str();
                for part in &parts {
                    let at = rest.find(part).expect("a part is a piece of the text");
                    prop_assert!(rest[..at].trim().is_empty());
                    rest = &rest[at + part.len()..];
                }
                prop_assert!(rest.trim().is_empty());
            }
        }

        #[test]
        fn words_that_fit_stay_whole(words in proptest::collection::vec("[a-zé]{1,8}", 1..60), gap in "[ \n]{1,3}", max in 8_usize..40) {
            let text = words.join(&gap);
            let found: Vec<String> = split(&text, max)
                .iter()
                .flat_map(|it| it.split_whitespace().map(str::to_owned))
                .collect();
            prop_assert_eq!(found, words);
        }

        #[test]
        fn no_part_could_have_been_much_longer(words in proptest::collection::vec("[a-z]{1,8}", 1..60), max in 20_usize..40) {
            let text = words.join(" ");
            let parts = split(&text, max);
            for pair in parts.windows(2) {
                let next = pair[1].split(' ').next().unwrap_or_default();
                prop_assert!(pair[0].len() + 1 + next.len() > max, "{pair:?}");
            }
        }
    }
}
