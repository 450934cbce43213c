//! The embedded database: one file for journal and store, one writer thread that commits whatever
//! is waiting in one transaction, and a few readers.

pub mod backup;
mod disk;
mod inline;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};
use tokio::sync::oneshot;

use self::{
    disk::Disk,
    inline::Inline,
    writer::{Job, Op, Statements},
};
pub use self::{
    disk::is_of_disk,
    inline::{SharedConnection, in_memory},
    writer::Batch,
};

/// Writes that may wait for the writer; one more is refused.
const WRITES_WAITING_MAX: usize = 8_192;
/// Connections for reading.
const N_READERS: usize = 2;
/// How long a connection waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of the writer and of a reader, in KiB.
const WRITER_CACHE_KIB: i64 = 12 * 1024;
const READER_CACHE_KIB: i64 = 1024;

/// Pages in the write-ahead file before they are copied back. Hot pages are written many times
/// between two copies and copied once; at 4 KiB this is 64 MiB.
const CHECKPOINT_PAGES: i64 = 16 * 1024;

/// One script for each version; a released one never changes.
pub(crate) const SCRIPTS: &[&str] =
    &[include_str!("schema_1.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];

/// The database could not do what was asked. Nothing of it was written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DbError {
    /// The writer has more to do than it may take on.
    #[error("too many writes are waiting")]
    Busy,
    /// The writer has ended.
    #[error("the database is closed")]
    Closed,
    /// The file was made by a newer version of this program.
    #[error("the database is of version {found}, this program knows {known}")]
    TooNew {
        /// Its version.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// The database file is gone or empty, its write-ahead file is not.
    #[error(
        "the database file is missing or empty, but its write-ahead file (-wal) is not: put the \
         database file back, or move the write-ahead file away to start anew"
    )]
    LoneWal,
    /// What `SQLite` says.
    #[error("database")]
    Sqlite(#[source] Arc<rusqlite::Error>),
    /// What was stored cannot be opened or read.
    #[error("stored data cannot be read: {0}")]
    Unreadable(&'static str),
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    writes: Mutex<Option<mpsc::SyncSender<Box<dyn Job>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Vec<Mutex<Connection>>,
    turn: std::sync::atomic::AtomicUsize,
    disk: Disk,
    /// In place of all the above.
    inline: Option<Inline>,
}

impl Db {
    /// Opens the file, brings it up to date and starts the writer. `batch` is told of each
    /// transaction's end.
    pub fn open(path: &Path, batch: Box<dyn Batch>) -> Result<Self, DbError> {
        disk::refuse_lone_wal(path)?;
        let mut connection = connect(path, WRITER_CACHE_KIB)?;
        upgrade(&mut connection)?;
        let mut readers = Vec::new();
        for _ in 0..N_READERS {
            let reader = connect(path, READER_CACHE_KIB)?;
            reader.pragma_update(None, "query_only", true)?;
            readers.push(Mutex::new(reader));
        }
        let statements = Statements::of(&mut connection)?;
        let (writes, waiting) = mpsc::sync_channel(WRITES_WAITING_MAX);
        let writer = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || writer::run(&connection, &waiting, batch, &statements))
            .map_err(|_| DbError::Closed)?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                writes: Mutex::new(Some(writes)),
                writer: Mutex::new(Some(writer)),
                readers,
                turn: std::sync::atomic::AtomicUsize::new(0),
                disk: Disk::default(),
                inline: None,
            }),
        })
    }

    /// A handle that does everything at once, on whoever asks; for the simulation.
    #[must_use]
    pub fn inline(connection: SharedConnection, batch: Box<dyn Batch>) -> Self {
        Self {
            shared: Arc::new(Shared {
                path: PathBuf::new(),
                writes: Mutex::default(),
                writer: Mutex::default(),
                readers: Vec::new(),
                turn: std::sync::atomic::AtomicUsize::new(0),
                disk: Disk::default(),
                inline: Some(Inline::new(connection, batch)),
            }),
        }
    }

    /// Runs `f` in the next transaction and answers when that is on disk. `f` may be run a second
    /// time when a neighbour in the transaction failed.
    ///
    /// # Errors
    ///
    /// What `f` returned, and then nothing of it is kept; or the database's.
    pub async fn write<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, DbError> + Send + 'static,
    {
        if let Some(inline) = &self.shared.inline {
            return inline.write(f);
        }
        let (reply, answer) = oneshot::channel();
        let op: Box<dyn Job> = Box::new(Op::new(f, reply));
        let sender = lock(&self.shared.writes).clone().ok_or(DbError::Closed)?;
        sender.try_send(op).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => DbError::Busy,
            mpsc::TrySendError::Disconnected(_) => DbError::Closed,
        })?;
        let end = answer.await.map_err(|_| DbError::Closed)?;
        self.shared.disk.note(&end);
        end
    }

    /// The disk did not take the last write.
    #[must_use]
    pub fn is_disk_away(&self) -> bool {
        self.shared.disk.is_away()
    }

    /// Runs `f` on a reader, off the async threads.
    pub async fn read<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    {
        if let Some(inline) = &self.shared.inline {
            return inline.read(f);
        }
        let shared = Arc::clone(&self.shared);
        let turn = shared.turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let run = move || {
            let reader = &shared.readers[turn % shared.readers.len()];
            f(&lock(reader))
        };
        tokio::task::spawn_blocking(run).await.map_err(|_| DbError::Closed)?
    }

    /// Runs `f` on a connection of its own, so that nobody waits for a reader meanwhile.
    pub async fn read_apart<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    {
        if let Some(inline) = &self.shared.inline {
            return inline.read(f);
        }
        let shared = Arc::clone(&self.shared);
        let run = move || {
            let reader = connect(&shared.path, READER_CACHE_KIB)?;
            reader.pragma_update(None, "query_only", true)?;
            f(&reader)
        };
        tokio::task::spawn_blocking(run).await.map_err(|_| DbError::Closed)?
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// A number that changes when anybody has committed, as one reader sees it.
    pub async fn version(&self) -> Result<i64, DbError> {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            let reader = lock(&shared.readers[0]);
            Ok(reader.pragma_query_value(None, "data_version", |row| row.get(0))?)
        };
        tokio::task::spawn_blocking(run).await.map_err(|_| DbError::Closed)?
    }

    /// Waits until everything that was asked for is written, and ends the writer.
    pub fn close(&self) {
        lock(&self.shared.writes).take();
        if let Some(writer) = lock(&self.shared.writer).take() {
            // A writer that panicked has told so itself.
            let _ = writer.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn connect(path: &Path, cache_kib: i64) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    switch_to_wal(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    // A statement is not prepared again because of what is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(256);
    Ok(connection)
}

/// SQLite does not wait for others while it changes the mode of a fresh file, so we do.
fn switch_to_wal(connection: &Connection) -> Result<(), DbError> {
    let started = std::time::Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Ok(()) => return Ok(()),
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && started.elapsed() < BUSY_TIMEOUT =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The version of a database file and the one this program makes of it. Changes nothing.
pub fn versions(path: &Path) -> Result<(usize, usize), DbError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((usize::try_from(found).unwrap_or(usize::MAX), SCRIPTS.len()))
}

/// Runs the scripts that this file has not seen, each in one transaction with its number.
fn upgrade(connection: &mut Connection) -> Result<(), DbError> {
    let version = |at: &Connection| at.pragma_query_value(None, "user_version", |row| row.get(0));
    let found: i64 = version(connection)?;
    if usize::try_from(found) == Ok(SCRIPTS.len()) {
        return Ok(());
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = version(&tx)?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if found > SCRIPTS.len() {
        return Err(DbError::TooNew { found, known: SCRIPTS.len() });
    }
    for (script, version) in SCRIPTS.iter().zip(1_i64..).skip(found) {
        tx.execute_batch(script)?;
        tx.pragma_update(None, "user_version", version)?;
    }
    tx.commit()?;
    Ok(())
}
