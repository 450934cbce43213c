//! Whether the program lives, can work, and how much it does.

use axum::{Json as Answer, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Web, auth::Admin, error::ApiError};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default()
        .routes(routes!(health))
        .routes(routes!(api_health))
        .routes(routes!(ready))
        .routes(routes!(metrics))
}

#[derive(Serialize, ToSchema)]
pub(super) struct HealthView {
    #[schema(example = "ok")]
    status: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ReadyView {
    #[schema(example = "ready")]
    status: &'static str,
    /// Parts that do not work while others do their work: `redis`, `store`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<&'static str>,
}

/// Is the program alive?
#[utoipa::path(get, path = "/health", tag = "Operation", operation_id = "health", security(()),
    responses((status = 200, description = "it is", body = HealthView)))]
pub(super) async fn health() -> Answer<HealthView> {
    Answer(HealthView { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Is the program alive? (the path of older callers)
#[utoipa::path(get, path = "/api/health", tag = "Operation", operation_id = "apiHealth",
    security(()), responses((status = 200, description = "it is", body = HealthView)))]
async fn api_health() -> Answer<HealthView> {
    health().await
}

/// Can a webhook be kept?
#[utoipa::path(get, path = "/ready", tag = "Operation", operation_id = "ready", security(()),
    responses(
        (status = 200, description = "it can", body = ReadyView),
        (status = 503, description = "it cannot: the disk, the journal or the store is in the way"),
    ))]
async fn ready(State(web): State<Web>) -> Result<Answer<ReadyView>, ApiError> {
    web.gateway.ready().await?;
    Ok(Answer(ReadyView { status: "ready", degraded: web.gateway.degraded() }))
}

/// Metrics, as Prometheus reads them (admins)
#[utoipa::path(get, path = "/metrics", tag = "Operation", operation_id = "metrics",
    responses((status = 200, description = "Prometheus' text format", body = String)))]
async fn metrics(State(web): State<Web>, _: Admin) -> Result<String, ApiError> {
    Ok(web.render())
}
