//! Who is answered, and when not (`docs/ARCHITECTURE.md`, section of that name).

use super::{
    clock::{MINUTE, Millis},
    event::{Chat, Event, What},
    vendor::{Vendor, VendorStatus},
};

/// A message dated later than this from now is not believed.
const AHEAD_MAX: Millis = 10 * MINUTE;
/// More automatic answers than this in [`LOOP_WINDOW`] are two bots talking.
pub const ANSWERS_PER_WINDOW_MAX: usize = 20;
/// The window of [`ANSWERS_PER_WINDOW_MAX`].
pub const LOOP_WINDOW: Millis = MINUTE;
/// This many equal answers in a row are two bots talking.
pub const EQUAL_ANSWERS_MAX: usize = 3;
/// The window of [`EQUAL_ANSWERS_MAX`].
pub const EQUAL_WINDOW: Millis = 60 * MINUTE;

/// Why a message is recorded but not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// A group, a broadcast or a channel.
    NotPrivate,
    /// The vendor is not active.
    VendorInactive,
    /// The vendor has automatic replies off.
    AutoReplyOff,
    /// Too old, or dated ahead.
    Stale,
    /// A human has answered, or somebody paused the conversation.
    Paused,
    /// Two bots were talking.
    Loop,
    /// No responder, or none had an answer.
    Silence,
    /// Every responder failed.
    ResponderFailed,
    /// The instance it came to is gone.
    Gone,
}

impl Unanswered {
    /// The word it is stored and shown as.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotPrivate => "not_private",
            Self::VendorInactive => "vendor_inactive",
            Self::AutoReplyOff => "auto_reply_off",
            Self::Stale => "stale",
            Self::Paused => "paused",
            Self::Loop => "loop",
            Self::Silence => "silence",
            Self::ResponderFailed => "responder_failed",
            Self::Gone => "gone",
        }
    }
}

/// Whether this message is to be answered, as far as the vendor and the message can tell.
/// `max_age` is the gateway's limit for vendors without one of their own.
///
/// # Errors
///
/// Why not.
pub fn may_answer(
    vendor: &Vendor,
    event: &Event,
    now: Millis,
    max_age: Millis,
) -> Result<(), Unanswered> {
    if event.chat != Chat::Private || !matches!(event.what, What::Message(_)) {
        return Err(Unanswered::NotPrivate);
    }
    if vendor.status != VendorStatus::Active {
        return Err(Unanswered::VendorInactive);
    }
    if !vendor.auto_reply {
        return Err(Unanswered::AutoReplyOff);
    }
    let max_age = vendor.max_answer_age.unwrap_or(max_age);
    match event.at {
        Some(at) if now - at > max_age || at - now > AHEAD_MAX => Err(Unanswered::Stale),
        _ => Ok(()),
    }
}

/// What the loop guard says of one more automatic answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopGuard {
    /// Send it.
    Fine,
    /// Send it and pause the conversation: it is the third of its kind.
    Last,
    /// Do not send it, and pause the conversation.
    Stop,
}

/// Asks whether two bots are talking. `recent` are the latest automatic answers of the
/// conversation, newest first: when, and a key that equal texts share. `next` is the key of the
/// answer at hand; one without a text is equal to none.
///
/// Equal answers count within [`EQUAL_WINDOW`]: who asks for the opening hours every week is no bot.
#[must_use]
pub fn loop_guard(recent: &[(Millis, i64)], next: Option<i64>, now: Millis) -> LoopGuard {
    let in_window = recent.iter().filter(|it| now - it.0 < LOOP_WINDOW).count();
    let is_equal = |it: &&(Millis, i64)| Some(it.1) == next && now - it.0 < EQUAL_WINDOW;
    let equal = recent.iter().take_while(is_equal).count();
    // The answer at hand is one more of each.
    if in_window + 1 > ANSWERS_PER_WINDOW_MAX || equal + 1 > EQUAL_ANSWERS_MAX {
        LoopGuard::Stop
    } else if equal + 1 == EQUAL_ANSWERS_MAX {
        LoopGuard::Last
    } else {
        LoopGuard::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_equal_answer_is_the_last_and_the_21st_of_a_minute_is_not_sent() {
        let now = 100 * MINUTE;
        assert_eq!(loop_guard(&[(now, 7)], Some(7), now), LoopGuard::Fine);
        assert_eq!(loop_guard(&[(now, 7), (now, 7)], Some(7), now), LoopGuard::Last);
        assert_eq!(loop_guard(&[(now, 7), (now, 8), (now, 7)], Some(7), now), LoopGuard::Fine);
        assert_eq!(loop_guard(&[(now, 7), (now - EQUAL_WINDOW, 7)], Some(7), now), LoopGuard::Fine);
        assert_eq!(loop_guard(&[(now, 7), (now, 7), (now, 7)], Some(7), now), LoopGuard::Stop);
        assert_eq!(loop_guard(&[(now, 7), (now, 7), (now, 7)], None, now), LoopGuard::Fine);
        let many: Vec<_> = (0..20).map(|it| (now, it)).collect();
        assert_eq!(loop_guard(&many, Some(99), now), LoopGuard::Stop);
        assert_eq!(loop_guard(&many, Some(99), now + LOOP_WINDOW), LoopGuard::Fine);
    }
}
