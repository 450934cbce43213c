//! Meta's WhatsApp Cloud API; what it sends and accepts is in `docs/wire/meta-unipile-twilio.md`.

mod account;
mod answer;
mod classes;
mod content;
#[cfg(test)]
mod content_tests;
mod interactive;
mod manage;
mod media;
mod message;
mod parse;
#[cfg(test)]
mod parse_tests;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use url::Url;

use super::{
    Attempt, Found, Health, HookFault, HookSet, Hooks, NewHook, NoAnswer, OpenFault, OpenedFile,
    Outgoing, Parsed, Provider, Question, Received, Unreadable, Unsendable, Upload, bearer,
};
use crate::{
    domain::{
        clock::{Clock, Millis},
        contact::Address,
        delivery::{Outcome, Reason, Refusal},
        message::{Content, Media},
        schedule::Limit,
        secret::SecretString,
        split::TextLimits,
        waba::{MetaAccount, WabaInstance},
        webhook::{Proof, Scheme, Verified, Webhook},
    },
    http::{Http, HttpError, Reply, Request, Trust},
};

/// HMAC of the raw body with the app's secret (A2).
const SIGNATURE: &str = "x-hub-signature-256";
/// What a text and a caption may have (B2).
const TEXT_LIMITS: TextLimits = TextLimits { text: 4_096, caption: 1_024 };
/// For one call, its connection included.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Meta's WhatsApp Cloud API.
pub struct Meta {
    http: Http,
    base: Url,
    clock: Clock,
}

/// What a call needs of an instance's account.
struct Account<'a> {
    /// The phone number id.
    id: &'a str,
    token: &'a SecretString,
    whole: &'a MetaAccount,
}

impl<'a> Account<'a> {
    /// `None`: there is none, or it has no token.
    fn of(instance: &'a WabaInstance) -> Option<Self> {
        let whole = instance.meta.as_deref()?;
        Some(Self { id: &whole.phone_number_id, token: whole.access_token.as_ref()?, whole })
    }
}

impl Meta {
    /// `base` is Graph with its version, like `https://graph.facebook.com/v25.0` (A11).
    #[must_use]
    pub fn new(http: Http, base: Url, clock: Clock) -> Self {
        Self { http, base, clock }
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
        token: &SecretString,
        body: Option<&Value>,
    ) -> Result<Reply, HttpError> {
        let mut headers = bearer::headers(token)?;
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = body.map(|it| it.to_string().into_bytes());
        let trust = Trust::Operator;
        self.http.send(Request { method, url, trust, headers, body, timeout: TIMEOUT }).await
    }
}

#[async_trait]
impl Provider for Meta {
    fn proofs<'a>(&self, instance: &'a WabaInstance, _now: Millis) -> Vec<Proof<'a>> {
        let secret = instance.meta.as_ref().and_then(|it| it.app_secret.as_ref());
        let scheme = Scheme::HmacHex(SIGNATURE);
        secret.map(|secret| Proof { instance: &instance.id, scheme, secret }).into_iter().collect()
    }

    fn parse(
        &self,
        hook: &Webhook<Verified>,
        secrets: &[&SecretString],
    ) -> Result<Parsed, Unreadable> {
        parse::read(hook.body(), secrets)
    }

    fn limit(&self, _instance: &WabaInstance) -> Limit {
        Limit::META
    }

    fn text_limits(&self) -> TextLimits {
        TEXT_LIMITS
    }

    fn check(&self, content: &Content) -> Result<(), Unsendable> {
        content::check(content)
    }

    fn file_bytes_max(&self, mime_type: &str) -> Option<u64> {
        media::bytes_max(mime_type)
    }

    async fn send(&self, instance: &WabaInstance, message: &Outgoing<'_>) -> Attempt {
        let refused = |it, word| Attempt::of(Outcome::Refused(it), word);
        let Some(account) = Account::of(instance) else {
            return refused(Refusal::FailOver(Reason::NoCredentials), "no_credentials");
        };
        let body = match content::body(message) {
            Ok(body) => body,
            Err(refusal) => return refused(refusal, "not_for_meta"),
        };
        let url = self.url(&[account.id, "messages"]);
        let reply = self.call(Method::POST, &url, account.token, Some(&body)).await;
        answer::attempt(reply, self.clock.now())
    }

    async fn upload(&self, instance: &WabaInstance, file: Upload) -> Result<String, Attempt> {
        self.upload_file(instance, file).await
    }

    async fn open(&self, instance: &WabaInstance, file: &Media) -> Result<OpenedFile, OpenFault> {
        self.open_file(instance, file).await
    }

    /// Meta keeps no log that could be asked: what became of a send, its statuses say, which name
    /// it by our own id.
    async fn ask(&self, _instance: &WabaInstance, _question: &Question<'_>) -> Found {
        Found::default()
    }

    async fn health(&self, instance: &WabaInstance) -> Result<Health, NoAnswer> {
        self.ask_health(instance).await
    }

    async fn mark_read(
        &self,
        instance: &WabaInstance,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        self.mark(instance, message, false).await
    }

    async fn typing(
        &self,
        instance: &WabaInstance,
        _to: &Address,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        self.mark(instance, message, true).await
    }
}

#[async_trait]
impl Hooks for Meta {
    async fn set_webhook(
        &self,
        instance: &WabaInstance,
        hook: &NewHook<'_>,
    ) -> Result<HookSet, HookFault> {
        self.enter_webhook(instance, hook).await
    }
}
