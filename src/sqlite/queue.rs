//! What waits for the writer: what a caller waits for goes first, what is done behind takes the
//! time that is left of a transaction, and what nobody waits for goes with the next one.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{DbError, writer::Job};

/// Writes of callers that may wait; one more is refused.
const WAITING_MAX: usize = 8_192;
/// How long what nobody waits for waits for others to go with.
const LATE_AFTER: Duration = Duration::from_millis(5);
/// Transactions in which no caller has a part cost as much as others and hold little: once a burst
/// of them is over, one in so long, and the next holds what came meanwhile.
const BEHIND_EACH: Duration = Duration::from_millis(5);
const BEHIND_BURST: u32 = 200;

/// Who waits for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A caller of ours.
    Asked,
    /// Work on what was taken, which may wait.
    Behind,
    /// Nothing goes on when it is written.
    Late,
}

/// The writes that wait.
pub(super) struct Queue {
    lists: Mutex<Lists>,
    wake: Condvar,
}

struct Lists {
    /// With when they came.
    asked: VecDeque<(Instant, Box<dyn Job>)>,
    /// In order, the late ones among them.
    behind: VecDeque<(Urgency, Box<dyn Job>)>,
    /// Those behind that are not late.
    n_behind: usize,
    /// When the late ones go alone.
    late_at: Option<Instant>,
    /// When transactions without callers would have used up what they may.
    behind_at: Instant,
    is_closed: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self { lists: Mutex::new(Lists::new(Instant::now())), wake: Condvar::new() }
    }
}

impl Queue {
    /// Adds one at the end. Those behind are as many as there are pieces of work at once, so only
    /// those of callers are counted.
    pub(super) fn push(&self, urgency: Urgency, job: Box<dyn Job>) -> Result<(), DbError> {
        let is_news = self.lock().push(urgency, job, Instant::now())?;
        if is_news {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits until there is something to write now, and takes what callers wait for. How long the
    /// first of them has waited; `None` at the end.
    pub(super) fn wait(&self, max: usize, taken: &mut Vec<Box<dyn Job>>) -> Option<Duration> {
        let mut lists = self.lock();
        while let Err(rest) = lists.is_due(Instant::now()) {
            lists = match rest {
                None => self.wake.wait(lists).unwrap_or_else(PoisonError::into_inner),
                Some(rest) => {
                    let waited = self.wake.wait_timeout(lists, rest);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let n = lists.asked.len().min(max);
        let waited = lists.asked.front().map(|it| it.0.elapsed());
        taken.extend(lists.asked.drain(..n).map(|it| it.1));
        let is_end = n == 0 && lists.behind.is_empty() && lists.is_closed;
        (!is_end).then_some(waited.unwrap_or_default())
    }

    /// The next of those that may wait.
    pub(super) fn behind(&self) -> Option<Box<dyn Job>> {
        self.lock().pop_behind()
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

impl Lists {
    fn new(now: Instant) -> Self {
        Self {
            asked: VecDeque::new(),
            behind: VecDeque::new(),
            n_behind: 0,
            late_at: None,
            behind_at: now,
            is_closed: false,
        }
    }

    /// Whether the writer, should it be waiting, does not know of its kind yet.
    fn push(&mut self, urgency: Urgency, job: Box<dyn Job>, now: Instant) -> Result<bool, DbError> {
        if self.is_closed {
            return Err(DbError::Closed);
        }
        match urgency {
            Urgency::Asked if self.asked.len() >= WAITING_MAX => return Err(DbError::Busy),
            Urgency::Asked => {
                self.asked.push_back((now, job));
                return Ok(self.asked.len() == 1);
            }
            Urgency::Behind | Urgency::Late => self.behind.push_back((urgency, job)),
        }
        Ok(match urgency {
            Urgency::Late => {
                let is_first = self.late_at.is_none();
                self.late_at.get_or_insert(now + LATE_AFTER);
                is_first
            }
            _ => {
                self.n_behind += 1;
                self.n_behind == 1
            }
        })
    }

    fn pop_behind(&mut self) -> Option<Box<dyn Job>> {
        let (urgency, job) = self.behind.pop_front()?;
        self.n_behind -= usize::from(urgency == Urgency::Behind);
        if self.behind.len() == self.n_behind {
            self.late_at = None;
        }
        Some(job)
    }

    /// Whether a transaction begins now, or how long nothing is to be done unless something comes.
    fn is_due(&mut self, now: Instant) -> Result<(), Option<Duration>> {
        if !self.asked.is_empty() || self.is_closed {
            return Ok(());
        }
        let free_at = self.behind_at.checked_sub(BEHIND_EACH * BEHIND_BURST).unwrap_or(now);
        let at = if self.n_behind > 0 { free_at } else { self.late_at.ok_or(None)?.max(free_at) };
        match at.checked_duration_since(now).filter(|it| !it.is_zero()) {
            Some(rest) => Err(Some(rest)),
            None => {
                self.behind_at = self.behind_at.max(now) + BEHIND_EACH;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::sqlite) struct Nothing;

    impl Job for Nothing {
        fn run(&mut self, _: &rusqlite::Connection) -> Result<(), DbError> {
            Ok(())
        }

        fn answer(self: Box<Self>, _: Result<(), DbError>) {}
    }

    fn push(lists: &mut Lists, urgency: Urgency, now: Instant) -> bool {
        lists.push(urgency, Box::new(Nothing), now).expect("there is room")
    }

    #[test]
    fn what_nobody_waits_for_goes_with_the_next_write_or_alone_in_a_while() {
        let now = Instant::now();
        let mut lists = Lists::new(now);
        assert_eq!(lists.is_due(now), Err(None));
        assert!(push(&mut lists, Urgency::Late, now), "the writer sets its alarm");
        assert!(!push(&mut lists, Urgency::Late, now + LATE_AFTER / 2));
        assert_eq!(lists.is_due(now), Err(Some(LATE_AFTER)));
        assert_eq!(lists.is_due(now + LATE_AFTER), Ok(()));

        assert!(push(&mut lists, Urgency::Behind, now), "the writer is woken");
        assert_eq!(lists.is_due(now), Ok(()));
        while lists.pop_behind().is_some() {}
        assert_eq!(lists.is_due(now + LATE_AFTER), Err(None), "nothing is left to wait for");
    }

    #[test]
    fn transactions_without_callers_have_room_for_more_once_a_burst_is_over() {
        let now = Instant::now();
        let mut lists = Lists::new(now);
        push(&mut lists, Urgency::Behind, now);
        for n in 0..=BEHIND_BURST {
            assert_eq!(lists.is_due(now), Ok(()), "transaction {n}");
        }
        assert_eq!(lists.is_due(now), Err(Some(BEHIND_EACH)));
        assert_eq!(lists.is_due(now + BEHIND_EACH), Ok(()));
        assert_eq!(lists.is_due(now + BEHIND_EACH), Err(Some(BEHIND_EACH)));

        assert!(push(&mut lists, Urgency::Asked, now), "a caller waits for no other");
        assert_eq!(lists.is_due(now + BEHIND_EACH), Ok(()));
    }
}
