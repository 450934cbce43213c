//! A Meta of one's own, on a loopback port: Graph's calls for WhatsApp and its webhooks, as
//! `docs/wire/meta-unipile-twilio.md` A–C describes them.

mod check;
mod customer;
mod error;
mod graph;
mod interactive;
mod media;
mod misbehaviour;
mod multipart;
mod number;
mod post;
mod send;
mod speak;
#[cfg(test)]
mod tests;
mod world;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::world::World;
pub use self::{
    customer::{MetaCustomer, MetaInbound},
    media::MetaFile,
    misbehaviour::MetaMisbehaviour,
    number::{MetaNumber, NewMetaNumber},
    world::{MetaRead, MetaRequest, MetaSent},
};
use super::{
    Times,
    hooks::{HookAnswer, HookFailure},
    wasender::{Server, serve},
};

/// A simulator of Meta's Cloud API: numbers, sends with the limits of B2, statuses, files,
/// callbacks with their handshake, signed webhooks that come again, and misbehaviour on request. A
/// clone is the same twin; it stops when the last one is dropped.
///
/// Links of files are not fetched: a link that Meta could not use fails later when a test says so
/// ([`MetaMisbehaviour::FailsLater`]). The 24-hour window and the paces of B6 are a test's to ask
/// for, too. Methods that name a number that does not exist do nothing.
#[derive(Clone)]
pub struct MetaTwin {
    world: Arc<World>,
    server: Arc<Server>,
}

impl MetaTwin {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    ///
    /// When there is no port, or the HTTP client cannot be made.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("find a free port")?;
        let address = listener.local_addr().context("see the port")?;
        let world = Arc::new(World::new(address)?);
        let running = tokio::spawn(serve(listener, graph::router(Arc::clone(&world))));
        let server = Server { address, running: Mutex::new(Some(running)) };
        Ok(Self { world, server: Arc::new(server) })
    }

    /// The base URL to give to a caller: `http://127.0.0.1:PORT/v25.0`.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}/v25.0", self.server.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Adds a number. No webhook of it goes anywhere until somebody sets a callback.
    #[expect(clippy::must_use_candidate, reason = "who chose its id and secrets has them already")]
    pub fn add_number(&self, new: NewMetaNumber) -> MetaNumber {
        self.world.add_number(new)
    }

    /// The number as it is now.
    #[must_use]
    pub fn number(&self, id: &str) -> Option<MetaNumber> {
        self.world.number(id)
    }

    /// Changes a number in any way; its ids stay.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut MetaNumber)) {
        if let Some(line) = self.world.book().lines.get_mut(id) {
            let (id, waba_id) = (line.number.id.clone(), line.number.waba_id.clone());
            change(&mut line.number);
            (line.number.id, line.number.waba_id) = (id, waba_id);
        }
    }

    /// Sets the app's callback as one would in the dashboard, and subscribes the account; without
    /// the handshake.
    pub fn set_callback(&self, id: &str, url: &str) {
        self.change(id, |it| it.callback = Some(url.to_owned()));
        if let Some(number) = self.number(id) {
            self.world.book().wabas.entry(number.waba_id).or_default().is_subscribed = true;
        }
    }

    /// Whether a callback answers the handshake with this token (A1).
    pub async fn shakes_hands(&self, url: &str, verify_token: &str) -> bool {
        self.world.shakes_hands(url, verify_token).await
    }

    /// Whether the account's webhooks go anywhere, and to which callback of its own (A9).
    #[must_use]
    pub fn subscription(&self, waba_id: &str) -> Option<Option<String>> {
        let book = self.world.book();
        let waba = book.wabas.get(waba_id).filter(|it| it.is_subscribed)?;
        Some(waba.override_callback.clone())
    }

    /// Has a number get something wrong. See [`MetaMisbehaviour`] for how several go together.
    pub fn misbehave(&self, id: &str, how: MetaMisbehaviour, times: Times) {
        if let Some(line) = self.world.book().lines.get_mut(id) {
            line.wrongs.add(how, times);
        }
    }

    /// Has a number get everything right again.
    pub fn behave(&self, id: &str) {
        if let Some(line) = self.world.book().lines.get_mut(id) {
            line.wrongs.clear();
        }
    }

    /// A customer writes. What the first try of the webhook was answered.
    pub async fn customer_says(
        &self,
        id: &str,
        customer: &MetaCustomer,
        inbound: &MetaInbound,
    ) -> HookAnswer {
        self.world.customers_say(&[(id, customer, inbound)]).await
    }

    /// Several customers write to several numbers, in one webhook to the callback of the first.
    pub async fn customers_say(&self, said: &[(&str, &MetaCustomer, &MetaInbound)]) -> HookAnswer {
        self.world.customers_say(said).await
    }

    /// Somebody writes in the WhatsApp Business app of a number (A6).
    pub async fn human_types(
        &self,
        id: &str,
        to: &MetaCustomer,
        inbound: &MetaInbound,
    ) -> HookAnswer {
        self.world.human_types(id, to, inbound).await
    }

    /// Tells statuses, as they are (A5).
    pub async fn tell_statuses(&self, id: &str, statuses: &[Value]) -> HookAnswer {
        self.world.tell_field(id, "messages", json!({ "statuses": statuses }), true).await
    }

    /// Tells any field of the number, with its metadata (A7).
    pub async fn tell(&self, id: &str, field: &str, value: Value) -> HookAnswer {
        self.world.tell_field(id, field, value, true).await
    }

    /// Tells any field of the number's account, which has no metadata (A7).
    pub async fn tell_of_account(&self, id: &str, field: &str, value: Value) -> HookAnswer {
        self.world.tell_field(id, field, value, false).await
    }

    /// Every send that was taken, oldest first, whatever it was answered.
    #[must_use]
    pub fn sends(&self) -> Vec<MetaSent> {
        self.world.book().sends.kept.iter().cloned().collect()
    }

    /// Waits until this many sends were taken in all, or until the time is up, and returns those
    /// that were.
    pub async fn wait_sends(&self, n: usize, deadline: Duration) -> Vec<MetaSent> {
        let mut n_sends = self.world.n_sends.subscribe();
        // Whether it is too late is for the caller to see from the number.
        let _ = tokio::time::timeout(deadline, n_sends.wait_for(|it| *it >= n)).await;
        self.sends()
    }

    /// Waits until this many messages were marked as read, or until the time is up.
    pub async fn wait_reads(&self, n: usize, deadline: Duration) -> Vec<MetaRead> {
        let mut n_deeds = self.world.n_deeds.subscribe();
        let enough = n_deeds.wait_for(|_| self.world.book().reads.len() >= n);
        let _ = tokio::time::timeout(deadline, enough).await;
        self.world.book().reads.clone()
    }

    /// A file that Meta has: an upload, or a customer's.
    #[must_use]
    pub fn file(&self, id: &str) -> Option<MetaFile> {
        self.world.book().shelf.files.get(id).cloned()
    }

    /// Every request to the API, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<MetaRequest> {
        self.world.book().requests.kept.iter().cloned().collect()
    }

    /// Returns when no webhook is pending, retries included. Those of a send are from before its
    /// answer.
    pub async fn idle(&self) {
        self.world.hooks.idle().await;
    }

    /// Tries of webhooks that were not answered 200, oldest first.
    #[must_use]
    pub fn hook_failures(&self) -> Vec<HookFailure> {
        self.world.hooks.all_failures()
    }

    /// How many webhooks were posted, retries included.
    #[must_use]
    pub fn n_hooks(&self) -> u64 {
        self.world.hooks.n_posted()
    }

    /// Stops listening, cuts every connection and drops the webhooks that are pending. What is
    /// remembered stays.
    pub async fn stop(&self) {
        self.world.hooks.stop();
        let running = self.server.set(None);
        if let Some(running) = running {
            running.abort();
            // It ends as cancelled, as it should.
            let _ = running.await;
        }
    }

    /// Listens again, on the same port, after [`Self::stop`].
    ///
    /// # Errors
    ///
    /// When somebody else has taken the port.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        self.stop().await;
        let listener = TcpListener::bind(self.server.address).await.context("take the port")?;
        let router = graph::router(Arc::clone(&self.world));
        self.server.set(Some(tokio::spawn(serve(listener, router))));
        Ok(())
    }
}
