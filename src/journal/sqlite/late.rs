//! What is written late: dedupe keys, what providers call an entry, and where each conversation and
//! each vendor's messages end.
//!
//! All of it is in the entries themselves, so it need not be on disk elsewhere when a webhook is
//! answered. It is kept in memory and written in order, many at a time: at the random places where
//! it belongs it would cost a page for each event. After a restart the entries from `meta.late` on
//! tell it again.

mod parts;

use std::collections::BTreeMap;

use quick_cache::unsync::Cache;
use rusqlite::Connection;

use self::parts::{Leaving, Part, found, stored_end, stored_end_of_vendor};
use super::{
    entries::SIGNAL,
    keys::{Days, KeyBytes},
};
use crate::{
    domain::id::{ContactId, EntryId, VendorId},
    sqlite::DbError,
    vault::Token,
};

/// Entries after which what they tell is written.
const WRITE_AFTER: usize = 32_768;
/// Rows written in a transaction besides three for each of its entries.
const ROWS_AT_LEAST: usize = 64;
/// Ends found without asking the database, some 80 bytes each by estimate.
const ENDS_REMEMBERED: usize = 262_144;

/// The chains of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Chain {
    /// What was said, by whomever.
    Turns,
    /// What was told about that.
    Signals,
}

impl Chain {
    pub(super) fn of(kind: i64) -> Self {
        if kind == SIGNAL { Self::Signals } else { Self::Turns }
    }
}

type End = (ContactId, Chain);

/// What is written late.
pub(super) struct Late {
    /// This process writes entries, so that what is here is all there is. Beside another process
    /// that does, everything is read anew.
    is_ours: bool,
    /// Entries after which what they tell is written, and rows of that in each transaction.
    write_after: usize,
    rows_at_least: usize,
    /// Of the open transaction.
    open: Part,
    waiting: Part,
    leaving: Option<Leaving>,
    /// What these entries and those before them tell is in the tables, or leaving: what is told of
    /// them from now on would not be read again after a restart.
    through: EntryId,
    /// Entries up to here may have been removed.
    removed: EntryId,
    ends: Cache<End, Option<EntryId>>,
    vendors: Cache<VendorId, Option<EntryId>>,
}

impl Default for Late {
    fn default() -> Self {
        Self {
            is_ours: false,
            write_after: WRITE_AFTER,
            rows_at_least: ROWS_AT_LEAST,
            open: Part::default(),
            waiting: Part::default(),
            leaving: None,
            through: EntryId::default(),
            removed: EntryId::default(),
            ends: Cache::new(ENDS_REMEMBERED),
            vendors: Cache::new(ENDS_REMEMBERED),
        }
    }
}

impl Late {
    /// Writes so early, and so little at once, that a simulation of few entries sees it.
    pub(super) fn simulated(&mut self) {
        (self.write_after, self.rows_at_least) = (8, 1);
    }

    /// Reads what the tables do not have yet; from then on it is kept up to date here.
    pub(super) fn take(&mut self, connection: &Connection) -> Result<(), DbError> {
        if !self.is_ours {
            (self.through, self.waiting) = Part::load(connection)?;
            self.is_ours = true;
        }
        Ok(())
    }

    /// Reads it anew when another process may have written entries.
    fn look(&mut self, connection: &Connection) -> Result<(), DbError> {
        if !self.is_ours {
            (self.through, self.waiting) = Part::load(connection)?;
        }
        Ok(())
    }

    /// The latest entry of a conversation that is committed.
    pub(super) fn end(
        &mut self,
        connection: &Connection,
        contact: ContactId,
        chain: Chain,
    ) -> Result<Option<EntryId>, DbError> {
        self.look(connection)?;
        // The transaction may be on disk a moment before that is noted here.
        if let Some(open) = self.open.ends.get(&(contact, chain)) {
            let sql = "SELECT 1 FROM entries WHERE id = ?1 AND contact = ?2";
            if connection.prepare_cached(sql)?.exists([open.0, contact.0])? {
                return Ok(Some(*open));
            }
        }
        match self.late_end((contact, chain)) {
            Some(found) => Ok(Some(found)),
            None => stored_end(connection, (contact, chain)),
        }
    }

    /// A vendor's latest message that is committed.
    pub(super) fn end_of_vendor(
        &mut self,
        connection: &Connection,
        vendor: &VendorId,
    ) -> Result<Option<EntryId>, DbError> {
        self.look(connection)?;
        if let Some(open) = self.open.vendors.get(vendor) {
            let sql = "SELECT 1 FROM entries WHERE id = ?1";
            if connection.prepare_cached(sql)?.exists([open.0])? {
                return Ok(Some(*open));
            }
        }
        match self.late_end_of_vendor(vendor) {
            Some(found) => Ok(Some(found)),
            None => stored_end_of_vendor(connection, vendor),
        }
    }

    /// An entry joins its conversation. The one before it.
    pub(super) fn link(
        &mut self,
        connection: &Connection,
        contact: ContactId,
        chain: Chain,
        id: EntryId,
    ) -> Result<Option<EntryId>, DbError> {
        let last = self.last(connection, contact, chain)?;
        self.open.ends.insert((contact, chain), id);
        Ok(last)
    }

    /// The latest entry of a conversation, the open transaction's included.
    pub(super) fn last(
        &mut self,
        connection: &Connection,
        contact: ContactId,
        chain: Chain,
    ) -> Result<Option<EntryId>, DbError> {
        let end = (contact, chain);
        let last = self.open.ends.get(&end).copied().or_else(|| self.late_end(end));
        match last.map_or_else(|| self.ends.get(&end).copied(), |it| Some(Some(it))) {
            Some(last) => Ok(last),
            None => {
                let found = stored_end(connection, end)?;
                self.ends.insert(end, found);
                Ok(found)
            }
        }
    }

    /// A message joins its vendor's. The one before it.
    pub(super) fn link_vendor(
        &mut self,
        connection: &Connection,
        vendor: &VendorId,
        id: EntryId,
    ) -> Result<Option<EntryId>, DbError> {
        if let Some(last) = self.open.vendors.get_mut(vendor) {
            return Ok(Some(std::mem::replace(last, id)));
        }
        let last = match self.late_end_of_vendor(vendor) {
            Some(last) => Some(last),
            None => match self.vendors.get(vendor) {
                Some(last) => *last,
                None => {
                    let found = stored_end_of_vendor(connection, vendor)?;
                    self.vendors.insert(vendor.clone(), found);
                    found
                }
            },
        };
        self.open.vendors.insert(vendor.clone(), id);
        Ok(last)
    }

    /// A conversation that is made now has no entries.
    pub(super) fn is_new(&mut self, contact: ContactId) {
        self.ends.insert((contact, Chain::Turns), None);
        self.ends.insert((contact, Chain::Signals), None);
    }

    /// A conversation ends here after another one has become part of it.
    pub(super) fn joined(&mut self, contact: ContactId, chain: Chain, last: EntryId) {
        self.open.ends.insert((contact, chain), last);
    }

    /// Entries up to here are about to be removed: what ended with one of them ends elsewhere.
    pub(super) fn removed(&mut self, through: EntryId) {
        self.removed = self.removed.max(through);
    }

    /// An entry was made.
    pub(super) fn made(&mut self, id: EntryId) {
        self.open.n_entries += 1;
        self.open.last = id;
    }

    /// The entry that has this key, as far as the tables may not have it.
    pub(super) fn key(&self, key: &KeyBytes) -> Option<EntryId> {
        let late = || self.leaving.as_ref().and_then(|it| found(&it.keys, key));
        let known = self.open.keys.get(key).or_else(|| self.waiting.keys.get(key)).copied();
        known.or_else(late)
    }

    pub(super) fn put_key(&mut self, key: KeyBytes, id: EntryId) {
        self.open.keys.insert(key, id);
    }

    /// The keys from `first` to before `after` that the tables may not have.
    pub(super) fn keys(&self, first: KeyBytes, after: KeyBytes) -> Vec<(KeyBytes, EntryId)> {
        let mut keys = BTreeMap::new();
        if let Some(leaving) = &self.leaving {
            let from = leaving.keys.partition_point(|it| it.0 < first);
            keys.extend(leaving.keys[from..].iter().take_while(|it| it.0 < after).copied());
        }
        for part in [&self.waiting, &self.open] {
            keys.extend(part.keys.range(first..after).map(|it| (*it.0, *it.1)));
        }
        keys.into_iter().collect()
    }

    /// Whether it is written late that an entry is called this.
    pub(super) fn put_name(&mut self, name: Token, id: EntryId) -> bool {
        let is_late = id > self.through;
        if is_late {
            self.open.names.insert((name, id));
        }
        is_late
    }

    pub(super) fn remove_name(&mut self, name: Token, id: EntryId) {
        self.open.names.remove(&(name, id));
        if self.waiting.names.contains(&(name, id)) {
            self.open.former_names.push((name, id));
        }
    }

    /// The entries that are, or were, called this, as far as the table may not have it.
    pub(super) fn named(&self, name: Token) -> Vec<EntryId> {
        let all = (name, EntryId(i64::MIN))..=(name, EntryId(i64::MAX));
        let parts = [&self.waiting, &self.open];
        let late = parts.into_iter().flat_map(|it| it.names.range(all.clone())).copied();
        let leaving = self.leaving.as_ref().map_or(&[][..], |it| it.named(name));
        late.chain(leaving.iter().copied()).map(|it| it.1).collect()
    }

    /// Writes some of it into the open transaction.
    pub(super) fn write(
        &mut self,
        connection: &Connection,
        days: &mut Days,
    ) -> Result<(), DbError> {
        let mut budget = self.rows_at_least + 3 * self.open.n_entries;
        if let Some(leaving) = &mut self.leaving {
            leaving.write(connection, days, self.removed, &mut budget)?;
        }
        Ok(())
    }

    /// The transaction is on disk.
    pub(super) fn committed(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.waiting.keys.extend(open.keys);
        for former in &open.former_names {
            self.waiting.names.remove(former);
        }
        self.waiting.names.extend(open.names);
        self.waiting.ends.extend(open.ends);
        self.waiting.vendors.extend(open.vendors);
        self.waiting.n_entries += open.n_entries;
        self.waiting.last = self.waiting.last.max(open.last);
        if let Some(leaving) = &mut self.leaving {
            let before = std::mem::replace(&mut leaving.written, leaving.writing);
            // What was found in the tables before is no more the latest.
            for (end, id) in &leaving.ends[before[0]..leaving.written[0]] {
                if let Some(mut known) = self.ends.get_mut(end) {
                    *known = Some(*id);
                }
            }
            for (vendor, id) in &leaving.vendors[before[1]..leaving.written[1]] {
                if let Some(mut known) = self.vendors.get_mut(vendor) {
                    *known = Some(*id);
                }
            }
        }
        if self.leaving.as_ref().is_some_and(Leaving::is_written) {
            self.leaving = None;
        }
        // What was only looked at is read again by who takes it, and may be more by then.
        let is_much = self.is_ours && self.waiting.n_entries >= self.write_after;
        if self.leaving.is_none() && is_much {
            self.through = self.waiting.last;
            self.leaving = Some(std::mem::take(&mut self.waiting).into());
        }
    }

    /// Nothing of the transaction was kept.
    pub(super) fn rolled_back(&mut self) {
        self.open = Part::default();
        self.ends.clear();
        self.vendors.clear();
        if let Some(leaving) = &mut self.leaving {
            leaving.writing = leaving.written;
        }
    }

    fn late_end(&self, end: End) -> Option<EntryId> {
        let leaving = || self.leaving.as_ref().and_then(|it| found(&it.ends, &end));
        self.waiting.ends.get(&end).copied().or_else(leaving)
    }

    fn late_end_of_vendor(&self, vendor: &VendorId) -> Option<EntryId> {
        let leaving = || self.leaving.as_ref().and_then(|it| found(&it.vendors, vendor));
        self.waiting.vendors.get(vendor).copied().or_else(leaving)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::SCRIPTS;

    /// Its names would be told from then on, and what was told before the writer takes it lost.
    #[test]
    fn what_was_only_looked_at_is_not_on_its_way_into_the_tables() {
        let connection = Connection::open_in_memory().unwrap();
        SCRIPTS.iter().for_each(|it| connection.execute_batch(it).unwrap());
        let sql = "INSERT INTO entries (id, kind, account, is_open, vendor, instance, body, life)
            VALUES (?1, 2, 0, 1, 'v', 'w', x'', '')";
        for id in 1..=20 {
            connection.execute(sql, [id]).unwrap();
        }
        let mut late = Late::default();
        late.simulated();
        late.end_of_vendor(&connection, &VendorId::parse("v").unwrap()).unwrap();
        late.committed();
        assert!(late.leaving.is_none(), "it is not the writer's");
        late.take(&connection).unwrap();
        assert!(late.put_name([7; 16], EntryId(3)), "a restart would find it");
        late.committed();
        assert_eq!(late.leaving.as_ref().map(|it| it.until), Some(EntryId(20)));
        assert_eq!(late.named([7; 16]), [EntryId(3)]);
        assert!(!late.put_name([8; 16], EntryId(3)), "a restart would not");
    }
}
