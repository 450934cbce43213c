use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::domain::clock::SECOND;

pub(super) const VENDORS: i64 = 3;

fn vendor(n: i64) -> VendorId {
    VendorId::parse(&format!("v{n}")).unwrap()
}

pub(super) fn instance(n: i64) -> InstanceId {
    InstanceId::parse(&format!("i{n}")).unwrap()
}

pub(super) fn job(id: i64, contact: i64, kind: Kind, due: Millis) -> Job {
    let n = contact.rem_euclid(VENDORS);
    let contact = Some(ContactId(contact));
    Job { id: EntryId(id), vendor: vendor(n), instance: instance(n), contact, kind, due }
}

/// A scheduler whose pace is no bound, unless the test waits less than this.
pub(super) fn rested() -> (Scheduler, Millis) {
    let mut scheduler = Scheduler::new(0);
    for n in 0..VENDORS {
        scheduler.set_limit(&instance(n), Limit::WASENDER);
    }
    (scheduler, 1_000_000)
}

#[test]
fn a_lane_is_worked_on_in_order_and_one_at_a_time() {
    let (mut scheduler, now) = rested();
    for id in 1..=3 {
        scheduler.add(job(id, 7, Kind::Send, 0), now);
    }
    assert_eq!(scheduler.next(now).map(|it| it.id), Some(EntryId(1)));
    assert!(scheduler.next(now).is_none());
    scheduler.finish(EntryId(1), Next::Again { kind: Kind::Send, due: now + 500, hold: None }, now);
    assert!(scheduler.next(now).is_none(), "a retry keeps its place");
    assert_eq!(scheduler.wake_at(), Some(now + 500));
    assert_eq!(scheduler.next(now + 500).map(|it| it.id), Some(EntryId(1)));
    scheduler.finish(EntryId(1), Next::Gone, now + 500);
    assert_eq!(scheduler.next(now + 500).map(|it| it.id), Some(EntryId(2)));
}

#[test]
fn signals_do_not_wait_for_a_provider_that_does_not_answer() {
    let (mut scheduler, now) = rested();
    for id in 1..=40 {
        scheduler.add(job(id, 7, Kind::Follow, 0), now);
    }
    for id in 1..=16 {
        assert_eq!(scheduler.next(now).map(|it| it.id), Some(EntryId(id)));
    }
    assert!(scheduler.next(now).is_none(), "so many are asked about at once");
    scheduler.add(job(41, 7, Kind::Signal, 0), now);
    assert_eq!(scheduler.next(now).map(|it| it.id), Some(EntryId(41)));
}

#[test]
fn what_was_to_leave_later_is_no_backlog_at_its_time() {
    let (mut scheduler, _) = rested();
    scheduler.set_limit(&instance(1), Limit::META);
    let (sent_at, at) = (0, 10 * MINUTE);
    for n in 0..400 {
        let id = EntryId::at(sent_at).0 + n;
        scheduler.add(Job { due: at, ..job(id, 1 + 3 * n, Kind::Later, at) }, sent_at);
    }
    let mut n_started = 0;
    for ms in (at..at + SECOND).step_by(10) {
        while let Some(job) = scheduler.next(ms) {
            n_started += 1;
            scheduler.finish(job.id, Next::Gone, ms);
        }
    }
    assert!(n_started >= 80, "{n_started} at 80 a second");
}

#[test]
fn work_that_is_told_of_after_a_merge_waits_in_the_lane_that_is_left() {
    let (mut scheduler, now) = rested();
    scheduler.add(job(1, 7, Kind::Message, 0), now);
    assert_eq!(scheduler.next(now).map(|it| it.id), Some(EntryId(1)));
    scheduler.merge(ContactId(10), ContactId(7), now);
    // It was kept before the merge, and whoever kept it tells of it only now.
    scheduler.add(job(2, 10, Kind::Message, 0), now);
    assert!(scheduler.next(now).is_none(), "the first is not done");
    scheduler.finish(EntryId(1), Next::Gone, now);
    assert_eq!(scheduler.next(now).map(|it| it.id), Some(EntryId(2)));
}

#[test]
fn a_fence_opens_its_lane_after_a_merge_too() {
    let (mut scheduler, now) = rested();
    scheduler.add(job(1, 10, Kind::Send, 0), now);
    scheduler.add(job(2, 10, Kind::Send, 0), now);
    assert_eq!(scheduler.next(now).map(|it| it.id), Some(EntryId(1)));
    let due = now + 5_000;
    let fenced = Next::Again { kind: Kind::Follow, due, hold: Some(now + 30_000) };
    scheduler.finish(EntryId(1), fenced, now);
    scheduler.merge(ContactId(10), ContactId(7), now);
    assert_eq!(scheduler.next(due).map(|it| it.kind), Some(Kind::Follow));
    scheduler.finish(EntryId(1), Next::Gone, due);
    assert_eq!(scheduler.next(due).map(|it| it.id), Some(EntryId(2)));
}

#[test]
fn a_fence_holds_its_out_lane_alone_and_a_signal_opens_it() {
    let (mut scheduler, now) = rested();
    scheduler.add(job(1, 7, Kind::Send, 0), now);
    scheduler.add(job(2, 7, Kind::Send, 0), now);
    scheduler.add(job(3, 7, Kind::Message, 0), now);
    assert_eq!(scheduler.next(now).map(|it| it.id), Some(EntryId(1)));
    assert_eq!(scheduler.next(now).map(|it| it.id), Some(EntryId(3)), "the in lane is free");
    let fenced = Next::Again { kind: Kind::Follow, due: now + 5_000, hold: Some(now + 30_000) };
    scheduler.finish(EntryId(1), fenced, now);
    assert!(scheduler.next(now).is_none());
    scheduler.decided(job(1, 7, Kind::Follow, 0), Next::Gone, now + 10);
    assert_eq!(scheduler.next(now + 10).map(|it| it.id), Some(EntryId(2)));
}

#[test]
fn a_fence_holds_for_thirty_seconds_at_most() {
    let (mut scheduler, now) = rested();
    scheduler.add(job(1, 7, Kind::Send, 0), now);
    scheduler.add(job(2, 7, Kind::Send, 0), now);
    scheduler.next(now).unwrap();
    let fenced = Next::Again { kind: Kind::Follow, due: now + 60_000, hold: Some(now + 30_000) };
    scheduler.finish(EntryId(1), fenced, now);
    assert!(scheduler.next(now + 29_999).is_none());
    assert_eq!(scheduler.next(now + 30_000).map(|it| it.id), Some(EntryId(2)));
}

#[test]
fn vendors_take_turns() {
    let (mut scheduler, now) = rested();
    for id in 0..30 {
        // Vendor 0 has ten conversations before anybody else has one.
        let contact = if id < 10 { id * VENDORS } else { id };
        scheduler.add(job(id + 1, contact, Kind::Message, 0), now);
    }
    let first: Vec<VendorId> =
        (0..6).filter_map(|_| scheduler.next(now)).map(|it| it.vendor).collect();
    for n in 0..VENDORS {
        assert_eq!(first.iter().filter(|it| **it == vendor(n)).count(), 2, "{first:?}");
    }
}

#[test]
fn a_vendor_has_only_so_much_in_hand() {
    let (mut scheduler, now) = rested();
    for id in 1..=100 {
        scheduler.add(job(id, id * VENDORS, Kind::Send, 0), now);
        scheduler.add(job(id + 1_000, id * VENDORS, Kind::Message, 0), now);
    }
    let started: Vec<Kind> = std::iter::from_fn(|| scheduler.next(now)).map(|it| it.kind).collect();
    let n = |kind| started.iter().filter(|it| **it == kind).count();
    assert_eq!(
        (n(Kind::Send), n(Kind::Message)),
        (Limit::WASENDER.at_once(), ASKING_PER_VENDOR_MAX)
    );
}

#[test]
fn a_number_has_as_much_on_its_way_as_it_may_send_in_a_second_and_holds_up_no_other() {
    let (mut scheduler, now) = rested();
    let (fast, slow) = (instance(8), instance(9));
    for (instance, limit) in [(&fast, Limit::META), (&slow, Limit::UNIPILE)] {
        scheduler.set_limit(instance, limit);
    }
    for id in 1..=300 {
        let instance = if id % 2 == 0 { fast.clone() } else { slow.clone() };
        scheduler.add(Job { instance, ..job(id, id * VENDORS, Kind::Send, 0) }, now);
    }
    let mut n_started = HashMap::new();
    for at in 0..60 {
        let started = std::iter::from_fn(|| scheduler.next(now + at * 1_000));
        started.for_each(|it| *n_started.entry(it.instance).or_insert(0) += 1);
    }
    assert_eq!((n_started[&slow], n_started[&fast]), (4, 80));
}

#[test]
fn a_paused_vendor_sends_nothing_and_still_listens() {
    let (mut scheduler, now) = rested();
    scheduler.add(job(1, 3, Kind::Send, 0), now);
    scheduler.add(job(2, 3, Kind::Message, 0), now);
    scheduler.pause(Some(&vendor(0)), true);
    let started: Vec<EntryId> =
        std::iter::from_fn(|| scheduler.next(now)).map(|it| it.id).collect();
    assert_eq!(started, [EntryId(2)]);
    scheduler.pause(Some(&vendor(0)), false);
    assert_eq!(scheduler.next(now).map(|it| it.id), Some(EntryId(1)));
    scheduler.add(job(3, 6, Kind::Send, 0), now);
    scheduler.pause(None, true);
    assert!(scheduler.next(now).is_none());
}

#[test]
fn a_blocked_instance_waits_and_goes_on_by_itself() {
    let (mut scheduler, now) = rested();
    scheduler.block_instance(&instance(0), now + 5_000);
    scheduler.add(job(1, 3, Kind::Send, 0), now);
    scheduler.add(job(2, 4, Kind::Send, 0), now);
    assert_eq!(scheduler.next(now).map(|it| it.id), Some(EntryId(2)), "another's is not blocked");
    assert!(scheduler.next(now).is_none());
    assert_eq!(scheduler.wake_at(), Some(now + 5_000));
    assert_eq!(scheduler.next(now + 5_000).map(|it| it.id), Some(EntryId(1)));
}

#[test]
fn an_instance_that_is_unblocked_goes_on_at_once() {
    let (mut scheduler, now) = rested();
    scheduler.block_instance(&instance(0), now + 5_000);
    scheduler.add(job(1, 3, Kind::Send, 0), now);
    assert!(scheduler.next(now).is_none());
    scheduler.unblock_instance(&instance(0), now + 10);
    assert_eq!(scheduler.wake_at(), Some(now + 10));
    assert_eq!(scheduler.next(now + 10).map(|it| it.id), Some(EntryId(1)));
}

#[test]
fn what_is_overtaken_while_it_runs_is_looked_up() {
    let (mut scheduler, now) = rested();
    scheduler.add(job(1, 3, Kind::Send, 0), now);
    scheduler.next(now).unwrap();
    scheduler.decided(job(1, 3, Kind::Follow, 0), Next::Gone, now);
    scheduler.finish(
        EntryId(1),
        Next::Again { kind: Kind::Follow, due: now + 9_000, hold: None },
        now,
    );
    assert_eq!(scheduler.next(now).map(|it| (it.id, it.kind)), Some((EntryId(1), Kind::Follow)));
    scheduler.finish(EntryId(1), Next::Gone, now);
    assert_eq!(scheduler.n_jobs(), 0);
}

#[derive(Clone, Debug)]
enum Act {
    Add { contact: i64, is_send: bool },
    Start,
    Finish { retry: Option<Millis> },
    Wait(Millis),
    Merge { from: i64, into: i64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..6_i64, any::<bool>()).prop_map(|(contact, is_send)| Act::Add { contact, is_send }),
        4 => Just(Act::Start),
        4 => prop::option::of(0..2_000_i64).prop_map(|retry| Act::Finish { retry }),
        2 => (0..1_000_i64).prop_map(Act::Wait),
        1 => (0..6_i64, 0..6_i64).prop_map(|(from, into)| Act::Merge { from, into }),
    ]
}

/// Which contact a contact has become.
fn root(merged: &HashMap<i64, i64>, mut contact: i64) -> i64 {
    while let Some(into) = merged.get(&contact) {
        contact = *into;
    }
    contact
}

proptest! {
    #[test]
    fn every_lane_is_in_order_and_everything_ends(acts in prop::collection::vec(act(), 1..200)) {
        let (mut scheduler, mut now) = rested();
        let (mut merged, mut last_id) = (HashMap::new(), 0);
        let mut running: Vec<Job> = Vec::new();
        let mut done: HashMap<(i64, bool), i64> = HashMap::new();
        let mut n_open = 0;
        let finish = |scheduler: &mut Scheduler, job: &Job, now| {
            scheduler.finish(job.id, Next::Gone, now);
        };
        for act in acts {
            match act {
                Act::Add { contact, is_send } => {
                    last_id += 1;
                    n_open += 1;
                    let kind = if is_send { Kind::Send } else { Kind::Message };
                    let mut it = job(last_id, root(&merged, contact), kind, 0);
                    it.vendor = vendor(0);
                    scheduler.add(it, now);
                }
                Act::Start => running.extend(scheduler.next(now)),
                Act::Finish { retry } => {
                    let Some(job) = running.pop() else { continue };
                    if let Some(wait) = retry {
                        let next = Next::Again { kind: job.kind, due: now + wait, hold: None };
                        scheduler.finish(job.id, next, now);
                        continue;
                    }
                    n_open -= 1;
                    let contact = root(&merged, job.contact.map_or(0, |it| it.0));
                    let last = done.entry((contact, job.kind == Kind::Send)).or_default();
                    // After a merge two of one lane may have been running at once.
                    if merged.is_empty() {
                        prop_assert!(job.id.0 > *last, "{} after {last}", job.id.0);
                    }
                    *last = (*last).max(job.id.0);
                    finish(&mut scheduler, &job, now);
                }
                Act::Wait(ms) => now += ms,
                Act::Merge { from, into } => {
                    let (from, into) = (root(&merged, from), root(&merged, into));
                    if from != into {
                        merged.insert(from, into);
                        scheduler.merge(ContactId(from), ContactId(into), now);
                    }
                }
            }
        }
        // Whatever happened, the rest can be worked off.
        for _ in 0..10_000 {
            for job in running.drain(..) {
                finish(&mut scheduler, &job, now);
                n_open -= 1;
            }
            now = scheduler.wake_at().unwrap_or(now).max(now);
            running.extend(std::iter::from_fn(|| scheduler.next(now)));
            if running.is_empty() && scheduler.wake_at().is_none() {
                break;
            }
        }
        prop_assert_eq!(scheduler.n_jobs(), 0);
        prop_assert_eq!(n_open, 0);
    }
}

#[test]
fn what_waits_for_its_time_does_not_count_as_a_backlog() {
    let (mut scheduler, now) = rested();
    let vendor = job(1, 7, Kind::Follow, now).vendor;
    let counts = |it: &Scheduler| (it.n_jobs_of(&vendor), it.n_follows_of(&vendor));
    scheduler.add(job(1, 7, Kind::Follow, now + 1_000), now);
    assert_eq!(scheduler.backlog(), (0, None));
    scheduler.add(job(2, 7, Kind::Send, now), now);
    assert_eq!(counts(&scheduler), (1, 1));
    assert_eq!(scheduler.backlog(), (1, Some(EntryId(2).ms())));
    let due = Next::Again { kind: Kind::Send, due: now, hold: None };
    scheduler.decided(job(1, 7, Kind::Follow, now), due, now);
    assert_eq!(counts(&scheduler), (2, 0));
    let asked = Next::Again { kind: Kind::Follow, due: now + 1_000, hold: None };
    for id in [1, 2] {
        assert_eq!(scheduler.next(now).map(|it| it.id), Some(EntryId(id)));
        scheduler.finish(EntryId(id), asked, now);
    }
    assert_eq!(counts(&scheduler), (0, 2));
    scheduler.add(job(3, 8, Kind::Signal, now + 1_000), now);
    scheduler.add(job(4, 8, Kind::Later, now + 1_000), now);
    assert_eq!(scheduler.backlog(), (0, None));
    for id in [1, 2] {
        scheduler.decided(job(id, 7, Kind::Follow, now), Next::Gone, now);
    }
    assert_eq!(counts(&scheduler), (0, 0));
    scheduler.add(job(1 << 50, 8, Kind::Message, now), now);
    scheduler.add(job(1 << 40, 8, Kind::Send, now), now);
    assert_eq!(scheduler.backlog(), (2, Some(EntryId(1 << 40).ms())));
}

#[test]
fn what_a_person_lets_go_on_joins_the_tail() {
    let (mut scheduler, now) = rested();
    for id in [2, 3] {
        scheduler.add(job(id, 7, Kind::Send, 0), now);
    }
    scheduler.place(EntryId(1), EntryId(4));
    let again = Next::Again { kind: Kind::Send, due: now, hold: None };
    scheduler.decided(job(1, 7, Kind::Send, 0), again, now);
    scheduler.add(job(5, 7, Kind::Send, 0), now);
    let mut order = Vec::new();
    while let Some(job) = scheduler.next(now) {
        order.push(job.id.0);
        scheduler.finish(job.id, Next::Gone, now);
    }
    assert_eq!(order, [2, 3, 1, 5]);
    assert!(scheduler.places.is_empty() && scheduler.lanes.is_empty());
}

#[test]
fn a_message_that_was_decided_about_while_it_ran_is_looked_up_again() {
    let (mut scheduler, now) = rested();
    scheduler.add(job(1, 7, Kind::Message, 0), now);
    assert!(scheduler.next(now).is_some());
    // Put aside, and let go on, before its responder has answered.
    scheduler.decided(job(1, 7, Kind::Message, 0), Next::Gone, now);
    let again = Next::Again { kind: Kind::Message, due: now, hold: None };
    scheduler.decided(job(1, 7, Kind::Message, 0), again, now);
    scheduler.finish(EntryId(1), Next::Gone, now);
    assert_eq!(scheduler.next(now).map(|it| it.id), Some(EntryId(1)));
    scheduler.finish(EntryId(1), Next::Gone, now);
    assert!(scheduler.next(now).is_none());
}
