//! The embedded database: one file for journal and store, one writer thread that commits whatever
//! is waiting in one transaction, and a few readers.

pub mod backup;
mod checkpoint;
mod disk;
mod inline;
mod queue;
mod readers;
mod reseal;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};
use tokio::sync::oneshot;

use self::{
    checkpoint::Checkpoints,
    disk::Disk,
    inline::Inline,
    queue::{Queue, Urgency},
    readers::Readers,
    writer::{Job, Op, Statements},
};
pub use self::{
    disk::is_of_disk,
    inline::{SharedConnection, in_memory},
    reseal::{Resealed, Sealed},
    writer::Batch,
};

/// Connections for callers to read by, and for work on what was taken.
const N_READERS: usize = 2;
const N_READERS_BEHIND: usize = 2;
/// How long a connection waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of the writer, in KiB.
const WRITER_CACHE_KIB: i64 = 12 * 1024;

/// One script for each version; a released one never changes.
pub(crate) const SCRIPTS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
    include_str!("schema_9.sql"),
    include_str!("schema_10.sql"),
    include_str!("schema_11.sql"),
];

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
    /// It is elsewhere, and does not answer.
    #[error("it does not answer")]
    Away,
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
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Readers,
    behind: Readers,
    disk: Disk,
    /// In place of all the above.
    inline: Option<Inline>,
}

impl Db {
    /// Opens the file, brings it up to date and starts the writer. `batch` is told of each
    /// transaction's end.
    pub fn open(path: &Path, mut batch: Box<dyn Batch>) -> Result<Self, DbError> {
        disk::refuse_lone_wal(path)?;
        let mut connection = connect(path, WRITER_CACHE_KIB)?;
        upgrade(&mut connection)?;
        let readers = Readers::open(path, N_READERS)?;
        let behind = Readers::open(path, N_READERS_BEHIND)?;
        batch.opened(&mut connection)?;
        let statements = Statements::of(&mut connection)?;
        let checkpoints = Checkpoints::of(&mut connection, path)?;
        let queue = Arc::new(Queue::default());
        let served = Arc::clone(&queue);
        let writer = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || writer::run(&connection, &served, batch, &statements, checkpoints))
            .map_err(|_| DbError::Closed)?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                queue,
                writer: Mutex::new(Some(writer)),
                readers,
                behind,
                disk: Disk::default(),
                inline: None,
            }),
        })
    }

    /// A handle that does everything at once, on whoever asks; for the simulation.
    pub fn inline(connection: SharedConnection, batch: Box<dyn Batch>) -> Result<Self, DbError> {
        Ok(Self {
            shared: Arc::new(Shared {
                path: PathBuf::new(),
                queue: Arc::default(),
                writer: Mutex::default(),
                readers: Readers::none(),
                behind: Readers::none(),
                disk: Disk::default(),
                inline: Some(Inline::new(connection, batch)?),
            }),
        })
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
        self.write_as(Urgency::Asked, f).await
    }

    /// As [`Self::write`], for work on what was taken: what callers wait for goes first, and it is
    /// never refused for what waits.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub async fn write_behind<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, DbError> + Send + 'static,
    {
        self.write_as(Urgency::Behind, f).await
    }

    /// As [`Self::write_behind`], for what nothing goes on from: it does not make a transaction of
    /// its own where others come soon.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub async fn write_late<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, DbError> + Send + 'static,
    {
        self.write_as(Urgency::Late, f).await
    }

    async fn write_as<T, F>(&self, urgency: Urgency, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, DbError> + Send + 'static,
    {
        if let Some(inline) = &self.shared.inline {
            return inline.write(f);
        }
        let (reply, answer) = oneshot::channel();
        let op: Box<dyn Job> = Box::new(Op::new(f, reply));
        self.shared.queue.push(urgency, op)?;
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
        // Without a permit it would wait on a thread, and many would wait on many.
        let permit = shared.readers.permit().await?;
        let run = move || {
            let _permit = permit;
            f(&shared.readers.one())
        };
        tokio::task::spawn_blocking(run).await.map_err(|_| DbError::Closed)?
    }

    /// Runs `f` on a reader at once, on whoever asks: for short reads by work on what was taken,
    /// whose threads do nothing else.
    pub fn read_behind<T>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        match &self.shared.inline {
            Some(inline) => inline.read(f),
            None => f(&self.shared.behind.one()),
        }
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
        let run = move || f(&readers::reader(&shared.path)?);
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
            let reader = shared.readers.first();
            Ok(reader.pragma_query_value(None, "data_version", |row| row.get(0))?)
        };
        tokio::task::spawn_blocking(run).await.map_err(|_| DbError::Closed)?
    }

    /// Waits until everything that was asked for is written, and ends the writer.
    pub fn close(&self) {
        self.shared.queue.close();
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
    connection.pragma_update(None, "wal_autocheckpoint", checkpoint::PAGES)?;
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
