//! What a person decides about an intent: it goes on, goes again, or comes back from a backup.

use super::{Delivery, REOPENS_MAX, Reason, State, THROTTLES_MAX};
use crate::domain::{clock::Millis, route::ProviderSet};

impl Delivery {
    /// Whether the customer may have it although nobody works on it any more: sending it again may
    /// show it twice.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        let may_have_left = matches!(
            self.state,
            State::Accepted { .. } | State::Sent | State::Unknown | State::Parked(Reason::Restored)
        );
        may_have_left || self.is_risked
    }

    /// Whether it is neither at rest nor ended: a person has nothing to decide yet.
    #[must_use]
    pub fn is_in_hand(&self) -> bool {
        matches!(self.state, State::Waiting { .. } | State::Begun | State::Fenced { .. })
    }

    pub(super) fn release(&mut self, is_again: bool, expires: Millis, now: Millis) {
        let is_at_rest = match self.state {
            State::Parked(_) | State::Dead(_) => true,
            State::Accepted { .. } | State::Sent | State::Unknown => is_again,
            State::Waiting { .. } | State::Begun | State::Fenced { .. } => false,
        };
        if is_at_rest {
            // What was heard and refused was of an earlier attempt.
            (self.status, self.late, self.refusals, self.throttled) = (None, None, 0, 0);
            (self.refused, self.passed) = (ProviderSet::NONE, ProviderSet::NONE);
            // What was to leave later still is, and is worth sending for as long after its time.
            self.later = self.later.filter(|it| *it > now);
            let due = self.later.unwrap_or(now);
            self.enter(State::Waiting { due });
            self.expires = expires + (due - now);
        }
    }

    pub(super) fn restore(&mut self) {
        if self.is_in_hand() {
            self.enter(State::Parked(Reason::Restored));
        } else if matches!(self.state, State::Accepted { .. }) {
            // What became of it since the backup nobody here knows. It is not asked about, and a
            // failure that is told now sends it no other way: it may have gone that way already.
            self.enter(State::Sent);
            (self.reopened, self.throttled) = (REOPENS_MAX, THROTTLES_MAX);
        }
    }
}
