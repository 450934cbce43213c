//! The parts of what is written late: what gathers, and what is on its way into the tables.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};

use super::{Chain, End};
use crate::{
    domain::id::{ContactId, EntryId, VendorId},
    journal::sqlite::keys::{Days, KeyBytes, insert_pairs},
    sqlite::DbError,
    vault::Token,
};

/// What a provider calls an entry.
type Name = (Token, EntryId);

#[derive(Default)]
pub(super) struct Part {
    pub(super) keys: BTreeMap<KeyBytes, EntryId>,
    pub(super) names: BTreeSet<Name>,
    /// Names of the part before that are none any more.
    pub(super) former_names: Vec<Name>,
    pub(super) ends: BTreeMap<End, EntryId>,
    pub(super) vendors: BTreeMap<VendorId, EntryId>,
    pub(super) n_entries: usize,
    pub(super) last: EntryId,
}

/// A part on its way into the tables.
#[derive(Default)]
pub(super) struct Leaving {
    pub(super) keys: Vec<(KeyBytes, EntryId)>,
    pub(super) names: Vec<Name>,
    pub(super) ends: Vec<(End, EntryId)>,
    pub(super) vendors: Vec<(VendorId, EntryId)>,
    pub(super) until: EntryId,
    /// How many of each are in the tables, and how many the open transaction makes of that.
    pub(super) written: [usize; 4],
    pub(super) writing: [usize; 4],
}

impl Part {
    /// `meta.late`, and what the entries after that tell.
    pub(super) fn load(connection: &Connection) -> Result<(EntryId, Self), DbError> {
        let sql = "SELECT value FROM meta WHERE key = 'late'";
        let until: Option<i64> =
            connection.prepare_cached(sql)?.query_row((), |row| row.get(0)).optional()?;
        let sql = "SELECT id, vendor, contact, prev_of_vendor IS NULL, dedupe, pid, tid
            FROM entries WHERE id > ?1 ORDER BY id";
        let mut statement = connection.prepare_cached(sql)?;
        let until = until.unwrap_or_default();
        let mut rows = statement.query([until])?;
        let mut part = Self::default();
        while let Some(row) = rows.next()? {
            let id = EntryId(row.get(0)?);
            let chain = if row.get(3)? { Chain::Signals } else { Chain::Turns };
            if let Some(contact) = row.get::<_, Option<i64>>(2)? {
                part.ends.insert((ContactId(contact), chain), id);
            }
            if chain == Chain::Turns {
                let vendor = row.get_ref(1)?.as_str().map_err(|_| DbError::Unreadable("vendor"))?;
                let vendor = VendorId::parse(vendor).map_err(|_| DbError::Unreadable("vendor"))?;
                part.vendors.insert(vendor, id);
            }
            if let Some(key) = row.get::<_, Option<KeyBytes>>(4)? {
                part.keys.insert(key, id);
            }
            let names: [Option<Token>; 2] = [row.get(5)?, row.get(6)?];
            part.names.extend(names.into_iter().flatten().map(|it| (it, id)));
            part.n_entries += 1;
            part.last = id;
        }
        Ok((EntryId(until), part))
    }
}

impl From<Part> for Leaving {
    fn from(part: Part) -> Self {
        Self {
            keys: part.keys.into_iter().collect(),
            names: part.names.into_iter().collect(),
            ends: part.ends.into_iter().collect(),
            vendors: part.vendors.into_iter().collect(),
            until: part.last,
            ..Self::default()
        }
    }
}

impl Leaving {
    fn sizes(&self) -> [usize; 4] {
        [self.ends.len(), self.vendors.len(), self.keys.len(), self.names.len()]
    }

    /// Those with this name.
    pub(super) fn named(&self, name: Token) -> &[Name] {
        let from = self.names.partition_point(|it| it.0 < name);
        let n = self.names[from..].partition_point(|it| it.0 == name);
        &self.names[from..from + n]
    }

    pub(super) fn is_written(&self) -> bool {
        self.written == self.sizes()
    }

    /// Of entries up to `removed` some may be gone.
    pub(super) fn write(
        &mut self,
        connection: &Connection,
        days: &mut Days,
        removed: EntryId,
        budget: &mut usize,
    ) -> Result<(), DbError> {
        let mut span = |at: usize, of: usize| {
            let n = (of - at).min(*budget);
            *budget -= n;
            at..at + n
        };
        let ends = span(self.written[0], self.ends.len());
        let vendors = span(self.written[1], self.vendors.len());
        let keys = span(self.written[2], self.keys.len());
        let names = span(self.written[3], self.names.len());
        self.writing = [ends.end, vendors.end, keys.end, names.end];
        days.put_all(connection, &self.keys[keys])?;
        insert_pairs(connection, "INSERT OR IGNORE INTO names (key, entry)", &self.names[names])?;
        for ((contact, chain), last) in &self.ends[ends] {
            if *last <= removed && !is_there(connection, *last)? {
                continue;
            }
            // What a merge has written meanwhile is later.
            let sql = match chain {
                Chain::Turns => {
                    "UPDATE contacts SET last_turn = max(coalesce(last_turn, 0), ?2) WHERE id = ?1"
                }
                Chain::Signals => {
                    "UPDATE contacts SET last_signal = max(coalesce(last_signal, 0), ?2)
                        WHERE id = ?1"
                }
            };
            connection.prepare_cached(sql)?.execute([contact.0, last.0])?;
        }
        for (vendor, last) in &self.vendors[vendors] {
            let sql = "INSERT INTO vendor_ends (vendor, last) VALUES (?1, ?2)
                ON CONFLICT DO UPDATE SET last = max(last, excluded.last)";
            connection.prepare_cached(sql)?.execute(params![vendor.as_str(), last.0])?;
        }
        if self.writing == self.sizes() {
            let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES ('late', ?1)";
            connection.prepare_cached(sql)?.execute([self.until.0])?;
        }
        Ok(())
    }
}

fn is_there(connection: &Connection, id: EntryId) -> Result<bool, DbError> {
    Ok(connection.prepare_cached("SELECT 1 FROM entries WHERE id = ?1")?.exists([id.0])?)
}

pub(super) fn found<K: Ord>(sorted: &[(K, EntryId)], key: &K) -> Option<EntryId> {
    sorted.binary_search_by(|it| it.0.cmp(key)).ok().map(|at| sorted[at].1)
}

pub(super) fn stored_end(connection: &Connection, end: End) -> Result<Option<EntryId>, DbError> {
    let sql = match end.1 {
        Chain::Turns => "SELECT last_turn FROM contacts WHERE id = ?1",
        Chain::Signals => "SELECT last_signal FROM contacts WHERE id = ?1",
    };
    let mut statement = connection.prepare_cached(sql)?;
    let last = statement.query_row([end.0.0], |row| row.get::<_, Option<i64>>(0)).optional()?;
    Ok(last.flatten().map(EntryId))
}

pub(super) fn stored_end_of_vendor(
    connection: &Connection,
    vendor: &VendorId,
) -> Result<Option<EntryId>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT last FROM vendor_ends WHERE vendor = ?1")?;
    Ok(statement.query_row([vendor.as_str()], |row| row.get(0).map(EntryId)).optional()?)
}
