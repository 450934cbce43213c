//! When somebody must be called: pure rules over what was heard of a vendor.
//!
//! An alert is raised once and ended once: what raises it must go away, not merely be absent for a
//! moment.

use super::clock::{HOUR, MINUTE, Millis};

/// A vendor that is refused is called about when nothing was proven for this long.
pub const REFUSED_FOR: Millis = 5 * MINUTE;
/// The alert ends by itself when nobody has been refused for this long: it was a stranger.
pub const REFUSALS_FORGOTTEN_AFTER: Millis = 24 * HOUR;
/// Documents of messages are late when one was due so long ago.
pub const RECORDS_LATE_AFTER: Millis = 15 * MINUTE;
/// Whole hours without a message before silence is looked at.
pub const SILENT_HOURS_MIN: i64 = 2;
/// Messages that the habit must let expect in that time.
pub const EXPECTED_MIN: f64 = 10.0;
/// Days that make a habit.
pub const HABIT_DAYS: i64 = 7;
/// Hours of the longest silence that is compared with the habit.
const SPAN_HOURS_MAX: i64 = 24;

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlertKind {
    /// The vendor's webhooks are refused, and none is proven.
    Refused,
    /// A number that usually gets messages at this hour gets none.
    Silent,
    /// A number is not connected at its provider, or may not send.
    Disconnected,
    /// Events could not be forwarded to the vendor's back end, and were given up.
    ForwardsDead,
    /// What is stored of the vendor cannot be opened or read: its webhooks are answered 503.
    Unreadable,
    /// The disk is nearly full: webhooks are answered 503.
    DiskFull,
    /// Documents of messages are not written to Firestore.
    RecordsLate,
}

impl AlertKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Refused,
        Self::Silent,
        Self::Disconnected,
        Self::ForwardsDead,
        Self::Unreadable,
        Self::DiskFull,
        Self::RecordsLate,
    ];

    /// The word it is stored, counted and shown as.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Disconnected => "disconnected",
            Self::ForwardsDead => "forwards_dead",
            Self::Unreadable => "unreadable",
            Self::DiskFull => "disk_full",
            Self::RecordsLate => "records_late",
        }
    }

    /// The kind of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// What was heard of a vendor's callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// When a webhook was last proven.
    pub verified_at: Option<Millis>,
    /// When one was last refused.
    pub refused_at: Option<Millis>,
    /// When the first was refused since one was proven; `None` when none was.
    pub refused_since: Option<Millis>,
    /// How many were refused, ever.
    pub n_refused: i64,
}

impl Vitals {
    /// A webhook was proven.
    pub fn verified(&mut self, now: Millis) {
        self.verified_at = Some(now);
        self.refused_since = None;
    }

    /// A webhook was refused.
    pub fn refused(&mut self, now: Millis) {
        self.refused_at = Some(now);
        self.refused_since.get_or_insert(now);
        self.n_refused += 1;
    }

    /// Whether somebody must be called because this vendor is refused.
    #[must_use]
    pub fn is_refused_for_long(&self, now: Millis) -> bool {
        let is_long = self.refused_since.is_some_and(|it| now - it >= REFUSED_FOR);
        is_long && self.refused_at.is_some_and(|it| now - it < REFUSALS_FORGOTTEN_AFTER)
    }
}

/// Messages that came to a vendor, by hours since the Unix epoch.
pub type Hours = [(i64, i64)];

/// The hour of a time, counted from the Unix epoch.
#[must_use]
pub fn hour_of(at: Millis) -> i64 {
    at.div_euclid(HOUR)
}

/// What silence says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Silence {
    /// Messages come.
    Broken,
    /// None comes, and it is not known that any should.
    Usual,
    /// None has come since this time, and `expected` would have by habit.
    Unusual {
        /// When the silence began, to the hour.
        since: Millis,
        /// Messages that came in the same hours of a day, in the mean of the last week.
        expected: f64,
    },
}

/// Compares the latest silence with the vendor's own habit. `hours` are its counts of the last
/// [`HABIT_DAYS`] days and before; hours without a message may be missing, and an
/// hour may be there more than once.
#[must_use]
pub fn silence(hours: &Hours, now: Millis) -> Silence {
    let present = hour_of(now);
    let last = hours.iter().filter(|it| it.1 > 0 && it.0 <= present).map(|it| it.0).max();
    let Some(last) = last else { return Silence::Usual };
    let begin = (last + 1).max(present - SPAN_HOURS_MAX);
    if present - begin < SILENT_HOURS_MIN {
        return Silence::Broken;
    }
    let in_span = |day: i64| {
        let span = begin - 24 * day..present - 24 * day;
        hours.iter().filter(|it| span.contains(&it.0)).map(|it| it.1).sum::<i64>()
    };
    let total: i64 = (1..=HABIT_DAYS).map(in_span).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts of a week are small")]
    let expected = total as f64 / HABIT_DAYS as f64;
    if expected < EXPECTED_MIN {
        return Silence::Usual;
    }
    Silence::Unusual { since: begin * HOUR, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24;
    const MONDAY: i64 = 20_000 * DAY;

    /// A week in which `n` messages came in each hour from 8 to 20, and then today until `until`.
    fn week(n: i64, until: i64) -> Vec<(i64, i64)> {
        let days = (1..=7).flat_map(|day| (8..20).map(move |it| MONDAY - day * DAY + it));
        let today = (8..until.min(20)).map(|it| MONDAY + it);
        days.chain(today).map(|it| (it, n)).collect()
    }

    fn at(hour: i64, minutes: i64) -> Millis {
        (MONDAY + hour) * HOUR + minutes * MINUTE
    }

    #[test]
    fn silence_is_unusual_against_a_vendors_own_habit() {
        let hours = week(6, 12);
        assert_eq!(silence(&hours, at(11, 59)), Silence::Broken);
        assert_eq!(silence(&hours, at(13, 59)), Silence::Broken, "less than two hours");
        let Silence::Unusual { since, expected } = silence(&hours, at(14, 0)) else { panic!() };
        assert_eq!(since, at(12, 0));
        assert!((expected - 12.0).abs() < 1e-9, "{expected}");
    }

    #[test]
    fn nights_and_small_vendors_are_never_unusual() {
        let hours = week(6, 20);
        for hour in 22..32 {
            assert_eq!(silence(&hours, at(hour, 30)), Silence::Usual, "{hour}");
        }
        let hours = week(1, 10);
        assert_eq!(silence(&hours, at(14, 0)), Silence::Usual);
        assert_eq!(silence(&[], at(14, 0)), Silence::Usual);
    }

    #[test]
    fn one_message_breaks_it() {
        let mut hours = week(6, 10);
        assert!(matches!(silence(&hours, at(14, 0)), Silence::Unusual { .. }));
        hours.push((MONDAY + 14, 1));
        assert_eq!(silence(&hours, at(14, 1)), Silence::Broken);
    }

    #[test]
    fn who_is_proven_again_is_not_refused_any_more() {
        let mut vitals = Vitals::default();
        vitals.verified(0);
        vitals.refused(MINUTE);
        assert!(!vitals.is_refused_for_long(MINUTE + REFUSED_FOR - 1));
        assert!(vitals.is_refused_for_long(MINUTE + REFUSED_FOR));
        vitals.refused(3 * MINUTE);
        assert!(vitals.is_refused_for_long(MINUTE + REFUSED_FOR), "the first one counts");
        vitals.verified(7 * MINUTE);
        assert!(!vitals.is_refused_for_long(60 * MINUTE));
        assert_eq!(vitals.n_refused, 2);
        vitals.refused(8 * MINUTE);
        assert!(!vitals.is_refused_for_long(8 * MINUTE + REFUSALS_FORGOTTEN_AFTER));
    }

    #[test]
    fn kinds_have_words() {
        for kind in AlertKind::ALL {
            assert_eq!(AlertKind::parse(kind.as_str()), Some(kind));
        }
    }
}
