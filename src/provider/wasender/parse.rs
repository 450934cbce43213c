//! Puts a proven body of Wasender into our words: `docs/wire/wasender.md` §4, and the
//! predecessor's dialect (`docs/CONTRACT.md`, "Two webhook dialects").
//!
//! `provider_id` is an event's own id; statuses, reactions, edits and revokes name the message
//! they speak of as `target`.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    connection_of,
    masked::{other, without_numbers},
    payload::{Message, unsupported},
    wire::{
        Attachment, Change, Deletion, Hook, Item, Key, OptionVotes, Plain, Progress, Protocol, Raw,
        Reaction, Receipts, Results, text,
    },
};
use crate::{
    domain::{
        clock::Millis,
        event::{Chat, Event, Status, Votes, What},
        message::{Content, MediaKind, Text},
        secret::{SecretString, without},
        waba::InstanceKey,
    },
    provider::{Parsed, Part, Unreadable, masked::longest_first, raw},
};

/// There are no words for something, or it has a field twice: the body is kept raw, too.
struct Missed;

impl From<serde_json::Error> for Missed {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

type Told = Result<(), Missed>;

/// Puts a proven body into our words (`docs/wire/wasender.md` §4.2–§4.6). `secrets` are masked in
/// whatever is kept raw.
///
/// # Errors
///
/// [`Unreadable`] when it is not JSON, or something we have no words for is nested too deeply to be
/// masked; the caller keeps it as it came.
pub(super) fn read(body: &[u8], secrets: &[&SecretString]) -> Result<Parsed, Unreadable> {
    let body = raw::text(body);
    let is_object = body.trim_ascii_start().starts_with('{');
    // What is not JSON fails again in `other`.
    let hook: Hook<'_> = serde_json::from_str(&body).ok().filter(|_| is_object).unwrap_or_default();
    let name = hook.event.text();
    let mut reader =
        Reader { body: &body, secrets, at: hook.timestamp.millis(), events: Vec::new() };
    if !is_object || reader.event(name.as_deref(), hook.data).is_err() {
        let what = other(name.as_deref().unwrap_or("unknown"), &body, secrets);
        let what = what.map_err(|it| Unreadable { line: it.line(), column: it.column() })?;
        reader.tell(what, &Key::default());
    }
    let names = hook.instance_id.word().map(|it| InstanceKey::Wasender(it.into()));
    Ok(Parsed { parts: vec![Part { names, events: reader.events, ..Part::default() }] })
}

/// Collects the events of one body.
struct Reader<'a> {
    body: &'a str,
    secrets: &'a [&'a SecretString],
    /// The envelope's time.
    at: Option<Millis>,
    events: Vec<Event>,
}

impl<'a> Reader<'a> {
    fn event(&mut self, name: Option<&str>, data: Raw<'a>) -> Told {
        match name {
            Some(
                "messages.received"
                | "messages-personal.received"
                | "messages-group.received"
                | "messages-newsletter.received"
                | "messages.upsert",
            ) => self.each(data, |it, item| it.messages(item, false)),
            Some("message.sent") => self.each(data, Self::sent),
            Some("messages.update") => self.each(data, Self::update),
            Some("message-receipt.update") => self.each(data, Self::receipts),
            Some("messages.delete") => self.each(data, Self::deletion),
            Some("messages.reaction") => self.each(data, Self::reaction),
            Some("poll.results") => self.each(data, Self::votes),
            Some("session.status" | "session_status" | "connection_status") => {
                self.plain(data, plain_connection)
            }
            Some("status") => self.plain(data, plain_status),
            Some("message") | None => self.plain(data, plain_message),
            Some(_) => Err(Missed),
        }
    }

    /// Tells one or many; one that cannot be told does not hinder the others.
    fn each<T: Deserialize<'a>>(
        &mut self,
        data: Raw<'a>,
        tell: impl Fn(&mut Self, &T) -> Told,
    ) -> Told {
        if data.is_absent() {
            return Err(Missed);
        }
        let mut all = Ok(());
        for item in data.all() {
            all = all.and(match item.one() {
                Ok(Some(item)) => tell(self, &item),
                Ok(None) | Err(_) => Err(Missed),
            });
        }
        all
    }

    fn messages(&mut self, item: &Item<'a>, is_sent: bool) -> Told {
        if item.messages.is_absent() {
            return self.message(item, is_sent);
        }
        self.each(item.messages, |it, item| it.message(item, is_sent))
    }

    fn message(&mut self, item: &Item<'a>, is_sent: bool) -> Told {
        let body = item.message_body.text();
        if !item.key.is_object() && !item.message.is_object() && body.is_none() {
            return Err(Missed);
        }
        let mut key: Key<'_> = item.key.one()?.unwrap_or_default();
        // Some have these beside the key.
        key.id = key.id.or(item.id);
        key.remote_jid = key.remote_jid.or(item.remote_jid);
        let ours = is_sent || key.from_me.is(true);
        let message = Message::open(item.message)?;
        let what = what(&message, body, ours)?;
        let (is_message, is_change) = (matches!(what, What::Message(_)), what.target().is_some());
        let quoted = if is_message { message.quoted()? } else { None };
        let event = self.tell_of(what, &key, ours);
        event.provider_id = key.id();
        event.quoted = quoted;
        event.from_me = is_change && ours;
        // By which it is marked as read later on.
        let chat = key.remote_jid.word().filter(|_| is_message && event.chat == Chat::Private);
        event.chat_id = chat.map(text);
        event.at = item.message_timestamp.millis().or(event.at);
        // The name on a message of ours is the vendor's.
        event.name = item.push_name.text().filter(|_| !ours).map(text);
        Ok(())
    }

    fn sent(&mut self, item: &Item<'a>) -> Told {
        if !item.success.is(false) {
            return self.messages(item, true);
        }
        let error = item.error.text().unwrap_or_default();
        let error = without_numbers(&without(&error, &longest_first(self.secrets)));
        let key: Key<'_> = item.key.one()?.unwrap_or_default();
        let event = self.tell_of(What::SendFailed { error: Text(error) }, &key, true);
        event.provider_id = key.id();
        Ok(())
    }

    /// As Baileys tells it: `key` names the message, `reaction.key` the reaction.
    fn reaction(&mut self, item: &Item<'a>) -> Told {
        let Some(reaction) = item.reaction.one::<Reaction<'_>>()? else {
            return self.messages(item, false);
        };
        let message: Key<'_> = item.key.one()?.unwrap_or_default();
        let own: Option<Key<'_>> = reaction.key.one()?;
        let own_id = own.as_ref().and_then(Key::id);
        let target = message.id().or(own_id.clone()).ok_or(Missed)?;
        let own_id = own_id.filter(|it| *it != target);
        let what = What::Reaction { target, text: text(reaction.text.text().unwrap_or_default()) };
        let key = own.unwrap_or(message);
        let event = self.tell(what, &key);
        event.provider_id = own_id;
        event.from_me = key.from_me.is(true);
        Ok(())
    }

    fn votes(&mut self, item: &Results<'a>) -> Told {
        let key: Key<'_> = item.key.one()?.unwrap_or_default();
        let target = key.id().ok_or(Missed)?;
        let mut results = Vec::new();
        for option in item.poll_result.all() {
            let OptionVotes { name, voters } = option.one()?.ok_or(Missed)?;
            let option = text(name.text().ok_or(Missed)?);
            let voters = voters.all().into_iter().filter_map(Raw::text).map(text).collect();
            results.push(Votes { option, voters });
        }
        self.tell_of(What::Votes { target, results }, &key, true);
        Ok(())
    }

    fn update(&mut self, item: &Change<'a>) -> Told {
        let inner: Option<Change<'_>> = item.update.one()?;
        let Some(word) = inner.and_then(|it| it.status.word()).or(item.status.word()) else {
            // Another change of a message.
            return Ok(());
        };
        let key: Key<'_> = item.key.one()?.unwrap_or_default();
        let (target, status) = (key.id().ok_or(Missed)?, status(&word).ok_or(Missed)?);
        self.tell_of(What::Status { target, status, participant: None, failure: None }, &key, true);
        Ok(())
    }

    fn receipts(&mut self, item: &Receipts<'a>) -> Told {
        let inner: Option<Receipts<'_>> = item.message.one()?;
        let item = inner.as_ref().unwrap_or(item);
        let key: Key<'_> = item.key.one()?.unwrap_or_default();
        let target = key.id().ok_or(Missed)?;
        self.each(item.receipt, |it, receipt: &Progress<'_>| {
            let who = receipt.user_jid.text().or(key.participant.text()).map(text);
            let mut told = Err(Missed);
            for (time, status) in [
                (receipt.receipt_timestamp, Status::Delivered),
                (receipt.read_timestamp, Status::Read),
            ] {
                if time.int().is_some_and(|it| it > 0) {
                    let (target, participant) = (target.clone(), who.clone());
                    let event = it.tell_of(
                        What::Status { target, status, participant, failure: None },
                        &key,
                        true,
                    );
                    event.at = time.millis().or(event.at);
                    told = Ok(());
                }
            }
            told
        })
    }

    fn deletion(&mut self, item: &Deletion<'a>) -> Told {
        self.each(item.keys, |it, key: &Key<'_>| {
            let event = it.tell(What::Revoke { target: key.id().ok_or(Missed)? }, key);
            // People delete their own messages.
            event.from_me = key.from_me.is(true);
            Ok(())
        })
    }

    /// Tells what the predecessor has in `data`, or beside it.
    fn plain(&mut self, data: Raw<'a>, what: fn(&Plain<'a>) -> Option<What>) -> Told {
        let mut plain: Plain<'_> = data.one()?.unwrap_or_default();
        let mut found = what(&plain);
        if found.is_none() {
            plain = serde_json::from_str(self.body)?;
            found = what(&plain);
        }
        let what = found.ok_or(Missed)?;
        let is_message = matches!(what, What::Message(_));
        let event = self.tell(what, &Key { remote_jid: plain.from, ..Key::default() });
        let id = plain.id.word().or(plain.message_id.word()).filter(|_| is_message);
        event.provider_id = id.map(String::from);
        event.at = plain.timestamp.millis().or(event.at).or(plain.time.millis());
        Ok(())
    }

    /// Adds an event; the caller may say more of it.
    fn tell(&mut self, what: What, key: &Key<'_>) -> &mut Event {
        self.tell_of(what, key, key.from_me.is(true))
    }

    fn tell_of(&mut self, what: What, key: &Key<'_>, ours: bool) -> &mut Event {
        let (chat, contact) = key.place(ours);
        let event = Event { at: self.at, ..Event::new(what, chat, contact) };
        self.events.push_mut(event)
    }
}

/// What a message does (§4.4): say something, or change another message.
fn what<'a>(
    message: &Message<'a>,
    body: Option<Cow<'a, str>>,
    ours: bool,
) -> serde_json::Result<What> {
    if let Some(reaction) = message.payload.reaction_message.one::<Reaction<'_>>()?
        && let Some(target) = reaction.key.one()?.as_ref().and_then(Key::id)
    {
        return Ok(What::Reaction { target, text: text(reaction.text.text().unwrap_or_default()) });
    }
    if let Some(protocol) = message.payload.protocol_message.one::<Protocol<'_>>()?
        && let Some(target) = protocol.key.one()?.as_ref().and_then(Key::id)
    {
        match protocol.kind.word().as_deref() {
            Some("0" | "REVOKE") => return Ok(What::Revoke { target }),
            Some("14" | "MESSAGE_EDIT") => {
                let edited = Message::open(protocol.edited_message)?.text()?;
                let text = text(edited.or(body).unwrap_or_default());
                return Ok(What::Edit { target, text });
            }
            _ => {}
        }
    }
    let content = message.content(body)?;
    Ok(if ours { What::Echo(content) } else { What::Message(content) })
}

fn plain_message(plain: &Plain<'_>) -> Option<What> {
    plain.from.word()?;
    let text = plain.message.word();
    let kind = plain.kind.text().unwrap_or("text".into()).to_ascii_lowercase();
    let media = match kind.as_str() {
        "image" => Some(MediaKind::Image),
        "video" => Some(MediaKind::Video),
        "audio" => Some(MediaKind::Audio),
        "document" => Some(MediaKind::Document),
        "sticker" => Some(MediaKind::Sticker),
        _ => None,
    };
    Some(What::Message(match (media, text) {
        (Some(kind), caption) => Attachment::default().content(kind, caption, false),
        (None, Some(text)) => Content::text(text),
        (None, None) if kind == "text" || kind == "message" => return None,
        (None, None) => unsupported(&kind),
    }))
}

fn plain_status(plain: &Plain<'_>) -> Option<What> {
    let target = plain.message_id.word().or(plain.id.word())?.into_owned();
    let status = status(&plain.status.word()?)?;
    Some(What::Status { target, status, participant: None, failure: None })
}

fn plain_connection(plain: &Plain<'_>) -> Option<What> {
    connection_of(&plain.status.text()?).map(What::Connection)
}

/// How far a message has got (§4.5).
fn status(word: &str) -> Option<Status> {
    Some(match word.to_ascii_lowercase().as_str() {
        "0" | "error" | "failed" => Status::Failed,
        "1" | "pending" | "in_progress" => Status::Pending,
        "2" | "sent" | "server_ack" => Status::Sent,
        "3" | "delivered" | "delivery_ack" => Status::Delivered,
        "4" | "read" => Status::Read,
        "5" | "played" => Status::Played,
        _ => return None,
    })
}
