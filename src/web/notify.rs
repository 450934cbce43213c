//! Alerts: a text to some recipients, and whether one can be sent.

use axum::{
    Json as Answer,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Web,
    auth::ForVendor,
    error::ApiError,
    extract::Json,
    send::{Idempotent, idempotency_key, instance},
};
use crate::{
    domain::{event::Connection, id::EntryId, phone::PhoneNumber},
    gateway::{Alert, Reach},
};

/// A text to some recipients.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AlertBody {
    to: Recipients,
    /// 1 to 65,536 characters; of more than 4,096 the first 4,093 leave, and `...`.
    #[schema(example = "Stock bas : riz")]
    message: String,
    /// Which of the vendor's numbers it leaves from; the first one without it.
    waba_id: Option<String>,
}

/// One number, or up to 1,000: whole ones, with `+`, spaces and dashes or without, also as Twilio
/// writes them (`whatsapp:+221705550001`).
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum Recipients {
    /// One.
    #[schema(example = "+221705550001")]
    One(String),
    /// Some.
    Some(Vec<String>),
}

/// What became of an alert.
#[derive(Serialize, ToSchema)]
pub(super) struct AlertView {
    #[schema(example = true)]
    success: bool,
    /// Recipients who get it.
    queued: usize,
    /// Those who do not.
    refused: usize,
    /// One for each recipient, in order.
    results: Vec<RecipientView>,
}

/// What became of it for one recipient: `messageId`, or `error`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecipientView {
    /// As it was given.
    to: String,
    #[schema(example = "queued")]
    status: &'static str,
    /// The id of their message; the same for one who was given twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// Why they get none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Whether alerts would leave.
#[expect(clippy::struct_excessive_bools, reason = "each is told on its own")]
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReachView {
    #[schema(example = true)]
    success: bool,
    vendor_id: String,
    /// There is a number, and what it takes to send from it.
    configured: bool,
    /// The vendor is served, and its sends are not paused.
    enabled: bool,
    /// The provider says that it is connected.
    connected: bool,
    /// Through whom messages leave now.
    #[schema(example = "meta")]
    provider: Option<&'static str>,
    /// The number that customers see.
    phone_number: Option<String>,
    waba_id: Option<String>,
}

/// Send an alert to some recipients
///
/// Each is kept, then sent from the vendor's own number at that number's pace; one bad number keeps
/// it from nobody else. Limits on requests do not apply.
#[utoipa::path(post, path = "/alerts", tag = "Messages", operation_id = "sendAlert",
    params(Idempotent),
    responses(
        (status = 202, description = "on disk, and on its way, for one recipient at least", body = AlertView),
        (status = 409, description = "another alert was sent with this Idempotency-Key, or the vendor is not active or has no number"),
        (status = 422, description = "a field is wrong, or nobody can be sent to: `results` says why"),
    ))]
pub(super) async fn send(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    headers: HeaderMap,
    Json(body): Json<AlertBody>,
) -> Result<(StatusCode, Answer<AlertView>), ApiError> {
    let to = match body.to {
        Recipients::One(it) => vec![it],
        Recipients::Some(all) => all,
    };
    let alert = Alert {
        to: to.clone(),
        text: body.message,
        instance: instance(body.waba_id)?,
        idempotency_key: idempotency_key(&headers)?,
    };
    let results = web.gateway.send_alert(&vendor, alert).await?;
    let queued = results.iter().filter(|it| it.is_ok()).count();
    let results: Vec<_> = to.into_iter().zip(results).map(RecipientView::of).collect();
    if queued == 0 {
        return Err(ApiError::Nobody(results));
    }
    let refused = results.len() - queued;
    let view = AlertView { success: true, queued, refused, results };
    Ok((StatusCode::ACCEPTED, Answer(view)))
}

/// Show whether alerts would leave
#[utoipa::path(get, path = "/whatsapp-status", tag = "Messages", operation_id = "whatsappStatus",
    responses((status = 200, description = "as its provider says it is now", body = ReachView)))]
pub(super) async fn status(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
) -> Result<Answer<ReachView>, ApiError> {
    let Reach { is_enabled, instance, way } = web.gateway.reach(&vendor).await?;
    let number = way.as_ref().and_then(|it| it.phone_number.clone());
    let number = number.or_else(|| {
        let (instance, way) = (instance.as_ref()?, way.as_ref()?);
        let number = instance.number_at(way.provider).unwrap_or(&instance.phone_number);
        Some(PhoneNumber::expose(number))
    });
    Ok(Answer(ReachView {
        success: true,
        vendor_id: vendor.to_string(),
        configured: way.is_some(),
        enabled: is_enabled,
        connected: way.as_ref().is_some_and(|it| it.live == Some(Connection::Connected)),
        provider: way.map(|it| it.provider.as_str()),
        phone_number: number,
        waba_id: instance.map(|it| it.id.to_string()),
    }))
}

impl RecipientView {
    fn of((to, result): (String, Result<EntryId, String>)) -> Self {
        match result {
            Ok(id) => Self { to, status: "queued", message_id: Some(id.to_string()), error: None },
            Err(error) => Self { to, status: "refused", message_id: None, error: Some(error) },
        }
    }
}
