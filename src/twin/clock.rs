//! The twin's own clock: Wasender does not ask the gateway what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_SECS: i64 = 86_400;

/// Milliseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "the twin stands for the outside world, which has its own clock"
)]
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds since the Unix epoch.
pub(super) fn now_secs() -> i64 {
    now_ms() / 1_000
}

/// The time as Laravel writes it: `2026-08-21T09:30:00.000000Z`.
pub(super) fn iso(secs: i64) -> String {
    let (year, month, day) = civil(secs / DAY_SECS);
    let of_day = secs % DAY_SECS;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000000Z")
}

/// The time as mail has it (RFC 2822): `Fri, 21 Aug 2026 09:30:00 +0000`.
pub(super) fn rfc2822(secs: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let name = |names: &[&'static str], at: i64| {
        usize::try_from(at).ok().and_then(|it| names.get(it).copied()).unwrap_or_default()
    };
    let (year, month, day) = civil(secs / DAY_SECS);
    let of_day = secs % DAY_SECS;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let (weekday, month) = (name(&DAYS, secs / DAY_SECS % 7), name(&MONTHS, month - 1));
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} +0000")
}

/// Year, month and day of a day counted from 1 January 1970. Years begin in March here, so that
/// the leap day is a year's last; an era is the 400 years after which the calendar repeats.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{iso, rfc2822};

    #[test]
    fn a_time_is_written_as_laravel_does() {
        #[track_caller]
        fn check(secs: i64, want: &str) {
            assert_eq!(iso(secs), want);
        }
        check(0, "1970-01-01T00:00:00.000000Z");
        check(951_782_400, "2000-02-29T00:00:00.000000Z");
        check(1_767_225_599, "2025-12-31T23:59:59.000000Z");
        check(1_787_304_600, "2026-08-21T09:30:00.000000Z");
    }

    #[test]
    fn a_time_is_written_as_in_mail() {
        assert_eq!(rfc2822(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc2822(1_787_304_600), "Fri, 21 Aug 2026 09:30:00 +0000");
    }
}
