//! An instance's accounts at Meta, Unipile and Twilio, and the order of the ways out: changed.

use super::{MetaAccount, TwilioAccount, UnipileAccount, read_dsn};
use crate::domain::{
    phone::PhoneNumber,
    route::{ProviderKind, Routes},
    secret::{ExposeSecret, SecretString},
    waba::WabaInstance,
};

/// The longest id, in characters; no provider's is nearly as long.
const ID_CHARS_MAX: usize = 128;
/// The longest credential, in characters.
const SECRET_CHARS_MAX: usize = 4_096;

/// What of an account cannot be as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct AccountFault {
    /// Which field, like `meta.phoneNumberId`.
    pub field: &'static str,
    /// Why. It quotes no value, which may be a secret.
    pub why: String,
}

/// What to change of an instance's ways out. `None` leaves it as it is; `Some(None)` takes it away.
#[derive(Default)]
pub struct AccountsChange {
    /// Who carries its messages.
    pub provider: Option<ProviderKind>,
    /// Who does when that one cannot.
    pub failover: Option<Routes>,
    /// The account at Meta.
    pub meta: Option<Option<MetaChange>>,
    /// The account at Unipile.
    pub unipile: Option<Option<UnipileChange>>,
    /// The account at Twilio.
    pub twilio: Option<Option<TwilioChange>>,
}

/// What to change of an account at Meta; what is absent stays.
#[derive(Default)]
pub struct MetaChange {
    /// The number's id.
    pub phone_number_id: Option<String>,
    /// The business account's id.
    pub waba_id: Option<String>,
    /// What sends.
    pub access_token: Option<SecretString>,
    /// What webhooks are signed with.
    pub app_secret: Option<SecretString>,
    /// What the handshake names.
    pub verify_token: Option<SecretString>,
    /// The number, where it is another than the instance's; as somebody typed it.
    pub phone_number: Option<String>,
}

/// What to change of an account at Unipile; what is absent stays.
#[derive(Default)]
pub struct UnipileChange {
    /// The account's id.
    pub account_id: Option<String>,
    /// What asks and sends.
    pub api_key: Option<SecretString>,
    /// The base of its API.
    pub dsn: Option<String>,
    /// What proves its webhooks.
    pub webhook_secret: Option<SecretString>,
    /// The number, where it is another than the instance's; as somebody typed it.
    pub phone_number: Option<String>,
}

/// What to change of an account at Twilio; what is absent stays.
#[derive(Default)]
pub struct TwilioChange {
    /// The account's id.
    pub account_sid: Option<String>,
    /// What asks, sends and signs.
    pub auth_token: Option<SecretString>,
    /// The sender's number; as somebody typed it, `whatsapp:` in front or not.
    pub from: Option<String>,
    /// The service that chooses the sender.
    pub messaging_service_sid: Option<String>,
}

impl AccountsChange {
    /// Applies it.
    ///
    /// # Errors
    ///
    /// The first fault; the instance is then to be thrown away.
    pub fn apply(self, instance: &mut WabaInstance) -> Result<(), AccountFault> {
        let own = instance.phone_number.clone();
        change(&mut instance.meta, self.meta, |it, account| it.apply(account, &own))?;
        change(&mut instance.unipile, self.unipile, |it, account| it.apply(account, &own))?;
        change(&mut instance.twilio, self.twilio, |it, account| it.apply(account, &own))?;
        if let Some(kind) = self.provider {
            instance.provider = kind;
        }
        if let Some(routes) = self.failover {
            instance.failover = routes;
        }
        instance.failover =
            instance.failover.iter().filter(|it| *it != instance.provider).collect();
        let all = std::iter::once(instance.provider).chain(instance.failover.iter());
        for kind in all {
            if !instance.has(kind) {
                return Err(fault(kind.as_str(), "is missing; it is the number's account there"));
            }
        }
        Ok(())
    }
}

fn change<A: Default, C>(
    known: &mut Option<Box<A>>,
    change: Option<Option<C>>,
    apply: impl FnOnce(C, &mut A) -> Result<(), AccountFault>,
) -> Result<(), AccountFault> {
    match change {
        None => Ok(()),
        Some(None) => {
            *known = None;
            Ok(())
        }
        Some(Some(change)) => apply(change, known.get_or_insert_default()),
    }
}

impl MetaChange {
    fn apply(self, account: &mut MetaAccount, own: &PhoneNumber) -> Result<(), AccountFault> {
        let is_number = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
        set_id(
            "meta.phoneNumberId",
            &mut account.phone_number_id,
            self.phone_number_id,
            is_number,
        )?;
        if let Some(id) = self.waba_id {
            let waba_id = account.waba_id.get_or_insert_default();
            set_id("meta.wabaId", waba_id, Some(id), is_number)?;
        }
        set_secret("meta.accessToken", &mut account.access_token, self.access_token)?;
        set_secret("meta.appSecret", &mut account.app_secret, self.app_secret)?;
        set_secret("meta.verifyToken", &mut account.verify_token, self.verify_token)?;
        set_number("meta.phoneNumber", &mut account.phone_number, self.phone_number, own)
    }
}

impl UnipileChange {
    fn apply(self, account: &mut UnipileAccount, own: &PhoneNumber) -> Result<(), AccountFault> {
        set_id("unipile.accountId", &mut account.account_id, self.account_id, is_word)?;
        set_secret("unipile.apiKey", &mut account.api_key, self.api_key)?;
        set_secret("unipile.webhookSecret", &mut account.webhook_secret, self.webhook_secret)?;
        if let Some(dsn) = self.dsn {
            let url = read_dsn(&dsn).ok_or_else(|| {
                fault("unipile.dsn", "is like https://api1.unipile.com:13111/api/v1")
            })?;
            account.dsn = Some(url.as_str().trim_end_matches('/').to_owned());
        }
        set_number("unipile.phoneNumber", &mut account.phone_number, self.phone_number, own)
    }
}

impl TwilioChange {
    fn apply(self, account: &mut TwilioAccount, own: &PhoneNumber) -> Result<(), AccountFault> {
        let is_account = |it: &str| it.starts_with("AC") && is_word(it);
        set_id("twilio.accountSid", &mut account.account_sid, self.account_sid, is_account)?;
        set_secret("twilio.authToken", &mut account.auth_token, self.auth_token)?;
        if let Some(id) = self.messaging_service_sid {
            let service = account.messaging_service_sid.get_or_insert_default();
            let is_service = |it: &str| it.starts_with("MG") && is_word(it);
            set_id("twilio.messagingServiceSid", service, Some(id), is_service)?;
        }
        let from = self.from.map(|it| match it.trim().strip_prefix("whatsapp:") {
            Some(number) => number.to_owned(),
            None => it,
        });
        set_number("twilio.from", &mut account.from, from, own)
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'))
}

fn fault(field: &'static str, why: impl Into<String>) -> AccountFault {
    AccountFault { field, why: why.into() }
}

fn set_id(
    field: &'static str,
    known: &mut String,
    new: Option<String>,
    is_fine: impl Fn(&str) -> bool,
) -> Result<(), AccountFault> {
    if let Some(new) = new {
        new.trim().clone_into(known);
    }
    if known.is_empty() {
        return Err(fault(field, "is missing"));
    }
    if known.len() > ID_CHARS_MAX || !is_fine(known) {
        return Err(fault(field, "is not an id of this provider's"));
    }
    Ok(())
}

/// A credential with a line break or a space in it is none: it was copied with what is around it.
fn set_secret(
    field: &'static str,
    known: &mut Option<SecretString>,
    new: Option<SecretString>,
) -> Result<(), AccountFault> {
    let Some(new) = new else { return Ok(()) };
    let text = new.expose_secret();
    let is_fine = (1..=SECRET_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_graphic());
    if !is_fine {
        return Err(fault(field, format!("has 1 to {SECRET_CHARS_MAX} characters and no spaces")));
    }
    *known = Some(new);
    Ok(())
}

/// The instance's own number need not be kept twice.
fn set_number(
    field: &'static str,
    known: &mut Option<PhoneNumber>,
    new: Option<String>,
    own: &PhoneNumber,
) -> Result<(), AccountFault> {
    let Some(new) = new else { return Ok(()) };
    let number = PhoneNumber::from_person(&new, Some(own));
    let number = number.map_err(|it| fault(field, it.to_string()))?;
    *known = Some(number).filter(|it| it.alias() != own.alias());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_it_is_shown_and_kept_as_it_is_called() {
        let own = PhoneNumber::from_wire("221770000001").unwrap();
        for (told, kept) in [
            ("api1.unipile.com:13111", Some("https://api1.unipile.com:13111")),
            (
                " https://api1.unipile.com:13111/api/v1/ ",
                Some("https://api1.unipile.com:13111/api/v1"),
            ),
            ("http://127.0.0.1:1/v2", Some("http://127.0.0.1:1/v2")),
            ("ftp://api1.unipile.com", None),
            ("https://somebody@api1.unipile.com", None),
            ("https://api1.unipile.com/?key=1", None),
            ("", None),
        ] {
            let mut account = UnipileAccount::default();
            let id = Some("a".to_owned());
            let dsn = Some(told.to_owned());
            let change = UnipileChange { account_id: id, dsn, ..UnipileChange::default() };
            let end = change.apply(&mut account, &own).map_err(|it| it.field);
            assert_eq!(end, kept.map(|_| ()).ok_or("unipile.dsn"), "{told}");
            assert_eq!(account.dsn.as_deref(), kept);
        }
    }
}
