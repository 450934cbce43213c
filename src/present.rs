//! How a message's content is shown to vendors: the same in the API, to responders and to back
//! ends.

use serde_json::{Map, Value, json};

use crate::domain::{
    id::EntryId,
    message::{Choice, Content, Media},
};

/// What there is to content besides its type and text, by field. `id` is the message's, under
/// which its file is served.
#[must_use]
pub fn details(content: &Content, id: EntryId) -> Map<String, Value> {
    let details = match content {
        Content::Text { .. }
        | Content::Unsupported { .. }
        | Content::LocationRequest { .. }
        | Content::Reaction { .. } => json!({}),
        Content::Media(it) => json!({ "media": media(it, id) }),
        Content::Location { latitude, longitude, text } => {
            json!({ "location": { "latitude": latitude, "longitude": longitude, "name": text } })
        }
        Content::Contact { vcard, name, phone, others } => {
            let mut details =
                json!({ "contact": { "name": name, "phone": phone, "vcard": vcard } });
            if !others.is_empty() {
                details["contacts"] = json!(others);
            }
            details
        }
        Content::Chosen { id, title } => json!({ "choice": { "id": id, "title": title } }),
        Content::Template(it) => json!({ "template": it }),
        Content::CtaUrl { label, url, .. } => json!({ "ctaUrl": { "label": label, "url": url } }),
        Content::Flow(it) => json!({ "flow": it }),
        Content::Poll { question, options, multi_select } => {
            json!({ "poll": { "question": question, "options": options, "multiSelect": multi_select } })
        }
        Content::Choices(it) => {
            json!({ "options": it.options.iter().map(choice).collect::<Vec<_>>() })
        }
    };
    match details {
        Value::Object(details) => details,
        _ => Map::new(),
    }
}

/// An option as callers know it.
#[must_use]
pub fn choice(it: &Choice) -> Value {
    json!({ "id": it.id, "title": it.title, "description": it.description })
}

/// A file we have, or can fetch, has an id; the provider's own address and key are nobody's.
fn media(it: &Media, id: EntryId) -> Value {
    let own = it.media_key.is_some().then(|| id.to_string());
    let is_sent = it.upload.is_some() || own.is_none();
    json!({
        "id": it.upload.clone().or(own),
        "url": it.url.as_ref().filter(|_| is_sent),
        "mimeType": it.mime_type,
        "fileName": it.file_name,
        "bytes": it.bytes,
    })
}
