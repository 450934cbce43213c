//! The writer thread: takes whatever waits, runs it in one transaction, commits once, answers all.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc::Receiver,
};

use rusqlite::{
    Connection, ErrorCode, ffi,
    trace::{TraceEvent, TraceEventCodes},
};
use tokio::sync::oneshot;

use super::DbError;

/// Writes in one transaction.
const BATCH_MAX: usize = 256;

/// Told of each transaction.
pub trait Batch: Send {
    /// The last chance to write something into the transaction.
    fn before_commit(&mut self, connection: &Connection) -> Result<(), DbError>;
    /// Nothing of the transaction was kept: what was remembered of it is wrong.
    fn rolled_back(&mut self);
    /// The transaction is on disk; it held `n_writes`, and so many statements were run for it.
    fn committed(&mut self, n_writes: usize, n_statements: u64);
}

/// One waiting write.
pub(super) trait Job: Send {
    fn run(&mut self, connection: &Connection) -> Result<(), DbError>;
    fn answer(self: Box<Self>, end: Result<(), DbError>);
}

pub(super) struct Op<F, T> {
    f: F,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, DbError>>,
}

impl<F, T> Op<F, T> {
    pub(super) fn new(f: F, reply: oneshot::Sender<Result<T, DbError>>) -> Self {
        Self { f, value: None, reply }
    }
}

impl<F, T> Job for Op<F, T>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, DbError> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), DbError> {
        self.value = Some((self.f)(connection)?);
        Ok(())
    }

    fn answer(self: Box<Self>, end: Result<(), DbError>) {
        let Self { value, reply, .. } = *self;
        let answer = end.and_then(|()| value.ok_or(DbError::Closed));
        // Who asked may have gone; what was written stays.
        let _ = reply.send(answer);
    }
}

/// Statements run on a connection since somebody looked last.
pub(super) struct Statements(Arc<AtomicU64>);

impl Statements {
    /// Counts from now on, each statement that SQLite begins.
    pub(super) fn of(connection: &mut Connection) -> rusqlite::Result<Self> {
        let n = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&n);
        let each = move |_: TraceEvent<'_>| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(each))?;
        Ok(Self(n))
    }

    fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// Runs until all senders are gone.
pub(super) fn run(
    connection: &Connection,
    waiting: &Receiver<Box<dyn Job>>,
    mut batch: Box<dyn Batch>,
    statements: &Statements,
) {
    while let Ok(first) = waiting.recv() {
        let mut jobs = vec![first];
        while jobs.len() < BATCH_MAX {
            let Ok(job) = waiting.try_recv() else { break };
            jobs.push(job);
        }
        match transaction(connection, &mut jobs, batch.as_mut()) {
            Ok(()) => {
                batch.committed(jobs.len(), statements.take());
                jobs.into_iter().for_each(|it| it.answer(Ok(())));
            }
            Err(error) if jobs.len() == 1 => {
                jobs.into_iter().for_each(|it| it.answer(Err(error.clone())));
            }
            // One of them is at fault, and the others shall not pay for it.
            Err(_) => {
                for job in jobs {
                    alone(connection, job, batch.as_mut(), statements);
                }
            }
        }
    }
}

fn alone(
    connection: &Connection,
    job: Box<dyn Job>,
    batch: &mut dyn Batch,
    statements: &Statements,
) {
    let mut jobs = vec![job];
    let end = transaction(connection, &mut jobs, batch);
    if end.is_ok() {
        batch.committed(1, statements.take());
    }
    for job in jobs {
        job.answer(end.clone());
    }
}

pub(super) fn transaction(
    connection: &Connection,
    jobs: &mut [Box<dyn Job>],
    batch: &mut dyn Batch,
) -> Result<(), DbError> {
    let end = attempt(connection, jobs, batch);
    if let Err(error) = &end {
        end_process_if_unsynced(error);
        batch.rolled_back();
        if !connection.is_autocommit() {
            // Should this fail too, the next BEGIN does, and its writers are told.
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
    end
}

fn attempt(
    connection: &Connection,
    jobs: &mut [Box<dyn Job>],
    batch: &mut dyn Batch,
) -> Result<(), DbError> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
    for job in jobs {
        job.run(connection)?;
    }
    batch.before_commit(connection)?;
    connection.prepare_cached("COMMIT")?.execute(())?;
    Ok(())
}

/// After a failed fsync nobody knows what is on disk, and asking again would lie: the kernel has
/// dropped the pages. Only a fresh start reads what is really there.
fn end_process_if_unsynced(error: &DbError) {
    let DbError::Sqlite(error) = error else { return };
    if error.sqlite_error_code() != Some(ErrorCode::SystemIoFailure) {
        return;
    }
    let code = error.sqlite_error().map(|it| it.extended_code);
    if matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)) {
        tracing::error!(
            "the disk could not be synced; ending, so that a restart reads what is there"
        );
        std::process::exit(74);
    }
}
