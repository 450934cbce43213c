//! WABA instances: changed, deleted, moved to another account.

use axum::{Json as Answer, extract::State};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    Web,
    accounts::{MetaBody, TwilioBody, UnipileBody, failover, provider},
    auth::AdminFor,
    error::ApiError,
    extract::{Json, Path, Query},
    instances::{IdBody, SchemeBody, WabaPath, schemes},
    send,
    vendors::present,
};
use crate::{
    domain::{route::ProviderKind, secret::SecretString},
    gateway::{AccountsChange, AdminError, InstanceChange},
};

/// What to change of an instance. What is absent stays; null takes it away, or back to its default.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ChangeBody {
    /// The number messages leave from; it cannot be taken away.
    #[serde(default, deserialize_with = "present")]
    phone_number: Option<Option<String>>,
    /// Who carries its messages; it has an account there.
    provider: Option<String>,
    /// The providers that are tried when that one cannot, in order.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    failover: Option<Option<Vec<String>>>,
    /// Its account at Meta.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<MetaBody>)]
    meta: Option<Option<MetaBody>>,
    /// Its account at Unipile.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<UnipileBody>)]
    unipile: Option<Option<UnipileBody>>,
    /// Its account at Twilio.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<TwilioBody>)]
    twilio: Option<Option<TwilioBody>>,
    /// The session's number at Wasender.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    wasender_instance_id: Option<Option<IdBody>>,
    /// The session's own API key.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = Password, write_only)]
    wasender_api_key: Option<Option<SecretString>>,
    /// What its webhooks are proven by, at least 8 characters. The old one is good for 24 hours
    /// more; with null none is, at once.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = Password, write_only)]
    wasender_webhook_secret: Option<Option<SecretString>>,
    /// A personal access token of the vendor's own account.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = Password, write_only)]
    wasender_token: Option<Option<SecretString>>,
    /// Wasender throttles the session to one message in 5 seconds.
    #[serde(default, deserialize_with = "present")]
    account_protection: Option<Option<bool>>,
    /// How its webhooks may prove themselves: `hmac`, `secret` or both.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    signature_schemes: Option<Option<Vec<SchemeBody>>>,
}

/// Where the messages of a vendor's number shall go through.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchBody {
    /// The number; the vendor's first without it.
    #[serde(default, rename = "wabaId")]
    waba_id: Option<String>,
    /// `wasender`, `meta`, `unipile` or `twilio`.
    provider: String,
    /// The account there: the fields of that provider's block in `PUT …/waba/:wabaId`, and of
    /// Wasender those that begin with its name. What is absent is as stored.
    #[serde(default)]
    #[schema(value_type = Object)]
    config: Value,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteQuery {
    /// Also while messages are in flight (they end unsent), and when Wasender cannot be reached.
    #[serde(default)]
    force: bool,
}

/// It was done.
#[derive(Serialize, ToSchema)]
pub(super) struct DoneView {
    success: bool,
    /// What was done, and what is left to do.
    message: String,
}

/// The vendor's messages go through that account now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SwitchedView {
    success: bool,
    /// What was done, and what is left to do.
    message: String,
    /// The address that its webhooks must go to.
    webhook_url: String,
}

/// Change a number
///
/// What is absent stays, null takes it away. An admin's key alone.
#[utoipa::path(put, path = "/waba/{waba_id}", tag = "Numbers", operation_id = "changeNumber",
    params(WabaPath),
    responses(
        (status = 200, description = "it was changed", body = DoneView),
        (status = 409, description = "another has this number, session or secret, or somebody else changed it meanwhile"),
        (status = 422, description = "a value cannot be; which, and why"),
    ))]
pub(super) async fn put(
    State(web): State<Web>,
    AdminFor(vendor): AdminFor,
    Path(path): Path<WabaPath>,
    Json(body): Json<ChangeBody>,
) -> Result<Answer<DoneView>, ApiError> {
    let remarks = web.gateway.change_instance(&vendor, &path.waba_id, body.change()?).await?;
    Ok(Answer(DoneView { success: true, message: told("the instance was changed", &remarks) }))
}

/// Delete a number
///
/// Its session's webhooks are switched off where they come here; its messages stay on record. An
/// admin's key alone.
#[utoipa::path(delete, path = "/waba/{waba_id}", tag = "Numbers", operation_id = "deleteNumber",
    params(WabaPath, DeleteQuery),
    responses(
        (status = 200, description = "it was deleted", body = DoneView),
        (status = 409, description = "messages are in flight"),
        (status = 422, description = "Wasender refused the token"),
        (status = 502, description = "Wasender could not be reached"),
    ))]
pub(super) async fn delete(
    State(web): State<Web>,
    AdminFor(vendor): AdminFor,
    Path(path): Path<WabaPath>,
    Query(query): Query<DeleteQuery>,
) -> Result<Answer<DoneView>, ApiError> {
    let mut deleted = web.gateway.delete_instance(&vendor, &path.waba_id, query.force).await?;
    if deleted.n_in_flight > 0 {
        let unsent = format!("{} messages were in flight and end unsent", deleted.n_in_flight);
        deleted.warnings.insert(0, unsent);
    }
    let message = told("the instance was deleted", &deleted.warnings);
    Ok(Answer(DoneView { success: true, message }))
}

/// Switch the provider
///
/// Moves a number, by default the vendor's first, to another account; what is in flight goes with
/// it. The former account is kept, so that what is told of messages that left through it is still
/// believed. An admin's key alone.
#[utoipa::path(post, path = "/switch-provider", tag = "Numbers", operation_id = "switchProvider",
    responses(
        (status = 200, description = "messages go through it now", body = SwitchedView),
        (status = 404, description = "the vendor has no such number"),
        (status = 409, description = "another has this number, session or secret, or somebody else changed it meanwhile"),
        (status = 422, description = "a provider that is not there, or a value that cannot be"),
    ))]
pub(super) async fn switch_provider(
    State(web): State<Web>,
    AdminFor(vendor): AdminFor,
    Json(body): Json<SwitchBody>,
) -> Result<Answer<SwitchedView>, ApiError> {
    // The vendor comes first: what a body says of an unknown one is of no interest.
    web.gateway.vendor(&vendor).await?;
    let id = send::instance(body.waba_id.clone())?;
    let change = body.change()?;
    let (webhook_url, remarks) = web.gateway.switch_account(&vendor, id.as_ref(), change).await?;
    let message = told("messages go through this account now", &remarks);
    Ok(Answer(SwitchedView { success: true, message, webhook_url }))
}

impl ChangeBody {
    fn change(self) -> Result<InstanceChange, AdminError> {
        if matches!(self.phone_number, Some(None)) {
            return Err(AdminError::Invalid("phoneNumber cannot be taken away".to_owned()));
        }
        let failover = self.failover.map(|it| failover(&it.unwrap_or_default())).transpose()?;
        let kind = self.provider.as_deref().map(|it| provider("provider", it)).transpose()?;
        Ok(InstanceChange {
            accounts: AccountsChange {
                provider: kind,
                failover,
                meta: self.meta.map(|it| it.map(MetaBody::change)),
                unipile: self.unipile.map(|it| it.map(UnipileBody::change)),
                twilio: self.twilio.map(|it| it.map(TwilioBody::change)),
            },
            phone_number: self.phone_number.flatten(),
            wasender_instance_id: self.wasender_instance_id.map(|it| it.and_then(IdBody::text)),
            session_key: self.wasender_api_key,
            webhook_secret: self.wasender_webhook_secret,
            token: self.wasender_token,
            account_protection: self.account_protection,
            schemes: self.signature_schemes.map(|it| it.as_deref().map(schemes)),
        })
    }
}

impl SwitchBody {
    fn change(self) -> Result<InstanceChange, AdminError> {
        let kind = provider("provider", &self.provider)?;
        let mut change = match kind {
            ProviderKind::Wasender if self.config.is_null() => {
                let why = "config names the account: wasenderInstanceId, wasenderApiKey, wasenderWebhookSecret …";
                return Err(AdminError::Invalid(why.to_owned()));
            }
            ProviderKind::Wasender => read::<ChangeBody>(self.config)?.change()?,
            // Without one it is the account that is stored.
            _ if self.config.is_null() => InstanceChange::default(),
            ProviderKind::Meta => {
                let meta = Some(Some(read::<MetaBody>(self.config)?.change()));
                let accounts = AccountsChange { meta, ..AccountsChange::default() };
                InstanceChange { accounts, ..InstanceChange::default() }
            }
            ProviderKind::Unipile => {
                let unipile = Some(Some(read::<UnipileBody>(self.config)?.change()));
                let accounts = AccountsChange { unipile, ..AccountsChange::default() };
                InstanceChange { accounts, ..InstanceChange::default() }
            }
            ProviderKind::Twilio => {
                let twilio = Some(Some(read::<TwilioBody>(self.config)?.change()));
                let accounts = AccountsChange { twilio, ..AccountsChange::default() };
                InstanceChange { accounts, ..InstanceChange::default() }
            }
        };
        change.accounts.provider = Some(kind);
        Ok(change)
    }
}

/// What serde says could quote a secret.
fn read<T: DeserializeOwned>(config: Value) -> Result<T, AdminError> {
    serde_json::from_value(config).map_err(|_| {
        let why = "config has a field of another provider, or a value of the wrong type";
        AdminError::Invalid(why.to_owned())
    })
}

pub(super) fn told(what: &str, remarks: &[String]) -> String {
    std::iter::once(what).chain(remarks.iter().map(String::as_str)).collect::<Vec<_>>().join("; ")
}
