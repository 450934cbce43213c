//! Time comes from here and nowhere else, so that a test can hold it still.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

/// Milliseconds since the Unix epoch.
pub type Millis = i64;

/// One second, in [`Millis`].
pub const SECOND: Millis = 1_000;
/// One minute, in [`Millis`].
pub const MINUTE: Millis = 60 * SECOND;
/// One hour, in [`Millis`].
pub const HOUR: Millis = 60 * MINUTE;

/// Tells the time.
#[derive(Clone)]
pub enum Clock {
    /// The machine's.
    System,
    /// Stands still until [`Clock::advance`].
    Fixed(Arc<watch::Sender<Millis>>),
}

impl Clock {
    /// A clock that stands still at this time.
    #[must_use]
    pub fn fixed(at: Millis) -> Self {
        Self::Fixed(Arc::new(watch::Sender::new(at)))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> Millis {
        match self {
            Self::System => system_now(),
            Self::Fixed(at) => *at.borrow(),
        }
    }

    /// Moves a fixed clock forward and wakes whoever waits for the time. The system's clock is
    /// not ours to move.
    pub fn advance(&self, ms: Millis) {
        if let Self::Fixed(at) = self {
            at.send_modify(|it| *it += ms);
        }
    }

    /// Returns when it is `at` or later.
    pub async fn sleep_until(&self, at: Millis) {
        match self {
            Self::System => {
                let ms = u64::try_from(at - system_now()).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            Self::Fixed(now) => {
                let mut now = now.subscribe();
                // The sender lives in `self`, so this ends only when the time has come.
                let _ = now.wait_for(|it| *it >= at).await;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else must ask")]
fn system_now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// The time as callers read it: ISO 8601 in UTC, to the millisecond.
#[must_use]
pub fn iso(at: Millis) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| String::new(), |it| format!("{it:.3}"))
}

/// The time that a caller wrote, in RFC 3339 with an offset.
#[must_use]
pub fn from_iso(text: &str) -> Option<Millis> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}
