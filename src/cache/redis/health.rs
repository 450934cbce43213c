//! Whether Redis is asked. The first failure ends that, for everybody, until it has been looked at.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    time::Duration,
};

use metrics::gauge;

use crate::telemetry::names;

/// How often it is looked at when nothing is wrong, and when something is.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
const LOOKED_FOR_EVERY: Duration = Duration::from_millis(300);

/// What is wrong with Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It does not answer, or not in time.
    Away,
    /// It answers, and takes no values: it is full, or a replica.
    RefusesWrites,
}

/// 0, where it begins: nothing is known yet.
const UP: u8 = 1;
/// Something has failed; whoever looks next says whether it is away.
const IN_DOUBT: u8 = 2;
const AWAY: u8 = 3;

#[derive(Default)]
pub(super) struct Health {
    state: AtomicU8,
    refuses_writes: AtomicBool,
}

impl Health {
    pub(super) fn is_up(&self) -> bool {
        self.state.load(Ordering::SeqCst) == UP
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.state.load(Ordering::SeqCst) == IN_DOUBT
    }

    pub(super) fn takes_writes(&self) -> bool {
        self.is_up() && !self.refuses_writes()
    }

    pub(super) fn refuses_writes(&self) -> bool {
        self.refuses_writes.load(Ordering::SeqCst)
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        match self.state.load(Ordering::SeqCst) {
            AWAY => Some(Trouble::Away),
            _ => self.refuses_writes().then_some(Trouble::RefusesWrites),
        }
    }

    pub(super) fn looked_at_every(&self) -> Duration {
        if self.takes_writes() { LOOKED_AT_EVERY } else { LOOKED_FOR_EVERY }
    }

    pub(super) fn is_in_doubt(&self) {
        let _ = self.state.compare_exchange(UP, IN_DOUBT, Ordering::SeqCst, Ordering::SeqCst);
    }

    pub(super) fn is_back(&self) {
        if self.state.swap(UP, Ordering::SeqCst) == AWAY {
            tracing::info!("Redis answers again and is used");
        }
        self.show();
    }

    pub(super) fn is_gone(&self, why: &'static str) {
        if self.state.swap(AWAY, Ordering::SeqCst) != AWAY {
            tracing::warn!(
                why,
                "Redis is away: vendors are read from the store, and other gateways notice changes later"
            );
        }
        self.show();
    }

    pub(super) fn refused_a_write(&self, why: &'static str) {
        if !self.refuses_writes.swap(true, Ordering::SeqCst) {
            tracing::warn!(why, "Redis refuses writes: what is not in it is read from the store");
        }
        self.show();
    }

    pub(super) fn takes_writes_again(&self) {
        if self.refuses_writes.swap(false, Ordering::SeqCst) {
            tracing::info!("Redis takes writes again");
        }
        self.show();
    }

    fn show(&self) {
        let is_in_trouble = self.trouble().is_some();
        gauge!(names::DEGRADED, "part" => "redis").set(f64::from(u8::from(is_in_trouble)));
    }
}
