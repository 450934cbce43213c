//! What waits for the writer: what a caller waits for goes first, what is done behind takes the
//! time that is left of a transaction.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{DbError, writer::Job};

/// Writes of callers that may wait; one more is refused.
const WAITING_MAX: usize = 8_192;

/// Who waits for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A caller of ours.
    Asked,
    /// Work on what was taken, which may wait.
    Behind,
}

/// The writes that wait.
#[derive(Default)]
pub(super) struct Queue {
    lists: Mutex<Lists>,
    wake: Condvar,
}

#[derive(Default)]
struct Lists {
    asked: VecDeque<Box<dyn Job>>,
    behind: VecDeque<Box<dyn Job>>,
    is_closed: bool,
}

impl Queue {
    /// Adds one at the end. Those behind are as many as there are pieces of work at once, so only
    /// those of callers are counted.
    pub(super) fn push(&self, urgency: Urgency, job: Box<dyn Job>) -> Result<(), DbError> {
        let mut lists = self.lock();
        if lists.is_closed {
            return Err(DbError::Closed);
        }
        match urgency {
            Urgency::Asked if lists.asked.len() >= WAITING_MAX => return Err(DbError::Busy),
            Urgency::Asked => lists.asked.push_back(job),
            Urgency::Behind => lists.behind.push_back(job),
        }
        drop(lists);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits until there is something, and takes what callers wait for. `false` at the end.
    pub(super) fn wait(&self, max: usize, taken: &mut Vec<Box<dyn Job>>) -> bool {
        let is_idle = |it: &mut Lists| it.asked.is_empty() && it.behind.is_empty() && !it.is_closed;
        let waited = self.wake.wait_while(self.lock(), is_idle);
        let mut lists = waited.unwrap_or_else(PoisonError::into_inner);
        let n = lists.asked.len().min(max);
        taken.extend(lists.asked.drain(..n));
        n > 0 || !lists.behind.is_empty() || !lists.is_closed
    }

    /// The next of those that may wait.
    pub(super) fn behind(&self) -> Option<Box<dyn Job>> {
        self.lock().behind.pop_front()
    }

    /// Takes no more; what waits is still written.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
