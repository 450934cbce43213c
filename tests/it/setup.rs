//! Setting a vendor's webhook up at Wasender.

use serde_json::{Value, json};
use waba_gateway::twin::{Customer, Dialect, Key, Misbehaviour, NewSession, Times};

use crate::support::{Answer, DEADLINE, Options, TestApp, spawn_app, spawn_app_with};

const PATH: &str = "/api/admin/vendors/vendor_001";

/// A vendor whose session exists at Wasender and points nowhere.
async fn vendor(app: &TestApp, session: NewSession, instance: Value) -> u64 {
    let session = app.twin.add_session(session);
    let responders = json!([{ "kind": "rules", "otherwise": "merci" }]);
    assert_eq!(app.admin.put(PATH, json!({ "responders": responders })).await.status, 201);
    let mut body = json!({
        "phoneNumber": session.phone_number, "wasenderInstanceId": session.id,
        "wasenderWebhookSecret": "the-secret-that-was-stored",
    });
    for (name, value) in instance.as_object().unwrap() {
        body[name] = value.clone();
    }
    let made = app.admin.post(&format!("{PATH}/waba-instances"), body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    session.id
}

async fn set_up(app: &TestApp, body: Value) -> Answer {
    app.admin.post(&format!("{PATH}/setup-wasender-webhook"), body).await
}

fn error(answer: &Answer) -> String {
    answer.json()["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_is_pointed_at_the_gateway_and_read_back() {
    let app = spawn_app().await;
    let id = vendor(&app, NewSession::new("+221770000001"), json!({})).await;
    app.twin
        .change(id, |it| it.webhook_events = vec!["call".to_owned(), "session.status".to_owned()]);
    let answer = set_up(&app, Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let hook = format!("{}/api/webhooks/wasender/vendor_001", app.base);
    let answer = answer.json();
    assert_eq!((&answer["success"], &answer["status"]), (&json!(true), &json!("configured")));
    assert_eq!(answer["webhookUrl"], hook);
    let session = app.twin.session(id).unwrap();
    assert_eq!(
        (session.webhook_url.as_deref(), session.webhook_enabled),
        (Some(hook.as_str()), true)
    );
    for event in [
        "call",
        "messages.received",
        "messages.upsert",
        "message.sent",
        "messages.update",
        "session.status",
    ] {
        assert_eq!(session.webhook_events.iter().filter(|it| *it == event).count(), 1, "{event}");
    }
    let calls: Vec<_> = app
        .twin
        .requests()
        .into_iter()
        .filter(|it| it.path.contains("whatsapp-sessions"))
        .collect();
    let methods: Vec<String> = calls.iter().map(|it| it.method.clone()).collect();
    assert_eq!(methods, ["GET", "PUT", "GET"]);
    assert!(calls.iter().all(|it| it.key == Key::Pat));
    // The session's secret proves, and so does the stored one; the session's key sends.
    let customer = Customer::new("+221705550001");
    assert!(app.twin.customer_says(id, &customer, "bonjour").await.is_ok());
    app.twin.wait_sends(1, DEADLINE).await;
    let stored = [("x-webhook-signature", "the-secret-that-was-stored")];
    assert_eq!(app.post(&hook, &stored, b"{}").await.status, 200);
    // Again changes nothing and is no fault.
    assert_eq!(set_up(&app, Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_session_that_points_elsewhere_is_only_taken_over_on_request() {
    let app = spawn_app().await;
    let id = vendor(&app, NewSession::new("+221770000001"), json!({})).await;
    app.twin.set_webhook(id, "https://user:pass@other.example/hook?token=abc");
    let answer = set_up(&app, json!({})).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert_eq!(answer.json()["webhookUrl"], "https://other.example/hook");
    assert!(!app.twin.requests().iter().any(|it| it.method == "PUT"));
    assert_eq!(set_up(&app, json!({ "replace": true })).await.status, 200);
    assert!(app.twin.session(id).unwrap().webhook_url.unwrap().starts_with(&app.base));
}

#[tokio::test]
async fn a_number_without_a_session_is_not_set_up_in_place_of_another() {
    let app = spawn_app().await;
    let id = vendor(&app, NewSession::new("+221770000001"), json!({})).await;
    let elsewhere = "https://other.example/hook";
    app.twin.set_webhook(id, elsewhere);
    let second = json!({ "phoneNumber": "+221770000002" });
    let made = app.admin.post(&format!("{PATH}/waba-instances"), second).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let body = json!({ "wabaId": "waba_vendor_001_2", "replace": true });
    let answer = app.admin.post(&format!("{PATH}/setup-webhook"), body).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(app.twin.session(id).unwrap().webhook_url.as_deref(), Some(elsewhere));
}

#[tokio::test]
async fn every_fault_has_a_name() {
    let app = spawn_app().await;
    let id = vendor(&app, NewSession::new("+221770000001"), json!({})).await;
    let fault = |answer: &Answer, status: u16, words: &str| {
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(error(answer).contains(words), "{}", answer.text);
    };
    app.twin.misbehave(id, Misbehaviour::WrongNumber("+221770009999".to_owned()), Times::Once);
    fault(&set_up(&app, json!({})).await, 409, "another phone number");
    app.twin.misbehave(id, Misbehaviour::PatRefused, Times::Once);
    fault(&set_up(&app, json!({})).await, 422, "refused the personal access token");
    fault(&set_up(&app, json!({ "wasenderInstanceId": 424_242 })).await, 422, "no session");
    fault(&set_up(&app, json!({ "unknownField": 1 })).await, 400, "unknown field");
    app.twin.stop().await;
    fault(&set_up(&app, json!({})).await, 502, "could not be reached");
    app.twin.start_again().await.unwrap();
    app.twin.misbehave(id, Misbehaviour::WarnOnUpdate, Times::Once);
    let warned = set_up(&app, json!({})).await.json();
    assert!(warned["warnings"].to_string().contains("failed to sync"), "{warned:#}");
    assert_eq!(
        app.admin.post("/api/admin/vendors/nobody/setup-wasender-webhook", json!({})).await.status,
        404
    );
}

#[tokio::test]
async fn what_a_failed_set_up_kept_is_on_record_and_what_kept_nothing_is_not() {
    let app = spawn_app().await;
    let id = vendor(&app, NewSession::new("+221770000001"), json!({})).await;
    let n_recorded = async || {
        let changes = app.admin.get("/api/admin/audit?limit=1000").await.json();
        let changes = changes["changes"].as_array().unwrap().clone();
        changes.iter().filter(|it| it["what"] == "setUpWebhook").count()
    };
    app.twin.set_webhook(id, "https://other.example/hook");
    assert_eq!(set_up(&app, json!({})).await.status, 409);
    app.twin.stop().await;
    assert_eq!(set_up(&app, json!({})).await.status, 502);
    app.twin.start_again().await.unwrap();
    assert_eq!(n_recorded().await, 0, "Wasender was looked at first");
    // The number is kept, and Wasender does not do its part.
    let number = json!({ "phoneNumber": "+221770000001", "replace": true });
    for (fails, status) in [(401, 422), (500, 502)] {
        let before = n_recorded().await;
        app.twin.misbehave(id, Misbehaviour::DeedFails(fails), Times::Once);
        let answer = set_up(&app, number.clone()).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(n_recorded().await, before + 1, "{fails}");
    }
    assert_eq!(set_up(&app, number).await.status, 200);
    assert_eq!(n_recorded().await, 3);
}

#[tokio::test]
async fn a_token_that_is_missing_or_a_sessions_key_is_told() {
    let variables = vec![("WASENDER_API_KEY", String::new())];
    let app = spawn_app_with(Options { variables, ..Options::default() }).await;
    vendor(&app, NewSession::new("+221770000001"), json!({})).await;
    let answer = set_up(&app, json!({})).await;
    assert_eq!(answer.status, 422);
    assert!(error(&answer).contains("no Wasender personal access token"), "{}", answer.text);
    let variables = vec![("WASENDER_API_KEY", "ab".repeat(32))];
    let app = spawn_app_with(Options { variables, ..Options::default() }).await;
    vendor(&app, NewSession::new("+221770000001"), json!({})).await;
    let answer = set_up(&app, json!({})).await;
    assert_eq!(answer.status, 422);
    assert!(error(&answer).contains("looks like a session API key"), "{}", answer.text);
    assert!(!answer.text.contains("abab"));
}

#[tokio::test]
async fn a_base_url_that_wasender_cannot_reach_is_refused() {
    for base in
        ["http://localhost:9002", "https://192.168.1.4", "https://gateway", "http://gw.example.com"]
    {
        // The real Wasender is not on this machine, as the simulated one is.
        let variables = vec![
            ("APP_BASE_URL", base.to_owned()),
            ("WASENDER_API_URL", "https://www.wasenderapi.com/api".to_owned()),
        ];
        let app = spawn_app_with(Options { variables, ..Options::default() }).await;
        vendor(&app, NewSession::new("+221770000001"), json!({})).await;
        let answer = set_up(&app, json!({})).await;
        assert_eq!(answer.status, 422, "{base}: {}", answer.text);
        assert!(error(&answer).contains("APP_BASE_URL"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_replaced_secret_is_accepted_for_a_day() {
    let clock = waba_gateway::domain::clock::Clock::fixed(1_760_000_000_000);
    let app = spawn_app_with(Options { clock, ..Options::default() }).await;
    let session = NewSession { dialect: Dialect::Predecessor, ..NewSession::new("+221770000001") };
    vendor(&app, session, json!({})).await;
    assert_eq!(set_up(&app, json!({ "webhookSecret": "a-brand-new-secret" })).await.status, 200);
    let hook = format!("{}/api/webhooks/wasender/vendor_001", app.base);
    let with = async |secret: &str| {
        app.post(&hook, &[("x-webhook-signature", secret)], b"{}").await.status
    };
    assert_eq!(
        (with("a-brand-new-secret").await, with("the-secret-that-was-stored").await),
        (200, 200)
    );
    app.clock.advance(25 * 3_600_000);
    assert_eq!(
        (with("a-brand-new-secret").await, with("the-secret-that-was-stored").await),
        (200, 401)
    );
}

#[tokio::test]
async fn the_status_of_a_session_is_stored_and_live() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let path = format!("{PATH}/wasender-status");
    let status = app.admin.get(&path).await.json();
    assert_eq!(status["vendorId"], "vendor_001");
    assert_eq!(status["phoneNumber"], vendor.phone);
    assert_eq!(status["wasenderInstanceId"], vendor.session.id.to_string());
    assert_eq!((&status["status"], &status["live"]), (&json!("connected"), &json!("connected")));
    assert!(status["createdAt"].is_string() && status["lastSync"].is_string());
    for (word, want) in [
        ("need_scan", "disconnected"),
        ("CONNECTING", "pending"),
        ("logged_out", "disconnected"),
        ("expired", "disconnected"),
        ("need_passkey", "disconnected"),
        ("DISCONNECTED", "disconnected"),
        ("connected", "connected"),
    ] {
        app.twin.set_status(vendor.session.id, word);
        assert!(app.twin.tell_status(vendor.session.id).await.is_ok());
        let stored = app.gateway.instances(&vendor.id).await.unwrap()[0].status;
        assert_eq!(stored.as_str(), want, "{word}");
    }
    app.twin.stop().await;
    let status = app.admin.get(&path).await.json();
    assert_eq!((&status["status"], &status["live"]), (&json!("connected"), &Value::Null));
}
