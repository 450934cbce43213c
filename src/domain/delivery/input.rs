//! What happens to an intent, and what an event tells of one that was sent.

use super::{Late, Outcome, Reason};
use crate::domain::{
    clock::Millis,
    event::{Event, Failure, Status, What},
    route::{ProviderKind, ProviderSet},
};

/// What happened to an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A request is about to leave. Must be durable before its first byte does.
    Begin {
        /// Providers that are known to be down; they are passed over.
        down: ProviderSet,
        /// When one of them is tried again, should all be.
        up_at: Millis,
    },
    /// The attempt ended.
    Outcome(Outcome),
    /// The attempt was given back before any byte left, until this time.
    Unbegin {
        /// When to try again.
        due: Millis,
    },
    /// A status, an echo or the provider's log says how far it has got.
    Heard(Status),
    /// A provider says that it failed, and why.
    HeardFailed {
        /// Which; the primary one where nobody says.
        by: Option<ProviderKind>,
        /// Why, and what may be done.
        late: Late,
    },
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

impl Input {
    /// A request is about to leave, and nothing is known to be down.
    pub const BEGIN: Self = Self::Begin { down: ProviderSet::NONE, up_at: 0 };

    /// What a status tells; of no other event anything.
    #[must_use]
    pub fn told_by(event: &Event) -> Option<Self> {
        match &event.what {
            What::Status { status: Status::Failed, failure, .. } => Some(Self::HeardFailed {
                by: Some(event.via.unwrap_or(ProviderKind::Wasender)),
                late: failure.as_ref().map(Failure::late).unwrap_or_default(),
            }),
            What::Status { status, .. } => Some(Self::Heard(*status)),
            _ => None,
        }
    }

    /// The status that was heard.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Heard(status) => Some(*status),
            Self::HeardFailed { .. } => Some(Status::Failed),
            _ => None,
        }
    }
}
