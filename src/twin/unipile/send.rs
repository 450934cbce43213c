//! Sends, well or badly (`docs/wire/meta-unipile-twilio.md` D1, D4, D5).

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    account::{Generation, Moods, UnipileFault, UnipileNumber},
    api::refused,
    follow::Passage,
    form::Order,
    world::{Chat, World},
};
use crate::twin::{
    Customer,
    answer::{self, Refusal},
};

/// Of all files of a message (D1).
const FILE_BYTES_MAX: usize = 15 * 1024 * 1024;
/// How long after the answer to a send its first webhook leaves.
const HOOKS_AFTER: Duration = Duration::from_millis(20);

pub(super) async fn start_v1(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let order = Order::of_form(&headers, &body).ok_or_else(malformed)?;
    let account = order.account_id.clone().ok_or_else(malformed)?;
    let number = world.owner(&headers, &account, Generation::V1)?;
    let chat = world.chat_with(&number, &order)?;
    send(world, number, chat, order, "ChatStarted").await
}

pub(super) async fn reply_v1(
    State(world): State<Arc<World>>,
    Path(chat): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let number = world.caller(&headers, Generation::V1)?;
    let order = Order::of_form(&headers, &body).ok_or_else(malformed)?;
    let chat = world.chat_of(&number, &chat)?;
    if order.account_id.as_ref().is_some_and(|it| *it != number.account_id) {
        return Err(refused(Generation::V1, 403, "account_mismatch"));
    }
    send(world, number, chat, order, "MessageSent").await
}

pub(super) async fn start_v2(
    State(world): State<Arc<World>>,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let number = world.owner(&headers, &account, Generation::V2)?;
    let order = Order::of_json(&body)
        .ok_or_else(|| refused(Generation::V2, 400, "api/invalid_parameters"))?;
    let chat = world.chat_with(&number, &order)?;
    send(world, number, chat, order, "ChatSent").await
}

pub(super) async fn reply_v2(
    State(world): State<Arc<World>>,
    Path((account, chat)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let number = world.owner(&headers, &account, Generation::V2)?;
    let order = Order::of_json(&body)
        .ok_or_else(|| refused(Generation::V2, 400, "api/invalid_parameters"))?;
    let chat = world.chat_of(&number, &chat)?;
    send(world, number, chat, order, "MessageSent").await
}

fn malformed() -> Refusal {
    refused(Generation::V1, 400, "malformed_request")
}

impl World {
    /// The chat with the one whom a send names: a phone's or a LID's id.
    fn chat_with(&self, number: &UnipileNumber, order: &Order) -> Result<Chat, Refusal> {
        let fault = |slug| refused(number.generation, 422, slug);
        let [to] = order.attendees.as_slice() else { return Err(fault("invalid_recipient")) };
        let (user, host) = to.split_once('@').ok_or_else(|| fault("invalid_recipient"))?;
        let is_number = user.bytes().all(|it| it.is_ascii_digit()) && user.len() >= 7;
        match host {
            "s.whatsapp.net" if is_number => {
                Ok(self.chat(&number.account_id, &Customer::new(&format!("+{user}"))))
            }
            "lid" if is_number => Ok(self.chat(&number.account_id, &Customer::lid_only(user))),
            _ => Err(fault("invalid_recipient")),
        }
    }

    pub(super) fn chat_of(&self, number: &UnipileNumber, id: &str) -> Result<Chat, Refusal> {
        let book = self.book();
        let own = book.chats.iter().find(|it| it.id == id && it.account_id == number.account_id);
        own.cloned().ok_or_else(|| refused(number.generation, 404, "resource_not_found"))
    }
}

async fn send(
    world: Arc<World>,
    number: UnipileNumber,
    chat: Chat,
    order: Order,
    object: &str,
) -> Result<Response, Refusal> {
    let generation = number.generation;
    check(&world, &number, &order)?;
    let (late, how, moods) = {
        let mut book = world.book();
        let line = book.lines.get_mut(&number.account_id);
        let line = line.ok_or_else(|| refused(generation, 404, "resource_not_found"))?;
        let late = line.faults.take(|it| matches!(it, UnipileFault::Slow(_)));
        let how = line.faults.take(shapes_the_answer);
        let takes = takes(how.as_ref());
        (late, how, takes.then(|| Moods::of_send(line)))
    };
    let late = match late {
        Some(UnipileFault::Slow(late)) => late,
        _ => Duration::ZERO,
    };
    let mut message_id = Value::Null;
    if let Some(moods) = moods {
        message_id = json!(take(&world, number, &chat, order, moods, late).await);
    }
    tokio::time::sleep(late).await;
    Ok(match how {
        Some(UnipileFault::Cut { .. }) => answer::cut(),
        Some(UnipileFault::Fail { status, .. }) => answer::broken(status),
        Some(UnipileFault::Refuse { status, slug }) => {
            refused(generation, status, slug).into_response()
        }
        Some(UnipileFault::TimesOut { .. }) => {
            refused(generation, 504, "request_timeout").into_response()
        }
        Some(UnipileFault::Garbled) => {
            (StatusCode::CREATED, [(CONTENT_TYPE, "application/json")], r#"{"object":"Mess"#)
                .into_response()
        }
        how => {
            if how == Some(UnipileFault::NullId) {
                message_id = Value::Null;
            }
            let body = json!({ "object": object, "chat_id": chat.id, "message_id": message_id });
            (StatusCode::CREATED, Json(body)).into_response()
        }
    })
}

/// Takes a send, and says its id.
async fn take(
    world: &Arc<World>,
    number: UnipileNumber,
    chat: &Chat,
    order: Order,
    moods: Moods,
    late: Duration,
) -> String {
    let message = world.keep(&number, chat, &order.text, order.files, |it| {
        it.sent.quotes = order.quotes;
        (it.by_api, it.is_own, it.is_listed) = (true, true, !moods.is_unlisted);
    });
    let id = message.sent.message_id.clone();
    let is_early = moods.is_early;
    let after = if is_early { Duration::ZERO } else { late + HOOKS_AFTER };
    let passage = Passage { number, chat: chat.clone(), message, moods };
    let underway = passage.start(world, after);
    if let Some(underway) = underway.filter(|_| is_early) {
        // It cannot fail but by a panic, which has been printed by then.
        let _ = underway.await;
    }
    id
}

fn check(world: &World, number: &UnipileNumber, order: &Order) -> Result<(), Refusal> {
    let fault = |status, slug| Err(refused(number.generation, status, slug));
    if number.status != "OK" {
        return match number.generation {
            Generation::V1 => fault(401, "disconnected_account"),
            Generation::V2 => fault(401, "provider/invalid_authorization"),
        };
    }
    if order.text.is_empty() && order.files.is_empty() {
        return fault(400, "missing_parameters");
    }
    if order.files.iter().map(|it| it.bytes.len()).sum::<usize>() > FILE_BYTES_MAX {
        return fault(422, "limit_exceeded");
    }
    if let Some(quoted) = &order.quotes
        && world.book().message(quoted).is_none()
    {
        return fault(404, "resource_not_found");
    }
    Ok(())
}

fn shapes_the_answer(fault: &UnipileFault) -> bool {
    matches!(
        fault,
        UnipileFault::Cut { .. }
            | UnipileFault::Fail { .. }
            | UnipileFault::Refuse { .. }
            | UnipileFault::TimesOut { .. }
            | UnipileFault::Garbled
            | UnipileFault::NullId
    )
}

/// Whether the message is taken, whatever the answer.
fn takes(how: Option<&UnipileFault>) -> bool {
    match how {
        Some(
            UnipileFault::Cut { accepted }
            | UnipileFault::Fail { accepted, .. }
            | UnipileFault::TimesOut { accepted },
        ) => *accepted,
        Some(UnipileFault::Refuse { .. }) => false,
        _ => true,
    }
}
