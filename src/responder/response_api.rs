//! An HTTP service that writes the answer, in dialect *bot* (`docs/ARCHITECTURE.md`,
//! Administration).

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Answer, Question, Reply, Responder, ResponderError, SigningKey};
use crate::{
    domain::{
        clock::{Clock, SECOND},
        message::Text,
        secret::{ExposeSecret, SecretString},
    },
    http::{Http, Request, Trust},
};

/// For one call.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest reply, in characters; longer ones are a fault of the bot.
const REPLY_CHARS_MAX: usize = 65_536;

/// An HTTP service that writes the answer.
pub struct ResponseApiResponder {
    http: Http,
    url: Url,
    trust: Trust,
    headers: HeaderMap,
    key: SigningKey,
    clock: Clock,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    vendor_id: &'a str,
    from: Option<String>,
    name: Option<&'a str>,
    message: &'a str,
    message_id: String,
    #[serde(rename = "type")]
    kind: &'a str,
    /// Seconds since the Unix epoch.
    timestamp: i64,
    conversation: Vec<TurnBody<'a>>,
}

#[derive(Serialize)]
struct TurnBody<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerBody {
    message: Option<String>,
    #[serde(default)]
    requires_human: Option<bool>,
}

impl ResponseApiResponder {
    /// A responder at this address. Headers whose name or value no HTTP request can carry make it
    /// unusable.
    pub fn new(
        http: Http,
        (url, trust): (&str, Trust),
        headers: &[(String, SecretString)],
        key: SigningKey,
        clock: Clock,
    ) -> Result<Self, ResponderError> {
        let url = Url::parse(url).map_err(|_| ResponderError::Misconfigured("url"))?;
        let bad = ResponderError::Misconfigured("headers");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad.clone())?;
            let mut value =
                HeaderValue::from_str(value.expose_secret()).map_err(|_| bad.clone())?;
            value.set_sensitive(true);
            map.insert(name, value);
        }
        Ok(Self { http, url, trust, headers: map, key, clock })
    }

    fn signed(&self, id: &str, body: &[u8]) -> HeaderMap {
        let seconds = self.clock.now() / SECOND;
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
        let id = question.id.to_string();
        let turns = question.history.iter().map(|(is_user, text)| TurnBody {
            role: if *is_user { "user" } else { "assistant" },
            content: &text.0,
        });
        let body = Body {
            vendor_id: question.vendor.as_str(),
            from: question.from.as_ref().map(crate::domain::phone::PhoneNumber::expose),
            name: question.name.as_ref().map(|it| it.0.as_str()),
            message: &question.text.0,
            message_id: id.clone(),
            kind: &question.kind,
            timestamp: question.at / SECOND,
            conversation: turns.collect(),
        };
        let body = serde_json::to_vec(&body).map_err(|_| ResponderError::Garbled)?;
        let request = Request {
            method: Method::POST,
            url: &self.url,
            trust: self.trust,
            headers: self.signed(&id, &body),
            body: Some(body),
            timeout: TIMEOUT,
        };
        let reply = self.http.send(request).await.map_err(ResponderError::Unreachable)?;
        match reply.status {
            StatusCode::NO_CONTENT => Ok(Answer::Silence),
            status if status.is_success() => read(&reply.body),
            status => Err(ResponderError::Status(status.as_u16())),
        }
    }
}

fn read(body: &[u8]) -> Result<Answer, ResponderError> {
    let body: AnswerBody = serde_json::from_slice(body).map_err(|_| ResponderError::Garbled)?;
    let requires_human = body.requires_human.unwrap_or(false);
    let text = body.message.unwrap_or_default();
    if text.chars().count() > REPLY_CHARS_MAX || (text.trim().is_empty() && !requires_human) {
        return Err(ResponderError::Garbled);
    }
    Ok(Answer::Reply(Reply { text: Text(text), requires_human }))
}
