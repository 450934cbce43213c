//! The writer thread: takes whatever waits, runs it in one transaction, commits once, answers all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, ErrorCode, ffi,
    trace::{TraceEvent, TraceEventCodes},
};
use tokio::sync::oneshot;

use super::{DbError, checkpoint::Checkpoints, queue::Queue};

/// Writes in one transaction.
const BATCH_MAX: usize = 256;
/// How long a transaction takes in what may wait: callers who come meanwhile wait for its end.
const BEHIND_FOR: Duration = Duration::from_micros(500);
/// As many of those come in each transaction, whoever else waits, so that they come at all.
const BEHIND_MIN: usize = 2;
/// Callers who waited longer than this get the transaction nearly to themselves: there is more to
/// do than time. What may wait takes no longer then than such a part of the transaction before,
/// which is much where the disk is slow and little where the processor is.
const CALLERS_WAIT: Duration = Duration::from_millis(1);
const BEHIND_PART: u32 = 32;

/// Told of each transaction.
pub trait Batch: Send {
    /// This connection will do the writing.
    fn opened(&mut self, _connection: &mut Connection) -> Result<(), DbError> {
        Ok(())
    }
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

/// Ends the queue with the thread that serves it, however that ends: who waits is told.
struct Served<'a>(&'a Queue);

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.close();
        let mut left = Vec::new();
        self.0.wait(usize::MAX, &mut left);
        left.extend(std::iter::from_fn(|| self.0.behind()));
        left.into_iter().for_each(|it| it.answer(Err(DbError::Closed)));
        if thread::panicking() {
            // Nothing could be kept any more until somebody looks; a restart may be all it takes.
            tracing::error!("the writer panicked; ending, so that a restart goes on");
            std::process::exit(70);
        }
    }
}

/// Runs until the queue is closed and empty.
pub(super) fn run(
    connection: &Connection,
    queue: &Queue,
    mut batch: Box<dyn Batch>,
    statements: &Statements,
    mut checkpoints: Checkpoints,
) {
    let _served = Served(queue);
    let (mut jobs, mut lasted) = (Vec::new(), Duration::ZERO);
    while let Some(waited) = queue.wait(BATCH_MAX, &mut jobs) {
        let began = Instant::now();
        let more = Behind::beside(queue, waited, lasted);
        match transaction(connection, &mut jobs, more, batch.as_mut()) {
            Ok(()) => {
                batch.committed(jobs.len(), statements.take());
                jobs.drain(..).for_each(|it| it.answer(Ok(())));
                lasted = began.elapsed();
                checkpoints.committed(connection);
            }
            Err(error) if jobs.len() == 1 => {
                jobs.drain(..).for_each(|it| it.answer(Err(error.clone())));
            }
            // One of them is at fault, and the others shall not pay for it.
            Err(_) => {
                for job in jobs.drain(..) {
                    alone(connection, job, batch.as_mut(), statements);
                }
            }
        }
    }
}

/// Writes that are taken into a transaction while it has time.
struct Behind<'a> {
    queue: &'a Queue,
    /// Taken even when there is no time.
    left: usize,
    until: Instant,
}

impl<'a> Behind<'a> {
    /// Beside callers the first of whom has waited so long, after a transaction that lasted so long.
    fn beside(queue: &'a Queue, waited: Duration, lasted: Duration) -> Self {
        let time = if waited > CALLERS_WAIT { lasted / BEHIND_PART } else { BEHIND_FOR };
        Self { queue, left: BEHIND_MIN, until: Instant::now() + time }
    }
}

impl Iterator for Behind<'_> {
    type Item = Box<dyn Job>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 && Instant::now() >= self.until {
            return None;
        }
        self.left = self.left.saturating_sub(1);
        self.queue.behind()
    }
}

fn alone(
    connection: &Connection,
    job: Box<dyn Job>,
    batch: &mut dyn Batch,
    statements: &Statements,
) {
    let mut jobs = vec![job];
    let end = transaction(connection, &mut jobs, std::iter::empty(), batch);
    if end.is_ok() {
        batch.committed(1, statements.take());
    }
    for job in jobs {
        job.answer(end.clone());
    }
}

/// Runs these and more in one transaction; what was run is among `jobs` afterwards.
pub(super) fn transaction(
    connection: &Connection,
    jobs: &mut Vec<Box<dyn Job>>,
    more: impl Iterator<Item = Box<dyn Job>>,
    batch: &mut dyn Batch,
) -> Result<(), DbError> {
    let end = attempt(connection, jobs, more, batch);
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
    jobs: &mut Vec<Box<dyn Job>>,
    mut more: impl Iterator<Item = Box<dyn Job>>,
    batch: &mut dyn Batch,
) -> Result<(), DbError> {
    // One at least, so that an error is somebody's.
    if jobs.is_empty() {
        jobs.extend(more.next());
    }
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
    for job in &mut *jobs {
        job.run(connection)?;
    }
    while jobs.len() < BATCH_MAX
        && let Some(job) = more.next()
    {
        jobs.push(job);
        if let Some(job) = jobs.last_mut() {
            job.run(connection)?;
        }
    }
    batch.before_commit(connection)?;
    connection.prepare_cached("COMMIT")?.execute(())?;
    Ok(())
}

/// After a failed fsync nobody knows what is on disk, and asking again would lie: the kernel has
/// dropped the pages. Only a fresh start reads what is really there.
pub(super) fn end_process_if_unsynced(error: &DbError) {
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

#[cfg(test)]
mod tests {
    use super::{
        super::queue::{Urgency, tests::Nothing},
        *,
    };

    #[test]
    fn callers_who_waited_long_share_a_transaction_with_little_that_may_wait() {
        let of_100 = |waited, lasted| {
            let queue = Queue::default();
            for _ in 0..100 {
                queue.push(Urgency::Behind, Box::new(Nothing)).unwrap();
            }
            Behind::beside(&queue, waited, lasted).count()
        };
        let late = CALLERS_WAIT + Duration::from_nanos(1);
        assert_eq!(of_100(late, Duration::ZERO), BEHIND_MIN);
        assert_eq!(of_100(late, Duration::from_hours(1)), 100, "the disk is slow");
        let (queue, began) = (Queue::default(), Instant::now());
        let until = Behind::beside(&queue, CALLERS_WAIT, Duration::ZERO).until;
        assert!(until >= began + BEHIND_FOR, "nobody has waited long");
    }
}
