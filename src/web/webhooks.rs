//! Webhooks: headers, then the body, untouched, to the gateway.

use std::time::Instant;

use axum::{
    Json,
    body::Body,
    extract::{MatchedPath, State},
    http::{HeaderMap, header::CONTENT_LENGTH},
    response::{IntoResponse, Response},
};
use metrics::{counter, histogram};
use serde_json::json;

use super::{Web, error::ApiError, extract::Path};
use crate::{domain::webhook::Headers, gateway::Accepted, telemetry::names};

pub(super) async fn receive(
    State(web): State<Web>,
    Path(vendor): Path<String>,
    route: MatchedPath,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let started = Instant::now();
    let answer = match accept(&web, &vendor, &headers, body).await {
        Ok(accepted) => {
            let status = if accepted.is_duplicate { "duplicate" } else { "received" };
            let id = accepted.id.map(|it| it.to_string());
            Json(json!({ "success": true, "status": status, "processId": id })).into_response()
        }
        Err(error) => error.into_response(),
    };
    let route = if route.as_str().ends_with("/status") {
        "status"
    } else if route.as_str().ends_with("/connection") {
        "connection"
    } else {
        "message"
    };
    let status = answer.status().as_str().to_owned();
    counter!(names::WEBHOOKS, "route" => route, "status" => status).increment(1);
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
    let headers = plain(headers);
    let service = web.gateway.knock(vendor, &headers).await?;
    let vendor = &service.vendor().id;
    tracing::Span::current().record("vendor.id", tracing::field::display(vendor));
    let held = web.unproven.read(length, body).await?;
    Ok(web.gateway.accept(&service, headers, held.bytes.clone()).await?)
}

/// Header names are in lower case already; a value that is not text proves nothing.
fn plain(headers: &HeaderMap) -> Headers {
    let text = |it: &axum::http::HeaderValue| it.to_str().unwrap_or_default().to_owned();
    Headers(headers.iter().map(|it| (it.0.as_str().to_owned(), text(it.1))).collect())
}
