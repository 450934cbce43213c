//! What providers answer when they are asked, and what proves a token of Firebase's.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use waba_gateway::{
    domain::{
        account::{MetaAccount, TwilioAccount, UnipileAccount},
        clock::Clock,
        contact::{Address, Lid},
        delivery::Outcome,
        event::Connection,
        id::{EntryId, InstanceId, VendorId},
        message::{Content, Text},
        phone::PhoneNumber,
        route::{ProviderKind, Routes},
        secret::SecretString,
        waba::{SignatureSchemes, WabaInstance, WasenderAccount},
    },
    firebase::Firebase,
    http::{Allow, Carrier, Http, HttpError, Reply, Request},
    provider::{Meta, Outgoing, Provider, Question, Twilio, Unipile, Wasender},
};

const KEY: &str = "the-key-of-the-account";
/// A day in 2025.
const NOW: i64 = 1_760_000_000_000;
/// Whose tokens the kept inputs are.
const PROJECT: &str = "shops-of-dakar";

struct Nowhere;

impl Allow for Nowhere {
    fn allows(&self, _: &str, _: IpAddr) -> bool {
        false
    }
}

/// Answers every request the same; `None`: not at all.
#[derive(Default)]
struct Same(Mutex<Option<(StatusCode, HeaderMap, Bytes)>>);

#[async_trait]
impl Carrier for Same {
    async fn carry(&self, _: Request<'_>) -> Result<Reply, HttpError> {
        let same = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (status, headers, body) = same.ok_or(HttpError::NoAnswer)?;
        Ok(Reply { status, headers, body })
    }
}

struct World {
    runtime: Runtime,
    same: Arc<Same>,
    http: Http,
    providers: [Box<dyn Provider>; 5],
    instance: WabaInstance,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let same = Arc::<Same>::default();
    let http = Http::new(Arc::new(Nowhere)).expect("a client").over(same.clone());
    let url = |it: &str| it.parse().expect("an address");
    let (clock, base) = (Clock::fixed(NOW), || url("https://provider.example"));
    let providers: [Box<dyn Provider>; 5] = [
        Box::new(Wasender::new(http.clone(), base(), None, clock.clone())),
        Box::new(Meta::new(http.clone(), base(), clock.clone())),
        Box::new(Twilio::new(http.clone(), base(), base(), clock.clone())),
        Box::new(Unipile::new(http.clone(), base(), clock.clone())),
        Box::new(Unipile::new(http.clone(), url("https://provider.example/v2"), clock)),
    ];
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    World { runtime, same, http, providers, instance: instance() }
});

fn instance() -> WabaInstance {
    let key = || Some(SecretString::from(KEY));
    let wasender = WasenderAccount {
        instance_id: Some("77".to_owned()),
        session_key: key(),
        token: key(),
        ..WasenderAccount::default()
    };
    let meta = MetaAccount {
        phone_number_id: "106540352242922".to_owned(),
        access_token: key(),
        ..MetaAccount::default()
    };
    let unipile = UnipileAccount {
        account_id: "acc_1".to_owned(),
        api_key: key(),
        ..UnipileAccount::default()
    };
    let twilio = TwilioAccount {
        account_sid: format!("AC{}", "0".repeat(32)),
        auth_token: key(),
        ..TwilioAccount::default()
    };
    WabaInstance {
        id: InstanceId::parse("waba_v").expect("an id"),
        vendor_id: VendorId::parse("v").expect("an id"),
        phone_number: PhoneNumber::from_wire("+221770000001").expect("a number"),
        provider: ProviderKind::Wasender,
        failover: Routes::default(),
        status: Connection::Connected,
        schemes: SignatureSchemes::default(),
        account_protection: false,
        wasender,
        meta: Some(Box::new(meta)),
        unipile: Some(Box::new(unipile)),
        twilio: Some(Box::new(twilio)),
        created_at: NOW,
        updated_at: NOW,
        last_sync: None,
    }
}

/// A status, headers one a line, an empty line, the body: the answer to whatever is asked.
pub fn reply(data: &[u8]) {
    let at = data.windows(2).position(|it| it == b"\n\n");
    let (head, body) = at.map_or((data, &data[data.len()..]), |it| (&data[..it], &data[it + 2..]));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().and_then(|it| it.parse::<StatusCode>().ok());
    let headers: HeaderMap = lines
        .filter_map(|it| it.split_once(": "))
        .filter_map(|(name, value)| {
            Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
        })
        .collect();
    let body = Bytes::copy_from_slice(body);
    for n in 0..WORLD.providers.len() {
        let same = status.map(|it| (it, headers.clone(), body.clone()));
        *WORLD.same.0.lock().unwrap_or_else(PoisonError::into_inner) = same;
        WORLD.runtime.block_on(read(WORLD.providers[n].as_ref(), status));
    }
}

async fn read(provider: &dyn Provider, status: Option<StatusCode>) {
    let instance = &WORLD.instance;
    let phone = PhoneNumber::from_wire("221705550001").expect("a number");
    let lid = Lid::from_wire("99887766@lid").expect("a hidden id");
    let to = Address { phone: Some(phone), lid: Some(lid.clone()), bsuid: None };
    let content = Content::text("Bonjour");
    let message = Outgoing { id: EntryId(7), to: &to, content: &content, quotes: None, file: None };
    let attempt = provider.send(instance, &message).await;
    assert!(!attempt.word.is_empty());
    let is_taken = status.is_some_and(|it| it.is_success());
    assert!(is_taken || attempt.outcome != Outcome::Sent, "nobody took it");
    for ticket in [attempt.ticket.as_deref(), Some("7"), None] {
        assert_ne!(ticket, Some(""), "an id is more than nothing");
        let question = Question { to: &to, content: &content, begun_at: NOW - 5_000, ticket };
        let found = provider.ask(instance, &question).await;
        let knows = found.status.is_some() || found.provider_id.is_some() || found.ticket.is_some();
        assert!(is_taken || !knows, "nobody said anything of it");
    }
    let _ = provider.phone_of(instance, &lid).await;
    let _ = provider.health(instance).await;
    let _ = provider.edit(instance, "7", &Text("Bonsoir".to_owned())).await;
    let _ = provider.delete(instance, "7").await;
}

/// A token on the first line; what is published to prove it comes after it.
pub fn token(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (token, keys) = text.split_once('\n').unwrap_or((&text, ""));
    let _ = Firebase::is_token(token);
    let keys = Bytes::copy_from_slice(keys.as_bytes());
    let same = Some((StatusCode::OK, HeaderMap::new(), keys));
    *WORLD.same.0.lock().unwrap_or_else(PoisonError::into_inner) = same;
    let url = "https://keys.example".parse().expect("an address");
    let firebase = Firebase::new(PROJECT, url, WORLD.http.clone(), Clock::fixed(NOW));
    let Ok(proven) = WORLD.runtime.block_on(firebase.verify(token)) else { return };
    assert!(!proven.uid.is_empty() && proven.uid.chars().count() <= 128);
    // The same, later than it is good for and before it was made.
    for at in [NOW - 24 * 3_600_000, NOW + 24 * 3_600_000] {
        let url = "https://keys.example".parse().expect("an address");
        let firebase = Firebase::new(PROJECT, url, WORLD.http.clone(), Clock::fixed(at));
        // Whoever holds the keys may make one that is good for longer.
        let _ = WORLD.runtime.block_on(firebase.verify(token));
    }
    let url = "https://keys.example".parse().expect("an address");
    let other = Firebase::new("another-project", url, WORLD.http.clone(), Clock::fixed(NOW));
    assert!(WORLD.runtime.block_on(other.verify(token)).is_err(), "it is of another project");
}
