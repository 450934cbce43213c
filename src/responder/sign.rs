//! Standard Webhooks signatures (<https://www.standardwebhooks.com>, specification 1.0).

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::secret::{ExposeSecret, SecretString};

/// How a key is written.
const PREFIX: &str = "whsec_";

/// A key to sign with.
pub struct SigningKey(SecretString);

impl SigningKey {
    /// `whsec_` and base64, or any other text, whose bytes are the key.
    #[must_use]
    pub fn new(secret: SecretString) -> Self {
        Self(secret)
    }

    /// The `webhook-signature` of a message.
    #[must_use]
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let text = self.0.expose_secret();
        let decoded = text.strip_prefix(PREFIX).and_then(|it| STANDARD.decode(it).ok());
        let key = decoded.as_deref().unwrap_or(text.as_bytes());
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_implementation_agrees() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = br#"{"a":1}"#;
        // The oracle reads its own clock and refuses what is old, so it signs and we compare.
        let oracle = standardwebhooks::Webhook::new(secret).unwrap();
        let want = oracle.sign("msg_1", 1_700_000_000, body).unwrap();
        let key = SigningKey::new(secret.to_owned().into());
        assert_eq!(key.sign("msg_1", 1_700_000_000, body), want);
    }
}
