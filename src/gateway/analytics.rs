//! What happened to a vendor's messages in a span of time, by counters.

use std::{collections::BTreeMap, str::FromStr};

use jiff::{Timestamp, civil, tz::TimeZone};

use super::{AdminError, Gateway};
use crate::domain::{
    clock::{HOUR, Millis, SECOND},
    id::VendorId,
};

const DAY: Millis = 24 * HOUR;
/// The span when nobody names one.
const SPAN: Millis = 30 * DAY;
/// The longest span.
const SPAN_MAX: Millis = 400 * DAY;
/// The status of customers' messages.
const RECEIVED: &str = "received";

/// What is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// From when, an ISO 8601 date or time; UTC where it does not say.
    pub from: Option<&'a str>,
    /// Until when; a bare date includes its day.
    pub to: Option<&'a str>,
    /// Messages of this status alone.
    pub status: Option<&'a str>,
}

/// Messages, counted by the hour in which they were made.
#[derive(Debug)]
pub struct Counted {
    /// From when, a whole hour.
    pub from: Millis,
    /// Until when, a whole hour that is not included.
    pub to: Millis,
    /// From customers.
    pub inbound: i64,
    /// From the vendor's number.
    pub outbound: i64,
    /// Both by where they stand now.
    pub by_status: BTreeMap<String, i64>,
    /// From a customer's message to its first answer accepted by the provider, in seconds, on
    /// average; `None` when none was.
    pub response_seconds: Option<f64>,
}

impl Gateway {
    /// Counts a vendor's messages.
    pub async fn analytics(
        &self,
        vendor: &VendorId,
        asked: Asked<'_>,
    ) -> Result<Counted, AdminError> {
        self.vendor(vendor).await?;
        let (from, to) = period(asked, self.inner.clock.now()).map_err(AdminError::Invalid)?;
        let is_status = |it: &str| it == RECEIVED || self.inner.journal.is_status(it);
        if asked.status.is_some_and(|it| !is_status(it)) {
            let why = "status is none of received, queued, sending, accepted, sent, delivered, read, played, failed, unknown_yet, unknown, parked, dead, waiting, pending";
            return Err(AdminError::Invalid(why.to_owned()));
        }
        let tally = self.inner.journal.hours(vendor, from / HOUR..to / HOUR).await?;
        #[expect(clippy::cast_precision_loss, reason = "a mean to the millisecond")]
        let response_seconds =
            (tally.answered > 0).then(|| (tally.answer_ms / tally.answered) as f64 / SECOND as f64);
        let mut by_status = tally.by_status;
        if tally.inbound > 0 {
            by_status.insert(RECEIVED.to_owned(), tally.inbound);
        }
        let (mut inbound, mut outbound) = (tally.inbound, tally.outbound);
        if let Some(status) = asked.status {
            by_status.retain(|word, _| word == status);
            let n = by_status.get(status).copied().unwrap_or_default();
            (inbound, outbound) = if status == RECEIVED { (n, 0) } else { (0, n) };
        }
        Ok(Counted { from, to, inbound, outbound, by_status, response_seconds })
    }
}

/// The span that is asked for, rounded outwards to whole hours.
fn period(asked: Asked<'_>, now: Millis) -> Result<(Millis, Millis), String> {
    let malformed = |name| {
        format!("{name} is neither a date like 2026-01-31 nor a time like 2026-01-31T18:00:00Z")
    };
    let to = match asked.to {
        Some(text) => moment(text, DAY).ok_or_else(|| malformed("to"))?,
        None => now,
    };
    let from = match asked.from {
        Some(text) => moment(text, 0).ok_or_else(|| malformed("from"))?,
        None => to - SPAN,
    };
    // Two dates are compared as dates: the second one's day is not over with its first moment.
    let is_late = asked.to.and_then(|it| moment(it, 0)).unwrap_or(to) < from;
    if is_late {
        return Err("from is later than to".to_owned());
    }
    if to - from > SPAN_MAX {
        return Err("from and to are more than 400 days apart".to_owned());
    }
    Ok((from.div_euclid(HOUR) * HOUR, (to + HOUR - 1).div_euclid(HOUR) * HOUR))
}

/// A date stands for its first moment, or with `DAY` for the one after its last.
fn moment(text: &str, after: Millis) -> Option<Millis> {
    let utc = |it: civil::DateTime| it.to_zoned(TimeZone::UTC).ok().map(|it| it.timestamp());
    if let Some(date) = civil::Date::from_str(text).ok().filter(|_| !text.contains('T')) {
        let midnight = utc(date.at(0, 0, 0, 0))?;
        return Some(midnight.as_millisecond() + after);
    }
    let zoned = Timestamp::from_str(text).ok();
    let found = zoned.or_else(|| utc(civil::DateTime::from_str(text).ok()?))?;
    Some(found.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::iso;

    const NOW: Millis = 1_760_000_000_000; // 2025-10-09T08:53:20Z

    #[track_caller]
    fn check(from: Option<&str>, to: Option<&str>, want: Result<(&str, &str), &str>) {
        let got = period(Asked { from, to, status: None }, NOW).map(|it| (iso(it.0), iso(it.1)));
        match want {
            Ok(want) => {
                let (from, to) = got.unwrap();
                assert_eq!((&from[..16], &to[..16]), want);
            }
            Err(part) => assert!(got.unwrap_err().contains(part)),
        }
    }

    #[test]
    fn a_span_is_read_and_rounded_outwards() {
        check(None, None, Ok(("2025-09-09T08:00", "2025-10-09T09:00")));
        let day = Some("2025-10-01");
        check(day, day, Ok(("2025-10-01T00:00", "2025-10-02T00:00")));
        check(day, Some("2025-10-01T10:00:00"), Ok(("2025-10-01T00:00", "2025-10-01T10:00")));
        check(
            Some("2025-10-01T10:59:59.999+02:00"),
            Some("2025-10-01T10:00:00.001Z"),
            Ok(("2025-10-01T08:00", "2025-10-01T11:00")),
        );
        check(Some("2025-10-01T10:15"), None, Ok(("2025-10-01T10:00", "2025-10-09T09:00")));
        check(None, Some("2025-10-01"), Ok(("2025-09-02T00:00", "2025-10-02T00:00")));
        check(Some("2024-09-05"), None, Ok(("2024-09-05T00:00", "2025-10-09T09:00")));
        check(Some("2024-09-03"), None, Err("400 days"));
        check(Some("2025-10-02"), Some("2025-10-01"), Err("later than"));
        check(Some("2026-01-01"), None, Err("later than"));
        for bad in ["", "yesterday", "2025-13-01", "1760000000", "2025-10-01Tx"] {
            check(Some(bad), None, Err("from is neither"));
            check(None, Some(bad), Err("to is neither"));
        }
    }
}
