//! Unipile for WhatsApp, simulated, both generations of it (`docs/wire/meta-unipile-twilio.md` D).

mod account;
mod api;
mod chats;
mod follow;
mod form;
mod hooks;
mod send;
#[cfg(test)]
mod tests;
mod wire;
mod world;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::Value;

pub use self::{
    account::{Generation, UnipileFault, UnipileNumber},
    hooks::{UnipileHook, sign},
    world::{UnipileFile, UnipileRequest, UnipileSent},
};
use super::{Customer, HookAnswer, HookFailure, Times, port, wasender::Server};

/// A simulator of Unipile on the real wire: linked WhatsApp accounts, sends, webhooks with their
/// retries, and faults on request. A clone is the same twin.
///
/// Methods that name an account that does not exist do nothing, or answer as if there were nothing.
#[derive(Clone)]
pub struct UnipileTwin {
    world: Arc<world::World>,
    server: Arc<Server>,
}

impl UnipileTwin {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    ///
    /// When there is no port, or the HTTP client cannot be made.
    pub async fn start() -> anyhow::Result<Self> {
        let (listener, address) = port::free_port().await?;
        let world = world::World::new(address)?;
        let server = port::start(listener, address, api::router(Arc::clone(&world)));
        Ok(Self { world, server })
    }

    /// The DSN of a generation: the second one's ends in `/v2`.
    #[must_use]
    pub fn dsn(&self, generation: Generation) -> String {
        match generation {
            Generation::V1 => format!("http://{}", self.server.address),
            Generation::V2 => format!("http://{}/v2", self.server.address),
        }
    }

    /// Adds a linked account with this number.
    #[must_use]
    pub fn add_number(&self, phone_number: &str, generation: Generation) -> UnipileNumber {
        self.world.add_number(phone_number, generation)
    }

    /// The account as it is now.
    #[must_use]
    pub fn number(&self, account_id: &str) -> Option<UnipileNumber> {
        self.world.book().lines.get(account_id).map(|it| it.number.clone())
    }

    /// Enters a webhook for everything of this account, as one does in the dashboard.
    pub fn set_webhook(&self, account_id: &str, url: &str, secret: &str) {
        self.world.set_hooks(account_id, url, secret);
    }

    /// The webhooks that are entered.
    #[must_use]
    pub fn hooks(&self) -> Vec<UnipileHook> {
        self.world.book().hooks.clone()
    }

    /// Has an account get something wrong.
    pub fn misbehave(&self, account_id: &str, fault: UnipileFault, times: Times) {
        if let Some(line) = self.world.book().lines.get_mut(account_id) {
            line.faults.add(fault, times);
        }
    }

    /// Has an account get everything right again.
    pub fn behave(&self, account_id: &str) {
        if let Some(line) = self.world.book().lines.get_mut(account_id) {
            line.faults.clear();
        }
    }

    /// Changes an account's status (`OK`, `CREDENTIALS`, `ERROR` …) and tells it by webhook.
    pub async fn set_status(&self, account_id: &str, status: &str) -> HookAnswer {
        self.world.set_status(account_id, status).await
    }

    /// A customer writes. With a LID the chat is addressed by it.
    pub async fn customer_says(
        &self,
        account_id: &str,
        customer: &Customer,
        text: &str,
    ) -> HookAnswer {
        self.world.customer_says(account_id, customer, text, Value::Null, None).await
    }

    /// A customer's message with these fields in place of, or beside, those of a text.
    pub async fn customer_sends(
        &self,
        account_id: &str,
        customer: &Customer,
        text: &str,
        fields: Value,
    ) -> HookAnswer {
        self.world.customer_says(account_id, customer, text, fields, None).await
    }

    /// A customer's file: of type `img`, `video`, `audio` or `file`.
    pub async fn customer_sends_file(
        &self,
        account_id: &str,
        customer: &Customer,
        file: UnipileFile,
        caption: &str,
    ) -> HookAnswer {
        self.world.customer_says(account_id, customer, caption, Value::Null, Some(file)).await
    }

    /// Somebody types on the account's own phone.
    pub async fn person_says(
        &self,
        account_id: &str,
        customer: &Customer,
        text: &str,
    ) -> HookAnswer {
        self.world.person_says(account_id, customer, text).await
    }

    /// Every send that was taken, oldest first, whatever it was answered.
    #[must_use]
    pub fn sends(&self) -> Vec<UnipileSent> {
        let book = self.world.book();
        book.messages.iter().filter(|it| it.by_api).map(|it| it.sent.clone()).collect()
    }

    /// How many sends were taken.
    #[must_use]
    pub fn n_sends(&self) -> usize {
        *self.world.n_sends.borrow()
    }

    /// Waits until this many sends were taken in all, or until the time is up, and returns those
    /// that were.
    pub async fn wait_sends(&self, n: usize, deadline: Duration) -> Vec<UnipileSent> {
        let mut n_sends = self.world.n_sends.subscribe();
        // Whether it is too late is for the caller to see from the number.
        let _ = tokio::time::timeout(deadline, n_sends.wait_for(|it| *it >= n)).await;
        self.sends()
    }

    /// The id of the chat with a customer.
    #[must_use]
    pub fn chat_of(&self, account_id: &str, customer: &Customer) -> String {
        self.world.chat(account_id, customer).id
    }

    /// Chats that were marked as read, or in which somebody was shown to be typing.
    #[must_use]
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        self.world.book().shown.clone()
    }

    /// Every request to the API, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<UnipileRequest> {
        self.world.book().requests.clone()
    }

    /// Returns when no webhook is pending; those that are tried again are.
    pub async fn idle(&self) {
        self.world.hooks.idle().await;
    }

    /// Posts of webhooks that were not taken, oldest first.
    #[must_use]
    pub fn hook_failures(&self) -> Vec<HookFailure> {
        self.world.hooks.all_failures()
    }

    /// Stops listening and drops the webhooks that are pending.
    pub async fn stop(&self) {
        self.world.hooks.stop();
        if let Some(running) = self.server.set(None) {
            running.abort();
            // It ends as cancelled, as it should.
            let _ = running.await;
        }
    }
}

impl UnipileFile {
    /// A file.
    #[must_use]
    pub fn new(mime_type: &str, name: &str, bytes: impl Into<Bytes>) -> Self {
        let (mime_type, name) = (mime_type.to_owned(), name.to_owned());
        Self { mime_type, name, bytes: bytes.into() }
    }
}
