//! WasenderAPI; what it sends and accepts is in `docs/wire/wasender.md`.

mod ask;
mod check;
mod content;
mod manage;
mod masked;
mod parse;
#[cfg(test)]
mod parse_tests;
mod payload;
mod send;
mod session;
mod upload;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use url::Url;

pub use self::{
    check::Reached,
    session::{Session, SessionFault},
};
use super::{
    Attempt, ChangeFault, Found, Health, NoAnswer, Outgoing, Parsed, Provider, Question, Received,
    Unreadable, Unsendable, Upload, bearer,
};
use crate::{
    domain::{
        clock::{Clock, Millis},
        contact::{Address, Lid},
        event::Connection,
        message::{Content, Text},
        phone::PhoneNumber,
        schedule::Limit,
        secret::SecretString,
        split::TextLimits,
        waba::WabaInstance,
        webhook::{Proof, Scheme, Verified, Webhook},
    },
    http::{Http, HttpError, Reply, Request, Trust},
};

/// HMAC of the raw body (`docs/CONTRACT.md` §1).
const HMAC_HEADER: &str = "x-wasender-signature";
/// The secret itself (`docs/wire/wasender.md` §4.1).
const SECRET_HEADER: &str = "x-webhook-signature";
/// Wasender publishes no limits (`docs/wire/wasender.md` §2.1): these are WhatsApp's own.
const TEXT_LIMITS: TextLimits = TextLimits { text: 4_096, caption: 1_024 };
/// For one call, its connection included.
const TIMEOUT: Duration = Duration::from_secs(30);

/// WasenderAPI.
pub struct Wasender {
    http: Http,
    base: Url,
    /// The operator's personal access token. It never sends.
    token: Option<SecretString>,
    clock: Clock,
}

impl Wasender {
    /// `base` is like `https://www.wasenderapi.com/api`.
    #[must_use]
    pub fn new(http: Http, base: Url, token: Option<SecretString>, clock: Clock) -> Self {
        Self { http, base, token, clock }
    }

    /// The account token for this instance: the vendor's own, else the operator's.
    fn token<'a>(&'a self, instance: &'a WabaInstance) -> Option<&'a SecretString> {
        instance.wasender.token.as_ref().or(self.token.as_ref())
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    async fn call(
        &self,
        method: Method,
        url: &Url,
        key: &SecretString,
        body: Option<&Value>,
    ) -> Result<Reply, HttpError> {
        let mut headers = bearer::headers(key)?;
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = body.map(|it| it.to_string().into_bytes());
        let trust = Trust::Operator;
        self.http.send(Request { method, url, trust, headers, body, timeout: TIMEOUT }).await
    }
}

#[async_trait]
impl Provider for Wasender {
    fn proofs<'a>(&self, instance: &'a WabaInstance, now: Millis) -> Vec<Proof<'a>> {
        let mut proofs = Vec::new();
        for secret in instance.wasender.secrets_at(now) {
            let mut add = |scheme| proofs.push(Proof { instance: &instance.id, scheme, secret });
            if instance.schemes.secret {
                add(Scheme::Secret(SECRET_HEADER));
            }
            if instance.schemes.hmac {
                add(Scheme::HmacHex(HMAC_HEADER));
            }
        }
        proofs
    }

    fn parse(
        &self,
        hook: &Webhook<Verified>,
        secrets: &[&SecretString],
    ) -> Result<Parsed, Unreadable> {
        parse::read(hook.body(), secrets)
    }

    fn limit(&self, instance: &WabaInstance) -> Limit {
        if instance.account_protection { Limit::WASENDER_PROTECTED } else { Limit::WASENDER }
    }

    fn text_limits(&self) -> TextLimits {
        TEXT_LIMITS
    }

    fn check(&self, content: &Content) -> Result<(), Unsendable> {
        content::check(content)
    }

    async fn send(&self, instance: &WabaInstance, message: &Outgoing<'_>) -> Attempt {
        self.send_message(instance, message).await
    }

    async fn upload(&self, instance: &WabaInstance, file: Upload) -> Result<String, Attempt> {
        self.upload_file(instance, file).await
    }

    async fn ask(&self, instance: &WabaInstance, question: &Question<'_>) -> Found {
        match question.ticket {
            Some(ticket) => self.ask_info(instance, ticket).await,
            None => self.ask_log(instance, question).await,
        }
        .unwrap_or_default()
    }

    async fn phone_of(
        &self,
        instance: &WabaInstance,
        lid: &Lid,
    ) -> Result<Option<PhoneNumber>, NoAnswer> {
        self.ask_phone(instance, lid).await
    }

    async fn health(&self, instance: &WabaInstance) -> Result<Health, NoAnswer> {
        let connection = self.ask_connection(instance).await.ok_or(NoAnswer)?;
        Ok(Health { connection: Some(connection), ..Health::default() })
    }

    async fn edit(
        &self,
        instance: &WabaInstance,
        ticket: &str,
        text: &Text,
    ) -> Result<(), ChangeFault> {
        self.edit_message(instance, ticket, text).await
    }

    async fn delete(&self, instance: &WabaInstance, ticket: &str) -> Result<(), ChangeFault> {
        self.delete_message(instance, ticket).await
    }

    async fn mark_read(
        &self,
        instance: &WabaInstance,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        self.mark_message_read(instance, message).await
    }

    async fn typing(
        &self,
        instance: &WabaInstance,
        to: &Address,
        _message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        self.show_typing(instance, to).await
    }
}

/// The state a session's word means (`docs/wire/wasender.md` §3.3).
pub(crate) fn connection_of(word: &str) -> Option<Connection> {
    match word.to_ascii_lowercase().as_str() {
        "connected" => Some(Connection::Connected),
        "connecting" => Some(Connection::Pending),
        "need_scan" | "need_passkey" | "disconnected" | "logged_out" | "expired" => {
            Some(Connection::Disconnected)
        }
        "error" => Some(Connection::Error),
        _ => None,
    }
}
