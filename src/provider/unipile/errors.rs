//! What Unipile's errors mean (`docs/wire/meta-unipile-twilio.md` D4, D5).

use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    domain::delivery::{Reason, Refusal},
    http::Reply,
    provider::is_ambiguous,
};

/// What an answer that is no success means. `None`: nobody can say whether the message was taken.
pub(super) fn refusal(reply: &Reply) -> Option<Refusal> {
    let body: Option<Value> = serde_json::from_slice(&reply.body).ok();
    let slug = body.as_ref().and_then(|it| it["type"].as_str()).unwrap_or_default();
    let is_told = !slug.is_empty() || body.as_ref().is_some_and(|it| it["title"].is_string());
    let refusal = by_slug(slug, reply.status).unwrap_or_else(|| by_status(reply.status, is_told));
    // What broke while the message was on its way may have broken behind it; of one word D4 says
    // that it may be tried again.
    let is_sure = slug.ends_with("provider_error") && reply.status != StatusCode::GATEWAY_TIMEOUT;
    let is_unclear = is_ambiguous(reply.status) && !is_sure;
    refusal.filter(|it| !(matches!(it, Refusal::Down(_)) && is_unclear))
}

/// `None`: we do not know the word.
pub(super) fn by_slug(slug: &str, status: StatusCode) -> Option<Option<Refusal>> {
    // The same words stand behind `errors/`, `api/` and `provider/`, with two exceptions.
    let (family, word) = slug.rsplit_once('/').unwrap_or(("", slug));
    Some(Some(match word {
        // The account has to be linked again, or is cut off.
        "disconnected_account"
        | "disconnected_feature"
        | "expired_credentials"
        | "invalid_credentials"
        | "invalid_authorization"
        | "wrong_account"
        | "multiple_sessions"
        | "session_mismatch"
        | "checkpoint_error"
        | "unknown_authentication_context"
        | "invalid_proxy_credentials"
        | "proxy_error"
        | "network_down" => Refusal::Down(Reason::Disconnected),
        "missing_credentials"
        | "missing_authorization"
        | "unauthorized"
        | "insufficient_privileges"
        | "insufficient_permissions"
        | "resource_access_restricted"
        | "account_mismatch" => Refusal::FailOver(Reason::Unauthorized),
        "account_restricted" | "action_required" => Refusal::FailOver(Reason::Restricted),
        "feature_not_subscribed" | "subscription_required" | "inactive_subscription" => {
            Refusal::FailOver(Reason::Plan)
        }
        "invalid_account" => Refusal::FailOver(Reason::NotRegistered),
        // Whose it is was looked for there, or the account or chat was looked for here.
        "resource_not_found" | "invalid_resource_identifier" if family == "provider" => {
            Refusal::GiveUp(Reason::Undeliverable)
        }
        "resource_not_found" | "invalid_resource_identifier" => {
            Refusal::FailOver(Reason::NotRegistered)
        }
        "invalid_recipient" | "no_connection_with_recipient" | "user_unreachable" => {
            Refusal::GiveUp(Reason::Undeliverable)
        }
        "blocked_recipient" => Refusal::GiveUp(Reason::OptedOut),
        "limit_exceeded" | "limit_too_high" => Refusal::FailOver(Reason::Quality),
        "invalid_file" | "not_implemented" => Refusal::FailOver(Reason::Unsupported),
        "malformed_request"
        | "missing_parameters"
        | "too_many_characters"
        | "invalid_parameters"
        | "invalid_message"
        | "unprocessable_entity" => Refusal::GiveUp(Reason::Invalid),
        "too_many_requests" | "cannot_resend_yet" | "conflict" => {
            Refusal::Retry { not_before: None }
        }
        "provider_error" | "server_error" => Refusal::Down(Reason::Failed),
        // It may have gone.
        "request_timeout" | "proxy_timeout" | "timeout" | "unexpected_error" | "internal_error" => {
            return Some(None);
        }
        _ if status == StatusCode::GATEWAY_TIMEOUT => return Some(None),
        _ => return None,
    }))
}

/// Words are added without notice; `is_told` when the answer is in Unipile's form.
fn by_status(status: StatusCode, is_told: bool) -> Option<Refusal> {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Some(Refusal::Retry { not_before: None }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Some(Refusal::FailOver(Reason::Unauthorized))
        }
        StatusCode::NOT_FOUND => Some(Refusal::FailOver(Reason::NotRegistered)),
        StatusCode::SERVICE_UNAVAILABLE => Some(Refusal::Down(Reason::Failed)),
        StatusCode::PAYLOAD_TOO_LARGE => Some(Refusal::FailOver(Reason::Unsupported)),
        it if it.is_redirection() => Some(Refusal::Down(Reason::Failed)),
        StatusCode::REQUEST_TIMEOUT => None,
        it if it.is_client_error() && is_told => Some(Refusal::GiveUp(Reason::Invalid)),
        _ => None,
    }
}
