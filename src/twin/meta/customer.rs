//! Who writes to a number, and what (`docs/wire/meta-unipile-twilio.md` A3, A4, A10).

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::{mmg::FileKind, wire::digits};

/// Somebody who writes to a number. Prints without phone, id and name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MetaCustomer {
    /// In international format. None: known by the scoped id alone (A10).
    pub phone: Option<String>,
    /// The business-scoped id, like `US.13491208655302741918`.
    pub bsuid: Option<String>,
    /// The profile's name.
    pub name: Option<String>,
}

impl MetaCustomer {
    /// Somebody with a phone number.
    #[must_use]
    pub fn new(phone: &str) -> Self {
        Self { phone: Some(phone.to_owned()), ..Self::default() }
    }

    /// Somebody whose phone no webhook tells.
    #[must_use]
    pub fn hidden(bsuid: &str) -> Self {
        Self { bsuid: Some(bsuid.to_owned()), ..Self::default() }
    }

    /// The same person, with this scoped id.
    #[must_use]
    pub fn with_bsuid(self, bsuid: &str) -> Self {
        Self { bsuid: Some(bsuid.to_owned()), ..self }
    }

    /// The same person, with a name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    pub(super) fn contact(&self) -> Value {
        let name = self.name.as_deref().unwrap_or("Somebody");
        let mut contact = json!({ "profile": { "name": name } });
        if let Some(phone) = &self.phone {
            contact["wa_id"] = json!(digits(phone));
        }
        if let Some(bsuid) = &self.bsuid {
            contact["user_id"] = json!(bsuid);
        }
        contact
    }

    /// Names them in an object of the wire, in fields that begin so (`from`, `recipient`).
    pub(super) fn name_in(&self, object: &mut Value, phone: &str, bsuid: &str) {
        if let Some(it) = &self.phone {
            object[phone] = json!(digits(it));
        }
        if let Some(it) = &self.bsuid {
            object[bsuid] = json!(it);
        }
    }
}

impl fmt::Debug for MetaCustomer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phone, bsuid) = (self.phone.is_some(), self.bsuid.is_some());
        let mut it = f.debug_struct("MetaCustomer");
        it.field("phone", &phone).field("bsuid", &bsuid).finish_non_exhaustive()
    }
}

/// A message of any type of A4. It prints without what it says.
#[derive(Clone)]
pub struct MetaInbound {
    pub(super) kind: String,
    /// What stands under the type's name; null: nothing does.
    pub(super) object: Value,
    pub(super) file: Option<(FileKind, Bytes)>,
    pub(super) id: Option<String>,
    /// `context`, `referral`, `errors` …
    pub(super) beside: Map<String, Value>,
}

impl fmt::Debug for MetaInbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaInbound").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl MetaInbound {
    /// Whatever it is: what stands under the type's name.
    #[must_use]
    pub fn raw(kind: &str, object: Value) -> Self {
        let (id, beside) = (None, Map::new());
        Self { kind: kind.to_owned(), object, file: None, id, beside }
    }

    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::raw("text", json!({ "body": text }))
    }

    /// A file of any kind. An audio is a voice note.
    #[must_use]
    pub fn file(kind: FileKind, bytes: impl Into<Bytes>) -> Self {
        let object = match kind {
            FileKind::Audio => json!({ "voice": true }),
            FileKind::Sticker => json!({ "animated": false }),
            _ => json!({}),
        };
        Self { file: Some((kind, bytes.into())), ..Self::raw(kind.word(), object) }
    }

    /// A tapped reply button.
    #[must_use]
    pub fn button_reply(id: &str, title: &str) -> Self {
        let reply = json!({ "id": id, "title": title });
        Self::raw("interactive", json!({ "type": "button_reply", "button_reply": reply }))
    }

    /// A chosen row of a list.
    #[must_use]
    pub fn list_reply(id: &str, title: &str) -> Self {
        let reply = json!({ "id": id, "title": title, "description": "" });
        Self::raw("interactive", json!({ "type": "list_reply", "list_reply": reply }))
    }

    /// A tapped quick-reply button of a template.
    #[must_use]
    pub fn button(payload: &str, text: &str) -> Self {
        Self::raw("button", json!({ "payload": payload, "text": text }))
    }

    /// A place.
    #[must_use]
    pub fn location(latitude: f64, longitude: f64, name: &str) -> Self {
        let place = json!({ "latitude": latitude, "longitude": longitude, "name": name });
        Self::raw("location", place)
    }

    /// A card.
    #[must_use]
    pub fn contact(name: &str, phone: &str) -> Self {
        let name = json!({ "formatted_name": name, "first_name": name });
        let phone = json!({ "phone": phone, "wa_id": digits(phone), "type": "CELL" });
        Self::raw("contacts", json!([{ "name": name, "phones": [phone] }]))
    }

    /// A reaction to this message; without an emoji it is taken back.
    #[must_use]
    pub fn reaction(wamid: &str, emoji: Option<&str>) -> Self {
        let mut reaction = json!({ "message_id": wamid });
        if let Some(emoji) = emoji {
            reaction["emoji"] = json!(emoji);
        }
        Self::raw("reaction", reaction)
    }

    /// A text in the place of that of this message.
    #[must_use]
    pub fn edit(wamid: &str, text: &str) -> Self {
        let message = json!({ "type": "text", "text": { "body": text } });
        Self::raw("edit", json!({ "original_message_id": wamid, "message": message }))
    }

    /// Takes this message back.
    #[must_use]
    pub fn revoke(wamid: &str) -> Self {
        Self::raw("revoke", json!({ "original_message_id": wamid }))
    }

    /// Something that the Cloud API does not carry: polls, for one.
    #[must_use]
    pub fn unsupported(code: u32) -> Self {
        let error = json!({
            "code": code,
            "title": "Message type unknown",
            "message": "Message type unknown",
            "error_data": { "details": "Message type is currently not supported." },
        });
        Self::raw("unsupported", Value::Null).with("errors", json!([error]))
    }

    /// Text below a file.
    #[must_use]
    pub fn caption(mut self, caption: &str) -> Self {
        self.object["caption"] = json!(caption);
        self
    }

    /// The name of a document.
    #[must_use]
    pub fn file_name(mut self, name: &str) -> Self {
        self.object["filename"] = json!(name);
        self
    }

    /// As a reply to this message of this sender.
    #[must_use]
    pub fn quoting(self, wamid: &str, from: &str) -> Self {
        self.with("context", json!({ "from": digits(from), "id": wamid }))
    }

    /// With one more field beside the type's object: `referral`, `identity`, `group_id` …
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.beside.insert(field.to_owned(), value);
        self
    }

    /// Under this id rather than a new one.
    #[must_use]
    pub fn with_id(self, wamid: &str) -> Self {
        Self { id: Some(wamid.to_owned()), ..self }
    }

    /// The message as it is on the wire. `hosted` is what Meta says of the file.
    pub(super) fn message(&self, id: &str, at_secs: i64, hosted: Option<Value>) -> Value {
        let mut message = json!({ "id": id, "timestamp": at_secs.to_string(), "type": self.kind });
        let mut object = self.object.clone();
        if let (Some(Value::Object(hosted)), Some(fields)) = (hosted, object.as_object_mut()) {
            fields.extend(hosted);
        }
        if !object.is_null() {
            message[&self.kind] = object;
        }
        for (field, value) in &self.beside {
            message[field] = value.clone();
        }
        message
    }
}
