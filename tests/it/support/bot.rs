//! A responder outside the gateway: it answers as the test says, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header::LOCATION},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::Value;
use waba_gateway::domain::vendor::{Dialect, ResponderConfig, ResponseApi};

/// A call as it came.
#[derive(Clone)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Asked {
    pub fn body(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }
}

#[derive(Clone)]
enum Does {
    /// Answers in this order; the last again and again. Null is an empty body.
    Answer(Arc<Mutex<Vec<(u16, Value)>>>),
    /// Sends the caller elsewhere.
    Redirect(String),
    /// Never answers.
    Hang,
}

type BotState = (Arc<Mutex<Vec<Asked>>>, Does);

#[derive(Clone)]
pub struct Bot {
    /// Where it is; any path will do.
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Bot {
    pub async fn start(answers: &[(u16, Value)]) -> Self {
        Self::that(Does::Answer(Arc::new(Mutex::new(answers.to_vec())))).await
    }

    pub async fn redirecting(to: &str) -> Self {
        Self::that(Does::Redirect(to.to_owned())).await
    }

    pub async fn hanging() -> Self {
        Self::that(Does::Hang).await
    }

    async fn that(does: Does) -> Self {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let router = Router::new().fallback(receive).with_state((Arc::clone(&asked), does));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/bot", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url, asked }
    }

    /// The same bot under another way to write its address.
    pub fn at(&self, host: &str) -> Self {
        Self { url: self.url.replace("127.0.0.1", host), ..self.clone() }
    }

    pub fn responder(&self) -> ResponderConfig {
        self.responder_with(Dialect::Bot)
    }

    pub fn responder_with(&self, dialect: Dialect) -> ResponderConfig {
        let headers = vec![("x-api-key".to_owned(), "bot-api-key".to_owned().into())];
        ResponderConfig::ResponseApi(ResponseApi { url: self.url.clone(), headers, dialect })
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn n_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The body of the latest call.
    pub fn last(&self) -> Value {
        self.asked().last().expect("it was never asked").body()
    }
}

async fn receive(
    State((asked, does)): State<BotState>,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    asked.lock().unwrap().push(Asked { path: uri.path().to_owned(), headers, bytes });
    match does {
        Does::Answer(answers) => {
            let mut answers = answers.lock().unwrap();
            let (status, body) =
                if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            let text = if body.is_null() { String::new() } else { body.to_string() };
            (StatusCode::from_u16(status).unwrap(), text).into_response()
        }
        Does::Redirect(to) => (StatusCode::FOUND, [(LOCATION, to)]).into_response(),
        Does::Hang => std::future::pending().await,
    }
}
