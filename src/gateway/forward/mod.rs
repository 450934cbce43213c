//! A vendor's back end gets its events: one signed POST each, tried until it is taken or a day has
//! passed.
//!
//! A try whose answer was lost is repeated with the same `webhook-id`, so a back end may get an
//! event twice and can tell.

mod admin;
mod body;

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use metrics::{counter, gauge, histogram};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use tokio::sync::Notify;
use url::Url;

pub use self::admin::{Ping, ReplayWhich};
use super::{Gateway, reply::WorkError};
use crate::{
    domain::{
        clock::{Clock, MINUTE, Millis, SECOND},
        forward::{Endpoint, Outcome, Then, Try, Turns},
        id::VendorId,
        secret::SecretString,
    },
    http::{HttpError, Request, Trust},
    journal::{Forward, ForwardEnd, ForwardsLoad, Telling, ToForward},
    responder::SigningKey,
    sqlite::is_of_disk,
    telemetry::{Chain, names},
};

/// For one try.
const TIMEOUT: Duration = Duration::from_secs(15);
/// When an event is tried again that could not be read or whose end could not be kept.
const AGAIN_AFTER: Millis = SECOND;
/// When a vendor's turn comes again that ended in a panic.
const AGAIN_AFTER_PANIC: Millis = 30 * SECOND;
/// Between two looks for what has expired.
const TIDY_EVERY: Millis = MINUTE;

/// Whose turn it is, shared.
pub struct Forwarding {
    turns: Mutex<Turns>,
    wake: Notify,
    /// Addresses whose last try failed.
    failing: Mutex<HashMap<VendorId, String>>,
    /// When to look next for what has expired.
    tidy_at: AtomicI64,
}

impl Forwarding {
    /// Nothing waits.
    #[must_use]
    pub fn new() -> Self {
        Self {
            turns: Mutex::default(),
            wake: Notify::new(),
            failing: Mutex::default(),
            tidy_at: AtomicI64::new(0),
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<VendorId, String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A vendor's endpoint is another one, or shall be tried at once.
    pub(super) fn renew(&self, vendor: &VendorId, clock: &Clock) {
        self.turns().renew(vendor, clock.now());
        self.wake.notify_one();
    }
}

impl Default for Forwarding {
    fn default() -> Self {
        Self::new()
    }
}

impl Gateway {
    /// Takes up what waited when the last process ended.
    pub async fn take_up_forwards(&self) -> Result<(), WorkError> {
        let vendors = self.inner.journal.forwarding().await?;
        let now = self.inner.clock.now();
        vendors.iter().for_each(|it| self.inner.forwarding.turns().wake(it, now));
        Ok(())
    }

    /// The next vendor whose back end may get an event.
    #[must_use]
    pub fn next_to_forward(&self) -> Option<(VendorId, Endpoint)> {
        self.inner.forwarding.turns().next(self.inner.clock.now())
    }

    /// Waits until some vendor's turn may have come.
    pub async fn forwards_changed(&self) {
        let (forwarding, clock) = (&self.inner.forwarding, &self.inner.clock);
        let tidy_at = forwarding.tidy_at.load(Ordering::Relaxed);
        let at = forwarding.turns().wake_at().map_or(tidy_at, |it| it.min(tidy_at));
        tokio::select! {
            vendors = self.inner.journal.forwarded() => {
                vendors.iter().for_each(|it| forwarding.turns().wake(it, clock.now()));
            }
            () = forwarding.wake.notified() => {}
            () = clock.sleep_until(at) => {}
        }
    }

    /// Gives up what nobody took in time, when it is time to look.
    pub async fn tidy_forwards(&self) {
        let (now, tidy_at) = (self.inner.clock.now(), &self.inner.forwarding.tidy_at);
        if now < tidy_at.load(Ordering::Relaxed) {
            return;
        }
        tidy_at.store(now + TIDY_EVERY, Ordering::Relaxed);
        match self.inner.journal.tidy_forwards(now).await {
            Ok(load) => show(&load, now),
            Err(error) => {
                tracing::error!(error = %Chain(&error), "forwarded events could not be tidied");
            }
        }
    }

    /// Somebody changed the vendor: an endpoint that failed has no claim on another's rest.
    pub(super) async fn endpoint_may_be_another(&self, vendor: &VendorId) {
        let failing = self.inner.forwarding.failing().get(vendor).cloned();
        let Some(failing) = failing else { return };
        let Ok(service) = self.inner.registry.get(vendor).await else { return };
        let url = service.and_then(|it| it.vendor().forward_url.clone());
        if url.as_ref() != Some(&failing) {
            self.inner.forwarding.renew(vendor, &self.inner.clock);
        }
    }

    /// Ends a vendor's turn that panicked.
    pub fn forward_panicked(&self, vendor: &VendorId) {
        let now = self.inner.clock.now();
        self.finish_forward(vendor, Some(now + AGAIN_AFTER_PANIC));
    }

    fn finish_forward(&self, vendor: &VendorId, due: Option<Millis>) {
        self.inner.forwarding.turns().finish(vendor, due, self.inner.clock.now());
        self.inner.forwarding.wake.notify_one();
    }

    /// Sends a vendor's back end one event, if one is due. Dropping it at any point loses nothing:
    /// the event is sent again, with the same id.
    pub async fn forward(&self, vendor: &VendorId, endpoint: Endpoint) {
        let due = self.forward_one(vendor, endpoint).await.unwrap_or_else(|error| {
            if !is_of_disk(&error) {
                tracing::error!(vendor.id = %vendor, error = %Chain(&error), "an event could not be forwarded; it is tried again");
            }
            Some(self.inner.clock.now() + AGAIN_AFTER)
        });
        self.finish_forward(vendor, due);
    }

    /// When the vendor's next event is due; `None` when there is none.
    async fn forward_one(
        &self,
        vendor: &VendorId,
        endpoint: Endpoint,
    ) -> Result<Option<Millis>, WorkError> {
        let (journal, now) = (&self.inner.journal, self.inner.clock.now());
        let (event, is_other) = match endpoint.skips() {
            0 => (journal.next_forward(vendor, 0).await?, false),
            // With nothing after it, or nothing due, the oldest is tried after all.
            skips => {
                match journal.next_forward(vendor, skips).await?.filter(|it| it.row.due <= now) {
                    Some(event) => (Some(event), true),
                    None => (journal.next_forward(vendor, 0).await?, false),
                }
            }
        };
        let Some(ToForward { row, telling }) = event else { return Ok(None) };
        if row.due > now {
            return Ok(Some(row.due));
        }
        // A back end that took it is not told again for want of room.
        journal.can_keep().await?;
        let service = self.inner.registry.get(vendor).await?;
        let to = service.as_ref().map(|it| it.vendor());
        let url = to.and_then(|it| it.forward_url.as_deref()).and_then(|it| Url::parse(it).ok());
        let (Some(to), Some(url)) = (to, url) else {
            journal.give_up_forwards(vendor, 0, "no_url").await?;
            return Ok(Some(now));
        };
        let told = match telling {
            Telling::Told(told) => told,
            Telling::Erased => {
                journal.end_forward(row.id, ForwardEnd::Gone).await?;
                return Ok(Some(now));
            }
            Telling::Unreadable => {
                self.give_up_unreadable(vendor, &row).await?;
                return Ok(Some(now));
            }
        };
        let body = body::of(vendor, &row, &told);
        let id = row.id.to_string();
        let (outcome, word) = self.post(&url, &to.signing_secret, &id, body).await;
        let it = Try { is_other, ..Try::of(row.id, row.due, row.tries) };
        if outcome == Outcome::Taken {
            self.inner.forwarding.failing().remove(vendor);
        } else {
            let url = to.forward_url.clone().unwrap_or_default();
            self.inner.forwarding.failing().insert(vendor.clone(), url);
        }
        self.record_forward(vendor, (&row, it), outcome, &word).await?;
        Ok(Some(self.inner.clock.now()))
    }

    /// It may be replayed once its key is back, so it is kept.
    async fn give_up_unreadable(&self, vendor: &VendorId, row: &Forward) -> Result<(), WorkError> {
        tracing::error!(vendor.id = %vendor, event.id = %row.id, "an event cannot be opened or read, and is not forwarded");
        counter!(names::FORWARDS, "outcome" => "dead").increment(1);
        let end = ForwardEnd::Dead { why: "unreadable", note: None };
        Ok(self.inner.journal.end_forward(row.id, end).await?)
    }

    async fn record_forward(
        &self,
        vendor: &VendorId,
        (row, it): (&Forward, Try),
        outcome: Outcome,
        word: &str,
    ) -> Result<(), WorkError> {
        let now = self.inner.clock.now();
        let then = self.inner.forwarding.turns().tried(vendor, outcome, it, now);
        let note = word.to_owned();
        let dead = |why| ForwardEnd::Dead { why, note: Some(word.to_owned()) };
        let end = match then {
            Then::Done => ForwardEnd::Gone,
            Then::Dead => dead("gone"),
            Then::Stay if now >= row.expires => dead("expired"),
            Then::Aside { due } if due >= row.expires => dead("expired"),
            Then::Stay => ForwardEnd::Again { due: None, note },
            Then::Aside { due } => ForwardEnd::Again { due: Some(due), note },
        };
        let outcome = match &end {
            ForwardEnd::Gone => "taken",
            ForwardEnd::Again { .. } => "failed",
            ForwardEnd::Dead { .. } => "dead",
        };
        counter!(names::FORWARDS, "outcome" => outcome).increment(1);
        if outcome != "taken" {
            tracing::warn!(vendor.id = %vendor, event.id = %row.id, tries = row.tries + 1, outcome, why = word, "an event was not taken by the vendor's back end");
        }
        Ok(self.inner.journal.end_forward(row.id, end).await?)
    }

    async fn post(
        &self,
        url: &Url,
        secret: &SecretString,
        id: &str,
        body: Vec<u8>,
    ) -> (Outcome, String) {
        let started = self.inner.clock.now();
        let key = SigningKey::new(secret.clone());
        let request = Request {
            method: Method::POST,
            url,
            trust: Trust::Vendor,
            headers: headers(&key, id, started / SECOND, &body),
            body: Some(body),
            timeout: TIMEOUT,
        };
        let reply = self.inner.http.send_for_status(request).await;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds fit many times over")]
        let took = (self.inner.clock.now() - started) as f64 / SECOND as f64;
        histogram!(names::FORWARD_SECONDS).record(took);
        match reply {
            Ok((status, headers)) => {
                let status = status.as_u16();
                (outcome(status, &headers), format!("http_{status}"))
            }
            Err(error) => {
                let word = match error {
                    HttpError::Forbidden => "forbidden",
                    HttpError::NoConnection => "no_connection",
                    // The answer is not read, so none is too large.
                    HttpError::NoAnswer | HttpError::BrokeOff | HttpError::TooLarge => "no_answer",
                };
                (Outcome::Failed { retry_after: None }, word.to_owned())
            }
        }
    }
}

fn outcome(status: u16, headers: &HeaderMap) -> Outcome {
    match status {
        200..=299 => Outcome::Taken,
        410 => Outcome::Gone,
        408 | 425 | 429 => Outcome::Failed { retry_after: retry_after(headers) },
        400..=499 => Outcome::Refused,
        // A redirect is not followed: where it leads nobody has checked.
        _ => Outcome::Failed { retry_after: retry_after(headers) },
    }
}

/// In seconds; a date is not understood, and the usual wait is taken.
fn retry_after(headers: &HeaderMap) -> Option<Millis> {
    let seconds: i64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    (seconds >= 0).then(|| seconds.saturating_mul(SECOND))
}

fn headers(key: &SigningKey, id: &str, seconds: i64, body: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name, value: &str| {
        // Ids, numbers and base64 are always header values.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("webhook-id", id);
    set("webhook-timestamp", &seconds.to_string());
    set("webhook-signature", &key.sign(id, seconds, body));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

fn show(load: &ForwardsLoad, now: Millis) {
    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    let (waiting, dead, age) = (
        load.n_waiting as f64,
        load.n_dead as f64,
        load.oldest.map_or(0.0, |it| (now - it) as f64 / SECOND as f64),
    );
    gauge!(names::FORWARDS_WAITING).set(waiting);
    gauge!(names::FORWARDS_DEAD).set(dead);
    gauge!(names::FORWARDS_OLDEST_SECONDS).set(age);
    if !load.crowded.is_empty() {
        let n_vendors = load.crowded.len();
        tracing::error!(
            n_vendors,
            "more events wait for back ends than are kept; the oldest were given up"
        );
    }
}
