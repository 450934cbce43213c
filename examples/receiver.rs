//! A receiver of the events that waba-gateway forwards to a vendor's own back end.
//!
//! Run:
//!
//! ```text
//! SIGNING_SECRET=whsec_... PORT=8082 cargo run --example receiver
//! ```
//!
//! `SIGNING_SECRET` is the vendor's: the gateway shows it once, when the vendor is made, and
//! `POST /api/admin/vendors/VENDOR/signing-secret` makes a new one. `HOST` is 127.0.0.1 unless set.
//!
//! Connect it:
//!
//! ```text
//! curl -X PUT "$GATEWAY/api/admin/vendors/VENDOR" -H "Authorization: Bearer $ADMIN_KEY" \
//!   -H "Content-Type: application/json" -d '{"forwardUrl":"https://shop.example.com/events"}'
//! ```
//!
//! A private address, like this machine's own, must be allowed at the gateway:
//! `ALLOW_TARGETS=127.0.0.1`

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use lru::LruCache;
use serde::Deserialize;
use serde_json::{Map, Value};
use standardwebhooks::Webhook;
use tokio::sync::mpsc;

const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// As many ids are remembered. Yours belong into your database, in the transaction that keeps the
/// event: the gateway asks again for 24 hours.
const SEEN_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");
/// Events that wait to be worked on; with more, the gateway is asked to come again.
const EVENTS_MAX: usize = 10_000;

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Map<String, Value>,
}

struct Receiver {
    webhook: Webhook,
    seen: Mutex<LruCache<String, ()>>,
    events: mpsc::Sender<Event>,
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> StatusCode {
    // Whether the gateway sent this, and in the last five minutes.
    if receiver.webhook.verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    // What cannot be read is not logged: it may hold what a customer wrote.
    let Ok(event) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
    let Ok(place) = receiver.events.try_reserve() else { return StatusCode::SERVICE_UNAVAILABLE };
    let id = headers.get("webhook-id").and_then(|it| it.to_str().ok()).unwrap_or_default();
    // An event whose 204 was lost comes again, under the same id.
    let mut seen = receiver.seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.put(id.to_owned(), ()).is_none() {
        place.send(event);
    }
    StatusCode::NO_CONTENT
}

/// Whatever takes time is done here, after the answer.
async fn work(mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        let ids = event.data.iter().filter(|it| it.0.ends_with("Id"));
        let ids = ids.map(|(name, id)| format!("{name}={}", id.as_str().unwrap_or("?")));
        println!("{} {}", event.kind, ids.collect::<Vec<_>>().join(" "));
    }
}

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "an example reads its own settings")]
async fn main() -> anyhow::Result<()> {
    let setting = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let secret = std::env::var("SIGNING_SECRET").context("SIGNING_SECRET is not set")?;
    let webhook = match secret.strip_prefix("whsec_") {
        Some(_) => Webhook::new(&secret)?,
        None => Webhook::from_bytes(secret.into_bytes())?,
    };
    let (events, waiting) = mpsc::channel(EVENTS_MAX);
    tokio::spawn(work(waiting));
    let seen = Mutex::new(LruCache::new(SEEN_MAX));
    let receiver = Arc::new(Receiver { webhook, seen, events });
    let port: u16 = setting("PORT", "8082").parse().context("PORT")?;
    let listener = tokio::net::TcpListener::bind((setting("HOST", "127.0.0.1"), port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let router = Router::new()
        .fallback(post(receive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(receiver);
    axum::serve(listener, router).await?;
    Ok(())
}
