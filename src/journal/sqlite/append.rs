//! Keeping the events of a webhook: one transaction, duplicates decided in it, signals applied.

use bytes::Bytes;

use super::{
    contacts,
    devices::{self, Telling},
    echo,
    entries::{self, DONE, ECHO, EntryRow, MESSAGE, NewRow, SIGNAL, WAITING},
    forwards, heard,
    keys::{self, Claimed, Key, KeyBytes},
    marks::{self, Mark},
    media, outbox,
    state::Cx,
    waiting, windows,
};
use crate::{
    domain::{
        answer::Unanswered,
        clock::Millis,
        event::{Chat, Event, What},
        id::{ContactId, EntryId, InstanceId, VendorId},
        schedule::{Job, Kind},
    },
    journal::{Appended, Change, NewEvent, NewEvents, ORPHAN_WAIT, Recorded, life::Life},
    sqlite::DbError,
    vault::{Token, Vault},
};

/// Set aside for an event's plain form, which may grow.
const PLAIN_BYTES: usize = 2_048;

/// The events of a webhook with everything that can be computed outside the writer.
pub(super) struct Prepared {
    pub(super) vendor: VendorId,
    pub(super) instance: InstanceId,
    pub(super) silence: Millis,
    pub(super) forward: bool,
    pub(super) now: Millis,
    events: Vec<PreparedEvent>,
}

pub(super) struct PreparedEvent {
    pub(super) event: Event,
    unanswered: Option<Unanswered>,
    body: Vec<u8>,
    aliases: Vec<Token>,
    key: Option<Key>,
    /// The send, or message typed on the phone, that it is, speaks of or quotes.
    pub(super) pid: Option<Token>,
    /// The customer's message that it may speak of or quote.
    message: Option<Token>,
    pub(super) text_key: Option<i64>,
    /// Where another linked device may tell it, too.
    pub(super) telling: Option<Telling>,
}

pub(super) fn prepare(vault: &Vault, batch: NewEvents) -> Result<Prepared, DbError> {
    let NewEvents { vendor, instance, silence, forward, is_told_twice, now, raw, events } = batch;
    let prepare = |(n, NewEvent { event, unanswered })| {
        let mut prepared = prepare_one(vault, &instance, &raw, n, event, unanswered)?;
        if is_told_twice {
            prepared.telling = Telling::of(vault, &instance, &prepared.event, now);
        }
        Ok(prepared)
    };
    let events = events.into_iter().enumerate().map(prepare).collect::<Result<_, DbError>>()?;
    Ok(Prepared { vendor, instance, silence, forward, now, events })
}

fn prepare_one(
    vault: &Vault,
    instance: &InstanceId,
    raw: &Bytes,
    n: usize,
    event: Event,
    unanswered: Option<Unanswered>,
) -> Result<PreparedEvent, DbError> {
    // What an event needs is no more than it came with, most often.
    let mut plain = Vec::with_capacity(raw.len().min(PLAIN_BYTES));
    serde_json::to_writer(&mut plain, &event).map_err(|_| DbError::Unreadable("event"))?;
    let body = entries::seal(vault, instance, &plain)?;
    let about = match &event.what {
        // A customer's message is found by its dedupe key, so what is asked for is what it quotes.
        What::Message(_) => event.quoted.as_deref(),
        What::Echo(_) => event.provider_id.as_deref(),
        what => what.target(),
    };
    let pid = about.map(|it| entries::pid(vault, instance, it));
    let message = about.map(|it| keys::message_token(vault, instance, it));
    let text_key = match &event.what {
        What::Echo(content) => Some(entries::text_key(vault, content)),
        _ => None,
    };
    // In a group the sender is not the conversation, but still tells equal ids apart.
    let aliases = contacts::tokens(vault, instance, &event.contact);
    let key = Key::of(vault, instance, &event, raw, n);
    Ok(PreparedEvent {
        event,
        unanswered,
        body,
        aliases,
        key,
        pid,
        message,
        text_key,
        telling: None,
    })
}

pub(super) fn append(cx: &mut Cx<'_>, batch: &Prepared) -> Result<Appended, DbError> {
    let mut appended = Appended::default();
    for event in &batch.events {
        let recorded = append_one(cx, batch, event, &mut appended)?;
        if matches!(recorded, Recorded::Duplicate(_)) {
            cx.delta(&batch.vendor).duplicates += 1;
        }
        appended.entries.push(recorded);
    }
    appended.changes = std::mem::take(&mut cx.changes);
    Ok(appended)
}

fn append_one(
    cx: &mut Cx<'_>,
    batch: &Prepared,
    it: &PreparedEvent,
    appended: &mut Appended,
) -> Result<Recorded, DbError> {
    let event = &it.event;
    let contact = contacts::of_event(cx, &batch.instance, event, &it.aliases)?;
    let id = cx.next_id(batch.now)?;
    let claimed = it.key.map(|key| keys::claim(cx, key, contact, id, batch.now)).transpose()?;
    let dedupe = match claimed {
        Some(Claimed::Known(first)) => {
            still_open(cx, first)?;
            return Ok(Recorded::Duplicate(first));
        }
        Some(Claimed::New(key)) => Some(key),
        None => None,
    };
    let speaker = contact;
    let contact = contact.filter(|_| event.chat == Chat::Private);
    let is_of_device = it.telling.as_ref().is_some_and(Telling::is_of_device);
    let is_unclear = is_of_device && it.is_change() && named(cx, it, contact)?.is_none();
    if !is_unclear && let Some(first) = told_before(cx, batch, it, speaker, id)? {
        if let Some(key) = dedupe {
            keys::lead(cx, key, first)?;
        }
        if let (What::Message(_), Some(contact)) = (&event.what, contact) {
            windows::wrote(cx, contact, event, batch.now)?;
        }
        still_open(cx, first)?;
        return Ok(Recorded::Duplicate(first));
    }
    contacts::moved(cx, &batch.instance, speaker, event)?;
    let new = New { id, contact, dedupe };
    match &event.what {
        What::Message(_) => message(cx, batch, it, new)?,
        What::Echo(_) => {
            appended.n_humans += usize::from(echo::arrived(cx, batch, it, new)?);
        }
        What::Edit { .. }
        | What::Revoke { .. }
        | What::Reaction { .. }
        | What::Votes { .. }
        | What::Status { .. } => about_a_message(cx, batch, it, new)?,
        What::SendFailed { .. } | What::Connection(_) | What::Other { .. } => {
            signal(cx, batch, it, new, Signal::Done { about: None })?;
        }
    }
    // The other device may know which message is meant.
    if batch.forward && !is_unclear {
        forwards::kept(cx, batch, event, id)?;
    }
    outbox::kept(cx, event, id, batch.now)?;
    if let Some(contact) = contact.filter(|_| media::has_file(event)) {
        appended.n_files += media::announce(cx, batch, id, contact)?;
    }
    Ok(Recorded::New(id))
}

/// The entry of the same, where another linked device of the phone was faster.
fn told_before(
    cx: &mut Cx<'_>,
    batch: &Prepared,
    it: &PreparedEvent,
    speaker: Option<ContactId>,
    id: EntryId,
) -> Result<Option<EntryId>, DbError> {
    let Some(telling) = &it.telling else { return Ok(None) };
    let first = devices::first(cx, speaker, telling, id)?;
    if let (Some(first), What::Echo(_)) = (first, &it.event.what) {
        // The first one did not say what was sent, and this one does: it shows whose it is.
        if says_something(&it.event) && echo::is_a_guess(cx, first)? {
            return Ok(None);
        }
        echo::told_again(cx, first, it, batch.now)?;
    }
    Ok(first)
}

/// The entry that an event becomes.
#[derive(Clone, Copy)]
pub(super) struct New {
    pub(super) id: EntryId,
    /// Its conversation.
    pub(super) contact: Option<ContactId>,
    dedupe: Option<KeyBytes>,
}

/// Whoever kept it first may have been cut off before its work began: telling the scheduler twice
/// does no harm.
fn still_open(cx: &mut Cx<'_>, id: EntryId) -> Result<(), DbError> {
    let Some(row) = entries::load(cx, id)?.filter(|it| it.is_open) else { return Ok(()) };
    if row.kind == MESSAGE {
        cx.changes.push(Change::New(row.job(Kind::Message, 0)));
    }
    Ok(())
}

fn message(
    cx: &mut Cx<'_>,
    batch: &Prepared,
    it: &PreparedEvent,
    New { id, contact, dedupe }: New,
) -> Result<(), DbError> {
    let quoted = match (it.pid, it.message, contact) {
        (Some(pid), Some(message), Some(contact)) => marks::quoted(cx, pid, message, contact)?,
        _ => None,
    };
    let life = match quoted.map(|it| it.0) {
        None => life(batch).to_owned(),
        quotes => Life { quotes, forward: batch.forward, ..Life::default() }.text(),
    };
    // Without a conversation nobody could be answered.
    let unanswered = it.unanswered.or(contact.is_none().then_some(Unanswered::NotPrivate));
    let row = NewRow {
        id,
        kind: MESSAGE,
        account: if unanswered.is_some() { DONE } else { WAITING },
        is_open: unanswered.is_none(),
        vendor: &batch.vendor,
        instance: &batch.instance,
        contact,
        pid: None,
        text_key: None,
        origin: None,
        status: None,
        note: unanswered.map(Unanswered::as_str),
        body: &it.body,
        life: &life,
        dedupe,
    };
    entries::insert(cx, &row)?;
    if let Some(contact) = contact {
        windows::wrote(cx, contact, &it.event, batch.now)?;
    }
    if unanswered.is_none() {
        cx.memory.recent.put_message(EntryRow::made(&row, Life::parse(&life)));
        cx.changes.push(Change::New(Job {
            id,
            vendor: batch.vendor.clone(),
            instance: batch.instance.clone(),
            contact,
            kind: Kind::Message,
            due: batch.now,
        }));
    }
    waiting::for_message(cx, &batch.instance, &it.event, batch.now)
}

/// A life without a step; what is told of it later is known by its row.
fn life(batch: &Prepared) -> &'static str {
    if batch.forward { Life::FORWARDED } else { "" }
}

/// How a signal is recorded.
#[derive(Clone, Copy)]
pub(super) enum Signal {
    /// It has been applied, to this entry.
    Done { about: Option<EntryId> },
    /// It waits, for its message or for a send in flight, until then.
    Waits { until: Millis },
}

/// The message that a change names, whosever it is.
fn named(
    cx: &mut Cx<'_>,
    it: &PreparedEvent,
    contact: Option<ContactId>,
) -> Result<Option<EntryId>, DbError> {
    let sent = it.pid.map(|it| echo::by_whatsapp_id(cx, it)).transpose()?.flatten();
    match sent {
        Some(sent) => Ok(Some(sent.id)),
        None => of_customer(cx, it, contact),
    }
}

/// The customer's message that is named.
fn of_customer(
    cx: &mut Cx<'_>,
    it: &PreparedEvent,
    contact: Option<ContactId>,
) -> Result<Option<EntryId>, DbError> {
    match (it.message, contact) {
        (Some(token), Some(contact)) => keys::find_message(cx, token, contact),
        _ => Ok(None),
    }
}

fn about_a_message(
    cx: &mut Cx<'_>,
    batch: &Prepared,
    it: &PreparedEvent,
    new: New,
) -> Result<(), DbError> {
    let New { id, contact, .. } = new;
    let pid = it.pid.unwrap_or_default();
    let applied = heard::apply(cx, &batch.instance, pid, &it.event, batch.now)?;
    let about = if applied.is_some() { applied } else { of_customer(cx, it, contact)? };
    if let (Some(about), Some(mark)) = (about, Mark::of(&it.event)) {
        marks::set(cx, about, mark, id, batch.now)?;
    }
    match about {
        Some(about) => signal(cx, batch, it, new, Signal::Done { about: Some(about) }),
        None => {
            let until = batch.now + ORPHAN_WAIT;
            signal(cx, batch, it, new, Signal::Waits { until })
        }
    }
}

pub(super) fn signal(
    cx: &mut Cx<'_>,
    batch: &Prepared,
    it: &PreparedEvent,
    New { id, contact, dedupe }: New,
    how: Signal,
) -> Result<(), DbError> {
    let (waits, about) = match how {
        Signal::Done { about } => (None, about),
        Signal::Waits { until } => (Some(until), None),
    };
    let is_echo = matches!(it.event.what, What::Echo(_));
    let status = match it.event.what {
        What::Status { status, .. } => Some(status.code()),
        _ => None,
    };
    entries::insert(
        cx,
        &NewRow {
            id,
            kind: if is_echo && about.is_none() { ECHO } else { SIGNAL },
            account: if waits.is_some() { WAITING } else { DONE },
            is_open: waits.is_some(),
            vendor: &batch.vendor,
            instance: &batch.instance,
            contact,
            // Once applied, only the message itself shall be found by its id.
            pid: it.pid.filter(|_| waits.is_some() || (is_echo && about.is_none())),
            text_key: it.text_key,
            origin: about,
            status,
            note: None,
            body: &it.body,
            life: life(batch),
            dedupe,
        },
    )?;
    if let Some(due) = waits {
        it.pid.into_iter().for_each(|it| cx.memory.orphans.waits(it));
        cx.changes.push(Change::New(Job {
            id,
            vendor: batch.vendor.clone(),
            instance: batch.instance.clone(),
            contact: None,
            kind: Kind::Signal,
            due,
        }));
    }
    Ok(())
}

impl PreparedEvent {
    /// Whether it changes a message.
    fn is_change(&self) -> bool {
        Mark::of(&self.event).is_some()
    }
}

/// Whether an echo says what was sent; some providers' do not.
pub(super) fn says_something(event: &Event) -> bool {
    match &event.what {
        What::Echo(content) => {
            !(content.kind() == "unsupported" && content.as_text().trim().is_empty())
        }
        _ => false,
    }
}
