//! The forms of the API's answers.

use std::io;

use axum::{
    Json,
    body::Body,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::{Value, json};

/// Marks an answer that never reaches the caller.
#[derive(Clone, Copy)]
pub(super) struct Unheard;

/// An answer that is not a success.
pub(super) struct Refusal {
    status: StatusCode,
    body: Value,
}

impl Refusal {
    /// The general form (`docs/wire/wasender.md` §1.5).
    pub(super) fn new(status: u16, message: &str) -> Self {
        Self::of(status, json!({ "success": false, "message": message }))
    }

    /// A failed validation, with Laravel's `errors` (`docs/wire/wasender.md` §1.5).
    pub(super) fn invalid(errors: &Value) -> Self {
        let body = json!({ "success": false, "message": "Validation failed", "errors": errors });
        Self::of(422, body)
    }

    /// Too many requests; the delay is in seconds (`docs/wire/wasender.md` §1.4).
    pub(super) fn too_many(protected: bool, retry_after: u64) -> Self {
        let message = if protected {
            "You have account protection enabled. You can only send 1 message every 5 seconds."
        } else {
            "Too Many Attempts."
        };
        Self::of(429, json!({ "message": message, "retry_after": retry_after }))
    }

    pub(super) fn no_session() -> Self {
        Self::new(404, "WhatsApp session not found")
    }

    /// The documents spell it so (`docs/wire/wasender.md` §1.5).
    pub(super) fn bad_pat() -> Self {
        Self::new(401, "Unnotarized")
    }

    pub(super) fn bad_key() -> Self {
        Self::new(401, "Invalid API key")
    }

    /// The status is our choice: the documents name the text only.
    pub(super) fn not_connected() -> Self {
        Self::new(400, "Your Whatsapp Session is not connected please connect your session first.")
    }

    pub(super) fn of(status: u16, body: Value) -> Self {
        Self { status: status_code(status), body }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// `{"success":true,"data":…}`.
pub(super) fn data(data: &Value) -> Response {
    Json(json!({ "success": true, "data": data })).into_response()
}

/// A failure of the server: Laravel's JSON for 500, a proxy's page otherwise.
pub(super) fn broken(status: u16) -> Response {
    if status == 500 {
        return Refusal::of(status, json!({ "message": "Server Error" })).into_response();
    }
    let page = format!("<html><head><title>{status}</title></head><body>{status}</body></html>");
    (status_code(status), [(CONTENT_TYPE, "text/html")], page).into_response()
}

/// Half of an answer that would have been good.
pub(super) fn garbled() -> Response {
    ([(CONTENT_TYPE, "application/json")], r#"{"success":true,"data":{"msgI"#).into_response()
}

/// Closes the connection without an answer: the body fails before the head has left, and the
/// server has nothing else to do then.
pub(super) fn cut() -> Response {
    let fault = async { Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionAborted)) };
    let mut response = Body::from_stream(futures_util::stream::once(fault)).into_response();
    response.extensions_mut().insert(Unheard);
    response
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
