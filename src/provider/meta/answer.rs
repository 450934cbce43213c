//! What the answer to a send means (`docs/wire/meta-unipile-twilio.md` B3, B4).

use reqwest::StatusCode;
use serde_json::Value;

use super::classes::{COUNTRY, Class, class};
use crate::{
    domain::{
        clock::Millis,
        delivery::{Outcome, Reason, Refusal},
    },
    http::{HttpError, Reply},
    provider::{
        Attempt, OF_COUNTRY, is_ambiguous,
        refused::{refused, refused_as, retry_after, throttled},
    },
};

/// With code 100: the number does not exist, or the token may not see it (B4).
const NO_SUCH_OBJECT: u64 = 33;
const BAD_PARAMETER: u64 = 100;
/// A file that Meta could not have by its link, or would not have.
pub(super) const NOT_FETCHED: &str = "link_not_fetched";

/// What a send came to.
pub(super) fn attempt(reply: Result<Reply, HttpError>, now: Millis) -> Attempt {
    match reply {
        Ok(reply) => read(&reply, now),
        Err(HttpError::NoConnection | HttpError::Forbidden) => {
            refused(Refusal::Down(Reason::Disconnected), "no_connection")
        }
        Err(HttpError::NoAnswer | HttpError::BrokeOff | HttpError::TooLarge) => {
            Attempt::of(Outcome::Unknown, "no_answer")
        }
    }
}

fn read(reply: &Reply, now: Millis) -> Attempt {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if let Some(fault) = Fault::read(&body) {
        return by_fault(&fault, reply, now);
    }
    let wamid = body.pointer("/messages/0/id").and_then(Value::as_str);
    match (reply.status, wamid) {
        (status, Some(wamid)) if status.is_success() && !wamid.is_empty() => {
            let word = match body.pointer("/messages/0/message_status").and_then(Value::as_str) {
                Some("held_for_quality_assessment") => "held_for_quality",
                Some("paused") => "held_paused",
                _ => "accepted",
            };
            // It is also what a later message quotes it by.
            let id = Some(wamid.to_owned());
            Attempt { provider_id: id.clone(), ticket: id, ..Attempt::of(Outcome::Sent, word) }
        }
        // It came through; nobody can say what became of it.
        (status, _) if status.is_success() => Attempt::of(Outcome::Unknown, "garbled"),
        (status, _) => by_status(status, reply, now),
    }
}

/// Graph's error, as far as anything is decided by it: on code and details, not on words (B4).
pub(super) struct Fault {
    pub(super) code: u64,
    subcode: Option<u64>,
    is_transient: bool,
}

impl Fault {
    pub(super) fn read(body: &Value) -> Option<Self> {
        let error = body.get("error").filter(|it| it.is_object())?;
        let number = |it: &Value| it.as_u64().or_else(|| it.as_str()?.parse().ok());
        Some(Self {
            code: number(&error["code"])?,
            subcode: number(&error["error_subcode"]),
            is_transient: error["is_transient"] == true,
        })
    }

    /// The number is not there for this token: it, or the token, is not the right one.
    pub(super) fn is_no_such_object(&self) -> bool {
        self.code == BAD_PARAMETER && self.subcode == Some(NO_SUCH_OBJECT)
    }
}

fn by_fault(fault: &Fault, reply: &Reply, now: Millis) -> Attempt {
    if fault.is_no_such_object() {
        return refused(Refusal::FailOver(Reason::Unauthorized), "no_such_number");
    }
    match class(fault.code) {
        Some(Class::Refused(it)) if fault.code == COUNTRY => refused(it, OF_COUNTRY),
        Some(Class::Refused(it)) => refused_as(it),
        Some(Class::Wait(pause)) => refused(Refusal::Wait { not_before: now + pause }, "wait"),
        Some(Class::Later(Some(pause))) => later(Some(now + pause), "pause"),
        Some(Class::Later(None)) => throttled(retry_after(&reply.headers), now),
        Some(Class::Trouble) if !is_ambiguous(reply.status) => {
            refused(Refusal::Down(Reason::Failed), "trouble")
        }
        Some(Class::Trouble | Class::Ambiguous) => Attempt::of(Outcome::Unknown, "failed"),
        // Where it could not be fetched now it may be in a moment.
        Some(Class::Link) => later(None, NOT_FETCHED),
        None if fault.is_transient && reply.status.is_client_error() => later(None, "transient"),
        None => by_status(reply.status, reply, now),
    }
}

/// An answer without a code that is known.
fn by_status(status: StatusCode, reply: &Reply, now: Millis) -> Attempt {
    match status {
        StatusCode::TOO_MANY_REQUESTS => throttled(retry_after(&reply.headers), now),
        StatusCode::SERVICE_UNAVAILABLE => refused(Refusal::Down(Reason::Failed), "unavailable"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            refused(Refusal::FailOver(Reason::Unauthorized), "unauthorized")
        }
        StatusCode::REQUEST_TIMEOUT => Attempt::of(Outcome::Unknown, "timeout"),
        // Only Graph's own word is believed that a message will never be taken.
        status if status.is_client_error() && has_error(reply) => {
            refused(Refusal::GiveUp(Reason::Invalid), "invalid")
        }
        status if status.is_redirection() => later(None, "redirected"),
        _ => Attempt::of(Outcome::Unknown, "failed"),
    }
}

fn has_error(reply: &Reply) -> bool {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    body["error"].is_object()
}

fn later(not_before: Option<Millis>, word: &'static str) -> Attempt {
    refused(Refusal::Retry { not_before }, word)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::{HeaderMap, HeaderValue};
    use serde_json::json;

    use super::*;

    const NOW: Millis = 1_760_000_000_000;

    fn reply(status: u16, body: &str, retry_after: Option<&'static str>) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(it) = retry_after {
            headers.insert("retry-after", HeaderValue::from_static(it));
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        Reply { status: StatusCode::from_u16(status).unwrap(), headers, body }
    }

    fn error(code: u64) -> String {
        json!({ "error": { "message": "m", "type": "OAuthException", "code": code } }).to_string()
    }

    #[track_caller]
    fn check(status: u16, body: &str, want: Outcome, word: &str) {
        let attempt = attempt(Ok(reply(status, body, None)), NOW);
        assert_eq!((attempt.outcome, attempt.word), (want, word), "{status} {body}");
    }

    #[test]
    fn an_answer_is_read_by_its_code_first_and_by_its_status_without_one() {
        let retry = |not_before| Outcome::Refused(Refusal::Retry { not_before });
        let fail_over = |it| Outcome::Refused(Refusal::FailOver(it));
        let give_up = |it| Outcome::Refused(Refusal::GiveUp(it));
        let down = |it| Outcome::Refused(Refusal::Down(it));
        check(401, &error(190), fail_over(Reason::Unauthorized), "unauthorized");
        check(429, &error(130_429), retry(None), "throttled");
        check(400, &error(130_429), retry(None), "throttled");
        let wait = Outcome::Refused(Refusal::Wait { not_before: NOW + 6_000 });
        check(400, &error(131_056), wait, "wait");
        let park = Outcome::Refused(Refusal::Park(Reason::WindowClosed));
        check(400, &error(131_047), park, "window_closed");
        check(403, &error(368), fail_over(Reason::Restricted), "restricted");
        check(400, &error(131_049), give_up(Reason::OptedOut), "opted_out");
        check(503, &error(131_016), down(Reason::Failed), "trouble");
        check(400, &error(133_004), down(Reason::Failed), "trouble");
        check(500, &error(131_016), Outcome::Unknown, "failed");
        check(500, &error(2), Outcome::Unknown, "failed");
        check(500, &error(131_000), Outcome::Unknown, "failed");
        check(400, &error(131_053), retry(None), "link_not_fetched");
        // The code as text, too.
        let text = json!({ "error": { "code": "190" } }).to_string();
        check(400, &text, fail_over(Reason::Unauthorized), "unauthorized");
        let wrong = json!({ "error": { "code": 100, "error_subcode": 33 } }).to_string();
        check(400, &wrong, fail_over(Reason::Unauthorized), "no_such_number");
        check(400, &error(100), give_up(Reason::Invalid), "invalid");
        // Codes that nobody told us of.
        check(400, &error(999_999), give_up(Reason::Invalid), "invalid");
        check(403, &error(999_999), fail_over(Reason::Unauthorized), "unauthorized");
        check(500, &error(999_999), Outcome::Unknown, "failed");
        let transient = json!({ "error": { "code": 999_999, "is_transient": true } }).to_string();
        check(400, &transient, retry(None), "transient");
        // A proxy, not Graph.
        check(429, "<html>", retry(None), "throttled");
        check(503, "<html>", down(Reason::Failed), "unavailable");
        check(502, "<html>", Outcome::Unknown, "failed");
        check(408, "", Outcome::Unknown, "timeout");
        check(404, "<html>", Outcome::Unknown, "failed");
        check(200, "{\"messages\":[{\"id\"", Outcome::Unknown, "garbled");
        check(200, "{}", Outcome::Unknown, "garbled");
        let attempt = |it| attempt(Err(it), NOW).outcome;
        assert_eq!(attempt(HttpError::NoConnection), down(Reason::Disconnected));
        assert_eq!(attempt(HttpError::NoAnswer), Outcome::Unknown);
    }

    #[test]
    fn an_accepted_message_has_an_id_and_a_wait_is_obeyed() {
        let body = r#"{"messaging_product":"whatsapp","contacts":[{"input":"+1","wa_id":"1"}],
            "messages":[{"id":"wamid.X","message_status":"held_for_quality_assessment"}]}"#;
        let sent = attempt(Ok(reply(200, body, None)), NOW);
        assert_eq!((sent.outcome, sent.word), (Outcome::Sent, "held_for_quality"));
        assert_eq!(sent.provider_id.as_deref(), Some("wamid.X"));
        let body = error(130_429);
        let until = |given| attempt(Ok(reply(429, &body, Some(given))), NOW).blocked_until;
        assert_eq!(until("30"), Some(NOW + 30_000));
        assert_eq!((until("0"), until("99999999")), (Some(NOW + 1_000), Some(NOW + 3_600_000)));
        assert_eq!(until("soon"), None);
    }
}
