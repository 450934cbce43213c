//! `POST /{pnid}/messages`, well or badly, and the statuses that follow
//! (`docs/wire/meta-unipile-twilio.md` A5, B1–B4).

use std::{
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    super::{answer, api::bearer, clock, wire::digits},
    check::{Ask, Order},
    error::GraphError,
    misbehaviour::{MetaMisbehaviour, Moods},
    number::MetaNumber,
    post::Change,
    world::{MetaRead, MetaSent, World},
};

const IN_ORDER: [&str; 3] = ["sent", "delivered", "read"];
const OUT_OF_ORDER: [&str; 3] = ["read", "delivered", "sent"];

/// A send that was taken, on its way.
struct Passage {
    number: MetaNumber,
    moods: Moods,
    wamid: String,
    order: Order,
}

pub(super) async fn messages(
    world: &Arc<World>,
    id: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, GraphError> {
    let number = world.own(id, bearer(headers))?;
    let ask = {
        let book = world.book();
        let find = |id: &str| {
            let file = book.shelf.files.get(id).filter(|it| it.number == number.id)?;
            Some(file.mime_type.clone())
        };
        Ask::read(&body, &find)?
    };
    match ask {
        Ask::Read { wamid, is_typing } => read(world, &number, wamid, is_typing),
        Ask::Send(order) => send(world, number, order, body).await,
    }
}

fn read(
    world: &World,
    number: &MetaNumber,
    wamid: String,
    is_typing: bool,
) -> Result<Response, GraphError> {
    world.may_do(&number.id)?;
    if !world.book().heard.contains(&(number.id.clone(), wamid.clone())) {
        return Err(GraphError::invalid("message_id", "is no message to this number"));
    }
    let number = number.id.clone();
    world.note_deed(|it| it.reads.push(MetaRead { number, wamid, is_typing }));
    Ok(Json(json!({ "success": true })).into_response())
}

async fn send(
    world: &Arc<World>,
    number: MetaNumber,
    order: Order,
    body: Bytes,
) -> Result<Response, GraphError> {
    let (late, how) = {
        let mut book = world.book();
        let line = book.lines.get_mut(&number.id).ok_or_else(GraphError::bad_token)?;
        (line.wrongs.lateness(), line.wrongs.of_answer())
    };
    let mut taken = Value::Null;
    if takes(how.as_ref()) {
        let passage = accept(world, number, order, body);
        taken = passage.answer();
        let early = passage.moods.has(&MetaMisbehaviour::EarlyStatuses);
        let after = if early { Duration::ZERO } else { late + passage.number.hooks_after };
        let underway = passage.start(world, after);
        if let Some(underway) = underway.filter(|_| early) {
            // It cannot fail but by a panic, which has been printed by then.
            let _ = underway.await;
        }
    }
    if !late.is_zero() {
        tokio::time::sleep(late).await;
    }
    match how {
        Some(MetaMisbehaviour::Hang { .. }) => future::pending().await,
        Some(MetaMisbehaviour::Cut { .. }) => Ok(answer::cut()),
        Some(MetaMisbehaviour::Fail { status, .. }) => Ok(answer::broken(status)),
        Some(MetaMisbehaviour::Garbled) => Ok(answer::garbled()),
        Some(MetaMisbehaviour::Refuse(code)) => Err(GraphError::new(code, "It was asked for")),
        _ => Ok(Json(taken).into_response()),
    }
}

/// Whether the message is taken, whatever the answer.
fn takes(how: Option<&MetaMisbehaviour>) -> bool {
    match how {
        Some(
            MetaMisbehaviour::Cut { accepted }
            | MetaMisbehaviour::Fail { accepted, .. }
            | MetaMisbehaviour::Hang { accepted },
        ) => *accepted,
        Some(MetaMisbehaviour::Garbled) | None => true,
        Some(_) => false,
    }
}

fn accept(world: &World, number: MetaNumber, order: Order, body: Bytes) -> Passage {
    let wamid = world.new_wamid();
    world.keep_send(MetaSent {
        number: number.id.clone(),
        to: order.to.clone(),
        kind: order.kind.clone(),
        text: order.text.clone(),
        body,
        wamid: wamid.clone(),
        at: Instant::now(),
    });
    let mut book = world.book();
    let moods = book.lines.get_mut(&number.id).map(|it| it.wrongs.behind_send());
    Passage { number, moods: moods.unwrap_or_default(), wamid, order }
}

impl Passage {
    fn answer(&self) -> Value {
        let mut contact = json!({ "input": self.order.to });
        if self.order.is_bsuid {
            contact["user_id"] = json!(self.order.to);
        } else {
            contact["wa_id"] = json!(digits(&self.order.to));
        }
        let message = json!({ "id": self.wamid, "message_status": "accepted" });
        json!({ "messaging_product": "whatsapp", "contacts": [contact], "messages": [message] })
    }

    /// Sets out after this time. The caller need not wait for the end, `idle` does.
    fn start(self, world: &Arc<World>, after: Duration) -> Option<JoinHandle<()>> {
        let pending = world.hooks.announce()?;
        let world = Arc::clone(world);
        Some(tokio::spawn(async move {
            let _pending = pending;
            let passage = async {
                tokio::time::sleep(after).await;
                self.travel(&world).await;
            };
            world.hooks.unless_stopped(passage).await;
        }))
    }

    async fn travel(&self, world: &Arc<World>) {
        if let Some(code) = self.moods.late_code() {
            return self.tell(world, &[self.status("failed", Some(code))]).await;
        }
        if !self.number.statuses || self.moods.has(&MetaMisbehaviour::NoStatuses) {
            return;
        }
        let out_of_order = self.moods.has(&MetaMisbehaviour::StatusesOutOfOrder);
        let words = if out_of_order { OUT_OF_ORDER } else { IN_ORDER };
        // Only *sent* follows a reaction (B2).
        let words = if self.order.kind == "reaction" { &["sent"] } else { words.as_slice() };
        let all: Vec<Value> = words.iter().map(|it| self.status(it, None)).collect();
        if self.moods.has(&MetaMisbehaviour::BatchedStatuses) {
            return self.tell(world, &all).await;
        }
        for it in all {
            self.tell(world, &[it]).await;
        }
    }

    fn status(&self, word: &str, code: Option<u32>) -> Value {
        let mut status = json!({
            "id": self.wamid,
            "status": word,
            "timestamp": clock::now_secs().to_string(),
        });
        let recipient = if self.order.is_bsuid { "recipient_user_id" } else { "recipient_id" };
        let to = &self.order.to;
        status[recipient] = json!(if self.order.is_bsuid { to.clone() } else { digits(to) });
        if let Some(reference) = &self.order.reference {
            status["biz_opaque_callback_data"] = json!(reference);
        }
        if matches!(word, "sent" | "delivered") {
            status["pricing"] = json!({
                "billable": false,
                "pricing_model": "PMP",
                "type": "free_customer_service",
                "category": "service",
            });
        }
        if let Some(code) = code {
            status["errors"] = json!([GraphError::in_status(code)]);
        }
        status
    }

    async fn tell(&self, world: &Arc<World>, statuses: &[Value]) {
        let change = Change::of(&self.number, "messages", json!({ "statuses": statuses }));
        let pending = world.hooks.announce();
        world.tell(vec![change], self.moods.clone(), pending).await;
    }
}
