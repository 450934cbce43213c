//! Webhooks: headers, then the body, untouched, to the gateway.

use std::time::Instant;

use axum::{
    Json,
    body::Body,
    extract::{MatchedPath, State},
    http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_LENGTH},
    response::{IntoResponse, Response},
};
use metrics::{counter, histogram};
use serde::Serialize;
use tracing::Instrument;

use super::{Web, error::ApiError, extract::Path};
use crate::{
    domain::{id::VendorId, webhook::Headers},
    gateway::{AcceptError, Accepted},
    telemetry::names,
};

pub(super) async fn receive(
    State(web): State<Web>,
    Path(vendor): Path<String>,
    route: MatchedPath,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let started = Instant::now();
    // What is no id may be anything, also something private.
    let id = VendorId::parse(&vendor).ok();
    let span = tracing::info_span!("webhook", vendor.id = id.as_ref().map(VendorId::as_str));
    let answer = async {
        match accept(&web, &vendor, &headers, body).await {
            Ok(accepted) => Json(Kept::from(&accepted)).into_response(),
            Err(error) => error.into_response(),
        }
    };
    let answer = answer.instrument(span).await;
    let route = if route.as_str().ends_with("/status") {
        "status"
    } else if route.as_str().ends_with("/connection") {
        "connection"
    } else {
        "message"
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
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    success: bool,
    status: &'static str,
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
