//! What the scheduler is told while work waits or runs.

use super::{
    tests::{VENDORS, instance, job, rested},
    *,
};

#[test]
fn what_another_limit_let_through_is_known() {
    let (mut scheduler, now) = rested();
    (1..3).for_each(|id| scheduler.add(job(id, id * VENDORS, Kind::Send, 0), now));
    for limit in [Limit::WASENDER, Limit::META] {
        let id = scheduler.next(now).unwrap().id;
        scheduler.set_limit(&instance(0), Limit::META);
        assert_eq!(scheduler.is_let_through(id, Limit::META), limit == Limit::META);
    }
}

#[test]
fn a_decision_that_is_told_after_a_later_one_takes_no_send_away() {
    let (mut scheduler, now) = rested();
    let send = job(1, 7, Kind::Send, 0);
    let again = |kind| Next::Again { kind, due: now, hold: None };
    // It was sent, failed after that and leaves another way: the journal knows, and told them so.
    scheduler.decided(send.clone(), again(Kind::Send), now);
    for former in [Next::Gone, again(Kind::Follow)] {
        // Twice: a provider tells of several stages at once.
        scheduler.decided(send.clone(), former, now);
        scheduler.decided(send.clone(), Next::Gone, now);
        scheduler.add(job(2, 7, Kind::Send, 0), now);
        let looked_up = scheduler.next(now).unwrap();
        assert_eq!((looked_up.id, looked_up.kind), (send.id, Kind::Follow));
        assert!(scheduler.next(now).is_none(), "what came after it waits");
        scheduler.finish(send.id, again(Kind::Send), now);
    }
    let next = scheduler.next(now).unwrap();
    assert_eq!((next.id, next.kind), (send.id, Kind::Send));
}
