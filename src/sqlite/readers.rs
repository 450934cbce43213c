//! Connections for reading, each used by one at a time.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{DbError, connect, lock};

/// Page cache of each, in KiB.
const CACHE_KIB: i64 = 1024;

/// Some connections.
pub(super) struct Readers {
    connections: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
    /// One for each, for those who wait without a thread.
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path, n: usize) -> Result<Self, DbError> {
        let open = |_| reader(path).map(Mutex::new);
        Ok(Self::of((0..n).map(open).collect::<Result<_, _>>()?))
    }

    pub(super) fn none() -> Self {
        Self::of(Vec::new())
    }

    fn of(connections: Vec<Mutex<Connection>>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self { connections, turn: AtomicUsize::new(0), permits }
    }

    /// Waits until one is free, which it is for as long as the permit is held.
    pub(super) async fn permit(&self) -> Result<OwnedSemaphorePermit, DbError> {
        Arc::clone(&self.permits).acquire_owned().await.map_err(|_| DbError::Closed)
    }

    /// Always the same one.
    pub(super) fn first(&self) -> MutexGuard<'_, Connection> {
        lock(&self.connections[0])
    }

    /// One that is free, or else the next in turn.
    pub(super) fn one(&self) -> MutexGuard<'_, Connection> {
        let free = self.connections.iter().find_map(|it| it.try_lock().ok());
        free.unwrap_or_else(|| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            lock(&self.connections[turn % self.connections.len()])
        })
    }
}

/// A connection that cannot write.
pub(super) fn reader(path: &Path) -> Result<Connection, DbError> {
    let reader = connect(path, CACHE_KIB)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok(reader)
}
