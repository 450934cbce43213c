//! Conversations: listed, read, paused, exported, erased.

use std::collections::BTreeSet;

use axum::{
    Json as Answer,
    body::Body,
    extract::State,
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    response::IntoResponse,
};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{
    Web,
    answers::{Done, Paused},
    auth::ForVendor,
    error::ApiError,
    extract::{MaybeJson, Path, Query},
    messages::{MessagesView, PauseBody},
    records::{ConversationView, record},
};
use crate::{
    domain::{
        clock::iso,
        contact::Address,
        id::{ContactId, EntryId, VendorId},
        phone::PhoneNumber,
    },
    gateway::{AdminError, Gateway},
    journal::{Conversation, Span},
};

/// Conversations, or messages, on one page.
const PAGE_MAX: usize = 200;
const PAGE: usize = 50;
/// Entries of an export that are held in memory.
const EXPORT_PAGE: usize = 200;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ConversationsQuery {
    /// From the page before.
    cursor: Option<String>,
    /// Conversations on a page, at most 200. A page may be shorter although there are more.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MessagesQuery {
    /// From the page before, in the same order.
    cursor: Option<String>,
    /// Messages on a page, at most 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// `newest` first, as without it, or `oldest`.
    #[param(inline)]
    order: Option<Order>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    Newest,
    Oldest,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ConversationPath {
    /// The conversation's id.
    #[param(example = "conv_0000000000000001")]
    conversation_id: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ConversationsView {
    conversations: Vec<ConversationView>,
    /// Asks for the next page; null at the end.
    cursor: Option<String>,
}

/// List conversations
///
/// The one with the newest message first.
#[utoipa::path(get, path = "/conversations", tag = "Conversations",
    operation_id = "listConversations", params(ConversationsQuery),
    responses((status = 200, description = "some of them", body = ConversationsView)))]
pub(super) async fn list(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Query(query): Query<ConversationsQuery>,
) -> Result<Answer<ConversationsView>, ApiError> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let before = cursor(query.cursor.as_deref())?;
    let page = web.gateway.conversations(&vendor, before, limit).await?;
    let now = web.gateway.clock().now();
    let conversations = page.rows.iter().map(|it| ConversationView::of(it, now)).collect();
    let cursor = page.next.map(|it| it.to_string());
    Ok(Answer(ConversationsView { conversations, cursor }))
}

/// Show a conversation
#[utoipa::path(get, path = "/conversations/{conversation_id}", tag = "Conversations",
    operation_id = "showConversation", params(ConversationPath),
    responses((status = 200, description = "it", body = ConversationView)))]
pub(super) async fn get(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<ConversationPath>,
) -> Result<Answer<ConversationView>, ApiError> {
    let found = web.gateway.conversation(&vendor, path.id()?).await?;
    Ok(Answer(ConversationView::of(&found, web.gateway.clock().now())))
}

/// List a conversation's messages
#[utoipa::path(get, path = "/conversations/{conversation_id}/messages", tag = "Conversations",
    operation_id = "listMessagesOfConversation", params(ConversationPath, MessagesQuery),
    responses((status = 200, description = "some of them", body = MessagesView)))]
pub(super) async fn messages(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<ConversationPath>,
    Query(query): Query<MessagesQuery>,
) -> Result<Answer<MessagesView>, ApiError> {
    let span = Span {
        cursor: cursor(query.cursor.as_deref())?,
        limit: query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX),
        is_ascending: query.order == Some(Order::Oldest),
    };
    let page = web.gateway.messages_of(&vendor, path.id()?, span).await?;
    Ok(Answer(MessagesView::of(&page)))
}

/// Pause the bot in a conversation
#[utoipa::path(post, path = "/conversations/{conversation_id}/pause", tag = "Conversations",
    operation_id = "pauseConversation", params(ConversationPath),
    request_body = Option<PauseBody>,
    responses((status = 200, description = "the bot is quiet there", body = Paused)))]
pub(super) async fn pause(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<ConversationPath>,
    MaybeJson(body): MaybeJson<PauseBody>,
) -> Result<Answer<Paused>, ApiError> {
    web.gateway.pause_contact(&vendor, path.id()?, body.minutes).await?;
    Ok(Paused::new(true))
}

/// Let the bot go on in a conversation
#[utoipa::path(post, path = "/conversations/{conversation_id}/resume", tag = "Conversations",
    operation_id = "resumeConversation", params(ConversationPath),
    responses((status = 200, description = "the bot answers there", body = Paused)))]
pub(super) async fn resume(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<ConversationPath>,
) -> Result<Answer<Paused>, ApiError> {
    web.gateway.resume_contact(&vendor, path.id()?).await?;
    Ok(Paused::new(false))
}

/// Erase a customer
///
/// Messages, names and files. What is not sent yet stays unsent; rows without content stay for the
/// ledger. What the customer writes later is a new conversation.
#[utoipa::path(delete, path = "/conversations/{conversation_id}", tag = "Conversations",
    operation_id = "eraseConversation", params(ConversationPath),
    responses((status = 200, description = "nothing of the conversation is kept", body = Done)))]
pub(super) async fn erase(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<ConversationPath>,
) -> Result<Answer<Done>, ApiError> {
    web.gateway.erase(&vendor, path.id()?).await?;
    Ok(Done::new())
}

/// Export a conversation
///
/// Everything that is kept of the customer, as a file: names, messages with their content, what
/// became of them, ids of their files. Should the connection end before the last brace, it is not
/// whole.
#[utoipa::path(get, path = "/conversations/{conversation_id}/export", tag = "Conversations",
    operation_id = "exportConversation", params(ConversationPath),
    responses((status = 200, description = "a JSON document", body = serde_json::Value)))]
pub(super) async fn export(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<ConversationPath>,
) -> Result<impl IntoResponse, ApiError> {
    let id = path.id()?;
    let conversation = web.gateway.conversation(&vendor, id).await?;
    let file = format!("attachment; filename=\"{id}.json\"");
    let export = Export {
        gateway: web.gateway.clone(),
        vendor,
        id,
        after: Some(EntryId(0)),
        n_written: 0,
        addresses: BTreeSet::new(),
        head: Some(conversation),
    };
    let pages = stream::try_unfold(export, |mut export| async move {
        let page = export.page().await?;
        Ok::<_, AdminError>(page.map(|it| (it, export)))
    });
    let headers = [(CONTENT_TYPE, "application/json".to_owned()), (CONTENT_DISPOSITION, file)];
    Ok((headers, Body::from_stream(pages)))
}

/// An export, written page by page.
struct Export {
    gateway: Gateway,
    vendor: VendorId,
    id: ContactId,
    /// `None`: everything is written.
    after: Option<EntryId>,
    n_written: usize,
    /// Every name under which an entry came.
    addresses: BTreeSet<(Option<String>, Option<String>)>,
    head: Option<Conversation>,
}

impl Export {
    async fn page(&mut self) -> Result<Option<Bytes>, AdminError> {
        if let Some(conversation) = self.head.take() {
            return Ok(Some(self.first(&conversation).into()));
        }
        let Some(after) = self.after else { return Ok(None) };
        let page = self.gateway.records(&self.vendor, self.id, after, EXPORT_PAGE).await?;
        let mut text = String::new();
        for it in &page {
            if self.n_written > 0 {
                text.push(',');
            }
            text.push_str(&record(it).to_string());
            self.n_written += 1;
            self.addresses.insert(names(&it.row.address));
        }
        self.after = page.last().map(|it| it.row.id).filter(|_| page.len() == EXPORT_PAGE);
        if self.after.is_none() {
            let all = self.addresses.iter();
            let all: Vec<Value> = all.map(|it| json!({ "phone": it.0, "lid": it.1 })).collect();
            text = format!("{text}],\"addresses\":{}}}", Value::from(all));
        }
        Ok(Some(text.into()))
    }

    /// The document without its last brace, and the beginning of its entries.
    fn first(&mut self, it: &Conversation) -> String {
        let (phone, lid) = names(&it.address);
        self.addresses.insert((phone.clone(), lid.clone()));
        let head = json!({
            "version": 1,
            "exportedAt": iso(self.gateway.clock().now()),
            "vendorId": self.vendor.as_str(),
            "conversationId": it.id.to_string(),
            "wabaId": it.instance.as_str(),
            "customer": { "phone": phone, "lid": lid },
            "name": it.name.as_ref().map(|it| &it.0),
            "pausedUntil": it.paused_until.map(iso),
            "pauseReason": it.pause_reason,
        });
        let head = head.to_string();
        format!("{},\"entries\":[", head.strip_suffix('}').unwrap_or(&head))
    }
}

fn names(address: &Address) -> (Option<String>, Option<String>) {
    let phone = address.phone.as_ref().map(PhoneNumber::expose);
    (phone, address.lid.as_ref().map(|it| format!("{}@lid", it.digits())))
}

fn cursor(text: Option<&str>) -> Result<Option<EntryId>, ApiError> {
    let cursor = text.map(str::parse).transpose();
    cursor.map_err(|_| ApiError::BadRequest("malformed cursor".to_owned()))
}

impl ConversationPath {
    fn id(&self) -> Result<ContactId, ApiError> {
        let unknown = |_| ApiError::Admin(AdminError::NoConversation);
        self.conversation_id.parse().map_err(unknown)
    }
}
