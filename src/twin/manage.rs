//! What a session's key does beside sending (`docs/wire/wasender.md` §2.3, §2.4).

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    answer::{self, Refusal},
    api::BySession,
    book::{Book, Entry},
    clock,
    deeds::{Deed, Edit, Presence, Read},
    follow::Passage,
    kinds::Form,
    misbehaviour::{Misbehaviour, Moods},
    wire,
    world::World,
};

/// The documents name `paused` in one place only.
const PRESENCES: [&str; 5] = ["composing", "recording", "available", "unavailable", "paused"];

const TOO_LATE: &str = "The message is too old to be changed.";

pub(super) async fn edit(
    State(world): State<Arc<World>>,
    BySession(id): BySession,
    Path(msg_id): Path<u64>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut form = Form::new(&body);
    let text = form.required("text").to_owned();
    form.done().map_err(|it| Refusal::invalid(&it))?;

    let (mut info, content) = {
        let mut book = world.book();
        let entry = changeable(&mut book, id, msg_id)?;
        let info = entry.info();
        (info.clone(), wire::edit_content(&info["key"], &text, clock::now_ms()))
    };
    world.echo_change(id, &info["remoteJid"], &content);
    world.note_deed(|it| it.edits.push(Edit { session: id, msg_id, text, at: Instant::now() }));
    info["message"] = content;
    Ok(answer::data(&info))
}

/// For everyone.
pub(super) async fn delete(
    State(world): State<Arc<World>>,
    BySession(id): BySession,
    Path(msg_id): Path<u64>,
) -> Result<Response, Refusal> {
    let info = {
        let mut book = world.book();
        let entry = changeable(&mut book, id, msg_id)?;
        entry.deleted = true;
        entry.info()
    };
    world.echo_change(id, &info["remoteJid"], &wire::revoke_content(&info["key"]));
    world.note_deed(|it| it.deletions.push(Deed { session: id, msg_id, at: Instant::now() }));
    Ok(done("Message deleted successfully."))
}

/// Only what failed, and only where the logs have what it was.
pub(super) async fn resend(
    State(world): State<Arc<World>>,
    BySession(id): BySession,
    Path(msg_id): Path<u64>,
) -> Result<Response, Refusal> {
    let passage = {
        let mut book = world.book();
        let session = ready(&mut book, id)?.clone();
        let entry = own(&mut book, id, msg_id)?;
        if entry.status != 0 {
            return Err(Refusal::new(400, "Only failed messages can be resent."));
        }
        if !session.log_messages {
            return Err(Refusal::new(400, "Message logging is disabled for this session."));
        }
        (entry.status, entry.failure) = (1, None);
        Passage {
            session,
            moods: Moods::default(),
            msg_id,
            key_id: entry.sent.key_id.clone(),
            jid: entry.jid.clone(),
            text: entry.sent.text.clone(),
            content: entry.content.clone(),
        }
    };
    let after = passage.session.hooks_after;
    // It is a task of its own, as after a send.
    let _ = passage.start(&world, after);
    world.note_deed(|it| it.resends.push(Deed { session: id, msg_id, at: Instant::now() }));
    Ok(done("Message resend initiated successfully."))
}

/// The key must be that of a customer's message, as its webhook had it.
pub(super) async fn read(
    State(world): State<Arc<World>>,
    BySession(id): BySession,
    body: Bytes,
) -> Result<Response, Refusal> {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut form = Form::new(&body);
    let key_id = form.required("key.id").to_owned();
    let remote_jid = form.required("key.remoteJid").to_owned();
    let from_me = form.flag("key.fromMe");
    if form.field("key.fromMe").is_none() {
        form.missing("key.fromMe");
    }
    form.done().map_err(|it| Refusal::invalid(&it))?;
    {
        let mut book = world.book();
        ready(&mut book, id)?;
        let is_known = book.heard.jid(id, &key_id) == Some(remote_jid.as_str());
        if from_me || !(is_known || world.counts()) {
            return Err(Refusal::new(404, "Message not found"));
        }
    }
    let at = Instant::now();
    world.note_deed(|it| it.reads.push(Read { session: id, key_id, remote_jid, at }));
    Ok(answer::data(&json!({ "status": "read" })))
}

pub(super) async fn presence(
    State(world): State<Arc<World>>,
    BySession(id): BySession,
    body: Bytes,
) -> Result<Response, Refusal> {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut form = Form::new(&body);
    let (jid, kind) = (form.required("jid").to_owned(), form.required("type").to_owned());
    let delay_ms = form.integer("delayMs");
    if !kind.is_empty() && !PRESENCES.contains(&kind.as_str()) {
        form.fault("type", "field is not a known presence.");
    }
    form.done().map_err(|it| Refusal::invalid(&it))?;
    ready(&mut world.book(), id)?;
    let (answer, at) = (json!({ "jid": jid, "type": kind }), Instant::now());
    world.note_deed(|it| it.presences.push(Presence { session: id, jid, kind, delay_ms, at }));
    Ok(answer::data(&answer))
}

/// The session, if it can do something now.
pub(super) fn ready(book: &mut Book, id: u64) -> Result<&super::Session, Refusal> {
    let line = book.lines.get_mut(&id).ok_or_else(Refusal::bad_key)?;
    if let Some(status) = line.misbehaviours.deed_fails() {
        return Err(Refusal::new(status, "Server Error"));
    }
    if !line.session.is_connected() {
        return Err(Refusal::not_connected());
    }
    Ok(&line.session)
}

fn own(book: &mut Book, id: u64, msg_id: u64) -> Result<&mut Entry, Refusal> {
    let entry = book.entry(msg_id).filter(|it| it.sent.session == id);
    entry.ok_or_else(|| Refusal::new(404, "Message not found"))
}

/// A send that can still be edited or deleted.
fn changeable(book: &mut Book, id: u64, msg_id: u64) -> Result<&mut Entry, Refusal> {
    ready(book, id)?;
    let line = book.lines.get_mut(&id).ok_or_else(Refusal::bad_key)?;
    let late = line.misbehaviours.now(&Misbehaviour::TooLate);
    let entry = own(book, id, msg_id)?;
    match entry {
        _ if late => Err(Refusal::new(400, TOO_LATE)),
        it if it.deleted => Err(Refusal::new(404, "Message not found")),
        it if it.status == 0 => Err(Refusal::new(400, "The message was not sent.")),
        it => Ok(it),
    }
}

fn done(message: &str) -> Response {
    Json(json!({ "success": true, "message": message })).into_response()
}
