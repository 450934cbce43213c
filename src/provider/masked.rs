//! What is kept as it came: without the secrets that providers put into their bodies.

use std::{cmp::Reverse, mem};

use serde_json::Value;

use crate::domain::{
    event::What,
    message::Text,
    secret::{ExposeSecret, SecretString, without},
};

/// The longest name of a provider's that we keep, in characters.
pub(super) const NAME_CHARS_MAX: usize = 64;

/// Something that we have no words for.
pub(super) fn other(name: &str, mut tree: Value, secrets: &[&SecretString]) -> What {
    let secrets = longest_first(secrets);
    mask(&mut tree, &secrets);
    // Once more, for numbers.
    let raw = Text(without(&tree.to_string(), &secrets));
    let name = without(name, &secrets).chars().take(NAME_CHARS_MAX).collect();
    What::Other { name, raw }
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
