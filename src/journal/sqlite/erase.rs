//! A customer is erased. Rows stay, with their ids, times and states, so that the ledger and the
//! counters still hold; whatever tells who it was or what was said goes.

use rusqlite::params;

use super::{
    bulk,
    chains::BOTH,
    devices,
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
        id::{ContactId, VendorId},
        message::{Content, Text},
        schedule::{Kind, Next},
    },
    journal::{Change, Erased, KEYS_KEPT_DAYS, Step, life::Marks},
    sqlite::DbError,
};

/// For as long as their messages may come again.
const TOMBSTONES_LAST: Millis = (KEYS_KEPT_DAYS + 1) * 24 * HOUR;

pub(super) fn some(
    cx: &mut Cx<'_>,
    vendor: &VendorId,
    contact: ContactId,
    limit: usize,
    now: Millis,
) -> Result<Erased, DbError> {
    let ends = cx.ends(contact)?;
    if !people::is_its(cx.connection, ends, vendor)? {
        return Ok(Erased { is_unknown: true, ..Erased::default() });
    }
    part_from_name(cx, contact, now)?;
    // What they wrote in groups is in no conversation; as far as it could come again it is known.
    for id in keys::entries_of(cx, contact)? {
        let row = entries::load(cx, id)?;
        if let Some(row) =
            row.filter(|it| it.vendor == *vendor && it.contact.is_none() && !it.is_erased())
        {
            erase(cx, &row, now)?;
        }
    }
    let sql = format!(
        "{BOTH} SELECT {COLUMNS} FROM walk CROSS JOIN entries USING (id) WHERE contact = ?3
            ORDER BY id LIMIT ?4"
    );
    let mut statement = cx.connection.prepare_cached(&sql)?;
    let limit_or_all = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = [ends[0].0, ends[1].0, contact.0, limit_or_all];
    let rows = statement.query_map(values, EntryRow::read)?;
    let rows: Vec<EntryRow> = rows.collect::<Result<_, _>>()?;
    drop(statement);
    for row in &rows {
        erase(cx, row, now)?;
    }
    let has_more = rows.len() >= limit;
    if !has_more {
        // Its number stays, so that it is not given to somebody else.
        let sql = "UPDATE contacts SET instance = '', doc = x'', paused_until = NULL,
            paused_at = NULL, pause_reason = NULL WHERE id = ?1";
        cx.connection.prepare_cached(sql)?.execute([contact.0])?;
    }
    let changes = std::mem::take(&mut cx.changes);
    Ok(Erased { is_unknown: false, has_more, changes })
}

/// Who it was is found by nothing any more. Only a keyed hash tells for some days yet that a
/// message which comes again is known.
fn part_from_name(cx: &mut Cx<'_>, contact: ContactId, now: Millis) -> Result<(), DbError> {
    bulk::erased(cx, contact)?;
    let sql = "INSERT OR REPLACE INTO erased (key, contact, at)
        SELECT key, contact, ?2 FROM aliases WHERE contact = ?1";
    cx.connection.execute(sql, params![contact.0, now])?;
    cx.connection.execute("DELETE FROM aliases WHERE contact = ?1", [contact.0])?;
    windows::forget(cx, contact)?;
    forget(cx, now - TOMBSTONES_LAST)?;
    cx.memory.contacts.clear();
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
