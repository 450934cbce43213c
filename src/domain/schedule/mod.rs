//! What may start now: vendors in turn, lanes, due times, caps and pace. Pure and in memory; after
//! a restart it is rebuilt from the journal.

mod job;
mod lane;
mod load;
mod pace;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod told_tests;
mod turn;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use lru::LruCache;

pub use self::{
    job::{Job, Kind, Next},
    pace::{Limit, Pace},
};
use self::{
    lane::{Lane, LaneKey},
    turn::Turn,
};
use super::{
    clock::{MINUTE, Millis},
    id::{ContactId, EntryId, InstanceId, VendorId},
};

/// Responder calls of one vendor at once.
pub const ASKING_PER_VENDOR_MAX: usize = 16;
/// Signals of one vendor at once, and questions.
const LANELESS_PER_VENDOR_MAX: usize = 16;
/// What has waited longer than this is a backlog and drains at half the pace.
const BACKLOG_AFTER: Millis = MINUTE;
/// Merged contacts that are remembered: for as long as work may still name them.
const MERGES_REMEMBERED: usize = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Laneless(EntryId),
    Lane(LaneKey),
}

/// Decides what may start.
pub struct Scheduler {
    jobs: HashMap<EntryId, Job>,
    /// And by which limit of its instance it was let through.
    running: HashMap<EntryId, Limit>,
    /// Running work that something else decided about meanwhile: its end must be looked up.
    overtaken: HashSet<EntryId>,
    lanes: HashMap<LaneKey, Lane>,
    /// Of work that a person let go on: it joined the tail.
    places: HashMap<EntryId, EntryId>,
    /// Contacts that are gone, and who they turned out to be.
    merged: LruCache<ContactId, ContactId>,
    vendors: HashMap<VendorId, Turn>,
    ring: VecDeque<VendorId>,
    timers: BTreeSet<(Millis, Timer)>,
    paces: HashMap<InstanceId, Pace>,
    /// Lanes whose instance has no token now, in order; the first of each has a timer.
    paced: BTreeSet<(Millis, InstanceId)>,
    paced_lanes: HashMap<InstanceId, VecDeque<LaneKey>>,
    all_paused: bool,
    started_at: Millis,
}

impl Scheduler {
    /// A scheduler with nothing to do; `now` is the start of the process.
    #[must_use]
    pub fn new(now: Millis) -> Self {
        Self {
            jobs: HashMap::new(),
            running: HashMap::new(),
            overtaken: HashSet::new(),
            lanes: HashMap::new(),
            places: HashMap::new(),
            merged: LruCache::unbounded(),
            vendors: HashMap::new(),
            ring: VecDeque::new(),
            timers: BTreeSet::new(),
            paces: HashMap::new(),
            paced: BTreeSet::new(),
            paced_lanes: HashMap::new(),
            all_paused: false,
            started_at: now,
        }
    }

    /// Takes in new work. Work it knows already is left as it is.
    pub fn add(&mut self, job: Job, now: Millis) {
        self.insert(job, now);
    }

    /// The next piece of work that may start, if any. It is running until [`Self::finish`].
    pub fn next(&mut self, now: Millis) -> Option<Job> {
        self.fire_timers(now);
        while let Some(vendor) = self.ring.pop_front() {
            if let Some(id) = self.start_one(&vendor, now) {
                self.ring.push_back(vendor);
                let job = self.jobs.get(&id).cloned()?;
                let limit = self.limit_of(&job.instance);
                self.running.insert(id, limit);
                return Some(job);
            }
            if let Some(turn) = self.vendors.get_mut(&vendor) {
                turn.in_ring = false;
            }
            self.forget_if_idle(&vendor);
        }
        None
    }

    /// When something may start that may not now. `None`: only when something happens.
    #[must_use]
    pub fn wake_at(&self) -> Option<Millis> {
        let timer = self.timers.first().map(|it| it.0);
        let paced = self.paced.first().map(|it| it.0);
        timer.into_iter().chain(paced).min()
    }

    /// Ends a run of work that [`Self::next`] gave out.
    pub fn finish(&mut self, id: EntryId, next: Next, now: Millis) {
        if self.running.remove(&id).is_none() {
            return;
        }
        let is_overtaken = self.overtaken.remove(&id);
        let Some(job) = self.jobs.get(&id).cloned() else { return };
        let job = self.at_home(job);
        let next = match job.kind {
            Kind::Send | Kind::Follow if is_overtaken => next.looked_up(now),
            Kind::Message if is_overtaken => {
                Next::Again { kind: Kind::Message, due: now, hold: None }
            }
            _ => next,
        };
        if let Some(turn) = self.vendors.get_mut(&job.vendor) {
            turn.ended(&job);
        }
        if let Some(key) = LaneKey::of(&job)
            && let Some(lane) = self.lanes.get_mut(&key)
        {
            lane.running.retain(|it| *it != id);
        }
        self.decide(job.clone(), next, now);
        self.enter_ring(&job.vendor);
    }

    /// Something else decided about this work, like a signal about a fenced send. Which of that
    /// and the end of a run came last only the journal knows, so running work is looked up
    /// ([`Kind::Follow`]) when it ends.
    pub fn decided(&mut self, job: Job, next: Next, now: Millis) {
        if self.running.contains_key(&job.id) {
            self.overtaken.insert(job.id);
            return;
        }
        let known = self.jobs.get(&job.id).cloned();
        let job = self.at_home(job);
        if known.is_none() && next == Next::Gone {
            self.release_hold(&job, now);
            return;
        }
        // What was decided before a late failure may be told after it.
        let next = match &known {
            Some(known) if known.is_not_over(now) => next.in_doubt(now),
            _ => next,
        };
        let (vendor, contact) = (job.vendor.clone(), job.contact);
        // The contact is as the journal has it: ours may be a former one.
        let job = Job { contact, ..known.unwrap_or(job) };
        self.decide(job, next, now);
        self.enter_ring(&vendor);
    }

    /// Two contacts turned out to be one person: their lanes become one, in order. Work that is
    /// told of later, or is not in its lane now, may still name the one that is gone.
    pub fn merge(&mut self, from: ContactId, into: ContactId, now: Millis) {
        let into = self.present(into);
        self.merged.put(from, into);
        if self.merged.len() > MERGES_REMEMBERED {
            self.merged.pop_lru();
        }
        for (old, new) in LaneKey::both(from).into_iter().zip(LaneKey::both(into)) {
            let Some(lane) = self.lanes.remove(&old) else { continue };
            for id in lane.queue.iter().map(|it| &it.1).chain(&lane.running) {
                if let Some(job) = self.jobs.get_mut(id) {
                    job.contact = Some(into);
                }
            }
            self.lanes.entry(new).or_default().absorb(lane);
            self.look_at_lane(new, now);
        }
    }

    /// The vendors that are paused.
    #[must_use]
    pub fn paused(&self) -> Vec<VendorId> {
        let paused = self.vendors.iter().filter(|it| it.1.is_paused);
        paused.map(|it| it.0.clone()).collect()
    }

    /// Whether the sends of this vendor are stopped, whatever holds for everybody.
    #[must_use]
    pub fn is_paused(&self, vendor: &VendorId) -> bool {
        self.vendors.get(vendor).is_some_and(|it| it.is_paused)
    }

    /// Stops (or lets go on) the sends of a vendor; `None` is everybody.
    pub fn pause(&mut self, vendor: Option<&VendorId>, is_paused: bool) {
        match vendor {
            None => self.all_paused = is_paused,
            Some(vendor) => self.vendors.entry(vendor.clone()).or_default().is_paused = is_paused,
        }
        let mut all: Vec<VendorId> = match vendor {
            Some(vendor) => vec![vendor.clone()],
            None => self.vendors.keys().cloned().collect(),
        };
        // A map has no order, and what happens must not depend on chance.
        all.sort_unstable();
        for vendor in all {
            self.enter_ring(&vendor);
        }
    }

    /// Sets how fast an instance may send.
    pub fn set_limit(&mut self, instance: &InstanceId, limit: Limit) {
        self.pace_of(instance).set_limit(limit);
    }

    /// The provider wants nothing from this instance before `until`.
    pub fn block_instance(&mut self, instance: &InstanceId, until: Millis) {
        self.pace_of(instance).block_until(until);
    }

    /// How many an instance could send now that are in no hurry, besides `n_spoken_for`: a part of
    /// what may leave at once is kept for answers.
    ///
    /// # Errors
    ///
    /// When it could send one.
    pub fn spare(
        &mut self,
        instance: &InstanceId,
        n_spoken_for: i64,
        now: Millis,
    ) -> Result<i64, Millis> {
        let pace = self.pace_of(instance);
        pace.spare(n_spoken_for + pace.limit().kept_for_answers(), now)
    }

    /// How fast an instance may send.
    pub fn limit_of(&mut self, instance: &InstanceId) -> Limit {
        self.pace_of(instance).limit()
    }

    /// Whether everybody's sends are stopped.
    #[must_use]
    pub fn is_all_paused(&self) -> bool {
        self.all_paused
    }

    /// Whether nothing runs, and nothing may start before time passes or something happens.
    #[must_use]
    pub fn rests(&self, now: Millis) -> bool {
        let is_later = self.wake_at().is_none_or(|it| it > now);
        self.running.is_empty() && self.ring.is_empty() && is_later
    }

    /// Who a contact has turned out to be.
    fn present(&self, mut contact: ContactId) -> ContactId {
        while let Some(into) = self.merged.peek(&contact) {
            contact = *into;
        }
        contact
    }

    /// Work as of its present contact, whose lane it waits in.
    fn at_home(&self, job: Job) -> Job {
        Job { contact: job.contact.map(|it| self.present(it)), ..job }
    }

    fn insert(&mut self, job: Job, now: Millis) {
        if self.jobs.contains_key(&job.id) {
            return;
        }
        let job = self.at_home(job);
        let (id, vendor) = (job.id, job.vendor.clone());
        let lane = LaneKey::of(&job);
        let due = job.due;
        self.put(job);
        match lane {
            Some(key) => {
                let place = self.place_of(id);
                self.lanes.entry(key).or_default().queue.insert((place, id));
                self.look_at_lane(key, now);
            }
            None => self.look_at_laneless(id, due, now),
        }
        self.enter_ring(&vendor);
    }

    fn decide(&mut self, mut job: Job, next: Next, now: Millis) {
        let old = LaneKey::of(&job);
        match next {
            Next::Gone => {
                if let Some(former) = self.jobs.remove(&job.id) {
                    self.turn_of(&former.vendor).left(former.kind);
                }
                self.leave_lane(old, job.id, now);
                self.places.remove(&job.id);
                self.release_hold(&job, now);
            }
            Next::Again { kind, due, hold } => {
                job.kind = kind;
                job.due = due;
                let new = LaneKey::of(&job);
                let id = job.id;
                self.put(job.clone());
                if new != old {
                    self.leave_lane(old, id, now);
                }
                if let (Some(until), Some(contact)) = (hold, job.contact) {
                    self.hold_lane(contact, id, until, now);
                }
                match new {
                    Some(key) => {
                        let place = self.place_of(id);
                        self.lanes.entry(key).or_default().queue.insert((place, id));
                        self.release_hold(&job, now);
                        self.look_at_lane(key, now);
                    }
                    None => self.look_at_laneless(id, due, now),
                }
            }
        }
    }

    fn put(&mut self, job: Job) {
        self.turn_of(&job.vendor).entered(job.kind);
        if let Some(former) = self.jobs.insert(job.id, job) {
            self.turn_of(&former.vendor).left(former.kind);
        }
    }

    fn turn_of(&mut self, vendor: &VendorId) -> &mut Turn {
        self.vendors.entry(vendor.clone()).or_default()
    }

    fn pace_of(&mut self, instance: &InstanceId) -> &mut Pace {
        let started_at = self.started_at;
        self.paces.entry(instance.clone()).or_insert_with(|| Pace::new(Limit::UNTOLD, started_at))
    }

    fn enter_ring(&mut self, vendor: &VendorId) {
        if let Some(turn) = self.vendors.get_mut(vendor)
            && !turn.in_ring
        {
            turn.in_ring = true;
            self.ring.push_back(vendor.clone());
        }
    }

    fn forget_if_idle(&mut self, vendor: &VendorId) {
        if self.vendors.get(vendor).is_some_and(|it| it.n_jobs == 0 && !it.is_paused) {
            self.vendors.remove(vendor);
        }
    }
}
