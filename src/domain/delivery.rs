//! The life of an intent: a pure state machine. Given what happened and the time, it says what the
//! intent is now and what is to be done next; it does nothing itself.
//!
//! The promise it keeps: at most one request leaves per attempt, a new attempt begins only after
//! the last one was refused for sure, and an outcome that is unknown is settled from outside or
//! given up, never repeated unless the vendor has chosen that.

mod outcome;
mod person;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::outcome::{Outcome, Reason, Refusal};
use super::{
    clock::{MINUTE, Millis, SECOND},
    event::Status,
    vendor::OnUnknown,
};

/// A fence holds later sends of its conversation for this long at most.
pub const FENCE_HOLD: Millis = 30 * SECOND;
/// When the provider's own log is asked about a fenced send, counted from the fence.
const FENCE_ASKS: [Millis; 4] = [5 * SECOND, 25 * SECOND, 60 * SECOND, 5 * MINUTE];
/// When the provider is asked about an accepted send without any status, counted from acceptance.
const ACCEPTED_ASKS: [Millis; 2] = [30 * SECOND, 5 * MINUTE];
/// The first wait after a refusal; it doubles.
const BACK_OFF_FIRST: Millis = SECOND;
/// The longest wait after a refusal that names none.
const BACK_OFF_MAX: Millis = MINUTE;
/// How often an accepted send may be taken up again on another route after a later failure.
const REOPENS_MAX: u32 = 1;

/// Where an intent stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its state.
    pub state: State,
    /// Requests that have begun.
    pub attempts: u32,
    /// Questions asked of the provider in the present state.
    pub asked: u32,
    /// Which of the instance's routes (primary provider, then failover) is in use.
    pub route: u8,
    /// How often it was re-opened after acceptance.
    pub reopened: u32,
    /// It was sent again although the first outcome stayed unknown.
    #[serde(default)]
    pub is_risked: bool,
    /// After this nothing is sent.
    pub expires: Millis,
    /// The best that was heard of it.
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

/// What happened to an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A request is about to leave. Must be durable before its first byte does.
    Begin,
    /// The attempt ended.
    Outcome(Outcome),
    /// The attempt was given back before any byte left, until this time.
    Unbegin {
        /// When to try again.
        due: Millis,
    },
    /// A status, an echo or the provider's log says how far it has got.
    Heard(Status),
    /// The provider was asked and could not say.
    NoAnswer,
    /// Time has passed.
    Tick,
    /// The process ended without an outcome.
    Crashed,
    /// It must not be sent any more.
    Withdraw(Reason),
    /// It must wait for a person.
    Park(Reason),
    /// A person lets a parked or dead one go on; it joins the tail.
    Release {
        /// Its new end.
        expires: Millis,
    },
    /// The same, also of one that the customer may have: a person wants it sent again.
    Again {
        /// Its new end.
        expires: Millis,
    },
    /// It comes from a backup, and may have been sent since that was made.
    Restore,
}

/// What the vendor and the instance have chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What to do when an outcome stays unknown.
    pub on_unknown: OnUnknown,
    /// After how long.
    pub unknown_deadline: Millis,
    /// Routes of the instance.
    pub routes: u8,
}

/// What is to be done next, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Send it, in its lane's turn.
    Send {
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
            route: 0,
            reopened: 0,
            is_risked: false,
            expires,
            status: None,
        }
    }

    /// The intent after `input`.
    #[must_use]
    pub fn step(mut self, input: Input, now: Millis, policy: &Policy) -> Self {
        match input {
            Input::Begin => self.begin(now),
            Input::Outcome(outcome) => self.ended(outcome, now, policy),
            Input::Unbegin { due } => self.unbegin(due),
            Input::Heard(status) => self.heard(status, now, policy),
            Input::NoAnswer | Input::Tick => self.tick(input == Input::NoAnswer, now, policy),
            Input::Crashed => {
                if self.state == State::Begun {
                    self.unknown(now);
                }
            }
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
            State::Waiting { due } => Todo::Send { at: due },
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

    fn begin(&mut self, now: Millis) {
        if let State::Waiting { due } = self.state {
            if now >= self.expires {
                self.enter(State::Dead(Reason::Expired));
            } else if due <= now {
                self.attempts += 1;
                // What was heard spoke of an earlier attempt on another route.
                self.status = None;
                self.enter(State::Begun);
            }
        }
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
            Outcome::Unknown => self.unknown(now),
            Outcome::Refused(Refusal::Retry { not_before }) => {
                self.again_at(not_before.unwrap_or(now + self.back_off()), now);
            }
            Outcome::Refused(Refusal::FailOver(reason)) => self.fail_over(reason, now, policy),
            Outcome::Refused(Refusal::Park(reason)) => self.enter(State::Parked(reason)),
            Outcome::Refused(Refusal::GiveUp(reason)) => self.enter(State::Dead(reason)),
        }
    }

    fn unknown(&mut self, now: Millis) {
        match self.status.filter(|it| *it != Status::Pending) {
            Some(Status::Failed) => self.enter(State::Dead(Reason::Failed)),
            Some(_) => self.enter(State::Sent),
            None => self.enter(State::Fenced { since: now }),
        }
    }

    fn heard(&mut self, status: Status, now: Millis, policy: &Policy) {
        let best = self.status.map_or(status, |it| it.then(status));
        self.status = Some(best);
        // While a worker has it in hand only that is noted: the outcome settles it.
        if self.state != State::Begun && self.attempts > 0 {
            self.settle_heard(best, now, policy);
        }
    }

    fn settle_heard(&mut self, status: Status, now: Millis, policy: &Policy) {
        match (status, self.state) {
            (Status::Failed, State::Dead(_) | State::Parked(_) | State::Waiting { .. }) => {}
            (Status::Failed, _) if self.reopened < REOPENS_MAX && self.has_next_route(policy) => {
                self.reopened += 1;
                self.fail_over(Reason::Failed, now, policy);
            }
            (Status::Failed, _) => self.enter(State::Dead(Reason::Failed)),
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
                    self.again_at(now, now);
                } else {
                    self.enter(State::Unknown);
                }
            }
            _ => {}
        }
    }

    fn fail_over(&mut self, reason: Reason, now: Millis, policy: &Policy) {
        if self.has_next_route(policy) {
            self.route += 1;
            self.again_at(now, now);
        } else {
            self.enter(State::Dead(reason));
        }
    }

    fn has_next_route(&self, policy: &Policy) -> bool {
        self.route + 1 < policy.routes
    }

    fn again_at(&mut self, due: Millis, now: Millis) {
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
