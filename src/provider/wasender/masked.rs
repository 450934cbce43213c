//! What is kept as it came: without the secrets that Wasender puts into its bodies
//! (`docs/wire/wasender.md` §3.1, §3.3, §4.2, §4.6, §5.1).

use crate::{
    domain::{event::What, secret::SecretString},
    provider::{masked, raw::mended},
};

/// A run of this many digits may be a phone number.
const NUMBER_DIGITS_MIN: usize = 5;

/// A body that we have no words for.
pub(super) fn other(name: &str, body: &str, secrets: &[&SecretString]) -> serde_json::Result<What> {
    let tree = serde_json::from_str(body).or_else(|_| serde_json::from_str(&mended(body)));
    Ok(masked::other(name, tree?, secrets))
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
