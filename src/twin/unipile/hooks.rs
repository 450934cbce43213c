//! Webhooks that are entered, and how they are posted: five times more when they are not taken
//! (`docs/wire/meta-unipile-twilio.md` D3, D5).

use std::{sync::Arc, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    account::{Generation, Moods, UnipileNumber},
    world::World,
};
use crate::twin::{HookAnswer, clock, hooks::Pending, port::Post};

/// Posts after the first.
const RETRIES: u32 = 5;
/// Before the first of them; it doubles.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// A webhook that is entered.
#[derive(Clone)]
pub struct UnipileHook {
    /// Its id.
    pub id: String,
    /// Of the API that it belongs to.
    pub generation: Generation,
    /// Where it goes.
    pub url: String,
    /// First generation: `messaging` or `account_status`.
    pub source: String,
    /// First generation: what it carries, as it was entered.
    pub headers: Vec<(String, String)>,
    /// Whose events; empty: of all accounts.
    pub account_ids: Vec<String>,
    /// Which events; empty: all of the source.
    pub events: Vec<String>,
    /// Second generation: what it is signed with.
    pub secret: String,
}

impl UnipileHook {
    fn wants(&self, number: &UnipileNumber, source: &str, event: &str) -> bool {
        let of = |all: &[String], one: &str| all.is_empty() || all.iter().any(|it| it == one);
        self.generation == number.generation
            && (self.generation == Generation::V2 || self.source == source)
            && of(&self.account_ids, &number.account_id)
            && of(&self.events, event)
    }

    /// As the API shows it.
    pub(super) fn shown(&self) -> Value {
        match self.generation {
            Generation::V1 => json!({
                "object": "Webhook",
                "id": self.id,
                "request_url": self.url,
                "source": self.source,
                "account_ids": self.account_ids,
                "events": self.events,
                "enabled": true,
            }),
            Generation::V2 => json!({
                "object": "WebhookEndpoint",
                "id": self.id,
                "enabled": true,
                "url": self.url,
                "trigger_events": self.events,
                "account_ids": self.account_ids,
                "secret": self.secret,
            }),
        }
    }
}

/// `unipile-signature`: of the time in seconds and the body (D5).
#[must_use]
pub fn sign(secret: &str, at_secs: i64, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{at_secs}.").as_bytes());
    mac.update(body);
    format!("t={at_secs},v0={}", hex::encode(mac.finalize().into_bytes()))
}

impl World {
    pub(super) fn set_hooks(&self, account_id: &str, url: &str, secret: &str) {
        let ids = [self.id("wh_"), self.id("wh_")];
        let mut book = self.book();
        let Some(generation) = book.lines.get(account_id).map(|it| it.number.generation) else {
            return;
        };
        let sources: &[&str] = match generation {
            Generation::V1 => &["messaging", "account_status"],
            Generation::V2 => &[""],
        };
        for (source, id) in sources.iter().zip(ids) {
            book.hooks.push(UnipileHook {
                id,
                generation,
                url: url.to_owned(),
                source: (*source).to_owned(),
                headers: vec![
                    ("Unipile-Auth".to_owned(), secret.to_owned()),
                    ("Content-Type".to_owned(), "application/json".to_owned()),
                ],
                account_ids: vec![account_id.to_owned()],
                events: Vec::new(),
                secret: secret.to_owned(),
            });
        }
    }

    /// Posts an event to whoever wants it. The answer is that of the first post to the last of
    /// them; what is not taken is tried again in the background.
    pub(super) async fn tell(
        self: &Arc<Self>,
        number: &UnipileNumber,
        source: &str,
        event: &str,
        body: &Value,
        moods: &Moods,
    ) -> HookAnswer {
        let all = self.book().hooks.clone();
        let mut answer = HookAnswer::none("no webhook");
        for hook in all.into_iter().filter(|it| it.wants(number, source, event)) {
            for _ in 0..=u8::from(moods.is_twice) {
                answer = self.post(&hook, event, body, moods.is_forged).await;
                if let Some(pending) = self.hooks.announce().filter(|_| !answer.is_ok()) {
                    self.try_again(hook.clone(), event.to_owned(), body.clone(), pending);
                }
            }
        }
        answer
    }

    fn try_again(
        self: &Arc<Self>,
        hook: UnipileHook,
        event: String,
        body: Value,
        pending: Pending,
    ) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            let _pending = pending;
            let again = async {
                for n in 0..RETRIES {
                    tokio::time::sleep(RETRY_AFTER * 2_u32.pow(n)).await;
                    if world.post(&hook, &event, &body, false).await.is_ok() {
                        return;
                    }
                }
            };
            world.hooks.unless_stopped(again).await;
        });
    }

    async fn post(
        &self,
        hook: &UnipileHook,
        event: &str,
        body: &Value,
        is_forged: bool,
    ) -> HookAnswer {
        let bytes = body.to_string().into_bytes();
        let mut headers = Vec::new();
        match hook.generation {
            Generation::V1 => {
                for (name, value) in &hook.headers {
                    let is_secret = name.eq_ignore_ascii_case("unipile-auth");
                    let value = if is_secret && is_forged { "not-the-secret" } else { value };
                    // The client takes names that live on; there are only these.
                    let name = if is_secret { "unipile-auth" } else { "content-type" };
                    headers.push((name, value.to_owned()));
                }
            }
            Generation::V2 => {
                let secret = if is_forged { "not-the-secret" } else { &hook.secret };
                headers.push(("unipile-signature", sign(secret, clock::now_secs(), &bytes)));
                headers.push(("content-type", "application/json".to_owned()));
            }
        }
        let id = body["message_id"].as_str().or(body["payload"]["id"].as_str());
        let post = Post {
            account: 0,
            event,
            url: &hook.url,
            headers,
            body: bytes.into(),
            id: id.unwrap_or_default().to_owned(),
        };
        self.hooks.post_raw(post).await
    }
}
