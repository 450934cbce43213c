//! Echoes, which are ours or a human's.

mod carried;
#[cfg(test)]
mod tests;

use rusqlite::{OptionalExtension, params};

use super::{
    append::{self, New, Prepared, PreparedEvent, Signal},
    contacts,
    entries::{self, COLUMNS, ECHO, EntryRow, INTENT, SIGNAL},
    forwards, heard, hours, intents, names, outbox,
    state::Cx,
    waiting,
};
use crate::{
    domain::{
        clock::{Millis, SECOND},
        delivery::{Input, State},
        event::{Chat, Event, Status, What},
        forward::Topic,
        id::{ContactId, EntryId, InstanceId},
        route::ProviderKind,
        schedule::Next,
    },
    journal::{ECHO_WAIT, ECHO_WINDOW, Pause, Rechecked},
    sqlite::DbError,
    vault::Token,
};

/// An echo came in. Whether a human was typing.
pub(super) fn arrived(
    cx: &mut Cx<'_>,
    batch: &Prepared,
    it: &PreparedEvent,
    new: New,
) -> Result<bool, DbError> {
    let New { id, contact, .. } = new;
    let question = Question {
        instance: &batch.instance,
        contact,
        pid: it.pid,
        text_key: it.text_key.unwrap_or_default(),
        has_text: append::says_something(&it.event),
        is_private: it.event.chat == Chat::Private,
        by: it.event.via,
        at: sent_at(&it.event, batch.now),
        is_told_twice: it.telling.is_some(),
    };
    match whose(cx, &question, batch.now, batch.now + ECHO_WAIT)? {
        Whose::Ours(about) => {
            append::signal(cx, batch, it, new, Signal::Done { about: Some(about) })?;
            Ok(false)
        }
        Whose::Unclear => {
            let until = batch.now + ECHO_WAIT;
            append::signal(cx, batch, it, new, Signal::Waits { until })?;
            remember_silence(cx, id, batch.silence)?;
            Ok(false)
        }
        Whose::Human => {
            append::signal(cx, batch, it, new, Signal::Done { about: None })?;
            if batch.forward {
                forwards::insert(cx, &batch.vendor, id, Topic::Sent, (None, None), batch.now)?;
            }
            outbox::typed(cx, id, it.event.chat, batch.now)?;
            take_over(cx, contact, batch.silence, batch.now)?;
            if let Some(pid) = it.pid {
                waiting::join(cx, pid, batch.now)?;
            }
            Ok(true)
        }
    }
}

/// Another linked device has told of it already, as `first`, so whose it is was asked then. A send
/// that left through this one is still known by the id that only this one tells.
pub(super) fn told_again(
    cx: &mut Cx<'_>,
    first: EntryId,
    it: &PreparedEvent,
    now: Millis,
) -> Result<(), DbError> {
    let Some(pid) = it.pid else { return Ok(()) };
    let mut sent = by_pid(cx, pid)?;
    if sent.is_none()
        && let Some(id) = entries::load(cx, first)?.and_then(|it| it.origin)
    {
        let sent_at = Some(sent_at(&it.event, now));
        let has_no_id = |row: &EntryRow| {
            let (by, is_unnamed) = (it.event.via, row.pid.is_none());
            is_unnamed && may_name(row, by) && is_of_latest(row, by, sent_at)
        };
        sent = entries::load(cx, id)?.filter(has_no_id);
    }
    if let Some(row) = sent.filter(|it| it.kind == INTENT) {
        intents::heard(cx, row, Input::Heard(Status::Sent), Some(pid), now)?;
    }
    Ok(())
}

/// Whether an echo was taken for that of a send although it did not say what was sent.
pub(super) fn is_a_guess(cx: &mut Cx<'_>, id: EntryId) -> Result<bool, DbError> {
    let row = entries::load(cx, id)?.filter(|it| it.kind == SIGNAL && it.origin.is_some());
    let Some(row) = row else { return Ok(false) };
    let body = entries::body(cx, row.id)?;
    let event = entries::open::<Event>(cx.vault, &row.instance, &body);
    Ok(event.is_ok_and(|it| matches!(it.what, What::Echo(_)) && !append::says_something(&it)))
}

/// Looks again at a signal that waited: an echo while a send was in flight, or a signal whose
/// message was not known.
pub(super) fn recheck(cx: &mut Cx<'_>, id: EntryId, now: Millis) -> Result<Rechecked, DbError> {
    let row = entries::load(cx, id)?.filter(|it| it.is_open);
    let gone = |cx: &mut Cx<'_>, is_human| Rechecked {
        next: Next::Gone,
        changes: std::mem::take(&mut cx.changes),
        is_human,
    };
    let Some(mut row) = row else { return Ok(gone(cx, false)) };
    if row.kind != ECHO {
        let about = waiting::apply(cx, &row, now)?;
        let step = if about.is_some() { "applied" } else { "recorded_alone" };
        entries::end_event(cx, &row, None, about, step, now)?;
        return Ok(gone(cx, false));
    }
    let body = entries::body(cx, row.id)?;
    let event = entries::open::<Event>(cx.vault, &row.instance, &body)?;
    let question = Question {
        instance: &row.instance,
        contact: row.contact,
        by: event.via,
        pid: row.pid,
        text_key: row.text_key.unwrap_or_default(),
        has_text: true,
        is_private: row.contact.is_some(),
        at: sent_at(&event, row.id.ms()),
        is_told_twice: true,
    };
    if let Whose::Ours(about) = whose(cx, &question, now, now)? {
        no_echo(cx, &mut row)?;
        entries::end_event(cx, &row, None, Some(about), "ours", now)?;
        return Ok(gone(cx, false));
    }
    entries::end_event(cx, &row, None, None, "human", now)?;
    if row.life.forward {
        forwards::insert(cx, &row.vendor, id, Topic::Sent, (None, None), now)?;
        if let Some(status) = row.status.and_then(Status::of_code) {
            heard::tell_status(cx, &row.vendor, id, status, now)?;
        }
    }
    outbox::typed(cx, id, Chat::Private, now)?;
    take_over(cx, row.contact, silence_of(&row), now)?;
    if let Some(pid) = row.pid {
        waiting::join(cx, pid, now)?;
    }
    Ok(gone(cx, true))
}

/// It is no message of its own but a signal about one. Finding out whose it is may have told so
/// already.
pub(super) fn no_echo(cx: &mut Cx<'_>, row: &mut EntryRow) -> Result<(), DbError> {
    let sql = "UPDATE entries SET kind = ?2, pid = NULL WHERE id = ?1 AND kind = ?3";
    let values = params![row.id.0, SIGNAL, row.kind];
    let is_news = cx.connection.prepare_cached(sql)?.execute(values)? > 0;
    if is_news {
        names::changed(cx, row.id, [row.pid, None], [None; 2])?;
    }
    if is_news && row.kind == ECHO {
        let word = hours::echo_word(row.is_open, row.status);
        cx.delta(&row.vendor).hours.outbound(row.id, word, -1);
    }
    row.kind = SIGNAL;
    Ok(())
}

pub(super) fn by_pid(cx: &mut Cx<'_>, pid: Token) -> Result<Option<EntryRow>, DbError> {
    if let Some(found) = cx.memory.recent.by_pid(pid) {
        return Ok(Some(found));
    }
    let mut named = names::find(cx, pid)?;
    if let Some(found) = of_whatsapp_id(&named, pid) {
        return Ok(Some(named.swap_remove(found)));
    }
    // Some dialects speak of a send by the provider's own number for it.
    let found = cx.memory.recent.by_tid(pid);
    Ok(found.or_else(|| named.into_iter().find(|it| it.tid == Some(pid))))
}

pub(super) fn by_whatsapp_id(cx: &mut Cx<'_>, pid: Token) -> Result<Option<EntryRow>, DbError> {
    if let Some(found) = cx.memory.recent.by_pid(pid) {
        return Ok(Some(found));
    }
    let mut named = names::find(cx, pid)?;
    Ok(of_whatsapp_id(&named, pid).map(|it| named.swap_remove(it)))
}

/// Which of these has this `WhatsApp` id.
fn of_whatsapp_id(rows: &[EntryRow], pid: Token) -> Option<usize> {
    let is_its = |it: &EntryRow| it.pid == Some(pid) && it.kind != SIGNAL;
    // An intent before anything else: it is what somebody waits for.
    let intent = rows.iter().position(|it| is_its(it) && it.kind == INTENT);
    intent.or_else(|| rows.iter().position(is_its))
}

enum Whose {
    Ours(EntryId),
    /// A send is in flight: its outcome may tell.
    Unclear,
    Human,
}

struct Question<'a> {
    instance: &'a InstanceId,
    contact: Option<ContactId>,
    pid: Option<Token>,
    text_key: i64,
    has_text: bool,
    /// We send to private chats only: an echo from elsewhere is ours by its id alone.
    is_private: bool,
    /// Who told it; `None` is Wasender.
    by: Option<ProviderKind>,
    /// When it was sent.
    at: Millis,
    /// Another provider's sends may be told here, too.
    is_told_twice: bool,
}

/// Whether the id that this one tells is the send's: another provider has its own.
fn may_name(row: &EntryRow, by: Option<ProviderKind>) -> bool {
    let via = row.life.delivery.as_ref().and_then(|it| it.via);
    via.is_none_or(|it| it == by.unwrap_or(ProviderKind::Wasender))
}

/// Whether the echo is surely of the latest attempt: of what became of that one, the echo of an
/// attempt that failed after it had been taken says nothing.
fn is_of_latest(row: &EntryRow, by: Option<ProviderKind>, sent_at: Option<Millis>) -> bool {
    // Providers tell times in seconds.
    let is_later = |at: Millis| row.begun_at.is_some_and(|it| at >= it - it.rem_euclid(SECOND));
    // Meta tells what left from the phone alone.
    let may_be = by != Some(ProviderKind::Meta) && may_name(row, by);
    !failed_late(row) || may_be && sent_at.is_none_or(is_later)
}

/// When an echo's message was sent; the webhook may come much later.
fn sent_at(event: &Event, came_at: Millis) -> Millis {
    event.at.map_or(came_at, |it| it.min(came_at))
}

/// Whether an attempt failed after it had been taken.
fn failed_late(row: &EntryRow) -> bool {
    row.life.delivery.as_ref().is_some_and(|it| it.reopened + it.throttled > 0)
}

/// Whose echo it is; in doubt it is ours.
fn whose(
    cx: &mut Cx<'_>,
    it: &Question<'_>,
    now: Millis,
    wait_until: Millis,
) -> Result<Whose, DbError> {
    if let Some(pid) = it.pid
        && let Some(row) = by_pid(cx, pid)?.filter(|row| row.kind == INTENT)
    {
        return Ok(Whose::Ours(intents::heard(cx, row, Input::Heard(Status::Sent), None, now)?));
    }
    if !it.is_private {
        return Ok(Whose::Human);
    }
    let recent = recent_sends(cx, it)?;
    // Where all of them went to this contact, it does not matter how that is known.
    let is_others = |row: &EntryRow| row.contact != it.contact && !row.is_erased();
    let is_known = recent.iter().any(is_others)
        && it.contact.is_some_and(|it| has_phone(cx, it).unwrap_or(false));
    let same_text: Vec<&EntryRow> =
        recent.iter().filter(|row| row.text_key == Some(it.text_key) || !it.has_text).collect();
    // A contact we know by phone must be the recipient; a bare LID may be anybody's.
    // Nor is it known any more to whom one went that was erased.
    let is_mine = |row: &&&EntryRow| !is_known || row.contact == it.contact || row.is_erased();
    let candidates: Vec<&&EntryRow> = same_text.iter().filter(is_mine).collect();
    if let Some(first) = candidates.first().map(|row| row.id) {
        let is_sure =
            candidates.len() == 1 || candidates.iter().all(|row| row.contact == it.contact);
        let pid = it.pid.filter(|_| is_sure);
        let row = recent.into_iter().find(|row| row.id == first);
        // Whose of several it is cannot be told, so none of them learns an id from it.
        let sent_at = Some(it.at).filter(|_| it.is_told_twice);
        let tells = |row: &EntryRow| is_sure && is_of_latest(row, it.by, sent_at);
        return match row.filter(tells) {
            Some(row) => {
                let (sent, pid) =
                    (Input::Heard(Status::Sent), pid.filter(|_| may_name(&row, it.by)));
                Ok(Whose::Ours(intents::heard(cx, row, sent, pid, now)?))
            }
            None => Ok(Whose::Ours(first)),
        };
    }
    if let Some(row) = carried::by_another(cx, it)? {
        return Ok(Whose::Ours(row.id));
    }
    let in_flight = recent.iter().any(|row| {
        let state = row.life.delivery.as_ref().map(|it| it.state);
        let is_open = matches!(state, Some(State::Begun | State::Fenced { .. }));
        is_open && (!is_known || row.contact == it.contact || row.is_erased())
    });
    Ok(if in_flight && now < wait_until { Whose::Unclear } else { Whose::Human })
}

/// Sends of the instance within the window that no WhatsApp id is known of yet.
fn recent_sends(cx: &Cx<'_>, it: &Question<'_>) -> Result<Vec<EntryRow>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM entries INDEXED BY entries_unlinked
         WHERE instance = ?1 AND begun_at > ?2 AND begun_at IS NOT NULL AND pid IS NULL
         ORDER BY begun_at LIMIT 512"
    );
    let mut statement = cx.connection.prepare_cached(&sql)?;
    let since = it.at - ECHO_WINDOW;
    let rows = statement.query_map(params![it.instance.as_str(), since], EntryRow::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn has_phone(cx: &Cx<'_>, contact: ContactId) -> Result<bool, DbError> {
    let mut statement =
        cx.connection.prepare_cached("SELECT instance, doc FROM contacts WHERE id = ?1")?;
    let found: Option<(String, Vec<u8>)> =
        statement.query_row([contact.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((instance, doc)) = found else { return Ok(false) };
    Ok(contacts::open(cx.vault, &instance, &doc)?.address.phone.is_some())
}

fn take_over(
    cx: &mut Cx<'_>,
    contact: Option<ContactId>,
    silence: Millis,
    now: Millis,
) -> Result<(), DbError> {
    let Some(contact) = contact else { return Ok(()) };
    let pause = Pause { at: now, until: now + silence, reason: "human" };
    contacts::pause(cx, contact, Some(&pause))
}

/// The vendor's silence, for the recheck: the row has no column that would otherwise be empty.
fn remember_silence(cx: &mut Cx<'_>, id: EntryId, silence: Millis) -> Result<(), DbError> {
    let sql = "UPDATE entries SET note = ?2 WHERE id = ?1";
    cx.connection.prepare_cached(sql)?.execute(params![id.0, silence.to_string()])?;
    Ok(())
}

fn silence_of(row: &EntryRow) -> Millis {
    let noted = row.note.as_ref().and_then(|it| it.parse().ok());
    noted.unwrap_or(crate::domain::vendor::SILENCE)
}
