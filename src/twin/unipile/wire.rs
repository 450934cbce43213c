//! The forms of messages and events, of both generations (`docs/wire/meta-unipile-twilio.md` D1,
//! D3, D5).

use serde_json::{Value, json};

use super::{
    account::{Moods, UnipileNumber},
    world::{Chat, Message, UnipileFile},
};
use crate::twin::{clock, wire};

/// A time in ISO 8601 with milliseconds.
pub(super) fn iso(ms: i64) -> String {
    let whole = clock::iso(ms / 1_000);
    format!("{}{:03}Z", whole.trim_end_matches("000000Z"), ms % 1_000)
}

/// A message as the first generation's API lists it.
pub(super) fn listed_v1(it: &Message) -> Value {
    let sent = &it.sent;
    json!({
        "object": "Message",
        "id": sent.message_id,
        "provider_id": it.key_id,
        "chat_id": sent.chat_id,
        "account_id": sent.account_id,
        "chat_provider_id": sent.to,
        "text": text(&sent.text),
        "attachments": attachments_v1(sent.files.iter()),
        "timestamp": iso(it.at_ms),
        "is_sender": u8::from(it.is_own),
        "seen": u8::from(it.is_seen),
        "delivered": u8::from(it.is_delivered),
        "hidden": 0,
        "deleted": 0,
        "edited": 0,
        "is_event": 0,
        "reactions": [],
    })
}

/// A message as the second generation has it, in lists and events alike.
pub(super) fn listed_v2(it: &Message, chat: &Chat, number: &UnipileNumber) -> Value {
    let sent = &it.sent;
    let sender = if it.is_own { wire::phone_jid(&number.phone_number) } else { chat.jid.clone() };
    json!({
        "object": "Message",
        "id": sent.message_id,
        "chat_id": sent.chat_id,
        "text": text(&sent.text),
        "sender_id": sender,
        "timestamp": iso(it.at_ms),
        "is_sender": it.is_own,
        "is_hidden": false,
        "is_seen": it.is_seen,
        "is_delivered": it.is_delivered,
        "is_deleted": false,
        "is_edited": false,
        "is_event": false,
        "reactions_counter": [],
        "sender": { "id": sender, "public_identifier": chat.phone, "display_name": chat.name },
        "provider": "whatsapp",
        "attachments": attachments_v1(sent.files.iter()),
    })
}

/// `message_received`, for messages of both sides (D3).
pub(super) fn received(it: &Message, chat: &Chat, number: &UnipileNumber, moods: &Moods) -> Value {
    let own = wire::phone_jid(&number.phone_number);
    let customer = attendee(chat, moods);
    let me = json!({
        "attendee_id": "own",
        "attendee_name": "You",
        "attendee_provider_id": own,
    });
    json!({
        "event": "message_received",
        "account_id": number.account_id,
        "account_type": "WHATSAPP",
        "account_info": { "type": "WHATSAPP", "feature": "classic", "user_id": own },
        "webhook_name": "twin",
        "chat_id": chat.id,
        "provider_chat_id": chat.jid,
        "message_id": it.sent.message_id,
        "provider_message_id": it.key_id,
        "message": text(&it.sent.text),
        "timestamp": iso(it.at_ms),
        "sender": if it.is_own { me } else { customer.clone() },
        "attendees": [customer],
        "attachments": attachments_v1(it.sent.files.iter()),
        "is_sender": it.is_own,
        "is_group": false,
    })
}

/// `message_delivered` or `message_read`: the same form, and who did so as the sender.
pub(super) fn receipt(
    event: &str,
    it: &Message,
    chat: &Chat,
    number: &UnipileNumber,
    moods: &Moods,
) -> Value {
    let mut body = received(it, chat, number, moods);
    body["event"] = json!(event);
    body["timestamp"] = json!(iso(clock::now_ms()));
    body["sender"] = attendee(chat, moods);
    body["is_sender"] = json!(true);
    body
}

/// A status of an account (D3).
pub(super) fn status_v1(number: &UnipileNumber) -> Value {
    json!({ "AccountStatus": {
        "account_id": number.account_id,
        "account_type": "WHATSAPP",
        "message": number.status,
    } })
}

/// An event of the second generation (D5).
pub(super) fn event_v2(id: &str, account: &str, kind: &str, payload: &Value) -> Value {
    json!({
        "id": id,
        "created_at": iso(clock::now_ms()),
        "account_id": account,
        "type": kind,
        "payload": payload,
    })
}

/// The second generation's word for a status.
pub(super) fn word_v2(status: &str) -> &'static str {
    match status {
        "OK" => "running",
        "CREDENTIALS" => "disconnected",
        "STOPPED" => "paused",
        _ => "errored",
    }
}

fn attendee(chat: &Chat, moods: &Moods) -> Value {
    let phone = match &chat.phone {
        Some(_) if moods.is_hidden => Some("hidden".to_owned()),
        Some(phone) => Some(format!("+{}", wire::digits(phone))),
        None => Some("hidden".to_owned()),
    };
    let mut it = json!({
        "attendee_id": format!("att.{}", chat.id),
        "attendee_name": chat.name,
        "attendee_provider_id": chat.jid,
        "attendee_profile_url": Value::Null,
        "attendee_specifics": { "provider": "WHATSAPP", "phone_number": phone },
    });
    if let Some(phone) = chat.phone.as_ref().filter(|_| !moods.is_hidden) {
        it["attendee_public_identifier"] = json!(wire::phone_jid(phone));
    }
    it
}

fn attachments_v1<'a>(files: impl Iterator<Item = &'a UnipileFile>) -> Value {
    let shown = files.enumerate().map(|(n, file)| {
        let kind = match file.mime_type.split('/').next() {
            Some("image") => "img",
            Some("video") => "video",
            Some("audio") => "audio",
            _ => "file",
        };
        json!({
            "id": format!("file{n}"),
            "type": kind,
            "mimetype": file.mime_type,
            "file_name": file.name,
            "file_size": file.bytes.len(),
            "url": "att://twin",
            "sticker": file.mime_type == "image/webp",
            "unavailable": false,
        })
    });
    shown.collect()
}

fn text(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}
