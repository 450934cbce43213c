//! Several programs on one database: what one changes, the others do.

use std::sync::Arc;

use serde_json::json;
use waba_gateway::{
    domain::{route::ProviderKind, webhook::Headers},
    gateway::VendorChange,
    vendor::VendorService,
};

use super::{app, secrets, until};
use crate::support::{Emulator, Options, RedisServer, TestApp, TestVendor, spawn_app_with, time};

// What is remembered lasts for an hour: what becomes effective here has been told. How soon is
// measured by `cargo bench --bench cache -- --firestore`.

const AT: i64 = 1_708_691_234_000;

async fn proves(app: &TestApp, vendor: &TestVendor, secret: &str) -> bool {
    let hook = format!("{}/api/webhooks/wasender/{}", app.base, vendor.id);
    app.post(&hook, &[("x-webhook-signature", secret)], b"{}").await.status == 200
}

/// What the node remembers of a vendor.
async fn service(app: &TestApp, vendor: &str, secret: &str) -> Arc<VendorService> {
    app.gateway.knock(ProviderKind::Wasender, vendor, &with_secret(secret)).await.unwrap().0
}

fn with_secret(secret: &str) -> Headers {
    Headers(vec![("x-webhook-signature".to_owned(), secret.to_owned())])
}

/// How many changes this node was told of that matter to what it remembers.
async fn version(app: &TestApp) -> i64 {
    app.gateway.store().version().await.unwrap()
}

#[tokio::test]
async fn an_edit_of_another_program_is_effective() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let shop = app.vendor(1).await;
    let document = format!("waba_{}", shop.id);
    assert!(proves(&app, &shop, shop.secret()).await);
    for (secret, with_time) in [("their-first-secret", true), ("their-second-secret", false)] {
        let mut fields = json!({ "wasenderWebhookSecret": secret });
        if with_time {
            fields["updatedAt"] = time(AT);
        }
        program.update("waba_instances", &document, fields).await;
        until("the edit is effective", async || proves(&app, &shop, secret).await).await;
    }
    // So is one of the configuration, and a number that is new or gone.
    program.update("vendor_configs", shop.id.as_str(), json!({ "status": "suspended" })).await;
    let registry = async || service(&app, shop.id.as_str(), "their-second-secret").await;
    let is_suspended = async || registry().await.vendor().status.as_str() == "suspended";
    until("it is suspended", is_suspended).await;
    let more = json!({ "vendorId": shop.id.as_str(), "phoneNumber": "+221779999999" });
    program.set("waba_instances", "aQ7auto", more).await;
    until("the new number is there", async || registry().await.instances().len() == 2).await;
    program.delete("waba_instances", "aQ7auto").await;
    until("it is gone", async || registry().await.instances().len() == 1).await;
}

#[tokio::test]
async fn a_document_under_a_made_up_id_that_is_deleted_is_missed_by_nobody() {
    const MADE_UP: &str = "aQ7hX2kL9mN4pR6sT8vW";
    for collection in ["waba_instances", "vendorConfigs"] {
        let (emulator, redis) = (Emulator::start(), RedisServer::start().await);
        let program = emulator.program().await;
        let with_redis = async || {
            let mut variables = emulator.variables();
            variables.push(("REDIS_URL", redis.url()));
            let app = spawn_app_with(Options { variables, ..Options::default() }).await;
            until("Redis is used", async || app.gateway.manager().uses_redis()).await;
            app
        };
        program.set("vendor_configs", "anna", json!({ "businessName": "Anna" })).await;
        let lends = json!({ "vendorId": "anna", "wasenderWebhookSecret": "of-before" });
        program.set("vendorConfigs", MADE_UP, lends).await;
        let number = json!({ "vendorId": "anna", "phoneNumber": "+221771234567" });
        program.set("waba_instances", MADE_UP, number).await;
        // A webhook that is taken writes when it came, which tells everybody of the number.
        let proves = async |app: &TestApp| {
            let headers = with_secret("of-before");
            let knocked = app.gateway.knock(ProviderKind::Wasender, "anna", &headers).await;
            knocked.is_ok_and(|it| it.1)
        };
        // What one has read the other takes from Redis.
        let (mut one, two) = (with_redis().await, with_redis().await);
        assert!(proves(&one).await);
        until("it is in Redis", async || !redis.names().await.is_empty()).await;
        let n_reads =
            || emulator.reads().iter().filter(|it| it.ends_with("/vendor_configs/anna")).count();
        let before = n_reads();
        assert!(proves(&two).await);
        assert_eq!(n_reads(), before, "it read the documents itself");
        // Who has read it is gone.
        one.app.take().unwrap().stop().await;
        assert_eq!(version(&two).await, 0, "it was told of something");
        program.delete(collection, MADE_UP).await;
        until(collection, async || !proves(&two).await).await;
    }
}

#[tokio::test]
async fn an_edit_that_a_call_shows_before_it_is_told_of_is_effective_all_the_same() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let (shop, other) = (app.vendor(1).await, app.vendor(2).await);
    assert!(proves(&app, &shop, shop.secret()).await);
    // Changes are told in their order: with this one, all before it have been heard of.
    let marker = json!({ "wasenderWebhookSecret": "marker-secret" });
    program.update("waba_instances", &format!("waba_{}", other.id), marker).await;
    until("the marker is heard of", async || proves(&app, &other, "marker-secret").await).await;
    assert!(proves(&app, &shop, shop.secret()).await);

    emulator.hold(true);
    let edit = json!({ "wasenderWebhookSecret": "their-secret" });
    program.update("waba_instances", &format!("waba_{}", shop.id), edit).await;
    program.update("vendor_configs", shop.id.as_str(), json!({ "status": "suspended" })).await;
    let vendor = format!("/api/admin/vendors/{}", shop.id);
    for path in [&vendor, &format!("{vendor}/waba-instances")] {
        assert_eq!(app.admin.get(path).await.status, 200);
    }
    let export = app.admin.get("/api/admin/export?secrets=true").await.text;
    assert!(export.contains("their-secret"), "{export}");
    assert!(proves(&app, &shop, shop.secret()).await, "it was told of after all");
    emulator.hold(false);
    until("the secret is effective", async || proves(&app, &shop, "their-secret").await).await;
    let suspended = async || {
        let service = service(&app, shop.id.as_str(), "their-secret").await;
        service.vendor().status.as_str() == "suspended"
    };
    until("it is suspended", suspended).await;
}

#[tokio::test]
async fn a_vendor_whose_document_is_spoilt_keeps_no_change_of_others_back() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let (shop, spoilt) = (app.vendor(1).await, app.vendor(2).await);
    for it in [&shop, &spoilt] {
        assert!(proves(&app, it, it.secret()).await);
    }
    let document = format!("waba_{}", spoilt.id);
    program.update("waba_instances", &document, json!({ "phoneNumber": "not a number" })).await;
    until("it is noticed", async || {
        let hook = format!("{}/api/webhooks/wasender/{}", app.base, spoilt.id);
        let headers = [("x-webhook-signature", spoilt.secret())];
        app.post(&hook, &headers, b"{}").await.status == 503
    })
    .await;
    // Nor of the vendor itself.
    let change = json!({ "businessName": "Renamed" });
    let path = format!("/api/admin/vendors/{}", spoilt.id);
    assert_eq!(app.admin.put(&path, change).await.status, 200);
    let fields = json!({ "wasenderWebhookSecret": "another-secret" });
    program.update("waba_instances", &format!("waba_{}", shop.id), fields).await;
    until("the edit is effective", async || proves(&app, &shop, "another-secret").await).await;
}

#[tokio::test]
async fn the_state_of_a_session_alone_is_no_change() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let (shop, other) = (app.vendor(1).await, app.vendor(2).await);
    assert!(proves(&app, &shop, shop.secret()).await);
    let others = format!("waba_{}", other.id);
    // Changes are told in their order: with this one, all before it have been heard of.
    let marker = json!({ "wasenderWebhookSecret": "marker-secret" });
    program.update("waba_instances", &others, marker).await;
    until("the marker is heard of", async || proves(&app, &other, "marker-secret").await).await;
    assert!(proves(&app, &shop, shop.secret()).await);
    let before = version(&app).await;
    let document = format!("waba_{}", shop.id);
    let states = json!({ "lastSync": time(AT), "status": "disconnected" });
    program.update("waba_instances", &document, states).await;
    program.update("vendor_configs", shop.id.as_str(), json!({ "wabaStatus": "error" })).await;
    program.update("waba_instances", &others, json!({ "theme": "blue" })).await;
    until("the other is heard of", async || version(&app).await > before).await;
    assert_eq!(version(&app).await, before + 1);
    let changed = app.gateway.store().changes_after(before).await.unwrap().0;
    assert_eq!(changed, [other.id]);
}

#[tokio::test]
async fn two_nodes_see_what_the_other_does() {
    let emulator = Emulator::start();
    let (one, two) = (app(&emulator).await, app(&emulator).await);
    let shop = one.vendor(1).await;
    assert!(proves(&one, &shop, shop.secret()).await);
    // It may have heard of the vendor before it had a number.
    until("the other knows it", async || proves(&two, &shop, shop.secret()).await).await;
    two.gateway.pause(Some(&shop.id), true).await.unwrap();
    until("it is paused", async || one.gateway.work().is_stopped(&shop.id)).await;
    one.gateway.pause(Some(&shop.id), false).await.unwrap();
    until("it goes on", async || !two.gateway.work().is_stopped(&shop.id)).await;
    one.gateway.pause(None, true).await.unwrap();
    until("all are paused", async || two.gateway.work().is_stopped(&shop.id)).await;
    two.gateway.pause(None, false).await.unwrap();
    until("all go on", async || !one.gateway.work().is_stopped(&shop.id)).await;
    let change = VendorChange { business_name: Some("Renamed".to_owned()), ..Default::default() };
    two.gateway.put_vendor(&shop.id, change).await.unwrap();
    until("it has its name", async || {
        let service = service(&one, shop.id.as_str(), shop.secret()).await;
        service.vendor().business_name == "Renamed"
    })
    .await;
    // Keys are one's and the other's.
    let made = one.admin.post("/api/admin/keys", json!({ "name": "a key" })).await.json();
    let with_key = two.admin.with_key(made["key"].as_str().unwrap());
    assert_eq!(with_key.get("/api/admin/vendors").await.status, 200);
    let path = format!("/api/admin/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(one.admin.delete(&path).await.status, 200);
    until("it is revoked", async || with_key.get("/api/admin/vendors").await.status == 401).await;
    // A number is given once, whoever is asked.
    for (node, vendor) in [(&one, "anna"), (&two, "binta")] {
        let path = format!("/api/admin/vendors/{vendor}");
        assert_eq!(node.admin.put(&path, json!({})).await.status, 201);
    }
    let body = || json!({ "phoneNumber": "+221771234567", "provider": "wasender" });
    let (first, second) = tokio::join!(
        one.admin.post("/api/admin/vendors/anna/waba-instances", body()),
        two.admin.post("/api/admin/vendors/binta/waba-instances", body()),
    );
    let mut ends = [first.status, second.status];
    ends.sort_unstable();
    assert_eq!(ends, [201, 409], "{} {}", first.text, second.text);
}

#[tokio::test]
async fn a_start_does_not_read_the_documents_that_are_there() {
    const N: u32 = 200;
    let emulator = Emulator::start();
    let program = emulator.program().await;
    for n in 0..N {
        let fields =
            json!({ "vendorId": format!("v{n}"), "phoneNumber": format!("+2217700{n:05}") });
        program.set("waba_instances", &format!("waba_v{n}"), fields).await;
    }
    let app = app(&emulator).await;
    let heard = async || {
        let metrics = app.admin.get("/metrics").await.text;
        let line = metrics.lines().find(|it| it.starts_with("waba_firestore_heard_total"));
        line.map_or(0, |it| it.rsplit(' ').next().unwrap().parse().unwrap())
    };
    program
        .update("waba_instances", "waba_v0", json!({ "wasenderWebhookSecret": "a-secret" }))
        .await;
    service(&app, "v0", "a-secret").await;
    let secret = json!({ "wasenderWebhookSecret": "s3cret-v0" });
    program.update("waba_instances", "waba_v0", secret).await;
    let headers = with_secret("s3cret-v0");
    until("it listens", async || {
        app.gateway.knock(ProviderKind::Wasender, "v0", &headers).await.is_ok()
    })
    .await;
    assert!(heard().await > 0);
    // The counter is the whole process', which this test has for itself with nextest.
    #[expect(clippy::disallowed_methods, reason = "whoever runs it says so there alone")]
    let is_alone = std::env::var_os("NEXTEST").is_some();
    assert!(!is_alone || heard().await < u64::from(N) / 2, "{}", heard().await);
    let reads = emulator.reads();
    assert!(!reads.iter().any(|it| it.ends_with("waba_v100")), "{reads:?}");
    assert!(reads.len() < N as usize / 2, "{reads:?}");
    let service = service(&app, "v0", "s3cret-v0").await;
    assert_eq!(secrets(&service.instances()[0]), ["s3cret-v0"]);
}
