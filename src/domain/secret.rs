//! Secrets as they travel through the program: they do not print, and are wiped when dropped.

pub use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Whether two secrets are the same, in a time that tells nothing of where they differ.
#[must_use]
pub fn same(left: &[u8], right: &[u8]) -> bool {
    Sha256::digest(left).ct_eq(&Sha256::digest(right)).into()
}

/// A secret of nothing but blanks is none.
#[must_use]
pub fn unless_blank(secret: SecretString) -> Option<SecretString> {
    Some(secret).filter(|it| !it.expose_secret().trim().is_empty())
}

/// A tail by which its owner recognises a secret: the last four characters of one that is long
/// enough for that to give nothing away.
#[must_use]
pub fn masked(secret: &SecretString) -> String {
    let text = secret.expose_secret();
    let n_chars = text.chars().count();
    if n_chars < 16 {
        return "…".to_owned();
    }
    let tail: String = text.chars().skip(n_chars - 4).collect();
    format!("…{tail}")
}

/// `text` with every known secret replaced, so that what a provider says can be kept and shown.
#[must_use]
pub fn without(text: &str, secrets: &[&SecretString]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().map(|it| it.expose_secret()).filter(|it| it.len() >= 4) {
        if text.contains(secret) {
            text = text.replace(secret, "[secret]");
        }
    }
    text
}
