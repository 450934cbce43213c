//! Lanes: one conversation's messages, or its sends, in order; and how work leaves them.

use std::collections::BTreeSet;

use super::{
    ASKING_PER_VENDOR_MAX, BACKLOG_AFTER, Job, Kind, LANELESS_PER_VENDOR_MAX, Limit, Next,
    Scheduler, Timer,
};
use crate::domain::{
    clock::Millis,
    id::{ContactId, EntryId, InstanceId, VendorId},
};

/// Lanes that wait for pace behind others are tried this much later.
const PACED_AGAIN: Millis = 100;

/// One direction of one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LaneKey {
    contact: ContactId,
    pub(super) is_out: bool,
}

impl LaneKey {
    pub(super) fn of(job: &Job) -> Option<Self> {
        let is_out = match job.kind {
            Kind::Message => false,
            Kind::Send => true,
            Kind::Later | Kind::Signal | Kind::Follow => return None,
        };
        job.contact.map(|contact| Self { contact, is_out })
    }

    pub(super) fn both(contact: ContactId) -> [Self; 2] {
        [Self { contact, is_out: false }, Self { contact, is_out: true }]
    }
}

#[derive(Default)]
pub(super) struct Lane {
    /// By place: its id, which grows in the order of commits, or where a person has put it.
    pub(super) queue: BTreeSet<(EntryId, EntryId)>,
    /// One, or two for as long as it takes after a merge.
    pub(super) running: Vec<EntryId>,
    /// Fenced sends that keep the lane closed, and until when.
    pub(super) holds: Vec<(EntryId, Millis)>,
    /// Waits among the ready of its vendor, or for pace.
    pub(super) is_listed: bool,
}

impl Lane {
    pub(super) fn head(&self) -> Option<EntryId> {
        self.queue.first().map(|it| it.1)
    }

    pub(super) fn held_until(&self) -> Option<Millis> {
        self.holds.iter().map(|it| it.1).max()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.running.is_empty() && self.holds.is_empty()
    }

    pub(super) fn absorb(&mut self, other: Self) {
        self.queue.extend(other.queue);
        self.running.extend(other.running);
        self.holds.extend(other.holds);
    }
}

impl Scheduler {
    pub(super) fn fire_timers(&mut self, now: Millis) {
        while self.timers.first().is_some_and(|it| it.0 <= now) {
            match self.timers.pop_first() {
                Some((_, Timer::Lane(key))) => self.look_at_lane(key, now),
                Some((_, Timer::Laneless(id))) => {
                    let Some(due) = self.jobs.get(&id).map(|it| it.due) else { continue };
                    self.look_at_laneless(id, due, now);
                }
                None => {}
            }
        }
        while self.paced.first().is_some_and(|it| it.0 <= now) {
            let Some((_, instance)) = self.paced.pop_first() else { continue };
            self.release_paced(&instance, now);
        }
    }

    pub(super) fn leave_lane(&mut self, key: Option<LaneKey>, id: EntryId, now: Millis) {
        let Some(key) = key else { return };
        let place = self.place_of(id);
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.queue.remove(&(place, id));
        self.look_at_lane(key, now);
    }

    /// Gives work another place in its lane than its id says, whether it is there yet or not.
    pub fn place(&mut self, id: EntryId, place: EntryId) {
        let former = self.places.insert(id, place).unwrap_or(id);
        let lane = self.jobs.get(&id).and_then(LaneKey::of);
        if let Some(lane) = lane.and_then(|it| self.lanes.get_mut(&it))
            && lane.queue.remove(&(former, id))
        {
            lane.queue.insert((place, id));
        }
    }

    pub(super) fn place_of(&self, id: EntryId) -> EntryId {
        self.places.get(&id).copied().unwrap_or(id)
    }

    /// Keeps a conversation's out lane closed for a send that has left it.
    pub(super) fn hold_lane(
        &mut self,
        contact: ContactId,
        id: EntryId,
        until: Millis,
        now: Millis,
    ) {
        let key = LaneKey { contact, is_out: true };
        let holds = &mut self.lanes.entry(key).or_default().holds;
        holds.retain(|it| it.0 != id);
        holds.push((id, until));
        self.look_at_lane(key, now);
    }

    /// A fence that has been settled holds nothing any more.
    pub(super) fn release_hold(&mut self, job: &Job, now: Millis) {
        let Some(contact) = job.contact else { return };
        for key in LaneKey::both(contact) {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let n_holds = lane.holds.len();
            lane.holds.retain(|it| it.0 != job.id);
            if lane.holds.len() != n_holds {
                self.look_at_lane(key, now);
            }
        }
    }

    /// Puts the lane where it belongs: among the ready, behind a timer, or nowhere.
    pub(super) fn look_at_lane(&mut self, key: LaneKey, now: Millis) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.holds.retain(|it| it.1 > now);
        if lane.is_idle() {
            self.lanes.remove(&key);
            return;
        }
        if lane.is_listed || !lane.running.is_empty() {
            return;
        }
        let Some(job) = lane.head().and_then(|it| self.jobs.get(&it)) else {
            // Only holds are left: come back to tidy up.
            if let Some(at) = lane.held_until() {
                self.timers.insert((at, Timer::Lane(key)));
            }
            return;
        };
        let at = job.due.max(lane.held_until().unwrap_or(0));
        if at > now {
            self.timers.insert((at, Timer::Lane(key)));
            return;
        }
        lane.is_listed = true;
        let (vendor, instance) = (job.vendor.clone(), job.instance.clone());
        let turn = self.vendors.entry(vendor.clone()).or_default();
        if key.is_out {
            turn.sends.entry(instance).or_default().lanes.push_back(key);
        } else {
            turn.asks.push_back(key);
        }
        self.enter_ring(&vendor);
    }

    pub(super) fn look_at_laneless(&mut self, id: EntryId, due: Millis, now: Millis) {
        if due > now {
            self.timers.insert((due, Timer::Laneless(id)));
            return;
        }
        let Some(job) = self.jobs.get(&id) else { return };
        let (vendor, kind) = (job.vendor.clone(), job.kind);
        if kind == Kind::Later {
            let next = Next::Again { kind: Kind::Send, due, hold: None };
            let job = self.at_home(job.clone());
            self.decide(job, next, now);
            self.enter_ring(&vendor);
            return;
        }
        self.vendors.entry(vendor.clone()).or_default().laneless(kind).push_back(id);
        self.enter_ring(&vendor);
    }

    /// Whether this work runs and was let through by this limit.
    #[must_use]
    pub fn is_let_through(&self, id: EntryId, limit: Limit) -> bool {
        self.running.get(&id) == Some(&limit)
    }

    /// What waits because an instance was blocked may go on.
    pub fn unblock_instance(&mut self, instance: &InstanceId, now: Millis) {
        if self.pace_of(instance).unblock() && self.paced_lanes.contains_key(instance) {
            self.paced.insert((now, instance.clone()));
        }
    }

    /// Lets as many lanes of an instance try as may send at once; the others come after them, so
    /// that a long queue does not cost more than a short one.
    fn release_paced(&mut self, instance: &InstanceId, now: Millis) {
        let n_at_once = self.pace_of(instance).limit().at_once();
        let Some(waiting) = self.paced_lanes.get_mut(instance) else { return };
        let n_released = waiting.len().min(n_at_once);
        let lanes: Vec<LaneKey> = waiting.drain(..n_released).collect();
        if waiting.is_empty() {
            self.paced_lanes.remove(instance);
        } else {
            self.paced.insert((now + PACED_AGAIN, instance.clone()));
        }
        for key in lanes {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.is_listed = false;
                self.look_at_lane(key, now);
            }
        }
    }

    /// Starts one piece of this vendor's work: signals first, since they settle sends; then
    /// sends, since a customer waits for them; then messages.
    pub(super) fn start_one(&mut self, vendor: &VendorId, now: Millis) -> Option<EntryId> {
        self.start_laneless(vendor, Kind::Signal)
            .or_else(|| self.start_laneless(vendor, Kind::Follow))
            .or_else(|| self.start_send(vendor, now))
            .or_else(|| self.start_ask(vendor, now))
    }

    fn has_room(&mut self, vendor: &VendorId, kind: Kind, max: usize) -> bool {
        let turn = self.vendors.entry(vendor.clone()).or_default();
        turn.running.get(&kind).copied().unwrap_or(0) < max
    }

    fn start_laneless(&mut self, vendor: &VendorId, kind: Kind) -> Option<EntryId> {
        if !self.has_room(vendor, kind, LANELESS_PER_VENDOR_MAX) {
            return None;
        }
        loop {
            let id = self.vendors.get_mut(vendor)?.laneless(kind).pop_front()?;
            let is_open = self.jobs.get(&id).is_some_and(|it| it.kind == kind);
            if !is_open || self.running.contains_key(&id) {
                continue;
            }
            *self.vendors.get_mut(vendor)?.running.entry(kind).or_default() += 1;
            return Some(id);
        }
    }

    fn start_send(&mut self, vendor: &VendorId, now: Millis) -> Option<EntryId> {
        let turn = self.vendors.get(vendor).filter(|it| !self.all_paused && !it.is_paused)?;
        let waiting = turn.sends.iter().filter(|it| !it.1.lanes.is_empty());
        let instances: Vec<InstanceId> = waiting.map(|it| it.0.clone()).collect();
        instances.iter().find_map(|it| self.start_send_from(vendor, it, now))
    }

    fn start_send_from(
        &mut self,
        vendor: &VendorId,
        instance: &InstanceId,
        now: Millis,
    ) -> Option<EntryId> {
        let n_at_once = self.pace_of(instance).limit().at_once();
        loop {
            let sends = self.vendors.get_mut(vendor)?.sends.get_mut(instance)?;
            if sends.n_running >= n_at_once {
                return None;
            }
            let key = sends.lanes.pop_front()?;
            let Some(id) = self.head_of(key, now) else { continue };
            // A backlog takes two tokens a send, so that live traffic finds some. What was to leave
            // later has not waited before its time.
            let since = self.jobs.get(&id).map_or(id.ms(), |it| it.due.max(id.ms()));
            let n_tokens = if now - since > BACKLOG_AFTER { 2 } else { 1 };
            match self.pace_of(instance).take(n_tokens, now) {
                Ok(()) => {
                    self.run_in_lane(key, id);
                    return Some(id);
                }
                Err(at) => {
                    if let Some(lane) = self.lanes.get_mut(&key) {
                        lane.is_listed = true;
                    }
                    self.paced_lanes.entry(instance.clone()).or_default().push_back(key);
                    self.paced.insert((at, instance.clone()));
                }
            }
        }
    }

    fn start_ask(&mut self, vendor: &VendorId, now: Millis) -> Option<EntryId> {
        if !self.has_room(vendor, Kind::Message, ASKING_PER_VENDOR_MAX) {
            return None;
        }
        loop {
            let key = self.vendors.get_mut(vendor)?.asks.pop_front()?;
            let Some(id) = self.head_of(key, now) else { continue };
            self.run_in_lane(key, id);
            return Some(id);
        }
    }

    /// The lane's head when it may really start; the lane is off the list either way.
    fn head_of(&mut self, key: LaneKey, now: Millis) -> Option<EntryId> {
        let lane = self.lanes.get_mut(&key)?;
        lane.is_listed = false;
        let is_free = lane.running.is_empty() && lane.held_until().is_none_or(|it| it <= now);
        let head = lane.head().filter(|it| self.jobs.get(it).is_some_and(|it| it.due <= now));
        if !is_free || head.is_none() {
            self.look_at_lane(key, now);
            return None;
        }
        head
    }

    fn run_in_lane(&mut self, key: LaneKey, id: EntryId) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.running.push(id);
        }
        if let Some(job) = self.jobs.get(&id) {
            self.vendors.entry(job.vendor.clone()).or_default().started(job);
        }
    }
}
