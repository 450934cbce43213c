//! A customer is erased. Rows stay, with their ids, times and states, so that the ledger and the
//! counters still hold; whatever tells who it was or what was said goes.
//!
//! The links of a conversation are followed backwards, each once. Where it ends is erased last: by
//! its ends it is found again, should the process die half-way.

#[cfg(test)]
mod tests;

use rusqlite::{OptionalExtension, Row, params};

use super::{
    bulk, contacts, devices,
    entries::{self, COLUMNS, ERASED, EntryRow, INTENT, MESSAGE},
    forwards,
    intents::{self, Outbound},
    keys, names, outbox, people,
    state::Cx,
    windows,
};
use crate::{
    domain::{
        clock::{HOUR, Millis},
        contact::Address,
        delivery::{Input, Reason, State},
        event::{Chat, Event, What},
        id::{ContactId, EntryId, VendorId},
        message::{Content, Text},
        schedule::{Kind, Next},
    },
    journal::{Change, EraseFrom, Erased, KEYS_KEPT_DAYS, Step, life::Marks},
    sqlite::DbError,
};

/// For as long as their messages may come again.
const TOMBSTONES_LAST: Millis = (KEYS_KEPT_DAYS + 1) * 24 * HOUR;
/// Entries passed over in one transaction that were erased before.
const STEPS_MAX: usize = 2_000;

pub(super) fn some(
    cx: &mut Cx<'_>,
    vendor: &VendorId,
    contact: ContactId,
    (from, limit): (Option<EraseFrom>, usize),
    now: Millis,
) -> Result<Erased, DbError> {
    let ends = cx.ends(contact)?;
    if !people::is_its(cx.connection, ends, vendor)? {
        return Ok(Erased { is_unknown: true, ..Erased::default() });
    }
    let mut from = match from {
        Some(from) if is_there(cx, from.next)? => from,
        // It is begun, or what came next was removed in between.
        _ => begin(cx, (vendor, contact), ends, now)?,
    };
    let mut left = Left { n_entries: limit, n_steps: STEPS_MAX };
    for next in &mut from.next {
        *next = backwards(cx, contact, *next, &mut left, now)?;
    }
    let next = match from.next {
        [None, None] if from.ends == ends => {
            finish(cx, contact, ends, now)?;
            None
        }
        // What was under way was added meanwhile.
        [None, None] => Some(begin(cx, (vendor, contact), ends, now)?),
        _ => Some(from),
    };
    let changes = std::mem::take(&mut cx.changes);
    Ok(Erased { is_unknown: false, next, changes })
}

/// What one transaction may still do.
struct Left {
    n_entries: usize,
    n_steps: usize,
}

/// All but the walk. Answers where that begins.
fn begin(
    cx: &mut Cx<'_>,
    (vendor, contact): (&VendorId, ContactId),
    ends: [EntryId; 2],
    now: Millis,
) -> Result<EraseFrom, DbError> {
    part_from_name(cx, contact, now)?;
    // What they wrote in groups is in no conversation; as far as it could come again it is known.
    for id in keys::entries_of(cx, contact)? {
        let sql = "SELECT 1 FROM entries WHERE id = ?1 AND contact IS NULL AND note IS NOT ?2";
        if !cx.connection.prepare_cached(sql)?.exists(params![id.0, ERASED])? {
            continue;
        }
        if let Some(row) = entries::load(cx, id)?.filter(|it| it.vendor == *vendor) {
            erase(cx, &row, now)?;
        }
    }
    let mut next = [None; 2];
    for (next, end) in next.iter_mut().zip(ends) {
        let before = step(cx, end)?.and_then(|it| it.1);
        *next = if is_there(cx, [before, None])? { before } else { None };
    }
    Ok(EraseFrom { ends, next })
}

/// Whether these entries are not gone.
fn is_there(cx: &Cx<'_>, all: [Option<EntryId>; 2]) -> Result<bool, DbError> {
    let mut statement = cx.connection.prepare_cached("SELECT 1 FROM entries WHERE id = ?1")?;
    for id in all.into_iter().flatten() {
        if !statement.exists([id.0])? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An entry, and the one before it in its conversation.
fn step(cx: &Cx<'_>, id: EntryId) -> Result<Option<(EntryRow, Option<EntryId>)>, DbError> {
    let sql = format!("SELECT {COLUMNS}, prev FROM entries WHERE id = ?1");
    let mut statement = cx.connection.prepare_cached(&sql)?;
    let read = |row: &Row<'_>| {
        let before: Option<i64> = row.get("prev")?;
        Ok((EntryRow::read(row)?, before.map(EntryId)))
    };
    Ok(statement.query_row([id.0], read).optional()?)
}

/// Erases from an entry backwards, as far as one transaction may. The next to be erased.
fn backwards(
    cx: &mut Cx<'_>,
    contact: ContactId,
    mut next: Option<EntryId>,
    left: &mut Left,
    now: Millis,
) -> Result<Option<EntryId>, DbError> {
    while let Some(id) = next {
        // One that is gone ends the conversation.
        let Some((row, before)) = step(cx, id)? else { return Ok(None) };
        if left.n_entries == 0 || left.n_steps == 0 {
            return Ok(Some(id));
        }
        left.n_steps -= 1;
        if row.contact == Some(contact) {
            erase(cx, &row, now)?;
            left.n_entries -= 1;
        }
        next = before;
    }
    Ok(None)
}

/// The rest: nothing leads to the conversation any more.
fn finish(
    cx: &mut Cx<'_>,
    contact: ContactId,
    ends: [EntryId; 2],
    now: Millis,
) -> Result<(), DbError> {
    for end in ends {
        if let Some(row) = entries::load(cx, end)?.filter(|it| it.contact == Some(contact)) {
            erase(cx, &row, now)?;
        }
    }
    // Its number stays, so that it is not given to somebody else.
    let sql = "UPDATE contacts SET instance = '', doc = x'', paused_until = NULL,
        paused_at = NULL, pause_reason = NULL WHERE id = ?1";
    cx.connection.prepare_cached(sql)?.execute([contact.0])?;
    Ok(())
}

/// Who it was is found by nothing any more. Only a keyed hash tells for some days yet that a
/// message which comes again is known.
fn part_from_name(cx: &mut Cx<'_>, contact: ContactId, now: Millis) -> Result<(), DbError> {
    bulk::erased(cx, contact)?;
    let sql = "INSERT OR REPLACE INTO erased (key, contact, at)
        SELECT key, contact, ?2 FROM aliases WHERE contact = ?1";
    cx.connection.execute(sql, params![contact.0, now])?;
    let sql = "DELETE FROM aliases WHERE contact = ?1 RETURNING key";
    contacts::change_names(cx, sql, [contact.0])?;
    windows::forget(cx, contact)?;
    forget(cx, now - TOMBSTONES_LAST)?;
    Ok(())
}

/// Forgets whom was erased before this time.
pub(super) fn forget(cx: &Cx<'_>, before: Millis) -> Result<(), DbError> {
    cx.connection.prepare_cached("DELETE FROM erased WHERE at < ?1")?.execute([before])?;
    Ok(())
}

fn erase(cx: &mut Cx<'_>, row: &EntryRow, now: Millis) -> Result<(), DbError> {
    if row.kind == INTENT {
        withdraw(cx, row, now)?;
    } else if row.is_open {
        entries::end_event(cx, row, Some(ERASED), None, ERASED, now)?;
        let kind = if row.kind == MESSAGE { Kind::Message } else { Kind::Signal };
        cx.changes.push(Change::Decided(row.job(kind, now), Next::Gone));
    }
    forwards::drop_of(cx, row.id)?;
    outbox::erased(cx, row, now)?;
    // As it is now: it may have ended just here.
    let Some(after) = entries::load(cx, row.id)? else { return Ok(()) };
    let mut life = after.life;
    life.marks = Marks::default();
    (life.ticket, life.quotes, life.forward) = (None, None, false);
    // A responder's word for what it was about.
    life.log.retain(|it| !it.starts_with("intent:"));
    life.note(now, ERASED);
    let sql = "UPDATE entries SET contact = NULL, note = ?2, body = ?3, life = ?4 WHERE id = ?1";
    let body = entries::seal(cx.vault, &row.instance, &blank(row.kind)?)?;
    let values = params![row.id.0, ERASED, body, life.text()];
    cx.connection.prepare_cached(sql)?.execute(values)?;
    if after.is_open { Ok(()) } else { ended(cx, row) }
}

/// Nothing that comes will speak of it. While a send is on its way, its keyed hashes tell that its
/// echo is ours and not a human's.
pub(super) fn ended(cx: &mut Cx<'_>, row: &EntryRow) -> Result<(), DbError> {
    let sql = "UPDATE entries SET pid = NULL, tid = NULL, text_key = NULL, begun_at = NULL
        WHERE id = ?1";
    cx.connection.prepare_cached(sql)?.execute([row.id.0])?;
    names::changed(cx, row.id, [row.pid, row.tid], [None; 2])
}

/// What may still leave does not. What has begun goes its way, and tells nothing of it.
fn withdraw(cx: &mut Cx<'_>, row: &EntryRow, now: Millis) -> Result<(), DbError> {
    let state = row.life.delivery.as_ref().map(|it| it.state);
    if !matches!(state, Some(State::Waiting { .. } | State::Parked(_))) {
        return Ok(());
    }
    let job = row.job(Kind::Send, now);
    let row = row.clone();
    let stepped = intents::advance(cx, row, &Step::of(Input::Withdraw(Reason::Erased)), now)?;
    cx.changes.push(Change::Decided(job, stepped.next));
    Ok(())
}

/// A body that says nothing, of the form its kind has.
fn blank(kind: i64) -> Result<Vec<u8>, DbError> {
    let nothing = || Text(String::new());
    let plain = if kind == INTENT {
        let content = Content::Unsupported { kind: ERASED.to_owned(), text: nothing() };
        serde_json::to_vec(&Outbound { to: Address::default(), content })
    } else {
        let what = What::Other { name: ERASED.to_owned(), raw: nothing() };
        serde_json::to_vec(&Event::new(what, Chat::None, Address::default()))
    };
    plain.map_err(|_| DbError::Unreadable("body"))
}

/// What may have been known of a contact that is made now, from before it was erased: its messages
/// may come again.
pub(super) fn remember(
    cx: &mut Cx<'_>,
    tokens: &[crate::vault::Token],
    contact: ContactId,
) -> Result<(), DbError> {
    for token in tokens {
        let sql = "SELECT contact FROM erased WHERE key = ?1";
        let mut statement = cx.connection.prepare_cached(sql)?;
        let mut found = statement.query([token])?;
        let former = found.next()?.map(|row| row.get(0).map(ContactId)).transpose()?;
        drop(found);
        drop(statement);
        if let Some(former) = former {
            keys::join(cx, former, contact)?;
            // Nor is it new because another device of the phone tells of it only now.
            devices::merge(cx, former, contact)?;
        }
    }
    Ok(())
}

impl EntryRow {
    /// Whether its customer was erased.
    pub(super) fn is_erased(&self) -> bool {
        self.note.as_deref() == Some(ERASED)
    }
}
