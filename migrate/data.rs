//! The gateway's data, opened beside a server that may be running.

use std::{error::Error, fs::File, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use rusqlite::ErrorCode;
use waba_gateway::{
    app,
    config::Config,
    journal::SqliteJournal,
    sqlite::{Db, DbError},
    store::{SqliteStore, Store, check_key},
    vault::Vault,
};

use super::plan::Plan;

/// How often a file that is in use is tried: each try waits 5 s, and a server under load
/// leaves it free for moments only.
const TRIES_MAX: u32 = 6;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// The store, open.
pub struct Data {
    /// Vendors and instances.
    pub store: SqliteStore,
    db: Db,
    /// Two migrations at once would not see each other's numbers.
    _turn: Option<File>,
}

impl Data {
    /// Opens the data, or makes them; waits while another migration is at work. A server that runs
    /// is not in the way.
    pub async fn open_to_write(config: &Config) -> anyhow::Result<Self> {
        let vault = Arc::new(app::vault(config)?);
        let turn = take_turn(&config.data_dir)?;
        let (store, db) = open(config, vault).await?;
        let check = patiently(async || store.check_key().await).await;
        check.context("the encryption key does not fit the data")?;
        Ok(Self { store, db, _turn: Some(turn) })
    }

    /// Opens the data to look at, where there are any.
    pub async fn open_to_read(config: &Config) -> anyhow::Result<Option<Self>> {
        let path = app::database_of(config);
        if !path.try_exists().with_context(|| format!("look for {}", path.display()))? {
            return Ok(None);
        }
        let vault = Arc::new(app::vault(config)?);
        let (store, db) = open(config, Arc::clone(&vault)).await?;
        match db.read(move |it| check_key(it, &vault)).await {
            // There is no mark yet, and readers cannot set it: nothing was ever sealed in there.
            Err(DbError::Sqlite(error))
                if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {}
            check => check.context("the encryption key does not fit the data")?,
        }
        Ok(Some(Self { store, db, _turn: None }))
    }

    /// Keeps everything that is planned, or nothing.
    pub async fn put(&self, plan: &Plan) -> anyhow::Result<()> {
        let put = patiently(async || self.store.put_all(&plan.vendors, &plan.instances).await);
        put.await.context("write the rows")
    }

    /// Waits until everything is written.
    pub fn close(self) {
        self.db.close();
    }
}

fn take_turn(directory: &Path) -> anyhow::Result<File> {
    let turn = File::open(directory).and_then(|it| it.lock().map(|()| it));
    turn.with_context(|| format!("wait for a turn at {}", directory.display()))
}

async fn open(config: &Config, vault: Arc<Vault>) -> anyhow::Result<(SqliteStore, Db)> {
    let path = app::database_of(config);
    let open = patiently(async || SqliteJournal::open(&path, Arc::clone(&vault))).await;
    let journal = open.with_context(|| format!("open {}", path.display()))?;
    let db = journal.db().clone();
    Ok((SqliteStore::new(db.clone(), vault), db))
}

/// Tries again while others hold the file.
async fn patiently<T, E: Error + 'static>(f: impl AsyncFn() -> Result<T, E>) -> Result<T, E> {
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
