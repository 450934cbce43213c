//! Graph's error bodies (`docs/wire/meta-unipile-twilio.md` B4).

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// The access token opens nothing.
pub(super) const BAD_TOKEN: u32 = 190;
/// A parameter that is not what it should be, and what does not exist for this token.
pub(super) const BAD_PARAMETER: u32 = 100;
/// A value that is not what it should be.
const BAD_VALUE: u32 = 131_009;
/// Something is missing.
const MISSING: u32 = 131_008;
/// The callback did not answer the handshake (A1).
pub(super) const NOT_VERIFIED: u32 = 2_200;
/// With [`BAD_PARAMETER`]: there is no such object, or the token may not see it.
const NO_SUCH_OBJECT: u32 = 33;

/// A refusal of Graph's.
pub(super) struct GraphError {
    code: u32,
    subcode: Option<u32>,
    details: String,
}

impl GraphError {
    pub(super) fn new(code: u32, details: &str) -> Self {
        Self { code, subcode: None, details: details.to_owned() }
    }

    pub(super) fn missing(field: &str) -> Self {
        Self::new(MISSING, &format!("Parameter '{field}' is missing"))
    }

    pub(super) fn invalid(field: &str, why: &str) -> Self {
        Self::new(BAD_VALUE, &format!("Parameter '{field}' {why}"))
    }

    pub(super) fn no_such(id: &str) -> Self {
        let details = format!(
            "Unsupported request. Object with ID '{id}' does not exist, cannot be loaded due to \
             missing permissions, or does not support this operation"
        );
        Self { subcode: Some(NO_SUCH_OBJECT), ..Self::new(BAD_PARAMETER, &details) }
    }

    pub(super) fn bad_token() -> Self {
        Self::new(BAD_TOKEN, "Invalid OAuth access token - Cannot parse access token")
    }

    /// As a status tells of it: without `is_transient` and the like (A5).
    pub(super) fn in_status(code: u32) -> Value {
        json!({
            "code": code,
            "title": title(code),
            "message": title(code),
            "error_data": { "details": format!("{}, as it was asked for", title(code)) },
            "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
        })
    }
}

impl IntoResponse for GraphError {
    fn into_response(self) -> Response {
        let kind = match self.subcode {
            Some(NO_SUCH_OBJECT) => "GraphMethodException",
            _ => "OAuthException",
        };
        let mut error = json!({
            "message": format!("(#{}) {}", self.code, title(self.code)),
            "type": kind,
            "code": self.code,
            "error_data": { "messaging_product": "whatsapp", "details": self.details },
            "fbtrace_id": "AbcDefGhiJkl0123456789",
        });
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = json!(subcode);
        }
        if matches!(self.code, 1 | 2 | 131_000 | 131_016) {
            error["is_transient"] = json!(true);
        }
        (status_of(self.code), Json(json!({ "error": error }))).into_response()
    }
}

/// The statuses that are known of codes; most are 400.
fn status_of(code: u32) -> StatusCode {
    match code {
        0 | BAD_TOKEN => StatusCode::UNAUTHORIZED,
        1 | 3 | 131_000 => StatusCode::INTERNAL_SERVER_ERROR,
        2 | 131_016 => StatusCode::SERVICE_UNAVAILABLE,
        10 | 200..=299 | 368 => StatusCode::FORBIDDEN,
        4 | 80_007 | 130_429 => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn title(code: u32) -> &'static str {
    match code {
        4 => "Application request limit reached",
        33 | BAD_PARAMETER => "Invalid parameter",
        BAD_TOKEN => "Access token has expired",
        368 => "Temporarily blocked for policies violations",
        NOT_VERIFIED => "Callback verification failed",
        130_429 => "Rate limit hit",
        130_472 => "User's number is part of an experiment",
        131_000 => "Something went wrong",
        MISSING => "Required parameter is missing",
        BAD_VALUE => "Parameter value is not valid",
        131_026 => "Message undeliverable",
        131_047 => "Re-engagement message",
        131_049 => "This message was not delivered to maintain healthy ecosystem engagement",
        131_051 => "Unsupported message type",
        131_053 => "Media upload error",
        131_056 => "(Business Account, Consumer Account) pair rate limit hit",
        132_001 => "Template name does not exist in the translation",
        133_010 => "Phone number not registered",
        _ => "An error",
    }
}
