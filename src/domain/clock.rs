//! Time comes from here and nowhere else, so that a test can hold it still.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
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
    Fixed(Arc<Fixed>),
}

/// A clock that stands still.
pub struct Fixed {
    now: watch::Sender<Millis>,
    /// By how much it is wrong.
    jumped: AtomicI64,
}

impl Clock {
    /// A clock that stands still at this time.
    #[must_use]
    pub fn fixed(at: Millis) -> Self {
        let (now, jumped) = (watch::Sender::new(at), AtomicI64::new(0));
        Self::Fixed(Arc::new(Fixed { now, jumped }))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> Millis {
        match self {
            Self::System => system_now(),
            Self::Fixed(it) => *it.now.borrow(),
        }
    }

    /// Milliseconds that only ever run forward, however the clock is set; from an arbitrary start.
    #[must_use]
    pub fn steady(&self) -> Millis {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match self {
            Self::System => Millis::try_from(START.elapsed().as_millis()).unwrap_or(Millis::MAX),
            Self::Fixed(it) => *it.now.borrow() - it.jumped.load(Ordering::Relaxed),
        }
    }

    /// Sets a fixed clock wrong by this much more, as when somebody sets the system's.
    pub fn jump(&self, ms: Millis) {
        if let Self::Fixed(it) = self {
            it.jumped.fetch_add(ms, Ordering::Relaxed);
            it.now.send_modify(|now| *now += ms);
        }
    }

    /// Moves a fixed clock forward and wakes whoever waits for the time. The system's clock is
    /// not ours to move.
    pub fn advance(&self, ms: Millis) {
        if let Self::Fixed(it) = self {
            it.now.send_modify(|now| *now += ms);
        }
    }

    /// Returns when it is `at` or later.
    pub async fn sleep_until(&self, at: Millis) {
        match self {
            Self::System => {
                let ms = u64::try_from(at - system_now()).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            Self::Fixed(it) => {
                let mut now = it.now.subscribe();
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
