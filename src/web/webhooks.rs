//! Webhooks: headers, then the body, untouched, to the gateway.

use std::time::Instant;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_LENGTH},
    response::{IntoResponse, Response},
};
use metrics::{counter, histogram};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Web, error::ApiError, extract::Path};
use crate::{
    domain::{id::VendorId, webhook::Headers},
    gateway::{AcceptError, Accepted},
    telemetry::names,
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default()
        .routes(routes!(message))
        .routes(routes!(status))
        .routes(routes!(connection))
}

/// Every route takes every event: Wasender has one URL for all of a session's.
macro_rules! webhook {
    ($(#[doc = $doc:literal])+ $name:ident, $path:literal, $id:literal) => {
        $(#[doc = $doc])+
        #[utoipa::path(post, path = $path, tag = "Webhooks", operation_id = $id, security(()),
            params(
                ("X-Webhook-Signature" = Option<String>, Header,
                    description = "the secret itself, as Wasender sends it"),
                ("X-Wasender-Signature" = Option<String>, Header,
                    description = "or HMAC-SHA256 of the raw body with the secret, in hex"),
            ),
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
            headers: HeaderMap,
            body: Body,
        ) -> Response {
            receive(web, vendor, stringify!($name), headers, body).await
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

async fn receive(
    web: Web,
    vendor: String,
    route: &'static str,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let started = Instant::now();
    let answer = match accept(&web, &vendor, &headers, body).await {
        Ok(accepted) => Json(Kept::from(&accepted)).into_response(),
        Err(error) => {
            // What is no id may be anything, also something private. Only here, since a span
            // costs more than the rest of most webhooks.
            let id = VendorId::parse(&vendor).ok();
            let span =
                tracing::info_span!("webhook", vendor.id = id.as_ref().map(VendorId::as_str));
            span.in_scope(|| error.into_response())
        }
    };
    count(route, answer.status());
    histogram!(names::WEBHOOK_SECONDS).record(started.elapsed().as_secs_f64());
    answer
}

async fn accept(
    web: &Web,
    vendor: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Accepted, ApiError> {
    let length = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    // For everybody alike: it must not tell which vendors there are.
    web.bodies.check(length)?;
    let headers = plain(headers);
    let service = web.gateway.knock(vendor, &headers).await?;
    let is_proven = service.is_proven(&headers);
    let held = web.bodies.read(&service.vendor().id, is_proven, body).await;
    let held = held.map_err(|error| match error {
        ApiError::TooSlow | ApiError::Truncated if !is_proven => AcceptError::NotProven.into(),
        error => error,
    })?;
    Ok(web.gateway.accept(&service, headers, held.bytes.clone()).await?)
}

/// Proofs are in headers of their own: the standard ones are left out. Names are in lower case
/// already; a value that is not text proves nothing.
fn plain(headers: &HeaderMap) -> Headers {
    let text = |it: &HeaderValue| it.to_str().unwrap_or_default().to_owned();
    let own = headers.iter().filter(|it| it.0.as_str().starts_with("x-"));
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
