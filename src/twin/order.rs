//! What `POST /send-message` asks for (`docs/wire/wasender.md` §2.1).

use serde_json::{Value, json};

use super::{
    kinds::{Form, Kind},
    wire::{digits, phone_jid},
};

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
    /// The earlier send that it quotes, by Wasender's own id.
    pub(super) reply_to: Option<u64>,
    /// Its file, if it has one.
    pub(super) file: Option<File>,
}

/// A file to be sent.
pub(super) struct File {
    pub(super) field: &'static str,
    pub(super) url: String,
    pub(super) bytes_max: usize,
}

impl Order {
    /// Reads a request's body. What is not JSON has no fields, as for Laravel.
    ///
    /// # Errors
    ///
    /// Laravel's `errors`, by field (`docs/wire/wasender.md` §1.5).
    pub(super) fn read(body: &[u8]) -> Result<Self, Value> {
        let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let (kind, mut form) = (Kind::of(&body), Form::new(&body));

        let to = form.field("to").and_then(Value::as_str).unwrap_or_default();
        let jid = jid(to);
        if to.is_empty() {
            form.missing("to");
        } else if jid.is_none() {
            form.fault("to", "field format is invalid.");
        }
        if kind.is_none() && form.field("text").is_none() {
            form.fault("text", "field is required when no media is present.");
        }
        let text = form.text("text").unwrap_or_default();
        let content = match kind {
            Some(kind) => kind.content(&mut form, text),
            None => json!({ "conversation": text }),
        };
        let reply_to = form.integer("replyTo");
        let has_view = kind.is_some_and(|it| matches!(it.name, "image" | "video" | "audio"));
        if form.flag("viewOnce") && !has_view {
            form.fault("viewOnce", "field is for an image, a video or an audio only.");
        }
        let file = kind.and_then(|it| {
            let bytes_max = it.bytes_max?;
            let url = form.text(it.field)?.to_owned();
            Some(File { field: it.field, url, bytes_max })
        });
        form.done()?;

        let (to, text) = (to.to_owned(), text.to_owned());
        Ok(Self { to, jid: jid.unwrap_or_default(), text, content, reply_to, file })
    }

    /// Quotes a message, as Baileys shows it.
    pub(super) fn quote(&mut self, id: &str, quoted: &Value) {
        let context = json!({ "stanzaId": id, "quotedMessage": quoted });
        if self.content.get("conversation").is_some() {
            self.content = json!({ "extendedTextMessage": { "text": self.text } });
        }
        for message in self.content.as_object_mut().into_iter().flat_map(|it| it.values_mut()) {
            message["contextInfo"] = context.clone();
        }
    }
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
