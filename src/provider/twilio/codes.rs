//! What Twilio's codes mean (`docs/wire/meta-unipile-twilio.md` E1). Those that are not named
//! there are from Twilio's public list of errors.

use reqwest::StatusCode;

use crate::domain::{
    delivery::{Reason, Refusal},
    event::Failure,
};

/// Customers of this country must not be written to.
/// <https://www.twilio.com/docs/api/errors/21408>
pub(super) const COUNTRY: u32 = 21_408;
/// The customer has not joined the sandbox.
/// <https://www.twilio.com/docs/api/errors/63015>
const NOT_JOINED: u32 = 63_015;

/// What a code means: in an answer, or in a status that comes later. `None`: we do not know it.
pub(super) fn refusal(code: u32) -> Option<Refusal> {
    Some(match code {
        // Busy: nothing was processed.
        14_107 | 20_429 | 21_611 | 63_018 => Refusal::Retry { not_before: None },
        // The channel fails for the moment.
        63_012 | 63_017 | 63_020 => Refusal::Down(Reason::Failed),
        20_003 | 20_006 | 63_001 => Refusal::FailOver(Reason::Unauthorized),
        20_005 | 20_008 | COUNTRY | 30_002 | 63_051 | 63_112 => {
            Refusal::FailOver(Reason::Restricted)
        }
        // No such account, number or sender.
        20_404 | 21_212 | 21_603 | 21_606 | 63_002 | 63_007 | 63_110 => {
            Refusal::FailOver(Reason::NotRegistered)
        }
        NOT_JOINED => Refusal::FailOver(Reason::Undeliverable),
        // Through a number that has no window it would be sent all the same.
        63_016 => Refusal::Park(Reason::WindowClosed),
        21_654..=21_656 | 63_027 | 63_028 | 63_036 | 63_040..=63_042 => {
            Refusal::FailOver(Reason::Template)
        }
        // The channel does not take such content, or could not fetch the file.
        11_751 | 21_620 | 63_005 | 63_019 | 63_021 | 63_030 => {
            Refusal::FailOver(Reason::Unsupported)
        }
        63_008 | 63_037 | 63_038 => Refusal::FailOver(Reason::Quality),
        21_211 | 21_612 | 21_614 | 63_003 | 63_024 | 63_033 => {
            Refusal::GiveUp(Reason::Undeliverable)
        }
        // Who does not want it, or must not get more of it, is not sent it on another way.
        21_610 | 63_013 | 63_014 | 63_032 | 63_049 => Refusal::GiveUp(Reason::OptedOut),
        21_602 | 21_604 | 21_605 | 21_609 | 21_617 | 21_619 | 63_031 => {
            Refusal::GiveUp(Reason::Invalid)
        }
        _ => return None,
    })
}

/// What an answer means whose code says nothing to us; `is_told` when it is in Twilio's form.
/// `None`: nobody can say whether the message was taken.
pub(super) fn refusal_by_status(status: StatusCode, is_told: bool) -> Option<Refusal> {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Some(Refusal::Retry { not_before: None }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Some(Refusal::FailOver(Reason::Unauthorized))
        }
        StatusCode::NOT_FOUND => Some(Refusal::FailOver(Reason::NotRegistered)),
        StatusCode::SERVICE_UNAVAILABLE => Some(Refusal::Down(Reason::Failed)),
        it if it.is_redirection() => Some(Refusal::Down(Reason::Failed)),
        StatusCode::REQUEST_TIMEOUT => None,
        it if it.is_client_error() && is_told => Some(Refusal::GiveUp(Reason::Invalid)),
        _ => None,
    }
}

/// Why a message failed that was taken. A code that is not known may be the customer's own will,
/// which another way would go round.
pub(super) fn failure(code: &str) -> Failure {
    let refusal = match code.parse() {
        // Of this customer alone.
        Ok(COUNTRY) => Some(Refusal::FailOver(Reason::Undeliverable)),
        Ok(known) => refusal(known),
        Err(_) => None,
    };
    Failure { code: code.to_owned(), refusal: refusal.unwrap_or(Refusal::GiveUp(Reason::Failed)) }
}
