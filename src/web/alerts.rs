//! The open alerts.

use axum::{Json as Answer, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Web, auth::Admin, error::ApiError};
use crate::{domain::clock::iso, store::Alert};

/// Alerts in one answer; more are counted only.
const SHOWN_MAX: usize = 1_000;

#[derive(Serialize, ToSchema)]
pub(super) struct AlertsView {
    /// How many are open.
    total: usize,
    /// The open alerts, the oldest first; at most 1000.
    alerts: Vec<AlertView>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlertView {
    /// `refused`, `silent`, `disconnected`, `forwards_dead`, `unreadable`, `disk_full` or
    /// `records_late`.
    #[schema(example = "refused")]
    kind: &'static str,
    /// Whom it concerns; null is the gateway itself.
    #[schema(example = "vendor_001")]
    vendor_id: Option<String>,
    /// When it was raised.
    since: String,
}

impl From<&Alert> for AlertView {
    fn from(it: &Alert) -> Self {
        Self {
            kind: it.kind.as_str(),
            vendor_id: it.vendor.as_ref().map(ToString::to_string),
            since: iso(it.since),
        }
    }
}

/// List the open alerts (admins)
///
/// Each is raised once and ended once. They are looked for once a minute.
#[utoipa::path(get, path = "/alerts", tag = "Operation", operation_id = "listAlerts",
    responses((status = 200, description = "what somebody must look at", body = AlertsView)))]
pub(super) async fn list(State(web): State<Web>, _: Admin) -> Result<Answer<AlertsView>, ApiError> {
    let open = web.gateway.alerts().await?;
    let alerts = open.iter().take(SHOWN_MAX).map(AlertView::from).collect();
    Ok(Answer(AlertsView { total: open.len(), alerts }))
}
