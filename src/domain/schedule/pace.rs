//! How fast an instance may send: a token bucket in whole milliseconds.

use crate::domain::clock::{MINUTE, Millis, SECOND};

/// Of what may leave at once, one in so many is kept for answers while a job sends to many.
const KEPT_FOR_ANSWERS: i64 = 8;

/// Bounds of how many sends of a number are on their way at once.
const AT_ONCE_MIN: usize = 4;
const AT_ONCE_MAX: usize = 256;

/// What a provider allows one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Sends at once after a rest.
    burst: i64,
    /// Time in which one more becomes possible, in thousandths of a millisecond.
    interval_us: i64,
}

impl Limit {
    /// Wasender: 256 a minute (`docs/wire/wasender.md` §1.3), kept as 32 at once and 224 a minute
    /// after that, so that no minute has more than 256.
    pub const WASENDER: Self = Self { burst: 32, interval_us: MINUTE * 1_000 / 224 + 1 };
    /// An instance whose limit nobody has told yet: one passes and learns it.
    pub const UNTOLD: Self = Self { burst: 1, interval_us: Self::WASENDER.interval_us };
    /// Meta: 80 a second from one number, in and out together. Where it is also in the app it takes
    /// 20 and says so (130429), which slows the number down (`docs/wire/meta-unipile-twilio.md` B6).
    pub const META: Self = Self { burst: 20, interval_us: SECOND * 1_000 / 80 };
    /// Meta: one in 6 s to one customer, some of them at once after a rest; how many it lets pass
    /// is told differently (`docs/wire/meta-unipile-twilio.md` B6).
    pub const META_PAIR: Self = Self { burst: 20, interval_us: 6 * SECOND * 1_000 };
    /// Unipile advises 10 to 20 s between messages (`docs/wire/meta-unipile-twilio.md` D); a few
    /// answers at once are what a person would send too.
    pub const UNIPILE: Self = Self { burst: 5, interval_us: 10 * SECOND * 1_000 };
    /// Twilio: 10 a second by default (`docs/wire/meta-unipile-twilio.md` E1).
    pub const TWILIO: Self = Self { burst: 10, interval_us: SECOND * 1_000 / 10 };
    /// Wasender with account protection: one in 5 seconds.
    pub const WASENDER_PROTECTED: Self = Self { burst: 1, interval_us: 5 * SECOND * 1_000 };

    /// So many a minute, evenly.
    #[must_use]
    pub fn per_minute(n: u32) -> Self {
        let n = i64::from(n.max(1));
        Self { burst: (n / 60).max(1), interval_us: MINUTE * 1_000 / n }
    }

    /// How many a minute it allows for long.
    #[must_use]
    pub fn in_a_minute(self) -> i64 {
        MINUTE * 1_000 / self.interval_us
    }

    /// How many sends may be on their way at once: what it allows in a second, so that the pace is
    /// kept through a provider that takes that long to answer.
    #[must_use]
    pub fn at_once(self) -> usize {
        usize::try_from(self.in_a_minute() / 60).unwrap_or_default().clamp(AT_ONCE_MIN, AT_ONCE_MAX)
    }

    /// Of what may leave at once, so many are kept for answers. Of one nothing can be kept: an
    /// answer waits until the next is possible.
    #[must_use]
    pub fn kept_for_answers(self) -> i64 {
        if self.burst > 1 { (self.burst / KEPT_FOR_ANSWERS).max(1) } else { 0 }
    }
}

/// One instance's bucket. It is told to be full at a time instead of counting tokens.
#[derive(Clone, Debug)]
pub struct Pace {
    limit: Limit,
    /// When the bucket would have been empty, in microseconds: tokens = (now - empty) / interval.
    empty_us: i64,
    /// Since when nothing has been sent, while the limit is untold.
    since_us: i64,
    blocked_until: Millis,
}

impl Pace {
    /// A bucket that was empty at `since`, the start of the process: what was sent before it is
    /// not known, and a full bucket could exceed the minute.
    #[must_use]
    pub fn new(limit: Limit, since: Millis) -> Self {
        let since_us = since * 1_000;
        Self { limit, empty_us: since_us, since_us, blocked_until: 0 }
    }

    /// A bucket of somebody who had a rest.
    #[must_use]
    pub fn rested(limit: Limit, now: Millis) -> Self {
        Self::new(limit, now - limit.burst * limit.interval_us / 1_000)
    }

    /// Changes the limit.
    pub fn set_limit(&mut self, limit: Limit) {
        if self.limit == Limit::UNTOLD {
            // What passed has sent nothing yet: it comes again under this limit.
            self.empty_us = self.since_us;
        }
        self.limit = limit;
    }

    /// Takes `n_tokens`, one for most sends.
    ///
    /// # Errors
    ///
    /// When it will be possible.
    pub fn take(&mut self, n_tokens: i64, now: Millis) -> Result<(), Millis> {
        if now < self.blocked_until {
            return Err(self.blocked_until);
        }
        let now_us = now * 1_000;
        // A clock that was set back must not mute the instance for as long.
        self.empty_us = self.empty_us.min(now_us);
        let full_us = now_us - self.limit.burst * self.limit.interval_us;
        let after_us =
            self.empty_us.max(full_us) + n_tokens.min(self.limit.burst) * self.limit.interval_us;
        if after_us > now_us {
            return Err(now + (after_us - now_us + 999) / 1_000);
        }
        self.empty_us = after_us;
        Ok(())
    }

    /// How many could leave now besides `n_spoken_for`. Takes nothing.
    ///
    /// # Errors
    ///
    /// When one could.
    pub fn spare(&self, n_spoken_for: i64, now: Millis) -> Result<i64, Millis> {
        if now < self.blocked_until {
            return Err(self.blocked_until);
        }
        let Limit { burst, interval_us } = self.limit;
        let now_us = now * 1_000;
        let empty_us = self.empty_us.clamp(now_us - burst * interval_us, now_us);
        let n = (now_us - empty_us) / interval_us - n_spoken_for;
        if n > 0 {
            return Ok(n);
        }
        let at_us = empty_us + (n_spoken_for + 1) * interval_us;
        Err(now + (at_us - now_us + 999) / 1_000)
    }

    /// What is allowed.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Lets nothing through before `until`: the provider said so.
    pub fn block_until(&mut self, until: Millis) {
        self.blocked_until = self.blocked_until.max(until);
    }

    /// It need not wait for what the provider said. Whether it was told to.
    pub fn unblock(&mut self) -> bool {
        std::mem::take(&mut self.blocked_until) != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_minute_has_more_than_the_limit(gaps in prop::collection::vec(0..400_i64, 1_500)) {
            let mut pace = Pace::new(Limit::WASENDER, 0);
            let (mut now, mut sent) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                if pace.take(1, now).is_ok() {
                    sent.push(now);
                }
            }
            for (n, start) in sent.iter().enumerate() {
                let in_minute = sent[n..].iter().take_while(|it| **it - start < MINUTE).count();
                prop_assert!(in_minute <= 256, "{in_minute}");
            }
        }
    }

    #[test]
    fn what_is_in_no_hurry_leaves_some_for_answers() {
        for limit in [Limit::WASENDER, Limit::META, Limit::UNIPILE, Limit::TWILIO] {
            let n_answers = limit.kept_for_answers();
            assert!(n_answers >= 1, "{limit:?}");
            let mut pace = Pace::new(limit, 0);
            let (mut now, mut n_sent, mut was_filled) = (0, 0, false);
            while now < MINUTE {
                was_filled |= pace.clone().take(n_answers, now).is_ok();
                match pace.spare(n_answers, now) {
                    Ok(n) => {
                        pace.take(n, now).unwrap();
                        n_sent += n;
                        assert!(pace.clone().take(n_answers, now).is_ok(), "{limit:?}");
                    }
                    Err(at) => {
                        assert!(at > now);
                        now = at;
                    }
                }
                assert!(!was_filled || pace.clone().take(n_answers, now).is_ok(), "{limit:?}");
            }
            assert!(n_sent >= limit.in_a_minute() - n_answers - 1, "{limit:?}: {n_sent}");
        }
    }

    #[test]
    fn what_has_not_left_yet_is_spoken_for() {
        let pace = Pace::new(Limit::WASENDER, 0);
        assert_eq!((pace.spare(4, MINUTE), pace.spare(31, MINUTE)), (Ok(28), Ok(1)));
        assert!(pace.spare(32, MINUTE).is_err_and(|it| it > MINUTE));
        let one = Pace::new(Limit::WASENDER_PROTECTED, 0);
        assert_eq!(one.spare(0, MINUTE), Ok(1));
        assert_eq!(one.spare(1, MINUTE), Err(MINUTE + 5_000));
    }

    #[test]
    fn an_own_pace_begins_slowly() {
        let mut pace = Pace::new(Limit::per_minute(120), 0);
        assert_eq!(pace.take(1, 100), Err(500));
        assert_eq!(pace.take(1, 2_000), Ok(()));
    }

    #[test]
    fn account_protection_is_one_in_five_seconds() {
        let mut pace = Pace::new(Limit::WASENDER_PROTECTED, 0);
        assert_eq!(pace.take(1, 1_000), Err(5_000));
        assert_eq!(pace.take(1, 60_000), Ok(()));
        assert_eq!(pace.take(1, 60_000), Err(65_000));
        pace.block_until(90_000);
        assert_eq!(pace.take(1, 70_000), Err(90_000));
    }
}
