//! WhatsApp through Twilio; what it sends and accepts is in `docs/wire/meta-unipile-twilio.md`.

use async_trait::async_trait;
use url::Url;

use super::{
    Attempt, Found, Health, HookFault, HookSet, Hooks, NewHook, NoAnswer, Outgoing, Parsed,
    Provider, Question, Received, Unreadable, Unsendable,
};
use crate::{
    domain::{
        clock::{Clock, Millis},
        contact::Address,
        delivery::{Outcome, Reason, Refusal},
        message::Content,
        schedule::Limit,
        secret::SecretString,
        split::TextLimits,
        waba::WabaInstance,
        webhook::{Proof, Scheme, Verified, Webhook},
    },
    http::Http,
};

/// What a text and a caption may have.
const TEXT_LIMITS: TextLimits = TextLimits { text: 1_600, caption: 1_600 };

/// WhatsApp through Twilio.
pub struct Twilio {
    http: Http,
    base: Url,
    clock: Clock,
}

impl Twilio {
    /// `base` is where its API is.
    #[must_use]
    pub fn new(http: Http, base: Url, clock: Clock) -> Self {
        Self { http, base, clock }
    }
}

#[async_trait]
impl Provider for Twilio {
    fn proofs<'a>(&self, instance: &'a WabaInstance, now: Millis) -> Vec<Proof<'a>> {
        let _ = now;
        let secret = instance.twilio.as_ref().and_then(|it| it.auth_token.as_ref());
        let scheme = Scheme::Twilio("x-twilio-signature");
        secret.map(|secret| Proof { instance: &instance.id, scheme, secret }).into_iter().collect()
    }

    fn parse(
        &self,
        _hook: &Webhook<Verified>,
        _secrets: &[&SecretString],
    ) -> Result<Parsed, Unreadable> {
        let _ = (&self.http, &self.base, &self.clock);
        Err(Unreadable { line: 1, column: 1 })
    }

    fn limit(&self, _instance: &WabaInstance) -> Limit {
        Limit::TWILIO
    }

    fn text_limits(&self) -> TextLimits {
        TEXT_LIMITS
    }

    fn check(&self, _content: &Content) -> Result<(), Unsendable> {
        Ok(())
    }

    async fn send(&self, _instance: &WabaInstance, _message: &Outgoing<'_>) -> Attempt {
        let refusal = Refusal::FailOver(Reason::Unsupported);
        Attempt::of(Outcome::Refused(refusal), "unsupported_content")
    }

    async fn ask(&self, _instance: &WabaInstance, _question: &Question<'_>) -> Found {
        Found::default()
    }

    async fn health(&self, _instance: &WabaInstance) -> Result<Health, NoAnswer> {
        Err(NoAnswer)
    }

    async fn mark_read(
        &self,
        _instance: &WabaInstance,
        _message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        Err(NoAnswer)
    }

    async fn typing(
        &self,
        _instance: &WabaInstance,
        _to: &Address,
        _message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        Err(NoAnswer)
    }
}

#[async_trait]
impl Hooks for Twilio {
    async fn set_webhook(
        &self,
        _instance: &WabaInstance,
        _hook: &NewHook<'_>,
    ) -> Result<HookSet, HookFault> {
        Err(HookFault::NoAnswer)
    }
}
