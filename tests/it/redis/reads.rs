//! Memory, then Redis, then the store.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinHandle;
use waba_gateway::{
    domain::{id::VendorId, phone::PhoneNumber, secret::ExposeSecret, waba::InstanceKey},
    store::Store,
};

use super::{Shared, hook, posted};
use crate::support::DEADLINE;

#[tokio::test]
async fn what_one_gateway_read_from_the_store_another_finds_in_redis() {
    let shared = Shared::new().await;
    let (one, two) = (shared.gateway().await, shared.gateway().await);
    let vendor = one.vendor(1).await;
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", vendor.id);
    let accounts = serde_json::json!({
        "meta": { "phoneNumberId": "1555", "accessToken": "t", "appSecret": "s",
            "verifyToken": "v", "phoneNumber": "+14155238886" },
        "unipile": { "accountId": "u1", "apiKey": "k", "webhookSecret": "w" },
    });
    let answer = one.admin.put(&path, accounts).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let instance = shared.store.instances(&vendor.id).await.unwrap().remove(0);
    // Two numbers, a session, and an account at each of the others.
    let keys = instance.keys();
    assert_eq!(keys.len(), 5);
    let started = Instant::now();
    // The vendor's own making is noticed at some time, and takes what was put before that away;
    // and Redis may be too slow to be given anything.
    loop {
        assert!(started.elapsed() < DEADLINE, "it is never found in Redis");
        one.gateway.manager().forget_all();
        assert_eq!(hook(&one, &vendor).await, 200);
        for key in &keys {
            assert!(one.gateway.manager().by_key(key).await.unwrap().is_some());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        if shared.redis.names().await.len() <= keys.len() {
            continue;
        }
        let n_reads = shared.store.n_vendor_reads.load(Ordering::SeqCst);
        shared.store.switch(false);
        two.gateway.manager().forget_all();
        let mut is_found = hook(&two, &vendor).await == 200;
        for key in &keys {
            let found = two.gateway.manager().by_key(key).await;
            is_found &= found.is_ok_and(|it| it.is_some_and(|it| it.vendor_id == vendor.id));
        }
        shared.store.switch(true);
        if is_found && shared.store.n_vendor_reads.load(Ordering::SeqCst) == n_reads {
            return;
        }
    }
}

#[tokio::test]
async fn nothing_in_redis_is_in_clear() {
    let shared = Shared::new().await;
    let one = shared.gateway().await;
    let vendor = one.vendor(1).await;
    assert_eq!(hook(&one, &vendor).await, 200);
    let phone = PhoneNumber::from_wire(&vendor.phone).unwrap();
    let key = InstanceKey::Phone(phone.alias());
    // The vendor's own making is noticed at some time, and takes what was put before that away.
    let values = loop {
        one.gateway.manager().forget_all();
        assert!(one.gateway.manager().by_key(&key).await.unwrap().is_some());
        let mut values = Vec::new();
        for name in shared.redis.ask::<Vec<String>>(&["KEYS", "*"]).await {
            let value: Vec<u8> = shared.redis.ask(&["GET", &name]).await;
            values.push((name, value));
        }
        if values.len() >= 2 && values.iter().all(|it| !it.1.is_empty()) {
            break values;
        }
    };
    let digits = vendor.phone.trim_start_matches('+');
    let private = [
        vendor.secret(),
        &vendor.session.api_key,
        digits,
        "ouvert de 8 h",
        shared.key.expose_secret(),
    ];
    for (name, value) in values {
        let text = format!("{name} {}", String::from_utf8_lossy(&value));
        for it in private {
            assert!(!text.contains(it), "{name} tells something private");
        }
    }
}

#[tokio::test]
async fn a_value_that_was_moved_or_changed_is_not_believed() {
    let shared = Shared::new().await;
    let (one, two) = (shared.gateway().await, shared.gateway().await);
    let (first, second) = (one.vendor(1).await, one.vendor(2).await);
    // What was told late of their making takes values away once more.
    let started = Instant::now();
    let names = loop {
        one.gateway.manager().forget_all();
        assert_eq!((hook(&one, &first).await, hook(&one, &second).await), (200, 200));
        let mut names = shared.redis.names().await;
        names.sort();
        if names.len() == 2 {
            break names;
        }
        assert!(started.elapsed() < DEADLINE, "values do not stay");
    };
    assert!(names[0].contains("vendor_001") && names[1].contains("vendor_002"));
    let _: i64 = shared.redis.ask(&["COPY", &names[0], &names[1], "REPLACE"]).await;
    let _: i64 = shared.redis.ask(&["SETRANGE", &names[0], "40", "changed"]).await;
    two.gateway.manager().forget_all();
    // The first one's secret must not open the second one's door.
    assert_eq!(posted(&two, &second, first.secret()).await, 401);
    assert_eq!((hook(&two, &first).await, hook(&two, &second).await), (200, 200));
}

#[tokio::test]
async fn many_webhooks_of_a_vendor_nobody_remembers_read_the_store_once() {
    let shared = Shared::new().await;
    let one = shared.gateway().await;
    let vendor = one.vendor(1).await;
    shared.forget_all(&one, &[&vendor]).await;
    let n_reads = shared.store.n_vendor_reads.load(Ordering::SeqCst);
    shared.store.hold(true);
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let (manager, id) = (one.gateway.manager().clone(), vendor.id.clone());
            tokio::spawn(async move { manager.known(&id).await })
        })
        .collect();
    super::until("the store is asked", || {
        shared.store.n_vendor_reads.load(Ordering::SeqCst) > n_reads
    })
    .await;
    shared.store.hold(false);
    for it in asked {
        assert!(it.await.unwrap().unwrap().is_some());
    }
    assert_eq!(shared.store.n_vendor_reads.load(Ordering::SeqCst), n_reads + 1);
}

#[tokio::test]
async fn many_who_ask_for_one_number_read_the_store_once() {
    let shared = Shared::new().await;
    let one = shared.gateway().await;
    let vendor = one.vendor(1).await;
    shared.forget_all(&one, &[&vendor]).await;
    let key = InstanceKey::Phone(PhoneNumber::from_wire(&vendor.phone).unwrap().alias());
    let n_reads = || shared.store.n_key_reads.load(Ordering::SeqCst);
    let before = n_reads();
    shared.store.hold(true);
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let (manager, key) = (one.gateway.manager().clone(), key.clone());
            tokio::spawn(async move { manager.by_key(&key).await })
        })
        .collect();
    super::until("the store is asked", || n_reads() > before).await;
    shared.store.hold(false);
    for it in asked {
        assert_eq!(it.await.unwrap().unwrap().unwrap().vendor_id, vendor.id);
    }
    assert_eq!(n_reads(), before + 1);
}

#[tokio::test]
async fn a_known_vendor_is_never_unknown_because_too_many_ask() {
    let shared = Shared::new().await;
    let one = shared.gateway().await;
    let vendor = one.vendor(1).await;
    shared.forget_all(&one, &[&vendor]).await;
    let n_reads = shared.store.n_vendor_reads.load(Ordering::SeqCst);
    shared.store.hold(true);
    let manager = one.gateway.manager();
    let strangers: Vec<_> = (0..5_000)
        .map(|n| {
            let manager = manager.clone();
            let id = VendorId::parse(&format!("stranger_{n}")).unwrap();
            tokio::spawn(async move { manager.known(&id).await })
        })
        .collect();
    super::until("nobody else may wait", || strangers.iter().any(JoinHandle::is_finished)).await;
    let n_reads = shared.store.n_vendor_reads.load(Ordering::SeqCst) - n_reads;
    assert!(n_reads < 100, "{n_reads} reads at once");
    // Behind them all, one of whom there is no copy: nobody can say now.
    let url = format!("{}/api/webhooks/wasender/vendor_of_another_gateway", one.base);
    let headers = [("x-webhook-signature", "whatever")];
    assert_eq!(one.post(&url, &headers, b"{}").await.status, 503);
    assert_eq!(hook(&one, &vendor).await, 200, "there is a copy");
    shared.store.hold(false);
    let mut n_refused = 0;
    for it in strangers {
        match it.await.unwrap() {
            Ok(found) => assert!(found.is_none()),
            Err(_) => n_refused += 1,
        }
    }
    assert!((1..2_000).contains(&n_refused), "{n_refused}");
    assert_eq!(hook(&one, &vendor).await, 200);
}

#[tokio::test]
async fn who_is_not_known_is_remembered_for_a_moment() {
    let shared = Shared::new().await;
    let one = shared.gateway().await;
    let store = Arc::clone(&shared.store);
    let n_reads = || store.n_vendor_reads.load(Ordering::SeqCst);
    let url = format!("{}/api/webhooks/wasender/nobody", one.base);
    let headers = [("x-webhook-signature", "a-secret-of-nobody")];
    let before = n_reads();
    for _ in 0..20 {
        assert_eq!(one.post(&url, &headers, b"{}").await.status, 401);
    }
    assert_eq!(n_reads(), before + 1);
}

#[tokio::test]
async fn a_number_that_nobody_has_is_remembered_for_a_moment_and_looked_for_again_soon() {
    let shared = Shared::new().await;
    let one = shared.gateway().await;
    // Another program, of which the first one hears nothing.
    let other = shared.gateway_with(&[("REDIS_URL", "")]).await;
    let vendor = other.vendor(1).await;
    let manager = one.gateway.manager();
    assert_eq!(hook(&one, &vendor).await, 200);
    let accounts = json!({
        "phoneNumber": "+221771110001", "wasenderInstanceId": "4711",
        "meta": { "phoneNumberId": "1555", "accessToken": "t" },
        "unipile": { "accountId": "u1", "apiKey": "k" },
    });
    let keys = [
        InstanceKey::Phone("221771110001".to_owned()),
        InstanceKey::Wasender("4711".to_owned()),
        InstanceKey::Meta("1555".to_owned()),
        InstanceKey::Unipile("u1".to_owned()),
    ];
    let n_reads = || shared.store.n_key_reads.load(Ordering::SeqCst);
    for key in &keys {
        let (before, asked) = (n_reads(), Instant::now());
        for _ in 0..100 {
            assert!(manager.by_key(key).await.unwrap().is_none());
        }
        assert!(n_reads() == before + 1 || asked.elapsed() > Duration::from_secs(2), "{key:?}");
    }
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", vendor.id);
    let changed = other.admin.put(&path, accounts).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let started = Instant::now();
    for key in &keys {
        // One that is known is remembered for an hour.
        while manager.by_key(key).await.unwrap().is_none() {
            assert!(
                started.elapsed() < DEADLINE,
                "{key:?} is unknown for as long as others are known"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn who_was_unknown_is_looked_for_again_soon_although_nobody_tells() {
    let shared = Shared::new().await;
    let one = shared.gateway().await;
    // Another program, of which the first one hears nothing.
    let other = shared.gateway_with(&[("REDIS_URL", "")]).await;
    let stranger = VendorId::parse("vendor_001").unwrap();
    let manager = one.gateway.manager();
    assert!(manager.known(&stranger).await.unwrap().is_none());
    let n_reads = || shared.store.n_vendor_reads.load(Ordering::SeqCst);
    let (n_before, asked) = (n_reads(), Instant::now());
    for _ in 0..100 {
        assert!(manager.known(&stranger).await.unwrap().is_none());
    }
    assert!(n_reads() == n_before || asked.elapsed() > Duration::from_secs(2), "{}", n_reads());
    let vendor = other.vendor(1).await;
    assert_eq!(vendor.id, stranger);
    // One that is known is remembered for an hour.
    let started = Instant::now();
    while hook(&one, &vendor).await != 200 {
        assert!(started.elapsed() < DEADLINE, "it is unknown for as long as others are known");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
