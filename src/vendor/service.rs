//! Everything the gateway can do for one vendor.

use std::sync::Arc;

use crate::{
    domain::{
        clock::Millis,
        delivery::Policy,
        id::InstanceId,
        known::Known,
        route::{ProviderKind, Routes},
        secret::SecretString,
        split::TextLimits,
        vendor::{Dialect, ResponderConfig, ResponseApi, Vendor},
        waba::WabaInstance,
        webhook::{Claim, Headers, NotProven, Proof, Unverified, Verified, Webhook},
    },
    http::Trust,
    provider::{Parsed, Provider, Providers, Unreadable},
    responder::{
        Means, Responder, ResponderError, ResponseApiResponder, RulesResponder, SigningKey,
    },
};

/// What services are made of.
#[derive(Clone)]
pub struct Parts {
    /// The providers.
    pub providers: Providers,
    /// What responders are called with.
    pub means: Means,
    /// Responder of vendors that have none of their own, and the key its calls are signed with. A
    /// chatbot without an id has the vendor's.
    pub default_responder: Option<(ResponseApi, Option<SecretString>)>,
}

/// A responder, or why it cannot be asked.
pub type Made = Result<Box<dyn Responder>, ResponderError>;

/// Everything the gateway can do for one vendor: verify and parse its webhooks, answer its
/// customers, send from its numbers.
pub struct VendorService {
    known: Arc<Known>,
    parts: Arc<Parts>,
}

impl VendorService {
    pub(super) fn new(known: Arc<Known>, parts: Arc<Parts>) -> Self {
        Self { known, parts }
    }

    /// The vendor.
    #[must_use]
    pub fn vendor(&self) -> &Vendor {
        &self.known.vendor
    }

    /// The store is away, and what is known may have changed since.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.known.is_copy
    }

    /// Its instances, oldest first.
    #[must_use]
    pub fn instances(&self) -> &[Arc<WabaInstance>] {
        &self.known.instances
    }

    /// One of its instances.
    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> Option<&Arc<WabaInstance>> {
        self.known.instance(id)
    }

    /// Its responders, in the order in which they are tried, made ready. One whose configuration
    /// is unusable is why. Out of hours there are others where the vendor has any.
    #[must_use]
    pub fn responders(&self, is_open: bool) -> Vec<Made> {
        let (vendor, parts) = (self.vendor(), &self.parts);
        let own = self.own_responders(is_open);
        if own.is_empty() {
            return default_responder(vendor, parts);
        }
        own.iter().map(|it| responder(vendor, it, parts)).collect()
    }

    /// Whether anybody would be asked.
    #[must_use]
    pub fn has_responders(&self, is_open: bool) -> bool {
        !self.own_responders(is_open).is_empty() || self.parts.default_responder.is_some()
    }

    fn own_responders(&self, is_open: bool) -> &[ResponderConfig] {
        let hours = self.vendor().hours.as_ref().filter(|_| !is_open);
        let out_of_hours = hours.map(|it| &it.out_of_hours).filter(|it| !it.is_empty());
        out_of_hours.unwrap_or(&self.vendor().responders)
    }

    /// Whether any of its responders looks at the turns before a message.
    #[must_use]
    pub fn needs_history(&self) -> bool {
        let vendor = self.vendor();
        let out_of_hours = vendor.hours.iter().flat_map(|it| &it.out_of_hours);
        let mut own = vendor.responders.iter().chain(out_of_hours);
        let uses_default = vendor.responders.is_empty() && self.parts.default_responder.is_some();
        uses_default || own.any(|it| matches!(it, ResponderConfig::ResponseApi(_)))
    }

    /// Whether the vendor is open at this time, by the clock where this instance's number is. One
    /// that has no business hours always is.
    #[must_use]
    pub fn is_open(&self, instance: &InstanceId, at: Millis) -> bool {
        let number = self.instance(instance).map(|it| &it.phone_number);
        let hours = self.vendor().hours.as_ref();
        hours.is_none_or(|it| it.is_open(&it.zone(number), at))
    }

    /// What these headers can say for a provider's webhook.
    #[must_use]
    pub fn claim(&self, by: ProviderKind, headers: &Headers) -> Claim {
        headers.claim(&self.proofs(by))
    }

    /// Proves a provider's webhook with the secrets of all instances; the one that proves it is
    /// named by the result.
    pub fn verify(
        &self,
        by: ProviderKind,
        hook: Webhook<Unverified>,
    ) -> Result<Webhook<Verified>, NotProven> {
        hook.verify(&self.proofs(by))
    }

    /// Whether the webhook is proven by this instance's secrets too.
    #[must_use]
    pub fn proves(
        &self,
        by: ProviderKind,
        hook: &Webhook<Verified>,
        instance: &WabaInstance,
    ) -> bool {
        let now = self.parts.means.clock.now();
        hook.is_proven_by(&self.parts.providers.of(by).proofs(instance, now))
    }

    /// Whether an instance of the vendor's has secrets of its own for a provider's webhooks.
    #[must_use]
    pub fn has_proof(&self, by: ProviderKind, instance: &WabaInstance) -> bool {
        let now = self.parts.means.clock.now();
        !self.parts.providers.of(by).proofs(instance, now).is_empty()
    }

    /// Puts a webhook into our words.
    pub fn parse(&self, by: ProviderKind, hook: &Webhook<Verified>) -> Result<Parsed, Unreadable> {
        self.parts.providers.of(by).parse(hook, &self.secrets())
    }

    /// Everything that must not be kept in clear.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretString> {
        self.instances().iter().flat_map(|it| it.secrets()).collect()
    }

    /// A provider.
    #[must_use]
    pub fn provider(&self, kind: ProviderKind) -> &dyn Provider {
        self.parts.providers.of(kind)
    }

    /// How long texts of this instance may be, whichever way they go.
    #[must_use]
    pub fn text_limits(&self, instance: &WabaInstance) -> TextLimits {
        let all = instance.routes().iter().map(|it| self.provider(it).text_limits());
        all.reduce(TextLimits::and)
            .unwrap_or_else(|| self.provider(instance.provider).text_limits())
    }

    /// What the vendor has chosen for sends that go this way.
    #[must_use]
    pub fn policy(&self, routes: Routes) -> Policy {
        Policy {
            on_unknown: self.vendor().on_unknown,
            unknown_deadline: self.vendor().unknown_deadline,
            routes,
        }
    }

    /// How long a message is worth sending: the vendor's choice, else this.
    #[must_use]
    pub fn ttl(&self, default: Millis) -> Millis {
        self.vendor().intent_ttl.unwrap_or(default)
    }

    fn proofs(&self, by: ProviderKind) -> Vec<Proof<'_>> {
        let (now, provider) = (self.parts.means.clock.now(), self.parts.providers.of(by));
        self.instances().iter().flat_map(|it| provider.proofs(it, now)).collect()
    }
}

fn responder(vendor: &Vendor, config: &ResponderConfig, parts: &Parts) -> Made {
    match config {
        ResponderConfig::Rules { rules, otherwise } => {
            Ok(Box::new(RulesResponder::new(rules, otherwise.as_deref())))
        }
        ResponderConfig::ResponseApi(api) => {
            let key = SigningKey::new(vendor.signing_secret.clone());
            response_api(vendor, api, Trust::Vendor, key, parts)
        }
    }
}

fn default_responder(vendor: &Vendor, parts: &Parts) -> Vec<Made> {
    let made = parts.default_responder.iter().map(|(api, key)| {
        let mut api = api.clone();
        if let Dialect::Conversation { chatbot_id, .. } = &mut api.dialect
            && chatbot_id.is_empty()
        {
            vendor.id.as_str().clone_into(chatbot_id);
        }
        let key = key.clone().unwrap_or_else(|| vendor.signing_secret.clone());
        response_api(vendor, &api, Trust::Operator, SigningKey::new(key), parts)
    });
    made.collect()
}

fn response_api(
    vendor: &Vendor,
    api: &ResponseApi,
    trust: Trust,
    key: SigningKey,
    parts: &Parts,
) -> Made {
    let means = parts.means.clone();
    Ok(Box::new(ResponseApiResponder::new(means, &vendor.id, api, trust, key)?))
}
