//! Watching the journal.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::{SqliteJournal, hours::Hours, ledger::Log};
use crate::{
    domain::{
        clock::Millis,
        id::{ContactId, EntryId, VendorId},
    },
    journal::{Backlog, Journal, JournalError, Signs, Watch},
    sqlite::DbError,
};

#[async_trait]
impl Watch for SqliteJournal {
    async fn can_keep(&self) -> Result<(), JournalError> {
        if self.db().is_disk_away() { self.ready().await } else { Ok(()) }
    }

    async fn vendor_of(&self, id: EntryId) -> Result<Option<VendorId>, JournalError> {
        self.read(move |connection, _| {
            let mut statement =
                connection.prepare_cached("SELECT vendor FROM entries WHERE id = ?1")?;
            let found: Option<String> = statement.query_row([id.0], |row| row.get(0)).optional()?;
            let parse = |it: String| VendorId::parse(&it);
            found.map(parse).transpose().map_err(|_| DbError::Unreadable("vendor id"))
        })
        .await
    }

    async fn pause_of(&self, contact: ContactId) -> Result<Option<(Millis, String)>, JournalError> {
        self.read(move |connection, _| {
            let sql = "SELECT paused_until, coalesce(pause_reason, '') FROM contacts
                WHERE id = ?1 AND paused_until IS NOT NULL";
            let mut statement = connection.prepare_cached(sql)?;
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            Ok(statement.query_row([contact.0], read).optional()?)
        })
        .await
    }

    async fn newest(&self) -> Result<Option<Millis>, JournalError> {
        self.read(|connection, _| {
            let newest: Option<i64> =
                connection.query_row("SELECT max(id) FROM entries", (), |row| row.get(0))?;
            Ok(newest.map(|it| EntryId(it).ms()))
        })
        .await
    }

    async fn backlog(
        &self,
        vendor: Option<&VendorId>,
        now: Millis,
    ) -> Result<Backlog, JournalError> {
        let vendor = vendor.map(|it| it.as_str().to_owned());
        self.read(move |connection, _| backlog(connection, vendor.as_deref(), now)).await
    }

    async fn signs(
        &self,
        vendors: &[VendorId],
        from_hour: i64,
    ) -> Result<Vec<Signs>, JournalError> {
        let vendors = vendors.to_vec();
        self.read(move |connection, _| {
            // Counters and their log as of one moment.
            let moment = connection.unchecked_transaction()?;
            let log = Log::load(&moment)?;
            vendors.iter().map(|it| signs(&moment, &log, it, from_hour)).collect()
        })
        .await
    }
}

fn backlog(connection: &Connection, vendor: Option<&str>, now: Millis) -> Result<Backlog, DbError> {
    // All as of one moment.
    let moment = connection.unchecked_transaction()?;
    let mut found = Backlog::default();
    // Only what is open is read: a fence is a send that has begun and is in nobody's hand.
    let sql = "SELECT count(*), min(id),
            coalesce(sum(kind = 2 AND begun_at IS NOT NULL AND life LIKE '%\"fenced\":%'), 0)
        FROM entries
        WHERE is_open = 1 AND account = 0 AND kind IN (0, 2) AND (?1 IS NULL OR vendor = ?1)";
    let waiting = moment
        .prepare_cached(sql)?
        .query_row([vendor], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?, row.get(2)?)))?;
    (found.n_waiting, found.n_fenced) = (waiting.0, waiting.2);
    found.oldest_waiting = waiting.1.map(|it| EntryId(it).ms());

    let sql = "SELECT account, coalesce(note, ''), count(*) FROM entries INDEXED BY entries_stuck
        WHERE account > 1 AND (?1 IS NULL OR vendor = ?1) GROUP BY 1, 2 ORDER BY 1, 2";
    let mut statement = moment.prepare_cached(sql)?;
    let mut rows = statement.query([vendor])?;
    while let Some(row) = rows.next()? {
        let (account, note, n): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        match account {
            2 => found.n_unknown += n,
            3 => found.parked.push((note, n)),
            _ => found.dead.push((note, n)),
        }
    }
    if vendor.is_none() {
        let sql = "SELECT count(*) FROM contacts WHERE paused_until > ?1";
        found.n_paused = moment.prepare_cached(sql)?.query_row([now], |row| row.get(0))?;
    }
    let sql = "SELECT coalesce(sum(state = 0), 0), coalesce(sum(state = 1), 0) FROM forwards
        WHERE ?1 IS NULL OR vendor = ?1";
    (found.n_forwards_waiting, found.n_forwards_dead) =
        moment.prepare_cached(sql)?.query_row([vendor], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found)
}

fn signs(
    connection: &Connection,
    log: &Log,
    vendor: &VendorId,
    from_hour: i64,
) -> Result<Signs, DbError> {
    let sql = "SELECT hour, n FROM hours WHERE vendor = ?1 AND hour >= ?2 AND what = 'in'";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement
        .query_map(params![vendor.as_str(), from_hour], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut hours: Vec<(i64, i64)> = rows.collect::<Result<_, _>>()?;
    hours.extend(log.hours_of(vendor).flat_map(Hours::inbound_by_hour));
    let sql = "SELECT count(*) FROM forwards WHERE vendor = ?1 AND state = 1";
    let mut statement = connection.prepare_cached(sql)?;
    let n_forwards_dead = statement.query_row([vendor.as_str()], |row| row.get(0))?;
    Ok(Signs { hours, n_forwards_dead })
}
