//! WABA instances and their set-up at Wasender.

use axum::{Json as Answer, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Web,
    accounts::{MetaBody, TwilioBody, UnipileBody, failover, provider},
    auth::{AdminFor, ForVendor, IsAdmin},
    error::ApiError,
    extract::{Json, MaybeJson, Path},
    views::{InstanceView, StatusView},
};
use crate::{
    domain::{id::InstanceId, phone::PhoneNumber, secret::SecretString, waba::SignatureSchemes},
    gateway::{AccountsChange, AdminError, NewInstance, SetUp},
};

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct InstanceBody {
    /// With its country code.
    #[schema(example = "+221770000001")]
    phone_number: String,
    /// `wasender`, which it is without this field too, `meta`, `unipile` or `twilio`.
    #[schema(example = "wasender")]
    provider: Option<String>,
    /// The providers that are tried when that one cannot, in order; each has its account below.
    #[serde(default)]
    failover: Vec<String>,
    /// Its account at Meta.
    meta: Option<MetaBody>,
    /// Its account at Unipile.
    unipile: Option<UnipileBody>,
    /// Its account at Twilio.
    twilio: Option<TwilioBody>,
    /// The session's id at Wasender.
    wasender_instance_id: Option<IdBody>,
    /// The session's own key; set-up fetches it.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    wasender_api_key: Option<SecretString>,
    /// What proves its webhooks, 8 characters or more; set-up fetches it.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    wasender_webhook_secret: Option<SecretString>,
    /// An account token of its own, where the operator's is not its account's.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    wasender_token: Option<SecretString>,
    /// The session has Wasender's account protection on: one message in 5 s.
    #[serde(default)]
    account_protection: bool,
    /// The proofs that count; both without this field.
    signature_schemes: Option<Vec<SchemeBody>>,
}

/// Wasender's ids are numbers, and stored as text too.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum IdBody {
    Number(u64),
    Text(String),
}

impl IdBody {
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Number(n) => Some(n.to_string()),
            Self::Text(text) => Some(text.trim().to_owned()).filter(|it| !it.is_empty()),
        }
    }
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SchemeBody {
    Hmac,
    Secret,
}

/// Everything in it is an admin's.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SetUpBody {
    /// Instead of the session that is stored.
    wasender_instance_id: Option<IdBody>,
    /// Instead of the number that is stored.
    #[schema(example = "+221770000001")]
    phone_number: Option<String>,
    /// Instead of the secret that is stored; both are good for 24 h.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    webhook_secret: Option<SecretString>,
    /// Takes the session over although its webhooks go elsewhere today.
    #[serde(default)]
    replace: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct InstancesView {
    #[schema(example = true)]
    success: bool,
    instances: Vec<InstanceView>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetUpView {
    #[schema(example = true)]
    success: bool,
    #[schema(example = "configured")]
    status: &'static str,
    /// What was done, with the warnings.
    message: String,
    /// Where the session's webhooks go now.
    #[schema(example = "https://gateway.example/api/webhooks/wasender/vendor_001")]
    webhook_url: String,
    /// What works and could be better.
    warnings: Vec<String>,
}

impl SetUpBody {
    fn is_empty(&self) -> bool {
        let Self { wasender_instance_id, phone_number, webhook_secret, replace } = self;
        wasender_instance_id.is_none()
            && phone_number.is_none()
            && webhook_secret.is_none()
            && !replace
    }
}

#[derive(Deserialize, IntoParams)]
pub(super) struct WabaPath {
    /// The number's id.
    #[param(value_type = String, example = "waba_vendor_001")]
    pub(super) waba_id: InstanceId,
}

/// Add a number (admins)
#[utoipa::path(post, path = "/waba-instances", tag = "Numbers", operation_id = "createInstance",
    responses(
        (status = 201, description = "the number", body = InstanceView),
        (status = 409, description = "the number, session or secret is in use already"),
        (status = 422, description = "a value is outside its limits"),
    ))]
pub(super) async fn create(
    State(web): State<Web>,
    AdminFor(vendor): AdminFor,
    Json(body): Json<InstanceBody>,
) -> Result<(StatusCode, Answer<InstanceView>), ApiError> {
    let instance = web.gateway.create_instance(&vendor, body.new_instance()?).await?;
    Ok((StatusCode::CREATED, Answer(InstanceView::from(&instance))))
}

/// List a vendor's numbers
#[utoipa::path(get, path = "/waba-instances", tag = "Numbers", operation_id = "listInstances",
    responses((status = 200, description = "at most 32", body = InstancesView)))]
pub(super) async fn list(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
) -> Result<Answer<InstancesView>, ApiError> {
    let found = web.gateway.instances(&vendor).await?;
    let instances = found.iter().map(InstanceView::from).collect();
    Ok(Answer(InstancesView { success: true, instances }))
}

/// Show a number
#[utoipa::path(get, path = "/waba/{waba_id}", tag = "Numbers", operation_id = "getInstance",
    params(WabaPath), responses((status = 200, description = "the number", body = InstanceView)))]
pub(super) async fn get(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<WabaPath>,
) -> Result<Answer<InstanceView>, ApiError> {
    let instance = web.gateway.instance(&vendor, &path.waba_id).await?;
    Ok(Answer(InstanceView::from(&instance)))
}

/// Let the session's webhooks come here
///
/// Looks the session up at Wasender, checks that its number is the vendor's, takes over its key and
/// secret and enters this gateway's address. Body fields need an admin's key.
#[utoipa::path(post, path = "/setup-wasender-webhook", tag = "Numbers",
    operation_id = "setUpWebhook", request_body = Option<SetUpBody>,
    responses(
        (status = 200, description = "it is done", body = SetUpView),
        (status = 409, description = "the session's webhooks go to `webhookUrl` today (ask with \
            `replace`), or it is of another number"),
        (status = 422, description = "Wasender cannot reach the base URL, refuses the token or \
            knows no such session"),
        (status = 502, description = "Wasender does not answer, or did not keep what it was told"),
    ))]
pub(super) async fn set_up(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    is_admin: IsAdmin,
    MaybeJson(body): MaybeJson<SetUpBody>,
) -> Result<Answer<SetUpView>, ApiError> {
    // The operator's account has other vendors' sessions too.
    if !body.is_empty() {
        is_admin.demand()?;
    }
    let set_up = SetUp {
        wasender_instance_id: body.wasender_instance_id.and_then(IdBody::text),
        phone_number: body.phone_number,
        webhook_secret: body.webhook_secret,
        replace: body.replace,
        ..SetUp::default()
    };
    let done = web.gateway.set_up_webhook(&vendor, set_up).await?;
    let message = if done.warnings.is_empty() {
        "the session's webhooks come to this gateway".to_owned()
    } else {
        format!("the session's webhooks come to this gateway; {}", done.warnings.join("; "))
    };
    Ok(Answer(SetUpView {
        success: true,
        status: "configured",
        message,
        webhook_url: done.webhook_url,
        warnings: done.warnings,
    }))
}

/// Show the connection of a vendor's first number
#[utoipa::path(get, path = "/wasender-status", tag = "Numbers", operation_id = "wasenderStatus",
    responses((status = 200, description = "as stored, and at Wasender now", body = StatusView)))]
pub(super) async fn status(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
) -> Result<Answer<StatusView>, ApiError> {
    Ok(Answer(StatusView::from(&web.gateway.instance_status(&vendor).await?)))
}

impl InstanceBody {
    fn new_instance(self) -> Result<NewInstance, AdminError> {
        let kind = self.provider.as_deref().map(|it| provider("provider", it)).transpose()?;
        let accounts = AccountsChange {
            provider: kind,
            failover: Some(failover(&self.failover)?),
            meta: self.meta.map(|it| Some(it.change())),
            unipile: self.unipile.map(|it| Some(it.change())),
            twilio: self.twilio.map(|it| Some(it.change())),
        };
        let phone_number = PhoneNumber::from_person(&self.phone_number, None)
            .map_err(|it| AdminError::Invalid(format!("phoneNumber: {it}")))?;
        let schemes = self.signature_schemes.as_deref().map(schemes).unwrap_or_default();
        Ok(NewInstance {
            phone_number,
            wasender_instance_id: self.wasender_instance_id.and_then(IdBody::text),
            session_key: self.wasender_api_key,
            webhook_secret: self.wasender_webhook_secret,
            token: self.wasender_token,
            account_protection: self.account_protection,
            schemes,
            accounts,
        })
    }
}

pub(super) fn schemes(named: &[SchemeBody]) -> SignatureSchemes {
    let has = |scheme| named.contains(&scheme);
    SignatureSchemes { hmac: has(SchemeBody::Hmac), secret: has(SchemeBody::Secret) }
}
