//! Webhooks as Wasender sends them (`docs/wire/wasender.md` §4).

use serde_json::{Value, json};

/// How a customer is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Phone,
    Lid,
    Both,
}

/// A customer's two names.
#[derive(Clone, Debug)]
pub struct Names {
    pub phone: String,
    pub lid: String,
}

impl Names {
    fn phone_jid(&self) -> String {
        format!("{}@s.whatsapp.net", self.phone)
    }

    fn lid_jid(&self) -> String {
        format!("{}@lid", self.lid)
    }
}

/// A customer writes.
pub fn message(event: &str, names: &Names, form: Form, id: &str, text: &str, at: i64) -> Value {
    let mut key = json!({ "id": id, "fromMe": false });
    match form {
        Form::Phone => {
            key["remoteJid"] = json!(names.phone_jid());
            key["cleanedSenderPn"] = json!(names.phone);
        }
        Form::Lid => key["remoteJid"] = json!(names.lid_jid()),
        Form::Both => {
            key["remoteJid"] = json!(names.lid_jid());
            key["senderPn"] = json!(names.phone_jid());
        }
    }
    json!({
        "event": event,
        "timestamp": at,
        "data": { "messages": {
            "key": key,
            "message": { "conversation": text },
            "messageTimestamp": at / 1_000,
        } },
    })
}

/// A message of the vendor's own number, whoever wrote it.
pub fn echo(event: &str, names: &Names, form: Form, id: &str, text: &str, at: i64) -> Value {
    let mut key = json!({ "id": id, "fromMe": true });
    match form {
        Form::Phone => key["remoteJid"] = json!(names.phone_jid()),
        Form::Lid => key["remoteJid"] = json!(names.lid_jid()),
        Form::Both => {
            key["remoteJid"] = json!(names.lid_jid());
            key["remoteJidAlt"] = json!(names.phone_jid());
        }
    }
    json!({
        "event": event,
        "timestamp": at,
        "data": { "messages": {
            "key": key,
            "message": { "conversation": text },
            "messageTimestamp": at / 1_000,
        } },
    })
}

/// How far a message has got, by Wasender's code.
pub fn status(names: &Names, id: &str, code: i64, at: i64) -> Value {
    json!({
        "event": "messages.update",
        "timestamp": at,
        "data": {
            "key": { "id": id, "fromMe": true, "remoteJid": names.phone_jid() },
            "update": { "status": code },
        },
    })
}

/// The text of an edited message.
pub fn edit(names: &Names, id: &str, target: &str, text: &str, at: i64) -> Value {
    json!({
        "event": "messages.upsert",
        "timestamp": at,
        "data": { "messages": {
            "key": {
                "id": id, "fromMe": false, "remoteJid": names.lid_jid(), "senderPn": names.phone_jid(),
            },
            "message": { "protocolMessage": {
                "type": 14,
                "key": { "id": target },
                "editedMessage": { "conversation": text },
            } },
            "messageTimestamp": at / 1_000,
        } },
    })
}

/// How a session is.
pub fn session(word: &str, at: i64) -> Value {
    json!({ "event": "session.status", "timestamp": at, "data": { "status": word } })
}
