//! The twin over real HTTP.

mod content;
mod faults;
mod inbound;
mod sends;
mod sessions;
mod webhooks;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Customer, Dialect, HookAnswer, Misbehaviour, NewSession, Session, Times, Twin, wire};

const VENDOR: &str = "+221771234567";
const CUSTOMER: &str = "+221705555555";
const CUSTOMER_JID: &str = "221705555555@s.whatsapp.net";

/// Long enough for an answer that comes, short enough to wait for one that does not.
const SHORT: Duration = Duration::from_millis(300);

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(10);

/// A twin with one session, whose webhooks go to [`Rig::posts`].
struct Rig {
    twin: Twin,
    session: Session,
    receiver: Receiver,
    http: reqwest::Client,
}

/// Takes webhooks and keeps them.
#[derive(Clone, Default)]
struct Receiver {
    posts: Arc<Mutex<Vec<Post>>>,
    /// What it answers; 0 means 200.
    status: Arc<AtomicU16>,
}

#[derive(Clone)]
struct Post {
    headers: HeaderMap,
    body: Bytes,
}

impl Post {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|it| it.to_str().unwrap())
    }
}

async fn rig() -> Rig {
    rig_with(NewSession::new(VENDOR)).await
}

#[expect(clippy::disallowed_methods, reason = "it calls the twin, not the world")]
async fn rig_with(new: NewSession) -> Rig {
    let twin = Twin::start().await.unwrap();
    let (session, receiver) = (twin.add_session(new), Receiver::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().fallback(receive).with_state(receiver.clone());
    tokio::spawn(async { axum::serve(listener, router).await });
    twin.set_webhook(session.id, &url);
    let session = twin.session(session.id).unwrap();
    Rig { twin, session, receiver, http: reqwest::Client::new() }
}

async fn receive(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    receiver.posts.lock().unwrap().push(Post { headers, body });
    let status = receiver.status.load(Ordering::Relaxed);
    (StatusCode::from_u16(status).unwrap_or(StatusCode::OK), "noted")
}

impl Rig {
    /// The webhooks so far.
    fn posts(&self) -> Vec<Post> {
        self.receiver.posts.lock().unwrap().clone()
    }

    /// In few words: the event, or `2`, `3`, `4` for a status.
    async fn story(&self) -> Vec<String> {
        self.twin.idle().await;
        let words = self.posts().into_iter().map(|it| {
            let body = it.json();
            let status = body.pointer("/data/update/status").or_else(|| body.get("status"));
            status.unwrap_or(&body["event"]).to_string().replace('"', "")
        });
        words.collect()
    }

    fn misbehave(&self, how: Misbehaviour) {
        self.twin.misbehave(self.session.id, how, Times::Once);
    }

    async fn call(&self, method: &str, path: &str, key: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{path}", self.twin.api_url());
        let request = self.http.request(method.parse().unwrap(), url).bearer_auth(key);
        let response = request.json(&body).send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.text().await.unwrap();
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// Sends with the session's key.
    async fn send(&self, body: Value) -> (u16, Value) {
        self.call("POST", "/send-message", &self.session.api_key, body).await
    }

    async fn send_text(&self, text: &str) -> (u16, Value) {
        self.send(json!({ "to": CUSTOMER, "text": text })).await
    }

    /// Sends, and expects the line to break.
    async fn send_in_vain(&self, timeout: Duration) -> reqwest::Error {
        let url = format!("{}/send-message", self.twin.api_url());
        let request = self.http.post(url).bearer_auth(&self.session.api_key).timeout(timeout);
        request.json(&json!({ "to": CUSTOMER, "text": "Bonjour" })).send().await.unwrap_err()
    }

    async fn by_pat(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.call(method, path, self.twin.pat(), body).await
    }

    async fn by_key(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, &self.session.api_key, Value::Null).await
    }

    /// The path of the session, for the personal access token.
    fn path(&self) -> String {
        format!("/whatsapp-sessions/{}", self.session.id)
    }
}
