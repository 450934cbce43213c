//! Posts webhooks, once each: Wasender documents no retry (`docs/wire/wasender.md` §6).

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use reqwest::{header::CONTENT_TYPE, redirect::Policy};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use super::{
    misbehaviour::{Misbehaviour, Moods},
    session::Session,
    wire,
};

/// Posts under way at once.
const POSTS_AT_ONCE_MAX: usize = 64;

/// Sends whose webhooks are still to come. Those of further sends are dropped, as failures.
const PENDING_MAX: usize = 100_000;

/// Failures that are remembered. Beyond it the oldest are forgotten.
const FAILURES_MAX: usize = 10_000;

/// How long a receiver may take. Wasender's own limit is not documented.
const POST_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a receiver's answer is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What a webhook was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookAnswer {
    /// The HTTP status; 0 when there was no answer, or no webhook.
    pub status: u16,
    /// The answer's body, or why there is none.
    pub body: String,
    /// The id in the webhook by which it can be told apart: `WhatsApp`'s `key.id`.
    pub event_id: String,
}

impl HookAnswer {
    /// Whether the receiver took it.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn none(why: &str) -> Self {
        Self { body: why.to_owned(), ..Self::default() }
    }
}

/// A webhook that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookFailure {
    /// Wasender's id of the session.
    pub session: u64,
    /// The webhook's name.
    pub event: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// In a few words.
    pub why: String,
}

/// The way out.
pub(super) struct Hooks {
    pub(super) client: reqwest::Client,
    pub(super) room: Semaphore,
    pending: Arc<watch::Sender<usize>>,
    /// How often the twin was stopped. What began before the last time ends.
    stops: watch::Sender<u64>,
    failures: Mutex<VecDeque<HookFailure>>,
    pub(super) n_posted: AtomicU64,
}

/// Webhooks that are still to come. They are no longer pending when it is dropped.
pub(super) struct Pending(Arc<watch::Sender<usize>>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.send_modify(|it| *it -= 1);
    }
}

impl Hooks {
    #[expect(
        clippy::disallowed_methods,
        reason = "the twin stands for the outside world, which has its own client"
    )]
    pub(super) fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none());
        Ok(Self {
            client: client.timeout(POST_TIMEOUT).build().context("make the twin's HTTP client")?,
            room: Semaphore::new(POSTS_AT_ONCE_MAX),
            pending: Arc::new(watch::Sender::new(0)),
            stops: watch::Sender::new(0),
            failures: Mutex::default(),
            n_posted: AtomicU64::new(0),
        })
    }

    /// Announces webhooks, so that [`Self::idle`] waits for them. None: there are too many.
    pub(super) fn announce(&self) -> Option<Pending> {
        let fits = self.pending.send_if_modified(|it| {
            let fits = *it < PENDING_MAX;
            *it += usize::from(fits);
            fits
        });
        fits.then(|| Pending(Arc::clone(&self.pending)))
    }

    /// Returns when no webhook is pending.
    pub(super) async fn idle(&self) {
        // The sender lives in `self`, so this ends only when it is so.
        let _ = self.pending.subscribe().wait_for(|it| *it == 0).await;
    }

    /// Ends all that runs in [`Self::unless_stopped`].
    pub(super) fn stop(&self) {
        self.stops.send_modify(|it| *it += 1);
    }

    /// Does the work, or as much of it as is done when the twin is stopped.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stops = self.stops.subscribe();
        tokio::select! {
            _ = stops.changed() => None,
            done = work => Some(done),
        }
    }

    /// Posts a webhook to its session's URL, signed in its dialect, twice where it should. The
    /// answer is that of the first.
    pub(super) async fn post(
        &self,
        session: &Session,
        event: &str,
        body: &Value,
        moods: &Moods,
    ) -> HookAnswer {
        let answer = self.post_once(session, event, body, moods).await;
        if moods.has(&Misbehaviour::DuplicateHooks) {
            self.post_once(session, event, body, moods).await;
        }
        answer
    }

    /// Notes that a webhook was not taken.
    pub(super) fn failed(&self, session: u64, event: &str, status: Option<u16>, why: &str) {
        tracing::debug!(session, event, status, why, "the twin's webhook was not taken");
        let (event, why) = (event.to_owned(), why.to_owned());
        let mut failures = self.failures();
        if failures.len() == FAILURES_MAX {
            failures.pop_front();
        }
        failures.push_back(HookFailure { session, event, status, why });
    }

    pub(super) fn all_failures(&self) -> Vec<HookFailure> {
        self.failures().iter().cloned().collect()
    }

    /// How many webhooks were posted so far, whatever the answer.
    pub(super) fn n_posted(&self) -> u64 {
        self.n_posted.load(Ordering::Relaxed)
    }

    async fn post_once(
        &self,
        session: &Session,
        event: &str,
        body: &Value,
        moods: &Moods,
    ) -> HookAnswer {
        let event_id = event_id(body);
        let Some(url) = &session.webhook_url else { return HookAnswer::none("no webhook URL") };
        let mut bytes = body.to_string().into_bytes();
        if moods.has(&Misbehaviour::TruncatedHooks) {
            bytes.truncate(bytes.len() / 2);
        }
        let wrong = moods.has(&Misbehaviour::WrongSignature);
        let secret = if wrong { "not-the-secret" } else { &session.webhook_secret };
        let (header, signature) = wire::signature(session.dialect, secret, &bytes);
        let (status, body) = match self.deliver(url, header, signature, bytes).await {
            Ok(answer) => answer,
            Err(why) => {
                self.failed(session.id, event, None, why);
                return HookAnswer { event_id, ..HookAnswer::none(why) };
            }
        };
        if !(200..300).contains(&status) {
            self.failed(session.id, event, Some(status), "refused");
        }
        HookAnswer { status, body, event_id }
    }

    /// Posts JSON as it is; the answer's status and body, or in a few words why there is none.
    pub(super) async fn deliver(
        &self,
        url: &str,
        header: &str,
        signature: String,
        bytes: Vec<u8>,
    ) -> Result<(u16, String), &'static str> {
        self.n_posted.fetch_add(1, Ordering::Relaxed);
        let request = self.client.post(url).header(header, signature);
        self.exchange(request.header(CONTENT_TYPE, "application/json").body(bytes)).await
    }

    /// Asks for a URL, as for a handshake.
    pub(super) async fn fetch(&self, url: &str) -> Result<(u16, String), &'static str> {
        self.exchange(self.client.get(url)).await
    }

    async fn exchange(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<(u16, String), &'static str> {
        let _room = self.room.acquire().await.expect("the semaphore is never closed");
        let response = request.send().await.map_err(|it| why(&it))?;
        let status = response.status().as_u16();
        Ok((status, read(response).await))
    }

    fn failures(&self) -> MutexGuard<'_, VecDeque<HookFailure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As much of an answer as is of interest.
pub(super) async fn read(mut response: reqwest::Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() >= ANSWER_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// The error in our words: reqwest's own quote the URL, which may hold a vendor's id.
pub(super) fn why(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_builder() {
        "not a URL"
    } else {
        "cut off"
    }
}

/// The id of the message that a webhook tells of, in any form that it may have.
fn event_id(body: &Value) -> String {
    let places = [
        "/data/messages/key/id",
        "/data/messages/0/key/id",
        "/data/key/id",
        "/data/id",
        "/messageId",
    ];
    let id = places.iter().find_map(|it| body.pointer(it)?.as_str());
    id.unwrap_or_default().to_owned()
}
