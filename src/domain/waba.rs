//! A WABA instance: one WhatsApp number of a vendor and what is needed to speak for it.

pub use super::{
    account::{MetaAccount, TwilioAccount, UnipileAccount},
    route::{ProviderKind, Routes},
};
use super::{
    clock::{HOUR, Millis},
    event::Connection,
    id::{InstanceId, VendorId},
    phone::PhoneNumber,
    secret::{ExposeSecret, SecretString, same},
};

/// The most instances one vendor may have.
pub const INSTANCES_PER_VENDOR_MAX: usize = 32;

/// One WhatsApp number of a vendor.
#[derive(Clone, Debug)]
pub struct WabaInstance {
    /// Its id.
    pub id: InstanceId,
    /// Whose it is.
    pub vendor_id: VendorId,
    /// The number messages leave from.
    pub phone_number: PhoneNumber,
    /// Who carries its messages.
    pub provider: ProviderKind,
    /// Who does when that one cannot, in this order.
    pub failover: Routes,
    /// What the provider last said of its session.
    pub status: Connection,
    /// How its webhooks may prove themselves.
    pub schemes: SignatureSchemes,
    /// The provider throttles it to one message in 5 seconds.
    pub account_protection: bool,
    /// Its account at Wasender.
    pub wasender: WasenderAccount,
    /// Its account at Meta.
    pub meta: Option<Box<MetaAccount>>,
    /// Its account at Unipile.
    pub unipile: Option<Box<UnipileAccount>>,
    /// Its account at Twilio.
    pub twilio: Option<Box<TwilioAccount>>,
    /// When it was created.
    pub created_at: Millis,
    /// When its settings were last changed.
    pub updated_at: Millis,
    /// When the provider was last heard of.
    pub last_sync: Option<Millis>,
}

/// How a webhook may prove itself (`docs/CONTRACT.md` §1, "Two webhook dialects").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureSchemes {
    /// `X-Wasender-Signature`: HMAC-SHA256 of the raw body.
    pub hmac: bool,
    /// `X-Webhook-Signature`: the secret itself.
    pub secret: bool,
}

impl Default for SignatureSchemes {
    fn default() -> Self {
        Self { hmac: true, secret: true }
    }
}

/// What Wasender gave the vendor for one session.
#[derive(Clone, Debug, Default)]
pub struct WasenderAccount {
    /// The session's number at Wasender.
    pub instance_id: Option<String>,
    /// The session's own API key; the only key that may send from its number.
    pub session_key: Option<SecretString>,
    /// Secrets its webhooks are proven by, the newest first.
    pub webhook_secrets: Vec<WebhookSecret>,
    /// A personal access token of the vendor's own account; without it the operator's is used.
    pub token: Option<SecretString>,
}

/// A webhook secret and how long it is good for.
#[derive(Clone, Debug)]
pub struct WebhookSecret {
    /// The secret.
    pub secret: SecretString,
    /// Until when it is accepted; `None` is for ever.
    pub until: Option<Millis>,
    /// The session's own, as Wasender told it: what its webhooks really carry.
    pub is_sessions: bool,
}

/// How long a replaced secret is still accepted (`docs/CONTRACT.md` §1).
pub const OLD_SECRET_LASTS: Millis = 24 * HOUR;

impl WebhookSecret {
    fn is(&self, secret: &SecretString) -> bool {
        same(self.secret.expose_secret().as_bytes(), secret.expose_secret().as_bytes())
    }

    fn expire(&mut self, until: Millis) {
        self.until = Some(self.until.map_or(until, |it| it.min(until)));
    }
}

impl WasenderAccount {
    /// The secrets accepted at this time. An empty one is none: anyone can sign with it.
    pub fn secrets_at(&self, now: Millis) -> impl Iterator<Item = &SecretString> {
        let live =
            self.webhook_secrets.iter().filter(move |it| it.until.is_none_or(|until| now < until));
        live.map(|it| &it.secret).filter(|it| !it.expose_secret().is_empty())
    }

    /// Makes `secret` the one for good and keeps the others until `until`; what the session really
    /// sends stays good. Whether that changed anything.
    pub fn adopt_secret(&mut self, secret: SecretString, until: Millis) -> bool {
        let is_same = |it: &WebhookSecret| it.is(&secret);
        if self.webhook_secrets.first().is_some_and(|it| is_same(it) && it.until.is_none()) {
            return false;
        }
        let is_sessions = self.webhook_secrets.iter().any(|it| is_same(it) && it.is_sessions);
        self.webhook_secrets.retain(|it| !is_same(it));
        for old in self.webhook_secrets.iter_mut().filter(|it| !it.is_sessions) {
            old.expire(until);
        }
        self.webhook_secrets.insert(0, WebhookSecret { secret, until: None, is_sessions });
        true
    }

    /// Keeps the session's own secret beside the others, and a former one of the session's until
    /// `until`. Whether that changed anything.
    pub fn keep_session_secret(&mut self, secret: &SecretString, until: Millis) -> bool {
        let known = self.webhook_secrets.iter().find(|it| it.is(secret));
        if known.is_some_and(|it| it.is_sessions && it.until.is_none()) {
            return false;
        }
        for former in self.webhook_secrets.iter_mut().filter(|it| it.is_sessions && !it.is(secret))
        {
            former.is_sessions = false;
            former.expire(until);
        }
        match self.webhook_secrets.iter_mut().find(|it| it.is(secret)) {
            Some(known) => (known.is_sessions, known.until) = (true, None),
            None => {
                let secret = secret.clone();
                self.webhook_secrets.push(WebhookSecret { secret, until: None, is_sessions: true });
            }
        }
        true
    }

    /// Everything that must never be shown.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        let hooks = self.webhook_secrets.iter().map(|it| &it.secret);
        hooks.chain(&self.session_key).chain(&self.token)
    }
}

impl WabaInstance {
    /// What the instance may be found by, besides its own id and its vendor's.
    #[must_use]
    pub fn keys(&self) -> Vec<InstanceKey> {
        let mut keys = vec![InstanceKey::Phone(self.phone_number.alias())];
        keys.extend(self.wasender.instance_id.clone().map(InstanceKey::Wasender));
        let others = ProviderKind::ALL.into_iter().filter_map(|it| self.number_at(it));
        for phone in others.map(|it| InstanceKey::Phone(it.alias())) {
            if !keys.contains(&phone) {
                keys.push(phone);
            }
        }
        keys.extend(self.meta.iter().map(|it| InstanceKey::Meta(it.phone_number_id.clone())));
        keys.extend(self.unipile.iter().map(|it| InstanceKey::Unipile(it.account_id.clone())));
        keys
    }

    /// Whether it has an account at this provider.
    #[must_use]
    pub fn has(&self, kind: ProviderKind) -> bool {
        match kind {
            // The first one needs no block of its own.
            ProviderKind::Wasender => {
                self.provider == kind
                    || self.wasender.instance_id.is_some()
                    || self.wasender.session_key.is_some()
            }
            ProviderKind::Meta => self.meta.is_some(),
            ProviderKind::Unipile => self.unipile.is_some(),
            ProviderKind::Twilio => self.twilio.is_some(),
        }
    }

    /// The providers that its messages may go through, in the order in which they are tried.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let all = std::iter::once(self.provider).chain(self.failover.iter());
        all.filter(|it| self.has(*it)).collect()
    }

    /// Whether it has what it takes to send through this provider.
    #[must_use]
    pub fn can_send(&self, kind: ProviderKind) -> bool {
        match kind {
            ProviderKind::Wasender => self.wasender.session_key.is_some(),
            ProviderKind::Meta => self.meta.as_ref().is_some_and(|it| it.access_token.is_some()),
            ProviderKind::Unipile => self.unipile.as_ref().is_some_and(|it| it.api_key.is_some()),
            ProviderKind::Twilio => self.twilio.as_ref().is_some_and(|it| it.auth_token.is_some()),
        }
    }

    /// Those of its providers that it has what it takes to send through, in their order.
    #[must_use]
    pub fn ways(&self) -> Routes {
        self.routes().iter().filter(|it| self.can_send(*it)).collect()
    }

    /// The number that customers see where a provider has another than the instance's.
    #[must_use]
    pub fn number_at(&self, kind: ProviderKind) -> Option<&PhoneNumber> {
        match kind {
            ProviderKind::Wasender => None,
            ProviderKind::Meta => self.meta.as_ref()?.phone_number.as_ref(),
            ProviderKind::Unipile => self.unipile.as_ref()?.phone_number.as_ref(),
            ProviderKind::Twilio => self.twilio.as_ref()?.from.as_ref(),
        }
    }

    /// Gives it another number. Accounts that had the former one as their own keep it: no provider
    /// moves a number because we do.
    pub fn renumber(&mut self, number: PhoneNumber) {
        let former = std::mem::replace(&mut self.phone_number, number);
        if former.alias() == self.phone_number.alias() {
            return;
        }
        let meta = self.meta.as_mut().map(|it| &mut it.phone_number);
        let unipile = self.unipile.as_mut().map(|it| &mut it.phone_number);
        let twilio = self.twilio.as_mut().map(|it| &mut it.from);
        for known in [meta, unipile, twilio].into_iter().flatten() {
            let its = known.take().unwrap_or_else(|| former.clone());
            *known = Some(its).filter(|it| it.alias() != self.phone_number.alias());
        }
    }

    /// Whether another account is of the same phone, as linked devices are, and a number at Meta that
    /// is still used on a phone: both are told what customers write and what is typed there, each
    /// under ids of its own.
    #[must_use]
    pub fn is_told_twice(&self, by: ProviderKind) -> bool {
        let is_device = |it: ProviderKind| {
            matches!(it, ProviderKind::Wasender | ProviderKind::Unipile | ProviderKind::Meta)
                && self.has(it)
        };
        let number = |it| self.number_at(it).unwrap_or(&self.phone_number).alias();
        let is_other = |it: ProviderKind| it != by && is_device(it) && number(it) == number(by);
        is_device(by) && ProviderKind::ALL.into_iter().any(is_other)
    }

    /// Everything that must never be shown.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        let meta = self.meta.iter().flat_map(|it| it.secrets());
        let unipile = self.unipile.iter().flat_map(|it| it.secrets());
        let twilio = self.twilio.iter().flat_map(|it| it.secrets());
        self.wasender.secrets().chain(meta).chain(unipile).chain(twilio)
    }
}

/// One of the keys an instance is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InstanceKey {
    /// A number of it, by [`PhoneNumber::alias`].
    Phone(String),
    /// Its id at Wasender.
    Wasender(String),
    /// Its phone number id at Meta.
    Meta(String),
    /// Its account's id at Unipile.
    Unipile(String),
}

impl InstanceKey {
    /// What kind of key it is, and the key: together they are found under a keyed hash.
    #[must_use]
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Phone(it) => ("phone", it),
            Self::Wasender(it) => ("wasender", it),
            Self::Meta(it) => ("meta", it),
            Self::Unipile(it) => ("unipile", it),
        }
    }

    /// The field that callers know it by.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::Phone(_) => "phoneNumber",
            Self::Wasender(_) => "wasenderInstanceId",
            Self::Meta(_) => "metaPhoneNumberId",
            Self::Unipile(_) => "unipileAccountId",
        }
    }
}
