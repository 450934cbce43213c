//! Sends that a provider refused: what all providers' answers have in common.

use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::Attempt;
use crate::domain::{
    clock::{Millis, SECOND},
    delivery::{Outcome, Refusal},
};

/// The word of an attempt that was refused because of the customer's country, which says nothing of
/// other customers.
pub const OF_COUNTRY: &str = "country";

/// A longer wait than this is not believed, in seconds.
const WAIT_MAX: i64 = 3_600;

/// Refused, with a word of its own.
pub(super) fn refused(refusal: Refusal, word: &'static str) -> Attempt {
    Attempt::of(Outcome::Refused(refusal), word)
}

/// Refused, with the word of its class.
pub(super) fn refused_as(refusal: Refusal) -> Attempt {
    let word = match refusal {
        Refusal::Retry { .. } | Refusal::Wait { .. } => "throttled",
        Refusal::Down(it) | Refusal::FailOver(it) | Refusal::Park(it) | Refusal::GiveUp(it) => {
            it.as_str()
        }
    };
    refused(refusal, word)
}

/// Too much was sent: the number has to wait, where the provider says how long.
pub(super) fn throttled(wait: Option<Millis>, now: Millis) -> Attempt {
    let until = wait.map(|it| now + it);
    let refusal = Refusal::Retry { not_before: until };
    Attempt { blocked_until: until, ..refused(refusal, "throttled") }
}

/// How long a provider wants to be left alone. A date is not understood.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Millis> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(wait(seconds))
}

/// A wait that is told in seconds. At least one: a wait of none would be the next refusal.
pub(super) fn wait(seconds: i64) -> Millis {
    seconds.clamp(1, WAIT_MAX) * SECOND
}
