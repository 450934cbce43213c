//! Removing what is old, with everything that refers to it, a little in each transaction.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    SqliteJournal,
    chains::{self, Kept},
    contacts, entries, keys,
    late::Chain,
    names, outbox,
    state::Cx,
    windows,
};
use crate::{
    domain::{
        clock::Millis,
        id::{ContactId, EntryId, VendorId},
        retention::ClockMark,
    },
    journal::{JournalError, Keep},
    sqlite::DbError,
    vault::Token,
};

/// Vendors whose old counts are forgotten in one transaction, and counts of each.
const HOURS_VENDORS: usize = 20;
const HOURS_ROWS: i64 = 200;

#[async_trait]
impl Keep for SqliteJournal {
    async fn clock_mark(&self) -> Result<Option<ClockMark>, JournalError> {
        self.read(|connection, _| {
            let sql = "SELECT value FROM meta WHERE key = 'clock'";
            let found: Option<Vec<u8>> =
                connection.query_row(sql, (), |row| row.get(0)).optional()?;
            // One that cannot be read is none.
            Ok(found.and_then(|it| serde_json::from_slice(&it).ok()))
        })
        .await
    }

    async fn keep_clock_mark(&self, mark: ClockMark) -> Result<(), JournalError> {
        self.write_behind(move |cx| {
            let value = serde_json::to_vec(&mark).map_err(|_| DbError::Unreadable("clock"))?;
            let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES ('clock', ?1)";
            cx.connection.prepare_cached(sql)?.execute([value])?;
            Ok(())
        })
        .await
    }

    async fn end_of_page(
        &self,
        after: EntryId,
        before: EntryId,
        limit: usize,
    ) -> Result<Option<EntryId>, JournalError> {
        self.read(move |connection, _| {
            let sql = "SELECT max(id) FROM
                (SELECT id FROM entries WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3)";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let values = [after.0, before.0, limit];
            let end: Option<i64> =
                connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
            Ok(end.map(EntryId))
        })
        .await
    }

    async fn remove_ended(&self, after: EntryId, through: EntryId) -> Result<usize, JournalError> {
        self.write_behind(move |cx| remove(cx, after, through)).await
    }

    async fn idle_contacts(
        &self,
        after: ContactId,
        limit: usize,
        now: Millis,
    ) -> Result<(Vec<ContactId>, Option<ContactId>), JournalError> {
        self.read(move |connection, _| idle(connection, after, limit, now)).await
    }

    async fn forget_contacts(
        &self,
        contacts: Vec<ContactId>,
        now: Millis,
    ) -> Result<usize, JournalError> {
        self.write_behind(move |cx| {
            let mut n = 0;
            for contact in &contacts {
                n += usize::from(forget_contact(cx, *contact, now)?);
            }
            Ok(n)
        })
        .await
    }

    async fn forget_hours(&self, before: i64) -> Result<bool, JournalError> {
        let vendors = self.db.read_apart(move |connection| with_old_hours(connection, before));
        let vendors = vendors.await?;
        if vendors.is_empty() {
            return Ok(false);
        }
        self.write_behind(move |cx| {
            let sql = "DELETE FROM hours WHERE (vendor, hour, what) IN (SELECT vendor, hour, what
                FROM hours WHERE vendor = ?1 AND hour < ?2 ORDER BY hour LIMIT ?3)";
            let mut statement = cx.connection.prepare_cached(sql)?;
            for vendor in &vendors {
                statement.execute(params![vendor, before, HOURS_ROWS])?;
            }
            Ok(true)
        })
        .await
    }
}

/// What nobody waits for any more.
const IS_ENDED: &str = "(is_open = 0 AND account IN (1, 2, 4))";

/// The conversations that keep something of a page, with what they keep of it; and those that keep
/// something from before it, which only an entry of the page names.
fn keeping(
    connection: &Connection,
    after: EntryId,
    through: EntryId,
) -> Result<BTreeMap<ContactId, Vec<Kept>>, DbError> {
    let sql = format!(
        "SELECT contact, id, prev, kind = 1, {IS_ENDED} FROM entries
            WHERE id > ?1 AND id <= ?2 AND contact IS NOT NULL AND (NOT {IS_ENDED}
                OR (prev <= ?1 AND EXISTS
                    (SELECT 1 FROM entries AS before WHERE before.id = entries.prev)))"
    );
    let mut keeping: BTreeMap<ContactId, Vec<Kept>> = BTreeMap::new();
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([after.0, through.0])?;
    while let Some(row) = rows.next()? {
        let kept = keeping.entry(ContactId(row.get(0)?)).or_default();
        if !row.get::<_, bool>(4)? {
            let chain = if row.get(3)? { Chain::Signals } else { Chain::Turns };
            kept.push(Kept { chain, id: row.get(1)?, prev: row.get(2)? });
        }
    }
    Ok(keeping)
}

/// What is still to be done or waits for a person stays, however old it is.
fn remove(cx: &mut Cx<'_>, after: EntryId, through: EntryId) -> Result<usize, DbError> {
    for (contact, kept) in keeping(cx.connection, after, through)? {
        chains::pass_over(cx, contact, (through, IS_ENDED), &kept)?;
    }
    cx.late()?.removed(through);
    let sql = format!(
        "DELETE FROM entries WHERE id > ?1 AND id <= ?2 AND {IS_ENDED}
            RETURNING vendor, kind = 2, account, id, pid, tid"
    );
    let mut removed: HashMap<(String, bool, i64), i64> = HashMap::new();
    let mut called = Vec::new();
    let mut statement = cx.connection.prepare_cached(&sql)?;
    let mut rows = statement.query([after.0, through.0])?;
    while let Some(row) = rows.next()? {
        *removed.entry((row.get(0)?, row.get(1)?, row.get(2)?)).or_default() += 1;
        let id = EntryId(row.get(3)?);
        let names: [Option<Token>; 2] = [row.get(4)?, row.get(5)?];
        called.extend(names.into_iter().flatten().map(|it| (it, id)));
    }
    drop(rows);
    // In the order of the table: neighbours share a page.
    called.sort_unstable();
    for (name, id) in called {
        names::remove(cx, name, id)?;
    }
    let sql = "INSERT INTO removed (vendor, kind, account, n) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO UPDATE SET n = n + excluded.n";
    let mut statement = cx.connection.prepare_cached(sql)?;
    for ((vendor, is_intent, account), n) in &removed {
        statement.execute(params![vendor, is_intent, account, n])?;
    }
    // What had not been told of them cannot be told any more.
    let sql = "DELETE FROM forwards WHERE entry > ?1 AND entry <= ?2
        AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.id = forwards.entry)";
    cx.connection.prepare_cached(sql)?.execute([after.0, through.0])?;
    outbox::removed(cx, after, through)?;
    // Their ids are not given again, should the newest be among them.
    let sql = "INSERT INTO meta (key, value) VALUES ('last_id', CAST(?1 AS TEXT))
        ON CONFLICT (key) DO UPDATE SET value = excluded.value
        WHERE CAST(value AS INTEGER) < ?1";
    cx.connection.prepare_cached(sql)?.execute([through.0])?;
    Ok(usize::try_from(removed.values().sum::<i64>()).unwrap_or_default())
}

/// The newest contact stays: its number would be given to the next one.
const IS_IDLE: &str = "NOT EXISTS (SELECT 1 FROM entries
        WHERE id IN (contacts.last_turn, contacts.last_signal))
    AND NOT EXISTS (SELECT 1 FROM media WHERE media.contact = contacts.id)
    AND coalesce(paused_until, 0) <= ?2
    AND id < (SELECT max(id) FROM contacts)";

fn idle(
    connection: &Connection,
    after: ContactId,
    limit: usize,
    now: Millis,
) -> Result<(Vec<ContactId>, Option<ContactId>), DbError> {
    let sql = format!("SELECT id, {IS_IDLE} FROM contacts WHERE id > ?1 ORDER BY id LIMIT ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows =
        statement.query(params![after.0, now, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let (mut found, mut last, mut n) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        let id = ContactId(row.get(0)?);
        (last, n) = (Some(id), n + 1);
        if row.get(1)? {
            found.push(id);
        }
    }
    Ok((found, last.filter(|_| n >= limit)))
}

fn forget_contact(cx: &mut Cx<'_>, contact: ContactId, now: Millis) -> Result<bool, DbError> {
    let ends = cx.ends(contact)?;
    for end in ends {
        if entries::load(cx, end)?.is_some() {
            return Ok(false);
        }
    }
    // What they wrote in groups may come again for some days, and is known by them.
    if !keys::entries_of(cx, contact)?.is_empty() {
        return Ok(false);
    }
    let sql = format!("DELETE FROM contacts WHERE id = ?1 AND {IS_IDLE}");
    if cx.connection.prepare_cached(&sql)?.execute([contact.0, now])? == 0 {
        return Ok(false);
    }
    windows::forget(cx, contact)?;
    let sql = "DELETE FROM aliases WHERE contact = ?1 RETURNING key";
    contacts::change_names(cx, sql, [contact.0])?;
    Ok(true)
}

/// Some of the vendors that have counts from before an hour, found without reading all counts.
fn with_old_hours(connection: &Connection, before: i64) -> Result<Vec<String>, DbError> {
    let sql = format!(
        "WITH RECURSIVE v (vendor) AS (
            SELECT min(vendor) FROM hours
            UNION ALL
            SELECT (SELECT min(vendor) FROM hours WHERE hours.vendor > v.vendor) FROM v
                WHERE v.vendor IS NOT NULL)
         SELECT vendor FROM v WHERE vendor IS NOT NULL
            AND EXISTS (SELECT 1 FROM hours WHERE hours.vendor = v.vendor AND hour < ?1)
         LIMIT {HOURS_VENDORS}"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([before], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What was removed of a vendor's entries, or of everybody's: whether they are intents, their
/// account, and how many.
pub(super) fn removed(
    connection: &Connection,
    vendor: Option<&VendorId>,
) -> Result<Vec<(bool, i64, i64)>, DbError> {
    let sql = "SELECT kind, account, sum(n) FROM removed
        WHERE ?1 IS NULL OR vendor = ?1 GROUP BY 1, 2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([vendor.map(VendorId::as_str)], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
