//! Webhooks: headers, then the body, untouched, to the gateway.

use std::time::Instant;

use axum::{
    Json,
    body::Body,
    extract::{OriginalUri, State},
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use metrics::{counter, histogram};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    error::ApiError,
    extract::{Path, Query},
};
use crate::{
    domain::{id::VendorId, route::ProviderKind, webhook::Headers},
    gateway::{AcceptError, Accepted, Came},
    telemetry::names,
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default()
        .routes(routes!(message))
        .routes(routes!(status))
        .routes(routes!(connection))
        .routes(routes!(shake_hands, meta))
        .routes(routes!(unipile))
        .routes(routes!(twilio))
}

/// A route is told by its name in the count of webhooks.
macro_rules! webhook {
    ($(#[doc = $doc:literal])+ $name:ident, $by:ident, $path:literal, $id:literal,
        params($($params:tt)+)) => {
        $(#[doc = $doc])+
        #[utoipa::path(post, path = $path, tag = "Webhooks", operation_id = $id, security(()),
            params($($params)+),
            request_body(content = serde_json::Value, description = "at most 3 MiB"),
            responses(
                (status = 200, description = "it is on disk and will be worked on", body = Kept),
                (status = 401, description = "not proven, or no such vendor"),
                (status = 408, description = "the body came too slowly"),
                (status = 413, description = "the body is too large"),
                (status = 503, description = "it could not be kept: send it again"),
            ))]
        async fn $name(
            State(web): State<Web>,
            Path(vendor): Path<String>,
            OriginalUri(uri): OriginalUri,
            headers: HeaderMap,
            body: Body,
        ) -> Response {
            let caller = Caller { by: ProviderKind::$by, vendor, uri, headers };
            receive(web, caller, stringify!($name), body).await
        }
    };
    // Every route takes every event: Wasender has one URL for all of a session's.
    ($(#[doc = $doc:literal])+ $name:ident, $path:literal, $id:literal) => {
        webhook! {
            $(#[doc = $doc])+
            $name, Wasender, $path, $id, params(
                ("X-Webhook-Signature" = Option<String>, Header,
                    description = "the secret itself, as Wasender sends it"),
                ("X-Wasender-Signature" = Option<String>, Header,
                    description = "or HMAC-SHA256 of the raw body with the secret, in hex"),
            )
        }
    };
}

webhook! {
    /// Take an event of a vendor's session
    message, "/api/webhooks/wasender/{vendor_id}", "receiveEvent"
}
webhook! {
    /// Take a delivery status
    status, "/api/webhooks/wasender/{vendor_id}/status", "receiveStatus"
}
webhook! {
    /// Take a change of the connection
    connection, "/api/webhooks/wasender/{vendor_id}/connection", "receiveConnection"
}
webhook! {
    /// Take an event of a vendor's numbers at Meta
    meta, Meta, "/api/webhooks/meta/{vendor_id}", "receiveFromMeta", params(
        ("X-Hub-Signature-256" = String, Header,
            description = "`sha256=` and HMAC-SHA256 of the raw body with the app's secret, in hex"),
    )
}
webhook! {
    /// Take an event of a vendor's account at Unipile
    unipile, Unipile, "/api/webhooks/unipile/{vendor_id}", "receiveFromUnipile", params(
        ("Unipile-Auth" = Option<String>, Header, description = "the secret itself"),
        ("Unipile-Signature" = Option<String>, Header,
            description = "of the second generation: `t=…,v0=…`, HMAC-SHA256 of time and raw body"),
    )
}

/// What a number's callback at Meta is asked first.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Handshake {
    /// `subscribe`
    #[serde(rename = "hub.mode")]
    mode: Option<String>,
    /// The number's verify token.
    #[serde(rename = "hub.verify_token")]
    token: Option<String>,
    /// What is to be answered.
    #[serde(rename = "hub.challenge")]
    challenge: Option<String>,
}

/// Shake hands with Meta
///
/// Answers the challenge when the token is that of one of the vendor's numbers.
#[utoipa::path(get, path = "/api/webhooks/meta/{vendor_id}", tag = "Webhooks",
    operation_id = "shakeHandsWithMeta", security(()), params(Handshake),
    responses(
        (status = 200, description = "the challenge, as it came", body = String,
            content_type = "text/plain"),
        (status = 400, description = "no handshake"),
        (status = 401, description = "not the token, or no such vendor"),
    ))]
async fn shake_hands(
    State(web): State<Web>,
    Path(vendor): Path<String>,
    Query(asked): Query<Handshake>,
) -> Result<String, ApiError> {
    let Handshake { mode, token, challenge } = asked;
    let (Some("subscribe"), Some(token), Some(challenge)) = (mode.as_deref(), token, challenge)
    else {
        let why = "hub.mode=subscribe, hub.verify_token and hub.challenge are expected";
        return Err(ApiError::BadRequest(why.to_owned()));
    };
    web.gateway.shake_hands(&vendor, &token).await?;
    Ok(challenge)
}

/// Take an event of a vendor's sender at Twilio
#[utoipa::path(post, path = "/api/webhooks/twilio/{vendor_id}", tag = "Webhooks",
    operation_id = "receiveFromTwilio", security(()),
    params(("X-Twilio-Signature" = String, Header,
        description = "HMAC-SHA1 of this address, as Twilio has it, and the form")),
    request_body(content = String, content_type = "application/x-www-form-urlencoded",
        description = "at most 3 MiB"),
    responses(
        (status = 200, description = "it is on disk and will be worked on; an empty answer in \
            TwiML", body = String, content_type = "text/xml"),
        (status = 401, description = "not proven, or no such vendor"),
        (status = 408, description = "the body came too slowly"),
        (status = 413, description = "the body is too large"),
        (status = 503, description = "it could not be kept: send it again"),
    ))]
async fn twilio(
    State(web): State<Web>,
    Path(vendor): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let caller = Caller { by: ProviderKind::Twilio, vendor, uri, headers };
    let answer = receive(web, caller, "twilio", body).await;
    if answer.status() != StatusCode::OK {
        return answer;
    }
    // Anything else it would send to the customer.
    ([(CONTENT_TYPE, HeaderValue::from_static("text/xml"))], "<Response/>").into_response()
}

/// Who says to be calling.
struct Caller {
    by: ProviderKind,
    vendor: String,
    uri: Uri,
    headers: HeaderMap,
}

async fn receive(web: Web, caller: Caller, route: &'static str, body: Body) -> Response {
    let started = Instant::now();
    let answer = match accept(&web, &caller, body).await {
        Ok(accepted) => Json(Kept::from(&accepted)).into_response(),
        Err(error) => {
            // What is no id may be anything, also something private. Only here, since a span
            // costs more than the rest of most webhooks.
            let id = VendorId::parse(&caller.vendor).ok();
            let span =
                tracing::info_span!("webhook", vendor.id = id.as_ref().map(VendorId::as_str));
            span.in_scope(|| error.into_response())
        }
    };
    count(route, answer.status());
    histogram!(names::WEBHOOK_SECONDS).record(started.elapsed().as_secs_f64());
    answer
}

async fn accept(web: &Web, caller: &Caller, body: Body) -> Result<Accepted, ApiError> {
    let Caller { by, vendor, uri, headers } = caller;
    let length = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    // For everybody alike: it must not tell which vendors there are.
    web.bodies.check(length)?;
    let headers = plain(headers);
    let (service, is_proven) = web.gateway.knock(*by, vendor, &headers).await?;
    let held = web.bodies.read(&service.vendor().id, is_proven, body).await;
    let held = held.map_err(|error| match error {
        ApiError::TooSlow | ApiError::Truncated if !is_proven => AcceptError::NotProven.into(),
        error => error,
    })?;
    let path = uri.path_and_query().map_or(uri.path(), |it| it.as_str());
    let url = web.gateway.public_url(path);
    let came = Came { by: *by, headers, url, body: held.bytes.clone() };
    Ok(web.gateway.accept(&service, came).await?)
}

/// Proofs are in headers of their own: the standard ones are left out. Names are in lower case
/// already; a value that is not text proves nothing.
fn plain(headers: &HeaderMap) -> Headers {
    let text = |it: &HeaderValue| it.to_str().unwrap_or_default().to_owned();
    let is_own = |name: &str| name.starts_with("x-") || name.starts_with("unipile-");
    let own = headers.iter().filter(|it| is_own(it.0.as_str()));
    Headers(own.map(|it| (it.0.as_str().to_owned(), text(it.1))).collect())
}

/// What a kept webhook is answered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Kept {
    #[schema(example = true)]
    success: bool,
    /// `received`, or `duplicate` when all its events were there already.
    #[schema(example = "received")]
    status: &'static str,
    /// Its first event.
    process_id: Option<String>,
}

impl From<&Accepted> for Kept {
    fn from(it: &Accepted) -> Self {
        let status = if it.is_duplicate { "duplicate" } else { "received" };
        Self { success: true, status, process_id: it.id.map(|it| it.to_string()) }
    }
}

fn count(route: &'static str, status: StatusCode) {
    if status == StatusCode::OK {
        counter!(names::WEBHOOKS, "route" => route, "status" => "200").increment(1);
    } else {
        let status = status.as_str().to_owned();
        counter!(names::WEBHOOKS, "route" => route, "status" => status).increment(1);
    }
}
