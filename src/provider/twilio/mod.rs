//! WhatsApp through Twilio; what it sends and accepts is in `docs/wire/meta-unipile-twilio.md` E.

mod ask;
mod codes;
mod content;
mod files;
mod hook;
mod parse;
#[cfg(test)]
mod parse_tests;
mod send;
#[cfg(test)]
mod send_tests;

#[cfg(test)]
pub(super) use send_tests::test_instance;

use std::time::Duration;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use url::Url;

use super::{
    Attempt, FileWay, Found, Health, HookFault, HookSet, Hooks, NewHook, NoAnswer, OpenFault,
    OpenedFile, Outgoing, Parsed, Provider, Question, Received, Unreadable, Unsendable,
};
use crate::{
    domain::{
        account::TwilioAccount,
        clock::{Clock, Millis},
        contact::Address,
        message::{Content, Media},
        phone::PhoneNumber,
        schedule::Limit,
        secret::{ExposeSecret, SecretString},
        split::TextLimits,
        waba::WabaInstance,
        webhook::{Proof, Scheme, Verified, Webhook},
    },
    http::{Http, HttpError, Reply, Request, Trust},
};

/// What a text and a caption may have.
const TEXT_LIMITS: TextLimits = TextLimits { text: content::BODY_CHARS_MAX, caption: 1_024 };
/// What its webhooks are signed in.
const SIGNATURE_HEADER: &str = "x-twilio-signature";
/// Of the API.
const VERSION: &str = "2010-04-01";
/// Where the API is, and the part of it that has senders and typing.
const API_HOST: &str = "api.twilio.com";
const MESSAGING: &str = "https://messaging.twilio.com";
/// For one call, its connection included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What numbers and BSUIDs are written behind.
const CHANNEL: &str = "whatsapp:";

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// WhatsApp through Twilio.
pub struct Twilio {
    http: Http,
    base: Url,
    /// Where this gateway is reached, for status callbacks.
    own: Url,
    clock: Clock,
}

/// An account that calls can be made with.
struct Account<'a> {
    of: &'a TwilioAccount,
    token: &'a SecretString,
}

impl Twilio {
    /// `base` is where its API is, `own` where Twilio reaches this gateway.
    #[must_use]
    pub fn new(http: Http, base: Url, own: Url, clock: Clock) -> Self {
        Self { http, base, own, clock }
    }

    fn account(instance: &WabaInstance) -> Option<Account<'_>> {
        let of = instance.twilio.as_deref()?;
        Some(Account { of, token: of.auth_token.as_ref()? })
    }

    /// Below the account: `…/Accounts/AC…/Messages.json`.
    fn url_of(&self, account: &TwilioAccount, segments: &[&str]) -> Url {
        let head = [VERSION, "Accounts", &account.account_sid];
        below(&self.base, head.into_iter().chain(segments.iter().copied()))
    }

    /// Of the API that has senders and typing. One that stands in for Twilio has both.
    fn messaging_url(&self, segments: &[&str]) -> Url {
        let segments = segments.iter().copied();
        if self.base.host_str() == Some(API_HOST) {
            let base = Url::parse(MESSAGING).expect("the constant is a URL");
            return below(&base, segments);
        }
        below(&self.base, segments)
    }

    async fn call(
        &self,
        method: Method,
        url: &Url,
        account: &Account<'_>,
        body: Option<(&'static str, String)>,
    ) -> Result<Reply, HttpError> {
        let mut headers = headers(account)?;
        let body = body.map(|(kind, body)| {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            body.into_bytes()
        });
        let trust = Trust::Operator;
        self.http.send(Request { method, url, trust, headers, body, timeout: TIMEOUT }).await
    }
}

#[async_trait]
impl Provider for Twilio {
    fn proofs<'a>(&self, instance: &'a WabaInstance, _now: Millis) -> Vec<Proof<'a>> {
        let secret = instance.twilio.as_ref().and_then(|it| it.auth_token.as_ref());
        let scheme = Scheme::Twilio(SIGNATURE_HEADER);
        secret.map(|secret| Proof { instance: &instance.id, scheme, secret }).into_iter().collect()
    }

    fn parse(
        &self,
        hook: &Webhook<Verified>,
        secrets: &[&SecretString],
    ) -> Result<Parsed, Unreadable> {
        Ok(parse::read(hook.url(), hook.body(), secrets))
    }

    fn limit(&self, _instance: &WabaInstance) -> Limit {
        Limit::TWILIO
    }

    fn text_limits(&self) -> TextLimits {
        TEXT_LIMITS
    }

    fn check(&self, content: &Content) -> Result<(), Unsendable> {
        content::check(content)
    }

    fn file_way(&self) -> FileWay {
        FileWay::Link
    }

    async fn send(&self, instance: &WabaInstance, message: &Outgoing<'_>) -> Attempt {
        self.send_message(instance, message).await
    }

    async fn open(&self, instance: &WabaInstance, file: &Media) -> Result<OpenedFile, OpenFault> {
        self.open_file(instance, file).await.map(OpenedFile::from)
    }

    async fn ask(&self, instance: &WabaInstance, question: &Question<'_>) -> Found {
        self.ask_message(instance, question).await.unwrap_or_default()
    }

    async fn health(&self, instance: &WabaInstance) -> Result<Health, NoAnswer> {
        self.ask_health(instance).await
    }

    async fn mark_read(
        &self,
        instance: &WabaInstance,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        // Twilio has no other way to say it: typing is shown until the answer comes.
        self.show_typing(instance, message).await
    }

    async fn typing(
        &self,
        instance: &WabaInstance,
        _to: &Address,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        self.show_typing(instance, message).await
    }
}

#[async_trait]
impl Hooks for Twilio {
    async fn set_webhook(
        &self,
        instance: &WabaInstance,
        hook: &NewHook<'_>,
    ) -> Result<HookSet, HookFault> {
        self.set_sender(instance, hook).await
    }
}

/// The number that messages leave from.
fn sender(instance: &WabaInstance) -> &PhoneNumber {
    let own = instance.twilio.as_ref().and_then(|it| it.from.as_ref());
    own.unwrap_or(&instance.phone_number)
}

fn below<'a>(base: &Url, segments: impl Iterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// What every call carries.
fn headers(account: &Account<'_>) -> Result<HeaderMap, HttpError> {
    let mut headers = HeaderMap::new();
    let pair = format!("{}:{}", account.of.account_sid, account.token.expose_secret());
    let basic = format!("Basic {}", STANDARD.encode(pair));
    let mut basic = HeaderValue::from_str(&basic).map_err(|_| HttpError::Forbidden)?;
    basic.set_sensitive(true);
    headers.insert(AUTHORIZATION, basic);
    headers.insert(ACCEPT, HeaderValue::from_static(JSON));
    Ok(headers)
}
