//! Firestore gone and back: nobody known is refused, nobody unknown is taken for one who does not
//! exist, and everything goes on by itself.

use serde_json::json;
use waba_gateway::{
    domain::{route::ProviderKind, waba::InstanceKey, webhook::Headers},
    gateway,
    store::LocalCopy,
};

use super::{app, until, vendor_id};
use crate::{
    restart::free_port,
    support::{Client, DEADLINE, Emulator, Process, TestApp, TestVendor},
};

async fn knock(app: &TestApp, vendor: &str, secret: &str) -> u16 {
    let hook = format!("{}/api/webhooks/wasender/{vendor}", app.base);
    app.post(&hook, &[("x-webhook-signature", secret)], b"{}").await.status
}

/// A vendor that this node remembers: everything that was written of it has been heard of.
async fn remembered(app: &TestApp, emulator: &Emulator) -> TestVendor {
    let mut vendor = app.vendor(1).await;
    let program = emulator.program().await;
    let document = format!("waba_{}", vendor.id);
    let marker = json!({ "wasenderWebhookSecret": "the-marker-secret" });
    assert_eq!(knock(app, vendor.id.as_str(), vendor.secret()).await, 200);
    program.update("waba_instances", &document, marker).await;
    until("the marker is heard of", async || {
        knock(app, vendor.id.as_str(), "the-marker-secret").await == 200
    })
    .await;
    "the-marker-secret".clone_into(&mut vendor.session.webhook_secret);
    vendor
}

#[tokio::test]
async fn while_firestore_is_gone_the_unknown_get_503_and_the_known_are_served() {
    let mut emulator = Emulator::start();
    let app = app(&emulator).await;
    let known = remembered(&app, &emulator).await;
    assert_eq!(knock(&app, "nobody", "a-secret").await, 401);
    emulator.kill();
    assert_eq!(knock(&app, known.id.as_str(), known.secret()).await, 200);
    assert_eq!(knock(&app, known.id.as_str(), "another-secret").await, 401);
    for _ in 0..3 {
        assert_eq!(knock(&app, "nobody-else", "a-secret").await, 503);
    }
    // Nor does an administrator learn what nobody knows.
    for path in ["/api/admin/vendors/nobody", "/api/admin/vendors", "/api/admin/keys"] {
        assert_eq!(app.admin.get(path).await.status, 503, "{path}");
    }
    assert_eq!(app.admin.put("/api/admin/vendors/new", json!({})).await.status, 503);
    let key = InstanceKey::Phone("221771234567".to_owned());
    assert!(app.gateway.store().instance_by_key(&key).await.is_err());
    emulator.restart();
    until("it is back", async || knock(&app, "nobody", "a-secret").await == 401).await;
    assert_eq!(app.admin.put("/api/admin/vendors/new", json!({})).await.status, 201);
    assert_eq!(knock(&app, known.id.as_str(), known.secret()).await, 200);
}

#[tokio::test]
async fn what_is_changed_while_nobody_listens_is_heard_of_once_somebody_does_again() {
    let mut emulator = Emulator::start();
    let app = app(&emulator).await;
    let shop = remembered(&app, &emulator).await;
    let secret = [("x-webhook-signature".to_owned(), shop.secret().to_owned())];
    // What is remembered for an hour: nothing that is asked here makes anybody read it again.
    let status = async || {
        let headers = Headers(secret.to_vec());
        let known = app.gateway.knock(ProviderKind::Wasender, shop.id.as_str(), &headers).await;
        known.unwrap().0.vendor().status.as_str()
    };
    for (n, word) in ["suspended", "inactive"].into_iter().enumerate() {
        emulator.kill();
        assert_eq!(knock(&app, shop.id.as_str(), shop.secret()).await, 200);
        emulator.restart();
        // Each edit is made once: this one before the gateway is there again, ...
        let program = emulator.program().await;
        program.update("vendor_configs", shop.id.as_str(), json!({ "status": word })).await;
        until("it is heard of", async || status().await == word).await;
        // ... and this one while it listens.
        let word = ["active", "suspended"][n];
        program.update("vendor_configs", shop.id.as_str(), json!({ "status": word })).await;
        until("the next is heard of", async || status().await == word).await;
    }
}

#[tokio::test]
async fn a_key_that_another_node_revoked_is_no_good_while_firestore_is_gone() {
    let mut emulator = Emulator::start();
    let (one, two) = (app(&emulator).await, app(&emulator).await);
    let vendor = one.vendor(1).await;
    let made = async |name: &str| {
        let new = json!({ "name": name, "vendorId": vendor.id.as_str() });
        let made = one.admin.post("/api/admin/keys", new).await.json();
        let key = made["key"].as_str().unwrap().to_owned();
        (two.admin.with_key(&key), gateway::hash(&key), made["id"].as_str().unwrap().to_owned())
    };
    let (revoked, kept) = (made("revoked").await, made("kept").await);
    let path = format!("/api/admin/vendors/{}/send-message", vendor.id);
    let send = async |client: &Client| {
        let message = json!({ "to": "+221705550001", "message": "bonjour" });
        client.post(&path, message).await.status
    };
    let copy = LocalCopy::new(two.db(), two.vault());
    let is_known = async |hash| copy.key(hash).await.unwrap().is_some();
    // It may have heard of the vendor before it had a number, and asks for a key once more that was
    // asked for before the listening began.
    until("it is kept", async || send(&revoked.0).await == 202 && is_known(&revoked.1).await).await;
    let deleted = one.admin.delete(&format!("/api/admin/keys/{}", revoked.2)).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    until("it is heard of", async || !is_known(&revoked.1).await).await;
    until("the other is kept", async || {
        assert_eq!(send(&kept.0).await, 202);
        is_known(&kept.1).await
    })
    .await;
    emulator.kill();
    assert_eq!(send(&kept.0).await, 202, "as it was last known");
    assert_eq!(send(&revoked.0).await, 503, "nobody can say");
}

#[tokio::test]
async fn the_look_for_alerts_reads_no_vendor_and_finds_who_is_not_connected() {
    let emulator = Emulator::start();
    let app = app(&emulator).await;
    let shop = remembered(&app, &emulator).await;
    let copy = LocalCopy::new(app.db(), app.vault());
    until("it is known here", async || {
        let page = copy.vendors(None, 10).await.unwrap();
        page.vendors.iter().any(|it| it.id == shop.id)
    })
    .await;
    // Something else may read one just then.
    until("a look reads no vendor", async || {
        let before = emulator.reads().len();
        app.gateway.look().await.unwrap();
        !emulator.reads()[before..].iter().any(|it| it.to_lowercase().contains("config"))
    })
    .await;
    let program = emulator.program().await;
    let gone = json!({ "status": "disconnected" });
    program.update("waba_instances", &format!("waba_{}", shop.id), gone).await;
    app.gateway.look().await.unwrap();
    let open = app.gateway.alerts().await.unwrap();
    assert!(open.iter().any(|it| it.kind.as_str() == "disconnected"), "{open:?}");
}

#[tokio::test]
async fn while_firestore_hangs_every_webhook_is_answered() {
    let emulator = Emulator::start();
    let app = app(&emulator).await;
    let known = remembered(&app, &emulator).await;
    emulator.signal("STOP");
    for (vendor, secret, status) in
        [("nobody", "a-secret", 503), (known.id.as_str(), known.secret(), 200)]
    {
        let answered = tokio::time::timeout(DEADLINE, knock(&app, vendor, secret)).await;
        assert_eq!(answered, Ok(status), "{vendor}");
    }
    emulator.signal("CONT");
    until("it is back", async || knock(&app, "nobody", "a-secret").await == 401).await;
}

#[tokio::test]
async fn the_gateway_starts_while_firestore_is_away_and_sends_when_it_is_back() {
    let mut emulator = Emulator::start();
    let mut app = app(&emulator).await;
    let shop = app.vendor(1).await;
    let paused = app.vendor(2).await;
    app.gateway.pause(Some(&paused.id), true).await.unwrap();
    assert_eq!(knock(&app, shop.id.as_str(), shop.secret()).await, 200);
    emulator.kill();
    app.restart().await;
    // There is a copy of who they are and whose sends are stopped.
    assert_eq!(knock(&app, shop.id.as_str(), shop.secret()).await, 200);
    assert_eq!(app.admin.get("/api/admin/vendors").await.status, 503);
    let stopped = |app: &TestApp| [&shop, &paused].map(|it| app.gateway.work().is_stopped(&it.id));
    assert_eq!(stopped(&app), [false, true]);
    // Another node was never there before: it knows nobody, and sends nothing until it does.
    let other = self::app(&emulator).await;
    assert_eq!(knock(&other, shop.id.as_str(), shop.secret()).await, 503);
    assert_eq!(stopped(&other), [true, true]);
    emulator.restart();
    until("sends go on", async || stopped(&other) == [false, true]).await;
    assert_eq!(knock(&other, shop.id.as_str(), shop.secret()).await, 200);
    until("it is back", async || app.admin.get("/api/admin/vendors").await.status == 200).await;
    assert_eq!(stopped(&app), [false, true]);
    assert_eq!(knock(&app, shop.id.as_str(), shop.secret()).await, 200);
    assert_eq!(app.admin.get("/api/admin/vendors").await.status, 200);
    assert!(app.gateway.vendor(&vendor_id("nobody")).await.is_err());
}

#[tokio::test]
async fn a_wrong_key_that_is_found_out_late_keeps_everybody_out_and_refuses_nobody() {
    let mut emulator = Emulator::start();
    let first = app(&emulator).await;
    let shop = first.vendor(1).await;
    emulator.kill();
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let mut variables = emulator.variables();
    variables.retain(|it| it.0 != "ENCRYPTION_KEY");
    let wrong = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=".to_owned();
    variables.push(("ENCRYPTION_KEY", wrong));
    let data = directory.path().join("data");
    let process = Process::start(&data, free_port(), &variables, &log);
    let address = process.base.strip_prefix("http://").unwrap().to_owned();
    until("it serves", async || tokio::net::TcpStream::connect(&address).await.is_ok()).await;
    let hook = format!("{}/api/webhooks/wasender/{}", process.base, shop.id);
    let knock =
        async || first.post(&hook, &[("x-webhook-signature", shop.secret())], b"{}").await.status;
    assert_eq!(knock().await, 503);
    emulator.restart();
    until("it is told", async || {
        assert_eq!(knock().await, 503);
        let log = std::fs::read_to_string(&log).unwrap();
        log.contains("Firestore is not used") && log.contains("another ENCRYPTION_KEY")
    })
    .await;
    for _ in 0..3 {
        assert_eq!(knock().await, 503);
    }
}

#[tokio::test]
async fn a_wrong_or_missing_encryption_key_stops_the_start() {
    let emulator = Emulator::start();
    drop(app(&emulator).await);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    for (key, told) in [
        ("", "ENCRYPTION_KEY is needed"),
        ("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=", "sealed with another ENCRYPTION_KEY"),
    ] {
        let mut variables = emulator.variables();
        variables.retain(|it| it.0 != "ENCRYPTION_KEY");
        variables.push(("ENCRYPTION_KEY", key.to_owned()));
        let data = directory.path().join(format!("data-{}", key.len()));
        let port = free_port();
        let mut process = Process::start(&data, port, &variables, &log);
        let ended = process.ended(DEADLINE).await;
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(!ended.success() && log.contains(told), "{log}");
    }
}
