//! Twilio for WhatsApp, simulated (`docs/wire/meta-unipile-twilio.md` E).

mod api;
mod follow;
mod form;
mod send;
#[cfg(test)]
mod tests;
mod world;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

pub use self::{
    form::{Form, sign},
    world::{TwilioFault, TwilioNumber, TwilioRequest, TwilioSent},
};
use super::{Customer, HookAnswer, HookFailure, Times, port, wasender::Server};

/// A simulator of Twilio on the real wire: accounts with one WhatsApp number each, sends, status
/// callbacks, customers' messages, and faults on request. A clone is the same twin.
///
/// Methods that name an account that does not exist do nothing, or answer as if there were nothing.
#[derive(Clone)]
pub struct TwilioTwin {
    world: Arc<world::World>,
    server: Arc<Server>,
}

impl TwilioTwin {
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

    /// In place of `https://api.twilio.com` and `https://messaging.twilio.com`.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Adds an account with this number (`+14155238886`).
    #[must_use]
    pub fn add_number(&self, phone_number: &str) -> TwilioNumber {
        self.world.add_number(phone_number)
    }

    /// The account as it is now.
    #[must_use]
    pub fn number(&self, account_sid: &str) -> Option<TwilioNumber> {
        self.world.book().lines.get(account_sid).map(|it| it.number.clone())
    }

    /// Says where customers' messages go, as one does in the console.
    pub fn set_webhook(&self, account_sid: &str, url: &str) {
        self.change(account_sid, |it| it.webhook_url = Some(url.to_owned()));
    }

    /// Changes an account in any way; its ids stay.
    pub fn change(&self, account_sid: &str, change: impl FnOnce(&mut TwilioNumber)) {
        if let Some(line) = self.world.book().lines.get_mut(account_sid) {
            change(&mut line.number);
            account_sid.clone_into(&mut line.number.account_sid);
        }
    }

    /// Has an account get something wrong.
    pub fn misbehave(&self, account_sid: &str, fault: TwilioFault, times: Times) {
        if let Some(line) = self.world.book().lines.get_mut(account_sid) {
            line.faults.add(fault, times);
        }
    }

    /// Has an account get everything right again.
    pub fn behave(&self, account_sid: &str) {
        if let Some(line) = self.world.book().lines.get_mut(account_sid) {
            line.faults.clear();
        }
    }

    /// A customer writes to the account's number.
    pub async fn customer_says(
        &self,
        account_sid: &str,
        customer: &Customer,
        text: &str,
    ) -> HookAnswer {
        self.customer_sends(account_sid, customer, &[("Body", text)]).await
    }

    /// A customer's message with these parameters in place of, or beside, those of a text.
    pub async fn customer_sends(
        &self,
        account_sid: &str,
        customer: &Customer,
        parameters: &[(&str, &str)],
    ) -> HookAnswer {
        let sid = self.world.sid("SM");
        self.world.customer_sends(account_sid, &sid, customer, parameters).await
    }

    /// A customer's file, which can be fetched with the account's token.
    pub async fn customer_sends_file(
        &self,
        account_sid: &str,
        customer: &Customer,
        mime_type: &str,
        file: impl Into<Bytes>,
        caption: &str,
    ) -> HookAnswer {
        let sid = self.world.sid("MM");
        let url = self.world.keep_file(account_sid, &sid, mime_type, file.into());
        let parameters = [
            ("Body", caption),
            ("NumMedia", "1"),
            ("MessageType", mime_type.split('/').next().unwrap_or_default()),
            ("MediaUrl0", &url),
            ("MediaContentType0", mime_type),
        ];
        self.world.customer_sends(account_sid, &sid, customer, &parameters).await
    }

    /// Every send that was taken, oldest first, whatever it was answered.
    #[must_use]
    pub fn sends(&self) -> Vec<TwilioSent> {
        self.world.book().entries.iter().map(|it| it.sent.clone()).collect()
    }

    /// How many sends were taken.
    #[must_use]
    pub fn n_sends(&self) -> usize {
        *self.world.n_sends.borrow()
    }

    /// Waits until this many sends were taken in all, or until the time is up, and returns those
    /// that were.
    pub async fn wait_sends(&self, n: usize, deadline: Duration) -> Vec<TwilioSent> {
        let mut n_sends = self.world.n_sends.subscribe();
        // Whether it is too late is for the caller to see from the number.
        let _ = tokio::time::timeout(deadline, n_sends.wait_for(|it| *it >= n)).await;
        self.sends()
    }

    /// Where customers' files are.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let book = self.world.book();
        book.files.keys().map(|it| format!("{}{it}", self.world.origin())).collect()
    }

    /// The messages that somebody was shown to be answering, which marks them as read.
    #[must_use]
    pub fn typings(&self) -> Vec<String> {
        self.world.book().typings.clone()
    }

    /// Every request to the API, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<TwilioRequest> {
        self.world.book().requests.clone()
    }

    /// Returns when no webhook is pending.
    pub async fn idle(&self) {
        self.world.hooks.idle().await;
    }

    /// Webhooks that were not taken, oldest first.
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
