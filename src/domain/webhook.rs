//! A provider's webhook: bytes that prove themselves before anybody reads them.

mod twilio;
mod unipile;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{
    clock::Millis,
    id::InstanceId,
    secret::{ExposeSecret, SecretString, same},
};

/// Bytes in an HMAC-SHA256.
const MAC_BYTES: usize = 32;

/// Headers and body of a webhook, as they came.
pub struct Webhook<S> {
    headers: Headers,
    /// The address it came to, as its sender knows it.
    url: String,
    body: Bytes,
    state: S,
}

/// Nobody has checked who sent it.
pub struct Unverified;

/// It was signed with a secret of one instance. Only [`Webhook::verify`] makes one.
pub struct Verified {
    instance: InstanceId,
}

/// The headers of a webhook, names in lower case.
#[derive(Clone)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// A header's value, when it is there exactly once.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|it| it.0 == name);
        let first = found.next()?;
        found.next().is_none().then_some(first.1.as_str())
    }

    /// Whether this could still be proven by one of `proofs`, now that only the headers are
    /// known. It spares us the bodies of strangers.
    #[must_use]
    pub fn claim(&self, proofs: &[Proof<'_>]) -> Claim {
        let signed = |is_signed: bool| if is_signed { Claim::Signed } else { Claim::Nothing };
        let claims = proofs.iter().map(|proof| match proof.scheme {
            Scheme::HmacHex(header) => signed(self.only(header).and_then(mac_of_hex).is_some()),
            Scheme::Twilio(header) => signed(self.only(header).and_then(twilio::mac).is_some()),
            Scheme::UnipileV2 { header, now } => {
                signed(self.only(header).and_then(|it| unipile::stamp(it, now)).is_some())
            }
            Scheme::Secret(header) if self.holds_secret(header, proof.secret) => Claim::Proven,
            Scheme::Secret(_) => Claim::Nothing,
        });
        // All of them, so that the time taken does not tell which it was.
        claims.max().unwrap_or(Claim::Nothing)
    }

    fn holds_secret(&self, header: &str, secret: &SecretString) -> bool {
        let secret = secret.expose_secret();
        let given = self.only(header).unwrap_or_default();
        !secret.is_empty() & same(given.as_bytes(), secret.as_bytes())
    }
}

/// What the headers of a webhook alone can say for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// Nothing could prove it.
    Nothing,
    /// There is a signature, which the body will bear out or not.
    Signed,
    /// They hold the secret itself.
    Proven,
}

/// One way in which one instance's webhooks may prove themselves.
pub struct Proof<'a> {
    /// The instance it would prove.
    pub instance: &'a InstanceId,
    /// How.
    pub scheme: Scheme,
    /// With what.
    pub secret: &'a SecretString,
}

/// How a webhook proves itself, and in which header (lower case).
#[derive(Clone, Copy)]
pub enum Scheme {
    /// Hexadecimal HMAC-SHA256 of the raw body, with or without `sha256=`.
    HmacHex(&'static str),
    /// The secret itself.
    Secret(&'static str),
    /// HMAC-SHA1 of the address and the form's fields (`docs/wire/meta-unipile-twilio.md` E3).
    Twilio(&'static str),
    /// HMAC-SHA256 of a time and the raw body (`docs/wire/meta-unipile-twilio.md` D5).
    UnipileV2 {
        /// The header.
        header: &'static str,
        /// What is much older or newer than this is not believed.
        now: Millis,
    },
}

/// The webhook is not proven. It does not say why: a stranger learns nothing from it.
#[derive(Debug, thiserror::Error)]
#[error("not proven")]
pub struct NotProven;

impl Webhook<Unverified> {
    /// A webhook as it came, to this public address.
    #[must_use]
    pub fn new(headers: Headers, url: String, body: Bytes) -> Self {
        Self { headers, url, body, state: Unverified }
    }

    /// Proves who sent it. Every proof is tried, so that the time taken does not tell which
    /// instance it was.
    ///
    /// # Errors
    ///
    /// [`NotProven`] when none of them holds.
    pub fn verify(self, proofs: &[Proof<'_>]) -> Result<Webhook<Verified>, NotProven> {
        let mut proven = None;
        for proof in proofs {
            if self.holds(proof) && proven.is_none() {
                proven = Some(proof.instance.clone());
            }
        }
        let instance = proven.ok_or(NotProven)?;
        let state = Verified { instance };
        Ok(Webhook { headers: self.headers, url: self.url, body: self.body, state })
    }
}

impl<S> Webhook<S> {
    fn holds(&self, proof: &Proof<'_>) -> bool {
        match proof.scheme {
            Scheme::HmacHex(header) => self.has_mac(header, proof.secret),
            Scheme::Secret(header) => self.headers.holds_secret(header, proof.secret),
            Scheme::Twilio(header) => {
                let given = self.headers.only(header).and_then(twilio::mac);
                given.is_some_and(|it| twilio::is_signed(&self.url, &self.body, proof.secret, &it))
            }
            Scheme::UnipileV2 { header, now } => {
                let given = self.headers.only(header).and_then(|it| unipile::stamp(it, now));
                given.is_some_and(|it| unipile::is_signed(&self.body, proof.secret, &it))
            }
        }
    }

    fn has_mac(&self, header: &str, secret: &SecretString) -> bool {
        let secret = secret.expose_secret();
        let Some(given) = self.headers.only(header).and_then(mac_of_hex) else { return false };
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .expect("HMAC takes a key of any length");
        mac.update(&self.body);
        let is_same: bool = mac.finalize().into_bytes().as_slice().ct_eq(&given).into();
        !secret.is_empty() & is_same
    }
}

impl Webhook<Verified> {
    /// The instance whose secret proved it.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.state.instance
    }

    /// Whether one of these proofs holds too: some providers send what is for several numbers
    /// together, and sign it once.
    #[must_use]
    pub fn is_proven_by(&self, proofs: &[Proof<'_>]) -> bool {
        proofs.iter().any(|it| self.holds(it))
    }

    /// The address it came to, as its sender knows it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The raw body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

fn mac_of_hex(text: &str) -> Option<[u8; MAC_BYTES]> {
    let text = text.trim();
    let text = match text.get(..7) {
        Some(prefix) if prefix.eq_ignore_ascii_case("sha256=") => &text[7..],
        _ => text,
    };
    let mut mac = [0; MAC_BYTES];
    hex::decode_to_slice(text, &mut mac).ok().map(|()| mac)
}
