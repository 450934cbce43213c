//! `POST /send-message`, well or badly (`docs/wire/wasender.md` §2.1).

use std::{
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::State,
    http::HeaderValue,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    answer::{self, Refusal},
    api::BySession,
    misbehaviour::Misbehaviour,
    order::Order,
    pace::Room,
    world::World,
};

/// How one send is going to be answered.
struct Plan {
    late: Duration,
    hooks_after: Duration,
    room: Room,
    protected: bool,
    /// None: well.
    how: Option<Misbehaviour>,
}

pub(super) async fn send_message(
    State(world): State<Arc<World>>,
    BySession(id): BySession,
    body: Bytes,
) -> Result<Response, Refusal> {
    let mut order = Order::read(&body).map_err(|it| Refusal::invalid(&it))?;
    look_up(&world, id, &mut order).map_err(|it| Refusal::invalid(&it))?;
    let mut plan = plan(&world, id).ok_or_else(Refusal::bad_key)?;

    let mut taken = Value::Null;
    if plan.takes() {
        let to = order.to.clone();
        let passage = world.accept(id, order, body).ok_or_else(Refusal::bad_key)?;
        taken = json!({ "msgId": passage.msg_id, "jid": to, "status": "in_progress" });
        plan.room.remaining = plan.room.remaining.saturating_sub(1);

        let early = passage.moods.has(&Misbehaviour::EarlyEcho);
        let after = if early { Duration::ZERO } else { plan.late + plan.hooks_after };
        // The passage is a task of its own: the caller may hang up, the message still goes.
        let underway = passage.start(&world, after);
        if let Some(underway) = underway.filter(|_| early) {
            // It cannot fail but by a panic, which has been printed by then.
            let _ = underway.await;
        }
    }
    if !plan.late.is_zero() {
        tokio::time::sleep(plan.late).await;
    }
    let mut response = plan.answer(&taken).await;
    tell_room(&mut response, plan.room);
    Ok(response)
}

/// Checks what a send refers to, and fills in what it quotes.
fn look_up(world: &World, id: u64, order: &mut Order) -> Result<(), Value> {
    let mut book = world.book();
    order.check_file(world, &book)?;
    let Some(msg_id) = order.reply_to.filter(|_| !world.counts()) else { return Ok(()) };
    let quoted = book.entry(msg_id).filter(|it| it.sent.session == id);
    let quoted =
        quoted.ok_or_else(|| json!({ "replyTo": ["The selected reply to is invalid."] }))?;
    order.quote(&quoted.sent.key_id, &quoted.content);
    Ok(())
}

/// None: the session is gone.
fn plan(world: &World, id: u64) -> Option<Plan> {
    let mut book = world.book();
    let line = book.lines.get_mut(&id)?;
    let protected = line.session.account_protection;
    let mut room = line.pace.room(protected, Instant::now());
    let (late, mut how) = (line.misbehaviours.delay(), line.misbehaviours.answer());
    if how.is_none() && !line.session.is_connected() {
        how = Some(Misbehaviour::NotConnected);
    }
    if how.is_none() && line.session.paced && room.remaining == 0 {
        how = Some(Misbehaviour::TooMany { retry_after: room.reset.max(1) });
    }
    if let Some(Misbehaviour::TooMany { retry_after }) = how {
        (room.remaining, room.reset) = (0, retry_after);
    }
    Some(Plan { late, hooks_after: line.session.hooks_after, room, protected, how })
}

impl Plan {
    /// Whether the message is taken, whatever the answer.
    fn takes(&self) -> bool {
        match self.how {
            Some(
                Misbehaviour::Cut { accepted }
                | Misbehaviour::Fail { accepted, .. }
                | Misbehaviour::Hang { accepted },
            ) => accepted,
            Some(Misbehaviour::Garbled) | None => true,
            Some(_) => false,
        }
    }

    async fn answer(&self, taken: &Value) -> Response {
        match &self.how {
            Some(Misbehaviour::Hang { .. }) => future::pending().await,
            Some(Misbehaviour::Cut { .. }) => answer::cut(),
            Some(Misbehaviour::Fail { status, .. }) => answer::broken(*status),
            Some(Misbehaviour::Garbled) => answer::garbled(),
            Some(Misbehaviour::TooMany { retry_after }) => {
                Refusal::too_many(self.protected, *retry_after).into_response()
            }
            Some(Misbehaviour::NotConnected) => Refusal::not_connected().into_response(),
            Some(Misbehaviour::Refuse { status, message }) => {
                Refusal::new(*status, message).into_response()
            }
            _ => answer::data(taken),
        }
    }
}

/// The headers of `docs/wire/wasender.md` §1.3; `reset` in seconds from now, as the newest
/// documents say.
fn tell_room(response: &mut Response, room: Room) {
    let headers = response.headers_mut();
    headers.insert("x-ratelimit-limit", HeaderValue::from(room.limit));
    headers.insert("x-ratelimit-remaining", HeaderValue::from(room.remaining));
    headers.insert("x-ratelimit-reset", HeaderValue::from(room.reset));
}
