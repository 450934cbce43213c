//! What Twilio and Unipile send.

use std::{net::IpAddr, sync::Arc, sync::OnceLock};

use bytes::Bytes;
use waba_gateway::{
    domain::{
        clock::Clock,
        event::What,
        id::InstanceId,
        secret::SecretString,
        webhook::{Headers, Proof, Scheme, Webhook},
    },
    http::{Allow, Http},
    provider::{Provider, Twilio, Unipile},
};

const SECRET_HEADER: &str = "x-secret";
const SECRET: &str = "the-secret-of-the-account";
/// A day in 2025.
const NOW: i64 = 1_760_000_000_000;

struct Nowhere;

impl Allow for Nowhere {
    fn allows(&self, _: &str, _: IpAddr) -> bool {
        false
    }
}

pub(super) fn http() -> Http {
    Http::new(Arc::new(Nowhere)).expect("a client")
}

/// A form of Twilio's; its first line is the query of the address that it came to.
pub fn twilio(data: &[u8]) {
    static TWILIO: OnceLock<Twilio> = OnceLock::new();
    let twilio = TWILIO.get_or_init(|| {
        let base = "http://127.0.0.1:9";
        let [base, own] = [base, base].map(|it| it.parse().expect("an address"));
        Twilio::new(http(), base, own, Clock::fixed(NOW))
    });
    let end = data.iter().position(|it| *it == b'\n').unwrap_or(0);
    let query = String::from_utf8_lossy(&data[..end]);
    read(twilio, &format!("http://127.0.0.1:9/hook?{query}"), data.get(end + 1..).unwrap_or(data));
}

/// A body of Unipile's, of either generation.
pub fn unipile(data: &[u8]) {
    static UNIPILE: OnceLock<Unipile> = OnceLock::new();
    let unipile = UNIPILE.get_or_init(|| {
        let base = "http://127.0.0.1:9/v2".parse().expect("an address");
        Unipile::new(http(), base, Clock::fixed(NOW))
    });
    read(unipile, "http://127.0.0.1:9/hook", data);
}

fn read(provider: &dyn Provider, url: &str, body: &[u8]) {
    let instance = InstanceId::parse("waba_v").expect("an id");
    let secret = SecretString::from(SECRET);
    let scheme = Scheme::Secret(SECRET_HEADER);
    let proof = Proof { instance: &instance, scheme, secret: &secret };
    let headers = Headers(vec![(SECRET_HEADER.to_owned(), SECRET.to_owned())]);
    let hook = Webhook::new(headers, url.to_owned(), Bytes::copy_from_slice(body));
    let hook = hook.verify(&[proof]).expect("it holds the secret");
    let Ok(parsed) = provider.parse(&hook, &[&secret]) else { return };
    for event in parsed.parts.into_iter().flat_map(|it| it.events) {
        // What is kept can be read again.
        let kept = serde_json::to_vec(&event).expect("events can be kept");
        let again = serde_json::from_slice(&kept).expect("what was kept can be read");
        assert_eq!(event, again);
        if let What::Other { raw, .. } = &event.what {
            assert!(!raw.0.contains(SECRET), "a secret is kept raw");
        }
    }
}
