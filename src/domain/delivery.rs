//! The life of an intent: a pure state machine. Given what happened and the time, it says what the
//! intent is now and what is to be done next; it does nothing itself.
//!
//! The promise it keeps: at most one request leaves per attempt, a new attempt begins only after
//! the last one was refused for sure, and an outcome that is unknown is settled from outside or
//! given up, never repeated unless the vendor has chosen that.

#[cfg(test)]
mod failover_tests;
mod input;
mod outcome;
mod person;
mod route;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::{
    input::Input,
    outcome::{Late, Outcome, Reason, Refusal},
    route::{PATIENCE, PATIENCE_TRIES},
};
use super::{
    clock::{MINUTE, Millis, SECOND},
    event::Status,
    route::{ProviderKind, ProviderSet, Routes},
    vendor::OnUnknown,
};

/// A fence holds later sends of its conversation for this long at most.
pub const FENCE_HOLD: Millis = 30 * SECOND;
/// When the provider's own log is asked about a fenced send, counted from the fence.
const FENCE_ASKS: [Millis; 4] = [5 * SECOND, 25 * SECOND, 60 * SECOND, 5 * MINUTE];
/// When the provider is asked about an accepted send without any status, counted from acceptance.
const ACCEPTED_ASKS: [Millis; 2] = [30 * SECOND, 5 * MINUTE];
/// How often an accepted send may be taken up again on another route after a later failure.
const REOPENS_MAX: u32 = 1;
/// How often it may be because it was too much for the provider at that time.
const THROTTLES_MAX: u32 = 8;

/// Where an intent stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its state.
    pub state: State,
    /// Requests that have begun.
    pub attempts: u32,
    /// Questions asked of the provider in the present state.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub asked: u32,
    /// The provider of the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<ProviderKind>,
    /// Providers that cannot carry it, unless a person does something.
    #[serde(default, skip_serializing_if = "ProviderSet::is_empty")]
    pub refused: ProviderSet,
    /// Providers that could not carry it for now; they are tried again when no other is left.
    #[serde(default, skip_serializing_if = "ProviderSet::is_empty")]
    pub passed: ProviderSet,
    /// Refusals in a row from `via`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refusals: u32,
    /// A failure that was told while an attempt was in hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
    /// It shall not leave before then, and keeps nothing else waiting until it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later: Option<Millis>,
    /// How often it was re-opened after acceptance.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reopened: u32,
    /// How often it was because it had been too much for the provider.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub throttled: u32,
    /// It was sent again although the first outcome stayed unknown.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_risked: bool,
    /// After this nothing is sent.
    pub expires: Millis,
    /// The best that was heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// The states of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// In its lane; may be sent from `due`.
    Waiting {
        /// When.
        due: Millis,
    },
    /// A request may have left.
    Begun,
    /// The outcome is unknown since then.
    Fenced {
        /// When.
        since: Millis,
    },
    /// The provider has it since then; nothing more was heard.
    Accepted {
        /// When.
        at: Millis,
    },
    /// Sent, as far as anybody will ever say.
    Sent,
    /// Given up without knowing.
    Unknown,
    /// Waits for a person.
    Parked(Reason),
    /// Given up.
    Dead(Reason),
}

/// What the vendor and the instance have chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What to do when an outcome stays unknown.
    pub on_unknown: OnUnknown,
    /// After how long.
    pub unknown_deadline: Millis,
    /// Providers of the instance, in the order in which they are tried.
    pub routes: Routes,
}

/// What is to be done next, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Send it, in its lane's turn.
    Send {
        /// Not before.
        at: Millis,
    },
    /// Send it as [`Self::Send`] does, but until then it keeps nothing else waiting.
    Later {
        /// Not before.
        at: Millis,
    },
    /// Ask the provider what became of it.
    Ask {
        /// When.
        at: Millis,
    },
    /// Give it a [`Input::Tick`].
    Tick {
        /// When.
        at: Millis,
    },
    /// A worker has it in hand.
    InHand,
    /// Nothing, ever, unless something is heard or a person acts.
    Nothing,
}

/// The columns of the ledger: created = sent + unknown + waiting + parked + dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// Not ended.
    Waiting,
    /// Sent, or accepted.
    Sent,
    /// Given up without knowing.
    Unknown,
    /// Waits for a person.
    Parked,
    /// Given up.
    Dead,
}

impl Delivery {
    /// A new intent, which may be sent from `due` and not after `expires`.
    #[must_use]
    pub fn new(due: Millis, expires: Millis) -> Self {
        let state = State::Waiting { due };
        Self {
            state,
            attempts: 0,
            asked: 0,
            via: None,
            refused: ProviderSet::NONE,
            passed: ProviderSet::NONE,
            refusals: 0,
            late: None,
            later: None,
            reopened: 0,
            throttled: 0,
            is_risked: false,
            expires,
            status: None,
        }
    }

    /// The same, but not before this time.
    #[must_use]
    pub fn later(self, at: Millis) -> Self {
        Self { state: State::Waiting { due: at }, later: Some(at), ..self }
    }

    /// The intent after `input`.
    #[must_use]
    pub fn step(mut self, input: Input, now: Millis, policy: &Policy) -> Self {
        match input {
            Input::Begin { down, up_at } => self.begin(down, up_at, now, policy),
            Input::Outcome(outcome) => self.ended(outcome, now, policy),
            Input::Unbegin { due } => self.unbegin(due),
            Input::Heard(status) => self.heard(status, None, now, policy),
            Input::HeardFailed { by, late } => {
                // What another route's attempt came to says nothing of this one.
                if by.is_none() || self.via.is_none() || by == self.via {
                    self.heard(Status::Failed, Some(late), now, policy);
                }
            }
            Input::NoAnswer | Input::Tick => self.tick(input == Input::NoAnswer, now, policy),
            Input::Crashed => self.ended(Outcome::Unknown, now, policy),
            Input::Withdraw(reason) => {
                if matches!(self.state, State::Waiting { .. } | State::Parked(_)) {
                    self.state = State::Dead(reason);
                }
            }
            Input::Park(reason) => {
                if matches!(self.state, State::Waiting { .. }) {
                    self.state = State::Parked(reason);
                }
            }
            Input::Release { expires } => self.release(false, expires, now),
            Input::Again { expires } => self.release(true, expires, now),
            Input::Restore => self.restore(),
        }
        self
    }

    /// What is to be done next. It follows from the state alone, so that a restart finds it again.
    #[must_use]
    pub fn todo(&self, policy: &Policy) -> Todo {
        let asked = self.asked as usize;
        match self.state {
            State::Waiting { due } => match self.later {
                Some(at) => Todo::Later { at },
                None => Todo::Send { at: due },
            },
            State::Begun => Todo::InHand,
            State::Fenced { since } => {
                let deadline = since + policy.unknown_deadline;
                match FENCE_ASKS.get(asked).map(|it| since + it).filter(|it| *it < deadline) {
                    Some(at) => Todo::Ask { at },
                    None => Todo::Tick { at: deadline },
                }
            }
            State::Accepted { at } => match ACCEPTED_ASKS.get(asked) {
                Some(after) => Todo::Ask { at: at + after },
                None => Todo::Nothing,
            },
            State::Sent | State::Unknown | State::Parked(_) | State::Dead(_) => Todo::Nothing,
        }
    }

    /// Until when it keeps later sends of its conversation back, once it has left its lane.
    #[must_use]
    pub fn holds_lane_until(&self) -> Option<Millis> {
        match self.state {
            State::Fenced { since } => Some(since + FENCE_HOLD),
            _ => None,
        }
    }

    /// Where the ledger counts it.
    #[must_use]
    pub fn account(&self) -> Account {
        match self.state {
            State::Waiting { .. } | State::Begun | State::Fenced { .. } => Account::Waiting,
            State::Accepted { .. } | State::Sent => Account::Sent,
            State::Unknown => Account::Unknown,
            State::Parked(_) => Account::Parked,
            State::Dead(_) => Account::Dead,
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.asked = 0;
    }

    fn unbegin(&mut self, due: Millis) {
        if self.state == State::Begun {
            self.attempts -= 1;
            self.enter(State::Waiting { due });
        }
    }

    fn ended(&mut self, outcome: Outcome, now: Millis, policy: &Policy) {
        // Only the attempt in hand has an outcome; a late or second one changes nothing.
        if self.state != State::Begun {
            return;
        }
        if let Some(status) = self.status.filter(|it| *it != Status::Pending) {
            // A webhook was faster than the answer, and it knows better.
            self.settle_heard(status, now, policy);
            return;
        }
        match outcome {
            Outcome::Sent => self.enter(State::Accepted { at: now }),
            Outcome::Unknown => self.enter(State::Fenced { since: now }),
            Outcome::Refused(refusal) => self.refused(refusal, now, policy),
        }
    }

    fn heard(&mut self, status: Status, late: Option<Late>, now: Millis, policy: &Policy) {
        let best = self.status.map_or(status, |it| it.then(status));
        self.status = Some(best);
        self.late = late.or(self.late);
        // While a worker has it in hand only that is noted: the outcome settles it.
        if self.state != State::Begun && self.attempts > 0 {
            self.settle_heard(best, now, policy);
        }
    }

    fn settle_heard(&mut self, status: Status, now: Millis, policy: &Policy) {
        match (status, self.state) {
            (Status::Failed, State::Dead(_) | State::Parked(_) | State::Waiting { .. }) => {}
            (Status::Failed, _) => {
                let Late { reason, may_fail_over, again } = self.late.unwrap_or_default();
                if let Some(again) = again.filter(|_| self.throttled < THROTTLES_MAX) {
                    self.throttled += 1;
                    self.throttled_late(again, may_fail_over, now, policy);
                    return;
                }
                let may = may_fail_over && self.reopened < REOPENS_MAX;
                if may && self.fail_over(now, policy) {
                    self.reopened += 1;
                } else {
                    self.enter(State::Dead(reason));
                }
            }
            // Queued says that the provider has it, and no more.
            (Status::Pending, State::Fenced { .. } | State::Begun | State::Unknown) => {
                self.enter(State::Accepted { at: now });
            }
            (Status::Pending, _) => {}
            (Status::Sent | Status::Delivered | Status::Read | Status::Played, _) => {
                self.enter(State::Sent);
            }
        }
    }

    fn tick(&mut self, asked: bool, now: Millis, policy: &Policy) {
        if asked {
            self.asked += 1;
        }
        match self.state {
            State::Waiting { .. } if now >= self.expires => {
                self.enter(State::Dead(Reason::Expired));
            }
            State::Accepted { .. } if self.asked as usize >= ACCEPTED_ASKS.len() => {
                self.enter(State::Sent);
            }
            State::Fenced { since } if now >= since + policy.unknown_deadline => {
                // The vendor risks a second send, not a third.
                if policy.on_unknown == OnUnknown::Retry && !self.is_risked {
                    self.is_risked = true;
                    self.stays(policy);
                    self.again_at(now, now);
                } else {
                    self.enter(State::Unknown);
                }
            }
            _ => {}
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(it: &bool) -> bool {
    !*it
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(it: &u32) -> bool {
    *it == 0
}
