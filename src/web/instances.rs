//! WABA instances and their set-up at Wasender.

use axum::{Json as Answer, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Web,
    auth::{AdminFor, ForVendor, IsAdmin},
    error::ApiError,
    extract::{Json, MaybeJson, Path},
    views::{InstanceView, StatusView},
};
use crate::{
    domain::{id::InstanceId, phone::PhoneNumber, secret::SecretString, waba::SignatureSchemes},
    gateway::{AdminError, NewInstance, SetUp},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct InstanceBody {
    phone_number: String,
    provider: Option<String>,
    wasender_instance_id: Option<IdBody>,
    wasender_api_key: Option<SecretString>,
    wasender_webhook_secret: Option<SecretString>,
    wasender_token: Option<SecretString>,
    #[serde(default)]
    account_protection: bool,
    signature_schemes: Option<Vec<SchemeBody>>,
}

/// Wasender's ids are numbers, and stored as text too.
#[derive(Deserialize)]
#[serde(untagged)]
enum IdBody {
    Number(u64),
    Text(String),
}

impl IdBody {
    fn text(self) -> Option<String> {
        match self {
            Self::Number(n) => Some(n.to_string()),
            Self::Text(text) => Some(text.trim().to_owned()).filter(|it| !it.is_empty()),
        }
    }
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum SchemeBody {
    Hmac,
    Secret,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SetUpBody {
    wasender_instance_id: Option<IdBody>,
    phone_number: Option<String>,
    webhook_secret: Option<SecretString>,
    #[serde(default)]
    replace: bool,
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

#[derive(Deserialize)]
pub(super) struct WabaPath {
    waba_id: InstanceId,
}

pub(super) async fn create(
    State(web): State<Web>,
    AdminFor(vendor): AdminFor,
    Json(body): Json<InstanceBody>,
) -> Result<(StatusCode, Answer<InstanceView>), ApiError> {
    let instance = web.gateway.create_instance(&vendor, body.new_instance()?).await?;
    Ok((StatusCode::CREATED, Answer(InstanceView::from(&instance))))
}

pub(super) async fn list(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
) -> Result<Answer<Value>, ApiError> {
    let found = web.gateway.instances(&vendor).await?;
    let instances: Vec<InstanceView> = found.iter().map(InstanceView::from).collect();
    Ok(Answer(json!({ "success": true, "instances": instances })))
}

pub(super) async fn get(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<WabaPath>,
) -> Result<Answer<InstanceView>, ApiError> {
    let instance = web.gateway.instance(&vendor, &path.waba_id).await?;
    Ok(Answer(InstanceView::from(&instance)))
}

pub(super) async fn set_up(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    is_admin: IsAdmin,
    MaybeJson(body): MaybeJson<SetUpBody>,
) -> Result<Answer<Value>, ApiError> {
    // The operator's account has other vendors' sessions too.
    if !body.is_empty() {
        is_admin.demand()?;
    }
    let set_up = SetUp {
        wasender_instance_id: body.wasender_instance_id.and_then(IdBody::text),
        phone_number: body.phone_number,
        webhook_secret: body.webhook_secret,
        replace: body.replace,
    };
    let done = web.gateway.set_up_webhook(&vendor, set_up).await?;
    let message = if done.warnings.is_empty() {
        "the session's webhooks come to this gateway".to_owned()
    } else {
        format!("the session's webhooks come to this gateway; {}", done.warnings.join("; "))
    };
    Ok(Answer(json!({
        "success": true,
        "status": "configured",
        "message": message,
        "webhookUrl": done.webhook_url,
        "warnings": done.warnings,
    })))
}

pub(super) async fn status(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
) -> Result<Answer<StatusView>, ApiError> {
    Ok(Answer(StatusView::from(&web.gateway.instance_status(&vendor).await?)))
}

impl InstanceBody {
    fn new_instance(self) -> Result<NewInstance, AdminError> {
        if self.provider.is_some_and(|it| it != "wasender") {
            let why = "this version knows the provider wasender only";
            return Err(AdminError::Invalid(why.to_owned()));
        }
        let phone_number = PhoneNumber::from_person(&self.phone_number, None)
            .map_err(|it| AdminError::Invalid(format!("phoneNumber: {it}")))?;
        let schemes = self.signature_schemes.map_or_else(SignatureSchemes::default, |it| {
            let has = |scheme| it.contains(&scheme);
            SignatureSchemes { hmac: has(SchemeBody::Hmac), secret: has(SchemeBody::Secret) }
        });
        Ok(NewInstance {
            phone_number,
            wasender_instance_id: self.wasender_instance_id.and_then(IdBody::text),
            session_key: self.wasender_api_key,
            webhook_secret: self.wasender_webhook_secret,
            token: self.wasender_token,
            account_protection: self.account_protection,
            schemes,
        })
    }
}
