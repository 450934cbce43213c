//! The bodies that Wasender posts (`docs/wire/wasender.md` §4) and that the predecessor's own
//! set-up posted (contract §1), and their signatures. Pure; benches use them too.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::session::Dialect;

/// Somebody who writes to a session. Prints without phone, LID and name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Customer {
    /// In international format, with or without `+`. None: known by LID alone.
    pub phone: Option<String>,
    /// The LID's digits, with or without `@lid`. With one, chats are addressed by it.
    pub lid: Option<String>,
    /// The display name (`pushName`).
    pub name: Option<String>,
}

impl Customer {
    /// Somebody with a phone number, addressed by it.
    #[must_use]
    pub fn new(phone: &str) -> Self {
        Self { phone: Some(phone.to_owned()), ..Self::default() }
    }

    /// Somebody whose phone no webhook tells.
    #[must_use]
    pub fn lid_only(lid: &str) -> Self {
        Self { lid: Some(lid.to_owned()), ..Self::default() }
    }

    /// The same person, addressed by this LID.
    #[must_use]
    pub fn with_lid(self, lid: &str) -> Self {
        Self { lid: Some(lid.to_owned()), ..self }
    }

    /// The same person, with a display name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    /// The chat's id: by LID where there is one.
    pub(super) fn jid(&self) -> String {
        match (&self.lid, &self.phone) {
            (Some(lid), _) => lid_jid(lid),
            (None, Some(phone)) => phone_jid(phone),
            (None, None) => String::new(),
        }
    }
}

impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phone, lid) = (self.phone.is_some(), self.lid.is_some());
        f.debug_struct("Customer").field("phone", &phone).field("lid", &lid).finish_non_exhaustive()
    }
}

/// A customer's text as Wasender tells it: `messages.received`, a private chat
/// (`docs/wire/wasender.md` §4.4).
#[must_use]
pub fn real_message(id: &str, customer: &Customer, text: &str, at_secs: i64) -> Value {
    real_content(id, customer, text, &json!({ "conversation": text }), at_secs)
}

/// A customer's message of any kind, like [`real_message`]. `content` is Baileys' `message`; an
/// empty `body` is left out.
#[must_use]
pub fn real_content(
    id: &str,
    customer: &Customer,
    body: &str,
    content: &Value,
    at_secs: i64,
) -> Value {
    let key = customer_key(id, customer);
    let mut message = real_messages("messages.received", &key, body, content, at_secs);
    let said = &mut message["data"]["messages"];
    if let Some(name) = &customer.name {
        said["pushName"] = json!(name);
    }
    if body.is_empty()
        && let Some(said) = said.as_object_mut()
    {
        said.remove("messageBody");
    }
    message
}

/// A message of ours that was typed on the phone: `messages.upsert` with `fromMe`
/// (`docs/wire/wasender.md` §4.4).
#[must_use]
pub fn real_typed(id: &str, customer: &Customer, text: &str, at_secs: i64) -> Value {
    let mut key = json!({ "id": id, "fromMe": true, "remoteJid": customer.jid() });
    if let (Some(phone), Some(_)) = (&customer.phone, &customer.lid) {
        key["remoteJidAlt"] = json!(phone_jid(phone));
    }
    let content = json!({ "conversation": text });
    real_messages("messages.upsert", &key, text, &content, at_secs)
}

/// The echo of a send in `messages.upsert`. `content` is Baileys' `message`.
#[must_use]
pub fn real_echo(id: &str, jid: &str, text: &str, content: &Value, at_secs: i64) -> Value {
    let key = json!({ "id": id, "fromMe": true, "remoteJid": jid });
    real_messages("messages.upsert", &key, text, content, at_secs)
}

/// `message.sent` of a send that worked (`docs/wire/wasender.md` §4.5).
#[must_use]
pub fn real_sent(id: &str, jid: &str, content: &Value, at_secs: i64) -> Value {
    let key = json!({ "id": id, "fromMe": true, "remoteJid": jid });
    json!({
        "event": "message.sent",
        "timestamp": at_secs,
        "data": { "key": key, "message": content, "success": true },
    })
}

/// `message.sent` of a send that failed: it names no message (`docs/wire/wasender.md` §4.5).
#[must_use]
pub fn real_failed(reason: &str, at_secs: i64) -> Value {
    json!({
        "event": "message.sent",
        "timestamp": at_secs,
        "data": { "success": false, "error": format!("Failed to send message: {reason}") },
    })
}

/// `messages.update`: 2 sent, 3 delivered, 4 read (`docs/wire/wasender.md` §4.5). Its time is in
/// milliseconds.
#[must_use]
pub fn real_status(api_key: &str, id: &str, jid: &str, status: u8, at_ms: i64) -> Value {
    json!({
        "event": "messages.update",
        "sessionId": api_key,
        "timestamp": at_ms,
        "data": {
            "update": { "status": status },
            "key": { "remoteJid": jid, "id": id, "fromMe": true },
        },
    })
}

/// `session.status` (`docs/wire/wasender.md` §4.6). It has no time.
#[must_use]
pub fn real_connection(api_key: &str, status: &str) -> Value {
    json!({ "event": "session.status", "sessionId": api_key, "data": { "status": status } })
}

/// A customer's text in the predecessor's form (contract §1).
#[must_use]
pub fn predecessor_message(
    instance_id: &str,
    id: &str,
    phone: &str,
    text: &str,
    at_secs: i64,
) -> Value {
    json!({
        "event": "message",
        "instanceId": instance_id,
        "data": {
            "from": digits(phone),
            "message": text,
            "type": "text",
            "id": id,
            "time": at_secs,
        },
    })
}

/// `delivered`, `read` or `failed` in the predecessor's form (contract §1).
#[must_use]
pub fn predecessor_status(message_id: &str, status: &str, at_secs: i64) -> Value {
    json!({ "event": "status", "messageId": message_id, "status": status, "timestamp": at_secs })
}

/// `connected`, `disconnected` or `error` in the predecessor's form (contract §1).
#[must_use]
pub fn predecessor_connection(phone: &str, status: &str, at_secs: i64) -> Value {
    json!({
        "event": "connection_status",
        "status": status,
        "phoneNumber": format!("+{}", digits(phone)),
        "timestamp": at_secs,
    })
}

/// `messages.reaction` (`docs/wire/wasender.md` §4.5): `target` is the key of the message, `own`
/// that of the reaction. An empty `emoji` takes the reaction back.
#[must_use]
pub fn real_reaction(own: &Value, target: &Value, emoji: &str, at_secs: i64) -> Value {
    json!({
        "event": "messages.reaction",
        "timestamp": at_secs,
        "data": [{ "key": target, "reaction": { "text": emoji, "key": own } }],
    })
}

/// `messages.delete` (`docs/wire/wasender.md` §4.5).
#[must_use]
pub fn real_deletion(key: &Value, at_secs: i64) -> Value {
    json!({ "event": "messages.delete", "timestamp": at_secs, "data": { "keys": [key] } })
}

/// `poll.results` (`docs/wire/wasender.md` §4.5): each option with the chats that chose it. Its
/// time is in milliseconds.
#[must_use]
pub fn real_poll_results(
    api_key: &str,
    key: &Value,
    results: &[(&str, Vec<&str>)],
    at_ms: i64,
) -> Value {
    let results = results.iter().map(|it| json!({ "name": it.0, "voters": it.1 }));
    json!({
        "event": "poll.results",
        "sessionId": api_key,
        "timestamp": at_ms,
        "data": { "key": key, "pollResult": results.collect::<Vec<_>>() },
    })
}

/// Baileys' `message` that changes the text of another (`docs/wire/wasender.md` §4.4).
#[must_use]
pub fn edit_content(target: &Value, text: &str, at_ms: i64) -> Value {
    json!({ "protocolMessage": {
        "key": target,
        "type": 14,
        "editedMessage": { "conversation": text },
        "timestampMs": at_ms,
    }})
}

/// Baileys' `message` that deletes another for everyone.
#[must_use]
pub fn revoke_content(target: &Value) -> Value {
    json!({ "protocolMessage": { "key": target, "type": 0 } })
}

/// A contact's card.
#[must_use]
pub fn vcard(name: &str, phone: &str) -> String {
    let digits = digits(phone);
    format!("BEGIN:VCARD\nVERSION:3.0\nFN:{name}\nTEL;type=CELL;waid={digits}:{phone}\nEND:VCARD")
}

/// Name and value of the header that proves a webhook.
#[must_use]
pub fn signature(dialect: Dialect, secret: &str, body: &[u8]) -> (&'static str, String) {
    match dialect {
        Dialect::Real => ("x-webhook-signature", secret.to_owned()),
        Dialect::Predecessor => ("x-wasender-signature", sign_hmac(secret, body)),
    }
}

/// HMAC-SHA256 of a raw body, in lower-case hexadecimal, without a prefix (contract §1).
///
/// # Panics
///
/// Never: HMAC takes a key of any length.
#[must_use]
pub fn sign_hmac(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mut mac = mac.expect("HMAC takes a key of any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// The LID that a phone number has when nobody gave it one: 15 digits, always the same.
#[must_use]
pub fn lid_of(phone: &str) -> String {
    let hash = Sha256::digest(digits(phone));
    let hash = hash.iter().take(8).fold(0, |all: u64, it| all << 8 | u64::from(*it));
    (100_000_000_000_000 + hash % 900_000_000_000_000).to_string()
}

pub(super) fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

pub(super) fn phone_jid(phone: &str) -> String {
    format!("{}@s.whatsapp.net", digits(phone))
}

pub(super) fn lid_jid(lid: &str) -> String {
    format!("{}@lid", lid.trim_end_matches("@lid"))
}

/// The key of a customer's message (`docs/wire/wasender.md` §4.4).
pub(super) fn customer_key(id: &str, customer: &Customer) -> Value {
    let mut key = json!({ "id": id, "fromMe": false, "remoteJid": customer.jid() });
    key["addressingMode"] = json!(if customer.lid.is_some() { "lid" } else { "pn" });
    if let Some(phone) = &customer.phone {
        key["senderPn"] = json!(phone_jid(phone));
        key["cleanedSenderPn"] = json!(digits(phone));
    }
    if let Some(lid) = &customer.lid {
        key["senderLid"] = json!(lid_jid(lid));
    }
    key
}

/// An event with one message in `data.messages`: the object that integrators see, not the
/// documents' array (`docs/wire/wasender.md` §4.4).
fn real_messages(event: &str, key: &Value, text: &str, content: &Value, at_secs: i64) -> Value {
    json!({
        "event": event,
        "timestamp": at_secs,
        "data": {
            "messages": {
                "key": key,
                "messageTimestamp": at_secs,
                "messageBody": text,
                "message": content,
            },
        },
    })
}
