//! `POST /send-message` and what its answers mean (`docs/wire/wasender.md` §1.4, §1.5, §2.1).

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use super::{Wasender, content};
use crate::{
    domain::{
        clock::{Millis, SECOND},
        delivery::{Outcome, Reason, Refusal},
        waba::WabaInstance,
    },
    http::{HttpError, Reply},
    provider::{
        Attempt, Outgoing,
        refused::{self, refused, refused_as, throttled},
    },
};

/// `X-RateLimit-Reset` is a time when it is later than this from now, in seconds; else a delay.
const RESET_IS_TIME_AFTER: i64 = 5;

/// The word of a session that is down.
pub(super) const NOT_CONNECTED: &str = "not_connected";

impl Wasender {
    pub(super) async fn send_message(
        &self,
        instance: &WabaInstance,
        message: &Outgoing<'_>,
    ) -> Attempt {
        let Some(key) = &instance.wasender.session_key else {
            return refused(Refusal::FailOver(Reason::NoSessionKey), "no_session_key");
        };
        if message.to.phone.is_none() {
            return refused(Refusal::FailOver(Reason::NoPhone), "no_phone");
        }
        let Some(body) = content::body(message) else {
            return refused(Refusal::FailOver(Reason::Unsupported), "unsupported_content");
        };
        let reply = self.call(Method::POST, &self.url(&["send-message"]), key, Some(&body)).await;
        match reply {
            Ok(reply) => self.read_answer(&reply),
            Err(HttpError::NoConnection | HttpError::Forbidden) => {
                refused(Refusal::Down(Reason::Disconnected), "no_connection")
            }
            Err(HttpError::NoAnswer | HttpError::BrokeOff | HttpError::TooLarge) => {
                Attempt::of(Outcome::Unknown, "no_answer")
            }
        }
    }

    pub(super) fn read_answer(&self, reply: &Reply) -> Attempt {
        let now = self.clock.now();
        let body: Option<Value> = serde_json::from_slice(&reply.body).ok().filter(Value::is_object);
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            return throttled(wait(body.as_ref(), &reply.headers, now), now);
        }
        if let Some(attempt) = body.as_ref().and_then(known_refusal) {
            return attempt;
        }
        let is_accepted = body.as_ref().is_some_and(|it| it["success"] != json!(false));
        let ticket = body.as_ref().and_then(|it| number_text(&it["data"]["msgId"]));
        match reply.status {
            status if status.is_success() && is_accepted => {
                Attempt { ticket, ..Attempt::of(Outcome::Sent, "accepted") }
            }
            // It came through; nobody can say what became of it.
            status if status.is_success() && body.is_none() => {
                Attempt::of(Outcome::Unknown, "garbled")
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                refused(Refusal::Down(Reason::Failed), "unavailable")
            }
            StatusCode::REQUEST_TIMEOUT => Attempt::of(Outcome::Unknown, "timeout"),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => park(Reason::Unauthorized),
            StatusCode::PAYMENT_REQUIRED => park(Reason::Plan),
            status if status.is_redirection() => {
                refused(Refusal::Retry { not_before: None }, "redirected")
            }
            status
                if (status.is_client_error() || status.is_success()) && is_told(body.as_ref()) =>
            {
                refused(Refusal::GiveUp(Reason::Invalid), "invalid")
            }
            _ => Attempt::of(Outcome::Unknown, "failed"),
        }
    }
}

fn park(reason: Reason) -> Attempt {
    refused_as(Refusal::FailOver(reason))
}

/// Whether the body says in Wasender's form that it was refused.
fn is_told(body: Option<&Value>) -> bool {
    body.is_some_and(|it| {
        it["message"].is_string() || it["error"].is_string() || it["errors"].is_object()
    })
}

/// Refusals are known by their words: no status code is documented for them.
pub(super) fn known_refusal(body: &Value) -> Option<Attempt> {
    if body["success"] == json!(true) {
        return None;
    }
    let said = [&body["message"], &body["error"]].into_iter().filter_map(Value::as_str);
    let said = said.collect::<Vec<_>>().join(" ").to_lowercase();
    let has = |words: &str| said.contains(words);
    if has("session is not connected") || has("session not ready") || has("session not connected") {
        Some(refused(Refusal::Down(Reason::Disconnected), NOT_CONNECTED))
    } else if has("invalid api key") || has("api key is required") || has("unauthenticated") {
        Some(park(Reason::Unauthorized))
    } else if has("subscription") || has("trial plan") {
        Some(park(Reason::Plan))
    } else {
        None
    }
}

/// How long to wait: the body first, then the headers, as Wasender's own client has it.
fn wait(body: Option<&Value>, headers: &HeaderMap, now: Millis) -> Option<Millis> {
    let header = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let told = body.and_then(|it| number(&it["retry_after"]));
    let now_seconds = now / SECOND;
    let reset = || {
        let reset = header("x-ratelimit-reset")?;
        Some(if reset > now_seconds + RESET_IS_TIME_AFTER { reset - now_seconds } else { reset })
    };
    let seconds = told.or_else(|| header("retry-after")).or_else(reset)?;
    Some(refused::wait(seconds))
}

fn number(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "rounded up, clamped by the caller")]
    let rounded = || value.as_f64().map(|it| it.ceil() as i64);
    value.as_i64().or_else(rounded).or_else(|| value.as_str()?.parse().ok())
}

/// An id as text, whether it came as a number or as text.
pub(super) fn number_text(value: &Value) -> Option<String> {
    match value {
        Value::Number(n) => Some(n.to_string()),
        Value::String(text) if !text.is_empty() && text.len() <= 64 => Some(text.clone()),
        _ => None,
    }
}
