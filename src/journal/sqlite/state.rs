//! What the writer remembers between transactions, and forgets when one was not kept.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use quick_cache::unsync::Cache;
use rusqlite::Connection;

use super::{
    forwards::News,
    keys::{Days, Filters},
    late::{Chain, Late},
    ledger::{Delta, Log},
    outbox::Added,
    rare::{Orphans, Paused},
    recent::Recent,
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

/// Names of contacts found without asking the database, some 80 bytes each by estimate: at random
/// places of a large table, each question costs more than the row that is written for it.
const CONTACTS_REMEMBERED: usize = 262_144;

/// The writer's memory. Others lock it only to ask where a conversation ends.
#[derive(Clone)]
pub(super) struct State {
    memory: Arc<Mutex<Memory>>,
    pub(super) news: News,
    pub(super) added: Added,
    pub(super) filters: Filters,
    /// Of this process: transactions, and writes in them.
    n_written: Arc<(AtomicU64, AtomicU64)>,
}

pub(super) struct Memory {
    last_id: Option<EntryId>,
    pub(super) contacts: Cache<Token, ContactId>,
    pub(super) deltas: HashMap<VendorId, Delta>,
    /// Loaded by the first transaction.
    ledger: Option<Log>,
    /// Loaded when it is needed.
    days: Option<Days>,
    filters: Filters,
    pub(super) late: Late,
    pub(super) recent: Recent,
    pub(super) orphans: Orphans,
    pub(super) paused: Paused,
    /// Vendors that got events to forward in the open transaction.
    pub(super) forwarded: HashSet<VendorId>,
    /// What happens is told to a store elsewhere, too.
    pub(super) keeps_outbox: bool,
    /// When the first of what the open transaction added to the outbox is due.
    pub(super) outbox_due: Option<Millis>,
}

impl Default for State {
    fn default() -> Self {
        let filters = Filters::default();
        let memory = Arc::new(Mutex::new(Memory::new(filters.clone())));
        let (news, added) = (News::default(), Added::default());
        Self { memory, news, added, filters, n_written: Arc::default() }
    }
}

impl Memory {
    fn new(filters: Filters) -> Self {
        Self {
            last_id: None,
            contacts: Cache::new(CONTACTS_REMEMBERED),
            deltas: HashMap::new(),
            ledger: None,
            days: None,
            filters,
            late: Late::default(),
            recent: Recent::default(),
            orphans: Orphans::default(),
            paused: Paused::default(),
            forwarded: HashSet::new(),
            keeps_outbox: false,
            outbox_due: None,
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
                // No id is given twice, also when the entry that had it is gone.
                let sql = "SELECT max(coalesce((SELECT max(id) FROM entries), 0),
                    coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'last_id'), 0))";
                self.connection.query_row(sql, (), |row| row.get(0).map(EntryId))?
            }
        };
        let id = EntryId::next(last, now);
        self.memory.last_id = Some(id);
        Ok(id)
    }

    /// What is written late.
    pub(super) fn late(&mut self) -> Result<&mut Late, DbError> {
        self.memory.late.take(self.connection)?;
        Ok(&mut self.memory.late)
    }

    /// Both ends of a conversation, the open transaction's included.
    pub(super) fn ends(&mut self, contact: ContactId) -> Result<[EntryId; 2], DbError> {
        let connection = self.connection;
        let last_signal = self.late()?.last(connection, contact, Chain::Signals)?;
        Ok([self.last_turn(contact)?, last_signal.unwrap_or_default()])
    }

    /// The latest turn of a conversation, the open transaction's included.
    pub(super) fn last_turn(&mut self, contact: ContactId) -> Result<EntryId, DbError> {
        let connection = self.connection;
        let last = self.late()?.last(connection, contact, Chain::Turns)?;
        Ok(last.unwrap_or_default())
    }

    /// The tables of dedupe keys.
    pub(super) fn days(&mut self) -> Result<&mut Days, DbError> {
        self.memory.days(self.connection)
    }

    pub(super) fn delta(&mut self, vendor: &VendorId) -> &mut Delta {
        self.memory.deltas.entry(vendor.clone()).or_default()
    }
}

impl Memory {
    fn days(&mut self, connection: &Connection) -> Result<&mut Days, DbError> {
        match &mut self.days {
            Some(days) => Ok(days),
            days => Ok(days.insert(Days::load(connection, self.filters.clone())?)),
        }
    }

    /// What is known of an open transaction goes with it.
    fn rolled_back(&mut self) {
        self.last_id = None;
        self.contacts.clear();
        self.recent.clear();
        self.orphans.rolled_back();
        self.paused.rolled_back();
        self.deltas.clear();
        (self.ledger, self.days) = (None, None);
        self.forwarded.clear();
        self.outbox_due = None;
        self.late.rolled_back();
    }
}

impl State {
    /// The latest entry of a conversation. To be asked before the connection reads anything else:
    /// what is known here may be later than what a transaction of the connection shows.
    pub(super) fn end(
        &self,
        connection: &Connection,
        contact: ContactId,
        chain: Chain,
    ) -> Result<EntryId, DbError> {
        Ok(self.lock().late.end(connection, contact, chain)?.unwrap_or_default())
    }

    /// A vendor's latest message. To be asked first, as [`Self::end`].
    pub(super) fn end_of_vendor(
        &self,
        connection: &Connection,
        vendor: &VendorId,
    ) -> Result<EntryId, DbError> {
        Ok(self.lock().late.end_of_vendor(connection, vendor)?.unwrap_or_default())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Transactions that are on disk, and writes in them.
    pub(super) fn n_written(&self) -> (u64, u64) {
        let (commits, writes) = &*self.n_written;
        (commits.load(Ordering::Relaxed), writes.load(Ordering::Relaxed))
    }

    pub(super) fn batch(&self) -> Box<dyn Batch> {
        Box::new(self.clone())
    }
}

impl Batch for State {
    fn opened(&mut self, connection: &mut Connection) -> Result<(), DbError> {
        self.lock().recent.watch(connection)
    }

    fn before_commit(&mut self, connection: &Connection) -> Result<(), DbError> {
        let mut memory = self.lock();
        memory.days(connection)?;
        let Memory { deltas, ledger, days, late, .. } = &mut *memory;
        if let Some(days) = days {
            late.write(connection, days)?;
            days.tidy(connection)?;
        }
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
        self.lock().rolled_back();
    }

    fn committed(&mut self, n_writes: usize, n_statements: u64) {
        metrics::counter!(names::COMMITS).increment(1);
        metrics::counter!(names::WRITES).increment(n_writes as u64);
        metrics::counter!(names::STATEMENTS).increment(n_statements);
        let mut memory = self.lock();
        memory.late.committed();
        memory.orphans.committed();
        if let Some(days) = &mut memory.days {
            days.committed();
        }
        let forwarded = std::mem::take(&mut memory.forwarded);
        let outbox_due = memory.outbox_due.take();
        drop(memory);
        self.n_written.0.fetch_add(1, Ordering::Relaxed);
        self.n_written.1.fetch_add(n_writes as u64, Ordering::Relaxed);
        self.news.tell(forwarded);
        self.added.tell(outbox_due);
    }
}
