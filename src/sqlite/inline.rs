//! A database without threads, for the simulation: what is asked for is done at once, on whoever
//! asks. The connection outlives the handle, as a file outlives a process.

use std::sync::{Arc, Mutex};

use rusqlite::{Connection, config::DbConfig};
use tokio::sync::oneshot;

use super::{
    Batch, DbError, lock, upgrade,
    writer::{Job, Op, transaction},
};

/// A connection that several handles use one after another.
pub type SharedConnection = Arc<Mutex<Connection>>;

/// A database in memory, of the present version.
pub fn in_memory() -> Result<SharedConnection, DbError> {
    let mut connection = Connection::open_in_memory()?;
    // A commit copies the pages that it changes: small ones are quicker.
    connection.pragma_update(None, "page_size", 1_024)?;
    upgrade(&mut connection)?;
    // A statement is not prepared again because of what is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(256);
    Ok(Arc::new(Mutex::new(connection)))
}

pub(super) struct Inline {
    connection: SharedConnection,
    batch: Mutex<Box<dyn Batch>>,
}

impl Inline {
    pub(super) fn new(
        connection: SharedConnection,
        mut batch: Box<dyn Batch>,
    ) -> Result<Self, DbError> {
        batch.opened(&mut lock(&connection))?;
        Ok(Self { connection, batch: Mutex::new(batch) })
    }

    pub(super) fn write<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, DbError> + Send + 'static,
    {
        let (reply, mut answer) = oneshot::channel();
        let mut jobs: Vec<Box<dyn Job>> = vec![Box::new(Op::new(f, reply))];
        let mut batch = lock(&self.batch);
        let end =
            transaction(&lock(&self.connection), &mut jobs, std::iter::empty(), batch.as_mut());
        if end.is_ok() {
            batch.committed(1, 0);
        }
        jobs.into_iter().for_each(|it| it.answer(end.clone()));
        answer.try_recv().map_err(|_| DbError::Closed)?
    }

    pub(super) fn read<T>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        f(&lock(&self.connection))
    }
}
