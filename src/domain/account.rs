//! What the other providers gave a vendor for one number.

mod change;

pub use self::change::{AccountFault, AccountsChange, MetaChange, TwilioChange, UnipileChange};
use url::Url;

use super::{phone::PhoneNumber, secret::SecretString};

/// A number at Meta's Cloud API.
#[derive(Clone, Debug, Default)]
pub struct MetaAccount {
    /// The number's id; what its webhooks are routed by.
    pub phone_number_id: String,
    /// The WhatsApp business account it belongs to.
    pub waba_id: Option<String>,
    /// What sends from it.
    pub access_token: Option<SecretString>,
    /// What its app's webhooks are signed with.
    pub app_secret: Option<SecretString>,
    /// What the handshake of its callback names.
    pub verify_token: Option<SecretString>,
    /// Its number, where that is not the instance's.
    pub phone_number: Option<PhoneNumber>,
}

/// A number that Unipile is linked to.
#[derive(Clone, Debug, Default)]
pub struct UnipileAccount {
    /// The account's id.
    pub account_id: String,
    /// What asks and sends.
    pub api_key: Option<SecretString>,
    /// The base of the API, where it has one of its own.
    pub dsn: Option<String>,
    /// What its webhooks carry, or are signed with.
    pub webhook_secret: Option<SecretString>,
    /// Its number, where that is not the instance's.
    pub phone_number: Option<PhoneNumber>,
}

/// A sender at Twilio.
#[derive(Clone, Debug, Default)]
pub struct TwilioAccount {
    /// The account's id, `AC…`.
    pub account_sid: String,
    /// What asks, sends, and signs its webhooks.
    pub auth_token: Option<SecretString>,
    /// Its number, where that is not the instance's.
    pub from: Option<PhoneNumber>,
    /// The service that chooses the sender, `MG…`.
    pub messaging_service_sid: Option<String>,
}

impl MetaAccount {
    /// Everything that must never be shown.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.access_token.iter().chain(&self.app_secret).chain(&self.verify_token)
    }
}

impl UnipileAccount {
    /// Everything that must never be shown.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.api_key.iter().chain(&self.webhook_secret)
    }

    /// Where its API is: at an address of its own, else at the operator's. `None`: its own cannot
    /// be read.
    #[must_use]
    pub fn base(&self, operators: &Url) -> Option<Url> {
        match self.own_dsn() {
            Some(dsn) => read_dsn(dsn),
            None => Some(operators.clone()),
        }
    }

    /// Whether it has an address of its own.
    #[must_use]
    pub fn has_own_base(&self) -> bool {
        self.own_dsn().is_some()
    }

    /// Whether its API is of the second generation (`docs/wire/meta-unipile-twilio.md` D5): its
    /// base ends in `/v2`.
    #[must_use]
    pub fn is_v2(&self, operators: &Url) -> bool {
        self.base(operators).is_some_and(|it| it.path().trim_end_matches('/').ends_with("/v2"))
    }

    fn own_dsn(&self) -> Option<&str> {
        self.dsn.as_deref().map(str::trim).filter(|it| !it.is_empty())
    }
}

/// Reads the address of an account's API. People write it without a scheme, as Unipile shows it.
fn read_dsn(text: &str) -> Option<Url> {
    let text = text.trim();
    let with_scheme =
        if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&with_scheme).ok();
    let url = url.filter(|it| matches!(it.scheme(), "https" | "http") && it.has_host());
    url.filter(|it| it.username().is_empty() && it.query().is_none())
}

impl TwilioAccount {
    /// Everything that must never be shown.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.auth_token.iter()
    }
}
