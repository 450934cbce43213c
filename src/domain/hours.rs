//! Business hours: whether a vendor is open at an instant, by the clock on its wall.
//!
//! Hours are wall-clock times in the vendor's zone, so they need no care when summer time begins or
//! ends: 08:00 is 08:00 in both. An hour that the wall clock shows twice counts both times, one
//! that it skips never comes.

mod zones;

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};

use super::{clock::Millis, phone::PhoneNumber, vendor::BusinessHours};

/// Minutes of a day; also the end of a span that ends with its day.
pub const DAY_MINUTES: u16 = 24 * 60;
/// The zone of numbers that belong to no country.
pub const FALLBACK_ZONE: &str = "UTC";

/// A time zone, found by its IANA name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone of an IANA name like `Africa/Dakar`; case does not count.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        // «Etc/Unknown» is a name of the database for no zone at all.
        TimeZone::get(name).ok().filter(|it| !it.is_unknown()).map(Self)
    }

    /// Its name as the time zone database spells it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or(FALLBACK_ZONE)
    }

    /// The zone of a number's country calling code, with the limits of that (`hours/zones.rs`);
    /// [`FALLBACK_ZONE`] when it belongs to no country.
    #[must_use]
    pub fn of_number(number: &PhoneNumber) -> Self {
        let name = zones::of_digits(number.digits()).unwrap_or(FALLBACK_ZONE);
        Self::parse(name).unwrap_or(Self(TimeZone::UTC))
    }
}

impl BusinessHours {
    /// The zone the hours are meant in: the vendor's choice, else that of its number.
    #[must_use]
    pub fn zone(&self, number: Option<&PhoneNumber>) -> Zone {
        let chosen = self.time_zone.as_deref().and_then(Zone::parse);
        chosen.or_else(|| number.map(Zone::of_number)).unwrap_or(Zone(TimeZone::UTC))
    }

    /// Whether the vendor is open at this instant.
    #[must_use]
    pub fn is_open(&self, zone: &Zone, at: Millis) -> bool {
        let Ok(at) = Timestamp::from_millisecond(at) else { return false };
        let local = zone.0.to_datetime(at);
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute()));
        self.is_open_at(local.weekday(), minute.unwrap_or_default())
    }

    /// Whether it is open when the clock on its wall shows this. A span `[from, to)` that ends
    /// before it begins ends on the next day.
    fn is_open_at(&self, day: Weekday, minute: u16) -> bool {
        let of = |day: Weekday| {
            let at = usize::try_from(day.to_monday_zero_offset()).unwrap_or_default();
            self.days.get(at).map_or(&[][..], Vec::as_slice)
        };
        let today = |&(from, to): &(u16, u16)| from <= minute && (minute < to || to < from);
        let since_yesterday = |&(from, to): &(u16, u16)| to < from && minute < to;
        of(day).iter().any(today) || of(day.previous()).iter().any(since_yesterday)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hours(days: [&[(u16, u16)]; 7]) -> BusinessHours {
        BusinessHours { days: days.map(<[_]>::to_vec), ..BusinessHours::default() }
    }

    const fn at(hour: u16, minute: u16) -> u16 {
        hour * 60 + minute
    }

    #[track_caller]
    fn check(hours: &BusinessHours, zone: &str, instant: &str, want: bool) {
        let at: Timestamp = instant.parse().unwrap();
        let zone = Zone::parse(zone).unwrap();
        assert_eq!(hours.is_open(&zone, at.as_millisecond()), want, "{instant} in {zone:?}");
    }

    #[test]
    fn a_day_has_spans_and_the_end_of_one_is_not_in_it() {
        let open: &[_] = &[(at(8, 0), at(12, 30)), (at(14, 0), at(19, 0))];
        let week = hours([open, open, open, open, open, &[], &[]]);
        // 2026-11-23 is a Monday.
        for (time, want) in [
            ("07:59:59", false),
            ("08:00:00", true),
            ("12:29:59", true),
            ("12:30:00", false),
            ("14:00:00", true),
            ("18:59:59", true),
            ("19:00:00", false),
        ] {
            check(&week, "Africa/Dakar", &format!("2026-11-23T{time}Z"), want);
        }
        check(&week, "Africa/Dakar", "2026-11-21T10:00:00Z", false);
        // It is already Monday in Tokyo.
        check(&week, "Asia/Tokyo", "2026-11-22T23:30:00Z", true);
        check(&week, "Africa/Dakar", "2026-11-22T23:30:00Z", false);
    }

    #[test]
    fn a_span_over_midnight_ends_on_the_next_day() {
        let night = hours([&[], &[], &[], &[], &[(at(18, 0), at(2, 0))], &[], &[]]);
        check(&night, "UTC", "2026-11-27T17:59:00Z", false);
        check(&night, "UTC", "2026-11-27T18:00:00Z", true);
        check(&night, "UTC", "2026-11-27T23:59:59Z", true);
        check(&night, "UTC", "2026-11-28T00:00:00Z", true);
        check(&night, "UTC", "2026-11-28T01:59:59Z", true);
        check(&night, "UTC", "2026-11-28T02:00:00Z", false);
        check(&night, "UTC", "2026-11-27T01:00:00Z", false);
        // From Sunday to Monday.
        let sunday = hours([&[], &[], &[], &[], &[], &[], &[(at(22, 0), at(1, 0))]]);
        check(&sunday, "UTC", "2026-11-30T00:30:00Z", true);
        check(&sunday, "UTC", "2026-11-29T00:30:00Z", false);
    }

    #[test]
    fn a_whole_day_ends_at_24_and_no_span_is_closed() {
        let all: &[_] = &[(0, DAY_MINUTES)];
        let monday = hours([all, &[], &[], &[], &[], &[], &[]]);
        check(&monday, "UTC", "2026-11-23T00:00:00Z", true);
        check(&monday, "UTC", "2026-11-23T23:59:59Z", true);
        check(&monday, "UTC", "2026-11-24T00:00:00Z", false);
        check(&BusinessHours::default(), "UTC", "2026-11-23T12:00:00Z", false);
    }

    #[test]
    fn summer_time_moves_the_instants_and_not_the_hours() {
        let open: &[_] = &[(at(8, 0), at(19, 0))];
        let week = hours([open; 7]);
        // Paris: UTC+1 until 2026-03-29, then UTC+2 until 2026-10-25.
        check(&week, "Europe/Paris", "2026-03-28T07:00:00Z", true);
        check(&week, "Europe/Paris", "2026-03-28T06:59:59Z", false);
        check(&week, "Europe/Paris", "2026-03-29T06:00:00Z", true);
        check(&week, "Europe/Paris", "2026-03-29T05:59:59Z", false);
        check(&week, "Europe/Paris", "2026-10-24T17:00:00Z", false);
        check(&week, "Europe/Paris", "2026-10-25T17:00:00Z", true);
        // 02:30 comes twice on 2026-10-25, and never on 2026-03-29.
        let early: &[_] = &[(at(2, 0), at(3, 0))];
        let early = hours([early; 7]);
        check(&early, "Europe/Paris", "2026-10-25T00:30:00Z", true);
        check(&early, "Europe/Paris", "2026-10-25T01:30:00Z", true);
        check(&early, "Europe/Paris", "2026-10-25T02:00:00Z", false);
        check(&early, "Europe/Paris", "2026-03-29T00:59:59Z", false);
        check(&early, "Europe/Paris", "2026-03-29T01:00:00Z", false);
    }

    #[test]
    fn the_zone_is_chosen_or_that_of_the_number() {
        let number = |it| PhoneNumber::from_wire(it).unwrap();
        let mut hours = BusinessHours::default();
        assert_eq!(hours.zone(None).name(), "UTC");
        assert_eq!(hours.zone(Some(&number("+33612345678"))).name(), "Europe/Paris");
        assert_eq!(hours.zone(Some(&number("+88812345678"))).name(), "UTC");
        hours.time_zone = Some("indian/reunion".to_owned());
        assert_eq!(hours.zone(Some(&number("+33612345678"))).name(), "Indian/Reunion");
        for bad in ["", "Dakar", "Africa/Dakkar", "+01:00", "Etc/Unknown", "../../etc/passwd"] {
            assert_eq!(Zone::parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        /// Against the plain meaning of it: every minute of each span, one by one.
        #[test]
        fn it_is_open_in_exactly_the_minutes_of_its_spans(
            spans in prop::collection::vec((0..7_usize, 0..DAY_MINUTES, 1..=DAY_MINUTES), 0..6),
            day in 0..7_i8,
            minute in 0..DAY_MINUTES,
        ) {
            let spans: Vec<_> = spans.into_iter().filter(|it| it.1 != it.2).collect();
            let mut week = BusinessHours::default();
            let mut minutes = std::collections::HashSet::new();
            for (day, from, to) in spans {
                week.days[day].push((from, to));
                let length = if to > from { to - from } else { to + DAY_MINUTES - from };
                for n in from..from + length {
                    let day = day + usize::from(n / DAY_MINUTES);
                    minutes.insert((day % 7, n % DAY_MINUTES));
                }
            }
            let weekday = Weekday::from_monday_zero_offset(day).unwrap();
            let want = minutes.contains(&(usize::try_from(day).unwrap(), minute));
            prop_assert_eq!(week.is_open_at(weekday, minute), want);
        }
    }
}
