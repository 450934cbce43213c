//! What is settled once, when the data is taken up: attempts that a crash cut off, and what comes
//! from a backup.

use rusqlite::OptionalExtension;

use super::{
    SqliteJournal, bulk,
    entries::{COLUMNS, EntryRow, INTENT, MESSAGE, WAITING},
    intents,
    operate::{PARKED, move_message},
    outbox,
    state::Cx,
};
use crate::{
    domain::{
        clock::Millis,
        delivery::{Input, Reason, State},
        id::{EntryId, ForwardId},
    },
    journal::{JournalError, Step},
    sqlite::{DbError, backup},
};

/// Entries parked in one transaction.
const PARKED_AT_ONCE: usize = 500;

/// What the process that begins must know, and settle, before it works.
pub(super) fn take_up(cx: &mut Cx<'_>) -> Result<(), DbError> {
    cx.memory.orphans.load(cx.connection)?;
    bulk::cut_off(cx)?;
    fence_cut_off(cx)
}

/// Attempts that had begun when the process ended: nobody knows what became of them.
fn fence_cut_off(cx: &mut Cx<'_>) -> Result<(), DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM entries WHERE is_open = 1 AND kind = {INTENT} AND begun_at IS NOT NULL"
    );
    let mut statement = cx.connection.prepare(&sql)?;
    let rows: Vec<EntryRow> = statement.query_map((), EntryRow::read)?.collect::<Result<_, _>>()?;
    for row in rows {
        let is_begun = row.life.delivery.as_ref().is_some_and(|it| it.state == State::Begun);
        if is_begun {
            // The fence counts from when the request may have left.
            let since = row.begun_at.unwrap_or_default();
            intents::advance(cx, row, &Step::of(Input::Crashed), since)?;
        }
    }
    cx.changes.clear();
    Ok(())
}

impl SqliteJournal {
    /// Data that come from a backup send nothing by themselves: what was unfinished in it waits for
    /// a person, since it may have been done after the backup was made. Answers how many entries
    /// were parked; `None` when the data are not from a backup, or this was done before.
    pub async fn park_restored(&self, now: Millis) -> Result<Option<usize>, JournalError> {
        let sql = "SELECT 1 FROM meta WHERE key = ?1";
        let is_restored = self.read(move |connection, _| {
            Ok(connection.query_row(sql, [backup::MARK], |_| Ok(())).optional()?.is_some())
        });
        if !is_restored.await? {
            return Ok(None);
        }
        let (mut n_parked, mut after) = (0, EntryId(i64::MIN));
        loop {
            let some = self.write(move |cx| park_some(cx, after, now)).await?;
            let Some((n, last)) = some else { return Ok(Some(n_parked)) };
            n_parked += n;
            after = last;
        }
    }
}

/// How many were parked, and which was looked at last: one that cannot be parked is passed over.
/// `None` when nothing is left to be looked at, and then the mark goes too.
fn park_some(
    cx: &mut Cx<'_>,
    after: EntryId,
    now: Millis,
) -> Result<Option<(usize, EntryId)>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM entries INDEXED BY entries_open
         WHERE is_open = 1 AND id > ?1 AND (account = 0 AND kind = {MESSAGE} OR kind = {INTENT})
         ORDER BY id LIMIT {PARKED_AT_ONCE}"
    );
    let mut statement = cx.connection.prepare_cached(&sql)?;
    let rows: Vec<EntryRow> =
        statement.query_map([after.0], EntryRow::read)?.collect::<Result<_, _>>()?;
    drop(statement);
    for mut row in rows.iter().cloned() {
        if row.kind == MESSAGE {
            row.life.note(now, "parked");
            move_message(cx, &row, PARKED, Some(Reason::Restored.as_str()))?;
        } else {
            intents::advance(cx, row, &Step::of(Input::Restore), now)?;
        }
    }
    cx.changes.clear();
    if rows.is_empty() {
        skip_ids(cx, now)?;
        outbox::restored(cx)?;
        bulk::restored(cx)?;
        cx.connection.execute("DELETE FROM meta WHERE key = ?1", [backup::MARK])?;
    }
    let n_parked = rows.iter().filter(|it| it.account == WAITING).count();
    Ok(rows.last().map(|it| (n_parked, it.id)))
}

/// Ids that were given after the backup was made are not given again.
fn skip_ids(cx: &mut Cx<'_>, now: Millis) -> Result<(), DbError> {
    let sql = "INSERT INTO meta (key, value) VALUES ('last_id', ?1)
        ON CONFLICT (key) DO UPDATE SET value = ?1 WHERE CAST(value AS INTEGER) < ?2";
    let at = EntryId::at(now).0;
    cx.connection.execute(sql, rusqlite::params![at.to_string().as_bytes(), at])?;
    let sql = "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'forwards'";
    cx.connection.execute(sql, [ForwardId::at(now).0])?;
    Ok(())
}
