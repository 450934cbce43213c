//! What a message is in the body of `POST /send-message` (`docs/wire/wasender.md` §2.1): which
//! field is there decides what it is.

use serde_json::{Map, Value, json};
use url::Url;

use super::TEXT_LIMITS;
use crate::{
    domain::message::{Content, Media, MediaKind, with_link},
    provider::{Outgoing, Unsendable, plain},
};

/// The body of a send; `None` is content that Wasender has no form for.
pub(super) fn body(message: &Outgoing<'_>) -> Option<Value> {
    let mut body = fields(message.content, message.file)?;
    body.insert("to".to_owned(), json!(message.to.phone.as_ref()?.expose()));
    if let Some(ticket) = message.quotes.and_then(|it| it.ticket) {
        // It was a number when we were told it.
        let number = ticket.parse::<u64>().map_or(json!(ticket), |it| json!(it));
        body.insert("replyTo".to_owned(), number);
    }
    Some(Value::Object(body))
}

/// Whether Wasender can send such content.
pub(super) fn check(content: &Content) -> Result<(), Unsendable> {
    let no = |why: String| Err(Unsendable(why));
    match content {
        Content::Template(it) if it.text.is_empty() => {
            no("template.text: Wasender has no templates and needs the text".to_owned())
        }
        Content::Unsupported { .. }
        | Content::Chosen { .. }
        | Content::Flow(_)
        | Content::Reaction { .. } => no("type: Wasender cannot send this".to_owned()),
        Content::Contact { phone: None, .. } => no("contact.phone: is missing".to_owned()),
        Content::Media(Media { kind: MediaKind::Sticker, url: Some(url), .. }) if !is_webp(url) => {
            no("sticker.url: Wasender takes .webp only".to_owned())
        }
        other => plain::fits(other, TEXT_LIMITS.text),
    }
}

fn is_webp(url: &str) -> bool {
    Url::parse(url).is_ok_and(|it| it.path().to_ascii_lowercase().ends_with(".webp"))
}

/// What the content is, without the recipient; also what Wasender's log has of it.
fn fields(content: &Content, file: Option<&str>) -> Option<Map<String, Value>> {
    let fields = match content {
        Content::Text { text } | Content::LocationRequest { text } => json!({ "text": text }),
        Content::Choices(choices) => json!({ "text": choices.text }),
        Content::Template(it) if !it.text.is_empty() => json!({ "text": it.text }),
        Content::CtaUrl { text, label, url } => json!({ "text": with_link(text, label, url) }),
        Content::Media(it) => return media(it, file),
        Content::Location { latitude, longitude, text } => {
            let mut place = json!({ "latitude": latitude, "longitude": longitude });
            if !text.0.is_empty() {
                place["name"] = json!(text);
            }
            json!({ "location": place })
        }
        Content::Contact { name, phone: Some(phone), .. } => {
            json!({ "contact": { "name": name, "phone": phone } })
        }
        Content::Poll { question, options, multi_select } => json!({
            "poll": { "question": question, "options": options, "multiSelect": multi_select },
        }),
        Content::Contact { .. }
        | Content::Template(_)
        | Content::Flow(_)
        | Content::Chosen { .. }
        | Content::Reaction { .. }
        | Content::Unsupported { .. } => return None,
    };
    match fields {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

fn media(media: &Media, file: Option<&str>) -> Option<Map<String, Value>> {
    let url = file.or(media.url.as_deref())?;
    let (field, has_text) = field_of(media.kind);
    let mut fields = Map::new();
    fields.insert(field.to_owned(), json!(url));
    if has_text && !media.caption.0.is_empty() {
        fields.insert("text".to_owned(), json!(media.caption));
    }
    if let (MediaKind::Document, Some(name)) = (media.kind, &media.file_name) {
        fields.insert("fileName".to_owned(), json!(name));
    }
    if media.view_once {
        fields.insert("viewOnce".to_owned(), json!(true));
    }
    Some(fields)
}

/// The field of a file, and whether there may be text under it.
fn field_of(kind: MediaKind) -> (&'static str, bool) {
    match kind {
        MediaKind::Image => ("imageUrl", true),
        MediaKind::Video => ("videoUrl", true),
        MediaKind::Document => ("documentUrl", true),
        MediaKind::Audio => ("audioUrl", false),
        MediaKind::Sticker => ("stickerUrl", false),
    }
}

/// Whether an entry of Wasender's log may be this content. A file's address is left aside: it may
/// be another for each upload.
pub(super) fn fits(logged: &Value, content: &Content) -> bool {
    let (Some(ours), Some(theirs)) = (fields(content, Some("")), logged.as_object()) else {
        return false;
    };
    let files = |it: &Map<String, Value>| it.keys().find(|it| it.ends_with("Url")).cloned();
    let has_text = |it: &Map<String, Value>| it.get("text").is_some_and(|it| !is_blank(it));
    files(&ours) == files(theirs)
        && has_text(&ours) == has_text(theirs)
        && ours.iter().all(|(name, value)| name.ends_with("Url") || is_like(value, &logged[name]))
}

/// Whether the log says the same, in its own way.
fn is_like(ours: &Value, theirs: &Value) -> bool {
    match ours {
        Value::Object(fields) => fields.iter().all(|it| is_like(it.1, &theirs[it.0])),
        Value::Array(items) => theirs.as_array().is_some_and(|theirs| {
            items.len() == theirs.len() && items.iter().zip(theirs).all(|it| is_like(it.0, it.1))
        }),
        Value::String(text) => text.trim() == theirs.as_str().unwrap_or_default().trim(),
        Value::Number(n) => n.as_f64() == theirs.as_f64(),
        Value::Bool(is) => *is == theirs.as_bool().unwrap_or_default(),
        Value::Null => theirs.is_null(),
    }
}

fn is_blank(value: &Value) -> bool {
    value.as_str().is_none_or(|it| it.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{contact::Address, id::EntryId, phone::PhoneNumber},
        provider::Quoted,
    };

    fn content(json: Value) -> Content {
        serde_json::from_value(json).unwrap()
    }

    fn media(kind: &str, caption: &str) -> Value {
        json!({ "type": "media", "kind": kind, "caption": caption, "url": "https://x/f" })
    }

    #[track_caller]
    fn check(stored: Value, quotes: Option<&str>, want: &Value) {
        let to = Address::phone(PhoneNumber::from_wire("+221705550001").unwrap());
        let content = content(stored);
        let quotes = quotes.map(|it| Quoted { id: None, ticket: Some(it) });
        let message = Outgoing { id: EntryId(1), to: &to, content: &content, quotes, file: None };
        let mut body = body(&message).unwrap();
        // What is sent is what is later found in the log.
        assert!(fits(&body, &content), "{body}");
        assert_eq!(body["to"], "+221705550001");
        body.as_object_mut().unwrap().remove("to");
        assert_eq!(body, *want);
    }

    #[test]
    fn every_kind_has_its_fields() {
        check(json!({ "type": "text", "text": "Hi" }), None, &json!({ "text": "Hi" }));
        let quoted = json!({ "text": "Hi", "replyTo": 100_000 });
        check(json!({ "type": "text", "text": "Hi" }), Some("100000"), &quoted);
        check(media("image", ""), None, &json!({ "imageUrl": "https://x/f" }));
        check(media("video", "c"), None, &json!({ "videoUrl": "https://x/f", "text": "c" }));
        check(media("audio", "c"), None, &json!({ "audioUrl": "https://x/f" }));
        check(media("sticker", ""), None, &json!({ "stickerUrl": "https://x/f" }));
        let mut document = media("document", "c");
        document["fileName"] = json!("f.pdf");
        let want = json!({ "documentUrl": "https://x/f", "text": "c", "fileName": "f.pdf" });
        check(document, None, &want);
        let mut once = media("image", "");
        once["viewOnce"] = json!(true);
        check(once, None, &json!({ "imageUrl": "https://x/f", "viewOnce": true }));
        let place = json!({ "latitude": 14.5, "longitude": -17.0 });
        let mut stored = json!({ "type": "location", "text": "" });
        stored["latitude"] = json!(14.5);
        stored["longitude"] = json!(-17.0);
        check(stored.clone(), None, &json!({ "location": place }));
        stored["text"] = json!("Dakar");
        let place = json!({ "latitude": 14.5, "longitude": -17.0, "name": "Dakar" });
        check(stored, None, &json!({ "location": place }));
        check(
            json!({ "type": "contact", "name": "Ada", "phone": "+15550001111" }),
            None,
            &json!({ "contact": { "name": "Ada", "phone": "+15550001111" } }),
        );
        let poll = json!({ "question": "Q?", "options": ["a", "b"], "multiSelect": true });
        let mut stored = poll.clone();
        stored["type"] = json!("poll");
        check(stored, None, &json!({ "poll": poll }));
    }

    #[test]
    fn the_log_is_read_loosely_and_other_messages_do_not_fit() {
        let text = content(json!({ "type": "text", "text": "Hi" }));
        let image = content(media("image", "Hi"));
        assert!(fits(&json!({ "text": " Hi\n", "to": "x" }), &text));
        assert!(fits(&json!({ "text": "Hi", "imageUrl": "https://y/g" }), &image));
        assert!(!fits(&json!({ "text": "Hi", "imageUrl": "https://y/g" }), &text));
        assert!(!fits(&json!({ "text": "Hi", "videoUrl": "https://y/g" }), &image));
        assert!(!fits(&json!({ "imageUrl": "https://y/g" }), &image));
        assert!(!fits(&json!({ "text": "Hi" }), &content(media("image", ""))));
        assert!(!fits(&json!(null), &text));
        let place = json!({ "type": "location", "latitude": 14.0, "longitude": 1.5, "text": "" });
        assert!(fits(
            &json!({ "location": { "latitude": 14, "longitude": 1.5 } }),
            &content(place)
        ));
    }

    #[test]
    fn what_wasender_cannot_send_is_known_beforehand() {
        let unsupported = json!({ "type": "unsupported", "kind": "x", "text": "" });
        assert!(check_content(&content(unsupported)).is_err());
    }

    fn check_content(content: &Content) -> Result<(), Unsendable> {
        super::check(content)
    }
}
