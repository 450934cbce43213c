//! Spans of time as people say them.

use crate::{
    domain::clock::{HOUR, MINUTE, Millis, SECOND},
    lang::Words,
};

/// A span, in its two largest units at most.
pub(super) fn span(ms: Millis) -> Words {
    let ms = ms.max(0);
    let day = 24 * HOUR;
    if ms < MINUTE {
        return Words::same(format!("{} s", ms / SECOND));
    }
    if ms < HOUR {
        return Words::same(format!("{} min", ms / MINUTE));
    }
    if ms < day {
        let minutes = ms % HOUR / MINUTE;
        let rest = if minutes == 0 { String::new() } else { format!(" {minutes} min") };
        return Words::same(format!("{} h{rest}", ms / HOUR));
    }
    let (days, hours) = (ms / day, ms % day / HOUR);
    let rest = if hours == 0 { String::new() } else { format!(" {hours} h") };
    Words::new(format!("{days} d{rest}"), format!("{days} j{rest}"))
}

/// How long ago it was.
pub(super) fn ago(at: Millis, now: Millis) -> Words {
    span(now - at).with(|en| format!("{en} ago"), |fr| format!("il y a {fr}"))
}

/// A span as it is typed: `30m`, `6h`, `2d`.
pub(super) fn typed_span(text: &str) -> Option<Millis> {
    let span = |unit: char, ms: Millis| {
        let n: i64 = text.strip_suffix(unit)?.parse().ok().filter(|it| *it > 0)?;
        n.checked_mul(ms)
    };
    span('m', MINUTE).or_else(|| span('h', HOUR)).or_else(|| span('d', 24 * HOUR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Language::{En, Fr};

    #[test]
    fn spans_are_short() {
        for (ms, en) in [
            (0, "0 s"),
            (59_999, "59 s"),
            (5 * MINUTE, "5 min"),
            (HOUR, "1 h"),
            (3 * HOUR + 20 * MINUTE, "3 h 20 min"),
            (24 * HOUR, "1 d"),
            (50 * HOUR, "2 d 2 h"),
        ] {
            assert_eq!(span(ms).of(En), en);
        }
        assert_eq!(ago(0, 50 * HOUR).of(Fr), "il y a 2 j 2 h");
        assert_eq!(ago(0, 5 * MINUTE).of(En), "5 min ago");
    }
}
