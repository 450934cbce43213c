//! `X-Twilio-Signature` (`docs/wire/meta-unipile-twilio.md` E3).

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::{Url, form_urlencoded};

use crate::domain::secret::{ExposeSecret, SecretString};

/// Bytes in an HMAC-SHA1.
const MAC_BYTES: usize = 20;
/// The parameter that names the hash of a body that is no form.
const BODY_HASH: &str = "bodySHA256";

/// The signature in a header, if it could be one.
pub(super) fn mac(header: &str) -> Option<[u8; MAC_BYTES]> {
    STANDARD.decode(header.trim()).ok()?.try_into().ok()
}

/// Whether this address and body are signed with the secret.
pub(super) fn is_signed(
    url: &str,
    body: &[u8],
    secret: &SecretString,
    given: &[u8; MAC_BYTES],
) -> bool {
    let secret = secret.expose_secret();
    let fields = match body_hash(url) {
        Some(hash) if !bool::from(hash.as_bytes().ct_eq(hex_hash(body).as_bytes())) => {
            return false;
        }
        Some(_) => String::new(),
        None => fields(body),
    };
    let mut is_same = false;
    for url in spellings(url) {
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes())
            .expect("HMAC takes a key of any length");
        mac.update(url.as_bytes());
        mac.update(fields.as_bytes());
        is_same |= bool::from(mac.finalize().into_bytes().as_slice().ct_eq(given));
    }
    !secret.is_empty() & is_same
}

/// Names and values, in the order of the names; a value that is there twice counts once.
fn fields(body: &[u8]) -> String {
    let mut fields: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(body) {
        fields.entry(name).or_default().insert(value);
    }
    let mut text = String::new();
    for (name, values) in &fields {
        for value in values {
            text.push_str(name);
            text.push_str(value);
        }
    }
    text
}

/// Twilio signs what it called, with the port or without.
fn spellings(url: &str) -> Vec<String> {
    let mut all = vec![url.to_owned()];
    let Ok(parsed) = Url::parse(url) else { return all };
    let (Some(host), Some(port)) = (parsed.host_str(), parsed.port_or_known_default()) else {
        return all;
    };
    let start = format!("{}://{host}", parsed.scheme());
    let Some(rest) = url.strip_prefix(&start) else { return all };
    match rest.strip_prefix(&format!(":{port}")) {
        Some(rest) => all.push(format!("{start}{rest}")),
        None => all.push(format!("{start}:{port}{rest}")),
    }
    all
}

fn body_hash(url: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|it| it.0 == BODY_HASH);
    found.next().map(|it| it.1.to_ascii_lowercase())
}

fn hex_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(url: &str, body: &str, signature: &str) -> bool {
        let secret = SecretString::from("12345");
        mac(signature).is_some_and(|it| is_signed(url, body.as_bytes(), &secret, &it))
    }

    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";

    #[test]
    fn twilios_own_vectors_hold() {
        let call = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&\
            From=%2B14158675309&To=%2B18005551212";
        assert!(holds(URL, call, "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
        let with_port = "https://mycompany.com:443/myapp.php?foo=1&bar=2";
        assert!(holds(with_port, call, "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
        let twice = "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234";
        assert!(holds(URL, twice, "IK+Dwps556ElfBT0I3Rgjkr1wJU="));
        let other = "CallSid=CA1234567890ABCDE&Caller=%2B12349013030&Digits=1234&\
            From=%2B12349013030&To=%2B18005551212";
        assert!(holds("https://mycompany.com/myapp", other, "3KI2uRuYyAdhZIJXcpU0izDUzWI="));
        assert_eq!(
            hex_hash(br#"{"property": "value", "boolean": true}"#),
            "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
        );
    }

    #[test]
    fn whatever_is_changed_is_not_signed() {
        let call = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&\
            From=%2B14158675309&To=%2B18005551212";
        for (url, body) in [
            ("https://mycompany.com/myapp.php?foo=1&bar=3", call.to_owned()),
            ("http://mycompany.com/myapp.php?foo=1&bar=2", call.to_owned()),
            (URL, call.replace("1234&", "1235&")),
            (URL, format!("{call}&More=1")),
            (URL, String::new()),
        ] {
            assert!(!holds(url, &body, "RSOYDt4T1cUTdK1PDd93/VVr8B8="), "{url}");
        }
        assert!(mac("short").is_none() && mac("").is_none());
    }

    #[test]
    fn a_body_that_is_no_form_is_signed_by_its_hash() {
        let body = r#"{"property": "value", "boolean": true}"#;
        let url = format!("{URL}&bodySHA256={}", hex_hash(body.as_bytes()));
        let mut mac = Hmac::<Sha1>::new_from_slice(b"12345").unwrap();
        mac.update(url.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        assert!(holds(&url, body, &signature));
        assert!(!holds(&url, r#"{"property": "other"}"#, &signature));
    }
}
