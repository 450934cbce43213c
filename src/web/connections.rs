//! How many connections there may be, and which one goes when there are too many: the one that has
//! done nothing for the longest, those that never got an answer first. So callers that only hold
//! connections keep nobody out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// More than this many connections cost more memory than they are worth.
const CONNECTIONS_MAX: usize = 16_384;
/// Connections that were told to go and have not gone yet; their files are still open.
const LEAVING_MAX: usize = 16;
/// With fewer open files a flood of connections pushes out idle ones of good callers.
const FILES_WANTED: u64 = 4_096;

/// Lets the process have as many open files as it may. The soft limit is often 1,024 for the sake
/// of programs that use `select`.
pub fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where it may not be raised, it stays as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    let files = getrlimit(Resource::Nofile).current;
    if let Some(n_files) = files.filter(|it| *it < FILES_WANTED) {
        tracing::warn!(
            n_files,
            n_connections = connections_max(),
            "few open files are allowed (ulimit -n, LimitNOFILE): under a flood of connections idle ones are closed early"
        );
    }
}

/// Connections that this process may have: a quarter of its open files is for the rest.
#[must_use]
pub fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current;
    let files = files.and_then(|it| usize::try_from(it).ok()).unwrap_or(usize::MAX);
    (files / 4 * 3).clamp(1, CONNECTIONS_MAX)
}

/// The connections there are.
pub(super) struct Connections {
    n_max: usize,
    table: Mutex<Table>,
    left: Notify,
}

#[derive(Default)]
struct Table {
    n_seats: usize,
    /// The seats, and those who leave.
    n_open: usize,
    last: u64,
    /// What nobody works on: known callers after the others, the longest idle first.
    idle: BTreeMap<(bool, u64), CancellationToken>,
}

/// One connection's place, given back when it is dropped.
pub(super) struct Seat {
    connections: Arc<Connections>,
    /// Its place among the idle ones.
    place: Mutex<Option<(bool, u64)>>,
    /// It has to go.
    pub(super) evicted: CancellationToken,
}

/// A request is worked on: its connection stays.
pub(super) struct Busy(Arc<Seat>);

impl Connections {
    pub(super) fn new(n_max: usize) -> Arc<Self> {
        Arc::new(Self { n_max, table: Mutex::default(), left: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until those who were told to go have gone, but for a few.
    pub(super) async fn room(&self) {
        while self.lock().n_open >= self.n_max + LEAVING_MAX {
            self.left.notified().await;
        }
    }

    /// A place for one more connection. `None`: all are taken, and all are worked on.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Arc<Seat>> {
        let mut table = self.lock();
        if table.n_seats >= self.n_max {
            let (_, evicted) = table.idle.pop_first()?;
            table.n_seats -= 1;
            evicted.cancel();
        }
        table.n_seats += 1;
        table.n_open += 1;
        let evicted = CancellationToken::new();
        let place = table.rest(false, evicted.clone());
        Some(Arc::new(Seat {
            connections: Arc::clone(self),
            place: Mutex::new(Some(place)),
            evicted,
        }))
    }
}

impl Table {
    fn rest(&mut self, is_known: bool, evicted: CancellationToken) -> (bool, u64) {
        self.last += 1;
        let place = (is_known, self.last);
        self.idle.insert(place, evicted);
        place
    }
}

impl Seat {
    fn place(&self) -> MutexGuard<'_, Option<(bool, u64)>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        let mut table = self.connections.lock();
        if let Some(place) = self.place().take() {
            table.idle.remove(&place);
        }
        Busy(Arc::clone(self))
    }
}

impl Busy {
    /// Its answer is there; whether it was what the caller wanted.
    pub(super) fn answered(self, is_known: bool) {
        let Self(seat) = self;
        let mut table = seat.connections.lock();
        if !seat.evicted.is_cancelled() {
            *seat.place() = Some(table.rest(is_known, seat.evicted.clone()));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        if let Some(place) = self.place().take() {
            table.idle.remove(&place);
        }
        // Who was evicted gave the place back then.
        if !self.evicted.is_cancelled() {
            table.n_seats -= 1;
        }
        table.n_open -= 1;
        self.connections.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_gone(seat: &Arc<Seat>) -> bool {
        seat.evicted.is_cancelled()
    }

    #[test]
    fn the_longest_idle_goes_first_and_known_callers_last() {
        let connections = Connections::new(3);
        let seats: Vec<_> = (0..3).map(|_| connections.enter().unwrap()).collect();
        seats[0].busy().answered(true);
        seats[1].busy().answered(false);
        // The third has never said a word.
        let fourth = connections.enter().unwrap();
        assert_eq!(seats.iter().map(is_gone).collect::<Vec<_>>(), [false, false, true]);
        let fifth = connections.enter().unwrap();
        assert_eq!(seats.iter().map(is_gone).collect::<Vec<_>>(), [false, true, true]);
        let _sixth = connections.enter().unwrap();
        assert!(is_gone(&fourth) && !is_gone(&fifth) && !is_gone(&seats[0]));
        assert_eq!(connections.lock().n_seats, 3);
    }

    #[test]
    fn a_request_that_is_worked_on_keeps_its_connection() {
        let connections = Connections::new(2);
        let (one, two) = (connections.enter().unwrap(), connections.enter().unwrap());
        let (busy, _also) = (one.busy(), two.busy());
        assert!(connections.enter().is_none(), "nobody can go");
        busy.answered(false);
        assert!(connections.enter().is_some());
        assert!(is_gone(&one) && !is_gone(&two));
    }

    #[test]
    fn places_are_given_back_once() {
        let connections = Connections::new(1);
        let one = connections.enter().unwrap();
        let two = connections.enter().unwrap();
        // It was evicted, and ends after the other took its place.
        one.busy().answered(true);
        drop(one);
        assert_eq!(connections.lock().n_seats, 1);
        drop(two);
        let table = connections.lock();
        assert_eq!((table.n_seats, table.n_open, table.idle.len()), (0, 0, 0));
    }
}
