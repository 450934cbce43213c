//! An HTTP service that writes the answer. What it is asked and answers is its dialect's
//! (`bot.rs`, `conversation.rs`); how it is called is the same for both.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use url::Url;

use super::{
    Answer, Circuits, Question, Responder, ResponderError, SigningKey, bot, circuits::CircuitKey,
    conversation,
};
use crate::{
    domain::{
        clock::{Clock, SECOND},
        id::VendorId,
        secret::{ExposeSecret, SecretString},
        vendor::{Dialect, ResponseApi},
    },
    http::{Http, Request, Trust},
};

/// For one call.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest reply, in characters; longer ones are a fault of the service.
pub(super) const REPLY_CHARS_MAX: usize = 65_536;

/// What a call is made with.
#[derive(Clone)]
pub struct Means {
    /// The way out.
    pub http: Http,
    /// The time.
    pub clock: Clock,
    /// Which services are left alone for a while.
    pub circuits: Circuits,
}

/// An HTTP service that writes the answer.
pub struct ResponseApiResponder {
    means: Means,
    url: Url,
    trust: Trust,
    headers: HeaderMap,
    dialect: Dialect,
    key: SigningKey,
    circuit: CircuitKey,
}

impl ResponseApiResponder {
    /// A responder of this vendor. An address that is none, and headers that no HTTP request can
    /// carry, make it unusable.
    pub fn new(
        means: Means,
        vendor: &VendorId,
        api: &ResponseApi,
        trust: Trust,
        key: SigningKey,
    ) -> Result<Self, ResponderError> {
        let url = Url::parse(&api.url).map_err(|_| ResponderError::Misconfigured("url"))?;
        let url = match &api.dialect {
            Dialect::Bot => url,
            Dialect::Conversation { .. } => conversation::address(url),
        };
        let (headers, circuit) = (header_map(&api.headers)?, CircuitKey::of(vendor, api));
        Ok(Self { means, url, trust, headers, dialect: api.dialect.clone(), key, circuit })
    }

    async fn call(&self, id: &str, body: Vec<u8>) -> Result<Answer, ResponderError> {
        let request = Request {
            method: Method::POST,
            url: &self.url,
            trust: self.trust,
            headers: self.signed(id, &body),
            body: Some(body),
            timeout: TIMEOUT,
        };
        let reply = self.means.http.send(request).await.map_err(ResponderError::Unreachable)?;
        match reply.status {
            StatusCode::NO_CONTENT => Ok(Answer::Silence),
            status if !status.is_success() => Err(ResponderError::Status(status.as_u16())),
            _ => read_answer(&self.dialect, &reply.body),
        }
    }

    fn signed(&self, id: &str, body: &[u8]) -> HeaderMap {
        let seconds = self.means.clock.now() / SECOND;
        let mut headers = self.headers.clone();
        let mut set = |name, value: &str| {
            // Ids, numbers and base64 are always header values.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        set("webhook-id", id);
        set("webhook-timestamp", &seconds.to_string());
        set("webhook-signature", &self.key.sign(id, seconds, body));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers
    }
}

#[async_trait]
impl Responder for ResponseApiResponder {
    async fn answer(&self, question: &Question) -> Result<Answer, ResponderError> {
        let body = match &self.dialect {
            Dialect::Bot => bot::body(question)?,
            Dialect::Conversation { chatbot_id, web_id } => {
                if !conversation::is_asked_about(question) {
                    return Ok(Answer::Pass);
                }
                conversation::body(question, chatbot_id, web_id.as_ref())?
            }
        };
        let Means { circuits, clock, .. } = &self.means;
        let permit = circuits.ask(&self.circuit, clock).ok_or(ResponderError::CircuitOpen)?;
        let answer = self.call(&question.id.to_string(), body).await;
        // A message that it cannot answer says nothing of the others.
        let is_up = !answer.as_ref().is_err_and(ResponderError::is_of_service);
        circuits.tell(&self.circuit, permit, is_up, clock);
        answer
    }
}

/// Reads what a service answered with 200.
pub fn read_answer(dialect: &Dialect, body: &[u8]) -> Result<Answer, ResponderError> {
    match dialect {
        Dialect::Bot => bot::read(body),
        Dialect::Conversation { .. } => conversation::read(body),
    }
}

fn header_map(headers: &[(String, SecretString)]) -> Result<HeaderMap, ResponderError> {
    let bad = || ResponderError::Misconfigured("headers");
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| bad())?;
        value.set_sensitive(true);
        map.insert(name, value);
    }
    Ok(map)
}
