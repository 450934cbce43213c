//! What happened, counted.

use std::collections::BTreeMap;

use axum::{Json as Answer, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Web,
    auth::{Admin, ForVendor},
    error::ApiError,
    extract::Query,
};
use crate::{
    domain::{clock::iso, event::Connection},
    gateway::{Asked, Counted},
    store::Census,
};

/// Vendors and instances, counted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CensusView {
    total_vendors: i64,
    total_instances: i64,
    /// Instances by provider.
    by_provider: BTreeMap<String, i64>,
    /// Instances by status: `connected`, `pending`, `disconnected`, `error`.
    status_breakdown: BTreeMap<String, i64>,
    /// At most 20, newest first.
    recent_failures: Vec<FailureView>,
}

/// Why a send of an instance last failed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FailureView {
    vendor_id: String,
    phone_number: String,
    /// One word: `unknown`, `expired`, `no_session_key`, `unauthorized`, `invalid`, `plan` or
    /// `failed`.
    last_error: String,
    last_failed_at: String,
}

impl From<Census> for CensusView {
    fn from(it: Census) -> Self {
        let mut by_provider = BTreeMap::from([("wasender".to_owned(), 0)]);
        by_provider.extend(it.by_provider);
        let states = [
            Connection::Connected,
            Connection::Pending,
            Connection::Disconnected,
            Connection::Error,
        ];
        let mut status_breakdown: BTreeMap<String, i64> =
            states.into_iter().map(|it| (it.as_str().to_owned(), 0)).collect();
        status_breakdown.extend(it.by_status);
        let failure = |it: crate::store::Failure| FailureView {
            vendor_id: it.vendor.to_string(),
            phone_number: it.phone_number.expose(),
            last_error: it.error,
            last_failed_at: iso(it.at),
        };
        Self {
            total_vendors: it.n_vendors,
            total_instances: it.n_instances,
            by_provider,
            status_breakdown,
            recent_failures: it.failures.into_iter().map(failure).collect(),
        }
    }
}

/// Count vendors and numbers
#[utoipa::path(get, path = "/analytics/waba-instances", tag = "Operation",
    operation_id = "countNumbers",
    responses((status = 200, description = "counts, and the latest failures", body = CensusView)))]
pub(super) async fn instances(
    State(web): State<Web>,
    _: Admin,
) -> Result<Answer<CensusView>, ApiError> {
    Ok(Answer(web.gateway.store().census().await?.into()))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SpanQuery {
    /// From when: an ISO 8601 date or time, UTC where it does not say; 30 days before `to` without.
    from: Option<String>,
    /// Until when; a bare date includes its day. Now without. At most 400 days after `from`.
    to: Option<String>,
    /// Messages of this status alone.
    status: Option<String>,
}

/// A vendor's messages, counted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CountedView {
    vendor_id: String,
    period: PeriodView,
    stats: StatsView,
}

/// What was counted: whole hours, the last one not included.
#[derive(Serialize, ToSchema)]
struct PeriodView {
    from: String,
    to: String,
}

/// Messages by where they stand now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StatsView {
    total_messages: i64,
    inbound: i64,
    outbound: i64,
    /// `received` are customers' messages, the rest the vendor's.
    by_status: BTreeMap<String, i64>,
    /// Seconds from a customer's message to its first answer accepted by the provider, on average
    /// over all answers of the period; null when there was none.
    avg_response_time: Option<f64>,
}

/// Count messages
///
/// By the hour in which they were made; spans are rounded outwards to whole hours.
#[utoipa::path(get, path = "/analytics/vendor/{vendor_id}/messages", tag = "Messages",
    operation_id = "countMessages", params(SpanQuery),
    responses(
        (status = 200, description = "counts of the period", body = CountedView),
        (status = 422, description = "the span or the status is malformed, or the span too long"),
    ))]
pub(super) async fn messages(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Query(query): Query<SpanQuery>,
) -> Result<Answer<CountedView>, ApiError> {
    let SpanQuery { from, to, status } = &query;
    let asked = Asked { from: from.as_deref(), to: to.as_deref(), status: status.as_deref() };
    let Counted { from, to, inbound, outbound, by_status, response_seconds } =
        web.gateway.analytics(&vendor, asked).await?;
    Ok(Answer(CountedView {
        vendor_id: vendor.to_string(),
        period: PeriodView { from: iso(from), to: iso(to) },
        stats: StatsView {
            total_messages: inbound + outbound,
            inbound,
            outbound,
            by_status,
            avg_response_time: response_seconds,
        },
    }))
}
