//! What follows a send that was taken: its way to the customer, told in webhooks.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::task::JoinHandle;

use super::{
    clock,
    misbehaviour::{Misbehaviour, Moods},
    session::{Dialect, Session},
    wire,
    world::World,
};

/// A send on its way.
pub(super) struct Passage {
    /// The session as it was when the send was taken.
    pub(super) session: Session,
    pub(super) moods: Moods,
    pub(super) msg_id: u64,
    pub(super) key_id: String,
    pub(super) jid: String,
    pub(super) text: String,
    /// Baileys' `message`.
    pub(super) content: Value,
}

enum Step {
    Echo,
    Status(u8),
}

const IN_ORDER: [Step; 4] = [Step::Echo, Step::Status(2), Step::Status(3), Step::Status(4)];
const OUT_OF_ORDER: [Step; 4] = [Step::Status(3), Step::Status(2), Step::Status(4), Step::Echo];

impl Passage {
    /// Sets out after this time. The caller need not wait for the end, [`Twin::idle`] does.
    ///
    /// [`Twin::idle`]: super::Twin::idle
    pub(super) fn start(self, world: &Arc<World>, after: Duration) -> Option<JoinHandle<()>> {
        if world.counts() && !self.session.has_webhook() {
            return None;
        }
        // It is announced before the send is answered, so that nobody finds the twin idle between
        // the two.
        let Some(pending) = world.hooks.announce() else {
            world.hooks.failed(self.session.id, "message.sent", None, "too many are pending");
            return None;
        };
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

    async fn travel(&self, world: &World) {
        if let Some(reason) = self.moods.failure() {
            return self.fail(world, reason).await;
        }
        let in_order = !self.moods.has(&Misbehaviour::HooksOutOfOrder);
        for step in if in_order { &IN_ORDER } else { &OUT_OF_ORDER } {
            match *step {
                Step::Echo => self.echo(world).await,
                Step::Status(status) => {
                    world.progress(self.msg_id, status);
                    self.tell_status(world, status).await;
                }
            }
        }
    }

    /// The predecessor's dialect has no word for an echo.
    async fn echo(&self, world: &World) {
        let silent = !self.session.echoes || self.moods.has(&Misbehaviour::NoEchoes);
        if silent || self.session.dialect == Dialect::Predecessor {
            return;
        }
        let now = clock::now_secs();
        let sent = wire::real_sent(&self.key_id, &self.jid, &self.content, now);
        self.post(world, "message.sent", sent).await;
        let echo = wire::real_echo(&self.key_id, &self.jid, &self.text, &self.content, now);
        self.post(world, "messages.upsert", echo).await;
    }

    /// The predecessor's dialect has no word for *sent*.
    async fn tell_status(&self, world: &World, status: u8) {
        if !self.session.statuses || self.moods.has(&Misbehaviour::NoStatuses) {
            return;
        }
        let body = match (self.session.dialect, status) {
            (Dialect::Real, _) => {
                let key = &self.session.api_key;
                wire::real_status(key, &self.key_id, &self.jid, status, clock::now_ms())
            }
            (Dialect::Predecessor, 3) => self.predecessor_status("delivered"),
            (Dialect::Predecessor, 4) => self.predecessor_status("read"),
            (Dialect::Predecessor, _) => return,
        };
        self.post(world, "messages.update", body).await;
    }

    async fn fail(&self, world: &World, reason: &str) {
        world.fail(self.msg_id, reason);
        let body = match self.session.dialect {
            Dialect::Real => wire::real_failed(reason, clock::now_secs()),
            Dialect::Predecessor => self.predecessor_status("failed"),
        };
        self.post(world, "message.sent", body).await;
    }

    /// By Wasender's id: the only one that the predecessor was told when it sent.
    fn predecessor_status(&self, word: &str) -> Value {
        wire::predecessor_status(&self.msg_id.to_string(), word, clock::now_secs())
    }

    async fn post(&self, world: &World, event: &str, body: Value) {
        if self.session.subscribes(event) {
            world.hooks.post(&self.session, event, &body, &self.moods).await;
        }
    }
}
