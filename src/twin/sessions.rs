//! What the personal access token opens: the account's sessions (`docs/wire/wasender.md` §3).

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    answer::{self, Refusal},
    api::ByPat,
    book::{Book, Entry, Logged},
    misbehaviour::Misbehaviour,
    session::{Line, NewSession},
    world::World,
};

/// Laravel's own default.
const PER_PAGE: usize = 15;
const PER_PAGE_MAX: usize = 100;

/// What creating a session needs.
const REQUIRED: [&str; 4] = ["name", "phone_number", "account_protection", "log_messages"];

const WARNING: &str =
    "WhatsApp session updated but failed to sync webhook settings: Connection error";

pub(super) async fn list(State(world): State<Arc<World>>, _: ByPat) -> Result<Response, Refusal> {
    let mut book = world.book();
    let refused = |it: &mut Line| it.misbehaviours.now(&Misbehaviour::PatRefused);
    if book.lines.values_mut().any(refused) {
        return Err(Refusal::bad_pat());
    }
    Ok(answer::data(&book.lines.values_mut().map(Line::shown).collect()))
}

pub(super) async fn create(
    State(world): State<Arc<World>>,
    _: ByPat,
    body: Bytes,
) -> Result<Response, Refusal> {
    let fields = fields(&body);
    let missing = REQUIRED.iter().filter(|it| fields.get(**it).is_none_or(Value::is_null));
    let errors = missing.map(|it| {
        let name = it.replace('_', " ");
        ((*it).to_owned(), json!([format!("The {name} field is required.")]))
    });
    let errors: Map<_, _> = errors.collect();
    if !errors.is_empty() {
        return Err(Refusal::invalid(&Value::Object(errors)));
    }
    let blank = NewSession { status: "disconnected".to_owned(), ..NewSession::new("") };
    let id = world.add_session(blank).id;
    let mut book = world.book();
    let line = by_id(&mut book, id)?;
    if let Err(errors) = line.update(&fields) {
        book.remove(id);
        return Err(Refusal::invalid(&errors));
    }
    Ok((StatusCode::CREATED, answer::data(&line.shown())).into_response())
}

pub(super) async fn get(
    State(world): State<Arc<World>>,
    _: ByPat,
    Path(id): Path<u64>,
) -> Result<Response, Refusal> {
    Ok(answer::data(&by_id(&mut world.book(), id)?.shown()))
}

pub(super) async fn update(
    State(world): State<Arc<World>>,
    _: ByPat,
    Path(id): Path<u64>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let mut book = world.book();
    let line = by_id(&mut book, id)?;
    if let Some(status) = line.misbehaviours.deed_fails() {
        return Err(Refusal::new(status, "Server Error"));
    }
    line.update(&fields(&body)).map_err(|it| Refusal::invalid(&it))?;
    let mut answer = json!({ "success": true, "data": line.shown() });
    if line.misbehaviours.now(&Misbehaviour::WarnOnUpdate) {
        answer["warning"] = json!(WARNING);
    }
    Ok(Json(answer).into_response())
}

pub(super) async fn delete(
    State(world): State<Arc<World>>,
    _: ByPat,
    Path(id): Path<u64>,
) -> Result<StatusCode, Refusal> {
    let mut book = world.book();
    by_id(&mut book, id)?;
    book.remove(id);
    Ok(StatusCode::NO_CONTENT)
}

/// Nobody scans the code here: [`Twin::set_status`](super::Twin::set_status) does it.
pub(super) async fn connect(
    State(world): State<Arc<World>>,
    _: ByPat,
    Path(id): Path<u64>,
) -> Result<Response, Refusal> {
    {
        let mut book = world.book();
        let line = by_id(&mut book, id)?;
        if line.session.is_connected() {
            let message = "Session already initialized or connecting. No QR code needed.";
            return Ok(answer::data(&json!({ "status": "CONNECTED", "message": message })));
        }
        "need_scan".clone_into(&mut line.session.status);
    }
    world.announce_status(id);
    Ok(answer::data(&json!({ "status": "NEED_SCAN", "qrCode": world.new_qr() })))
}

pub(super) async fn qrcode(
    State(world): State<Arc<World>>,
    _: ByPat,
    Path(id): Path<u64>,
) -> Result<Response, Refusal> {
    by_id(&mut world.book(), id)?;
    Ok(answer::data(&json!({ "qrCode": world.new_qr() })))
}

pub(super) async fn disconnect(
    State(world): State<Arc<World>>,
    _: ByPat,
    Path(id): Path<u64>,
) -> Result<Response, Refusal> {
    "disconnected".clone_into(&mut by_id(&mut world.book(), id)?.session.status);
    world.announce_status(id);
    let message = "WhatsApp session disconnected successfully.";
    Ok(answer::data(&json!({ "status": "disconnected", "message": message })))
}

pub(super) async fn restart(
    State(world): State<Arc<World>>,
    _: ByPat,
    Path(id): Path<u64>,
) -> Result<Response, Refusal> {
    if !by_id(&mut world.book(), id)?.session.is_connected() {
        return Err(Refusal::new(400, "WhatsApp session is not connected."));
    }
    let message = "WhatsApp session restarted successfully.";
    Ok(Json(json!({ "success": true, "message": message })).into_response())
}

/// The key is at the top level here (`docs/wire/wasender.md` §3).
pub(super) async fn regenerate_key(
    State(world): State<Arc<World>>,
    _: ByPat,
    Path(id): Path<u64>,
) -> Result<Response, Refusal> {
    let key = world.new_key();
    let mut book = world.book();
    by_id(&mut book, id)?;
    book.rekey(id, &key);
    Ok(Json(json!({ "success": true, "api_key": key })).into_response())
}

/// Laravel's paginator, newest first.
pub(super) async fn message_logs(
    State(world): State<Arc<World>>,
    _: ByPat,
    Path(id): Path<u64>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Refusal> {
    let number = |name: &str| query.get(name).and_then(|it| it.parse::<usize>().ok());
    let per_page = number("per_page").unwrap_or(PER_PAGE).clamp(1, PER_PAGE_MAX);
    let page = number("page").unwrap_or(1).max(1);
    let status = query.get("status");

    let mut book = world.book();
    by_id(&mut book, id)?;
    let wanted = |it: &&Entry| {
        let of_status = status.is_none_or(|status| it.log_status() == status);
        it.sent.session == id && it.logged != Logged::Not && of_status
    };
    let total = book.entries().filter(wanted).count();
    let n_before = (page - 1).saturating_mul(per_page);
    let on_page = book.entries().rev().filter(wanted).skip(n_before).take(per_page);
    let lines: Vec<Value> = on_page.map(Entry::log).collect();
    let from = (!lines.is_empty()).then_some(n_before + 1);
    Ok(answer::data(&json!({
        "current_page": page,
        "data": lines,
        "from": from,
        "to": from.map(|it| it + lines.len() - 1),
        "last_page": total.div_ceil(per_page).max(1),
        "per_page": per_page,
        "total": total,
    })))
}

fn by_id(book: &mut Book, id: u64) -> Result<&mut Line, Refusal> {
    let line = book.lines.get_mut(&id).ok_or_else(Refusal::no_session)?;
    if line.misbehaviours.now(&Misbehaviour::PatRefused) {
        return Err(Refusal::bad_pat());
    }
    Ok(line)
}

/// What is not a JSON object has no fields, as for Laravel.
fn fields(body: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(body).unwrap_or_default()
}
