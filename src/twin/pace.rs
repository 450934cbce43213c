//! The rate limit of sends, per session (`docs/wire/wasender.md` §1.3).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Sends in a minute on a paid plan.
const PER_MINUTE: usize = 256;

const MINUTE: Duration = Duration::from_mins(1);

/// Time between two sends under account protection.
const PROTECTED: Duration = Duration::from_secs(5);

/// When the latest sends were taken, up to [`PER_MINUTE`] of them.
#[derive(Default)]
pub(super) struct Pace(VecDeque<Instant>);

/// Where a session stands, for the `X-RateLimit` headers.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) limit: usize,
    pub(super) remaining: usize,
    /// Seconds until there is more room.
    pub(super) reset: u64,
}

impl Pace {
    /// How much room there is at this time.
    pub(super) fn room(&mut self, protected: bool, now: Instant) -> Room {
        let (limit, window) = if protected { (1, PROTECTED) } else { (PER_MINUTE, MINUTE) };
        while self.0.front().is_some_and(|it| now.duration_since(*it) >= MINUTE) {
            self.0.pop_front();
        }
        let inside = self.0.iter().rev().take_while(|it| now.duration_since(**it) < window);
        let n_inside = inside.count().min(limit);
        // The room grows when the oldest of those that count leaves the window.
        let oldest = n_inside.checked_sub(1).map(|back| self.0[self.0.len() - 1 - back]);
        let left =
            oldest.map_or(Duration::ZERO, |it| window.saturating_sub(now.duration_since(it)));
        let reset = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Room { limit, remaining: limit - n_inside, reset }
    }

    /// Counts a send.
    pub(super) fn take(&mut self, now: Instant) {
        if self.0.len() == PER_MINUTE {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_room_for_256_sends() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for n in 0..PER_MINUTE {
            assert_eq!(pace.room(false, start).remaining, PER_MINUTE - n);
            pace.take(start);
        }
        let room = pace.room(false, start + Duration::from_secs(20));
        assert_eq!((room.limit, room.remaining, room.reset), (256, 0, 40));
        assert_eq!(pace.room(false, start + MINUTE).remaining, PER_MINUTE);
    }

    #[test]
    fn under_protection_there_is_room_every_5_seconds() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.take(start);
        let room = pace.room(true, start + Duration::from_millis(1_500));
        assert_eq!((room.limit, room.remaining, room.reset), (1, 0, 4));
        assert_eq!(pace.room(true, start + PROTECTED).remaining, 1);
    }
}
