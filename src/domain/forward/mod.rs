//! Events on their way to vendors' back ends: what they are called, when one is tried again, and
//! how a back end that is away is told from an event that it cannot stand. No I/O.

mod turns;

pub use self::turns::Turns;
use super::{
    clock::{HOUR, MINUTE, Millis, SECOND},
    id::ForwardId,
};

/// An event that nobody has taken for this long is given up.
pub const LASTS: Millis = 24 * HOUR;
/// Events of one vendor that may wait; the oldest of more are given up.
pub const WAITING_PER_VENDOR_MAX: i64 = 100_000;
/// Events of one vendor that were given up and are kept; the oldest of more are forgotten.
pub const DEAD_PER_VENDOR_MAX: i64 = 100_000;
/// One that was given up can be replayed for this long.
pub const DEAD_LASTS: Millis = 30 * 24 * HOUR;

/// Waits after the first failure, the second and so on; the last is repeated.
const WAITS: [Millis; 6] = [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR];
/// Waits of an endpoint that answers, but refuses all it is given.
const REFUSED_WAITS: [Millis; 2] = [5 * SECOND, 30 * SECOND];
/// Failures of an endpoint until the event may be at fault: from then on every other try is with
/// the event after it.
const PATIENCE: u32 = 3;
/// Refusals without a success between them until the endpoint is given a rest.
const REFUSALS_MAX: u32 = 3;

/// What a forwarded event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A customer wrote.
    Received,
    /// A human wrote on the vendor's phone.
    Sent,
    /// A message was changed.
    Edited,
    /// A message was taken back.
    Deleted,
    /// Somebody reacted to a message.
    Reaction,
    /// How the votes on a poll stand.
    Votes,
    /// How far a message has got.
    Status,
    /// The bot asks for a human.
    Escalated,
    /// The state of the vendor's session changed.
    Connection,
}

impl Topic {
    const ALL: [Self; 9] = [
        Self::Received,
        Self::Sent,
        Self::Edited,
        Self::Deleted,
        Self::Reaction,
        Self::Votes,
        Self::Status,
        Self::Escalated,
        Self::Connection,
    ];

    /// The `type` of the event.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "message.received",
            Self::Sent => "message.sent",
            Self::Edited => "message.edited",
            Self::Deleted => "message.deleted",
            Self::Reaction => "message.reaction",
            Self::Votes => "message.votes",
            Self::Status => "message.status",
            Self::Escalated => "conversation.escalated",
            Self::Connection => "connection.changed",
        }
    }

    /// The topic of this type.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// What one try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The back end has it.
    Taken,
    /// The back end wants no more events (410).
    Gone,
    /// The back end does not want this event (any other 4xx).
    Refused,
    /// Away, broken or busy; perhaps over this event alone.
    Failed {
        /// It wants to be left alone for this long.
        retry_after: Option<Millis>,
    },
}

/// What is done with the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is done.
    Done,
    /// It is given up.
    Dead,
    /// It keeps its place; the vendor's events wait.
    Stay,
    /// It is tried again at that time, and others go on.
    Aside {
        /// When.
        due: Millis,
    },
}

/// One try: what of the event matters.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// Tries before this one.
    pub tries: u32,
    /// It was set aside before.
    pub is_aside: bool,
    /// It is not the oldest.
    pub is_other: bool,
}

impl Try {
    /// Of the oldest event, which has this id, due time and number of tries before.
    #[must_use]
    pub fn of(id: ForwardId, due: Millis, tries: u32) -> Self {
        Self { tries, is_aside: tries > 0 && due > id.ms(), is_other: false }
    }
}

/// A vendor's back end, as far as its answers tell. Forgotten at a restart: it is tried at once
/// then.
#[derive(Clone, Copy, Debug, Default)]
pub struct Endpoint {
    /// Failures in a row.
    n_failed: u32,
    /// Refusals in a row.
    n_refused: u32,
    /// Another event was taken while the oldest failed again and again: that one is tried once
    /// more, and set aside if it fails.
    is_oldest_suspect: bool,
    until: Millis,
}

impl Endpoint {
    /// Nothing is sent before.
    #[must_use]
    pub fn until(&self) -> Millis {
        self.until
    }

    /// There is nothing to remember.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.n_failed == 0 && self.n_refused == 0
    }

    /// Which of the waiting events is tried next, counted from the oldest. When the oldest has
    /// failed for long, others are tried in between: one that is taken shows whose fault it was.
    #[must_use]
    pub fn skips(&self) -> usize {
        usize::from(self.n_refused == 0 && self.n_failed >= PATIENCE && self.n_failed % 2 == 1)
    }

    /// Takes note of what a try came to.
    pub fn tried(&mut self, outcome: Outcome, it: Try, now: Millis) -> Then {
        let aside = |retry_after: Option<Millis>| Then::Aside {
            due: now + retry_after.unwrap_or_default().max(wait(&WAITS, it.tries + 1)),
        };
        match outcome {
            Outcome::Taken => {
                *self = Self { is_oldest_suspect: it.is_other, ..Self::default() };
                Then::Done
            }
            Outcome::Gone => {
                self.refused(now);
                Then::Dead
            }
            Outcome::Refused => {
                self.refused(now);
                aside(None)
            }
            // What failed before while others were taken is at fault itself, most likely.
            Outcome::Failed { retry_after } if self.n_failed == 0 && self.suspects(it) => {
                self.is_oldest_suspect = false;
                self.refused(now);
                let retry_after = retry_after.map(bounded);
                if let Some(wait) = retry_after {
                    self.until = self.until.max(now + wait);
                }
                aside(retry_after)
            }
            Outcome::Failed { retry_after } => {
                self.n_failed += 1;
                self.n_refused = 0;
                let wait = retry_after.map_or_else(|| wait(&WAITS, self.n_failed), bounded);
                self.until = now + wait;
                Then::Stay
            }
        }
    }

    fn suspects(&self, it: Try) -> bool {
        it.is_aside || (self.is_oldest_suspect && it.tries > 0)
    }

    fn refused(&mut self, now: Millis) {
        self.n_refused += 1;
        if self.n_refused >= REFUSALS_MAX {
            let n = self.n_refused - REFUSALS_MAX + 1;
            self.until = now + wait(&REFUSED_WAITS, n);
        }
    }
}

/// The wait after the `n`th failure, counted from 1.
fn wait(waits: &[Millis], n: u32) -> Millis {
    let at = usize::try_from(n).unwrap_or(usize::MAX).saturating_sub(1);
    waits[at.min(waits.len() - 1)]
}

fn bounded(retry_after: Millis) -> Millis {
    retry_after.clamp(WAITS[0], HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Outcome = Outcome::Failed { retry_after: None };
    const FRESH: Try = Try { tries: 0, is_aside: false, is_other: false };

    #[test]
    fn topics_are_read_as_they_are_written() {
        for topic in Topic::ALL {
            assert_eq!(Topic::parse(topic.as_str()), Some(topic));
        }
    }

    #[test]
    fn an_endpoint_that_is_away_is_left_alone_for_longer_and_longer() {
        let (mut endpoint, mut now, mut waits) = (Endpoint::default(), 0, Vec::new());
        for tries in 0..8 {
            assert_eq!(endpoint.tried(FAILED, Try { tries, ..FRESH }, now), Then::Stay);
            waits.push((endpoint.until() - now) / SECOND);
            now = endpoint.until();
        }
        assert_eq!(waits, [5, 30, 120, 600, 1_800, 3_600, 3_600, 3_600]);
        assert_eq!(endpoint.tried(Outcome::Taken, FRESH, now), Then::Done);
        assert_eq!((endpoint.until(), endpoint.skips()), (0, 0));
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept_within_bounds() {
        for (asked, waited) in [(0, 5), (17, 17), (1_000_000, 3_600)] {
            let mut endpoint = Endpoint::default();
            endpoint.tried(Outcome::Failed { retry_after: Some(asked * SECOND) }, FRESH, 0);
            assert_eq!(endpoint.until(), waited * SECOND);
        }
    }

    #[test]
    fn after_some_failures_every_other_try_is_with_the_next_event() {
        let (mut endpoint, mut skips) = (Endpoint::default(), Vec::new());
        for _ in 0..7 {
            skips.push(endpoint.skips());
            endpoint.tried(FAILED, FRESH, 0);
        }
        assert_eq!(skips, [0, 0, 0, 1, 0, 1, 0]);
    }

    #[test]
    fn the_oldest_is_set_aside_when_another_was_taken_and_it_fails_once_more() {
        let (mut endpoint, mut now) = (Endpoint::default(), 0);
        for tries in 0..PATIENCE {
            endpoint.tried(FAILED, Try { tries, ..FRESH }, now);
            now = endpoint.until();
        }
        assert_eq!((endpoint.skips(), now), (1, 155 * SECOND));
        endpoint.tried(Outcome::Taken, Try { is_other: true, ..FRESH }, now);
        assert_eq!((endpoint.skips(), endpoint.until()), (0, 0));
        let then = endpoint.tried(FAILED, Try { tries: 3, ..FRESH }, now);
        assert_eq!(then, Then::Aside { due: now + 10 * MINUTE });
        assert_eq!(endpoint.until(), 0, "the others go on");
        // A new one that fails is not suspected.
        assert_eq!(endpoint.tried(FAILED, FRESH, now), Then::Stay);
    }

    #[test]
    fn an_event_that_is_refused_is_set_aside_and_holds_up_nobody() {
        let mut endpoint = Endpoint::default();
        let first = endpoint.tried(Outcome::Refused, FRESH, 0);
        assert_eq!((first, endpoint.until()), (Then::Aside { due: 5 * SECOND }, 0));
        let again = Try { tries: 3, is_aside: true, ..FRESH };
        assert_eq!(
            endpoint.tried(FAILED, again, 0),
            Then::Aside { due: 10 * MINUTE },
            "it failed before while others were taken"
        );
        assert_eq!(endpoint.until(), 0);
    }

    #[test]
    fn an_endpoint_that_refuses_everything_is_not_hammered() {
        let (mut endpoint, mut now, mut n_tries) = (Endpoint::default(), 0, 0);
        while now < HOUR {
            endpoint.tried(Outcome::Gone, FRESH, now);
            n_tries += 1;
            now = endpoint.until().max(now);
        }
        assert!(n_tries <= 125, "{n_tries} in an hour");
    }
}
