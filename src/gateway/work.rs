//! The scheduler, shared: intake and settlements put work in, the worker takes it out.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{
    domain::{
        clock::{Clock, Millis},
        id::{EntryId, InstanceId, VendorId},
        schedule::{Job, Kind, Limit, Next, Scheduler},
    },
    journal::Change,
};

/// Entries of one vendor that may wait; more is 503 for that vendor alone.
pub const WAITING_PER_VENDOR_MAX: usize = 20_000;
/// Entries of all that may be known as waiting or followed up; more is 503 for everybody. Each is
/// some 500 bytes here by estimate, so that they are 1 GB.
const WAITING_MAX: usize = 2_000_000;
/// Entries of one vendor that wait for their time: with so many, no message is taken that is to
/// leave later.
const LATER_PER_VENDOR_MAX: usize = 100_000;

/// Of the places for sends of an instance, one in so many is kept for answers, and one at least.
const PLACES_KEPT: usize = 8;
/// Sends of jobs that wait to be tried again hold no place; with so many of one instance its jobs
/// wait for what becomes of them, for it may be the number that cannot send.
const AGAIN_MAX: usize = 20;

/// The scheduler, shared.
pub struct Work {
    scheduler: Mutex<Scheduler>,
    wake: Notify,
    clock: Clock,
    /// Sends of jobs to many recipients that are to leave, or leave again.
    bulk: Mutex<HashMap<EntryId, (InstanceId, Stands)>>,
    bulk_wake: Notify,
}

/// Where a send of a job stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// It has not had its turn.
    Waiting,
    /// It is on its way.
    Running,
    /// It waits to be tried again.
    Again,
}

/// When a job may have room that has none now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomAt {
    /// Not before this time.
    Time(Millis),
    /// When one of its sends has ended.
    Change,
}

impl Work {
    /// Nothing to do.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            scheduler: Mutex::new(Scheduler::new(clock.now())),
            wake: Notify::new(),
            clock,
            bulk: Mutex::default(),
            bulk_wake: Notify::new(),
        }
    }

    /// Takes over what the journal decided.
    pub fn apply(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let now = self.clock.now();
        let mut scheduler = self.lock();
        for change in changes {
            match change {
                Change::New(job) => scheduler.add(job, now),
                Change::Decided(job, next) => {
                    // Of one that runs, its end tells.
                    let is_running =
                        self.bulk().get(&job.id).is_some_and(|it| it.1 == Stands::Running);
                    if !is_running {
                        self.bulk_stands(job.id, next);
                    }
                    scheduler.decided(job, next, now);
                }
                Change::Placed { id, place } => scheduler.place(id, place),
                Change::Merged { from, into } => scheduler.merge(from, into, now),
            }
        }
        drop(scheduler);
        self.wake.notify_one();
    }

    /// The next work that may start.
    pub fn next(&self) -> Option<Job> {
        let job = self.lock().next(self.clock.now())?;
        if let Some((_, stands)) = self.bulk().get_mut(&job.id) {
            *stands = Stands::Running;
        }
        Some(job)
    }

    /// Ends a run of work.
    pub fn finish(&self, id: EntryId, next: Next) {
        self.lock().finish(id, next, self.clock.now());
        self.wake.notify_one();
        self.bulk_stands(id, next);
    }

    /// Takes over sends of a job to many recipients.
    pub fn apply_bulk(&self, instance: &InstanceId, made: &[EntryId], changes: Vec<Change>) {
        let waiting = |id: &EntryId| (*id, (instance.clone(), Stands::Waiting));
        self.bulk().extend(made.iter().map(waiting));
        self.apply(changes);
    }

    /// How many more sends of such jobs an instance may have now: its answers always find a place
    /// and, where it may send several at once, a token.
    ///
    /// # Errors
    ///
    /// When it may have one.
    pub fn bulk_room(&self, instance: &InstanceId) -> Result<usize, RoomAt> {
        let bulk = self.bulk();
        let n = |stands| bulk.values().filter(|it| it.1 == stands && it.0 == *instance).count();
        let [n_waiting, n_running, n_again] =
            [Stands::Waiting, Stands::Running, Stands::Again].map(n);
        drop(bulk);
        let mut scheduler = self.lock();
        let n_places = scheduler.limit_of(instance).at_once();
        let n_places = n_places - n_places.div_ceil(PLACES_KEPT);
        let n_free = n_places.saturating_sub(n_waiting + n_running);
        if n_free == 0 || n_again >= AGAIN_MAX {
            return Err(RoomAt::Change);
        }
        let n_waiting = i64::try_from(n_waiting).unwrap_or(i64::MAX);
        let spare = scheduler.spare(instance, n_waiting, self.clock.now());
        Ok(n_free.min(usize::try_from(spare.map_err(RoomAt::Time)?).unwrap_or_default()))
    }

    /// Such jobs are to be looked at again.
    pub fn wake_bulk(&self) {
        self.bulk_wake.notify_one();
    }

    /// Waits until a job may have room for the next recipient.
    pub async fn bulk_changed(&self) {
        self.bulk_wake.notified().await;
    }

    /// How many sends a minute an instance is allowed.
    #[must_use]
    pub fn in_a_minute(&self, instance: &InstanceId) -> i64 {
        self.lock().limit_of(instance).in_a_minute()
    }

    /// One that has left, or will not just now, makes room for the next.
    fn bulk_stands(&self, id: EntryId, next: Next) {
        let mut bulk = self.bulk();
        let Some((_, stands)) = bulk.get_mut(&id) else { return };
        match next {
            Next::Again { kind: Kind::Send, due, .. } if due <= self.clock.now() => {
                *stands = Stands::Waiting;
            }
            Next::Again { kind: Kind::Send, .. } => *stands = Stands::Again,
            _ => drop(bulk.remove(&id)),
        }
        self.bulk_wake.notify_one();
    }

    fn bulk(&self) -> MutexGuard<'_, HashMap<EntryId, (InstanceId, Stands)>> {
        self.bulk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something may have become startable.
    pub async fn changed(&self) {
        let at = self.lock().wake_at();
        match at {
            None => self.wake.notified().await,
            Some(at) => tokio::select! {
                () = self.wake.notified() => {}
                () = self.clock.sleep_until(at) => {}
            },
        }
    }

    /// Whether this vendor may have more entries waiting.
    #[must_use]
    pub fn admits(&self, vendor: &VendorId) -> bool {
        let scheduler = self.lock();
        admits(scheduler.n_jobs_of(vendor), scheduler.n_jobs())
    }

    /// Whether this vendor may have one more message that leaves later.
    #[must_use]
    pub fn admits_later(&self, vendor: &VendorId) -> bool {
        self.lock().n_follows_of(vendor) < LATER_PER_VENDOR_MAX
    }

    /// Stops a vendor's sends, or lets them go on; `None` is everybody.
    pub fn pause(&self, vendor: Option<&VendorId>, is_paused: bool) {
        self.lock().pause(vendor, is_paused);
        self.wake.notify_one();
        self.bulk_wake.notify_one();
    }

    /// Whether the sends of this vendor are stopped, whatever holds for everybody.
    #[must_use]
    pub fn is_paused(&self, vendor: &VendorId) -> bool {
        self.lock().is_paused(vendor)
    }

    /// The vendors whose sends are stopped, whatever holds for everybody.
    #[must_use]
    pub fn paused(&self) -> Vec<VendorId> {
        self.lock().paused()
    }

    /// Whether everybody's sends are stopped.
    #[must_use]
    pub fn is_all_paused(&self) -> bool {
        self.lock().is_all_paused()
    }

    /// Whether this vendor's sends are stopped, or everybody's.
    #[must_use]
    pub fn is_stopped(&self, vendor: &VendorId) -> bool {
        let scheduler = self.lock();
        scheduler.is_paused(vendor) || scheduler.is_all_paused()
    }

    /// Sets how fast an instance may send. Whether a send of it that runs was let through by that
    /// limit.
    pub fn set_limit(&self, job: &Job, limit: Limit) -> bool {
        let mut scheduler = self.lock();
        scheduler.set_limit(&job.instance, limit);
        scheduler.is_let_through(job.id, limit)
    }

    /// The provider wants nothing from this instance before `until`.
    pub fn block_instance(&self, instance: &InstanceId, until: Millis) {
        self.lock().block_instance(instance, until);
    }

    /// It has another provider, which may be sent to now.
    pub fn unblock_instance(&self, instance: &InstanceId) {
        self.lock().unblock_instance(instance, self.clock.now());
        self.wake.notify_one();
        self.bulk_wake.notify_one();
    }

    /// Messages and sends that wait for their turn or run, entries that run, and when the oldest of
    /// the former was committed.
    #[must_use]
    pub fn load(&self) -> (usize, usize, Option<Millis>) {
        let scheduler = self.lock();
        let (n_waiting, oldest) = scheduler.backlog();
        (n_waiting, scheduler.n_running(), oldest)
    }

    /// Whether nothing runs, and nothing may start before time passes or something happens.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.lock().rests(self.clock.now())
    }

    fn lock(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one more may wait, with so many of its vendor's and of all.
fn admits(n_of_vendor: usize, n_of_all: usize) -> bool {
    n_of_vendor < WAITING_PER_VENDOR_MAX && n_of_all < WAITING_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_for_each_vendor_and_for_all() {
        assert!(admits(WAITING_PER_VENDOR_MAX - 1, WAITING_MAX - 1));
        assert!(!admits(WAITING_PER_VENDOR_MAX, WAITING_PER_VENDOR_MAX));
        assert!(!admits(0, WAITING_MAX));
    }
}
