//! A Wasender of one's own, on a loopback port.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::{
    api,
    book::{SeenRequest, Sent},
    hooks::HookFailure,
    misbehaviour::{Misbehaviour, Times},
    session::{EVENTS, NewSession, Session},
    world::{Keeping, OnSend, World},
};

/// How long the server waits when it cannot take a connection (out of files, mostly).
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// A simulator of Wasender on the real wire (`docs/wire/wasender.md`): sessions, sends, webhooks,
/// and misbehaviour on request. A clone is the same twin; it stops when the last one is dropped.
///
/// Methods that name a session that does not exist do nothing, or answer as if there were nothing.
#[derive(Clone)]
pub struct Twin {
    pub(super) world: Arc<World>,
    server: Arc<Server>,
}

impl Twin {
    /// Starts on a free loopback port and remembers every send and request.
    ///
    /// # Errors
    ///
    /// When there is no port, or the HTTP client cannot be made.
    pub async fn start() -> anyhow::Result<Self> {
        Self::on_free_port(Keeping::All).await
    }

    /// Like [`Self::start`], on this listener.
    ///
    /// # Errors
    ///
    /// When the listener has no address, or the HTTP client cannot be made.
    #[expect(clippy::unused_async, reason = "it starts tasks, so it needs a runtime like `start`")]
    pub async fn start_on(listener: TcpListener) -> anyhow::Result<Self> {
        Self::on(listener, Keeping::All)
    }

    /// Starts on a free loopback port for benches: it remembers no send and no request, only
    /// their number. `on_send` is called with the text of each send, before it is answered.
    /// Message logs and infos are empty.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn counting(on_send: Option<OnSend>) -> anyhow::Result<Self> {
        Self::on_free_port(Keeping::Count(on_send)).await
    }

    /// The base URL to give to a caller: `http://127.0.0.1:PORT/api`.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}/api", self.server.address)
    }

    /// The personal access token (`docs/wire/wasender.md` §1.2).
    #[must_use]
    pub fn pat(&self) -> &str {
        &self.world.pat
    }

    /// Adds a session, in the place of the one with the same id if there is one. Its webhook is
    /// off until somebody sets it.
    #[expect(clippy::must_use_candidate, reason = "who chose its id and key has them already")]
    pub fn add_session(&self, new: NewSession) -> Session {
        self.world.add_session(new)
    }

    /// The session as it is now.
    #[must_use]
    pub fn session(&self, id: u64) -> Option<Session> {
        self.world.session(id)
    }

    /// Every session as it is now, by id.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.world.book().lines.values().map(|it| it.session.clone()).collect()
    }

    /// Sets the session's webhook as one would by hand, with [every event](EVENTS).
    pub fn set_webhook(&self, id: u64, url: &str) {
        self.change(id, |it| {
            it.webhook_url = Some(url.to_owned());
            it.webhook_enabled = true;
            it.webhook_events = EVENTS.iter().map(|it| (*it).to_owned()).collect();
        });
    }

    /// Changes a session in any way; its id and key stay.
    pub fn change(&self, id: u64, change: impl FnOnce(&mut Session)) {
        if let Some(line) = self.world.book().lines.get_mut(&id) {
            let key = line.session.api_key.clone();
            change(&mut line.session);
            (line.session.id, line.session.api_key) = (id, key);
        }
    }

    /// Has a session get something wrong. See [`Misbehaviour`] for how several go together.
    pub fn misbehave(&self, id: u64, how: Misbehaviour, times: Times) {
        if let Some(line) = self.world.book().lines.get_mut(&id) {
            line.misbehaviours.add(how, times);
        }
    }

    /// Has a session get everything right again.
    pub fn behave(&self, id: u64) {
        if let Some(line) = self.world.book().lines.get_mut(&id) {
            line.misbehaviours.clear();
        }
    }

    /// Every send that was taken, oldest first, whatever it was answered. Of very many the latest
    /// 200,000; none when [counting](Self::counting).
    #[must_use]
    pub fn sends(&self) -> Vec<Sent> {
        self.world.book().entries().map(|it| it.sent.clone()).collect()
    }

    /// How many sends were taken.
    #[must_use]
    pub fn n_sends(&self) -> usize {
        *self.world.n_sends.borrow()
    }

    /// Every request to the API, oldest first. Of very many the latest 200,000; none when
    /// [counting](Self::counting).
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.world.book().requests()
    }

    /// Waits until this many sends were taken in all, or until the time is up, and returns those
    /// that were.
    pub async fn wait_sends(&self, n: usize, deadline: Duration) -> Vec<Sent> {
        self.wait_n_sends(n, deadline).await;
        self.sends()
    }

    /// Waits until this many sends were taken in all, or until the time is up, and returns how
    /// many were. Works when [counting](Self::counting).
    pub async fn wait_n_sends(&self, n: usize, deadline: Duration) -> usize {
        let mut n_sends = self.world.n_sends.subscribe();
        // Whether it is too late is for the caller to see from the number.
        let _ = tokio::time::timeout(deadline, n_sends.wait_for(|it| *it >= n)).await;
        self.n_sends()
    }

    /// Sets the session's status (`docs/wire/wasender.md` §3.3), and tells nobody.
    pub fn set_status(&self, id: u64, status: &str) {
        self.change(id, |it| status.clone_into(&mut it.status));
    }

    /// Lets `pn-from-lid` and `lid-from-pn` know this pair (`docs/wire/wasender.md` §2.5). A LID
    /// that the twin made up itself ([`Misbehaviour::LidOnly`]) is known.
    pub fn know_lid(&self, lid: &str, phone: &str) {
        self.world.book().lids.know(lid, phone);
    }

    /// Returns when no webhook is pending. Those of a send are from before its answer.
    pub async fn idle(&self) {
        self.world.hooks.idle().await;
    }

    /// Webhooks that were not taken, oldest first; the latest 10,000.
    #[must_use]
    pub fn hook_failures(&self) -> Vec<HookFailure> {
        self.world.hooks.all_failures()
    }

    /// How many webhooks were posted, whatever they were answered.
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
        self.server.set(Some(tokio::spawn(serve(listener, twin_router(self)))));
        Ok(())
    }

    async fn on_free_port(keeping: Keeping) -> anyhow::Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0").await.context("find a free port")?, keeping)
    }

    fn on(listener: TcpListener, keeping: Keeping) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("see the port")?;
        let world = World::new(keeping, address)?;
        let running = tokio::spawn(serve(listener, api::router(Arc::clone(&world))));
        let server = Server { address, running: Mutex::new(Some(running)) };
        Ok(Self { world, server: Arc::new(server) })
    }
}

/// The twin's routes (`/api/…` and its files), to be served by somebody else as well.
pub fn twin_router(twin: &Twin) -> Router {
    api::router(Arc::clone(&twin.world))
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) running: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    pub(super) fn set(&self, running: Option<JoinHandle<()>>) -> Option<JoinHandle<()>> {
        let mut now = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut now, running)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.set(None) {
            running.abort();
        }
    }
}

/// Serves until it is aborted; the connections end with it.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            taken = listener.accept() => match taken {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, router.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the twin cannot take a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, router: Router) {
    // Without it answers are late, not wrong.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A connection that fails is the caller's to report, or was meant to.
    let _ = connection.await;
}
