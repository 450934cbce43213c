//! Webhooks that follow no send: customers write, people type, connections come and go.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    clock,
    hooks::{HookAnswer, Pending},
    inbound::Inbound,
    misbehaviour::{Misbehaviour, Moods},
    session::{Dialect, Session},
    wire::{self, Customer},
    world::World,
};

/// Events that bring a customer's message, the one to subscribe to first
/// (`docs/wire/wasender.md` §4.3).
const INBOUND: [&str; 3] = ["messages.received", "messages-personal.received", "messages.upsert"];

/// One webhook, about to be posted.
pub(super) struct Word {
    pub(super) session: Session,
    pub(super) moods: Moods,
    _pending: Option<Pending>,
}

impl World {
    pub(super) async fn customer_says(
        &self,
        id: u64,
        customer: &Customer,
        text: &str,
    ) -> HookAnswer {
        self.customer_shares(id, customer, &Inbound::text(text)).await
    }

    pub(super) async fn customer_sends(&self, id: u64, body: &Value) -> HookAnswer {
        let Some(word) = self.word(id) else { return HookAnswer::none("no such session") };
        let event = body.get("event").and_then(Value::as_str).unwrap_or_default();
        word.post(self, event, body).await
    }

    pub(super) async fn human_types(&self, id: u64, customer: &Customer, text: &str) -> HookAnswer {
        let Some(word) = self.word(id) else { return HookAnswer::none("no such session") };
        let customer = self.as_seen(customer, &word.moods);
        let (key_id, now) = (self.new_key_id(), clock::now_secs());
        let typed = wire::real_typed(&key_id, &customer, text, now);
        if word.session.subscribes("messages.upsert") {
            return word.post(self, "messages.upsert", &typed).await;
        }
        if !word.session.subscribes("message.sent") {
            return HookAnswer::none("not subscribed");
        }
        // It comes for what is typed on the phone too (`docs/wire/wasender.md` §4.5).
        let typed = &typed["data"]["messages"];
        let jid = typed["key"]["remoteJid"].as_str().unwrap_or_default();
        let sent = wire::real_sent(&key_id, jid, &typed["message"], now);
        word.post(self, "message.sent", &sent).await
    }

    pub(super) async fn tell_status(&self, id: u64) -> HookAnswer {
        let Some(word) = self.word(id) else { return HookAnswer::none("no such session") };
        word.tell_status(self).await
    }

    /// Tells the status without anybody waiting for it, where it is asked for.
    pub(super) fn announce_status(self: &Arc<Self>, id: u64) {
        let Some(word) = self.word(id) else { return };
        if word.session.subscribes("session.status") {
            let twin = Arc::clone(self);
            tokio::spawn(async move {
                word.tell_status(&twin).await;
            });
        }
    }

    pub(super) fn word(&self, id: u64) -> Option<Word> {
        let pending = self.hooks.announce();
        let mut book = self.book();
        let line = book.lines.get_mut(&id)?;
        let (session, moods) = (line.session.clone(), line.misbehaviours.with_hook());
        Some(Word { session, moods, _pending: pending })
    }

    /// The customer as far as webhooks know them.
    pub(super) fn as_seen(&self, customer: &Customer, moods: &Moods) -> Customer {
        let Some(phone) = customer.phone.as_ref().filter(|_| moods.has(&Misbehaviour::LidOnly))
        else {
            return customer.clone();
        };
        let lid = customer.lid.clone();
        let lid = lid.unwrap_or_else(|| self.book().lids.lid_or_new(phone));
        Customer { phone: None, lid: Some(lid), name: customer.name.clone() }
    }
}

impl Word {
    /// Posts a customer's message, under each inbound event that is to tell it.
    pub(super) async fn tell_inbound(&self, world: &World, mut body: Value) -> HookAnswer {
        // Integrators have seen it in live requests (`docs/wire/wasender.md` §4.2).
        body["sessionId"] = json!(self.session.api_key);
        let mut first = None;
        for event in INBOUND.into_iter().filter(|it| self.session.subscribes(it)) {
            body["event"] = json!(event);
            let answer = self.post(world, event, &body).await;
            first.get_or_insert(answer);
            if !self.moods.has(&Misbehaviour::Overlap) {
                break;
            }
        }
        first.unwrap_or_else(|| HookAnswer::none("not subscribed"))
    }

    async fn tell_status(&self, world: &World) -> HookAnswer {
        let session = &self.session;
        let status = session.status.to_lowercase();
        if !session.subscribes("session.status") {
            return HookAnswer::none("not subscribed");
        }
        let body = match session.dialect {
            Dialect::Real => wire::real_connection(&session.api_key, &status),
            Dialect::Predecessor => {
                let known = matches!(status.as_str(), "connected" | "error");
                let status = if known { status.as_str() } else { "disconnected" };
                wire::predecessor_connection(&session.phone_number, status, clock::now_secs())
            }
        };
        self.post(world, "session.status", &body).await
    }

    pub(super) async fn post(&self, world: &World, event: &str, body: &Value) -> HookAnswer {
        if !self.session.has_webhook() {
            return HookAnswer::none("no webhook");
        }
        if !world.counts() {
            world.book().heard.webhook(self.session.id, body);
        }
        let post = world.hooks.post(&self.session, event, body, &self.moods);
        let answer = world.hooks.unless_stopped(post).await;
        answer.unwrap_or_else(|| HookAnswer::none("the twin was stopped"))
    }
}
