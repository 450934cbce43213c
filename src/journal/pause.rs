//! Pauses of the bot.

use crate::domain::clock::Millis;

/// A pause of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Since when; automatic answers decided before that are not sent.
    pub at: Millis,
    /// Until when.
    pub until: Millis,
    /// Why: `human`, `requires_human`, `loop`, `admin`.
    pub reason: &'static str,
}
