//! A number's ways out: their webhooks set up, and how each of them is now.

use std::collections::BTreeMap;

use axum::{Json as Answer, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Web,
    accounts::provider,
    auth::{ForVendor, IsAdmin},
    error::ApiError,
    extract::{MaybeJson, Query},
};
use crate::{
    domain::{clock::iso, event::Connection, id::InstanceId, phone::PhoneNumber},
    gateway::{AdminError, Connected, WayStatus},
};

/// Which webhooks shall come here.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HookBody {
    /// The number; the vendor's first one without it.
    waba_id: Option<String>,
    /// Whose; the number's own provider without it.
    provider: Option<String>,
    /// Also if they go elsewhere today. An admin's key alone.
    #[serde(default)]
    replace: bool,
}

/// Webhooks come here now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HookView {
    #[schema(example = true)]
    success: bool,
    #[schema(example = "configured")]
    status: &'static str,
    provider: &'static str,
    /// Where they go now.
    webhook_url: String,
    /// What is left for a person to do.
    warnings: Vec<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StatusQuery {
    /// The number; all of the vendor's without it.
    #[serde(rename = "wabaId")]
    #[param(rename = "wabaId")]
    waba_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConnectedView {
    #[schema(example = true)]
    success: bool,
    vendor_id: String,
    numbers: Vec<NumberView>,
}

/// A number and its ways out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NumberView {
    waba_id: String,
    phone_number: String,
    /// As its own provider last told it.
    status: &'static str,
    last_sync: Option<String>,
    /// In the order in which they are tried.
    providers: Vec<WayView>,
}

/// One way out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WayView {
    provider: &'static str,
    /// It has what it takes to send.
    can_send: bool,
    /// What the provider says now; null when it could not be asked.
    live: Option<&'static str>,
    /// The number customers see there; null where the provider does not tell it.
    phone_number: Option<String>,
    /// `closed`: messages pass. `open`: it has failed too often or wants no more. `half_open`: the
    /// next message tries it.
    #[schema(example = "closed")]
    circuit: &'static str,
    /// Since when it is not closed.
    shut_since: Option<String>,
    /// Until when none passes.
    shut_until: Option<String>,
    /// Why: a word of the last attempt, or the state that the provider told.
    #[schema(example = "not_connected")]
    shut_why: Option<&'static str>,
    /// What else the provider says of it, in its words.
    details: BTreeMap<&'static str, String>,
}

/// Let a provider's webhooks come here
///
/// Of Wasender as `setup-wasender-webhook` does; of Meta, Unipile and Twilio by their own calls.
#[utoipa::path(post, path = "/setup-webhook", tag = "Numbers", operation_id = "setUpProviderWebhook",
    request_body = Option<HookBody>,
    responses(
        (status = 200, description = "it is done", body = HookView),
        (status = 409, description = "they go to `webhookUrl` today: ask with `replace`"),
        (status = 422, description = "the provider cannot reach the base URL, or refuses"),
        (status = 502, description = "the provider does not answer"),
    ))]
pub(super) async fn set_up(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    is_admin: IsAdmin,
    MaybeJson(body): MaybeJson<HookBody>,
) -> Result<Answer<HookView>, ApiError> {
    if body.replace {
        is_admin.demand()?;
    }
    let id = body.waba_id.as_deref().map(instance).transpose()?;
    let by = body.provider.as_deref().map(|it| provider("provider", it)).transpose()?;
    let done = web.gateway.set_up_hook(&vendor, id.as_ref(), by, body.replace).await?;
    Ok(Answer(HookView {
        success: true,
        status: "configured",
        provider: done.provider.as_str(),
        webhook_url: done.webhook_url,
        warnings: done.warnings,
    }))
}

/// Show how a vendor's numbers are at each of their providers
#[utoipa::path(get, path = "/status", tag = "Numbers", operation_id = "numbersStatus",
    params(StatusQuery),
    responses((status = 200, description = "as stored, and at the providers now",
        body = ConnectedView)))]
pub(super) async fn status(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Query(query): Query<StatusQuery>,
) -> Result<Answer<ConnectedView>, ApiError> {
    let id = query.waba_id.as_deref().map(instance).transpose()?;
    let found = web.gateway.connected(&vendor, id.as_ref()).await?;
    let numbers = found.iter().map(NumberView::from).collect();
    Ok(Answer(ConnectedView { success: true, vendor_id: vendor.to_string(), numbers }))
}

/// An id that cannot be one names nothing.
fn instance(id: &str) -> Result<InstanceId, AdminError> {
    InstanceId::parse(id).map_err(|_| AdminError::NoInstance)
}

impl From<&Connected> for NumberView {
    fn from(it: &Connected) -> Self {
        let Connected { instance, ways } = it;
        let view = |it: &WayStatus| WayView {
            provider: it.provider.as_str(),
            can_send: it.can_send,
            live: it.live.map(Connection::as_str),
            phone_number: it
                .phone_number
                .clone()
                .or_else(|| instance.number_at(it.provider).map(PhoneNumber::expose)),
            circuit: match it.shut {
                Some(shut) if shut.is_passed_over => "open",
                Some(_) => "half_open",
                None => "closed",
            },
            shut_since: it.shut.map(|it| iso(it.since)),
            shut_until: it.shut.map(|it| iso(it.until)),
            shut_why: it.shut.map(|it| it.why),
            details: it.details.iter().cloned().collect(),
        };
        Self {
            waba_id: instance.id.to_string(),
            phone_number: instance.phone_number.expose(),
            status: instance.status.as_str(),
            last_sync: instance.last_sync.map(iso),
            providers: ways.iter().map(view).collect(),
        }
    }
}
