//! WABA instances: changed, deleted, moved to another account, counted.

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR},
        id::InstanceId,
        phone::PhoneNumber,
        waba::InstanceKey,
    },
    gateway::VendorChange,
    twin::{Customer, Misbehaviour, NewSession, Times},
};

use crate::{
    delivery::{send, status_is},
    support::{Answer, DEADLINE, Options, TestApp, TestVendor, spawn_app, spawn_app_with},
};

const NOW: i64 = 1_760_000_000_000;
const TO: &str = "+221705550001";

fn path(vendor: &TestVendor) -> String {
    format!("/api/admin/vendors/{0}/waba/waba_{0}", vendor.id)
}

async fn proves(app: &TestApp, vendor: &TestVendor, secret: &str) -> u16 {
    app.post(&vendor.hook, &[("x-webhook-signature", secret)], b"{}").await.status
}

#[track_caller]
fn done(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    let fields: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["message", "success"]);
    assert_eq!(answer["success"], true);
    answer["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_instance_is_changed_and_its_old_secret_is_good_for_a_day() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let (old, new) = (vendor.secret().to_owned(), "a-new-webhook-secret");
    let change = json!({
        "phoneNumber": "77 000 99 99", "wasenderWebhookSecret": new, "accountProtection": true,
        "signatureSchemes": ["secret"],
    });
    done(&app.admin.put(&path(&vendor), change).await);
    let shown = app.admin.get(&path(&vendor)).await.json();
    assert_eq!(shown["phoneNumber"], "+221770009999");
    assert_eq!(shown["accountProtection"], true);
    assert_eq!(shown["signatureSchemes"], json!(["secret"]));
    // What is absent stays.
    assert_eq!(shown["wasenderInstanceId"], vendor.session.id.to_string());
    assert!(shown["wasenderApiKey"].is_string());
    assert_eq!(proves(&app, &vendor, new).await, 200);
    assert_eq!(proves(&app, &vendor, &old).await, 200);
    app.clock.advance(24 * HOUR);
    app.gateway.notice(std::slice::from_ref(&vendor.id)).await;
    assert_eq!(proves(&app, &vendor, new).await, 200);
    assert_eq!(proves(&app, &vendor, &old).await, 401);
    // Null takes away; the key is found no longer under the former session.
    let id = vendor.session.id.to_string();
    let claims = async || {
        let key = InstanceKey::Wasender(id.clone());
        app.gateway.store().instance_by_key(&key).await.unwrap().is_some()
    };
    assert!(claims().await);
    let none = json!({
        "wasenderInstanceId": null, "wasenderApiKey": null, "wasenderWebhookSecret": null,
        "wasenderToken": null, "accountProtection": null, "signatureSchemes": null,
    });
    assert!(done(&app.admin.put(&path(&vendor), none).await).contains("parked"));
    assert!(!claims().await);
    let shown = app.admin.get(&path(&vendor)).await.json();
    assert_eq!(shown["wasenderApiKey"], Value::Null);
    assert_eq!(shown["accountProtection"], false);
    assert_eq!(shown["signatureSchemes"], json!(["hmac", "secret"]));
    assert_eq!(proves(&app, &vendor, new).await, 401);
}

#[tokio::test]
async fn a_change_that_cannot_be_is_refused_and_changes_nothing() {
    let app = spawn_app().await;
    let (one, two) = (app.vendor(1).await, app.vendor(2).await);
    let more = app.number(&one.id, "+221770008888", 2_000).await;
    let before = app.admin.get(&path(&one)).await.text;
    let put = async |body: Value| app.admin.put(&path(&one), body).await;
    for (status, body) in [
        (409, json!({ "phoneNumber": two.phone })),
        (409, json!({ "wasenderInstanceId": two.session.id })),
        (409, json!({ "phoneNumber": more.phone })),
        (409, json!({ "wasenderInstanceId": more.session.id })),
        (409, json!({ "wasenderWebhookSecret": more.secret() })),
    ] {
        let answer = put(body.clone()).await;
        assert_eq!(answer.status, status, "{body} {}", answer.text);
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(app.admin.get(&path(&one)).await.text, before);
}

#[tokio::test]
async fn a_malformed_change_is_refused_and_changes_nothing() {
    let app = spawn_app().await;
    let one = app.vendor(1).await;
    let before = app.admin.get(&path(&one)).await.text;
    let put = async |body: Value| app.admin.put(&path(&one), body).await;
    for (status, body) in [
        (422, json!({ "phoneNumber": null })),
        (422, json!({ "phoneNumber": "12" })),
        (422, json!({ "wasenderWebhookSecret": "short" })),
        (422, json!({ "signatureSchemes": [] })),
        (400, json!({ "status": "connected" })),
        (400, json!({ "signatureSchemes": ["none"] })),
    ] {
        let answer = put(body.clone()).await;
        assert_eq!(answer.status, status, "{body} {}", answer.text);
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(app.admin.get(&path(&one)).await.text, before);
}

#[tokio::test]
async fn an_instance_is_the_operators_to_change_and_one_vendors_alone() {
    let app = spawn_app().await;
    let (one, two) = (app.vendor(1).await, app.vendor(2).await);
    let unknown = format!("/api/admin/vendors/{}/waba/waba_nobody", one.id);
    assert_eq!(app.admin.put(&unknown, json!({})).await.status, 404);
    assert_eq!(app.admin.delete(&unknown).await.status, 404);
    // Another vendor's instance is not this one's to change.
    let foreign = format!("/api/admin/vendors/{}/waba/waba_{}", one.id, two.id);
    assert_eq!(app.admin.put(&foreign, json!({})).await.status, 404);
    assert_eq!(app.admin.delete(&foreign).await.status, 404);
    let key = json!({ "name": "shop", "vendorId": one.id.as_str() });
    let key = app.admin.post("/api/admin/keys", key).await.json();
    let own = app.admin.with_key(key["key"].as_str().unwrap());
    assert_eq!(own.put(&path(&one), json!({})).await.status, 403);
    assert_eq!(own.delete(&path(&one)).await.status, 403);
    let switch = format!("/api/admin/vendors/{}/switch-provider", one.id);
    let body = json!({ "provider": "wasender", "config": {} });
    assert_eq!(own.post(&switch, body).await.status, 403);
}

#[tokio::test]
async fn a_deleted_instance_is_silent_at_wasender_and_its_webhooks_are_refused() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let customer = Customer::new(TO);
    assert!(app.twin.customer_says(vendor.session.id, &customer, "bonjour").await.is_ok());
    app.twin.wait_sends(1, DEADLINE).await;
    app.settled().await;
    app.until(&vendor, |it| it.iter().any(|it| it["status"] == "read")).await;
    done(&app.admin.delete(&path(&vendor)).await);
    let session = app.twin.session(vendor.session.id).unwrap();
    assert!(!session.webhook_enabled);
    assert_eq!(session.webhook_url.as_deref(), Some(vendor.hook.as_str()));
    assert_eq!(proves(&app, &vendor, vendor.secret()).await, 401);
    assert_eq!(app.admin.get(&path(&vendor)).await.status, 404);
    assert_eq!(app.admin.delete(&path(&vendor)).await.status, 404);
    // Its messages stay, and its id is not given to another number.
    assert_eq!(app.messages(&vendor).await.len(), 2);
    let list = app.admin.get(&format!("/api/admin/vendors/{}/waba-instances", vendor.id)).await;
    assert_eq!(list.json()["instances"], json!([]));
    let again = app.number(&vendor.id, &vendor.phone, 3_000).await;
    let id = InstanceId::parse("waba_vendor_001_2").unwrap();
    assert_eq!(app.gateway.instances(&vendor.id).await.unwrap()[0].id, id);
    assert_eq!(proves(&app, &again, again.secret()).await, 200);
    app.balanced().await;
}

#[tokio::test]
async fn a_session_that_calls_somebody_else_is_left_alone() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.twin.set_webhook(vendor.session.id, "https://other.example/hook");
    done(&app.admin.delete(&path(&vendor)).await);
    assert!(app.twin.session(vendor.session.id).unwrap().webhook_enabled);
}

#[tokio::test]
async fn what_is_in_flight_keeps_an_instance_or_ends_as_gone() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    let id = send(&app, &vendor, TO, "plus tard").await;
    let answer = app.admin.delete(&path(&vendor)).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(answer.json()["error"].as_str().unwrap().contains("force"));
    assert!(app.twin.session(vendor.session.id).unwrap().webhook_enabled);
    let forced = app.admin.delete(&format!("{}?force=true", path(&vendor))).await;
    assert!(done(&forced).contains('1'));
    app.gateway.pause(Some(&vendor.id), false).await.unwrap();
    status_is(&app, &vendor, &id, "dead").await;
    assert_eq!(app.messages(&vendor).await[0]["reason"], "gone");
    assert_eq!(app.twin.n_sends(), 0);
    app.balanced().await;
}

#[tokio::test]
async fn a_wasender_that_is_away_keeps_an_instance_unless_forced() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.twin.misbehave(vendor.session.id, Misbehaviour::PatRefused, Times::Always);
    let answer = app.admin.delete(&path(&vendor)).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert!(answer.json()["error"].as_str().unwrap().contains("force"));
    assert_eq!(proves(&app, &vendor, vendor.secret()).await, 200);
    let forced = app.admin.delete(&format!("{}?force=true", path(&vendor))).await;
    assert!(done(&forced).contains("switch it off"));
    assert_eq!(proves(&app, &vendor, vendor.secret()).await, 401);
}

#[tokio::test]
async fn another_account_takes_over_without_losing_what_waits() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    send(&app, &vendor, TO, "en attente").await;
    let session = app.twin.add_session(NewSession::new(&vendor.phone));
    let switch = format!("/api/admin/vendors/{}/switch-provider", vendor.id);
    let body = json!({ "provider": "wasender", "config": {
        "wasenderInstanceId": session.id, "wasenderApiKey": session.api_key,
        "wasenderWebhookSecret": session.webhook_secret,
    }});
    let answer = app.admin.post(&switch, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    let fields: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["message", "success", "webhookUrl"]);
    assert_eq!(answer["webhookUrl"], vendor.hook);
    app.gateway.pause(Some(&vendor.id), false).await.unwrap();
    let sends = app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends[0].session, session.id);
    assert_eq!(proves(&app, &vendor, &session.webhook_secret).await, 200);
}

#[tokio::test]
async fn a_number_is_moved_to_another_provider_in_one_call() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let switch = format!("/api/admin/vendors/{}/switch-provider", vendor.id);
    let number = format!("/api/admin/vendors/{}/waba/waba_{}", vendor.id, vendor.id);
    let secret = "a-secret-token";
    for (provider, config, shown) in [
        (
            "meta",
            json!({ "phoneNumberId": 106_540_352_242_922_u64, "accessToken": secret }),
            json!({ "phoneNumberId": "106540352242922", "accessToken": "…" }),
        ),
        (
            "unipile",
            json!({ "accountId": "acc_1", "apiKey": secret, "dsn": "https://api1.unipile.com:13111/api/v1/" }),
            json!({ "accountId": "acc_1", "dsn": "https://api1.unipile.com:13111/api/v1" }),
        ),
        (
            "twilio",
            json!({ "accountSid": "AC123", "authToken": secret, "from": "whatsapp:+1 415 523 8886" }),
            json!({ "accountSid": "AC123", "from": "+14155238886" }),
        ),
    ] {
        let body = json!({ "provider": provider, "config": config });
        let answer = app.admin.post(&switch, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let hook = answer.json()["webhookUrl"].as_str().unwrap().to_owned();
        assert!(hook.ends_with(&format!("/api/webhooks/{provider}/{}", vendor.id)), "{hook}");
        let now = app.admin.get(&number).await;
        assert!(!now.text.contains(secret), "{}", now.text);
        let now = now.json();
        assert_eq!(now["provider"], provider);
        for (field, value) in shown.as_object().unwrap() {
            assert_eq!(now[provider][field], *value, "{now}");
        }
        // What proved its webhooks before still does.
        assert_eq!(now["wasenderInstanceId"], vendor.session.id.to_string());
    }
}

#[tokio::test]
async fn the_other_providers_of_a_number_are_tried_in_the_order_that_is_told() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let switch = format!("/api/admin/vendors/{}/switch-provider", vendor.id);
    let number = format!("/api/admin/vendors/{}/waba/waba_{}", vendor.id, vendor.id);
    let change = json!({
        "provider": "twilio", "failover": ["meta", "twilio", "wasender", "meta"],
        "meta": { "phoneNumberId": "7001" }, "twilio": { "accountSid": "AC123" },
    });
    assert_eq!(app.admin.put(&number, change).await.status, 200);
    let now = app.admin.get(&number).await.json();
    assert_eq!(now["failover"], json!(["meta", "wasender"]));
    // Back, with what is stored.
    let back = json!({ "provider": "meta" });
    assert_eq!(app.admin.post(&switch, back).await.status, 200);
    let now = app.admin.get(&number).await.json();
    assert_eq!(now["failover"], json!(["wasender"]));
    assert_eq!(app.admin.put(&number, json!({ "meta": null })).await.status, 422);
    let change = json!({ "provider": "wasender", "failover": null, "meta": null });
    assert_eq!(app.admin.put(&number, change).await.status, 200);
    assert!(app.admin.get(&number).await.json().get("meta").is_none());
}

#[tokio::test]
async fn an_account_that_cannot_be_is_refused_with_its_field_and_no_value() {
    let app = spawn_app().await;
    let (vendor, other) = (app.vendor(1).await, app.vendor(2).await);
    let switch = format!("/api/admin/vendors/{}/switch-provider", vendor.id);
    let secret = "secret-token";
    for (body, field) in [
        (json!({ "provider": "telegram", "config": {} }), "provider"),
        (json!({ "provider": "wasender" }), "config"),
        (json!({ "provider": "meta" }), "meta: is missing"),
        (json!({ "provider": "wasender", "config": { "accessToken": secret } }), "config"),
        (json!({ "provider": "meta", "config": { "accessToken": secret } }), "meta.phoneNumberId"),
        (json!({ "provider": "meta", "config": { "phoneNumberId": "x1" } }), "meta.phoneNumberId"),
        (
            json!({ "provider": "meta", "config": { "phoneNumberId": 1, "accessToken": "a b" } }),
            "meta.accessToken",
        ),
        (
            json!({ "provider": "unipile", "config": { "accountId": "a", "dsn": "ftp://x" } }),
            "unipile.dsn",
        ),
        (json!({ "provider": "twilio", "config": { "accountSid": "XY1" } }), "twilio.accountSid"),
        (
            json!({ "provider": "twilio", "config": { "accountSid": "AC1", "from": "12" } }),
            "twilio.from",
        ),
    ] {
        let answer = app.admin.post(&switch, body).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert!(answer.text.contains(field), "{field}: {}", answer.text);
        assert!(!answer.text.contains(secret));
    }
    // Whose a number at Meta is, is decided once.
    let body = json!({ "provider": "meta", "config": { "phoneNumberId": "7001" } });
    assert_eq!(app.admin.post(&switch, body.clone()).await.status, 200);
    let theirs = format!("/api/admin/vendors/{}/switch-provider", other.id);
    let answer = app.admin.post(&theirs, body).await;
    assert_eq!(answer.status, 409);
    assert!(answer.text.contains("metaPhoneNumberId"), "{}", answer.text);
    let nobody = "/api/admin/vendors/nobody/switch-provider";
    assert_eq!(app.admin.post(nobody, json!({ "provider": "x" })).await.status, 404);
}

#[tokio::test]
async fn the_number_that_is_named_is_switched_and_no_other() {
    let app = spawn_app().await;
    let (shop, other) = (app.vendor(1).await, app.vendor(2).await);
    let second = app.number(&shop.id, "+221770008888", 2_000).await;
    let switch = format!("/api/admin/vendors/{}/switch-provider", shop.id);
    let body = |waba_id: &str| {
        json!({ "provider": "meta", "wabaId": waba_id,
        "config": { "phoneNumberId": "7001", "accessToken": "token" } })
    };
    let id = format!("waba_{}_2", shop.id);
    let answer = app.admin.post(&switch, body(&id)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let providers: Vec<(String, &str)> = app
        .gateway
        .instances(&shop.id)
        .await
        .unwrap()
        .iter()
        .map(|it| (it.id.to_string(), it.provider.as_str()))
        .collect();
    assert_eq!(providers, [(format!("waba_{}", shop.id), "wasender"), (id, "meta")]);
    assert_eq!(second.id, shop.id);
    for unknown in [format!("waba_{}", other.id), "waba_none".to_owned(), "no/id".to_owned()] {
        assert_eq!(app.admin.post(&switch, body(&unknown)).await.status, 404, "{unknown}");
    }
}

#[tokio::test]
async fn instances_are_counted_and_their_failures_told_once_a_minute() {
    let app = spawn_app().await;
    let (one, two) = (app.vendor(1).await, app.vendor(2).await);
    app.number(&two.id, "+221770008888", 2_000).await;
    app.gateway.put_vendor(&"vendor_009".parse().unwrap(), VendorChange::default()).await.unwrap();
    let census = async || app.admin.get("/api/admin/analytics/waba-instances").await;
    let empty = census().await.json();
    assert_eq!(empty["recentFailures"], json!([]));
    app.twin.misbehave(one.session.id, Misbehaviour::KeyRefused, Times::Always);
    let id = send(&app, &one, TO, "refusé").await;
    status_is(&app, &one, &id, "parked").await;
    // A connection event is what the status comes from.
    let state = json!({ "event": "session.status", "data": { "status": "connected" } });
    assert_eq!(app.post_signed(&two, &state).await.status, 200);
    let answer = census().await;
    assert_eq!(answer.status, 200);
    assert!(!answer.text.contains(one.secret()));
    let answer = answer.json();
    let fields: Vec<&String> = answer.as_object().unwrap().keys().collect();
    let want =
        ["byProvider", "recentFailures", "statusBreakdown", "totalInstances", "totalVendors"];
    assert_eq!(fields, want);
    assert_eq!((&answer["totalVendors"], &answer["totalInstances"]), (&json!(3), &json!(3)));
    assert_eq!(answer["byProvider"], json!({ "wasender": 3 }));
    let breakdown = json!({ "connected": 1, "pending": 2, "disconnected": 0, "error": 0 });
    assert_eq!(answer["statusBreakdown"], breakdown);
    let failures = answer["recentFailures"].as_array().unwrap();
    assert_eq!(failures.len(), 1);
    let fields: Vec<&String> = failures[0].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["lastError", "lastFailedAt", "phoneNumber", "vendorId"]);
    assert_eq!(failures[0]["vendorId"], one.id.as_str());
    assert_eq!(failures[0]["phoneNumber"], one.phone);
    assert_eq!(failures[0]["lastError"], "unauthorized");
    // Within the minute a second one is not written.
    let at = failures[0]["lastFailedAt"].clone();
    let id = send(&app, &one, TO, "encore").await;
    status_is(&app, &one, &id, "parked").await;
    assert_eq!(census().await.json()["recentFailures"][0]["lastFailedAt"], at);
    assert!(PhoneNumber::from_wire(&one.phone).is_ok());
}

#[tokio::test]
async fn a_vendors_key_sees_no_counts_of_everybody() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let key = json!({ "name": "shop", "vendorId": vendor.id.as_str() });
    let key = app.admin.post("/api/admin/keys", key).await.json();
    let own = app.admin.with_key(key["key"].as_str().unwrap());
    assert_eq!(own.get("/api/admin/analytics/waba-instances").await.status, 403);
}
