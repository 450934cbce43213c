//! Unipile, a device linked to an ordinary WhatsApp; what both generations of it send and accept is
//! in `docs/wire/meta-unipile-twilio.md` D.

mod ask;
mod body;
mod chats;
mod errors;
mod files;
mod hook;
mod parse;
#[cfg(test)]
mod parse_tests;
mod parse_v2;
mod send;
#[cfg(test)]
mod send_tests;
mod show;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde_json::Value;
use url::Url;

use self::chats::{Chats, ChatsOf};
use super::{
    Attempt, FileWay, Found, Health, HookFault, HookSet, Hooks, NewHook, NoAnswer, OpenFault,
    OpenedFile, Outgoing, Parsed, Provider, Question, Received, Unreadable, Unsendable, Upload,
    plain,
};
use crate::{
    domain::{
        account::UnipileAccount,
        clock::{Clock, Millis},
        contact::Address,
        message::{Content, Media},
        schedule::Limit,
        secret::{ExposeSecret, SecretString},
        split::TextLimits,
        waba::WabaInstance,
        webhook::{Proof, Scheme, Verified, Webhook},
    },
    http::{Http, HttpError, Reply, Request, Trust},
};

/// What a text and a caption may have: WhatsApp's own limits.
const TEXT_LIMITS: TextLimits = TextLimits { text: 4_096, caption: 1_024 };
/// What webhooks of the first generation carry, and those of the second are signed in.
const SECRET_HEADER: &str = "unipile-auth";
const SIGNATURE_HEADER: &str = "unipile-signature";
/// For one call without files, its connection included.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Unipile, a device linked to an ordinary WhatsApp.
pub struct Unipile {
    http: Http,
    base: Url,
    clock: Clock,
    chats: Chats,
}

/// Of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generation {
    V1,
    V2,
}

/// An account that calls can be made with.
struct Account<'a> {
    id: &'a str,
    key: &'a SecretString,
    /// The base of the API of its generation.
    base: Url,
    generation: Generation,
    trust: Trust,
    chats: ChatsOf<'a>,
}

impl Unipile {
    /// `base` is where the API of accounts is that name none of their own.
    #[must_use]
    pub fn new(http: Http, base: Url, clock: Clock) -> Self {
        Self { http, base, clock, chats: Chats::default() }
    }

    fn account<'a>(&'a self, instance: &'a WabaInstance) -> Option<Account<'a>> {
        let of = instance.unipile.as_deref()?;
        let trust = if of.has_own_base() { Trust::Vendor } else { Trust::Operator };
        let mut base = of.base(&self.base)?;
        let generation = self.generation(of);
        if generation == Generation::V1 && !base.path().trim_end_matches('/').ends_with("/v1") {
            base = below(&base, &["api", "v1"]);
        }
        let (key, chats) = (of.api_key.as_ref()?, self.chats.at(&instance.id));
        Some(Account { id: &of.account_id, key, base, generation, trust, chats })
    }

    fn generation(&self, account: &UnipileAccount) -> Generation {
        if account.is_v2(&self.base) { Generation::V2 } else { Generation::V1 }
    }

    async fn call(
        &self,
        account: &Account<'_>,
        method: Method,
        url: &Url,
        body: Option<&Value>,
    ) -> Result<Reply, HttpError> {
        let mut headers = account.headers()?;
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = body.map(|it| it.to_string().into_bytes());
        let trust = account.trust;
        self.http.send(Request { method, url, trust, headers, body, timeout: TIMEOUT }).await
    }

    /// The body of a good answer to a question.
    async fn ask(&self, account: &Account<'_>, url: &Url) -> Option<Value> {
        let reply = self.call(account, Method::GET, url, None).await.ok()?;
        let body = serde_json::from_slice(&reply.body).ok()?;
        reply.status.is_success().then_some(body)
    }
}

impl Account<'_> {
    /// Below the base; of the second generation most is below the account.
    fn url(&self, segments: &[&str]) -> Url {
        below(&self.base, segments)
    }

    /// A chat, and what is in it.
    fn chat_url(&self, chat: &str, segments: &[&str]) -> Url {
        let head: &[&str] = match self.generation {
            Generation::V1 => &["chats", chat],
            Generation::V2 => &[self.id, "chats", chat],
        };
        below(&self.base, &[head, segments].concat())
    }

    fn headers(&self) -> Result<HeaderMap, HttpError> {
        let key = HeaderValue::from_str(self.key.expose_secret());
        let mut key = key.map_err(|_| HttpError::Forbidden)?;
        key.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", key);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        Ok(headers)
    }
}

#[async_trait]
impl Provider for Unipile {
    fn proofs<'a>(&self, instance: &'a WabaInstance, now: Millis) -> Vec<Proof<'a>> {
        let Some(account) = &instance.unipile else { return Vec::new() };
        let scheme = match self.generation(account) {
            Generation::V1 => Scheme::Secret(SECRET_HEADER),
            Generation::V2 => Scheme::UnipileV2 { header: SIGNATURE_HEADER, now },
        };
        let secret = account.webhook_secret.as_ref();
        secret.map(|secret| Proof { instance: &instance.id, scheme, secret }).into_iter().collect()
    }

    fn parse(
        &self,
        hook: &Webhook<Verified>,
        secrets: &[&SecretString],
    ) -> Result<Parsed, Unreadable> {
        parse::read(hook.body(), secrets, self.chats.at(hook.instance()))
    }

    fn limit(&self, _instance: &WabaInstance) -> Limit {
        Limit::UNIPILE
    }

    fn text_limits(&self) -> TextLimits {
        TEXT_LIMITS
    }

    fn check(&self, content: &Content) -> Result<(), Unsendable> {
        match content {
            Content::Media(Media { view_once: true, .. }) => {
                Err(Unsendable("viewOnce: Unipile cannot send this".to_owned()))
            }
            Content::Media(_) => Ok(()),
            Content::Template(it) if it.text.is_empty() => {
                let why = "template.text: Unipile has no templates and needs the text";
                Err(Unsendable(why.to_owned()))
            }
            other if plain::text(other).is_none() => {
                Err(Unsendable("type: Unipile cannot send this".to_owned()))
            }
            other => plain::fits(other, TEXT_LIMITS.text),
        }
    }

    fn file_bytes_max(&self, _mime_type: &str) -> Option<u64> {
        Some(files::FILE_BYTES_MAX)
    }

    fn file_way(&self) -> FileWay {
        FileWay::Attached
    }

    async fn send(&self, instance: &WabaInstance, message: &Outgoing<'_>) -> Attempt {
        self.send_message(instance, message, None).await
    }

    async fn send_with(
        &self,
        instance: &WabaInstance,
        message: &Outgoing<'_>,
        file: Upload,
    ) -> Attempt {
        self.send_message(instance, message, Some(file)).await
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
        self.show_read(instance, message).await
    }

    async fn typing(
        &self,
        instance: &WabaInstance,
        to: &Address,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        self.show_typing(instance, to, message).await
    }
}

#[async_trait]
impl Hooks for Unipile {
    async fn set_webhook(
        &self,
        instance: &WabaInstance,
        hook: &NewHook<'_>,
    ) -> Result<HookSet, HookFault> {
        self.set_hooks(instance, hook).await
    }

    async fn remove_webhooks(&self, instance: &WabaInstance, former: &[String]) -> Vec<String> {
        self.remove_hooks(instance, former).await
    }
}

fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}
