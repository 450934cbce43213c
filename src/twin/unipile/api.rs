//! The routes of the API, who may use them, accounts and webhooks.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde_json::{Value, json};

use super::{
    account::{Generation, UnipileNumber},
    chats,
    hooks::UnipileHook,
    send, wire,
    world::{UnipileRequest, World},
};
use crate::twin::answer::{Refusal, Unheard};

/// Of a request.
const BODY_BYTES_MAX: usize = 40 * 1024 * 1024;

pub(super) fn router(world: Arc<World>) -> Router {
    let v1 = Router::new()
        .route("/accounts/{account}", get(account_v1))
        .route("/chats", get(chats::list_v1).post(send::start_v1))
        .route("/chats/{chat}", get(chats::get_v1).patch(chats::change_v1))
        .route("/chats/{chat}/messages", get(chats::messages_v1).post(send::reply_v1))
        .route("/messages/{message}", get(chats::message_v1))
        .route("/messages/{message}/attachments/{file}", get(chats::file_v1))
        .route("/webhooks", get(hooks_v1).post(create_hook_v1))
        .route("/webhooks/{hook}", delete(delete_hook));
    let v2 = Router::new()
        .route("/accounts/{account}", get(account_v2))
        .route("/webhooks/endpoints/", get(hooks_v2).post(create_hook_v2))
        .route("/webhooks/endpoints/{hook}", delete(delete_hook))
        .route("/{account}/chats", get(chats::list_v2))
        .route("/{account}/chats/send", post(send::start_v2))
        .route("/{account}/chats/{chat}/messages", get(chats::messages_v2))
        .route("/{account}/chats/{chat}/messages/send", post(send::reply_v2))
        .route("/{account}/chats/{chat}/messages/{message}", get(chats::message_v2))
        .route("/{account}/chats/{chat}/messages/{message}/read", post(chats::read_v2))
        .route("/{account}/chats/{chat}/composing", post(chats::composing_v2))
        .route(
            "/{account}/chats/{chat}/messages/{message}/attachments/{file}",
            get(chats::file_v2),
        );
    Router::new()
        .nest("/api/v1", v1)
        .nest("/v2", v2)
        .fallback(async || refused(Generation::V1, 404, "resource_not_found"))
        .layer(middleware::from_fn_with_state(Arc::clone(&world), note))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(world)
}

/// An answer that is not a success (D4, D5).
pub(super) fn refused(generation: Generation, status: u16, slug: &str) -> Refusal {
    let kind = match generation {
        Generation::V1 if !slug.contains('/') => format!("errors/{slug}"),
        Generation::V2 if !slug.contains('/') => format!("api/{slug}"),
        _ => slug.to_owned(),
    };
    let body = json!({ "title": "Refused by the twin", "type": kind, "status": status });
    Refusal::of(status, body)
}

impl World {
    /// The account whose key it is, of this generation.
    pub(super) fn caller(
        &self,
        headers: &HeaderMap,
        generation: Generation,
    ) -> Result<UnipileNumber, Refusal> {
        let key = headers.get("x-api-key").and_then(|it| it.to_str().ok()).unwrap_or_default();
        let book = self.book();
        let mut numbers = book.lines.values().map(|it| &it.number);
        let found = numbers.find(|it| it.api_key == key && it.generation == generation);
        let slug = match generation {
            Generation::V1 => "missing_credentials",
            Generation::V2 => "api/missing_authorization",
        };
        found.cloned().ok_or_else(|| refused(generation, 401, slug))
    }

    /// The account named, when its own key asks.
    pub(super) fn owner(
        &self,
        headers: &HeaderMap,
        account: &str,
        generation: Generation,
    ) -> Result<UnipileNumber, Refusal> {
        let number = self.caller(headers, generation)?;
        if number.account_id == account {
            return Ok(number);
        }
        Err(refused(generation, 404, "resource_not_found"))
    }
}

async fn note(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let at = {
        let mut book = world.book();
        book.requests.push(UnipileRequest { method, path, status: None });
        book.requests.len() - 1
    };
    let response = next.run(request).await;
    if response.extensions().get::<Unheard>().is_none() {
        world.book().requests[at].status = Some(response.status().as_u16());
    }
    response
}

async fn account_v1(
    State(world): State<Arc<World>>,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = world.owner(&headers, &account, Generation::V1)?;
    let body = json!({
        "object": "Account",
        "type": "WHATSAPP",
        "id": number.account_id,
        "name": "The twin's",
        "connection_params": { "im": { "phone_number": number.phone_number } },
        "sources": [{ "id": format!("{account}_MESSAGING"), "status": number.status }],
    });
    Ok(Json(body).into_response())
}

async fn account_v2(
    State(world): State<Arc<World>>,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = world.owner(&headers, &account, Generation::V2)?;
    let body = json!({
        "object": "Account",
        "id": number.account_id,
        "provider": "whatsapp",
        "status": wire::word_v2(&number.status),
    });
    Ok(Json(body).into_response())
}

async fn hooks_v1(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    world.caller(&headers, Generation::V1)?;
    let items = world.shown_hooks(Generation::V1);
    Ok(Json(json!({ "object": "WebhookList", "items": items, "cursor": null })).into_response())
}

async fn hooks_v2(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    world.caller(&headers, Generation::V2)?;
    let data = world.shown_hooks(Generation::V2);
    Ok(Json(json!({ "object": "List", "data": data, "has_more": false })).into_response())
}

impl World {
    fn shown_hooks(&self, generation: Generation) -> Vec<Value> {
        let book = self.book();
        book.hooks.iter().filter(|it| it.generation == generation).map(UnipileHook::shown).collect()
    }
}

async fn create_hook_v1(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, Refusal> {
    world.caller(&headers, Generation::V1)?;
    let word = |it: &Value| it.as_str().map(str::to_owned);
    let fault = || refused(Generation::V1, 400, "missing_parameters");
    let pairs = body["headers"].as_array().into_iter().flatten();
    let hook = UnipileHook {
        id: world.id("wh_"),
        generation: Generation::V1,
        url: word(&body["request_url"]).ok_or_else(fault)?,
        source: word(&body["source"]).ok_or_else(fault)?,
        headers: pairs.filter_map(|it| Some((word(&it["key"])?, word(&it["value"])?))).collect(),
        account_ids: words(&body["account_ids"]),
        events: words(&body["events"]),
        secret: String::new(),
    };
    let answer = json!({ "object": "WebhookCreated", "webhook_id": hook.id });
    world.book().hooks.push(hook);
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

async fn create_hook_v2(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, Refusal> {
    world.caller(&headers, Generation::V2)?;
    let url = body["url"].as_str().filter(|it| it.len() <= 255);
    let hook = UnipileHook {
        id: world.id("wh_"),
        generation: Generation::V2,
        url: url.ok_or_else(|| refused(Generation::V2, 400, "invalid_parameters"))?.to_owned(),
        source: String::new(),
        headers: Vec::new(),
        account_ids: words(&body["account_ids"]),
        events: words(&body["trigger_events"]),
        secret: world.id("whsec_"),
    };
    let answer = hook.shown();
    world.book().hooks.push(hook);
    Ok(Json(answer).into_response())
}

async fn delete_hook(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if world.caller(&headers, Generation::V1).is_err() {
        world.caller(&headers, Generation::V2)?;
    }
    world.book().hooks.retain(|it| it.id != id);
    Ok(Json(json!({ "object": "WebhookDeleted" })).into_response())
}

fn words(list: &Value) -> Vec<String> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(|it| it.as_str().map(str::to_owned)).collect()
}
