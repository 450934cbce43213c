//! What changes on one gateway is so on all.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use waba_gateway::{
    cache::{
        Subject,
        redis::{Fetched, Redis, request},
    },
    config::{Config, RedisUrl},
    domain::{
        clock::Clock,
        id::VendorId,
        secret::{ExposeSecret, SecretString},
        vendor::VendorStatus,
    },
    gateway::{NewKey, VendorChange},
    store::Store,
    vault::Vault,
};

use super::{DEADLINE, RedisServer, Shared, TestApp, TestVendor, hook, is_told, posted};

/// Both gateways remember the vendor.
async fn remembered(one: &TestApp, two: &TestApp, n: u32) -> TestVendor {
    let vendor = one.vendor(n).await;
    assert_eq!((hook(one, &vendor).await, hook(two, &vendor).await), (200, 200));
    vendor
}

#[tokio::test]
async fn a_change_on_one_gateway_is_effective_on_the_other_at_once() {
    let shared = Shared::new().await;
    let (one, two) = (shared.gateway().await, shared.gateway().await);
    let vendor = remembered(&one, &two, 1).await;
    let path = format!("/api/admin/vendors/{}/waba/waba_{}", vendor.id, vendor.id);
    let new = "a-new-secret-that-is-long-enough-to-be-one";
    let answer = one.admin.put(&path, json!({"wasenderWebhookSecret": new})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    is_told("the new secret proves", async || posted(&two, &vendor, new).await == 200).await;

    let change = VendorChange { status: Some(VendorStatus::Suspended), ..VendorChange::default() };
    two.gateway.put_vendor(&vendor.id, change).await.unwrap();
    is_told("it is suspended", async || {
        let known = one.gateway.manager().known(&vendor.id).await.unwrap().unwrap();
        known.vendor.status == VendorStatus::Suspended
    })
    .await;

    assert_eq!(one.admin.delete(&format!("{path}?force=true")).await.status, 200);
    is_told("its number is gone", async || posted(&two, &vendor, new).await == 401).await;
}

#[tokio::test]
async fn a_vendor_that_was_unknown_is_known_everywhere_at_once() {
    let shared = Shared::new().await;
    let (one, two) = (shared.gateway().await, shared.gateway().await);
    let url = format!("{}/api/webhooks/wasender/vendor_001", two.base);
    let headers = [("x-webhook-signature", "whatever")];
    assert_eq!(two.post(&url, &headers, b"{}").await.status, 401);
    let vendor = one.vendor(1).await;
    is_told("it is known", async || hook(&two, &vendor).await == 200).await;
}

#[tokio::test]
async fn a_key_that_two_vendors_claim_leads_to_neither_on_any_gateway() {
    let shared = Shared::new().await;
    let (one, two) = (shared.gateway().await, shared.gateway().await);
    let (first, second) = (remembered(&one, &two, 1).await, remembered(&one, &two, 2).await);
    let instance = shared.store.instances(&first.id).await.unwrap().remove(0);
    let key = instance.keys().remove(1);
    let find = async |app: &TestApp| app.gateway.manager().by_key(&key).await.unwrap();
    assert_eq!(find(&two).await.unwrap().vendor_id, first.id);
    // Another program writes what we would refuse, and this gateway notices.
    let other = shared.store.instances(&second.id).await.unwrap().remove(0);
    shared.store.claim_too(&instance.id, &other.id);
    one.gateway.notice(&[first.id, second.id]).await;
    for gateway in [&one, &two] {
        is_told("it leads to neither", async || find(gateway).await.is_none()).await;
    }
}

#[tokio::test]
async fn sends_that_are_stopped_on_one_gateway_are_stopped_on_all() {
    let shared = Shared::new().await;
    let (one, two) = (shared.gateway().await, shared.gateway().await);
    let vendor = one.vendor(1).await;
    for (id, is_paused) in
        [(Some(&vendor.id), true), (None, true), (Some(&vendor.id), false), (None, false)]
    {
        one.gateway.pause(id, is_paused).await.unwrap();
        let is_stopped = one.gateway.work().is_stopped(&vendor.id);
        is_told("the same sends are stopped", async || {
            two.gateway.work().is_stopped(&vendor.id) == is_stopped
        })
        .await;
    }
    one.gateway.pause(Some(&vendor.id), true).await.unwrap();
    let three = shared.gateway().await;
    assert!(three.gateway.work().is_stopped(&vendor.id));
}

#[tokio::test]
async fn a_key_that_is_revoked_on_one_gateway_is_good_for_nothing_on_the_other() {
    let shared = Shared::new().await;
    let (one, two) = (shared.gateway().await, shared.gateway().await);
    one.vendor(1).await;
    let made = one.admin.post("/api/admin/keys", json!({ "name": "shop" })).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let list = "/api/admin/vendors";
    assert_eq!(two.admin.with_key(&key).get(list).await.status, 200);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert!(one.admin.delete(&format!("/api/admin/keys/{id}")).await.status < 300);
    is_told("it is revoked", async || two.admin.with_key(&key).get(list).await.status == 401).await;
}

#[tokio::test]
async fn a_change_that_nobody_told_of_is_seen_when_the_time_is_over() {
    let shared = Shared::new().await;
    let one = shared.gateway_with(&[("WABA_CACHE_TTL_SECONDS", "3")]).await;
    super::until("Redis is used", || one.gateway.manager().uses_redis()).await;
    let vendor = one.vendor(1).await;
    let read = Instant::now();
    assert_eq!(hook(&one, &vendor).await, 200);
    shared.has_values(1).await;
    let mut instance = shared.store.instances(&vendor.id).await.unwrap().remove(0);
    instance.wasender.webhook_secrets[0].secret = "another-secret".to_owned().into();
    shared.store.put_instance(&instance).await.unwrap();
    let status = posted(&one, &vendor, "another-secret").await;
    assert!(status == 401 || read.elapsed() > Duration::from_secs(2), "it was told after all");
    // A second gateway finds the old one in Redis.
    let two = shared.gateway_with(&[("WABA_CACHE_TTL_SECONDS", "3")]).await;
    super::until("Redis is used", || two.gateway.manager().uses_redis()).await;
    let _ = hook(&two, &vendor).await;
    for app in [&one, &two] {
        while posted(app, &vendor, "another-secret").await != 200 {
            assert!(read.elapsed() < DEADLINE, "it is remembered for ever");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn what_is_found_in_redis_lasts_no_longer_than_since_it_was_read_from_the_store() {
    let (server, key) = (RedisServer::start().await, Vault::new_key().unwrap());
    let side = side(&server, &key).await;
    let subject = Subject::Vendor(VendorId::parse("vendor_001").unwrap());
    let Fetched::Nothing(lease) = side.get(&subject).await else { panic!("there is nothing") };
    let (read, age) = (Instant::now(), Duration::from_millis(50));
    while read.elapsed() < age {
        tokio::task::yield_now().await;
    }
    assert!(side.put_now(&subject, &lease, b"it").await);
    let Fetched::Value(_, lasts) = side.get(&subject).await else { panic!("it is not there") };
    assert!(lasts + age <= TTL, "{lasts:?} although it was {age:?} old when it was put");
}

/// Of [`side`].
const TTL: Duration = Duration::from_mins(1);

/// One side of a Redis, without a gateway.
pub async fn side(server: &RedisServer, key: &SecretString) -> Redis {
    let url = server.url();
    let lookup = |name: &str| (name == "REDIS_URL").then(|| url.clone());
    let url: RedisUrl = Config::from_lookup(lookup).unwrap().redis.unwrap();
    let vault = Arc::new(Vault::new(key, &[]).unwrap());
    let redis = Redis::new(&url, vault, Clock::System, TTL).unwrap();
    let started = Instant::now();
    while !redis.is_used() {
        assert!(started.elapsed() < DEADLINE);
        redis.look().await;
    }
    redis
}

#[tokio::test]
async fn a_slow_reader_does_not_put_back_what_it_read_before_a_change() {
    let (server, key) = (RedisServer::start().await, Vault::new_key().unwrap());
    let (slow, other) = (side(&server, &key).await, side(&server, &key).await);
    let subject = Subject::Vendor(VendorId::parse("vendor_001").unwrap());
    let Fetched::Nothing(lease) = slow.get(&subject).await else { panic!("there is nothing") };
    // Read now, changed next, put last.
    other.note(subject.clone());
    assert_eq!(other.tell().await, std::slice::from_ref(&subject));
    assert!(!slow.put_now(&subject, &lease, b"old").await);
    let Fetched::Nothing(lease) = slow.get(&subject).await else { panic!("the old one stands") };
    assert!(slow.put_now(&subject, &lease, b"new").await);
    let Fetched::Value(value, _) = other.get(&subject).await else { panic!("nothing stands") };
    assert_eq!(value.as_slice(), b"new");
    // One with another encryption key meets none of it.
    let stranger = side(&server, &Vault::new_key().unwrap()).await;
    assert!(matches!(stranger.get(&subject).await, Fetched::Nothing(_)));
}

#[tokio::test]
async fn a_request_tells_as_much_as_one_call_takes_and_leaves_the_rest() {
    const N: usize = 1_200;
    let (server, key) = (RedisServer::start().await, Vault::new_key().unwrap());
    let side = side(&server, &key).await;
    for n in 0..N {
        side.note(Subject::Vendor(VendorId::parse(&format!("vendor_{n}")).unwrap()));
    }
    let mut n_told = request(side.tell()).await.len();
    assert!(n_told < N && side.has_untold(), "{n_told} were told");
    let started = Instant::now();
    while side.has_untold() {
        assert!(started.elapsed() < DEADLINE);
        side.look().await;
        n_told += side.tell().await.len();
    }
    assert_eq!(n_told, N);
}

#[tokio::test]
async fn what_was_changed_while_no_server_ran_is_not_read_from_redis() {
    let (server, key) = (RedisServer::start().await, Vault::new_key().unwrap());
    let variables =
        vec![("REDIS_URL", server.url()), ("ENCRYPTION_KEY", key.expose_secret().to_owned())];
    let options = super::Options { variables, ..super::Options::default() };
    let mut app = super::spawn_app_with(options).await;
    super::until("Redis is used", || app.gateway.manager().uses_redis()).await;
    let vendor = app.vendor(1).await;
    assert_eq!(hook(&app, &vendor).await, 200);
    let started = Instant::now();
    while server.names().await.is_empty() {
        assert!(started.elapsed() < DEADLINE, "it is not put into Redis");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    app.app.take().unwrap().stop().await;
    let data = waba_gateway::app::Data::open_to_write(&app.config).await.unwrap();
    let mut instance = data.store.instances(&vendor.id).await.unwrap().remove(0);
    instance.wasender.webhook_secrets[0].secret = "another-secret".to_owned().into();
    data.store.put_instance(&instance).await.unwrap();
    data.close();
    app.start_again().await;
    super::until("Redis is used", || app.gateway.manager().uses_redis()).await;
    assert_eq!(posted(&app, &vendor, "another-secret").await, 200);
    assert_eq!(hook(&app, &vendor).await, 401);
}

#[tokio::test]
async fn how_often_a_key_may_call_is_counted_over_all_gateways() {
    let shared = Shared::new().await;
    let (one, two) = (shared.gateway().await, shared.gateway().await);
    for app in [&one, &two] {
        super::until("Redis is used", || app.gateway.manager().uses_redis()).await;
    }
    let new = NewKey { name: "k".to_owned(), vendor: None, read_only: true, expires_at: None };
    let key = one.gateway.create_key(new).await.unwrap().1;
    let clients = [&one, &two].map(|it| it.admin.with_key(key.expose_secret()));
    let (started, mut n_taken, mut refused) = (Instant::now(), 0, None);
    // Either would have let pass as many as these alone.
    for n in 0..160 {
        let answer = clients[n % 2].get("/api/admin/alerts").await;
        match answer.status {
            200 => n_taken += 1,
            429 => refused = Some(answer),
            other => panic!("{other}"),
        }
    }
    let renewed = started.elapsed().as_millis() / 600 + 1;
    assert!(n_taken >= 100 && n_taken <= 100 + renewed, "{n_taken} and {renewed}");
    let refused = refused.unwrap();
    assert!(refused.text.contains("100 a minute") && refused.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn how_often_a_vendor_may_be_asked_about_is_counted_over_all_gateways() {
    let shared = Shared::new().await;
    let (one, two) = (shared.gateway().await, shared.gateway().await);
    let vendor = one.vendor(1).await;
    let path = format!("/api/admin/vendors/{}", vendor.id);
    // What setting it up has used is given back by then.
    while one.admin.get(&path).await.status == 429 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (started, mut n_taken, mut refused) = (Instant::now(), 0, None);
    // A machine that is slow just now asks on.
    for n in 0.. {
        assert!(started.elapsed() < DEADLINE, "nobody is refused");
        let answer = [&one, &two][n % 2].admin.get(&path).await;
        match answer.status {
            200 => n_taken += 1,
            429 => refused = Some(answer),
            other => panic!("{other}"),
        }
        if n >= 60 && refused.is_some() {
            break;
        }
    }
    let renewed = started.elapsed().as_millis() / 100 + 1;
    assert!(n_taken <= 10 + renewed, "{n_taken} and {renewed}");
    let refused = refused.unwrap();
    assert!(refused.text.contains("10 a second"), "{}", refused.text);
}
