//! Whether the disk takes what is written: told once when that changes, not with each write.

use std::{
    error::Error,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::ErrorCode;

use super::DbError;

/// A disk that is full for one write and not for the next is told of this often.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// How the last write went.
#[derive(Default)]
pub(super) struct Disk {
    is_away: AtomicBool,
    told: Mutex<Told>,
    is_told_away: AtomicBool,
}

#[derive(Default)]
struct Told(Option<Instant>);

impl Disk {
    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// Notes how a write went.
    pub(super) fn note<T>(&self, end: &Result<T, DbError>) {
        let error = match end {
            Ok(_) => None,
            Err(DbError::Sqlite(error)) if is_disk(error) => Some(error),
            // What was asked was wrong: it says nothing of the disk.
            Err(_) => return,
        };
        self.is_away.store(error.is_some(), Ordering::Relaxed);
        if error.is_some() == self.is_told_away.load(Ordering::Relaxed) {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.0.is_some_and(|it| it.elapsed() < TELL_EVERY) {
            return;
        }
        told.0 = Some(Instant::now());
        self.is_told_away.store(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) => tracing::error!(
                error = %error,
                "the disk takes no writes: webhooks are answered 503 and work waits until it does"
            ),
            None => tracing::info!("the disk takes writes again"),
        }
    }
}

fn is_disk(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::DatabaseCorrupt
        )
    )
}

/// Whether an error, or what caused it, is that the disk takes no writes. That is told once by the
/// database; whoever is refused for it need not tell it again.
#[must_use]
pub fn is_of_disk(error: &(dyn Error + 'static)) -> bool {
    let found = match error.downcast_ref() {
        Some(DbError::Sqlite(error)) => is_disk(error),
        _ => error.downcast_ref::<Arc<rusqlite::Error>>().is_some_and(|it| is_disk(it)),
    };
    found || error.source().is_some_and(is_of_disk)
}

/// SQLite takes a database file that is missing or empty for a new one and removes the
/// write-ahead file beside it. That would lose what is in there.
pub(super) fn refuse_lone_wal(path: &Path) -> Result<(), DbError> {
    let n_bytes = |path: &Path| match std::fs::metadata(path) {
        Ok(it) => Ok(it.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    };
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let has_lone_wal =
        || -> io::Result<bool> { Ok(n_bytes(path)? == 0 && n_bytes(&PathBuf::from(wal))? > 0) };
    // What cannot be looked at cannot be opened either, and then SQLite says why.
    if has_lone_wal().unwrap_or(false) { Err(DbError::LoneWal) } else { Ok(()) }
}
