//! Dialect *bot* (`docs/ARCHITECTURE.md`, Administration).
//!
//! A reply is sent as one group, in this order: the images, then the text with its options. So the
//! options are the last thing the customer reads, and their next message may choose.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::{
    Answer, INTENT_CHARS_MAX, Question, Reply, ResponderError, response_api::REPLY_CHARS_MAX,
};
use crate::{
    domain::{
        clock::SECOND,
        fold::folded,
        message::{Choice, Choices, Content, Media, MediaKind, Text},
        phone::PhoneNumber,
    },
    present,
};

/// Options of one reply: as many as numbered text can carry and a customer will read.
const OPTIONS_MAX: usize = 20;
/// The longest title of an option, in characters.
const TITLE_CHARS_MAX: usize = 200;
/// The longest line below a title, in characters.
const DESCRIPTION_CHARS_MAX: usize = 500;
/// The longest id of an option, in characters.
const ID_CHARS_MAX: usize = 256;
/// Images of one reply.
const IMAGES_MAX: usize = 10;
/// The longest address of an image, in characters.
const URL_CHARS_MAX: usize = 2_048;
/// As many digits in a row may be a phone number, which a noted intent must not tell.
const DIGITS_MAX: usize = 4;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    vendor_id: &'a str,
    waba_id: &'a str,
    conversation_id: String,
    from: Option<String>,
    name: Option<&'a str>,
    message: &'a str,
    message_id: String,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    option_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    /// Seconds since the Unix epoch.
    timestamp: i64,
    is_open: bool,
    conversation: Vec<TurnBody<'a>>,
    #[serde(flatten)]
    details: Map<String, Value>,
}

#[derive(Serialize)]
struct TurnBody<'a> {
    role: &'static str,
    content: &'a str,
}

/// What is absent and what is null are the same.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerBody {
    message: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    buttons: Option<Vec<OptionBody>>,
    list_items: Option<Vec<OptionBody>>,
    images: Option<Vec<ImageBody>>,
    requires_human: Option<bool>,
    intent: Option<String>,
}

#[derive(Deserialize)]
struct OptionBody {
    id: IdBody,
    title: String,
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum IdBody {
    Number(serde_json::Number),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ImageBody {
    Url(String),
    WithCaption { url: String, caption: Option<String> },
}

pub(super) fn body(question: &Question) -> Result<Vec<u8>, ResponderError> {
    let Question { content, option, .. } = question;
    let turns = question.history.iter().map(|(is_user, text)| TurnBody {
        role: if *is_user { "user" } else { "assistant" },
        content: &text.0,
    });
    let body = Body {
        vendor_id: question.vendor.as_str(),
        waba_id: question.instance.as_str(),
        conversation_id: question.conversation.to_string(),
        from: question.from.as_ref().map(PhoneNumber::expose),
        name: question.name.as_ref().map(|it| it.0.as_str()),
        message: question.text(),
        message_id: question.id.to_string(),
        kind: if option.is_some() { "option" } else { content.kind() },
        option_id: option.as_ref().map(|it| it.id.as_str()),
        title: option.as_ref().map(|it| it.title.0.as_str()),
        timestamp: question.at / SECOND,
        is_open: question.is_open,
        conversation: turns.collect(),
        details: present::details(content, question.id),
    };
    serde_json::to_vec(&body).map_err(|_| ResponderError::Garbled)
}

pub(super) fn read(body: &[u8]) -> Result<Answer, ResponderError> {
    let body: AnswerBody = serde_json::from_slice(body).map_err(|_| ResponderError::Garbled)?;
    let text = body.message.unwrap_or_default();
    require(text.chars().count() <= REPLY_CHARS_MAX, "message has more than 65,536 characters")?;
    let images = body.images.unwrap_or_default();
    require(images.len() <= IMAGES_MAX, "more than 10 images")?;
    let mut contents: Vec<Content> =
        images.into_iter().map(ImageBody::content).collect::<Result<_, _>>()?;
    let (buttons, items) = (body.buttons.unwrap_or_default(), body.list_items.unwrap_or_default());
    let (options, is_list) = match body.kind.as_deref() {
        Some("text") => (Vec::new(), false),
        Some("buttons") => (buttons, false),
        Some("list") => (items, true),
        Some(_) => return Err(ResponderError::Unusable("type is none of text, buttons and list")),
        None => {
            let is_one = buttons.is_empty() || items.is_empty();
            require(is_one, "both buttons and listItems, and no type")?;
            if buttons.is_empty() { (items, true) } else { (buttons, false) }
        }
    };
    let is_missing = options.is_empty() && matches!(body.kind.as_deref(), Some("buttons" | "list"));
    require(!is_missing, "type is buttons or list, and there are none of them")?;
    require(options.len() <= OPTIONS_MAX, "more than 20 options")?;
    if !options.is_empty() {
        let options = options.into_iter().map(OptionBody::choice).collect::<Result<_, _>>()?;
        contents.push(Content::Choices(Choices::new(&text, options, is_list)));
    } else if !text.trim().is_empty() {
        contents.push(Content::text(text));
    }
    let requires_human = body.requires_human.unwrap_or(false);
    require(!contents.is_empty() || requires_human, "neither a message, images nor options")?;
    let intent = body.intent.as_deref().and_then(word);
    Ok(Answer::Reply(Reply { contents, requires_human, intent }))
}

fn require(is_so: bool, else_why: &'static str) -> Result<(), ResponderError> {
    if is_so { Ok(()) } else { Err(ResponderError::Unusable(else_why)) }
}

impl OptionBody {
    fn choice(self) -> Result<Choice, ResponderError> {
        let id = match self.id {
            IdBody::Number(number) => number.to_string(),
            IdBody::Text(text) => text,
        };
        let description = self.description.unwrap_or_default();
        let n_chars = |it: &str| it.trim().chars().count();
        require((1..=ID_CHARS_MAX).contains(&n_chars(&id)), "an id is not 1 to 256 characters")?;
        let is_title = (1..=TITLE_CHARS_MAX).contains(&n_chars(&self.title));
        require(is_title, "a title is not 1 to 200 characters")?;
        let is_short = n_chars(&description) <= DESCRIPTION_CHARS_MAX;
        require(is_short, "a description has more than 500 characters")?;
        Ok(Choice { id, title: Text(self.title), description: Text(description) })
    }
}

impl ImageBody {
    fn content(self) -> Result<Content, ResponderError> {
        let (url, caption) = match self {
            Self::Url(url) => (url, None),
            Self::WithCaption { url, caption } => (url, caption),
        };
        let caption = caption.unwrap_or_default();
        let is_short = caption.chars().count() <= REPLY_CHARS_MAX;
        require(is_short, "a caption has more than 65,536 characters")?;
        let is_url = url.chars().count() <= URL_CHARS_MAX
            && Url::parse(&url)
                .is_ok_and(|it| matches!(it.scheme(), "http" | "https") && it.has_host());
        require(is_url, "an image is not an http or https URL of at most 2,048 characters")?;
        Ok(Content::Media(Media {
            kind: MediaKind::Image,
            caption: Text(caption),
            url: Some(url),
            mime_type: None,
            file_name: None,
            media_key: None,
            sha256: None,
            encrypted_sha256: None,
            bytes: None,
            upload: None,
            view_once: false,
            id: None,
            source: None,
        }))
    }
}

/// The bot's word, as far as it is one: it is noted in clear, so what could be a sentence or a
/// number is left out.
fn word(intent: &str) -> Option<String> {
    let word = folded(intent.trim()).replace(char::is_whitespace, "_");
    let is_word = |it: &char| it.is_ascii_alphanumeric() || matches!(it, '_' | '.' | '-');
    let word: String = word.chars().filter(is_word).collect();
    let is_short = (1..=INTENT_CHARS_MAX).contains(&word.len());
    let runs = word.split(|it: char| !it.is_ascii_digit());
    (is_short && runs.map(str::len).max() <= Some(DIGITS_MAX)).then_some(word)
}

#[cfg(test)]
mod tests;
