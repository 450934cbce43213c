//! What goes out by itself: echoes and receipts of sends, customers' messages, statuses.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    account::{Generation, Moods, UnipileNumber},
    wire,
    world::{Chat, Message, UnipileFile, World},
};
use crate::twin::{Customer, HookAnswer};

/// A send on its way.
pub(super) struct Passage {
    pub(super) number: UnipileNumber,
    pub(super) chat: Chat,
    pub(super) message: Message,
    pub(super) moods: Moods,
}

impl Passage {
    /// Sets out after this time.
    pub(super) fn start(self, world: &Arc<World>, after: Duration) -> Option<JoinHandle<()>> {
        let pending = world.hooks.announce()?;
        let world = Arc::clone(world);
        Some(tokio::spawn(async move {
            let _pending = pending;
            let travel = async {
                tokio::time::sleep(after).await;
                self.travel(&world).await;
            };
            world.hooks.unless_stopped(travel).await;
        }))
    }

    async fn travel(mut self, world: &Arc<World>) {
        if !self.moods.has_no_echo {
            world.tell_message(&self.number, &self.chat, &self.message, &self.moods).await;
        }
        for (event_v1, event_v2, is_seen) in [
            ("message_delivered", "message.receipt.delivery", false),
            ("message_read", "message.receipt.read", true),
        ] {
            self.message.is_delivered = true;
            self.message.is_seen = is_seen;
            if let Some(it) = world.book().message(&self.message.sent.message_id) {
                (it.is_delivered, it.is_seen) = (true, is_seen);
            }
            if self.moods.has_no_receipts {
                continue;
            }
            let (event, body) = match self.number.generation {
                Generation::V1 => (
                    event_v1,
                    wire::receipt(event_v1, &self.message, &self.chat, &self.number, &self.moods),
                ),
                Generation::V2 => {
                    let payload = json!({
                        "message_id": self.message.sent.message_id,
                        "chat_id": self.chat.id,
                    });
                    let id = world.id("evt_");
                    let account = &self.number.account_id;
                    (event_v2, wire::event_v2(&id, account, event_v2, &payload))
                }
            };
            world.tell(&self.number, "messaging", event, &body, &self.moods).await;
        }
    }
}

impl World {
    /// Tells of a message, whoever wrote it.
    pub(super) async fn tell_message(
        self: &Arc<Self>,
        number: &UnipileNumber,
        chat: &Chat,
        message: &Message,
        moods: &Moods,
    ) -> HookAnswer {
        let (event, body) = match number.generation {
            Generation::V1 => ("message_received", wire::received(message, chat, number, moods)),
            Generation::V2 => {
                let mut payload = wire::listed_v2(message, chat, number);
                if moods.is_hidden {
                    payload["sender"]["public_identifier"] = json!("hidden");
                }
                let id = self.id("evt_");
                let kind = "message.new";
                (kind, wire::event_v2(&id, &number.account_id, kind, &payload))
            }
        };
        self.tell(number, "messaging", event, &body, moods).await
    }

    pub(super) async fn customer_says(
        self: &Arc<Self>,
        account_id: &str,
        customer: &Customer,
        text: &str,
        fields: Value,
        file: Option<UnipileFile>,
    ) -> HookAnswer {
        let found = self.found(account_id);
        let Some((number, moods)) = found else { return HookAnswer::none("no such account") };
        let chat = self.chat(account_id, customer);
        let message = self.keep(&number, &chat, text, file.into_iter().collect(), |_| {});
        let (event, mut body) = match number.generation {
            Generation::V1 => {
                ("message_received", wire::received(&message, &chat, &number, &moods))
            }
            Generation::V2 => {
                let payload = wire::listed_v2(&message, &chat, &number);
                let id = self.id("evt_");
                let kind = "message.new";
                (kind, wire::event_v2(&id, account_id, kind, &payload))
            }
        };
        if fields.is_null() {
            return self.tell_message(&number, &chat, &message, &moods).await;
        }
        for (name, value) in fields.as_object().into_iter().flatten() {
            match number.generation {
                Generation::V1 => body[name] = value.clone(),
                Generation::V2 => body["payload"][name] = value.clone(),
            }
        }
        self.tell(&number, "messaging", event, &body, &moods).await
    }

    pub(super) async fn person_says(
        self: &Arc<Self>,
        account_id: &str,
        customer: &Customer,
        text: &str,
    ) -> HookAnswer {
        let found = self.found(account_id);
        let Some((number, moods)) = found else { return HookAnswer::none("no such account") };
        let chat = self.chat(account_id, customer);
        let message = self.keep(&number, &chat, text, Vec::new(), |it| it.is_own = true);
        self.tell_message(&number, &chat, &message, &moods).await
    }

    pub(super) async fn set_status(self: &Arc<Self>, account_id: &str, status: &str) -> HookAnswer {
        if let Some(line) = self.book().lines.get_mut(account_id) {
            status.clone_into(&mut line.number.status);
        }
        let found = self.found(account_id);
        let Some((number, moods)) = found else { return HookAnswer::none("no such account") };
        match number.generation {
            Generation::V1 => {
                let body = wire::status_v1(&number);
                self.tell(&number, "account_status", "account_status", &body, &moods).await
            }
            Generation::V2 => {
                let kind = format!("account.status.{}", wire::word_v2(status));
                let id = self.id("evt_");
                let body = wire::event_v2(&id, account_id, &kind, &json!({}));
                self.tell(&number, "", &kind, &body, &moods).await
            }
        }
    }

    fn found(&self, account_id: &str) -> Option<(UnipileNumber, Moods)> {
        let mut book = self.book();
        let line = book.lines.get_mut(account_id)?;
        Some((line.number.clone(), Moods::of_hook(line)))
    }
}
