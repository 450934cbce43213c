//! Business hours, as callers set them and are shown them: times like `08:00`, in the vendor's
//! time zone.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::responders::{self, ResponderBody, ResponderView};
use crate::{
    domain::{
        hours::{DAY_MINUTES, Zone},
        vendor::BusinessHours,
    },
    gateway::AdminError,
};

/// Spans of one day.
const SPANS_MAX: usize = 12;

/// When a vendor is open, and who answers when it is not.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HoursBody {
    /// An IANA time zone like `Africa/Dakar`; without it, that of the country of the number a
    /// customer writes to.
    time_zone: Option<String>,
    days: DaysBody,
    /// Who answers out of hours, tried in order; without any, those of the open hours.
    #[serde(default)]
    out_of_hours: Vec<ResponderBody>,
}

/// Spans like `["08:00", "12:30"]`, the second time not included. One that ends before it begins
/// ends on the next day. A day without spans is closed.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct DaysBody {
    monday: Vec<(String, String)>,
    tuesday: Vec<(String, String)>,
    wednesday: Vec<(String, String)>,
    thursday: Vec<(String, String)>,
    friday: Vec<(String, String)>,
    saturday: Vec<(String, String)>,
    sunday: Vec<(String, String)>,
}

/// When a vendor is open, and who answers when it is not.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HoursView {
    /// As it was chosen.
    time_zone: Option<String>,
    /// The one that is meant: chosen, or that of the vendor's first number.
    effective_time_zone: String,
    days: DaysBody,
    out_of_hours: Vec<ResponderView>,
}

impl HoursBody {
    pub(super) fn hours(self) -> Result<BusinessHours, AdminError> {
        let zone = self.time_zone.map(|it| {
            let zone = Zone::parse(it.trim()).map(|it| it.name().to_owned());
            zone.ok_or_else(|| {
                invalid("businessHours.timeZone is an IANA time zone like Africa/Dakar")
            })
        });
        let DaysBody { monday, tuesday, wednesday, thursday, friday, saturday, sunday } = self.days;
        let mut days: [Vec<(u16, u16)>; 7] = Default::default();
        let given = [
            ("monday", monday),
            ("tuesday", tuesday),
            ("wednesday", wednesday),
            ("thursday", thursday),
            ("friday", friday),
            ("saturday", saturday),
            ("sunday", sunday),
        ];
        for (spans, (day, given)) in days.iter_mut().zip(given) {
            if given.len() > SPANS_MAX {
                let why = format!("businessHours.days.{day} has more than {SPANS_MAX} spans");
                return Err(invalid(&why));
            }
            *spans = given.iter().map(|it| span(it, day)).collect::<Result<_, _>>()?;
        }
        let out_of_hours = responders::configs(self.out_of_hours, "businessHours.outOfHours")?;
        Ok(BusinessHours { time_zone: zone.transpose()?, days, out_of_hours })
    }
}

fn span((from, to): &(String, String), day: &str) -> Result<(u16, u16), AdminError> {
    let bad = |why: &str| invalid(&format!("businessHours.days.{day}: {why}"));
    let shape = "a time is like 08:00, from 00:00 to 24:00";
    let from = minutes(from).ok_or_else(|| bad(shape))?;
    let to = minutes(to).ok_or_else(|| bad(shape))?;
    if from == DAY_MINUTES {
        return Err(bad("a span does not begin at 24:00"));
    }
    if from == to {
        return Err(bad("a span has two times; a whole day is 00:00 to 24:00"));
    }
    Ok((from, to))
}

/// `08:00` as minutes since midnight; the last is `24:00`.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |it: &str| {
        let is_two = it.len() == 2 && it.bytes().all(|it| it.is_ascii_digit());
        it.parse::<u16>().ok().filter(|_| is_two)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let at = hours * 60 + minutes;
    (minutes < 60 && at <= DAY_MINUTES).then_some(at)
}

fn invalid(why: &str) -> AdminError {
    AdminError::Invalid(why.to_owned())
}

impl HoursView {
    pub(super) fn new(hours: &BusinessHours, zone: &Zone) -> Self {
        let time = |it: u16| format!("{:02}:{:02}", it / 60, it % 60);
        let mut days = hours
            .days
            .iter()
            .map(|it| it.iter().map(|&(from, to)| (time(from), time(to))).collect::<Vec<_>>());
        let mut next = || days.next().unwrap_or_default();
        Self {
            time_zone: hours.time_zone.clone(),
            effective_time_zone: zone.name().to_owned(),
            days: DaysBody {
                monday: next(),
                tuesday: next(),
                wednesday: next(),
                thursday: next(),
                friday: next(),
                saturday: next(),
                sunday: next(),
            },
            out_of_hours: hours.out_of_hours.iter().map(ResponderView::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_two_digits_twice() {
        for (text, want) in [
            ("00:00", Some(0)),
            ("08:05", Some(485)),
            ("23:59", Some(1_439)),
            ("24:00", Some(1_440)),
            ("24:01", None),
            ("8:00", None),
            ("08:60", None),
            ("08h00", None),
            ("08:00:00", None),
            ("+8:00", None),
            ("99:99", None),
            ("", None),
        ] {
            assert_eq!(minutes(text), want, "{text}");
        }
    }
}
