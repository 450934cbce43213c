//! A responder for waba-gateway, dialect bot: offers a menu and answers what is chosen of it.
//!
//! Run:
//!
//! ```text
//! SIGNING_SECRET=whsec_... PORT=8081 cargo run --example responder
//! ```
//!
//! `SIGNING_SECRET` is the vendor's: the gateway shows it once, when the vendor is made, and
//! `POST /api/admin/vendors/VENDOR/signing-secret` makes a new one. `HOST` is 127.0.0.1 unless set.
//!
//! Connect it:
//!
//! ```text
//! curl -X PUT "$GATEWAY/api/admin/vendors/VENDOR" -H "Authorization: Bearer $ADMIN_KEY" \
//!   -H "Content-Type: application/json" \
//!   -d '{"responders":[{"kind":"responseApi","dialect":"bot","url":"https://bot.example.com/"}]}'
//! ```
//!
//! A private address, like this machine's own, must be allowed at the gateway:
//! `ALLOW_TARGETS=127.0.0.1`

use std::sync::Arc;

use anyhow::Context;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Of what the gateway asks, what this responder looks at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    #[serde(rename = "type")]
    kind: String,
    option_id: Option<String>,
}

/// What to say, or nothing.
fn answer(question: &Question) -> Option<Value> {
    match (question.option_id.as_deref(), question.kind.as_str()) {
        (Some("hours"), _) => {
            Some(json!({ "message": "Nous sommes ouverts de 8 h à 19 h.", "intent": "hours" }))
        }
        (Some("delivery"), _) => {
            Some(json!({ "message": "Nous livrons à Dakar en 24 h.", "intent": "delivery" }))
        }
        // The gateway sends this and then leaves the conversation to a human.
        (Some("human"), _) => {
            Some(json!({ "message": "Un conseiller vous répond bientôt.", "requiresHuman": true }))
        }
        (_, "text") => Some(json!({
            "message": "Bonjour ! Que voulez-vous savoir ?",
            "type": "buttons",
            "buttons": [
                { "id": "hours", "title": "Horaires" },
                { "id": "delivery", "title": "Livraison" },
                { "id": "human", "title": "Parler à quelqu'un" },
            ],
            "intent": "menu",
        })),
        _ => None,
    }
}

async fn receive(
    State(webhook): State<Arc<Webhook>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    // Whether the gateway sent this, and in the last five minutes.
    if webhook.verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    // What cannot be read is not logged: it may hold what a customer wrote.
    let Ok(question) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match answer(&question) {
        Some(said) => Json(said).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
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
    let port: u16 = setting("PORT", "8081").parse().context("PORT")?;
    let listener = tokio::net::TcpListener::bind((setting("HOST", "127.0.0.1"), port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let router = Router::new()
        .fallback(post(receive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(webhook));
    axum::serve(listener, router).await?;
    Ok(())
}
