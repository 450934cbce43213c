//! Puts events of the second generation into our words (`docs/wire/meta-unipile-twilio.md` D5).
//! Receipts and changes carry ids only.

use serde_json::Value;

use super::{
    chats::ChatsOf,
    parse::{address_of, chat_of, contents, phone, quoted, said},
    wire::{first_word, millis, text, truth, word},
};
use crate::domain::{
    contact::Address,
    event::{Chat, Connection, Event, Status, What},
    message::Text,
};

pub(super) fn events(name: &str, body: &Value, chats: ChatsOf<'_>) -> Option<Vec<Event>> {
    let (payload, account) = (&body["payload"], word(&body["account_id"]).unwrap_or_default());
    let at = || millis(&payload["timestamp"]).or_else(|| millis(&body["created_at"]));
    if let Some(state) = state_of(name) {
        let mut event = Event::new(What::Connection(state), Chat::None, Address::default());
        event.at = at();
        return Some(vec![event]);
    }
    let chat_id = word(&payload["chat_id"]);
    let known = chat_id.and_then(|it| chats.with(account, it)).unwrap_or_default();
    let target = || first_word(&payload["message_id"]).or_else(|| first_word(&payload["id"]));
    let status =
        |status| Some(What::Status { target: target()?, status, participant: None, failure: None });
    let what = match name {
        "message.new" => return message(payload, body, account, chats),
        "message.receipt.delivery" => status(Status::Delivered)?,
        "message.receipt.read" => status(Status::Read)?,
        "message.update" if truth(&payload["is_deleted"]) == Some(true) => {
            What::Revoke { target: target()? }
        }
        "message.update" => What::Edit { target: target()?, text: text(&payload["text"])? },
        "message.delete" => What::Revoke { target: target()? },
        "message.reaction.new" => {
            let emoji = ["reaction", "value", "emoji"];
            let emoji = emoji.into_iter().find_map(|it| payload[it].as_str()).unwrap_or_default();
            What::Reaction { target: target()?, text: Text(emoji.to_owned()) }
        }
        _ => return None,
    };
    let chat = chat_id.map_or(Chat::Private, chat_of);
    let is_change = !matches!(what, What::Status { .. });
    let mut event = Event::new(what, chat, known);
    event.from_me = is_change && truth(&payload["is_sender"]) == Some(true);
    event.chat_id = chat_id.map(|it| Text(it.to_owned()));
    event.at = at();
    Some(vec![event])
}

fn message(payload: &Value, body: &Value, account: &str, chats: ChatsOf<'_>) -> Option<Vec<Event>> {
    if truth(&payload["is_event"]) == Some(true) {
        return None;
    }
    let is_own = truth(&payload["is_sender"]) == Some(true);
    let id = first_word(&payload["id"])?;
    let chat_id = word(&payload["chat_id"]);
    let is_group = truth(&payload["specifics"]["is_group"]) == Some(true);
    let chat = if is_group { Chat::Group } else { chat_id.map_or(Chat::Private, chat_of) };
    let customer = if is_own {
        let known = chat_id.and_then(|it| chats.with(account, it));
        known.or_else(|| chat_id.map(address_of)).unwrap_or_default()
    } else {
        sender(payload)
    };
    if customer.is_empty() && !is_own {
        return None;
    }
    if chat == Chat::Private && !is_own {
        chats.learn(account, chat_id.unwrap_or_default(), &customer);
    }
    let place = chat_id.unwrap_or_default();
    let contents = contents(&payload["text"], &payload["attachments"], place, &id, None);
    let name = text(&payload["sender"]["display_name"]).filter(|_| !is_own);
    let quoted = quoted(&payload["quoted"]);
    let events = contents.into_iter().enumerate().map(|(n, content)| {
        let mut event = Event::new(said(content, is_own), chat, customer.clone());
        event.provider_id = Some(if n == 0 { id.clone() } else { format!("{id}/{n}") });
        event.name.clone_from(&name);
        event.quoted.clone_from(&quoted);
        event.chat_id = chat_id.map(|it| Text(it.to_owned()));
        event.at = millis(&payload["timestamp"]).or_else(|| millis(&body["created_at"]));
        event
    });
    Some(events.collect())
}

fn sender(payload: &Value) -> Address {
    let id = word(&payload["sender_id"]).or_else(|| word(&payload["sender"]["id"]));
    let mut address = id.map(address_of).unwrap_or_default();
    if address.phone.is_none() {
        address.phone = word(&payload["sender"]["public_identifier"]).and_then(phone);
    }
    address
}

fn state_of(name: &str) -> Option<Connection> {
    Some(match name {
        "account.status.running" | "account.add" | "account.reconnect" => Connection::Connected,
        "account.status.disconnected" | "account.remove" => Connection::Disconnected,
        "account.status.errored" | "account.status.paused" => Connection::Error,
        _ => return None,
    })
}
