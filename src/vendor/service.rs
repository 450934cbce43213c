//! Everything the gateway can do for one vendor.

use std::sync::Arc;

use url::Url;

use crate::{
    domain::{
        clock::{Clock, Millis},
        delivery::Policy,
        id::InstanceId,
        secret::SecretString,
        vendor::{ResponderConfig, Vendor},
        waba::WabaInstance,
        webhook::{Headers, NotProven, Proof, Unverified, Verified, Webhook},
    },
    http::{Http, Trust},
    provider::{Parsed, Provider, Providers, Unreadable},
    responder::{Responder, ResponderError, ResponseApiResponder, RulesResponder, SigningKey},
};

/// What services are made of.
#[derive(Clone)]
pub struct Parts {
    /// The providers.
    pub providers: Providers,
    /// The way out.
    pub http: Http,
    /// The time.
    pub clock: Clock,
    /// Responder of vendors that have none of their own, and the key its calls are signed with.
    pub default_responder: Option<(Url, Option<SecretString>)>,
}

/// Everything the gateway can do for one vendor: verify and parse its webhooks, answer its
/// customers, send from its numbers.
pub struct VendorService {
    vendor: Vendor,
    instances: Vec<Arc<WabaInstance>>,
    responders: Vec<Result<Box<dyn Responder>, ResponderError>>,
    providers: Providers,
    clock: Clock,
}

impl VendorService {
    pub(super) fn new(vendor: Vendor, instances: Vec<Arc<WabaInstance>>, parts: &Parts) -> Self {
        let responders = responders(&vendor, parts);
        let (providers, clock) = (parts.providers.clone(), parts.clock.clone());
        Self { vendor, instances, responders, providers, clock }
    }

    /// The vendor.
    #[must_use]
    pub fn vendor(&self) -> &Vendor {
        &self.vendor
    }

    /// Its instances, oldest first.
    #[must_use]
    pub fn instances(&self) -> &[Arc<WabaInstance>] {
        &self.instances
    }

    /// One of its instances.
    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> Option<&Arc<WabaInstance>> {
        self.instances.iter().find(|it| it.id == *id)
    }

    /// Its responders, in the order in which they are tried. One whose configuration is unusable
    /// fails when it is asked.
    pub fn responders(&self) -> &[Result<Box<dyn Responder>, ResponderError>] {
        &self.responders
    }

    /// Whether a webhook with these headers could be proven at all.
    #[must_use]
    pub fn may_prove(&self, headers: &Headers) -> bool {
        headers.may_prove(&self.proofs())
    }

    /// Whether these headers hold the secret of one of the vendor's instances.
    #[must_use]
    pub fn is_proven(&self, headers: &Headers) -> bool {
        headers.hold_secret(&self.proofs())
    }

    /// Proves a webhook with the secrets of all instances; the one that proves it is named by the
    /// result.
    pub fn verify(&self, hook: Webhook<Unverified>) -> Result<Webhook<Verified>, NotProven> {
        hook.verify(&self.proofs())
    }

    /// Puts a webhook into our words.
    pub fn parse(&self, hook: &Webhook<Verified>) -> Result<Parsed, Unreadable> {
        let secrets = self.secrets();
        match self.instance(hook.instance()) {
            Some(instance) => self.provider(instance).parse(hook, &secrets),
            None => Ok(Parsed::default()),
        }
    }

    /// Everything that must not be kept in clear.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretString> {
        self.instances.iter().flat_map(|it| it.wasender.secrets()).collect()
    }

    /// The provider of an instance.
    #[must_use]
    pub fn provider(&self, instance: &WabaInstance) -> &dyn Provider {
        self.providers.of(instance.provider)
    }

    /// What the vendor has chosen for its sends.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            on_unknown: self.vendor.on_unknown,
            unknown_deadline: self.vendor.unknown_deadline,
            // Failover to another provider comes with the other providers.
            routes: 1,
        }
    }

    /// How long a message is worth sending: the vendor's choice, else this.
    #[must_use]
    pub fn ttl(&self, default: Millis) -> Millis {
        self.vendor.intent_ttl.unwrap_or(default)
    }

    fn proofs(&self) -> Vec<Proof<'_>> {
        let now = self.clock.now();
        self.instances.iter().flat_map(|it| self.provider(it).proofs(it, now)).collect()
    }
}

fn responders(vendor: &Vendor, parts: &Parts) -> Vec<Result<Box<dyn Responder>, ResponderError>> {
    let own = vendor.responders.iter().map(|it| match it {
        ResponderConfig::Rules { rules, otherwise } => {
            Ok(Box::new(RulesResponder::new(rules, otherwise.as_deref())) as Box<dyn Responder>)
        }
        ResponderConfig::ResponseApi(api) => {
            let key = SigningKey::new(vendor.signing_secret.clone());
            let at = (api.url.as_str(), Trust::Vendor);
            response_api(parts, at, &api.headers, key)
        }
    });
    let own: Vec<_> = own.collect();
    match &parts.default_responder {
        Some((url, key)) if own.is_empty() => {
            let key = key.clone().unwrap_or_else(|| vendor.signing_secret.clone());
            let at = (url.as_str(), Trust::Operator);
            vec![response_api(parts, at, &[], SigningKey::new(key))]
        }
        _ => own,
    }
}

fn response_api(
    parts: &Parts,
    at: (&str, Trust),
    headers: &[(String, SecretString)],
    key: SigningKey,
) -> Result<Box<dyn Responder>, ResponderError> {
    let (http, clock) = (parts.http.clone(), parts.clock.clone());
    Ok(Box::new(ResponseApiResponder::new(http, at, headers, key, clock)?))
}
