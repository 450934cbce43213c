//! Whose turn it is: one event of a vendor at a time, vendors in turn, so many in all.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::{Endpoint, Outcome, Then, Try};
use crate::domain::{clock::Millis, id::VendorId};

/// Events on their way at once.
const RUNNING_MAX: usize = 32;

/// Vendors that have events waiting, and when the next may leave.
#[derive(Default)]
pub struct Turns {
    lanes: HashMap<VendorId, Lane>,
    ready: VecDeque<VendorId>,
    timers: BTreeSet<(Millis, VendorId)>,
    n_running: usize,
}

struct Lane {
    endpoint: Endpoint,
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// In `ready`.
    Ready,
    /// One of its events is on its way; more came meanwhile or not.
    Running { has_news: bool },
    /// In `timers`.
    Waiting { until: Millis },
    /// Nothing waits, but its endpoint failed and is not forgotten.
    Idle,
}

impl Turns {
    /// A vendor has new events.
    pub fn wake(&mut self, vendor: &VendorId, now: Millis) {
        let Some(lane) = self.lanes.get_mut(vendor) else {
            self.lanes
                .insert(vendor.clone(), Lane { endpoint: Endpoint::default(), at: At::Ready });
            self.ready.push_back(vendor.clone());
            return;
        };
        match lane.at {
            At::Ready => {}
            At::Running { .. } => lane.at = At::Running { has_news: true },
            // It waits for its endpoint, or for an event that was set aside.
            At::Waiting { .. } | At::Idle => {
                let at = lane.endpoint.until();
                self.put(vendor, at, now);
            }
        }
    }

    /// A vendor's endpoint is another one, or somebody wants it tried at once.
    pub fn renew(&mut self, vendor: &VendorId, now: Millis) {
        if let Some(lane) = self.lanes.get_mut(vendor) {
            lane.endpoint = Endpoint::default();
        }
        self.wake(vendor, now);
    }

    /// The next vendor that may send one event.
    pub fn next(&mut self, now: Millis) -> Option<(VendorId, Endpoint)> {
        while let Some((until, vendor)) = self.timers.first().filter(|it| it.0 <= now).cloned() {
            self.timers.remove(&(until, vendor.clone()));
            if let Some(lane) = self.lanes.get_mut(&vendor) {
                lane.at = At::Ready;
                self.ready.push_back(vendor);
            }
        }
        if self.n_running >= RUNNING_MAX {
            return None;
        }
        let vendor = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&vendor)?;
        lane.at = At::Running { has_news: false };
        self.n_running += 1;
        Some((vendor, lane.endpoint))
    }

    /// Takes note of what a try came to.
    pub fn tried(&mut self, vendor: &VendorId, outcome: Outcome, it: Try, now: Millis) -> Then {
        let mut unknown = Endpoint::default();
        let endpoint = self.lanes.get_mut(vendor).map_or(&mut unknown, |it| &mut it.endpoint);
        endpoint.tried(outcome, it, now)
    }

    /// Ends a vendor's turn. Its next event is due then; `None` when it has none.
    pub fn finish(&mut self, vendor: &VendorId, due: Option<Millis>, now: Millis) {
        let Some(lane) = self.lanes.get(vendor) else { return };
        let At::Running { has_news } = lane.at else { return };
        self.n_running -= 1;
        let due = if has_news { Some(now) } else { due };
        match due {
            Some(due) => {
                let at = due.max(lane.endpoint.until());
                self.put(vendor, at, now);
            }
            None if lane.endpoint.is_well() => {
                self.lanes.remove(vendor);
            }
            None => {
                if let Some(lane) = self.lanes.get_mut(vendor) {
                    lane.at = At::Idle;
                }
            }
        }
    }

    /// When a vendor's turn comes by time alone.
    #[must_use]
    pub fn wake_at(&self) -> Option<Millis> {
        self.timers.first().map(|it| it.0).filter(|_| self.n_running < RUNNING_MAX)
    }

    /// Nothing of the vendor is sent before.
    #[must_use]
    pub fn held_until(&self, vendor: &VendorId) -> Millis {
        self.lanes.get(vendor).map_or(0, |it| it.endpoint.until())
    }

    /// Moves a vendor that is not in `ready`.
    fn put(&mut self, vendor: &VendorId, at: Millis, now: Millis) {
        let Some(lane) = self.lanes.get_mut(vendor) else { return };
        if let At::Waiting { until } = lane.at {
            self.timers.remove(&(until, vendor.clone()));
        }
        if at <= now {
            lane.at = At::Ready;
            self.ready.push_back(vendor.clone());
        } else {
            lane.at = At::Waiting { until: at };
            self.timers.insert((at, vendor.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vendor(n: usize) -> VendorId {
        VendorId::parse(&format!("v{n}")).unwrap()
    }

    fn next(turns: &mut Turns, now: Millis) -> Option<VendorId> {
        turns.next(now).map(|it| it.0)
    }

    const FRESH: Try = Try { tries: 0, is_aside: false, is_other: false };
    const FAILED: Outcome = Outcome::Failed { retry_after: None };

    #[test]
    fn vendors_take_turns_with_one_event_each() {
        let mut turns = Turns::default();
        let (a, b) = (vendor(1), vendor(2));
        turns.wake(&a, 0);
        turns.wake(&b, 0);
        assert_eq!(next(&mut turns, 0).as_ref(), Some(&a));
        turns.wake(&a, 0);
        assert_eq!(next(&mut turns, 0).as_ref(), Some(&b));
        assert_eq!(next(&mut turns, 0), None, "each has one on its way");
        turns.finish(&b, None, 0);
        turns.finish(&a, None, 0);
        assert_eq!(next(&mut turns, 0), Some(a), "it had news meanwhile");
        assert_eq!(next(&mut turns, 0), None);
    }

    #[test]
    fn so_many_are_on_their_way_at_once() {
        let mut turns = Turns::default();
        (0..50).for_each(|n| turns.wake(&vendor(n), 0));
        let started: Vec<VendorId> = std::iter::from_fn(|| next(&mut turns, 0)).collect();
        assert_eq!(started.len(), RUNNING_MAX);
        turns.finish(&started[0], None, 0);
        assert!(next(&mut turns, 0).is_some());
        assert_eq!(next(&mut turns, 0), None);
    }

    #[test]
    fn news_do_not_wake_an_endpoint_that_is_given_a_rest() {
        let mut turns = Turns::default();
        let a = vendor(1);
        turns.wake(&a, 0);
        next(&mut turns, 0).unwrap();
        assert_eq!(turns.tried(&a, FAILED, FRESH, 0), Then::Stay);
        turns.finish(&a, Some(0), 0);
        turns.wake(&a, 1);
        assert_eq!(next(&mut turns, 1), None);
        assert_eq!((turns.wake_at(), turns.held_until(&a)), (Some(5_000), 5_000));
        turns.renew(&a, 2);
        assert_eq!(next(&mut turns, 2), Some(a));
    }

    #[test]
    fn an_endpoint_that_failed_is_remembered_though_nothing_waits() {
        let mut turns = Turns::default();
        let a = vendor(1);
        for _ in 0..3 {
            turns.wake(&a, 0);
            next(&mut turns, 0).unwrap();
            assert_eq!(turns.tried(&a, Outcome::Gone, FRESH, 0), Then::Dead);
            turns.finish(&a, None, 0);
        }
        turns.wake(&a, 0);
        assert_eq!((next(&mut turns, 0), turns.wake_at()), (None, Some(5_000)));
    }

    #[test]
    fn news_are_sent_while_an_event_that_was_set_aside_waits() {
        let mut turns = Turns::default();
        let a = vendor(1);
        turns.wake(&a, 0);
        next(&mut turns, 0).unwrap();
        assert_eq!(turns.tried(&a, Outcome::Refused, FRESH, 0), Then::Aside { due: 5_000 });
        turns.finish(&a, Some(5_000), 0);
        assert_eq!(next(&mut turns, 1), None);
        turns.wake(&a, 1);
        assert_eq!(next(&mut turns, 1).as_ref(), Some(&a));
        turns.finish(&a, Some(5_000), 1);
        assert_eq!(next(&mut turns, 5_000), Some(a));
    }
}
