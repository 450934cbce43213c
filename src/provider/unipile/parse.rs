//! Puts Unipile's webhooks into our words: those of the first generation here
//! (`docs/wire/meta-unipile-twilio.md` D3), those of the second in `parse_v2`.

use serde_json::Value;

use super::{
    chats::ChatsOf,
    parse_v2,
    wire::{first_word, millis, short, text, truth, word},
};
use crate::{
    domain::{
        contact::{Address, Lid},
        delivery::{Reason, Refusal},
        event::{Chat, Connection, Event, Failure, Status, What},
        message::{Content, Media, MediaKind, Text},
        phone::PhoneNumber,
        secret::{SecretString, without},
        waba::{InstanceKey, ProviderKind},
    },
    provider::{Parsed, Part, UPDATES_MAX, Unreadable, files::announced, raw},
};

/// Files of one message.
const FILES_MAX: usize = 30;

/// Puts a proven body into our words.
///
/// # Errors
///
/// [`Unreadable`] when it is not JSON; the caller keeps it as it came.
pub(super) fn read(
    body: &[u8],
    secrets: &[&SecretString],
    chats: ChatsOf<'_>,
) -> Result<Parsed, Unreadable> {
    let one = [raw::tree(body)?];
    let all = one[0].as_array().map_or(&one[..], Vec::as_slice);
    let bodies = if all.len() > UPDATES_MAX { &one[..] } else { all };
    Ok(Parsed { parts: bodies.iter().map(|it| part(it, secrets, chats)).collect() })
}

fn part(body: &Value, secrets: &[&SecretString], chats: ChatsOf<'_>) -> Part {
    let status = &body["AccountStatus"];
    if status.is_object() {
        let events = connection(status).map(|it| vec![it]);
        return named(&status["account_id"], events, "account_status", body, secrets);
    }
    if body["type"].is_string() && !body["payload"].is_null() {
        let name = word(&body["type"]).unwrap_or("unknown");
        let events = parse_v2::events(name, body, chats);
        return named(&body["account_id"], events, name, body, secrets);
    }
    // Some look for it one level deeper.
    let is_nested = body["account_id"].is_null() && body["data"].is_object();
    let inner = if is_nested { &body["data"] } else { body };
    let name = word(&inner["event"]).or_else(|| word(&body["event"])).unwrap_or("unknown");
    named(&inner["account_id"], events(name, inner, chats), name, body, secrets)
}

/// What there are no words for is kept as it came, but for secrets.
fn named(
    account: &Value,
    events: Option<Vec<Event>>,
    name: &str,
    body: &Value,
    secrets: &[&SecretString],
) -> Part {
    let other = || {
        let raw = Text(without(&body.to_string(), secrets));
        let name = short(&without(name, secrets));
        vec![Event::new(What::Other { name, raw }, Chat::None, Address::default())]
    };
    let names = word(account).map(|it| InstanceKey::Unipile(it.to_owned()));
    Part { names, events: events.unwrap_or_else(other), ..Part::default() }
}

fn connection(status: &Value) -> Option<Event> {
    let state = state_of(word(&status["message"])?)?;
    Some(Event::new(What::Connection(state), Chat::None, Address::default()))
}

/// The state that an account's word means (D2, D3).
pub(super) fn state_of(word: &str) -> Option<Connection> {
    Some(match word.to_ascii_uppercase().as_str() {
        "OK" | "CREATION_SUCCESS" | "RECONNECTED" | "SYNC_SUCCESS" => Connection::Connected,
        "CONNECTING" => Connection::Pending,
        "CREDENTIALS" | "DELETED" => Connection::Disconnected,
        "ERROR" | "STOPPED" | "ERROR/STOPPED" | "PERMISSIONS" => Connection::Error,
        _ => return None,
    })
}

fn events(name: &str, body: &Value, chats: ChatsOf<'_>) -> Option<Vec<Event>> {
    let told = Told::read(body);
    match name {
        "message_received" => told.messages(body, chats),
        "message_delivered" => told.about(body, told.status(body, Status::Delivered)),
        "message_read" => told.about(body, told.status(body, Status::Read)),
        "message_failed" => told.about(body, told.status(body, Status::Failed)),
        "message_edited" => {
            let text = text(&body["message"])?;
            told.about(body, What::Edit { target: told.id.clone()?, text }.into())
        }
        "message_deleted" => told.about(body, What::Revoke { target: told.id.clone()? }.into()),
        "message_reaction" => {
            let text = Text(body["reaction"].as_str().unwrap_or_default().to_owned());
            let mut events =
                told.about(body, What::Reaction { target: told.id.clone()?, text }.into())?;
            let by = &body["reaction_sender"];
            if by.is_object() {
                let is_own =
                    told.own.is_some() && told.own.as_deref() == word(&by["attendee_provider_id"]);
                events.iter_mut().for_each(|it| it.from_me = is_own);
            }
            Some(events)
        }
        _ => None,
    }
}

/// What every event of a message says.
struct Told {
    account: String,
    /// Unipile's id of the message, else WhatsApp's.
    id: Option<String>,
    chat_id: Option<String>,
    chat: Chat,
    customer: Address,
    /// WhatsApp's id of the account itself.
    own: Option<String>,
    /// The message left from the account's number, as far as is told.
    is_own: Option<bool>,
}

impl Told {
    fn read(body: &Value) -> Self {
        let place = word(&body["provider_chat_id"]).unwrap_or_default();
        let is_group = truth(&body["is_group"]) == Some(true);
        let chat = if is_group { Chat::Group } else { chat_of(place) };
        let own = word(&body["account_info"]["user_id"]).map(str::to_owned);
        let sender = &body["sender"];
        let is_own = is_own(body, sender, own.as_deref());
        let mut customer = if is_own == Some(true) { Address::default() } else { person(sender) };
        if customer.is_empty() && chat == Chat::Private {
            let others = body["attendees"].as_array().into_iter().flatten();
            let others = others.filter(|it| !is_same(it, own.as_deref())).map(person);
            let mut others = others.filter(|it| !it.is_empty());
            customer = others.next().unwrap_or_else(|| address_of(place));
        }
        Self {
            account: word(&body["account_id"]).unwrap_or_default().to_owned(),
            id: first_word(&body["message_id"])
                .or_else(|| first_word(&body["provider_message_id"])),
            chat_id: word(&body["chat_id"]).map(str::to_owned),
            chat,
            customer,
            own,
            is_own,
        }
    }

    fn messages(&self, body: &Value, chats: ChatsOf<'_>) -> Option<Vec<Event>> {
        let is_own = self.is_own.unwrap_or(false);
        if truth(&body["is_event"]) == Some(true) || (self.customer.is_empty() && !is_own) {
            return None;
        }
        if self.chat == Chat::Private {
            chats.learn(&self.account, self.chat_id.as_deref().unwrap_or_default(), &self.customer);
        }
        let id = self.id.clone()?;
        let chat = self.chat_id.as_deref().unwrap_or_default();
        let kind = ["message_type", "chat_content_type"].into_iter().find_map(|it| word(&body[it]));
        let contents = contents(&body["message"], &body["attachments"], chat, &id, kind);
        let name = text(&body["sender"]["attendee_name"]).filter(|_| !is_own);
        let quoted = quoted(&body["quoted"]);
        let events = contents.into_iter().enumerate().map(|(n, content)| {
            let mut event = self.event(body, said(content, is_own));
            event.provider_id = Some(if n == 0 { id.clone() } else { format!("{id}/{n}") });
            event.name.clone_from(&name);
            event.quoted.clone_from(&quoted);
            event
        });
        Some(events.collect())
    }

    /// A receipt. Who is its sender, the one who wrote or the one who read, nobody has written down:
    /// it is left out only where it says that the message is a customer's.
    fn status(&self, body: &Value, status: Status) -> Option<What> {
        let failure = (status == Status::Failed).then(|| Failure {
            code: "message_failed".to_owned(),
            refusal: Refusal::FailOver(Reason::Failed),
        });
        let target = self.id.clone().filter(|_| truth(&body["is_sender"]) != Some(false))?;
        Some(What::Status { target, status, participant: None, failure })
    }

    fn about(&self, body: &Value, what: Option<What>) -> Option<Vec<Event>> {
        let mut event = self.event(body, what?);
        let is_change = !matches!(event.what, What::Status { .. });
        event.from_me = is_change && self.is_own == Some(true);
        Some(vec![event])
    }

    fn event(&self, body: &Value, what: What) -> Event {
        let mut event = Event::new(what, self.chat, self.customer.clone());
        event.chat_id = self.chat_id.clone().map(Text);
        event.at = millis(&body["timestamp"]);
        event
    }
}

/// Whose message it is: what is sent through the API and typed on the phone is told as if it were
/// received (D3).
fn is_own(body: &Value, sender: &Value, own: Option<&str>) -> Option<bool> {
    let told = truth(&body["is_sender"]);
    // By LID an attendee is the account's own, too, where the number is told with it.
    let phone = person(sender).phone;
    let has_its_phone = own.zip(phone).is_some_and(|(own, it)| user_of(own).0 == it.digits());
    if told == Some(true) || is_same(sender, own) || has_its_phone {
        return Some(true);
    }
    let is_you = word(&sender["attendee_name"]) == Some("You") && told.is_none();
    if is_you { Some(true) } else { told.or_else(|| own.map(|_| false)) }
}

fn is_same(attendee: &Value, own: Option<&str>) -> bool {
    let id = word(&attendee["attendee_provider_id"]);
    own.zip(id).is_some_and(|(own, id)| user_of(own) == user_of(id))
}

/// The user of an id at WhatsApp, without the device, and the host.
fn user_of(id: &str) -> (&str, &str) {
    let (user, host) = id.split_once('@').unwrap_or((id, "s.whatsapp.net"));
    (user.split(':').next().unwrap_or(user), host)
}

/// Who an attendee is: by LID too, with or without the number.
fn person(attendee: &Value) -> Address {
    let id = word(&attendee["attendee_provider_id"]).unwrap_or_default();
    let mut address = address_of(id);
    if address.phone.is_none() {
        let places = [
            &attendee["attendee_public_identifier"],
            &attendee["attendee_specifics"]["phone_number"],
        ];
        address.phone = places.into_iter().filter_map(word).find_map(phone);
    }
    address
}

/// Reads one of WhatsApp's ids.
pub(super) fn address_of(id: &str) -> Address {
    Address { phone: jid_phone(id), lid: Lid::from_wire(id), ..Address::default() }
}

/// Only an id of a phone is a number: digits before another host are not.
fn jid_phone(id: &str) -> Option<PhoneNumber> {
    id.contains('@').then(|| PhoneNumber::from_wire(id).ok()).flatten()
}

/// Written with or without plus and spaces; `hidden` is no number.
pub(super) fn phone(text: &str) -> Option<PhoneNumber> {
    let bare: String = text.chars().filter(|it| !it.is_whitespace()).collect();
    PhoneNumber::from_wire(&bare).ok()
}

pub(super) fn chat_of(place: &str) -> Chat {
    match place.rsplit_once('@').map_or("", |it| it.1) {
        "g.us" => Chat::Group,
        "broadcast" => Chat::Broadcast,
        "newsletter" => Chat::Channel,
        _ => Chat::Private,
    }
}

pub(super) fn said(content: Content, is_own: bool) -> What {
    if is_own { What::Echo(content) } else { What::Message(content) }
}

/// The message that is quoted, in whichever form.
pub(super) fn quoted(quoted: &Value) -> Option<String> {
    first_word(quoted).or_else(|| first_word(&quoted["id"])).or_else(|| {
        ["message_id", "provider_id"].into_iter().find_map(|it| first_word(&quoted[it]))
    })
}

/// What a message says: one for each of its files; its text is below the first.
pub(super) fn contents(
    said: &Value,
    attachments: &Value,
    chat: &str,
    id: &str,
    kind: Option<&str>,
) -> Vec<Content> {
    let one = [attachments.clone()];
    let files = match attachments {
        Value::Array(all) => all.as_slice(),
        Value::Object(_) => &one[..],
        _ => &[],
    };
    let mut contents: Vec<Content> = Vec::new();
    for it in files.iter().filter(|it| it.is_object()).take(FILES_MAX) {
        let caption = text(said).filter(|_| contents.is_empty()).unwrap_or_default();
        contents.push(file(it, caption, chat, id));
    }
    if contents.is_empty() {
        contents.push(match text(said) {
            Some(text) => Content::Text { text },
            None => {
                Content::Unsupported { kind: short(kind.unwrap_or("empty")), text: Text::default() }
            }
        });
    }
    contents
}

fn file(it: &Value, caption: Text, chat: &str, message: &str) -> Content {
    let mime_type = word(&it["mimetype"]).or_else(|| word(&it["mime_type"])).map(str::to_owned);
    let kind = word(&it["type"]).unwrap_or_default();
    if truth(&it["unavailable"]) == Some(true) {
        return Content::Unsupported { kind: short(&format!("unavailable {kind}")), text: caption };
    }
    let kind = match kind {
        _ if truth(&it["sticker"]) == Some(true) => MediaKind::Sticker,
        "img" | "image" => MediaKind::Image,
        "video" => MediaKind::Video,
        "audio" | "voice_note" => MediaKind::Audio,
        "sticker" => MediaKind::Sticker,
        _ => MediaKind::Document,
    };
    let is_plain = |it: &&str| !it.is_empty() && !it.contains('/');
    let place = [Some(chat), Some(message), word(&it["id"])].map(|it| it.filter(is_plain));
    let id = match place {
        [Some(chat), Some(message), Some(id)] => Some(format!("{chat}/{message}/{id}")),
        _ => None,
    };
    let bytes = ["file_size", "size"].into_iter().find_map(|name| it[name].as_u64());
    let name = ["file_name", "filename", "name"].into_iter().find_map(|name| word(&it[name]));
    Content::Media(Media {
        caption,
        mime_type,
        file_name: name.map(str::to_owned),
        bytes,
        id,
        ..announced(ProviderKind::Unipile, kind)
    })
}
