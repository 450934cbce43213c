use proptest::prelude::*;

use super::*;
use crate::domain::route::ProviderKind::{Meta, Twilio, Wasender};

const EXPIRES: Millis = 1_000_000;

fn policy() -> impl Strategy<Value = Policy> {
    let on_unknown = prop_oneof![Just(OnUnknown::GiveUp), Just(OnUnknown::Retry)];
    (on_unknown, 1..1_000_000_i64, 1..4_usize).prop_map(|(on_unknown, unknown_deadline, n)| {
        Policy { on_unknown, unknown_deadline, routes: routes(n) }
    })
}

fn routes(n: usize) -> Routes {
    [Wasender, Meta, Twilio].into_iter().take(n).collect()
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![
        Just(Status::Pending),
        Just(Status::Sent),
        Just(Status::Failed),
        Just(Status::Delivered),
        Just(Status::Read),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let refusal = prop_oneof![
        prop::option::of(0..EXPIRES).prop_map(|not_before| Refusal::Retry { not_before }),
        Just(Refusal::FailOver(Reason::Failed)),
        Just(Refusal::Park(Reason::Unauthorized)),
        Just(Refusal::GiveUp(Reason::Invalid)),
    ];
    prop_oneof![Just(Outcome::Sent), Just(Outcome::Unknown), refusal.prop_map(Outcome::Refused)]
}

fn late() -> impl Strategy<Value = Late> {
    let again = prop::option::of(0..EXPIRES);
    (any::<bool>(), again).prop_map(|(may_fail_over, again)| Late {
        reason: Reason::Failed,
        may_fail_over,
        again,
    })
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => Just(Input::BEGIN),
        4 => outcome().prop_map(Input::Outcome),
        3 => status().prop_map(Input::Heard),
        1 => late().prop_map(|late| Input::HeardFailed { by: None, late }),
        2 => Just(Input::NoAnswer),
        2 => Just(Input::Tick),
        1 => Just(Input::Crashed),
        1 => Just(Input::Withdraw(Reason::Silenced)),
        1 => Just(Input::Park(Reason::NoSessionKey)),
    ]
}

/// What the world saw: a message may have reached the customer from this attempt on.
fn may_have_arrived(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Refused(_))
}

fn due_later(at: Option<Millis>) -> Delivery {
    let delivery = Delivery::new(0, EXPIRES);
    match at {
        Some(at) => delivery.later(at),
        None => delivery,
    }
}

proptest! {
    /// The promise: without the vendor's own choice no request leaves after one that may have
    /// arrived, whatever happens in whatever order.
    #[test]
    fn nothing_is_sent_twice(
        inputs in prop::collection::vec((input(), 0..60_000_i64), 1..60),
        unknown_deadline in 1..1_000_000_i64,
        later in prop::option::of(0..600_000_i64),
    ) {
        let policy = Policy { on_unknown: OnUnknown::GiveUp, unknown_deadline, routes: routes(1) };
        let (mut delivery, mut now, mut is_first) = (due_later(later), 0, true);
        let (mut may_have_it, mut has_it, mut has_failed) = (false, false, false);
        for (input, wait) in inputs {
            now += wait;
            let before = delivery.attempts;
            let was_begun = delivery.state == State::Begun;
            delivery = delivery.step(input, now, &policy);
            if delivery.attempts > before {
                prop_assert!(!may_have_it, "sent again");
                prop_assert!(now < EXPIRES, "sent after its time");
                let waits = is_first && later.is_some_and(|it| now < it);
                prop_assert!(!waits, "sent before its time");
                is_first = false;
                has_failed = false;
            }
            match input {
                // A webhook may have been faster than the answer.
                Input::Outcome(outcome) if was_begun => {
                    may_have_it |= may_have_arrived(outcome) && !has_failed;
                }
                Input::Crashed if was_begun => may_have_it |= !has_failed,
                Input::Heard(status) if delivery.attempts > 0 => {
                    has_it |= status >= Status::Delivered;
                    may_have_it |= has_it || (status == Status::Sent && !has_failed);
                }
                // The provider says that the customer has not got it; only proof outweighs that.
                Input::HeardFailed { .. } if delivery.attempts > 0 => {
                    (may_have_it, has_failed) = (has_it, true);
                }
                _ => {}
            }
        }
    }

    /// Every intent ends: whoever only does what it asks for comes to rest, and never in between
    /// is there a state that asks for nothing and is not an end.
    #[test]
    fn every_intent_ends(
        policy in policy(),
        inputs in prop::collection::vec((input(), 0..60_000_i64), 0..20),
        outcomes in prop::collection::vec(outcome(), 200),
        later in prop::option::of(0..600_000_i64),
    ) {
        let (mut delivery, mut now) = (due_later(later), 0);
        for (input, wait) in inputs {
            now += wait;
            delivery = delivery.step(input, now, &policy);
        }
        for outcome in outcomes {
            let input = match delivery.todo(&policy) {
                Todo::Send { at } | Todo::Later { at } => {
                    now = now.max(at);
                    Input::BEGIN
                }
                Todo::Ask { at } => {
                    now = now.max(at);
                    Input::NoAnswer
                }
                Todo::Tick { at } => {
                    now = now.max(at);
                    Input::Tick
                }
                Todo::InHand => Input::Outcome(outcome),
                Todo::Nothing => break,
            };
            // A refusal that names no time is soon again; time must pass for it to expire.
            now += 10_000;
            delivery = delivery.step(input, now, &policy);
        }
        prop_assert_eq!(delivery.todo(&policy), Todo::Nothing);
        let is_end = !matches!(delivery.state, State::Waiting { .. } | State::Begun);
        prop_assert!(is_end);
        prop_assert_ne!(delivery.account(), Account::Waiting);
    }

    /// With a fence open, the signal that resolves it is always applied.
    #[test]
    fn a_signal_settles_a_fence(policy in policy(), since in 0..1_000_i64, wait in 0..2_000_000_i64) {
        let begun = Delivery::new(0, EXPIRES).step(Input::BEGIN, since, &policy);
        let fenced = begun.step(Input::Outcome(Outcome::Unknown), since, &policy);
        prop_assert_eq!(fenced.state, State::Fenced { since });
        prop_assert_eq!(fenced.holds_lane_until(), Some(since + FENCE_HOLD));
        for status in [Status::Sent, Status::Delivered, Status::Read] {
            let heard = fenced.clone().step(Input::Heard(status), since + wait, &policy);
            prop_assert_eq!(heard.state, State::Sent);
            prop_assert_eq!(heard.holds_lane_until(), None);
        }
        // Also when the signal is faster than the answer.
        let begun = Delivery::new(0, EXPIRES).step(Input::BEGIN, since, &policy);
        let early = begun.step(Input::Heard(Status::Sent), since, &policy);
        let ended = early.step(Input::Outcome(Outcome::Unknown), since, &policy);
        prop_assert_eq!(ended.state, State::Sent);
    }

    /// What is heard only grows.
    #[test]
    fn a_status_never_moves_backwards(statuses in prop::collection::vec(status(), 1..20)) {
        let policy = Policy { on_unknown: OnUnknown::GiveUp, unknown_deadline: 1, routes: routes(1) };
        let mut delivery = Delivery::new(0, EXPIRES).step(Input::BEGIN, 0, &policy);
        delivery = delivery.step(Input::Outcome(Outcome::Sent), 0, &policy);
        let best = statuses.iter().copied().max();
        for status in statuses {
            let before = delivery.status;
            delivery = delivery.step(Input::Heard(status), 0, &policy);
            prop_assert!(delivery.status >= before);
        }
        prop_assert_eq!(delivery.status, best);
    }
}

#[test]
fn an_unknown_outcome_is_the_vendors_choice() {
    let step = |on_unknown| {
        let policy = Policy { on_unknown, unknown_deadline: 600_000, routes: routes(1) };
        let begun = Delivery::new(0, EXPIRES).step(Input::BEGIN, 0, &policy);
        let mut fenced = begun.step(Input::Outcome(Outcome::Unknown), 0, &policy);
        for _ in FENCE_ASKS {
            assert!(matches!(fenced.todo(&policy), Todo::Ask { .. }));
            fenced = fenced.step(Input::NoAnswer, 1_000, &policy);
        }
        assert_eq!(fenced.todo(&policy), Todo::Tick { at: 600_000 });
        fenced.step(Input::Tick, 600_000, &policy).state
    };
    assert_eq!(step(OnUnknown::GiveUp), State::Unknown);
    assert_eq!(step(OnUnknown::Retry), State::Waiting { due: 600_000 });
    // A second send is risked, a third is not.
    let policy =
        Policy { on_unknown: OnUnknown::Retry, unknown_deadline: 60_000, routes: routes(1) };
    let mut delivery = Delivery::new(0, EXPIRES);
    for now in [0, 60_000] {
        delivery = delivery.step(Input::BEGIN, now, &policy);
        delivery = delivery.step(Input::Outcome(Outcome::Unknown), now, &policy);
        delivery = delivery.step(Input::Tick, now + 60_000, &policy);
    }
    assert_eq!((delivery.state, delivery.attempts), (State::Unknown, 2));
}

#[test]
fn a_later_failure_is_tried_once_on_the_next_route() {
    let policy = Policy { on_unknown: OnUnknown::GiveUp, unknown_deadline: 1, routes: routes(2) };
    let begun = Delivery::new(0, EXPIRES).step(Input::BEGIN, 0, &policy);
    let accepted = begun.step(Input::Outcome(Outcome::Sent), 0, &policy);
    let failed = accepted.step(Input::Heard(Status::Failed), 5, &policy);
    assert_eq!(failed.state, State::Waiting { due: 5 });
    let again =
        failed.step(Input::BEGIN, 5, &policy).step(Input::Outcome(Outcome::Sent), 6, &policy);
    let failed = again.step(Input::Heard(Status::Failed), 7, &policy);
    assert_eq!(failed.state, State::Dead(Reason::Failed));
}

#[test]
fn a_person_lets_go_on_what_is_at_rest_and_again_what_may_have_arrived() {
    let policy =
        Policy { on_unknown: OnUnknown::GiveUp, unknown_deadline: MINUTE, routes: routes(1) };
    let of = |state| Delivery { state, attempts: 1, ..Delivery::new(0, EXPIRES) };
    let release = Input::Release { expires: 2 * EXPIRES };
    let again = Input::Again { expires: 2 * EXPIRES };
    let goes = |state, input| {
        let after = of(state).step(input, 5, &policy);
        let goes = after.state == State::Waiting { due: 5 } && after.expires == 2 * EXPIRES;
        assert!(goes || after == of(state), "{after:?}");
        goes
    };
    let held = |at| Delivery { later: Some(at), ..of(State::Parked(Reason::Held)) };
    let early = held(EXPIRES).step(release, 5, &policy);
    assert_eq!(early.todo(&policy), Todo::Later { at: EXPIRES }, "still at its time");
    assert_eq!(early.expires - EXPIRES, 2 * EXPIRES - 5, "for as long after it");
    assert_eq!(early.step(Input::BEGIN, EXPIRES, &policy).state, State::Begun);
    let late = held(4).step(release, 5, &policy);
    assert_eq!((late.todo(&policy), late.expires), (Todo::Send { at: 5 }, 2 * EXPIRES));
    for (state, by_release, by_again) in [
        (State::Waiting { due: 9 }, false, false),
        (State::Begun, false, false),
        (State::Fenced { since: 1 }, false, false),
        (State::Accepted { at: 1 }, false, true),
        (State::Sent, false, true),
        (State::Unknown, false, true),
        (State::Parked(Reason::Held), true, true),
        (State::Dead(Reason::Failed), true, true),
    ] {
        assert_eq!((goes(state, release), goes(state, again)), (by_release, by_again), "{state:?}");
        let restored = of(state).step(Input::Restore, 5, &policy);
        if matches!(state, State::Accepted { .. }) {
            let failed = Input::HeardFailed { by: None, late: Late::default() };
            let two = Policy { routes: routes(2), ..policy };
            assert_eq!(restored.todo(&two), Todo::Nothing, "it is not asked about");
            let after = restored.clone().step(failed, 6, &two);
            assert!(matches!(after.state, State::Dead(_)), "nor sent again: {after:?}");
        }
        let is_parked = restored.state == State::Parked(Reason::Restored);
        assert_eq!(is_parked, of(state).is_in_hand(), "{state:?}");
        assert!(!is_parked || restored.may_have_arrived());
    }
}
