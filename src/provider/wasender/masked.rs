//! What is kept as it came: without the secrets that Wasender puts into its bodies
//! (`docs/wire/wasender.md` §3.1, §3.3, §4.2, §4.6, §5.1).

use std::{cmp::Reverse, mem};

use serde_json::Value;

use super::wire::{NAME_CHARS_MAX, mended};
use crate::domain::{
    event::What,
    message::Text,
    secret::{ExposeSecret, SecretString, without},
};

/// A run of this many digits may be a phone number.
const NUMBER_DIGITS_MIN: usize = 5;

/// A body that we have no words for.
pub(super) fn other(name: &str, body: &str, secrets: &[&SecretString]) -> serde_json::Result<What> {
    let secrets = longest_first(secrets);
    let tree = serde_json::from_str(body).or_else(|_| serde_json::from_str(&mended(body)));
    let mut tree: Value = tree?;
    mask(&mut tree, &secrets);
    // Once more, for numbers.
    let raw = Text(without(&tree.to_string(), &secrets));
    let name = without(name, &secrets).chars().take(NAME_CHARS_MAX).collect();
    Ok(What::Other { name, raw })
}

/// So that no secret leaves the tail of one that begins with it.
pub(super) fn longest_first<'a>(secrets: &[&'a SecretString]) -> Vec<&'a SecretString> {
    let mut secrets = secrets.to_vec();
    secrets.sort_by_key(|it| Reverse(it.expose_secret().len()));
    secrets
}

fn mask(tree: &mut Value, secrets: &[&SecretString]) {
    match tree {
        Value::String(text) => *text = without(text, secrets),
        Value::Array(items) => items.iter_mut().for_each(|it| mask(it, secrets)),
        Value::Object(fields) => {
            let masked = mem::take(fields).into_iter().map(|(key, mut value)| {
                if is_secret(&key) {
                    value = "[secret]".into();
                }
                mask(&mut value, secrets);
                (without(&key, secrets), value)
            });
            *fields = masked.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a field of this name is a secret, however it is spelt.
fn is_secret(key: &str) -> bool {
    let letters = key.chars().filter(char::is_ascii_alphanumeric);
    let name: String = letters.map(|it| it.to_ascii_lowercase()).collect();
    matches!(
        name.as_str(),
        "sessionid" | "apikey" | "webhooksecret" | "publicurl" | "qr" | "qrcode" | "token"
    )
}

/// Without longer runs of digits, which may be phone numbers.
pub(super) fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|it: char| it.is_ascii_digit()) {
        let digits = &rest[start..];
        let n = digits.find(|it: char| !it.is_ascii_digit()).unwrap_or(digits.len());
        out.push_str(&rest[..start]);
        out.push_str(if n < NUMBER_DIGITS_MIN { &digits[..n] } else { "…" });
        rest = &digits[n..];
    }
    out + rest
}
