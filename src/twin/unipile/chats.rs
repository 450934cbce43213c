//! Chats and what is in them (`docs/wire/meta-unipile-twilio.md` D1, D5).

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    account::{Generation, UnipileNumber},
    api::refused,
    wire,
    world::{Chat, Message, World},
};
use crate::twin::answer::Refusal;

/// Items in a list that does not say how many.
const PAGE_SIZE: usize = 100;

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<usize>,
    account_id: Option<String>,
}

pub(super) async fn list_v1(
    State(world): State<Arc<World>>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = world.caller(&headers, Generation::V1)?;
    let account = page.account_id.unwrap_or_else(|| number.account_id.clone());
    let items =
        if account == number.account_id { chats(&world, &number, page.limit) } else { vec![] };
    Ok(Json(json!({ "object": "ChatList", "items": items, "cursor": null })).into_response())
}

pub(super) async fn list_v2(
    State(world): State<Arc<World>>,
    Path(account): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = world.owner(&headers, &account, Generation::V2)?;
    let data = chats(&world, &number, page.limit);
    Ok(Json(json!({ "object": "ChatList", "data": data, "has_more": false })).into_response())
}

fn chats(world: &World, number: &UnipileNumber, limit: Option<usize>) -> Vec<Value> {
    let book = world.book();
    let own = book.chats.iter().rev().filter(|it| it.account_id == number.account_id);
    own.take(limit.unwrap_or(PAGE_SIZE)).map(shown).collect()
}

fn shown(chat: &Chat) -> Value {
    json!({
        "object": "Chat",
        "id": chat.id,
        "account_id": chat.account_id,
        "account_type": "WHATSAPP",
        "provider_id": chat.jid,
        "attendee_provider_id": chat.jid,
        "attendee_public_identifier": chat.phone,
        "name": chat.name,
        "type": 0,
    })
}

pub(super) async fn get_v1(
    State(world): State<Arc<World>>,
    Path(chat): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = world.caller(&headers, Generation::V1)?;
    Ok(Json(shown(&world.chat_of(&number, &chat)?)).into_response())
}

pub(super) async fn change_v1(
    State(world): State<Arc<World>>,
    Path(chat): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, Refusal> {
    let number = world.caller(&headers, Generation::V1)?;
    let chat = world.chat_of(&number, &chat)?;
    if body["action"] != "setReadStatus" || body["value"] != true {
        return Err(refused(Generation::V1, 400, "malformed_request"));
    }
    world.book().shown.push(("read", chat.id));
    Ok(Json(json!({ "object": "ChatPatched" })).into_response())
}

pub(super) async fn messages_v1(
    State(world): State<Arc<World>>,
    Path(chat): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = world.caller(&headers, Generation::V1)?;
    let chat = world.chat_of(&number, &chat)?;
    let items = messages(&world, &chat, page.limit, wire::listed_v1);
    Ok(Json(json!({ "object": "MessageList", "items": items, "cursor": null })).into_response())
}

pub(super) async fn messages_v2(
    State(world): State<Arc<World>>,
    Path((account, chat)): Path<(String, String)>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = world.owner(&headers, &account, Generation::V2)?;
    let chat = world.chat_of(&number, &chat)?;
    let show = |it: &Message| wire::listed_v2(it, &chat, &number);
    let data = messages(&world, &chat, page.limit, show);
    Ok(Json(json!({ "object": "MessageList", "data": data, "has_more": false })).into_response())
}

/// The newest first.
fn messages(
    world: &World,
    chat: &Chat,
    limit: Option<usize>,
    show: impl Fn(&Message) -> Value,
) -> Vec<Value> {
    let book = world.book();
    let own = book.messages.iter().rev().filter(|it| it.sent.chat_id == chat.id && it.is_listed);
    own.take(limit.unwrap_or(PAGE_SIZE)).map(show).collect()
}

pub(super) async fn message_v1(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = world.caller(&headers, Generation::V1)?;
    let mut book = world.book();
    let found = book.message(&id).filter(|it| it.sent.account_id == number.account_id);
    let found = found.filter(|it| it.is_listed);
    let found = found.ok_or_else(|| refused(Generation::V1, 404, "resource_not_found"))?;
    Ok(Json(wire::listed_v1(found)).into_response())
}

pub(super) async fn message_v2(
    State(world): State<Arc<World>>,
    Path((account, chat, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = world.owner(&headers, &account, Generation::V2)?;
    let chat = world.chat_of(&number, &chat)?;
    let mut book = world.book();
    let found = book.message(&id).filter(|it| it.sent.chat_id == chat.id && it.is_listed);
    let found = found.ok_or_else(|| refused(Generation::V2, 404, "resource_not_found"))?;
    Ok(Json(wire::listed_v2(found, &chat, &number)).into_response())
}

pub(super) async fn file_v1(
    State(world): State<Arc<World>>,
    Path((message, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = world.caller(&headers, Generation::V1)?;
    file_of(&world, &number, &message, &file)
}

pub(super) async fn file_v2(
    State(world): State<Arc<World>>,
    Path((account, chat, message, file)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = world.owner(&headers, &account, Generation::V2)?;
    world.chat_of(&number, &chat)?;
    file_of(&world, &number, &message, &file)
}

fn file_of(
    world: &World,
    number: &UnipileNumber,
    message: &str,
    file: &str,
) -> Result<Response, Refusal> {
    let gone = || refused(number.generation, 404, "resource_not_found");
    let mut book = world.book();
    let found = book.message(message).filter(|it| it.sent.account_id == number.account_id);
    let n = file.strip_prefix("file").and_then(|it| it.parse::<usize>().ok()).ok_or_else(gone)?;
    let file = found.and_then(|it| it.sent.files.get(n)).ok_or_else(gone)?;
    Ok(([(CONTENT_TYPE, file.mime_type.clone())], file.bytes.clone()).into_response())
}

pub(super) async fn read_v2(
    State(world): State<Arc<World>>,
    Path((account, chat, _)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    shown_v2(&world, &account, &chat, &headers, "read")
}

pub(super) async fn composing_v2(
    State(world): State<Arc<World>>,
    Path((account, chat)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    shown_v2(&world, &account, &chat, &headers, "typing")
}

fn shown_v2(
    world: &World,
    account: &str,
    chat: &str,
    headers: &HeaderMap,
    what: &'static str,
) -> Result<Response, Refusal> {
    let number = world.owner(headers, account, Generation::V2)?;
    let chat = world.chat_of(&number, chat)?;
    world.book().shown.push((what, chat.id));
    Ok(Json(json!({ "object": "Done" })).into_response())
}
