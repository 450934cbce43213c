//! Which provider an attempt goes through, and what a refusal means for the next one.

use super::{Delivery, Policy, Reason, Refusal, State};
use crate::domain::{
    clock::{MINUTE, Millis, SECOND},
    route::{ProviderKind, ProviderSet},
};

/// The first wait after a refusal; it doubles.
const BACK_OFF_FIRST: Millis = SECOND;
/// The longest wait after a refusal that names none.
const BACK_OFF_MAX: Millis = MINUTE;
/// Refusals in a row from a provider that is busy or away, after which the next one is tried.
pub const PATIENCE_TRIES: u32 = 3;
/// The next one is tried at once when the provider wants to be left alone for longer than this.
pub const PATIENCE: Millis = 20 * SECOND;

impl Delivery {
    pub(super) fn begin(&mut self, down: ProviderSet, up_at: Millis, now: Millis, policy: &Policy) {
        let State::Waiting { due } = self.state else { return };
        if now >= self.expires {
            self.enter(State::Dead(Reason::Expired));
        } else if due <= now {
            self.later = None;
            match self.next_route(down, policy) {
                Some(via) => {
                    if self.via != Some(via) {
                        (self.via, self.refusals) = (Some(via), 0);
                    }
                    self.attempts += 1;
                    // What was heard spoke of an earlier attempt on another route.
                    (self.status, self.late) = (None, None);
                    self.enter(State::Begun);
                }
                None => self.again_at(up_at.max(now + SECOND), now),
            }
        }
    }

    /// The provider that the next attempt goes through: the first that has neither refused it nor
    /// is down. When all that are left are down, none.
    fn next_route(&mut self, down: ProviderSet, policy: &Policy) -> Option<ProviderKind> {
        let routes = policy.routes;
        // What the vendor has changed since may have made them all good again.
        if routes.first_but(self.refused).is_none() {
            self.refused = ProviderSet::NONE;
        }
        let open = self.refused.or(down);
        routes.first_but(open.or(self.passed)).or_else(|| {
            self.passed = ProviderSet::NONE;
            routes.first_but(open)
        })
    }

    pub(super) fn refused(&mut self, refusal: Refusal, now: Millis, policy: &Policy) {
        match refusal {
            Refusal::Retry { not_before } => {
                self.refusals += 1;
                let at = not_before.unwrap_or(now + self.back_off());
                let is_patient = self.refusals < PATIENCE_TRIES && at - now <= PATIENCE;
                if is_patient || !self.pass(now, policy) {
                    self.again_at(at, now);
                }
            }
            Refusal::Wait { not_before } => {
                self.refusals += 1;
                self.stays(policy);
                self.again_at(not_before.max(now + self.back_off()), now);
            }
            Refusal::Down(_) => {
                self.refusals += 1;
                if !self.pass(now, policy) {
                    self.again_at(now + self.back_off(), now);
                }
            }
            Refusal::FailOver(reason) => {
                if !self.fail_over(now, policy) {
                    self.enter(State::Parked(reason));
                }
            }
            Refusal::Park(reason) => self.enter(State::Parked(reason)),
            Refusal::GiveUp(reason) => self.enter(State::Dead(reason)),
        }
    }

    /// It was accepted, and then it was too much: as if the answer had said so.
    pub(super) fn throttled_late(
        &mut self,
        again: Millis,
        may_fail_over: bool,
        now: Millis,
        policy: &Policy,
    ) {
        let not_before = again.max(now + self.back_off());
        let refusal = if may_fail_over {
            Refusal::Retry { not_before: Some(not_before) }
        } else {
            Refusal::Wait { not_before }
        };
        self.refused(refusal, now, policy);
    }

    /// The next attempt goes the same way, if that is up: those before it that were busy or down
    /// may be up again.
    pub(super) fn stays(&mut self, policy: &Policy) {
        let before = policy.routes.iter().take_while(|it| Some(*it) != self.via);
        self.passed = before.fold(self.passed, ProviderSet::with);
    }

    /// Goes on with the next provider for now; whether there is one.
    fn pass(&mut self, now: Millis, policy: &Policy) -> bool {
        let Some(via) = self.via else { return false };
        self.passed = self.passed.with(via);
        let has_next = policy.routes.first_but(self.refused.or(self.passed)).is_some();
        if has_next {
            self.again_at(now, now);
        } else {
            // All of them again, from the first.
            self.passed = ProviderSet::NONE;
        }
        has_next
    }

    /// Goes on without the provider of this attempt; whether there is another.
    pub(super) fn fail_over(&mut self, now: Millis, policy: &Policy) -> bool {
        let Some(via) = self.via else { return false };
        let refused = self.refused.with(via);
        let has_next = policy.routes.first_but(refused).is_some();
        if has_next {
            self.refused = refused;
            // The others may be down for now: that is not this one's pace.
            let is_passed = policy.routes.first_but(refused.or(self.passed)).is_none();
            self.again_at(if is_passed { now + self.back_off() } else { now }, now);
        }
        has_next
    }

    pub(super) fn again_at(&mut self, due: Millis, now: Millis) {
        if due.max(now) >= self.expires {
            self.enter(State::Dead(Reason::Expired));
        } else {
            self.enter(State::Waiting { due });
        }
    }

    fn back_off(&self) -> Millis {
        let doubled = BACK_OFF_FIRST << (self.attempts.saturating_sub(1)).min(10);
        doubled.min(BACK_OFF_MAX)
    }
}
