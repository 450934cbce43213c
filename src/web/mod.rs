//! HTTP → gateway.

mod accounts;
mod admin;
mod alerts;
mod analytics;
mod answers;
pub(crate) mod audit;
mod auth;
mod body;
mod bulk;
mod connect;
mod connections;
mod details;
mod docs;
mod error;
mod exchange;
mod extract;
mod forwards;
mod health;
mod hours;
mod instances;
pub(crate) mod journal;
mod linger;
mod media;
mod messages;
mod new_message;
mod notify;
mod openapi;
mod people;
mod records;
mod responders;
mod rich;
mod rotate;
mod send;
mod serve;
mod vendors;
mod views;
mod waba;
mod webhooks;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tracing::{Instrument, field::Empty};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{auth::Limits, body::Bodies, error::ApiError};
pub use self::{
    connections::{connections_max, raise_open_files},
    serve::{Ends, LINGER, serve, serve_at_most},
};
use crate::{domain::clock::SECOND, gateway::Gateway, telemetry::names};

/// The largest body of an admin request, in bytes.
const ADMIN_BODY_BYTES_MAX: usize = 1024 * 1024;

/// What handlers work with.
#[derive(Clone)]
pub struct Web {
    gateway: Gateway,
    metrics: PrometheusHandle,
    limits: Arc<Limits>,
    bodies: Bodies,
}

impl Web {
    /// Serves this gateway; webhooks have at most `body_bytes_max`.
    #[must_use]
    pub fn new(gateway: Gateway, metrics: PrometheusHandle, body_bytes_max: usize) -> Self {
        let bodies = Bodies::new(body_bytes_max);
        Self { gateway, metrics, limits: Arc::new(Limits::new()), bodies }
    }

    /// Everything that is served.
    pub fn router(&self) -> Router {
        let (routes, _) = described_routes(Some(self)).split_for_parts();
        routes
            .fallback(|| async { ApiError::NoRoute })
            .method_not_allowed_fallback(|| async { ApiError::NoMethod })
            .with_state(self.clone())
    }

    /// What is served on the inner port, without a key.
    pub fn metrics_router(&self) -> Router {
        Router::new()
            .route("/metrics", get(|State(web): State<Self>| async move { web.render() }))
            .route("/health", get(health::health))
            .with_state(self.clone())
    }

    fn render(&self) -> String {
        let (n_waiting, _, oldest) = self.gateway.work().load();
        let now = self.gateway.clock().now();
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        let (n_waiting, age) =
            (n_waiting as f64, oldest.map_or(0.0, |it| (now - it) as f64 / SECOND as f64));
        metrics::gauge!(names::WAITING).set(n_waiting);
        metrics::gauge!(names::OLDEST_SECONDS).set(age);
        self.metrics.run_upkeep();
        self.metrics.render()
    }
}

/// Every route with its description: none is served that is not in `/openapi.json`. Without a `Web`
/// for the description alone.
fn described_routes(web: Option<&Web>) -> OpenApiRouter<Web> {
    let others = admin_routes(web)
        .merge(health::routes())
        .routes(routes!(openapi::document))
        .routes(routes!(media::get_linked))
        .merge(docs::routes())
        .layer(middleware::from_fn(spanned));
    // A webhook's span is its own: it names the vendor from the start.
    OpenApiRouter::with_openapi(openapi::base()).merge(webhooks::routes()).merge(others)
}

fn admin_routes(web: Option<&Web>) -> OpenApiRouter<Web> {
    let of_vendor = OpenApiRouter::default()
        .routes(routes!(vendors::put, vendors::get))
        .routes(routes!(vendors::renew_signing_secret))
        .routes(routes!(vendors::pause))
        .routes(routes!(vendors::resume))
        .routes(routes!(messages::ledger))
        .routes(routes!(instances::create, instances::list))
        .routes(routes!(instances::get, waba::put, waba::delete))
        .routes(routes!(waba::switch_provider))
        .routes(routes!(rotate::secret))
        .routes(routes!(instances::set_up))
        .routes(routes!(instances::status))
        .routes(routes!(connect::set_up))
        .routes(routes!(connect::status))
        .routes(routes!(send::send_text))
        .routes(routes!(messages::list))
        .routes(routes!(messages::journey))
        .routes(routes!(messages::pause))
        .routes(routes!(messages::resume))
        .routes(routes!(people::list))
        .routes(routes!(people::get, people::erase))
        .routes(routes!(people::messages))
        .routes(routes!(people::pause))
        .routes(routes!(people::resume))
        .routes(routes!(people::export))
        .routes(routes!(forwards::list))
        .routes(routes!(forwards::replay))
        .routes(routes!(forwards::test))
        .routes(routes!(forwards::drop_one));
    // For the vendors' own programs.
    let own = OpenApiRouter::default()
        .routes(routes!(send::send))
        .routes(routes!(send::show, send::edit, send::take_back))
        .routes(routes!(notify::send))
        .routes(routes!(notify::status))
        .merge(bulk::routes())
        .routes(routes!(media::upload))
        .routes(routes!(media::get));
    let of_all = OpenApiRouter::default()
        .routes(routes!(vendors::list))
        .routes(routes!(admin::create_key, admin::list_keys))
        .routes(routes!(admin::delete_key))
        .routes(routes!(admin::pause))
        .routes(routes!(admin::resume))
        .routes(routes!(analytics::instances))
        .routes(routes!(analytics::messages))
        .routes(routes!(alerts::list))
        .routes(routes!(audit::list))
        .merge(journal::routes())
        .merge(exchange::routes());
    let mut administration = OpenApiRouter::default()
        .nest("/api/admin/vendors/{vendor_id}", of_vendor)
        .nest("/api/admin", of_all);
    if let Some(web) = web {
        let record = middleware::from_fn_with_state(web.clone(), audit::audited);
        administration = administration.layer(record);
    }
    OpenApiRouter::default()
        .merge(administration)
        .nest("/api/v1/vendors/{vendor_id}", own)
        .layer(DefaultBodyLimit::max(ADMIN_BODY_BYTES_MAX))
}

/// A panic is a 500 and not a cut connection.
fn panicked() -> Response {
    let id = request_id();
    tracing::error!(request.id = %id, "a request panicked");
    ApiError::Internal(id).into_response()
}

/// One span and one id for each request of a caller. The route is logged and the path is not.
async fn spanned(request: Request, next: Next) -> Response {
    let id = request_id();
    let route = request.extensions().get::<MatchedPath>().map(|it| it.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".to_owned());
    let method: Method = request.method().clone();
    let span = tracing::info_span!("request", request.id = %id, %method, route, vendor.id = Empty);
    let mut answer = next.run(request).instrument(span.clone()).await;
    if answer.status() >= StatusCode::BAD_REQUEST {
        span.in_scope(|| tracing::debug!(http.status = answer.status().as_u16(), "refused"));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert("x-request-id", id);
    }
    answer
}

fn request_id() -> String {
    let mut bytes = [0_u8; 8];
    // Without randomness an id of zeros still lets the request through.
    let _ = getrandom::fill(&mut bytes);
    format!("req_{}", hex::encode(bytes))
}
