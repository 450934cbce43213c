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
    /// The customer has not written for too long: only a template may be sent.
    WindowClosed,
    /// The provider has restricted or locked the account.
    Restricted,
    /// The customer does not want it, or must not get more of it now.
    OptedOut,
    /// The customer cannot get it: not on `WhatsApp`, for one.
    Undeliverable,
    /// The provider holds it back because of how the number is used.
    Quality,
    /// The provider refused the template.
    Template,
    /// The provider cannot carry such content.
    Unsupported,
    /// The number is not registered at the provider, or is locked.
    NotRegistered,
    /// The instance has no credentials at the provider.
    NoCredentials,
    /// The session is not connected.
    Disconnected,
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
            Self::WindowClosed => "window_closed",
            Self::Restricted => "restricted",
            Self::OptedOut => "opted_out",
            Self::Undeliverable => "undeliverable",
            Self::Quality => "quality",
            Self::Template => "template",
            Self::Unsupported => "unsupported",
            Self::NotRegistered => "not_registered",
            Self::NoCredentials => "no_credentials",
            Self::Disconnected => "disconnected",
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Busy, or throttled: again, not before this time where the provider named one. The next
    /// provider after [`PATIENCE_TRIES`](super::PATIENCE_TRIES) or [`PATIENCE`](super::PATIENCE).
    Retry {
        /// When.
        not_before: Option<Millis>,
    },
    /// This customer was sent to too fast, or the like: again, not before this time, and through no
    /// other.
    Wait {
        /// When.
        not_before: Millis,
    },
    /// The provider is down for now: the next one at once; without one, again.
    Down(Reason),
    /// The provider cannot carry it until a person does something: the next one at once; without
    /// one it is parked.
    FailOver(Reason),
    /// A person must do something first, and no other provider may be tried.
    Park(Reason),
    /// No attempt will ever do better.
    GiveUp(Reason),
}

/// Why a message that was accepted failed later, and what may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Late {
    /// Why.
    pub reason: Reason,
    /// Another provider may carry it.
    pub may_fail_over: bool,
    /// It was too much for the provider at that time: it may carry it, not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Millis>,
}

impl Default for Late {
    /// Of a provider that does not say why.
    fn default() -> Self {
        Self { reason: Reason::Failed, may_fail_over: true, again: None }
    }
}

impl From<Refusal> for Late {
    fn from(refusal: Refusal) -> Self {
        let (reason, may_fail_over, again) = match refusal {
            Refusal::Retry { not_before } => {
                (Reason::Failed, true, Some(not_before.unwrap_or_default()))
            }
            Refusal::Wait { not_before } => (Reason::Failed, false, Some(not_before)),
            Refusal::Down(reason) | Refusal::FailOver(reason) => (reason, true, None),
            Refusal::Park(reason) | Refusal::GiveUp(reason) => (reason, false, None),
        };
        Self { reason, may_fail_over, again }
    }
}
