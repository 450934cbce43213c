//! A vendor's back end, as the tests need it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header::RETRY_AFTER},
    response::IntoResponse,
    routing::post,
};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::support::DEADLINE;

/// Answers what the test says, and remembers what it got.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    state: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    got: Mutex<Vec<Got>>,
    /// Used up in order; then `always`.
    next: Mutex<VecDeque<Reply>>,
    always: Mutex<Option<Rule>>,
}

type Rule = Arc<dyn Fn(&Value) -> Reply + Send + Sync>;

#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub header: Option<(HeaderName, String)>,
    pub after: Duration,
    pub says: Says,
}

/// What an answer says besides its status.
#[derive(Clone, Copy)]
pub enum Says {
    Nothing,
    /// More than the gateway reads of any answer.
    TooMuch,
    /// It begins, and never ends.
    WithoutEnd,
}

impl Says {
    fn body(self) -> Body {
        match self {
            Self::Nothing => Body::empty(),
            Self::TooMuch => Body::from(vec![b'x'; 2 * 1024 * 1024]),
            Self::WithoutEnd => {
                let first = stream::iter([Ok::<_, Infallible>("{")]);
                Body::from_stream(first.chain(stream::pending()))
            }
        }
    }
}

impl From<u16> for Reply {
    fn from(status: u16) -> Self {
        Self { status, header: None, after: Duration::ZERO, says: Says::Nothing }
    }
}

impl Reply {
    pub fn retry_after(status: u16, seconds: u32) -> Self {
        Self { header: Some((RETRY_AFTER, seconds.to_string())), ..status.into() }
    }
}

#[derive(Clone, Debug)]
pub struct Got {
    pub headers: HeaderMap,
    pub raw: Vec<u8>,
    pub body: Value,
    pub answered: u16,
}

impl Got {
    pub fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }

    pub fn topic(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    pub fn data(&self) -> &Value {
        &self.body["data"]
    }

    /// Whether the standard library would have made the same signature.
    #[track_caller]
    pub fn check_signature(&self, secret: &str) {
        let seconds: i64 = self.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        let oracle = standardwebhooks::Webhook::new(secret).unwrap();
        let want = oracle.sign(self.id(), seconds, &self.raw).unwrap();
        assert_eq!(self.headers["webhook-signature"], want);
        assert_eq!(self.headers["content-type"], "application/json");
    }
}

async fn receive(
    State(state): State<Arc<Inner>>,
    headers: HeaderMap,
    raw: bytes::Bytes,
) -> impl IntoResponse {
    let body: Value = serde_json::from_slice(&raw).unwrap();
    let next = state.next.lock().unwrap().pop_front();
    let reply = next.unwrap_or_else(|| match &*state.always.lock().unwrap() {
        Some(rule) => rule(&body),
        None => 204.into(),
    });
    let got = Got { headers, raw: raw.to_vec(), body, answered: reply.status };
    state.got.lock().unwrap().push(got);
    tokio::time::sleep(reply.after).await;
    let status = StatusCode::from_u16(reply.status).unwrap();
    let headers: HeaderMap =
        reply.header.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
    (status, headers, reply.says.body())
}

impl Receiver {
    pub async fn start() -> Self {
        let state = Arc::new(Inner::default());
        let router = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url, state }
    }

    /// The next answers.
    pub fn answers(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.next.lock().unwrap().extend(replies);
    }

    /// What is answered when no answer is left.
    pub fn always(&self, rule: impl Fn(&Value) -> Reply + Send + Sync + 'static) {
        *self.state.always.lock().unwrap() = Some(Arc::new(rule));
    }

    pub fn got(&self) -> Vec<Got> {
        self.state.got.lock().unwrap().clone()
    }

    /// Waits until what came is as `is` says.
    pub async fn until(&self, is: impl Fn(&[Got]) -> bool) -> Vec<Got> {
        let started = std::time::Instant::now();
        loop {
            let got = self.got();
            if is(&got) {
                return got;
            }
            let bodies: Vec<_> = got.iter().map(|it| (it.answered, it.body.clone())).collect();
            assert!(started.elapsed() < DEADLINE, "in the end there was {bodies:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn until_n(&self, n: usize) -> Vec<Got> {
        self.until(|it| it.len() >= n).await
    }
}
