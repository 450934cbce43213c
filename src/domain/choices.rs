//! Buttons and lists where the provider has neither: numbered text, and what the customer's next
//! message chooses of it.

use super::{
    clock::{MINUTE, Millis},
    fold::folded,
    message::{Choice, Choices, Text},
};

/// Options may be chosen for this long after they were sent.
pub const CHOICE_LASTS: Millis = 30 * MINUTE;
/// A message dated earlier than this before the options left was not written to choose.
const CLOCKS_APART: Millis = MINUTE;
/// Options of one message; providers' own lists have no more.
pub const OPTIONS_MAX: usize = 10;

impl Choices {
    /// The prompt and its options below it, numbered from 1.
    #[must_use]
    pub fn new(prompt: &str, options: Vec<Choice>, is_list: bool) -> Self {
        let lines = options.iter().zip(1..).map(|(it, n)| line(n, it));
        let prompt = Some(prompt.trim_end()).filter(|it| !it.is_empty());
        let lines = lines.collect::<Vec<_>>().join("\n");
        let text = prompt.map(str::to_owned).into_iter().chain([lines]);
        let prompt = Text(prompt.unwrap_or_default().to_owned());
        let text = Text(text.collect::<Vec<_>>().join("\n\n"));
        Self { text, prompt, options, is_list, ..Self::default() }
    }

    /// The same with a line above and one below, which the text has too: it is all that a customer
    /// reads where there are no real buttons.
    #[must_use]
    pub fn with_edges(self, header: &str, footer: &str) -> Self {
        let all = [header, &self.text.0, footer].map(str::trim_end);
        let text = all.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("\n\n");
        let (header, footer) = (Text(header.to_owned()), Text(footer.to_owned()));
        Self { text: Text(text), header, footer, ..self }
    }
}

fn line(n: usize, option: &Choice) -> String {
    let words = |it: &Text| it.0.split_whitespace().collect::<Vec<_>>().join(" ");
    let (title, description) = (words(&option.title), words(&option.description));
    let dash = if description.is_empty() { "" } else { " — " };
    format!("{n}. {title}{dash}{description}")
}

/// Whether a message of this time may choose among options that left at `sent_at`.
#[must_use]
pub fn is_in_time(sent_at: Millis, written_at: Millis) -> bool {
    (-CLOCKS_APART..=CHOICE_LASTS).contains(&(written_at - sent_at))
}

/// The option that a customer means: by its number, like `2`, `2.` or `2)`, else by its title,
/// case, accents and white space aside. Equal titles are told apart by number only.
#[must_use]
pub fn chosen<'a>(said: &str, options: &'a [Choice]) -> Option<&'a Choice> {
    let said = folded(said);
    let number = said.trim();
    let number = number.strip_suffix(['.', ')']).unwrap_or(number);
    let is_number = number.bytes().all(|it| it.is_ascii_digit());
    let number = number.parse::<usize>().ok().filter(|_| is_number);
    if let Some(option) = number.and_then(|it| options.get(it.checked_sub(1)?)) {
        return Some(option);
    }
    let said = plain(&said);
    let mut titled = options.iter().filter(|it| !said.is_empty() && plain(&it.title.0) == said);
    titled.next().filter(|_| titled.next().is_none())
}

fn plain(text: &str) -> String {
    folded(text).split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(id: &str, title: &str, description: &str) -> Choice {
        let (title, description) = (Text(title.to_owned()), Text(description.to_owned()));
        Choice { id: id.to_owned(), title, description }
    }

    #[test]
    fn options_are_numbered_below_the_prompt() {
        let options = vec![option("a", "Retrait\nsur place", ""), option("b", "Livraison", "2 h")];
        let choices = Choices::new("Comment ?\n", options.clone(), false);
        assert_eq!(choices.text.0, "Comment ?\n\n1. Retrait sur place\n2. Livraison — 2 h");
        assert_eq!(Choices::new("", options[1..].to_vec(), true).text.0, "1. Livraison — 2 h");
        let edged = choices.with_edges("Commande n° 1042", "Merci");
        let text =
            "Commande n° 1042\n\nComment ?\n\n1. Retrait sur place\n2. Livraison — 2 h\n\nMerci";
        assert_eq!((edged.text.0.as_str(), edged.prompt.0.as_str()), (text, "Comment ?"));
    }

    #[test]
    fn an_option_is_chosen_by_number_or_title() {
        let options = [
            option("a", "Café crème", ""),
            option("b", "Thé", ""),
            option("c", "Jus", ""),
            option("d", "jus", ""),
            option("e", "7", ""),
        ];
        let chosen = |it: &str| chosen(it, &options).map(|it| it.id.as_str());
        for (said, id) in [
            ("1", "a"),
            ("2.", "b"),
            (" 2) ", "b"),
            ("2\u{fe0f}\u{20e3}", "b"),
            ("２", "b"),
            ("04", "d"),
            ("CAFE  CREME", "a"),
            ("cafécrème", "a"),
            ("the", "b"),
            // Out of the numbers, it is the title.
            ("7", "e"),
        ] {
            assert_eq!(chosen(said), Some(id), "{said}");
        }
        let no = ["", " ", "0", "6", "-1", "+2", "2..", ".", "2 thés", "thé vert", "Jus", "0 2"];
        for said in no.into_iter().chain(["99999999999999999999999"]) {
            assert_eq!(chosen(said), None, "{said}");
        }
    }

    #[test]
    fn options_may_be_chosen_for_half_an_hour() {
        let sent_at = 1_000 * MINUTE;
        for (after, is) in [
            (0, true),
            (CHOICE_LASTS, true),
            (CHOICE_LASTS + 1, false),
            (-1_000, true),
            (-2 * MINUTE, false),
        ] {
            assert_eq!(is_in_time(sent_at, sent_at + after), is, "{after}");
        }
    }
}
