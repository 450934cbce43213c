//! What an attempt came to, and why an intent is parked or dead.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Millis;

/// Why an intent is parked or dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Not sent in time.
    Expired,
    /// The instance has no key of its own to send with.
    NoSessionKey,
    /// The customer's phone number is not known.
    NoPhone,
    /// A human took over before it was sent.
    Silenced,
    /// The provider refused the credentials.
    Unauthorized,
    /// The provider refused the message.
    Invalid,
    /// The provider asks for a plan or a payment.
    Plan,
    /// Accepted, and failed later.
    Failed,
    /// The vendor or instance is gone.
    Gone,
    /// Its customer was erased.
    Erased,
    /// Restored from a backup; it may have been sent already.
    Restored,
    /// A part of a longer text, and the part before it was not sent.
    PartBefore,
    /// A person put it aside.
    Held,
}

impl Reason {
    /// The word it is stored and shown as.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NoSessionKey => "no_session_key",
            Self::NoPhone => "no_phone",
            Self::Silenced => "silenced",
            Self::Unauthorized => "unauthorized",
            Self::Invalid => "invalid",
            Self::Plan => "plan",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Erased => "erased",
            Self::Restored => "restored",
            Self::PartBefore => "part_before",
            Self::Held => "held",
        }
    }
}

/// What one attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider accepted it.
    Sent,
    /// It was surely not sent.
    Refused(Refusal),
    /// It may or may not have been sent.
    Unknown,
}

/// Why it was surely not sent, and so what may be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Try again, not before this time where the provider named one.
    Retry {
        /// When.
        not_before: Option<Millis>,
    },
    /// This route cannot; the next one may.
    FailOver(Reason),
    /// A person must do something first.
    Park(Reason),
    /// No attempt will ever do better.
    GiveUp(Reason),
}
