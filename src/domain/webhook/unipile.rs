//! `unipile-signature` of the second generation (`docs/wire/meta-unipile-twilio.md` D5).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::domain::{
    clock::{MINUTE, Millis, SECOND},
    secret::{ExposeSecret, SecretString},
};

/// How far apart its clock and ours may be, the way included.
const TOLERANCE: Millis = 5 * MINUTE;

/// A time and what is said to be the signature of it and the body.
pub(super) struct Stamp<'a> {
    seconds: &'a str,
    mac: [u8; 32],
}

/// Reads `t=<unix seconds>,v0=<hex>`, if that is about now.
pub(super) fn stamp(header: &str, now: Millis) -> Option<Stamp<'_>> {
    let (mut seconds, mut mac) = (None, None);
    for part in header.split(',') {
        match part.trim().split_once('=')? {
            ("t", it) => seconds = Some(it),
            ("v0", it) => {
                let mut bytes = [0; 32];
                hex::decode_to_slice(it, &mut bytes).ok()?;
                mac = Some(bytes);
            }
            _ => {}
        }
    }
    let (seconds, mac) = (seconds?, mac?);
    let at = seconds.parse::<i64>().ok()?.checked_mul(SECOND)?;
    (at.abs_diff(now) <= TOLERANCE.unsigned_abs()).then_some(Stamp { seconds, mac })
}

/// Whether the body was signed with the secret at that time.
pub(super) fn is_signed(body: &[u8], secret: &SecretString, given: &Stamp<'_>) -> bool {
    let secret = secret.expose_secret();
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(given.seconds.as_bytes());
    mac.update(b".");
    mac.update(body);
    let is_same: bool = mac.finalize().into_bytes().as_slice().ct_eq(&given.mac).into();
    !secret.is_empty() & is_same
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str =
        "t=1767225600,v0=45b40331de0325606dc5400202ade162460fbe48daf9401adfdcd0d7b4f35470";
    const AT: Millis = 1_767_225_600_000;

    #[test]
    fn it_holds_for_its_body_within_five_minutes() {
        let secret = SecretString::from("whsec_test");
        let holds =
            |body: &[u8], at| stamp(SIGNED, at).is_some_and(|it| is_signed(body, &secret, &it));
        assert!(holds(br#"{"id":"evt_1"}"#, AT + TOLERANCE));
        assert!(holds(br#"{"id":"evt_1"}"#, AT - TOLERANCE));
        assert!(!holds(br#"{"id":"evt_1"}"#, AT + TOLERANCE + 1));
        assert!(!holds(br#"{"id":"evt_2"}"#, AT));
        let none = SecretString::default();
        assert!(!stamp(SIGNED, AT).is_some_and(|it| is_signed(br#"{"id":"evt_1"}"#, &none, &it)));
        for bad in
            ["", "t=1", "v0=00", "t=x,v0=00", "t=1767225600,v0=zz", "t=9223372036854775807,v0="]
        {
            assert!(stamp(bad, AT).is_none(), "{bad}");
        }
    }
}
