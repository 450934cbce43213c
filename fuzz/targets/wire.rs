//! What providers and bots send.

use std::{net::IpAddr, sync::Arc, sync::OnceLock};

use bytes::Bytes;
use waba_gateway::{
    domain::{
        clock::Clock,
        event::What,
        id::InstanceId,
        media::MediaId,
        message::MediaKind,
        secret::SecretString,
        vendor::{Dialect, Vendor},
        webhook::{Claim, Headers, Proof, Scheme, Webhook},
    },
    http::{Allow, Http},
    media::{MediaKey, Opener, Sealer},
    provider::{Meta, Parsed, Provider, Wasender},
    responder::{Answer, read_answer},
    store::exchange::VendorExchange,
    twin::sign_hmac,
};

const HMAC_HEADER: &str = "x-wasender-signature";
const SECRET_HEADER: &str = "x-webhook-signature";
const META_HEADER: &str = "x-hub-signature-256";
const SECRET: &str = "the-secret-of-the-session";
/// A day in 2025.
const NOW: i64 = 1_760_000_000_000;

struct Nowhere;

impl Allow for Nowhere {
    fn allows(&self, _: &str, _: IpAddr) -> bool {
        false
    }
}

fn wasender() -> &'static Wasender {
    static WASENDER: OnceLock<Wasender> = OnceLock::new();
    WASENDER.get_or_init(|| {
        let http = Http::new(Arc::new(Nowhere)).expect("a client");
        let base = "http://127.0.0.1:9/api".parse().expect("an address");
        Wasender::new(http, base, None, Clock::fixed(NOW))
    })
}

/// The body of a webhook, of either dialect.
pub fn webhook(data: &[u8]) {
    let instance = InstanceId::parse("waba_v").expect("an id");
    let secret = SecretString::from(SECRET);
    let proof =
        Proof { instance: &instance, scheme: Scheme::Secret(SECRET_HEADER), secret: &secret };
    let headers = Headers(vec![(SECRET_HEADER.to_owned(), SECRET.to_owned())]);
    let hook = Webhook::new(headers, String::new(), Bytes::copy_from_slice(data)).verify(&[proof]);
    let hook = hook.expect("it holds the secret");
    if let Ok(parsed) = wasender().parse(&hook, &[&secret]) {
        can_be_kept(parsed);
    }
}

/// The body of a webhook of Meta's.
pub fn meta(data: &[u8]) {
    static META: OnceLock<Meta> = OnceLock::new();
    let meta = META.get_or_init(|| {
        let http = Http::new(Arc::new(Nowhere)).expect("a client");
        let base = "http://127.0.0.1:9/v25.0".parse().expect("an address");
        Meta::new(http, base, Clock::fixed(NOW))
    });
    let instance = InstanceId::parse("waba_v").expect("an id");
    let secret = SecretString::from(SECRET);
    let scheme = Scheme::HmacHex(META_HEADER);
    let proof = Proof { instance: &instance, scheme, secret: &secret };
    let headers = Headers(vec![(META_HEADER.to_owned(), sign_hmac(SECRET, data))]);
    let hook = Webhook::new(headers, String::new(), Bytes::copy_from_slice(data)).verify(&[proof]);
    let hook = hook.expect("it is signed");
    let Ok(parsed) = meta.parse(&hook, &[&secret]) else {
        // Whatever is JSON can be read.
        assert!(serde_json::from_slice::<serde_json::Value>(data).is_err());
        return;
    };
    assert!(parsed.parts.iter().all(|it| !it.events.is_empty()), "something of each is kept");
    can_be_kept(parsed);
}

/// What is kept can be read again, and holds no secret.
fn can_be_kept(parsed: Parsed) {
    for event in parsed.parts.into_iter().flat_map(|it| it.events) {
        let kept = serde_json::to_vec(&event).expect("events can be kept");
        let again = serde_json::from_slice(&kept).expect("what was kept can be read");
        assert_eq!(event, again);
        if let What::Other { raw, .. } = &event.what {
            assert!(!raw.0.contains(SECRET), "a secret is kept raw");
        }
    }
}

/// The headers of a webhook, one a line, and its body after an empty line.
pub fn signature(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let headers: Vec<(String, String)> = head
        .lines()
        .filter_map(|it| it.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let instance = InstanceId::parse("waba_v").expect("an id");
    let secret = SecretString::from(SECRET);
    let proof = |scheme| Proof { instance: &instance, scheme, secret: &secret };
    let proofs = [proof(Scheme::Secret(SECRET_HEADER)), proof(Scheme::HmacHex(HMAC_HEADER))];
    let only = |wanted: &str| {
        let mut found = headers.iter().filter(|it| it.0 == wanted);
        found.next().filter(|_| found.next().is_none()).map(|it| it.1.clone())
    };
    let mac = sign_hmac(SECRET, body.as_bytes());
    let has_mac = only(HMAC_HEADER).is_some_and(|it| {
        let it = it.trim().to_ascii_lowercase();
        it == mac || it.strip_prefix("sha256=") == Some(&mac)
    });
    let has_secret = only(SECRET_HEADER).as_deref() == Some(SECRET);
    let headers = Headers(headers);
    let claim = headers.claim(&proofs);
    assert_eq!(claim == Claim::Proven, has_secret);
    let hook = Webhook::new(headers, String::new(), Bytes::copy_from_slice(body.as_bytes()));
    let is_proven = hook.verify(&proofs).is_ok();
    assert_eq!(is_proven, has_mac || has_secret);
    assert!(claim > Claim::Nothing || !is_proven, "what is proven was let in");
}

/// A bot's answer; the first byte chooses its dialect.
pub fn answer(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let conversation = Dialect::Conversation { chatbot_id: "bot".to_owned(), web_id: None };
    let dialect = if first % 2 == 0 { Dialect::Bot } else { conversation };
    let Ok(Answer::Reply(reply)) = read_answer(&dialect, body) else { return };
    assert!(!reply.contents.is_empty() || reply.requires_human, "a reply says or asks something");
    for content in reply.contents {
        let kept = serde_json::to_vec(&content).expect("contents can be kept");
        assert!(serde_json::from_slice::<waba_gateway::domain::message::Content>(&kept).is_ok());
        // What cannot be sent is said, not sent.
        let _ = wasender().check(&content);
        for part in waba_gateway::domain::split::parts(content, wasender().text_limits()) {
            assert!(part.as_text().chars().count() <= 4_096);
        }
    }
}

/// A key, on the first line, and an encrypted file that comes in pieces.
pub fn media(data: &[u8]) {
    let at = data.iter().position(|it| *it == b'\n').unwrap_or(0);
    let (key, rest) = data.split_at(at);
    let key = MediaKey::parse(&String::from_utf8_lossy(key));
    let key = key.or_else(|| MediaKey::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    let key = key.expect("a key");
    let size = rest.first().map_or(1, |it| usize::from(*it) + 1);
    for kind in [MediaKind::Image, MediaKind::Audio, MediaKind::Document] {
        let (mut opener, mut clear) = (Opener::new(&key, kind), Vec::new());
        rest.chunks(size).for_each(|it| opener.update(it, &mut clear));
        assert!(opener.finish(&mut clear).is_err(), "nobody guesses a MAC");
        let (mut sealer, mut sealed) = (Sealer::new(&key, kind), Vec::new());
        rest.chunks(size).for_each(|it| sealer.update(it, &mut sealed));
        sealer.finish(&mut sealed);
        let (mut opener, mut clear) = (Opener::new(&key, kind), Vec::new());
        sealed.chunks(size).for_each(|it| opener.update(it, &mut clear));
        assert!(opener.finish(&mut clear).is_ok() && clear == rest, "what was sealed opens");
    }
    let _ = MediaId::parse(&String::from_utf8_lossy(rest));
}

/// One vendor of a document that is imported.
pub fn exchange(data: &[u8]) {
    let Ok(text) = serde_json::from_slice::<&serde_json::value::RawValue>(data) else { return };
    let Ok(read) = VendorExchange::read(text) else { return };
    let Ok(id) = read.id() else { return };
    let new = |id| Vendor::new(id, "V".to_owned(), SecretString::from("a-signing-secret"), NOW);
    let mut vendor = new(id.clone());
    if read.apply(&mut vendor, NOW).is_ok() {
        assert_eq!(vendor.id, id);
        // What was imported can be exported, and that be imported.
        let out = VendorExchange::of(&vendor, &[], true);
        let out = serde_json::value::to_raw_value(&out).expect("it can be written");
        let again = VendorExchange::read(&out).expect("what was written can be read");
        let mut other = new(id);
        assert!(again.apply(&mut other, NOW).is_ok(), "what was exported can be imported");
    }
}
