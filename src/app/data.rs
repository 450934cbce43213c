//! The gateway's data, opened beside a server that may be running: for `waba-migrate` and the
//! command line.

use std::{error::Error, fs::File, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use rusqlite::ErrorCode;

use super::{assemble, bootstrap::try_take_directory, database_of, http, manager, vault};
use crate::{
    config::Config,
    domain::clock::Clock,
    gateway::Gateway,
    journal::SqliteJournal,
    sqlite::{Db, DbError},
    store::{FirestoreStore, Keyed, SharedStore, SqliteStore, StoreError, check_key},
    vault::Vault,
    vendor::Source,
};

/// How often a file that is in use is tried: each try waits 5 s, and a server under load
/// leaves it free for moments only.
const TRIES_MAX: u32 = 6;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// The data, open. A server that runs notices what is written to the store within 250 ms. Nothing
/// may be written to the journal: its writer is the server's alone, unless none may run
/// ([`Data::open_alone`]).
pub struct Data {
    /// Vendors, instances and keys.
    pub store: SharedStore,
    /// The record of work, to be read only.
    pub journal: SqliteJournal,
    db: Db,
    vault: Arc<Vault>,
    /// Where vendors are not in the embedded database.
    firestore: Option<FirestoreStore>,
    /// Keeps servers away.
    _lock: Option<File>,
}

/// What is sealed in the data, and where.
#[derive(Clone)]
pub struct Vaulted {
    /// The embedded database.
    pub db: Db,
    /// Seals in it.
    pub vault: Arc<Vault>,
    /// What it keeps of its keys.
    pub keyed: Keyed,
    /// The store elsewhere, where there is one.
    pub firestore: Option<FirestoreStore>,
}

impl Data {
    /// Opens the data, or makes them. A server that runs is not in the way.
    pub async fn open_to_write(config: &Config) -> anyhow::Result<Self> {
        let vault = Arc::new(vault(config)?);
        let (journal, local) = open(config, &vault).await?;
        let check = patiently(async || local.check_key().await).await;
        check.context("the encryption key does not fit the data")?;
        let firestore = match &config.firestore {
            Some(it) => {
                let started = FirestoreStore::start(it, Arc::clone(&vault), local.clone()).await;
                Some(reached(started)?)
            }
            None => None,
        };
        Ok(Self::of(journal, local, firestore, vault))
    }

    /// Opens the data to look at, where there are any.
    pub async fn open_to_read(config: &Config) -> anyhow::Result<Option<Self>> {
        let path = database_of(config);
        let is_there = path.try_exists().with_context(|| format!("look for {}", path.display()))?;
        // Vendors in Firestore are there also where this machine has no journal yet.
        if !is_there && config.firestore.is_none() {
            return Ok(None);
        }
        let vault = Arc::new(vault(config)?);
        let (journal, local) = open(config, &vault).await?;
        let its = Arc::clone(&vault);
        match journal.db().read(move |it| check_key(it, &its)).await {
            // There is no mark yet, and readers cannot set it: nothing was ever sealed in there.
            Err(DbError::Sqlite(error))
                if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {}
            check => check.context("the encryption key does not fit the data")?,
        }
        let firestore = match &config.firestore {
            Some(it) => {
                let vault = Arc::clone(&vault);
                let started = FirestoreStore::start_to_read(it, vault, local.clone()).await;
                Some(reached(started)?)
            }
            None => None,
        };
        Ok(Some(Self::of(journal, local, firestore, vault)))
    }

    /// Opens the data, where there are any, to change the journal too: no server starts before they
    /// are closed. `None` when one runs.
    pub async fn open_alone(config: &Config) -> anyhow::Result<Option<Self>> {
        if !database_of(config).exists() {
            bail!("there is no data in {} (DATA_DIR)", config.data_dir.display());
        }
        let Some(lock) = try_take_directory(&config.data_dir)? else { return Ok(None) };
        let data = Self { _lock: Some(lock), ..Self::open_to_write(config).await? };
        data.journal.park_restored(Clock::System.now()).await.context("a backup's work")?;
        Ok(Some(data))
    }

    /// A gateway over the data that works on nothing: it shows, and changes what the store has.
    pub fn gateway(&self, config: &Config) -> anyhow::Result<Gateway> {
        let store = Arc::clone(&self.store);
        let source = Source::new(Arc::clone(&store));
        let vault =
            self.firestore.as_ref().map_or_else(|| Arc::clone(&self.vault), FirestoreStore::vault);
        let manager = manager(config, &Clock::System, source, Arc::clone(&vault))?;
        let journal = Arc::new(self.journal.clone());
        assemble(config, http(config)?, Clock::System, journal, store, manager, vault)
    }

    /// What is sealed in the data.
    #[must_use]
    pub fn vaulted(&self) -> Vaulted {
        let (db, vault) = (self.db.clone(), Arc::clone(&self.vault));
        let keyed = Keyed::new(db.clone(), Arc::clone(&vault));
        Vaulted { db, vault, keyed, firestore: self.firestore.clone() }
    }

    fn of(
        journal: SqliteJournal,
        local: SqliteStore,
        firestore: Option<FirestoreStore>,
        vault: Arc<Vault>,
    ) -> Self {
        let store: SharedStore = match &firestore {
            Some(it) => Arc::new(it.clone()),
            None => Arc::new(local),
        };
        let db = journal.db().clone();
        Self { store, journal, db, vault, firestore, _lock: None }
    }

    /// Waits until everything is written.
    pub fn close(self) {
        self.db.close();
    }
}

/// Both stores, for whoever moves vendors from one to the other.
pub struct BothStores {
    /// The one in this directory.
    pub embedded: SharedStore,
    /// The one in Firestore.
    pub elsewhere: SharedStore,
    db: Db,
    /// Keeps servers away.
    _lock: File,
}

impl BothStores {
    /// Opens both; no server starts here before they are closed. `None` when one runs. With
    /// `may_mark` a Firestore that was never used is marked as ours.
    pub async fn open(config: &Config, may_mark: bool) -> anyhow::Result<Option<Self>> {
        let place = config.firestore.as_ref().context("Firestore is not configured")?;
        let Some(lock) = try_take_directory(&config.data_dir)? else { return Ok(None) };
        let vault = Arc::new(vault(config)?);
        let (journal, local) = open(config, &vault).await?;
        let check = patiently(async || local.check_key().await).await;
        check.context("the encryption key does not fit the data")?;
        let elsewhere = if may_mark {
            FirestoreStore::start(place, vault, local.clone()).await
        } else {
            FirestoreStore::start_to_read(place, vault, local.clone()).await
        };
        Ok(Some(Self {
            embedded: Arc::new(local),
            elsewhere: Arc::new(reached(elsewhere)?),
            db: journal.db().clone(),
            _lock: lock,
        }))
    }

    /// Waits until everything is written.
    pub fn close(self) {
        self.db.close();
    }
}

async fn open(config: &Config, vault: &Arc<Vault>) -> anyhow::Result<(SqliteJournal, SqliteStore)> {
    let path = database_of(config);
    let open = patiently(async || SqliteJournal::open(&path, Arc::clone(vault))).await;
    let journal = open.with_context(|| format!("open {}", path.display()))?;
    if config.firestore.is_some() {
        journal.keep_outbox();
    }
    let local = SqliteStore::new(journal.db().clone(), Arc::clone(vault));
    Ok((journal, local))
}

/// A command has nothing to do without its data.
fn reached(started: Result<FirestoreStore, StoreError>) -> anyhow::Result<FirestoreStore> {
    let reached = started.and_then(|it| it.is_reached().map(|()| it));
    reached.context("STORE=firestore")
}

/// Tries again while others hold the file.
pub async fn patiently<T, E: Error + 'static>(f: impl AsyncFn() -> Result<T, E>) -> Result<T, E> {
    for _ in 1..TRIES_MAX {
        match f().await {
            // SQLite does not wait at all while another process makes the file.
            Err(error) if is_busy(&error) => tokio::time::sleep(BETWEEN_TRIES).await,
            end => return end,
        }
    }
    f().await
}

fn is_busy(error: &(dyn Error + 'static)) -> bool {
    let code = match error.downcast_ref() {
        Some(DbError::Sqlite(error)) => error.sqlite_error_code(),
        _ => None,
    };
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
        || error.source().is_some_and(is_busy)
}
