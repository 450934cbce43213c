//! The routes of the API and who may use them, and what a session's key opens.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRequestParts, Path, Request, State},
    http::{HeaderMap, header::AUTHORIZATION, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde_json::json;

use super::{
    answer::{self, Refusal, Unheard},
    book::{Key, SeenRequest},
    manage,
    misbehaviour::Misbehaviour,
    mmg,
    send::send_message,
    sessions, upload, wire,
    world::World,
};

/// Of a request, but for uploads.
const BODY_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn router(world: Arc<World>) -> Router {
    let session = get(sessions::get).put(sessions::update).delete(sessions::delete);
    let upload = post(upload::upload).layer(DefaultBodyLimit::max(upload::BODY_BYTES_MAX));
    let api = Router::new()
        .route("/auth-check", get(auth_check))
        .route("/whatsapp-sessions", get(sessions::list).post(sessions::create))
        .route("/whatsapp-sessions/{id}", session)
        .route("/whatsapp-sessions/{id}/connect", post(sessions::connect))
        .route("/whatsapp-sessions/{id}/qrcode", get(sessions::qrcode))
        .route("/whatsapp-sessions/{id}/disconnect", post(sessions::disconnect))
        .route("/whatsapp-sessions/{id}/restart", post(sessions::restart))
        .route("/whatsapp-sessions/{id}/regenerate-key", post(sessions::regenerate_key))
        .route("/whatsapp-sessions/{id}/message-logs", get(sessions::message_logs))
        .route("/send-message", post(send_message))
        .route("/messages/{msg_id}/info", get(info))
        .route("/messages/{msg_id}", put(manage::edit).delete(manage::delete))
        .route("/messages/{msg_id}/resend", post(manage::resend))
        .route("/messages/read", post(manage::read))
        .route("/send-presence-update", post(manage::presence))
        .route("/upload", upload)
        .route("/status", get(status))
        .route("/user", get(user))
        .route("/on-whatsapp/{phone}", get(on_whatsapp))
        .route("/pn-from-lid/{lid}", get(pn_from_lid))
        .route("/lid-from-pn/{pn}", get(lid_from_pn));
    Router::new()
        .nest("/api", api)
        .route("/media/{name}", get(upload::serve))
        .route("/mmg/{name}", get(mmg::serve))
        .fallback(async || Refusal::new(404, "Not Found"))
        .layer(middleware::from_fn_with_state(Arc::clone(&world), note))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(world)
}

/// The account is asking.
pub(super) struct ByPat;

impl<S: Sync> FromRequestParts<S> for ByPat {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        match parts.extensions.get() {
            Some(Key::Pat) => Ok(Self),
            _ => Err(Refusal::bad_pat()),
        }
    }
}

/// This session is asking.
pub(super) struct BySession(pub(super) u64);

impl FromRequestParts<Arc<World>> for BySession {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, world: &Arc<World>) -> Result<Self, Refusal> {
        let id = match parts.extensions.get() {
            Some(Key::Session(id)) => *id,
            Some(Key::Pat | Key::Unknown) => return Err(Refusal::bad_key()),
            Some(Key::None) | None => return Err(Refusal::new(401, "API key is required")),
        };
        let mut book = world.book();
        let line = book.lines.get_mut(&id).ok_or_else(Refusal::bad_key)?;
        if line.misbehaviours.now(&Misbehaviour::KeyRefused) {
            return Err(Refusal::bad_key());
        }
        Ok(Self(id))
    }
}

/// Finds out whose token a request has, and notes the request and its answer.
async fn note(State(world): State<Arc<World>>, mut request: Request, next: Next) -> Response {
    let key = world.key(bearer(request.headers()));
    request.extensions_mut().insert(key);
    if world.counts() {
        return next.run(request).await;
    }
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let number = world.book().saw(SeenRequest { method, path, status: None, key });
    let response = next.run(request).await;
    if response.extensions().get::<Unheard>().is_none() {
        world.book().answered(number, response.status().as_u16());
    }
    response
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::trim).filter(|it| !it.is_empty())
}

/// Used by the official n8n node to test a personal access token; its body is not documented
/// (`docs/wire/wasender.md` §1.2). A session's key passes too.
async fn auth_check(request: Request) -> Result<Response, Refusal> {
    match request.extensions().get() {
        Some(Key::Pat | Key::Session(_)) => Ok(Json(json!({ "success": true })).into_response()),
        _ => Err(Refusal::bad_pat()),
    }
}

async fn info(
    State(world): State<Arc<World>>,
    BySession(id): BySession,
    Path(msg_id): Path<u64>,
) -> Result<Response, Refusal> {
    let mut book = world.book();
    let entry = book.entry(msg_id).filter(|it| it.sent.session == id && it.has_info);
    let entry = entry.ok_or_else(|| Refusal::new(404, "Message not found"))?;
    Ok(answer::data(&entry.info()))
}

/// Bare: no `success`, no `data` (`docs/wire/wasender.md` §3).
async fn status(
    State(world): State<Arc<World>>,
    BySession(id): BySession,
) -> Result<Response, Refusal> {
    let session = world.session(id).ok_or_else(Refusal::bad_key)?;
    Ok(Json(json!({ "status": session.status.to_lowercase() })).into_response())
}

async fn user(
    State(world): State<Arc<World>>,
    BySession(id): BySession,
) -> Result<Response, Refusal> {
    let mut book = world.book();
    let line = book.lines.get_mut(&id).ok_or_else(Refusal::bad_key)?;
    let number = line.misbehaviours.wrong_number();
    let number = number.unwrap_or_else(|| line.session.phone_number.clone());
    Ok(answer::data(&json!({
        "id": format!("{}:1@s.whatsapp.net", wire::digits(&number)),
        "name": line.session.name,
        "lid": wire::lid_jid(&wire::lid_of(&number)),
    })))
}

async fn on_whatsapp(_: BySession, Path(_): Path<String>) -> Response {
    answer::data(&json!({ "exists": true }))
}

async fn pn_from_lid(
    State(world): State<Arc<World>>,
    _: BySession,
    Path(lid): Path<String>,
) -> Result<Response, Refusal> {
    let book = world.book();
    let phone = book.lids.phone(&lid).ok_or_else(|| Refusal::new(404, "LID not found"))?;
    Ok(answer::data(&json!({ "pn": wire::phone_jid(phone) })))
}

async fn lid_from_pn(
    State(world): State<Arc<World>>,
    _: BySession,
    Path(phone): Path<String>,
) -> Result<Response, Refusal> {
    let book = world.book();
    let lid = book.lids.lid(&phone).ok_or_else(|| Refusal::new(404, "Phone number not found"))?;
    Ok(answer::data(&json!({ "lid": wire::lid_jid(lid) })))
}
