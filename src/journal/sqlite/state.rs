//! What the writer remembers between transactions, and forgets when one was not kept.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;
use rusqlite::Connection;

use super::{
    forwards::News,
    ledger::{Delta, Log},
};
use crate::{
    domain::{
        clock::Millis,
        id::{ContactId, EntryId, VendorId},
    },
    journal::Change,
    sqlite::{Batch, DbError},
    telemetry::names,
    vault::{Token, Vault},
};

/// Contacts found without asking the database.
const CONTACTS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// The writer's memory. Only the writer locks it, so nobody ever waits.
#[derive(Clone, Default)]
pub(super) struct State {
    memory: Arc<Mutex<Memory>>,
    pub(super) news: News,
}

pub(super) struct Memory {
    last_id: Option<EntryId>,
    pub(super) contacts: LruCache<Token, ContactId>,
    pub(super) deltas: HashMap<VendorId, Delta>,
    /// Loaded by the first transaction.
    ledger: Option<Log>,
    /// The days that have a table of dedupe keys, oldest first.
    pub(super) key_days: Option<Vec<i64>>,
    /// Vendors that got events to forward in the open transaction.
    pub(super) forwarded: HashSet<VendorId>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            last_id: None,
            contacts: LruCache::new(CONTACTS_REMEMBERED),
            deltas: HashMap::new(),
            ledger: None,
            key_days: None,
            forwarded: HashSet::new(),
        }
    }
}

/// What a transaction works with.
pub(super) struct Cx<'a> {
    pub(super) connection: &'a Connection,
    pub(super) vault: &'a Vault,
    pub(super) memory: &'a mut Memory,
    /// For the scheduler, when this is committed.
    pub(super) changes: Vec<Change>,
}

impl Cx<'_> {
    /// The next entry's id.
    pub(super) fn next_id(&mut self, now: Millis) -> Result<EntryId, DbError> {
        let last = match self.memory.last_id {
            Some(last) => last,
            None => {
                let sql = "SELECT coalesce(max(id), 0) FROM entries";
                self.connection.query_row(sql, (), |row| row.get(0).map(EntryId))?
            }
        };
        let id = EntryId::next(last, now);
        self.memory.last_id = Some(id);
        Ok(id)
    }

    pub(super) fn delta(&mut self, vendor: &VendorId) -> &mut Delta {
        self.memory.deltas.entry(vendor.clone()).or_default()
    }
}

impl State {
    pub(super) fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn batch(&self) -> Box<dyn Batch> {
        Box::new(self.clone())
    }
}

impl Batch for State {
    fn before_commit(&mut self, connection: &Connection) -> Result<(), DbError> {
        let mut memory = self.lock();
        let Memory { deltas, ledger, .. } = &mut *memory;
        if deltas.is_empty() {
            return Ok(());
        }
        let log = match ledger {
            Some(log) => log,
            None => ledger.insert(Log::load(connection)?),
        };
        log.write(connection, deltas)?;
        deltas.clear();
        Ok(())
    }

    fn rolled_back(&mut self) {
        *self.lock() = Memory::default();
    }

    fn committed(&mut self, n_writes: usize) {
        metrics::counter!(names::COMMITS).increment(1);
        metrics::counter!(names::WRITES).increment(n_writes as u64);
        let forwarded = std::mem::take(&mut self.lock().forwarded);
        self.news.tell(forwarded);
    }
}
