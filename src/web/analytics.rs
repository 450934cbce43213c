//! What happened, counted.

use std::collections::BTreeMap;

use axum::{Json as Answer, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Web, auth::Admin, error::ApiError};
use crate::{
    domain::{clock::iso, event::Connection},
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

/// Vendors and instances, counted.
#[utoipa::path(get, path = "/analytics/waba-instances", tag = "Operation",
    responses((status = 200, body = CensusView)))]
pub(super) async fn instances(
    State(web): State<Web>,
    admin: Admin,
) -> Result<Answer<CensusView>, ApiError> {
    admin.may_read()?;
    Ok(Answer(web.gateway.store().census().await?.into()))
}
