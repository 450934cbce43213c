//! The tables of dedupe keys, one a day: filled in order, asked only when a filter in memory says
//! that they may know a key, and emptied in small steps when they are old.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fastbloom::BloomFilter;
use rusqlite::{Connection, OpenFlags, OptionalExtension, ToSql, params};

use super::{DAY, KeyBytes};
use crate::{domain::id::EntryId, journal::KEYS_KEPT_DAYS, sqlite::DbError};

/// Rows of an old table that a transaction removes.
const REMOVED_AT_ONCE: usize = 256;
/// Rows that one statement writes.
const ROWS_AT_ONCE: usize = 8;
/// Keys that a day's first filter has room for; each further one has room for more.
const FIRST_FILTER_KEYS: usize = 16 * 1_024;
const FILTER_KEYS_MAX: usize = 1_024 * 1_024;
/// How often a filter sends somebody to the table in vain. At this rate a key takes 10 bits.
const FALSE_HITS: f64 = 0.01;
/// Keys read at once while filters are made.
const READ_AT_ONCE: i64 = 4_096;

/// The tables as the writer knows them.
pub(in crate::journal::sqlite) struct Days {
    /// Oldest first.
    live: Vec<i64>,
    /// Being emptied.
    old: Vec<i64>,
    /// `Idempotency-Key`s of entries before this one are being removed.
    idempotency_before: Option<EntryId>,
    filters: Filters,
    /// Written by the open transaction.
    written: Vec<(i64, KeyBytes)>,
}

impl Days {
    pub(in crate::journal::sqlite) fn load(
        connection: &Connection,
        filters: Filters,
    ) -> Result<Self, DbError> {
        let live = tables(connection)?;
        let (old, written) = (Vec::new(), Vec::new());
        Ok(Self { live, old, idempotency_before: None, filters, written })
    }

    pub(super) fn live(&self) -> &[i64] {
        &self.live
    }

    /// Whether the key of this entry is too old to be known.
    pub(super) fn is_past(&self, id: EntryId) -> bool {
        self.live.first().is_some_and(|it| id.ms().div_euclid(DAY) < *it)
    }

    /// Today's table is made when there is none. Then the first day that is still known.
    pub(super) fn turn(
        &mut self,
        connection: &Connection,
        today: i64,
    ) -> Result<Option<i64>, DbError> {
        if self.live.contains(&today) {
            return Ok(None);
        }
        self.make(connection, today)?;
        // A clock that stands far ahead would otherwise drop keys that are still needed: they go
        // only when a day as old as theirs has really been seen twice over.
        let n_kept = usize::try_from(KEYS_KEPT_DAYS + 1).unwrap_or(usize::MAX);
        while self.live.len() > n_kept && self.live[0] < today - KEYS_KEPT_DAYS {
            self.old.push(self.live.remove(0));
        }
        self.idempotency_before = Some(EntryId::at(self.live[0] * DAY));
        Ok(Some(self.live[0]))
    }

    fn make(&mut self, connection: &Connection, day: i64) -> Result<(), DbError> {
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS keys_{day} (key BLOB PRIMARY KEY, entry INTEGER NOT NULL) WITHOUT ROWID"
        ))?;
        self.filters.lock().entry(day).or_insert_with(Filter::of_nothing);
        self.live.push(day);
        self.live.sort_unstable();
        Ok(())
    }

    /// The latest entry with this key.
    pub(super) fn find(
        &self,
        connection: &Connection,
        key: &KeyBytes,
    ) -> Result<Option<EntryId>, DbError> {
        for day in self.live.iter().rev() {
            if !self.filters.may_have(*day, key) {
                continue;
            }
            let sql = format!("SELECT entry FROM keys_{day} WHERE key = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_row([key], |row| row.get(0).map(EntryId)).optional()?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Writes a key into the table of its entry's day.
    pub(in crate::journal::sqlite) fn put(
        &mut self,
        connection: &Connection,
        key: &KeyBytes,
        id: EntryId,
    ) -> Result<(), DbError> {
        let day = id.ms().div_euclid(DAY);
        if self.is_past(id) {
            return Ok(());
        }
        if !self.live.contains(&day) {
            self.make(connection, day)?;
        }
        self.put_into(connection, day, key, id)
    }

    /// The same for many, which are in the order of their keys.
    pub(in crate::journal::sqlite) fn put_all(
        &mut self,
        connection: &Connection,
        keys: &[(KeyBytes, EntryId)],
    ) -> Result<(), DbError> {
        let day = |it: &(KeyBytes, EntryId)| it.1.ms().div_euclid(DAY);
        for some in keys.chunk_by(|a, b| day(a) == day(b)) {
            let day = day(&some[0]);
            if self.is_past(some[0].1) {
                continue;
            }
            if !self.live.contains(&day) {
                self.make(connection, day)?;
            }
            let into = format!("INSERT OR REPLACE INTO keys_{day} (key, entry)");
            insert_pairs(connection, &into, some)?;
            self.written.extend(some.iter().map(|it| (day, it.0)));
        }
        Ok(())
    }

    pub(super) fn put_into(
        &mut self,
        connection: &Connection,
        day: i64,
        key: &KeyBytes,
        id: EntryId,
    ) -> Result<(), DbError> {
        let sql = format!("INSERT OR REPLACE INTO keys_{day} (key, entry) VALUES (?1, ?2)");
        connection.prepare_cached(&sql)?.execute(params![key, id.0])?;
        self.written.push((day, *key));
        Ok(())
    }

    /// Removes some of what is too old. Whole tables at once would hold everybody up.
    pub(in crate::journal::sqlite) fn tidy(
        &mut self,
        connection: &Connection,
    ) -> Result<(), DbError> {
        if let Some(before) = self.idempotency_before {
            let sql = format!(
                "DELETE FROM idempotency WHERE entry IN (SELECT entry FROM idempotency
                    WHERE entry < ?1 ORDER BY entry LIMIT {REMOVED_AT_ONCE})"
            );
            if connection.prepare_cached(&sql)?.execute([before.0])? < REMOVED_AT_ONCE {
                self.idempotency_before = None;
            }
        }
        let Some(day) = self.old.first().copied() else { return Ok(()) };
        let sql =
            format!("SELECT key FROM keys_{day} ORDER BY key LIMIT 1 OFFSET {REMOVED_AT_ONCE}");
        let bound: Option<KeyBytes> =
            connection.prepare_cached(&sql)?.query_row((), |row| row.get(0)).optional()?;
        if let Some(bound) = bound {
            let sql = format!("DELETE FROM keys_{day} WHERE key < ?1");
            connection.prepare_cached(&sql)?.execute([bound])?;
        } else {
            connection.execute_batch(&format!("DROP TABLE keys_{day}"))?;
            self.old.remove(0);
            self.filters.lock().remove(&day);
        }
        Ok(())
    }

    /// The transaction is on disk: from now on the filters know what it wrote.
    pub(in crate::journal::sqlite) fn committed(&mut self) {
        if self.written.is_empty() {
            return;
        }
        let mut filters = self.filters.lock();
        for (day, key) in self.written.drain(..) {
            if let Some(filter) = filters.get_mut(&day) {
                filter.insert(&key);
            }
        }
    }
}

/// Inserts these, some in each statement.
pub(in crate::journal::sqlite) fn insert_pairs<K: ToSql>(
    connection: &Connection,
    into: &str,
    rows: &[(K, EntryId)],
) -> Result<(), DbError> {
    let many = format!("{into} VALUES {}", ["(?, ?)"; ROWS_AT_ONCE].join(", "));
    let one = format!("{into} VALUES (?, ?)");
    let chunks = rows.chunks_exact(ROWS_AT_ONCE);
    let rest = chunks.remainder().chunks(1).map(|it| (&one, it));
    for (sql, rows) in chunks.map(|it| (&many, it)).chain(rest) {
        let values: Vec<&dyn ToSql> =
            rows.iter().flat_map(|it| [&it.0 as &dyn ToSql, &it.1.0]).collect();
        connection.prepare_cached(sql)?.execute(values.as_slice())?;
    }
    Ok(())
}

fn tables(connection: &Connection) -> Result<Vec<i64>, DbError> {
    let sql = "SELECT CAST(substr(name, 6) AS INTEGER) FROM sqlite_schema
        WHERE type = 'table' AND name GLOB 'keys_[0-9]*' ORDER BY 1";
    let mut statement = connection.prepare(sql)?;
    Ok(statement.query_map((), |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// A filter for each table; a day without one is asked. Clones share them.
#[derive(Clone, Default)]
pub(in crate::journal::sqlite) struct Filters(Arc<Mutex<BTreeMap<i64, Filter>>>);

impl Filters {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Filter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_have(&self, day: i64, key: &KeyBytes) -> bool {
        self.lock().get(&day).is_none_or(|it| it.may_have(key))
    }

    /// Makes the filters of the tables that are there, in a thread of its own. Until then the
    /// tables themselves are asked.
    pub(in crate::journal::sqlite) fn fill(&self, path: PathBuf) {
        let filters = self.clone();
        let fill = move || {
            if let Err(error) = filters.read_all(&path) {
                // Slower, and as right.
                tracing::warn!(%error, "the filters of dedupe keys could not be made");
            }
        };
        let started = std::thread::Builder::new().name("key-filters".to_owned()).spawn(fill);
        if let Err(error) = started {
            tracing::warn!(%error, "the filters of dedupe keys could not be made");
        }
    }

    fn read_all(&self, path: &std::path::Path) -> Result<(), DbError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        let days = tables(&connection)?;
        // Before the first is read: what is written from now on is added by the writer.
        for day in &days {
            self.lock().entry(*day).or_insert_with(Filter::of_something);
        }
        for day in days.into_iter().rev() {
            self.read(&connection, day)?;
        }
        Ok(())
    }

    fn read(&self, connection: &Connection, day: i64) -> Result<(), DbError> {
        if self.lock().get(&day).is_none_or(|it| it.is_whole) {
            return Ok(());
        }
        let sql =
            format!("SELECT key FROM keys_{day} WHERE key > ?1 ORDER BY key LIMIT {READ_AT_ONCE}");
        let mut statement = connection.prepare(&sql)?;
        let mut after = Vec::new();
        loop {
            let keys: Vec<KeyBytes> =
                statement.query_map([&after], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let mut filters = self.lock();
            // It may be too old meanwhile.
            let Some(filter) = filters.get_mut(&day) else { return Ok(()) };
            keys.iter().for_each(|it| filter.insert(it));
            match keys.last() {
                Some(last) => after = last.to_vec(),
                None => {
                    filter.is_whole = true;
                    return Ok(());
                }
            }
        }
    }
}

/// Tells of most keys that a table does not have them.
struct Filter {
    layers: Vec<Layer>,
    /// It knows every key of its table.
    is_whole: bool,
}

struct Layer {
    bits: BloomFilter,
    n_keys: usize,
    n_keys_max: usize,
}

impl Filter {
    fn of_nothing() -> Self {
        Self { layers: Vec::new(), is_whole: true }
    }

    fn of_something() -> Self {
        Self { layers: Vec::new(), is_whole: false }
    }

    fn insert(&mut self, key: &KeyBytes) {
        if self.layers.last().is_none_or(|it| it.n_keys >= it.n_keys_max) {
            let before = self.layers.last().map(|it| it.n_keys_max);
            let n_keys_max = before.map_or(FIRST_FILTER_KEYS, |it| (4 * it).min(FILTER_KEYS_MAX));
            let bits = BloomFilter::with_false_pos(FALSE_HITS).expected_items(n_keys_max);
            self.layers.push(Layer { bits, n_keys: 0, n_keys_max });
        }
        if let Some(layer) = self.layers.last_mut() {
            layer.bits.insert(key);
            layer.n_keys += 1;
        }
    }

    fn may_have(&self, key: &KeyBytes) -> bool {
        !self.is_whole || self.layers.iter().any(|it| it.bits.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_knows_every_key_and_few_others() {
        let mut filter = Filter::of_nothing();
        let key = |n: u64| {
            let mut key = [0; 24];
            key[16..].copy_from_slice(&n.to_be_bytes());
            key
        };
        (0..100_000).for_each(|n| filter.insert(&key(n)));
        assert!((0..100_000).all(|n| filter.may_have(&key(n))));
        let n_false = (100_000..200_000).filter(|n| filter.may_have(&key(*n))).count();
        assert!(n_false < 10_000, "{n_false}");
    }
}
