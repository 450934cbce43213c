//! Time comes from here and nowhere else, so that a test can hold it still.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::oneshot;

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

/// A clock that is moved by hand, and who waits for it. They are woken in the order of the times
/// they wait for.
pub struct Fixed(Mutex<Held>);

struct Held {
    now: Millis,
    /// By how much it is wrong.
    jumped: Millis,
    n_sleepers: u64,
    sleepers: BTreeMap<(Millis, u64), oneshot::Sender<()>>,
}

impl Clock {
    /// A clock that stands still at this time.
    #[must_use]
    pub fn fixed(at: Millis) -> Self {
        let held = Held { now: at, jumped: 0, n_sleepers: 0, sleepers: BTreeMap::new() };
        Self::Fixed(Arc::new(Fixed(Mutex::new(held))))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> Millis {
        match self {
            Self::System => system_now(),
            Self::Fixed(it) => it.held().now,
        }
    }

    /// Milliseconds that only ever run forward, however the clock is set; from an arbitrary start.
    #[must_use]
    pub fn steady(&self) -> Millis {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match self {
            Self::System => Millis::try_from(START.elapsed().as_millis()).unwrap_or(Millis::MAX),
            Self::Fixed(it) => {
                let held = it.held();
                held.now - held.jumped
            }
        }
    }

    /// Sets a fixed clock wrong by this much more, as when somebody sets the system's.
    pub fn jump(&self, ms: Millis) {
        if let Self::Fixed(it) = self {
            it.held().jumped += ms;
            it.advance(ms);
        }
    }

    /// Moves a fixed clock forward and wakes whoever waits for the time. The system's clock is
    /// not ours to move.
    pub fn advance(&self, ms: Millis) {
        if let Self::Fixed(it) = self {
            it.advance(ms);
        }
    }

    /// The next time that somebody waits for; of a fixed clock only.
    #[must_use]
    pub fn next_wake(&self) -> Option<Millis> {
        match self {
            Self::System => None,
            Self::Fixed(it) => it.held().sleepers.first_key_value().map(|it| it.0.0),
        }
    }

    /// Returns when it is `at` or later.
    pub async fn sleep_until(&self, at: Millis) {
        match self {
            Self::System => {
                let ms = u64::try_from(at - system_now()).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            Self::Fixed(clock) => {
                if let Some((_sleeper, woken)) = clock.sleeper(at) {
                    // The sender lives in the clock until the time has come.
                    let _ = woken.await;
                }
            }
        }
    }
}

impl Fixed {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, ms: Millis) {
        let mut held = self.held();
        let now = held.now + ms;
        held.now = now;
        let later = held.sleepers.split_off(&(now + 1, 0));
        let woken = std::mem::replace(&mut held.sleepers, later);
        drop(held);
        for (_, sleeper) in woken {
            // It may have gone.
            let _ = sleeper.send(());
        }
    }

    /// Somebody who waits for this time; `None` when it has come.
    fn sleeper(&self, at: Millis) -> Option<(Sleeper<'_>, oneshot::Receiver<()>)> {
        let mut held = self.held();
        if held.now >= at {
            return None;
        }
        held.n_sleepers += 1;
        let key = (at, held.n_sleepers);
        let (sender, woken) = oneshot::channel();
        held.sleepers.insert(key, sender);
        Some((Sleeper { clock: self, key }, woken))
    }
}

/// Somebody who waits, until they do no more.
struct Sleeper<'a> {
    clock: &'a Fixed,
    key: (Millis, u64),
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.clock.held().sleepers.remove(&self.key);
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
