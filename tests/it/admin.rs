//! Keys, vendors and instances.

use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, spawn_app};

async fn key(app: &crate::support::TestApp, body: Value) -> Client {
    let made = app.admin.post("/api/admin/keys", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    app.admin.with_key(made.json()["key"].as_str().unwrap())
}

#[tokio::test]
async fn without_a_key_there_is_nothing() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let paths = [
        ("GET", format!("/api/admin/vendors/{}", vendor.id)),
        ("PUT", format!("/api/admin/vendors/{}", vendor.id)),
        ("POST", format!("/api/admin/vendors/{}/waba-instances", vendor.id)),
        ("GET", format!("/api/admin/vendors/{}/waba-instances", vendor.id)),
        ("POST", format!("/api/admin/vendors/{}/setup-wasender-webhook", vendor.id)),
        ("GET", format!("/api/admin/vendors/{}/wasender-status", vendor.id)),
        ("POST", format!("/api/admin/vendors/{}/send-message", vendor.id)),
        ("GET", format!("/api/admin/vendors/{}/messages", vendor.id)),
        ("POST", format!("/api/admin/vendors/{}/pause", vendor.id)),
        ("GET", "/api/admin/vendors".to_owned()),
        ("POST", "/api/admin/keys".to_owned()),
        ("GET", "/api/admin/keys".to_owned()),
        ("POST", "/api/admin/pause".to_owned()),
        ("GET", "/metrics".to_owned()),
    ];
    for client in [Client::new(&app.base, ""), app.admin.with_key("wgk_wrong")] {
        for (method, path) in &paths {
            let answer = client.call(method, path, Some(json!({})), &[]).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert!(answer.json()["error"].is_string());
        }
    }
    assert_eq!(app.admin.get("/api/nothing").await.status, 404);
    assert_eq!(app.admin.get("/api/webhooks/wasender/vendor_001").await.status, 405);
    for path in ["/health", "/api/health", "/ready"] {
        assert_eq!(Client::new(&app.base, "").get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_vendors_key_is_good_for_that_vendor_alone() {
    let app = spawn_app().await;
    let (own, other) = (app.vendor(1).await, app.vendor(2).await);
    let client = key(&app, json!({ "name": "shop", "vendorId": own.id.as_str() })).await;
    assert_eq!(client.get(&format!("/api/admin/vendors/{}", own.id)).await.status, 200);
    // Another's, existing or not, or not even an id.
    let mut answers = Vec::new();
    for id in [other.id.as_str(), "vendor_999", "not%20an%20id"] {
        for path in ["", "/waba-instances", "/messages"] {
            let answer = client.get(&format!("/api/admin/vendors/{id}{path}")).await;
            answers.push((answer.status, answer.text));
        }
    }
    assert!(answers.iter().all(|it| *it == answers[0] && it.0 == 403), "{answers:?}");
    for path in ["/api/admin/vendors", "/api/admin/keys", "/metrics"] {
        assert_eq!(client.get(path).await.status, 403, "{path}");
    }
    let message = json!({ "to": "+221705550001", "message": "bonjour" });
    let path = format!("/api/admin/vendors/{}/send-message", own.id);
    assert_eq!(client.post(&path, message.clone()).await.status, 202);
    app.twin.wait_sends(1, DEADLINE).await;
    let looking =
        key(&app, json!({ "name": "look", "vendorId": own.id.as_str(), "readOnly": true })).await;
    assert_eq!(looking.get(&format!("/api/admin/vendors/{}/messages", own.id)).await.status, 200);
    assert_eq!(looking.post(&path, message).await.status, 403);
}

#[tokio::test]
async fn keys_are_listed_without_themselves_and_revoked() {
    let app = spawn_app().await;
    let made = app.admin.post("/api/admin/keys", json!({ "name": "temporary" })).await.json();
    let secret = made["key"].as_str().unwrap();
    let client = app.admin.with_key(secret);
    assert_eq!(client.get("/api/admin/keys").await.status, 200);
    let list = app.admin.get("/api/admin/keys").await;
    assert!(list.text.contains("temporary") && !list.text.contains(secret));
    let path = format!("/api/admin/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(app.admin.delete(&path).await.status, 200);
    assert_eq!(app.admin.delete(&path).await.status, 404);
    assert_eq!(client.get("/api/admin/keys").await.status, 401);
}

#[tokio::test]
async fn vendors_see_nothing_of_each_other() {
    let app = spawn_app().await;
    let (one, two) = (app.vendor(1).await, app.vendor(2).await);
    let customer = waba_gateway::twin::Customer::new("+221705550001");
    assert!(app.twin.customer_says(one.session.id, &customer, "pour un seul").await.is_ok());
    app.twin.wait_sends(1, DEADLINE).await;
    let own = app.admin.get(&format!("/api/admin/vendors/{}/messages", one.id)).await.json();
    let id = own["messages"][0]["messageId"].as_str().unwrap().to_owned();
    let others = app.admin.get(&format!("/api/admin/vendors/{}/messages", two.id)).await.json();
    assert_eq!(others["messages"], json!([]));
    for path in [format!("messages/{id}"), "waba/waba_vendor_001".to_owned()] {
        let answer = app.admin.get(&format!("/api/admin/vendors/{}/{path}", two.id)).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let path = format!("/api/admin/vendors/{}/send-message", two.id);
    let foreign = json!({ "to": "+221705550001", "message": "x", "wabaId": "waba_vendor_001" });
    assert_eq!(app.admin.post(&path, foreign).await.status, 404);
}

#[tokio::test]
async fn a_vendor_is_made_changed_and_shown_without_its_secrets() {
    let app = spawn_app().await;
    let path = "/api/admin/vendors/shop-1";
    let body = json!({
        "businessName": "Chez Awa", "status": "active", "autoReplyEnabled": true,
        "welcomeMessage": "Bienvenue", "apology": "Pardon", "silenceMinutes": 30,
        "responders": [
            { "kind": "responseApi", "url": "https://bot.example/answer", "dialect": "bot",
              "headers": { "x-key": "a-long-bot-key-000042" } },
            { "kind": "rules", "rules": [{ "contains": "prix", "reply": "voir vitrine" }], "otherwise": "merci" },
        ],
        "onUnknown": "retry", "unknownDeadlineSeconds": 120, "maxAnswerAgeSeconds": 3600,
        "intentTtlSeconds": 600,
    });
    let made = app.admin.put(path, body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert!(made.json()["signingSecret"].as_str().unwrap().starts_with("whsec_"));
    let shown = app.admin.get(path).await;
    assert!(!shown.text.contains("a-long-bot-key") && shown.text.contains("…0042"));
    let shown = shown.json();
    assert_eq!(shown["silenceMinutes"], 30);
    assert_eq!(
        (&shown["onUnknown"], &shown["unknownDeadlineSeconds"]),
        (&json!("retry"), &json!(120))
    );
    // What is absent stays, null takes away.
    let changed = app.admin.put(path, json!({ "apology": null, "status": "inactive" })).await;
    assert_eq!(changed.status, 200);
    let changed = changed.json();
    assert!(changed.get("signingSecret").is_none());
    let changed = &changed["vendor"];
    assert_eq!(
        (&changed["apology"], &changed["welcomeMessage"]),
        (&Value::Null, &json!("Bienvenue"))
    );
    assert_eq!(changed["status"], "inactive");
    let refused = [
        (422, json!({ "status": "sleeping" })),
        (422, json!({ "silenceMinutes": -1 })),
        (422, json!({ "responders": [{ "kind": "responseApi", "url": "ftp://x" }] })),
        (
            422,
            json!({ "responders": [{ "kind": "responseApi", "url": "https://x.example", "dialect": "other" }] }),
        ),
        (
            422,
            json!({ "responders": [{ "kind": "rules", "rules": [{ "contains": " ", "reply": "x" }] }] }),
        ),
        (400, json!({ "busines": "x" })),
        (400, json!({ "onUnknown": "maybe" })),
        (400, json!([])),
    ];
    for (n, (status, bad)) in refused.into_iter().enumerate() {
        // Each of another vendor: one has ten requests a second.
        let answer = app.admin.put(&format!("/api/admin/vendors/bad-{n}"), bad.clone()).await;
        assert_eq!(answer.status, status, "{bad}: {}", answer.text);
    }
}

#[tokio::test]
async fn instances_get_free_ids_and_share_neither_number_nor_secret() {
    let app = spawn_app().await;
    for vendor in ["a", "a_2"] {
        app.admin.put(&format!("/api/admin/vendors/{vendor}"), json!({})).await;
    }
    let make = async |vendor: &str, phone: &str, secret: &str| {
        let body = json!({ "phoneNumber": phone, "wasenderWebhookSecret": secret });
        app.admin.post(&format!("/api/admin/vendors/{vendor}/waba-instances"), body).await
    };
    assert_eq!(make("a", "+221770000001", "secret-number-1").await.json()["id"], "waba_a");
    assert_eq!(make("a", "+221770000002", "secret-number-2").await.json()["id"], "waba_a_2");
    // The first id of `a_2` is taken by the second instance of `a`.
    assert_eq!(make("a_2", "+221770000003", "secret-number-3").await.json()["id"], "waba_a_2_2");
    assert_eq!(make("a", "+221770000009", "secret-number-1").await.status, 409);
    assert_eq!(make("a", "+221770000001", "secret-number-9").await.status, 409);
    assert_eq!(make("a", "770000009", "secret-number-9").await.status, 422);
    assert_eq!(make("a", "+221770000009", "short").await.status, 422);
    assert_eq!(make("nobody", "+221770000009", "secret-number-9").await.status, 404);
    let list = app.admin.get("/api/admin/vendors/a/waba-instances").await.json();
    assert_eq!((&list["success"], list["instances"].as_array().unwrap().len()), (&json!(true), 2));
    let page = app.admin.get("/api/admin/vendors?limit=1").await.json();
    assert_eq!((&page["vendors"][0]["vendorId"], &page["cursor"]), (&json!("a"), &json!("a")));
    let page = app.admin.get("/api/admin/vendors?limit=1&cursor=a").await.json();
    assert_eq!(page["vendors"][0]["vendorId"], "a_2");
}

#[tokio::test]
async fn messages_are_listed_page_by_page() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    for n in 0..5 {
        let customer = waba_gateway::twin::Customer::new(&format!("+22170555000{n}"));
        assert!(
            app.twin
                .customer_says(vendor.session.id, &customer, &format!("message {n}"))
                .await
                .is_ok()
        );
    }
    app.settled().await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/admin/vendors/{}/messages?limit=3{cursor}", vendor.id);
        let page = app.admin.get(&path).await.json();
        seen.extend(
            page["messages"].as_array().unwrap().iter().map(|it| it["messageId"].to_string()),
        );
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    sorted.reverse();
    assert_eq!((seen.len(), &seen), (10, &sorted));
    let path = format!("/api/admin/vendors/{}/messages?cursor=wrong", vendor.id);
    assert_eq!(app.admin.get(&path).await.status, 400);
}

#[tokio::test]
async fn one_key_has_a_hundred_requests_a_minute_and_sending_is_not_among_them() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let path = format!("/api/admin/vendors/{}/send-message", vendor.id);
    for n in 0..20 {
        let message = json!({ "to": format!("+2217055500{n:02}"), "message": "bonjour" });
        assert_eq!(app.admin.post(&path, message).await.status, 202);
    }
    let mut refused = None;
    for _ in 0..150 {
        let answer = app.admin.get("/api/admin/keys").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.unwrap();
    assert!(refused.headers.contains_key("retry-after"));
    assert!(refused.json()["error"].as_str().unwrap().contains("100 a minute"));
}

#[tokio::test]
async fn metrics_are_for_prometheus() {
    let app = spawn_app().await;
    let answer = app.admin.get("/metrics").await;
    assert_eq!(answer.status, 200);
    for line in answer.text.lines().filter(|it| !it.starts_with('#') && !it.is_empty()) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("waba_") && value.parse::<f64>().is_ok(), "{line}");
    }
}
