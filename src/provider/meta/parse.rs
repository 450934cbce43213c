//! Puts a proven body of Meta's into our words (`docs/wire/meta-unipile-twilio.md` A3–A10): a part
//! for each change, since one body may speak of many numbers.
//!
//! `provider_id` is an event's own id; statuses, reactions, edits and revokes name the message
//! they speak of as `target`.

use serde_json::Value;

use super::{
    account,
    classes::late,
    message,
    wire::{address, each, millis, owned, text, word},
};
use crate::{
    domain::{
        contact::Address,
        delivery::{Reason, Refusal},
        event::{Chat, Event, Failure, Status, What},
        message::Text,
        phone::PhoneNumber,
        secret::SecretString,
        waba::InstanceKey,
    },
    provider::{Parsed, Part, UPDATES_MAX, Unreadable, masked::other, raw::tree},
};

/// What every WhatsApp webhook of Meta's is about.
const OBJECT: &str = "whatsapp_business_account";
/// Fields that speak of one number, and name it in `metadata` (A7).
const OF_NUMBER: [&str; 4] = ["messages", "message_echoes", "smb_message_echoes", "user_id_update"];

/// Puts a proven body into our words. `secrets` are masked in whatever is kept raw.
///
/// # Errors
///
/// [`Unreadable`] when it is not JSON; the caller keeps it as it came.
pub(super) fn read(body: &[u8], secrets: &[&SecretString]) -> Result<Parsed, Unreadable> {
    let body = tree(body)?;
    let mut parts = Vec::new();
    if body["object"] == OBJECT && n_updates(&body) <= UPDATES_MAX {
        for entry in each(&body["entry"]) {
            for change in each(&entry["changes"]) {
                parts.push(Change { entry, told: change, secrets }.part());
            }
        }
    }
    if parts.is_empty() {
        let name = text(&body["object"]).unwrap_or("unknown").to_owned();
        let what = other(&name, body, secrets);
        let events = vec![Event::new(what, Chat::None, Address::default())];
        parts.push(Part { events, ..Part::default() });
    }
    Ok(Parsed { parts })
}

/// Things told; a change that tells none is one.
fn n_updates(body: &Value) -> usize {
    let of_change = |it: &Value| {
        let lists = ["messages", "message_echoes", "statuses", "errors", "user_id_update"];
        let n_told: usize = lists.into_iter().map(|name| each(&it["value"][name]).len()).sum();
        n_told.max(1)
    };
    let changes = each(&body["entry"]).iter().flat_map(|it| each(&it["changes"]));
    changes.map(of_change).sum()
}

/// One change of one entry.
struct Change<'a> {
    entry: &'a Value,
    told: &'a Value,
    secrets: &'a [&'a SecretString],
}

impl Change<'_> {
    fn part(&self) -> Part {
        let value = &self.told["value"];
        let field = text(&self.told["field"]).unwrap_or("unknown");
        let mut events = match field {
            "messages" => self.messages(value),
            "message_echoes" | "smb_message_echoes" => each(&value["message_echoes"])
                .iter()
                .map(|it| self.message(it, value, true))
                .collect(),
            "user_id_update" => self.moved(value),
            "account_update" => account::events(value),
            _ => Vec::new(),
        };
        // What there is no word for, and what is more than a word can say.
        if events.is_empty() || account::is_kept(field) {
            let mut event = self.other(field, self.told.clone());
            event.at = millis(&self.entry["time"]);
            events.push(event);
        }
        let names = self.names(field, value);
        // The account that a partner lost, or its own (A7).
        let account = owned(&value["waba_info"]["waba_id"]).or(owned(&self.entry["id"]));
        let account = account.filter(|_| names.is_none());
        Part { account, names, service: None, events, warning: account::warning(field, value) }
    }

    /// Which number it speaks of: by its id, never by how it is displayed, and by the account's id
    /// only where somebody put the number's there.
    fn names(&self, field: &str, value: &Value) -> Option<InstanceKey> {
        if let Some(id) = owned(&value["metadata"]["phone_number_id"]) {
            return Some(InstanceKey::Meta(id));
        }
        if OF_NUMBER.contains(&field) {
            return owned(&self.entry["id"]).map(InstanceKey::Meta);
        }
        // Some fields of an account name a number by its digits alone (A7).
        let number = word(&value["display_phone_number"])?;
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        Some(InstanceKey::Phone(PhoneNumber::from_wire(&digits).ok()?.alias()))
    }

    fn messages(&self, value: &Value) -> Vec<Event> {
        let messages = each(&value["messages"]).iter().map(|it| self.message(it, value, false));
        let statuses = each(&value["statuses"]).iter().map(|it| self.status(it));
        // Errors of no message.
        let errors = each(&value["errors"]).iter().map(|it| self.other("errors", it.clone()));
        messages.chain(statuses).chain(errors).collect()
    }

    fn message(&self, message: &Value, value: &Value, is_echo: bool) -> Event {
        let kind = text(&message["type"]).unwrap_or("unknown");
        let what = message::what(message, is_echo);
        let what = what.unwrap_or_else(|| self.raw(&format!("messages.{kind}"), message));
        let mut contact = if is_echo {
            address([&message["to"], &message["to_user_id"]])
        } else {
            address([&message["from"], &message["from_user_id"]])
        };
        let profile = profile(value, message, is_echo);
        if contact.bsuid.is_none() {
            contact.bsuid = profile.and_then(|it| address([&it["wa_id"], &it["user_id"]]).bsuid);
        }
        let former = contact.clone();
        if kind == "system" {
            renamed(&mut contact, &message["system"]);
        }
        let former = Some(former).filter(|it| *it != contact);
        let group = owned(&message["group_id"]);
        let chat = if group.is_some() { Chat::Group } else { Chat::Private };
        let sender = owned(&message["from"]).or(owned(&message["from_user_id"]));
        let mut event = Event::new(what, chat, contact);
        event.former = former;
        event.name = profile.and_then(name).filter(|_| !is_echo);
        event.provider_id = owned(&message["id"]);
        event.chat_id = group.or(sender).map(Text);
        event.quoted = owned(&message["context"]["id"]);
        event.from_me = is_echo;
        event.at = millis(&message["timestamp"]);
        event
    }

    fn status(&self, status: &Value) -> Event {
        let contact = address([&status["recipient_id"], &status["recipient_user_id"]]);
        let is_group = status["recipient_type"] == "group";
        let member =
            [&status["recipient_participant_id"], &status["recipient_participant_user_id"]];
        let participant = member.into_iter().find_map(owned).map(Text).filter(|_| is_group);
        let word = text(&status["status"]).and_then(word_of);
        let what = match (owned(&status["id"]), word) {
            (Some(target), Some(word)) => {
                let failure = (word == Status::Failed).then(|| failure(status));
                What::Status { target, status: word, participant, failure }
            }
            _ => self.raw("statuses", status),
        };
        let (chat, contact) =
            if is_group { (Chat::Group, Address::default()) } else { (Chat::Private, contact) };
        let mut event = Event::new(what, chat, contact);
        event.at = millis(&status["timestamp"]);
        event.reference = text(&status["biz_opaque_callback_data"]).and_then(|it| it.parse().ok());
        event
    }

    /// Customers whose scoped id is another one now (A10).
    fn moved(&self, value: &Value) -> Vec<Event> {
        let moved = each(&value["user_id_update"]).iter().map(|it| {
            let mut event = self.other("user_id_update", it.clone());
            event.chat = Chat::Private;
            event.contact = address([&it["wa_id"], &it["user_id"]["current"]]);
            let former = address([&Value::Null, &it["user_id"]["previous"]]);
            event.former = Some(former).filter(|it| !it.is_empty());
            event.at = millis(&it["timestamp"]);
            event
        });
        moved.collect()
    }

    fn other(&self, name: &str, value: Value) -> Event {
        Event::new(other(name, value, self.secrets), Chat::None, Address::default())
    }

    fn raw(&self, name: &str, value: &Value) -> What {
        other(name, value.clone(), self.secrets)
    }
}

/// What `contacts` says of who wrote.
fn profile<'a>(value: &'a Value, message: &Value, is_echo: bool) -> Option<&'a Value> {
    let (phone, bsuid) = if is_echo { ("to", "to_user_id") } else { ("from", "from_user_id") };
    let all = each(&value["contacts"]);
    let is = |it: &&Value, field: &str, id: &Value| !id.is_null() && it[field] == *id;
    let found = all.iter().find(|it| {
        is(it, "wa_id", &message[phone])
            || is(it, "user_id", &message[bsuid])
            || is(it, "user_id", &message[phone])
    });
    // The only one of an only message is of who wrote it.
    let is_only = all.len() == 1 && each(&value["messages"]).len() == 1;
    found.or_else(|| all.first().filter(|_| is_only && !is_echo))
}

fn name(profile: &Value) -> Option<Text> {
    let profile = &profile["profile"];
    text(&profile["name"]).or(text(&profile["username"])).map(|it| Text(it.to_owned()))
}

/// Who a customer is after they changed their number or their id (A4, A10).
fn renamed(contact: &mut Address, system: &Value) {
    let now = address([&system["wa_id"], &system["user_id"]]);
    contact.phone = now.phone.or(contact.phone.take());
    contact.bsuid = now.bsuid.or(contact.bsuid.take());
}

fn word_of(word: &str) -> Option<Status> {
    Some(match word {
        "sent" => Status::Sent,
        "delivered" => Status::Delivered,
        "read" => Status::Read,
        "played" => Status::Played,
        "failed" => Status::Failed,
        _ => return None,
    })
}

/// Why an accepted message failed. Without a code it may be the customer's own will, which another
/// way would go round.
fn failure(status: &Value) -> Failure {
    let code = each(&status["errors"]).iter().find_map(|it| {
        let code = &it["code"];
        code.as_u64().or_else(|| code.as_str()?.parse().ok())
    });
    let at = millis(&status["timestamp"]).unwrap_or_default();
    let refusal = code.map_or(Refusal::GiveUp(Reason::Failed), |it| late(it, at));
    Failure { code: code.map_or_else(|| "none".to_owned(), |it| it.to_string()), refusal }
}
