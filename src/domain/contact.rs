//! The customer, as far as a provider lets us know them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::phone::PhoneNumber;

/// WhatsApp's hidden id of a person: the digits before `@lid`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lid(String);

impl Lid {
    /// Reads `111122223333444@lid`, with or without a device (`…:3@lid`).
    #[must_use]
    pub fn from_wire(jid: &str) -> Option<Self> {
        let user = jid.strip_suffix("@lid")?;
        let user = user.split_once(':').map_or(user, |it| it.0);
        let good = (1..=32).contains(&user.len()) && user.bytes().all(|it| it.is_ascii_digit());
        good.then(|| Self(user.to_owned()))
    }

    /// The digits. Never log them.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Lid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lid(…)")
    }
}

/// WhatsApp's id of a person for one business portfolio, of those who show no number:
/// `US.13491208655302741918` (`docs/wire/meta-unipile-twilio.md` A10).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bsuid(String);

/// The longest one that is believed.
const BSUID_CHARS_MAX: usize = 128;

impl Bsuid {
    /// Reads two capital letters, a dot, perhaps `ENT.`, and letters and digits.
    #[must_use]
    pub fn from_wire(id: &str) -> Option<Self> {
        let (country, rest) = id.split_once('.')?;
        let rest = rest.strip_prefix("ENT.").unwrap_or(rest);
        let is_country = country.len() == 2 && country.bytes().all(|it| it.is_ascii_uppercase());
        let is_id = !rest.is_empty() && rest.bytes().all(|it| it.is_ascii_alphanumeric());
        (is_country && is_id && id.len() <= BSUID_CHARS_MAX).then(|| Self(id.to_owned()))
    }

    /// As it came. Never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Bsuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bsuid(…)")
    }
}

/// The ways in which one event names the customer. At least one is present for a private chat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Their phone number, where the provider tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<PhoneNumber>,
    /// Their hidden id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lid: Option<Lid>,
    /// Their id for the vendor's business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bsuid: Option<Bsuid>,
}

impl Address {
    /// A customer known by phone.
    #[must_use]
    pub fn phone(phone: PhoneNumber) -> Self {
        Self { phone: Some(phone), ..Self::default() }
    }

    /// Whether it names nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.phone.is_none() && self.lid.is_none() && self.bsuid.is_none()
    }

    /// What the contact is found by, most telling first. Two forms of one number give one alias.
    #[must_use]
    pub fn aliases(&self) -> Vec<String> {
        let phone = self.phone.as_ref().map(|it| format!("p{}", it.alias()));
        let lid = self.lid.as_ref().map(|it| format!("l{}", it.digits()));
        let bsuid = self.bsuid.as_ref().map(|it| format!("b{}", it.expose()));
        phone.into_iter().chain(lid).chain(bsuid).collect()
    }
}
