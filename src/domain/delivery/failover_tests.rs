//! Failover over all orders of outcomes, for up to three providers, with crashes in between: what
//! the customer may get, and which way each attempt goes.

use super::*;
use crate::domain::route::ProviderKind::{Meta, Twilio, Wasender};

const EXPIRES: Millis = 24 * 60 * MINUTE;
/// Attempts of one intent that are followed.
const DEEP: usize = 5;
/// After so many the wait for another one is longer than patience is.
const SOON: usize = 5;

/// What an attempt may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Sent,
    Unknown,
    /// The process dies before the outcome is recorded.
    Crash,
    Busy,
    Throttled,
    Down,
    FailOver,
    Park,
    GiveUp,
    /// Accepted, and a later status says that it failed: another may carry it, or not.
    Late(bool),
    /// Accepted, and a later status says that it was too much: for the provider, or from us to this
    /// customer.
    LateBusy,
    LateWait,
}

const ENDS: [End; 13] = [
    End::Sent,
    End::Unknown,
    End::Crash,
    End::Busy,
    End::Throttled,
    End::Down,
    End::FailOver,
    End::Park,
    End::GiveUp,
    End::Late(true),
    End::Late(false),
    End::LateBusy,
    End::LateWait,
];

#[derive(Clone)]
struct Run {
    delivery: Delivery,
    now: Millis,
    /// The attempts so far: through whom, and what came of it.
    went: Vec<(ProviderKind, End)>,
    /// The customer may have it.
    may_have_it: bool,
    /// It was known to be down when something could have gone that way.
    was_down: ProviderSet,
    /// Between two steps it is what the journal keeps of it.
    is_kept: bool,
}

fn late(may_fail_over: bool) -> Late {
    Late { reason: Reason::OptedOut, may_fail_over, again: None }
}

impl End {
    /// What a status that comes later says, if one does.
    fn told_later(self, now: Millis) -> Option<Late> {
        match self {
            Self::Late(may) => Some(late(may)),
            Self::LateBusy => Some(Refusal::Retry { not_before: None }.into()),
            Self::LateWait => Some(Refusal::Wait { not_before: now + 6_000 }.into()),
            _ => None,
        }
    }

    /// Not now, said at once or later.
    fn is_busy(self) -> bool {
        matches!(self, Self::Busy | Self::LateBusy | Self::LateWait)
    }
}

impl Run {
    fn new(is_kept: bool) -> Self {
        let (delivery, was_down) = (Delivery::new(0, EXPIRES), ProviderSet::NONE);
        Self { delivery, now: 0, went: Vec::new(), may_have_it: false, was_down, is_kept }
    }

    fn step(&mut self, input: Input, policy: &Policy) {
        if self.is_kept {
            let kept = serde_json::to_string(&self.delivery).unwrap();
            let read: Delivery = serde_json::from_str(&kept).unwrap();
            assert_eq!(read, self.delivery, "{kept}");
            self.delivery = read;
        }
        self.delivery = self.delivery.clone().step(input, self.now, policy);
    }

    /// Whether there was a way.
    fn attempt(&mut self, end: End, down: ProviderSet, policy: &Policy) -> bool {
        let Todo::Send { at } = self.delivery.todo(policy) else { panic!("nothing to send") };
        self.now = self.now.max(at);
        let step = |it: &mut Self, input| it.step(input, policy);
        self.was_down = self.was_down.or(down);
        step(self, Input::Begin { down, up_at: self.now + MINUTE });
        if self.delivery.state != State::Begun {
            assert_eq!(self.delivery.state, State::Waiting { due: self.now + MINUTE });
            return false;
        }
        let via = self.delivery.via.expect("it goes some way");
        assert!(!down.contains(via), "a way that is down is passed over: {:?}", self.went);
        assert!(!self.may_have_it, "sent again although the customer may have it: {:?}", self.went);
        if let Some((before, End::LateWait | End::Unknown | End::Crash)) = self.went.last() {
            let is_same = via == *before || down.contains(*before);
            assert!(is_same, "no other number writes after that: {:?}", self.went);
        }
        self.went.push((via, end));
        let retry = |not_before| Input::Outcome(Outcome::Refused(Refusal::Retry { not_before }));
        let refused = |it| Input::Outcome(Outcome::Refused(it));
        match end {
            End::Sent | End::Late(_) | End::LateBusy | End::LateWait => {
                step(self, Input::Outcome(Outcome::Sent));
            }
            End::Unknown => step(self, Input::Outcome(Outcome::Unknown)),
            End::Crash => step(self, Input::Crashed),
            End::Busy => step(self, retry(None)),
            End::Throttled => step(self, retry(Some(self.now + PATIENCE + 1))),
            End::Down => step(self, refused(Refusal::Down(Reason::Disconnected))),
            End::FailOver => step(self, refused(Refusal::FailOver(Reason::Unauthorized))),
            End::Park => step(self, refused(Refusal::Park(Reason::Quality))),
            End::GiveUp => step(self, refused(Refusal::GiveUp(Reason::Invalid))),
        }
        self.may_have_it = matches!(end, End::Sent | End::Unknown | End::Crash);
        if let Some(late) = end.told_later(self.now) {
            // Of another provider's attempt: not this one's.
            let other = if via == Meta { Twilio } else { Meta };
            let before = self.delivery.clone();
            step(self, Input::HeardFailed { by: Some(other), late });
            assert_eq!(self.delivery, before);
            step(self, Input::HeardFailed { by: Some(via), late });
        }
        true
    }

    /// Time runs out for an outcome that is not known. The vendor may have chosen to risk a second
    /// send, and never a third.
    fn gives_up_waiting(&mut self, policy: &Policy) {
        let State::Fenced { since } = self.delivery.state else { return };
        let is_unclear = |it: &&(ProviderKind, End)| matches!(it.1, End::Unknown | End::Crash);
        let is_first = self.went.iter().filter(is_unclear).count() == 1;
        self.now = since + policy.unknown_deadline;
        self.step(Input::Tick, policy);
        if policy.on_unknown == OnUnknown::Retry && is_first {
            assert_eq!(self.delivery.state, State::Waiting { due: self.now }, "{:?}", self.went);
            self.may_have_it = false;
        } else {
            assert_eq!(self.delivery.state, State::Unknown, "{:?}", self.went);
        }
    }

    fn check(&self, routes: Routes) {
        let (via, end) = *self.went.last().expect("there was an attempt");
        let refused_for_good = |kind| {
            let is_it = |it: &&(ProviderKind, End)| it.0 == kind;
            let mut its = self.went.iter().filter(is_it);
            its.any(|it| matches!(it.1, End::FailOver | End::Late(true)))
        };
        let next = routes.iter().find(|it| *it != via && !refused_for_good(*it));
        let n_late = self.went.iter().filter(|it| it.1 == End::Late(true)).count();
        let state = self.delivery.state;
        let waits = matches!(state, State::Waiting { .. });
        let at_once = state == State::Waiting { due: self.now };
        let is_busy = |it: &&(ProviderKind, End)| it.0 == via && it.1.is_busy();
        let n_busy = self.went.iter().rev().take_while(is_busy).count();
        let told = || format!("{:?} {:?}", self.went, self.delivery);
        match end {
            End::Sent => assert_eq!(state, State::Accepted { at: self.now }, "{}", told()),
            End::Unknown | End::Crash => {
                assert_eq!(state, State::Fenced { since: self.now }, "{}", told());
            }
            End::Park => assert_eq!(state, State::Parked(Reason::Quality)),
            End::GiveUp => assert_eq!(state, State::Dead(Reason::Invalid)),
            End::FailOver if next.is_none() => {
                assert_eq!(state, State::Parked(Reason::Unauthorized), "{}", told());
            }
            End::Late(true) if next.is_some() && n_late <= 1 => assert!(waits, "{}", told()),
            End::Late(_) => assert_eq!(state, State::Dead(Reason::OptedOut), "{}", told()),
            // Who comes back to it has had some patience.
            End::Busy | End::LateBusy if !self.was_down.is_empty() => assert!(waits, "{}", told()),
            // Patience first, as long as it lasts.
            End::Busy | End::LateBusy
                if n_busy < PATIENCE_TRIES as usize && self.went.len() <= SOON =>
            {
                assert!(waits && !at_once, "{}", told());
            }
            End::LateWait => assert!(waits && !at_once, "{}", told()),
            End::Busy | End::LateBusy | End::Throttled | End::Down | End::FailOver => {
                assert!(waits, "{}", told());
                // The refusal that ends patience: the next one at once, unless it was just tried.
                let fresh = next.is_some_and(|it| {
                    !self.was_down.contains(it) && !self.went.iter().any(|went| went.0 == it)
                });
                assert!(at_once || !fresh, "{}", told());
            }
        }
        assert!(self.fresh_came_first(routes), "a provider was left out: {}", told());
    }

    /// No provider was used for the first time before all that come before it had been, but those
    /// that were down.
    fn fresh_came_first(&self, routes: Routes) -> bool {
        let first = |kind| self.went.iter().position(|it| it.0 == kind);
        let others = routes.iter().filter(|it| !self.was_down.contains(*it));
        let firsts: Vec<Option<usize>> = others.map(first).collect();
        firsts.is_sorted_by(|a, b| match (a, b) {
            (Some(a), Some(b)) => a < b,
            (None, Some(_)) => false,
            (_, None) => true,
        })
    }
}

/// All that may come of it, whichever of these sets of ways are down at each attempt.
fn follow(run: &Run, policy: &Policy, downs: &[ProviderSet], deep: usize, n: &mut usize) {
    if deep == 0 || !matches!(run.delivery.todo(policy), Todo::Send { .. }) {
        return;
    }
    for (end, down) in ENDS.iter().flat_map(|end| downs.iter().map(|down| (*end, *down))) {
        let mut run = run.clone();
        if !run.attempt(end, down, policy) {
            continue;
        }
        run.check(policy.routes);
        run.gives_up_waiting(policy);
        *n += 1;
        follow(&run, policy, downs, deep - 1, n);
    }
}

fn policy(on_unknown: OnUnknown, routes: &[ProviderKind]) -> Policy {
    let routes = routes.iter().copied().collect();
    Policy { on_unknown, unknown_deadline: MINUTE, routes }
}

#[test]
fn whatever_the_order_of_outcomes_the_next_provider_is_tried_and_nothing_is_sent_twice() {
    let mut n = 0;
    for routes in [&[Wasender][..], &[Wasender, Meta], &[Wasender, Meta, Twilio]] {
        let policy = policy(OnUnknown::GiveUp, routes);
        follow(&Run::new(false), &policy, &[ProviderSet::NONE], DEEP, &mut n);
    }
    assert!(n > 10_000, "only {n} orders");
}

#[test]
fn so_it_is_in_whichever_order_the_vendor_has_put_them_and_whatever_is_down() {
    let (mut n, all) = (0, [Wasender, Meta, Twilio]);
    let pairs = all.into_iter().flat_map(|a| all.into_iter().map(move |b| (a, b)));
    for (a, b) in pairs.filter(|(a, b)| a != b) {
        let last = all.into_iter().find(|it| *it != a && *it != b);
        let three: Vec<ProviderKind> = [a, b].into_iter().chain(last).collect();
        for routes in [&three[..2], &three] {
            let downs = [ProviderSet::NONE, ProviderSet::NONE.with(a), ProviderSet::NONE.with(b)];
            for on_unknown in [OnUnknown::GiveUp, OnUnknown::Retry] {
                follow(&Run::new(false), &policy(on_unknown, routes), &downs, 3, &mut n);
            }
        }
    }
    assert!(n > 100_000, "only {n} orders");
}

#[test]
fn so_it_is_when_each_step_is_taken_from_what_is_kept() {
    let mut n = 0;
    for on_unknown in [OnUnknown::GiveUp, OnUnknown::Retry] {
        let (policy, downs) = (policy(on_unknown, &[Meta, Twilio, Wasender]), [ProviderSet::NONE]);
        follow(&Run::new(true), &policy, &downs, 3, &mut n);
    }
    assert!(n > 1_000, "only {n} orders");
}

#[test]
fn an_unknown_outcome_never_goes_another_way_by_itself() {
    for on_unknown in [OnUnknown::GiveUp, OnUnknown::Retry] {
        let policy = policy(on_unknown, &[Wasender, Meta]);
        let begun = Delivery::new(0, EXPIRES).step(Input::BEGIN, 0, &policy);
        let fenced = begun.step(Input::Outcome(Outcome::Unknown), 0, &policy);
        let ended = fenced.step(Input::Tick, MINUTE, &policy);
        match on_unknown {
            OnUnknown::GiveUp => assert_eq!(ended.state, State::Unknown),
            // The vendor's own choice: once more, the same way.
            OnUnknown::Retry => {
                let again = ended.step(Input::BEGIN, MINUTE, &policy);
                assert_eq!((again.state, again.via), (State::Begun, Some(Wasender)));
            }
        }
    }
}

#[test]
fn what_is_down_is_passed_over_and_when_all_are_it_waits() {
    let policy = policy(OnUnknown::GiveUp, &[Wasender, Meta]);
    let new = || Delivery::new(0, EXPIRES);
    let down = ProviderSet::NONE.with(Wasender);
    let begun = new().step(Input::Begin { down, up_at: 9_000 }, 5, &policy);
    assert_eq!((begun.state, begun.via), (State::Begun, Some(Meta)));
    let down = down.with(Meta);
    let waits = new().step(Input::Begin { down, up_at: 9_000 }, 5, &policy);
    assert_eq!((waits.state, waits.attempts), (State::Waiting { due: 9_000 }, 0));
    // What has refused it for good is not tried because the others are down.
    let refused = Outcome::Refused(Refusal::FailOver(Reason::Unsupported));
    let refused = new().step(Input::BEGIN, 0, &policy).step(Input::Outcome(refused), 0, &policy);
    let down = ProviderSet::NONE.with(Meta);
    let waits = refused.step(Input::Begin { down, up_at: 9_000 }, 5, &policy);
    assert_eq!(waits.state, State::Waiting { due: 9_000 });
}

#[test]
fn ways_that_the_vendor_has_changed_are_followed_as_they_are_now() {
    let policy = |kinds: &[ProviderKind]| self::policy(OnUnknown::GiveUp, kinds);
    let refused = Input::Outcome(Outcome::Refused(Refusal::FailOver(Reason::Unauthorized)));
    let old = policy(&[Wasender, Meta]);
    let waits = Delivery::new(0, EXPIRES).step(Input::BEGIN, 0, &old).step(refused, 0, &old);
    assert_eq!(waits.state, State::Waiting { due: 0 });
    // Moved to Twilio meanwhile: what Wasender has refused leaves that way.
    let new = policy(&[Twilio]);
    let begun = waits.clone().step(Input::BEGIN, 1, &new);
    assert_eq!(begun.via, Some(Twilio));
    // Only what refused it is left: perhaps it was mended.
    let begun = waits.step(Input::BEGIN, 1, &policy(&[Wasender]));
    assert_eq!(begun.via, Some(Wasender));
}

#[test]
fn a_failure_that_comes_before_the_answer_decides() {
    let policy = policy(OnUnknown::GiveUp, &[Meta, Wasender]);
    for (may_fail_over, outcome) in [
        (true, Outcome::Sent),
        (true, Outcome::Unknown),
        (false, Outcome::Sent),
        (false, Outcome::Unknown),
    ] {
        let begun = Delivery::new(0, EXPIRES).step(Input::BEGIN, 0, &policy);
        let input = Input::HeardFailed { by: Some(Meta), late: late(may_fail_over) };
        let heard = begun.step(input, 1, &policy);
        assert_eq!(heard.state, State::Begun, "it is in hand");
        let ended = heard.step(Input::Outcome(outcome), 2, &policy);
        let want =
            if may_fail_over { State::Waiting { due: 2 } } else { State::Dead(Reason::OptedOut) };
        assert_eq!(ended.state, want);
    }
}

#[test]
fn who_was_sent_to_too_fast_waits_and_is_sent_to_through_no_other_number() {
    let policy = policy(OnUnknown::GiveUp, &[Meta, Wasender]);
    let (mut delivery, mut now) = (Delivery::new(0, EXPIRES), 0);
    for _ in 0..2 * PATIENCE_TRIES {
        delivery = delivery.step(Input::BEGIN, now, &policy);
        assert_eq!((&delivery.state, delivery.via), (&State::Begun, Some(Meta)));
        let wait = Refusal::Wait { not_before: now + 6_000 };
        delivery = delivery.step(Input::Outcome(Outcome::Refused(wait)), now, &policy);
        let State::Waiting { due } = delivery.state else { panic!("{:?}", delivery.state) };
        assert!(due >= now + 6_000);
        now = due;
    }
}

#[test]
fn what_was_too_much_later_is_tried_again_the_same_way_then_another_and_not_for_ever() {
    let busy: Late = Refusal::Retry { not_before: None }.into();
    let wait: Late = Refusal::Wait { not_before: 6_000 }.into();
    for (kinds, late, n_same) in [
        (&[Meta, Twilio][..], busy, PATIENCE_TRIES),
        (&[Meta, Twilio], wait, THROTTLES_MAX + 1),
        (&[Meta], busy, THROTTLES_MAX + 1),
    ] {
        let policy = policy(OnUnknown::GiveUp, kinds);
        let (mut delivery, mut now, mut went) = (Delivery::new(0, EXPIRES), 0, Vec::new());
        while let State::Waiting { due } = delivery.state {
            now = now.max(due);
            delivery = delivery.step(Input::BEGIN, now, &policy);
            went.extend(delivery.via);
            delivery = delivery.step(Input::Outcome(Outcome::Sent), now, &policy);
            let heard = Input::HeardFailed { by: delivery.via, late };
            delivery = delivery.step(heard, now, &policy);
            // The same, told twice.
            assert_eq!(delivery.clone().step(heard, now, &policy), delivery);
        }
        let n_first = went.iter().take_while(|it| **it == Meta).count();
        assert_eq!(n_first, n_same as usize, "{went:?}");
        assert_eq!(delivery.state, State::Dead(Reason::Failed));
        assert!(now >= MINUTE, "{now}: it became slower");
        // That the customer has one of them is still believed.
        let read = delivery.step(Input::Heard(Status::Read), now, &policy);
        assert_eq!(read.state, State::Sent);
    }
}
