//! Messages: listed, explained.

use axum::{Json as Answer, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Web,
    answers::Paused,
    auth::ForVendor,
    error::ApiError,
    extract::{MaybeJson, Path, Query},
    views::{JourneyView, MessageView},
};
use crate::domain::id::EntryId;
use crate::journal::{Ledger, Page};

/// Messages on one page.
const PAGE_MAX: usize = 200;
const PAGE: usize = 50;

#[derive(Deserialize, IntoParams)]
pub(super) struct PageQuery {
    /// From the page before.
    cursor: Option<String>,
    /// Messages on a page, at most 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

#[derive(Deserialize, IntoParams)]
pub(super) struct MessagePath {
    /// The message's id.
    #[param(example = "msg_01JD8Q5W7M0000000000000000")]
    message_id: String,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseBody {
    /// For how long; without it, until it is resumed.
    #[schema(example = 60)]
    pub(super) minutes: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct MessagesView {
    messages: Vec<MessageView>,
    /// Asks for the next page; null at the end.
    cursor: Option<String>,
}

/// What came in and what became of it: nothing gets lost where it balances.
#[derive(Serialize, ToSchema)]
pub(crate) struct LedgerView {
    events: EventCounts,
    intents: IntentCounts,
    balances: bool,
}

/// What providers told.
#[derive(Serialize, ToSchema)]
struct EventCounts {
    accepted: i64,
    duplicates: i64,
    waiting: i64,
    done: i64,
    parked: i64,
    dead: i64,
}

/// What was to be sent.
#[derive(Serialize, ToSchema)]
struct IntentCounts {
    created: i64,
    waiting: i64,
    sent: i64,
    unknown: i64,
    parked: i64,
    dead: i64,
}

impl From<&Ledger> for LedgerView {
    fn from(it: &Ledger) -> Self {
        Self {
            events: EventCounts {
                accepted: it.accepted,
                duplicates: it.duplicates,
                waiting: it.events_waiting,
                done: it.events_done,
                parked: it.events_parked,
                dead: it.events_dead,
            },
            intents: IntentCounts {
                created: it.created,
                waiting: it.intents_waiting,
                sent: it.intents_sent,
                unknown: it.intents_unknown,
                parked: it.intents_parked,
                dead: it.intents_dead,
            },
            balances: it.balances(),
        }
    }
}

/// List messages, newest first
#[utoipa::path(get, path = "/messages", tag = "Messages", operation_id = "listMessages",
    params(PageQuery), responses((status = 200, description = "one page", body = MessagesView)))]
pub(super) async fn list(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Query(query): Query<PageQuery>,
) -> Result<Answer<MessagesView>, ApiError> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let before = query.cursor.map(|it| it.parse::<EntryId>()).transpose();
    let before = before.map_err(|_| ApiError::BadRequest("malformed cursor".to_owned()))?;
    let page = web.gateway.messages(&vendor, before, limit).await?;
    Ok(Answer(MessagesView::of(&page)))
}

/// Show a message and what became of it
#[utoipa::path(get, path = "/messages/{message_id}", tag = "Messages", operation_id = "getMessage",
    params(MessagePath),
    responses((status = 200, description = "with its steps and its answers", body = JourneyView)))]
pub(super) async fn journey(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<MessagePath>,
) -> Result<Answer<JourneyView>, ApiError> {
    let id = path.id()?;
    Ok(Answer(JourneyView::from(&web.gateway.journey(&vendor, id).await?)))
}

/// Keep the bot out of a message's conversation
#[utoipa::path(post, path = "/messages/{message_id}/pause", tag = "Conversations",
    operation_id = "pauseByMessage", params(MessagePath), request_body = Option<PauseBody>,
    responses((status = 200, description = "the bot is silent there", body = Paused)))]
pub(super) async fn pause(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<MessagePath>,
    MaybeJson(body): MaybeJson<PauseBody>,
) -> Result<Answer<Paused>, ApiError> {
    web.gateway.pause_conversation(&vendor, path.id()?, Some(body.minutes)).await?;
    Ok(Paused::new(true))
}

/// Let the bot back into a message's conversation
#[utoipa::path(post, path = "/messages/{message_id}/resume", tag = "Conversations",
    operation_id = "resumeByMessage",
    params(MessagePath),
    responses((status = 200, description = "the bot answers there", body = Paused)))]
pub(super) async fn resume(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<MessagePath>,
) -> Result<Answer<Paused>, ApiError> {
    web.gateway.pause_conversation(&vendor, path.id()?, None).await?;
    Ok(Paused::new(false))
}

/// Count what came in and what became of it
#[utoipa::path(get, path = "/ledger", tag = "Messages", operation_id = "ledger",
    responses((status = 200, description = "the vendor's counts", body = LedgerView)))]
pub(super) async fn ledger(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
) -> Result<Answer<LedgerView>, ApiError> {
    Ok(Answer((&web.gateway.ledger(&vendor).await?).into()))
}

impl MessagesView {
    pub(super) fn of(page: &Page) -> Self {
        let messages = page.rows.iter().map(MessageView::from).collect();
        Self { messages, cursor: page.next.map(|it| it.to_string()) }
    }
}

impl MessagePath {
    pub(super) fn id(&self) -> Result<EntryId, ApiError> {
        let unknown = |_| ApiError::Admin(crate::gateway::AdminError::NoMessage);
        self.message_id.parse().map_err(unknown)
    }
}
