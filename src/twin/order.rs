//! What `POST /send-message` asks for (`docs/wire/wasender.md` §2.1).

use serde_json::{Map, Value, json};

use super::wire::{digits, phone_jid};

/// Which field of the request makes which field of Baileys' `message`.
const KINDS: &[(&str, &str)] = &[
    ("imageUrl", "imageMessage"),
    ("videoUrl", "videoMessage"),
    ("documentUrl", "documentMessage"),
    ("audioUrl", "audioMessage"),
    ("stickerUrl", "stickerMessage"),
    ("contact", "contactMessage"),
    ("location", "locationMessage"),
    ("poll", "pollCreationMessage"),
];

/// Digits of a phone number: the gateway's own bounds (E.164's upper one).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// A send that passed validation.
pub(super) struct Order {
    /// As it was given.
    pub(super) to: String,
    /// The chat that it goes to.
    pub(super) jid: String,
    /// Text or caption; empty when there is none.
    pub(super) text: String,
    /// Baileys' `message`.
    pub(super) content: Value,
}

impl Order {
    /// Reads a request's body. What is not JSON has no fields, as for Laravel.
    ///
    /// # Errors
    ///
    /// Laravel's `errors`, by field (`docs/wire/wasender.md` §1.5).
    pub(super) fn read(body: &[u8]) -> Result<Self, Value> {
        let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let mut errors = Map::new();
        let field = |name: &str| body.get(name).filter(|it| !is_blank(it));

        let to = field("to").and_then(Value::as_str).unwrap_or_default();
        let jid = jid(to);
        if to.is_empty() {
            errors.insert("to".to_owned(), json!(["The to field is required."]));
        } else if jid.is_none() {
            errors.insert("to".to_owned(), json!(["The to field format is invalid."]));
        }

        let kind = KINDS.iter().find(|it| field(it.0).is_some());
        let text = match field("text") {
            Some(Value::String(text)) => Some(text.as_str()),
            Some(_) => {
                errors.insert("text".to_owned(), json!(["The text must be a string."]));
                None
            }
            None if kind.is_none() => {
                let why = "The text field is required when no media is present.";
                errors.insert("text".to_owned(), json!([why]));
                None
            }
            None => None,
        };

        let (Some(jid), true) = (jid, errors.is_empty()) else { return Err(Value::Object(errors)) };
        let text = text.unwrap_or_default().to_owned();
        let content = match kind {
            Some((_, message)) => json!({ *message: { "caption": text } }),
            None => json!({ "conversation": text }),
        };
        Ok(Self { to: to.to_owned(), jid, text, content })
    }
}

/// Laravel takes an empty text for an absent one.
fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|it| it.trim().is_empty())
}

/// The chat of a recipient: a phone in E.164 or in bare digits, a handle, a group, a channel. A
/// LID is not documented for sends, so it is none.
fn jid(to: &str) -> Option<String> {
    if to.starts_with('@') && to.len() > 1 {
        return Some(to.to_owned());
    }
    if let Some((_, host)) = to.split_once('@') {
        let known = matches!(host, "g.us" | "newsletter" | "s.whatsapp.net");
        return known.then(|| to.to_owned());
    }
    let number = to.strip_prefix('+').unwrap_or(to);
    let fits = PHONE_DIGITS.contains(&number.len()) && digits(number) == number;
    fits.then(|| phone_jid(number))
}
