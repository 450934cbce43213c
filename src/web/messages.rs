//! Messages: sent, listed, explained.

use axum::{
    Json as Answer,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Web,
    auth::ForVendor,
    error::ApiError,
    extract::{Json, MaybeJson, Path, Query},
    views::{JourneyView, MessageView},
};
use crate::{
    domain::id::{EntryId, InstanceId},
    gateway::SendMessage,
};

/// Messages on one page.
const PAGE_MAX: usize = 200;
const PAGE: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SendBody {
    to: String,
    message: String,
    waba_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct PageQuery {
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct MessagePath {
    message_id: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseBody {
    minutes: Option<i64>,
}

pub(super) async fn send(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    headers: HeaderMap,
    Json(body): Json<SendBody>,
) -> Result<(StatusCode, Answer<Value>), ApiError> {
    let key = headers.get("idempotency-key").map(|it| it.to_str().map(str::to_owned));
    let malformed = |_| ApiError::BadRequest("Idempotency-Key is not plain text".to_owned());
    let instance = body.waba_id.map(|it| InstanceId::parse(&it)).transpose();
    let message = SendMessage {
        to: body.to,
        text: body.message,
        instance: instance.map_err(|_| crate::gateway::AdminError::NoInstance)?,
        idempotency_key: key.transpose().map_err(malformed)?,
    };
    let id = web.gateway.send_message(&vendor, message).await?;
    let answer = json!({ "success": true, "messageId": id.to_string(), "status": "queued" });
    Ok((StatusCode::ACCEPTED, Answer(answer)))
}

pub(super) async fn list(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Query(query): Query<PageQuery>,
) -> Result<Answer<Value>, ApiError> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let before = query.cursor.map(|it| it.parse::<EntryId>()).transpose();
    let before = before.map_err(|_| ApiError::BadRequest("malformed cursor".to_owned()))?;
    let page = web.gateway.messages(&vendor, before, limit).await?;
    let messages: Vec<MessageView> = page.rows.iter().map(MessageView::from).collect();
    let cursor = page.next.map(|it| it.to_string());
    Ok(Answer(json!({ "messages": messages, "cursor": cursor })))
}

pub(super) async fn journey(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<MessagePath>,
) -> Result<Answer<JourneyView>, ApiError> {
    let id = path.id()?;
    Ok(Answer(JourneyView::from(&web.gateway.journey(&vendor, id).await?)))
}

pub(super) async fn pause(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<MessagePath>,
    MaybeJson(body): MaybeJson<PauseBody>,
) -> Result<Answer<Value>, ApiError> {
    web.gateway.pause_conversation(&vendor, path.id()?, Some(body.minutes)).await?;
    Ok(Answer(json!({ "success": true, "paused": true })))
}

pub(super) async fn resume(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<MessagePath>,
) -> Result<Answer<Value>, ApiError> {
    web.gateway.pause_conversation(&vendor, path.id()?, None).await?;
    Ok(Answer(json!({ "success": true, "paused": false })))
}

pub(super) async fn ledger(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
) -> Result<Answer<Value>, ApiError> {
    let it = web.gateway.ledger(&vendor).await?;
    Ok(Answer(json!({
        "events": {
            "accepted": it.accepted, "duplicates": it.duplicates, "waiting": it.events_waiting,
            "done": it.events_done, "parked": it.events_parked, "dead": it.events_dead,
        },
        "intents": {
            "created": it.created, "waiting": it.intents_waiting, "sent": it.intents_sent,
            "unknown": it.intents_unknown, "parked": it.intents_parked, "dead": it.intents_dead,
        },
        "balances": it.balances(),
    })))
}

impl MessagePath {
    fn id(&self) -> Result<EntryId, ApiError> {
        let unknown = |_| ApiError::Admin(crate::gateway::AdminError::NoMessage);
        self.message_id.parse().map_err(unknown)
    }
}
