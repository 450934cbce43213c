//! When what is old may be removed: only while the clock can be believed. A clock that jumps ahead
//! would make everything old at once.

use serde::{Deserialize, Serialize};

use super::clock::{HOUR, MINUTE, Millis};

/// A step of the clock that is larger than this is a jump.
pub const JUMP_MAX: Millis = 5 * MINUTE;
/// A process that was away for longer than this may as well have been away for no time at all, on
/// a clock that has jumped.
pub const AWAY_MAX: Millis = 24 * HOUR;
/// After a jump nothing is removed until the clock has run evenly for so long: time for a person to
/// notice.
pub const STEADY_FOR: Millis = 24 * HOUR;
/// Messages counted by the hour are kept for so long: as long as anybody may ask for them.
pub const HOURS_KEPT: Millis = 401 * 24 * HOUR;

/// What is remembered of the clock, also through a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockMark {
    /// What it last showed.
    pub seen: Millis,
    /// How far it last jumped; 0 when that is forgotten.
    pub jump: Millis,
    /// Nothing is removed for so long yet.
    pub held_for: Millis,
}

/// Compares the clock with time that only runs forward.
#[derive(Debug)]
pub struct ClockWatch {
    mark: ClockMark,
    /// When it was last looked at, by the time that only runs forward.
    looked_at: Millis,
}

impl ClockWatch {
    /// At the start of a process. `newest` is when the newest entry was made.
    #[must_use]
    pub fn start(
        known: Option<ClockMark>,
        newest: Option<Millis>,
        now: Millis,
        steady: Millis,
    ) -> Self {
        let known = known.unwrap_or_default();
        let seen = known.seen.max(newest.unwrap_or_default());
        let moved = now - seen;
        let is_jump = seen > 0 && !(-JUMP_MAX..=AWAY_MAX).contains(&moved);
        let mark = if is_jump {
            ClockMark { seen: now, jump: moved, held_for: STEADY_FOR }
        } else {
            ClockMark { seen: now, ..known }
        };
        Self { mark, looked_at: steady }
    }

    /// Looks at the clock. `steady` is time that only runs forward.
    pub fn look(&mut self, now: Millis, steady: Millis) -> ClockMark {
        let lived = (steady - self.looked_at).max(0);
        let jump = now - self.mark.seen - lived;
        if jump.abs() > JUMP_MAX {
            self.mark = ClockMark { seen: now, jump, held_for: STEADY_FOR };
        } else {
            let held_for = (self.mark.held_for - lived).max(0);
            let jump = if held_for > 0 { self.mark.jump } else { 0 };
            self.mark = ClockMark { seen: now, jump, held_for };
        }
        self.looked_at = steady;
        self.mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_760_000_000_000;

    #[test]
    fn an_even_clock_is_believed() {
        let mut watch = ClockWatch::start(None, None, NOW, 7);
        for n in 1..100 {
            // It may be slewed, and looked at late.
            let mark = watch.look(NOW + n * 11 * MINUTE, 7 + n * 10 * MINUTE);
            assert_eq!((mark.held_for, mark.jump), (0, 0));
        }
    }

    #[test]
    fn a_jump_holds_until_a_day_was_lived_evenly() {
        for jump in [6 * MINUTE, -6 * MINUTE, 40 * 24 * HOUR] {
            let mut watch = ClockWatch::start(None, None, NOW, 0);
            let mark = watch.look(NOW + MINUTE + jump, MINUTE);
            assert_eq!((mark.jump, mark.held_for), (jump, STEADY_FOR));
            let almost = watch.look(NOW + jump + STEADY_FOR, STEADY_FOR);
            assert_eq!((almost.jump, almost.held_for), (jump, MINUTE));
            // A restart does not shorten it.
            let mut after = ClockWatch::start(Some(almost), None, almost.seen + HOUR, 0);
            assert_eq!(after.look(almost.seen + HOUR, 0).held_for, MINUTE);
            let over = after.look(almost.seen + HOUR + MINUTE, MINUTE);
            assert_eq!((over.jump, over.held_for), (0, 0));
        }
    }

    #[test]
    fn a_start_is_compared_with_what_was_seen_before() {
        let known = Some(ClockMark { seen: NOW, ..ClockMark::default() });
        let held = |newest, now| ClockWatch::start(known, newest, now, 0).mark.held_for > 0;
        assert!(!held(None, NOW) && !held(None, NOW + HOUR) && !held(None, NOW - MINUTE));
        assert!(held(None, NOW - 6 * MINUTE), "set back");
        assert!(held(Some(NOW + HOUR), NOW), "the newest entry knows better");
        assert!(held(None, NOW + AWAY_MAX + 1), "away, or set ahead");
        assert_eq!(ClockWatch::start(None, None, NOW, 0).mark.held_for, 0, "the first start");
    }
}
