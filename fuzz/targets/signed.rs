//! The signatures of Twilio and of Unipile's second generation.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use url::form_urlencoded;
use waba_gateway::{
    domain::{
        id::InstanceId,
        secret::SecretString,
        webhook::{Claim, Headers, Proof, Scheme, Webhook},
    },
    twin::sign_hmac,
};

const TWILIO_HEADER: &str = "x-twilio-signature";
const UNIPILE_HEADER: &str = "unipile-signature";
const SECRET: &str = "the-secret-of-the-account";
const HOST: &str = "https://gateway.example";
/// A day in 2025, and how far from it a signature may be.
const NOW: i64 = 1_760_000_000_000;
const TOLERANCE_SECONDS: u64 = 5 * 60;

/// The query of the address, headers one a line, an empty line, the body.
pub fn signed(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let (query, lines) = head.split_once('\n').unwrap_or((head, ""));
    let headers: Vec<(String, String)> = lines
        .lines()
        .filter_map(|it| it.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let headers = Headers(headers);
    let url = format!("{HOST}/hook?{query}");
    let is_twilios = headers.only(TWILIO_HEADER).is_some_and(|it| is_twilios(&url, body, it));
    let is_proven = proves(Scheme::Twilio(TWILIO_HEADER), &headers, &url, body);
    assert_eq!(is_proven, is_twilios);
    let given = headers.only(UNIPILE_HEADER);
    let scheme = Scheme::UnipileV2 { header: UNIPILE_HEADER, now: NOW };
    let is_proven = proves(scheme, &headers, &url, body);
    let times = given
        .into_iter()
        .flat_map(|it| it.split(','))
        .filter_map(|it| it.trim().strip_prefix("t="));
    let is_now =
        |it: &&str| it.parse::<i64>().is_ok_and(|it| it.abs_diff(NOW / 1_000) <= TOLERANCE_SECONDS);
    let signed = |it: &str| sign_hmac(SECRET, format!("{it}.{body}").as_bytes());
    let is_borne_out = times
        .filter(is_now)
        .any(|it| given.is_some_and(|all| all.to_ascii_lowercase().contains(&signed(it))));
    assert!(is_borne_out || !is_proven, "a stranger proved it");
    let plain = given.and_then(|it| it.strip_prefix("t=")?.split_once(",v0="));
    let is_plain = plain.is_some_and(|(at, mac)| is_now(&at) && mac == signed(at));
    assert!(is_proven || !is_plain, "what is signed was refused");
}

fn proves(scheme: Scheme, headers: &Headers, url: &str, body: &str) -> bool {
    let instance = InstanceId::parse("waba_v").expect("an id");
    let secret = SecretString::from(SECRET);
    let proof = Proof { instance: &instance, scheme, secret: &secret };
    let claim = headers.claim(&[proof]);
    let body = Bytes::copy_from_slice(body.as_bytes());
    let hook = Webhook::new(headers.clone(), url.to_owned(), body);
    let proof = Proof { instance: &instance, scheme, secret: &secret };
    let is_proven = hook.verify(&[proof]).is_ok();
    assert!(claim == Claim::Signed || !is_proven, "what is proven was let in");
    let none = SecretString::default();
    let proof = Proof { instance: &instance, scheme, secret: &none };
    let hook = Webhook::new(headers.clone(), url.to_owned(), Bytes::new());
    assert!(hook.verify(&[proof]).is_err(), "an empty secret proves nothing");
    is_proven
}

/// As Twilio describes it: the address, with its port or without, and the fields in order.
fn is_twilios(url: &str, body: &str, given: &str) -> bool {
    let Ok(given) = STANDARD.decode(given.trim()) else { return false };
    let query = url.split_once('?').map_or("", |it| it.1);
    let mut hashes = form_urlencoded::parse(query.as_bytes()).filter(|it| it.0 == "bodySHA256");
    let fields = match hashes.next() {
        Some((_, hash)) if hash.to_ascii_lowercase() != hex::encode(Sha256::digest(body)) => {
            return false;
        }
        Some(_) => String::new(),
        None => {
            let fields: BTreeSet<_> = form_urlencoded::parse(body.as_bytes()).collect();
            fields.iter().flat_map(|(name, value)| [&**name, &**value]).collect()
        }
    };
    let with_port = url.replacen(HOST, &format!("{HOST}:443"), 1);
    [url, &with_port].into_iter().any(|url| {
        let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).expect("a key");
        mac.update(url.as_bytes());
        mac.update(fields.as_bytes());
        mac.finalize().into_bytes()[..] == given[..]
    })
}
