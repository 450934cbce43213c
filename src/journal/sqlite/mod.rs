//! The journal in the embedded database.

mod answer;
mod answered;
mod append;
mod bulk;
mod chains;
mod contacts;
mod devices;
mod echo;
mod entries;
mod erase;
#[cfg(test)]
mod fixtures;
mod forwards;
mod groups;
mod heard;
mod hours;
mod intents;
mod keep;
mod keys;
mod late;
mod ledger;
mod marks;
mod media;
mod names;
mod operate;
mod outbox;
mod people;
mod rare;
mod recent;
mod said;
mod show;
mod start;
mod state;
mod waiting;
mod watch;
mod windows;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use rusqlite::Connection;

use self::state::{Cx, State};
use super::{
    Appended, Asked, Begun, Change, Changed, Idempotency, Journal, JournalError, Journey, Ledger,
    MessageEnd, NewEvents, NewIntent, Page, Pause, Rechecked, Step, Stepped, Submitted, ToAnswer,
    ToFollow, Ways,
};
use crate::{
    domain::{
        clock::Millis,
        contact::Address,
        delivery::{Input, Outcome},
        id::{ContactId, EntryId, InstanceId, VendorId},
        message::Content,
    },
    sqlite::{Db, DbError, Sealed, SharedConnection},
    vault::Vault,
};

/// Sealed columns of the journal's tables.
const SEALED: [Sealed; 5] = [
    bulk::JOBS,
    bulk::RECIPIENTS,
    Sealed { table: "contacts", key: "id", of: "instance", column: "doc", place: contacts::place },
    Sealed { table: "media", key: "id", of: "id", column: "doc", place: media::place },
    Sealed { table: "entries", key: "id", of: "instance", column: "body", place: entries::place },
];

/// The journal in the embedded database. Clones share it.
#[derive(Clone)]
pub struct SqliteJournal {
    db: Db,
    vault: Arc<Vault>,
    state: State,
}

impl SqliteJournal {
    /// Opens the database file, or makes it.
    pub fn open(path: &Path, vault: Arc<Vault>) -> Result<Self, DbError> {
        let state = State::default();
        let db = Db::open(path, state.batch())?;
        Ok(Self { db, vault, state })
    }

    /// Has the dedupe keys of this file in mind from now on, for the process that writes entries.
    pub fn remember_keys(&self, path: &Path) {
        self.state.filters.fill(path.to_owned());
    }

    /// The journal in a database without threads, for the simulation.
    pub fn inline(connection: SharedConnection, vault: Arc<Vault>) -> Result<Self, DbError> {
        let state = State::default();
        state.lock().late.simulated();
        let db = Db::inline(connection, state.batch())?;
        Ok(Self { db, vault, state })
    }

    /// The database, for the store in the same file.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Sealed columns of the journal's tables.
    #[must_use]
    pub fn columns() -> &'static [Sealed] {
        &SEALED
    }

    /// Runs `f` in the next transaction, with what the writer remembers.
    async fn write<T, F>(&self, f: F) -> Result<T, JournalError>
    where
        T: Send + 'static,
        F: FnMut(&mut Cx<'_>) -> Result<T, DbError> + Send + 'static,
    {
        Ok(self.db.write(self.remembering(f)).await?)
    }

    /// The same for work on what was taken: callers' writes go first.
    async fn write_behind<T, F>(&self, f: F) -> Result<T, JournalError>
    where
        T: Send + 'static,
        F: FnMut(&mut Cx<'_>) -> Result<T, DbError> + Send + 'static,
    {
        Ok(self.db.write_behind(self.remembering(f)).await?)
    }

    fn remembering<T, F>(
        &self,
        mut f: F,
    ) -> impl FnMut(&Connection) -> Result<T, DbError> + Send + 'static + use<T, F>
    where
        F: FnMut(&mut Cx<'_>) -> Result<T, DbError> + Send + 'static,
    {
        let (vault, state) = (Arc::clone(&self.vault), self.state.clone());
        move |connection: &Connection| {
            let mut memory = state.lock();
            let mut cx = Cx { connection, vault: &vault, memory: &mut memory, changes: Vec::new() };
            f(&mut cx)
        }
    }

    /// As [`Self::read`], for what has to know where conversations end.
    async fn read_chains<T, F>(&self, f: F) -> Result<T, JournalError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &Vault, &State) -> Result<T, DbError> + Send + 'static,
    {
        let state = self.state.clone();
        self.read(move |connection, vault| f(connection, vault, &state)).await
    }

    /// Reads at once, on the thread of the work that asks.
    fn read_behind<T>(
        &self,
        f: impl FnOnce(&Connection, &Vault) -> Result<T, DbError>,
    ) -> Result<T, JournalError> {
        Ok(self.db.read_behind(|connection| f(connection, &self.vault))?)
    }

    async fn read<T, F>(&self, f: F) -> Result<T, JournalError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &Vault) -> Result<T, DbError> + Send + 'static,
    {
        let vault = Arc::clone(&self.vault);
        Ok(self.db.read(move |connection| f(connection, &vault)).await?)
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn append(&self, batch: NewEvents) -> Result<Appended, JournalError> {
        let prepared = append::prepare(&self.vault, batch)?;
        self.write(move |cx| append::append(cx, &prepared)).await
    }

    async fn submit(&self, intent: NewIntent) -> Result<Submitted, JournalError> {
        self.write(move |cx| intents::submit(cx, &intent)).await
    }

    async fn asked_before(
        &self,
        vendor: &VendorId,
        what: &Idempotency,
    ) -> Result<Option<Asked>, JournalError> {
        let (vendor, what) = (vendor.clone(), what.clone());
        let find = move |connection: &Connection, vault: &Vault| {
            Ok(intents::claim(connection, vault, &vendor, &what)?.1)
        };
        self.read(find).await
    }

    async fn message(
        &self,
        id: EntryId,
        with_history: bool,
    ) -> Result<Option<ToAnswer>, JournalError> {
        self.read_behind(|connection, vault| {
            answer::to_answer(connection, vault, &self.state, (id, with_history))
        })
    }

    async fn settle(&self, id: EntryId, end: MessageEnd) -> Result<Vec<Change>, JournalError> {
        self.write_behind(move |cx| intents::settle_message(cx, id, &end)).await
    }

    async fn begin(&self, id: EntryId, ways: Ways, now: Millis) -> Result<Begun, JournalError> {
        self.write_behind(move |cx| intents::begin(cx, id, &ways, now)).await
    }

    async fn step(&self, id: EntryId, step: Step, now: Millis) -> Result<Stepped, JournalError> {
        let is_sent = step.input == Input::Outcome(Outcome::Sent);
        let write = self.remembering(move |cx| intents::step(cx, id, &step, now));
        // Only the customer's next message waits for it.
        Ok(if is_sent {
            self.db.write_late(write).await
        } else {
            self.db.write_behind(write).await
        }?)
    }

    async fn intent(&self, id: EntryId) -> Result<Option<ToFollow>, JournalError> {
        self.read_behind(|connection, vault| show::to_follow(connection, vault, id))
    }

    async fn recheck(&self, id: EntryId, now: Millis) -> Result<Rechecked, JournalError> {
        self.write_behind(move |cx| echo::recheck(cx, id, now)).await
    }

    async fn learn(
        &self,
        instance: &InstanceId,
        contact: ContactId,
        address: Address,
    ) -> Result<Vec<Change>, JournalError> {
        let instance = instance.clone();
        self.write_behind(move |cx| {
            contacts::learn(cx, &instance, contact, &address)?;
            Ok(std::mem::take(&mut cx.changes))
        })
        .await
    }

    async fn waiting(&self, after: EntryId, limit: usize) -> Result<Vec<Change>, JournalError> {
        if after == EntryId(0) {
            self.write(start::take_up).await?;
        }
        self.read(move |connection, _| show::waiting(connection, after, limit)).await
    }

    async fn pause(&self, contact: ContactId, pause: Option<Pause>) -> Result<(), JournalError> {
        self.write(move |cx| contacts::pause(cx, contact, pause.as_ref())).await
    }

    async fn messages(
        &self,
        vendor: &VendorId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, JournalError> {
        let vendor = vendor.clone();
        self.read_chains(move |connection, vault, ends| {
            show::messages(connection, vault, ends, (&vendor, before, limit))
        })
        .await
    }

    async fn journey(
        &self,
        vendor: &VendorId,
        id: EntryId,
    ) -> Result<Option<Journey>, JournalError> {
        let vendor = vendor.clone();
        self.read_chains(move |connection, vault, ends| {
            show::journey(connection, vault, ends, (&vendor, id))
        })
        .await
    }

    async fn ledger(&self, vendor: Option<&VendorId>) -> Result<Ledger, JournalError> {
        let vendor = vendor.cloned();
        self.read(move |connection, _| ledger::read(connection, vendor.as_ref())).await
    }

    async fn count(&self, vendor: Option<&VendorId>) -> Result<Ledger, JournalError> {
        let vendor = vendor.cloned();
        self.read(move |connection, _| ledger::count(connection, vendor.as_ref())).await
    }

    fn text_key(&self, content: &Content) -> i64 {
        entries::text_key(&self.vault, content)
    }

    async fn ready(&self) -> Result<(), JournalError> {
        // A transaction that writes a page, so that a full or broken disk shows. SQLite writes no
        // page for what is there already.
        self.write(|cx| {
            let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES ('ready', randomblob(8))";
            cx.connection.prepare_cached(sql)?.execute(())?;
            Ok(())
        })
        .await
    }

    async fn has_said(
        &self,
        contact: ContactId,
        text_key: i64,
        since: Millis,
    ) -> Result<bool, JournalError> {
        self.read_behind(|connection, _| {
            said::text(connection, &self.state, contact, (text_key, since))
        })
    }

    async fn in_flight(&self, instance: &InstanceId) -> Result<i64, JournalError> {
        let instance = instance.clone();
        self.read(move |connection, _| show::in_flight(connection, &instance)).await
    }

    async fn changed(&self, id: EntryId, change: Changed, now: Millis) -> Result<(), JournalError> {
        self.write(move |cx| marks::changed(cx, id, &change, now)).await
    }
}
