//! Messages sent through the API, and changed after they were sent.

use axum::{
    Json as Answer,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Web,
    accounts::provider,
    auth::ForVendor,
    error::ApiError,
    extract::{Json, Path},
    messages::MessagePath,
    new_message::NewMessage,
    views::JourneyView,
};
use crate::{
    domain::{
        clock::{Millis, from_iso},
        id::{EntryId, InstanceId, VendorId},
        message::{Content, Text},
    },
    gateway::{AdminError, SendError, SendMessage},
};

/// A text to send: the short form.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SendBody {
    /// The customer's number, as people write it.
    #[schema(example = "+221705550001")]
    to: String,
    /// 1 to 65,536 characters.
    #[schema(example = "Bonjour")]
    message: String,
    /// Which of the vendor's numbers it leaves from; the first one without it.
    #[schema(example = "waba_vendor_001")]
    waba_id: Option<String>,
}

/// Another text for a message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EditBody {
    /// 1 to 4,096 characters; 1,024 under a file.
    #[schema(example = "Bonjour à tous")]
    text: String,
}

/// A message that is kept, and will be sent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueuedView {
    #[schema(example = true)]
    success: bool,
    /// Its id; that of the first part where there are several.
    message_id: String,
    #[schema(example = "queued")]
    status: &'static str,
    /// How many messages it is sent as, where that is more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
}

/// A message that was changed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangedView {
    #[schema(example = true)]
    success: bool,
    message_id: String,
}

/// The caller's own id for a request.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes the header that is read by hand")]
pub(super) struct Idempotent {
    /// The caller's own id for the request, 1 to 255 characters: the same request is done once.
    /// Known for 8 days.
    #[param(rename = "Idempotency-Key", example = "order-1042-confirmed")]
    idempotency_key: Option<String>,
}

/// Send a text (short form)
///
/// It is kept, then sent from the vendor's own number at that number's pace. Limits on requests do
/// not apply.
#[utoipa::path(post, path = "/send-message", tag = "Messages", operation_id = "sendText",
    params(Idempotent),
    responses(
        (status = 202, description = "on disk, and on its way", body = QueuedView),
        (status = 409, description = "another message was sent with this Idempotency-Key"),
        (status = 422, description = "a field is wrong"),
    ))]
pub(super) async fn send_text(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    headers: HeaderMap,
    Json(body): Json<SendBody>,
) -> Result<(StatusCode, Answer<QueuedView>), ApiError> {
    let message = SendMessage {
        to: body.to,
        content: Content::text(body.message),
        reply_to: None,
        provider: None,
        send_at: None,
        instance: instance(body.waba_id)?,
        idempotency_key: idempotency_key(&headers)?,
    };
    queue(&web, &vendor, message).await.map_err(|error| match error {
        // The field has another name here.
        SendError::Admin(AdminError::Invalid(why)) => {
            let why = why.strip_prefix("text: ").map(|it| format!("message: {it}")).unwrap_or(why);
            AdminError::Invalid(why).into()
        }
        error => error.into(),
    })
}

/// Send a message of any type
///
/// It is kept, then sent from the vendor's own number at that number's pace. Limits on requests do
/// not apply.
#[utoipa::path(post, path = "/messages", tag = "Messages", operation_id = "sendMessage",
    params(Idempotent),
    responses(
        (status = 202, description = "on disk, and on its way", body = QueuedView),
        (status = 409, description = "another message was sent with this Idempotency-Key"),
        (status = 422, description = "a field is wrong"),
    ))]
pub(super) async fn send(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    headers: HeaderMap,
    Json(mut body): Json<NewMessage>,
) -> Result<(StatusCode, Answer<QueuedView>), ApiError> {
    let content = body.content()?;
    let reply_to = body.reply_to.map(|it| it.parse::<EntryId>()).transpose();
    let no_message = "replyTo: there is no such message";
    let message = SendMessage {
        to: body.to,
        content,
        reply_to: reply_to.map_err(|_| AdminError::Invalid(no_message.to_owned()))?,
        provider: body.provider.as_deref().map(|it| provider("provider", it)).transpose()?,
        send_at: body.send_at.as_deref().map(send_at).transpose()?,
        instance: instance(body.waba_id)?,
        idempotency_key: idempotency_key(&headers)?,
    };
    Ok(queue(&web, &vendor, message).await?)
}

fn send_at(text: &str) -> Result<Millis, AdminError> {
    let why = "sendAt: is a time like 2026-12-24T18:00:00Z";
    from_iso(text).ok_or_else(|| AdminError::Invalid(why.to_owned()))
}

/// Show a message and what became of it (vendors' programs)
#[utoipa::path(get, path = "/messages/{message_id}", tag = "Messages",
    operation_id = "getOwnMessage", params(MessagePath),
    responses((status = 200, description = "with its steps and its answers", body = JourneyView)))]
pub(super) async fn show(
    web: State<Web>,
    vendor: ForVendor,
    path: Path<MessagePath>,
) -> Result<Answer<JourneyView>, ApiError> {
    super::messages::journey(web, vendor, path).await
}

/// Give a sent message another text
#[utoipa::path(put, path = "/messages/{message_id}", tag = "Messages",
    operation_id = "editMessage", params(MessagePath),
    responses(
        (status = 200, description = "the provider has changed it", body = ChangedView),
        (status = 409, description = "it is not sent yet, was deleted, or is not known there"),
        (status = 422, description = "a field is wrong"),
        (status = 502, description = "the provider refuses"),
        (status = 503, description = "the provider is away"),
    ))]
pub(super) async fn edit(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<MessagePath>,
    Json(body): Json<EditBody>,
) -> Result<Answer<ChangedView>, ApiError> {
    let id = path.id()?;
    web.gateway.edit_message(&vendor, id, Text(body.text)).await?;
    Ok(done(id))
}

/// Take a sent message back from everybody
#[utoipa::path(delete, path = "/messages/{message_id}", tag = "Messages",
    operation_id = "takeBackMessage", params(MessagePath),
    responses(
        (status = 200, description = "the provider has deleted it", body = ChangedView),
        (status = 409, description = "it is not sent yet, was deleted, or is not known there"),
        (status = 502, description = "the provider refuses"),
        (status = 503, description = "the provider is away"),
    ))]
pub(super) async fn take_back(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<MessagePath>,
) -> Result<Answer<ChangedView>, ApiError> {
    let id = path.id()?;
    web.gateway.delete_message(&vendor, id).await?;
    Ok(done(id))
}

async fn queue(
    web: &Web,
    vendor: &VendorId,
    message: SendMessage,
) -> Result<(StatusCode, Answer<QueuedView>), SendError> {
    let queued = web.gateway.send_message(vendor, message).await?;
    let view = QueuedView {
        success: true,
        message_id: queued.id.to_string(),
        status: "queued",
        parts: Some(queued.n_parts).filter(|it| *it > 1),
    };
    Ok((StatusCode::ACCEPTED, Answer(view)))
}

pub(super) fn instance(id: Option<String>) -> Result<Option<InstanceId>, AdminError> {
    id.map(|it| InstanceId::parse(&it)).transpose().map_err(|_| AdminError::NoInstance)
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let key = headers.get("idempotency-key").map(|it| it.to_str().map(str::to_owned));
    let malformed = |_| ApiError::BadRequest("Idempotency-Key is not plain text".to_owned());
    key.transpose().map_err(malformed)
}

fn done(id: EntryId) -> Answer<ChangedView> {
    Answer(ChangedView { success: true, message_id: id.to_string() })
}
