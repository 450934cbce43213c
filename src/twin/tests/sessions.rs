use super::{super::Key, *};

#[tokio::test]
async fn a_webhook_is_set_up_by_a_partial_put() {
    let rig = rig().await;
    let new = rig.twin.add_session(NewSession {
        id: Some(42),
        webhook_secret: Some("the-secret".to_owned()),
        ..NewSession::new(VENDOR)
    });
    assert!(!new.has_webhook());
    let fields = json!({
        "webhook_url": "https://gw.example/hook",
        "webhook_enabled": true,
        "webhook_events": ["messages.received"],
        "webhook_secret": "cannot be set",
    });
    let (status, body) = rig.by_pat("PUT", "/whatsapp-sessions/42", fields).await;
    assert_eq!((status, body.get("warning")), (200, None));
    assert_eq!(body["data"]["webhook_secret"], "the-secret");
    assert_eq!(body["data"]["api_key"], new.api_key);
    assert_eq!(body["data"]["phone_number"], VENDOR);
    let now = rig.twin.session(42).unwrap();
    assert_eq!(now.webhook_url.as_deref(), Some("https://gw.example/hook"));
    assert!(now.subscribes("messages.received") && !now.subscribes("messages.upsert"));

    let wrong = json!({ "webhook_enabled": "yes", "name": "new" });
    let (status, body) = rig.by_pat("PUT", "/whatsapp-sessions/42", wrong).await;
    assert_eq!(status, 422);
    assert!(body["errors"]["webhook_enabled"].is_array());
    assert_ne!(rig.twin.session(42).unwrap().name, "new", "all of it or nothing");
    let (_, body) =
        rig.by_pat("PUT", "/whatsapp-sessions/42", json!({ "webhook_url": null })).await;
    assert_eq!(body["data"]["webhook_url"], Value::Null);
}

#[tokio::test]
async fn a_put_can_warn_and_a_session_name_a_wrong_number() {
    let rig = rig().await;
    rig.misbehave(Misbehaviour::WarnOnUpdate);
    let (status, body) = rig.by_pat("PUT", &rig.path(), json!({ "webhook_enabled": true })).await;
    assert_eq!((status, body["success"].as_bool()), (200, Some(true)));
    assert!(body["warning"].as_str().unwrap().contains("failed to sync webhook settings"));

    rig.misbehave(Misbehaviour::WrongNumber("+33612345678".to_owned()));
    let (_, body) = rig.by_pat("GET", &rig.path(), Value::Null).await;
    assert_eq!(body["data"]["phone_number"], "+33612345678");
    let (_, body) = rig.by_pat("GET", &rig.path(), Value::Null).await;
    assert_eq!(body["data"]["phone_number"], VENDOR);
    rig.misbehave(Misbehaviour::WrongNumber("+33612345678".to_owned()));
    let user = rig.by_key("/user").await.1;
    assert_eq!(user["data"]["id"], "33612345678:1@s.whatsapp.net");
}

#[tokio::test]
async fn only_the_access_token_sees_sessions() {
    let rig = rig().await;
    for key in ["", "nonsense", &rig.session.api_key] {
        assert_eq!(rig.call("GET", &rig.path(), key, Value::Null).await.0, 401);
    }
    assert_eq!(rig.by_pat("GET", &rig.path(), Value::Null).await.0, 200);
    rig.misbehave(Misbehaviour::PatRefused);
    assert_eq!(rig.by_pat("GET", &rig.path(), Value::Null).await.0, 401);
    assert_eq!(rig.by_pat("GET", "/auth-check", Value::Null).await.0, 200);
    assert_eq!(rig.by_pat("GET", "/whatsapp-sessions/7", Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_session_lives_and_dies() {
    let rig = rig().await;
    let (status, body) = rig.by_pat("POST", "/whatsapp-sessions", json!({ "name": "x" })).await;
    assert_eq!((status, body["errors"].as_object().unwrap().len()), (422, 3));
    let fields = json!({
        "name": "Boutique",
        "phone_number": "+221781112233",
        "account_protection": false,
        "log_messages": true,
        "always_online": true,
    });
    let (status, body) = rig.by_pat("POST", "/whatsapp-sessions", fields).await;
    assert_eq!((status, body["data"]["always_online"].as_bool()), (201, Some(true)));
    let path = format!("/whatsapp-sessions/{}", body["data"]["id"]);
    let key = body["data"]["api_key"].as_str().unwrap().to_owned();

    let (_, connect) = rig.by_pat("POST", &format!("{path}/connect"), json!({})).await;
    assert_eq!(connect["data"]["status"], "NEED_SCAN");
    assert!(connect["data"]["qrCode"].as_str().unwrap().starts_with("2@"));
    assert_eq!(rig.by_pat("POST", &format!("{path}/restart"), json!({})).await.0, 400);
    assert_eq!(
        rig.by_pat("GET", "/whatsapp-sessions", json!({})).await.1["data"][1]["name"],
        "Boutique"
    );

    let (_, new) = rig.by_pat("POST", &format!("{path}/regenerate-key"), json!({})).await;
    let new = new["api_key"].as_str().unwrap();
    assert_eq!(rig.call("GET", "/status", &key, Value::Null).await.0, 401);
    assert_eq!(rig.call("GET", "/status", new, Value::Null).await.1["status"], "need_scan");
    assert_eq!(rig.by_pat("DELETE", &path, Value::Null).await, (204, json!("")));
    assert_eq!(rig.call("GET", "/status", new, Value::Null).await.0, 401);
}

#[tokio::test]
async fn connecting_and_disconnecting_are_told() {
    let rig = rig().await;
    let connect = format!("{}/connect", rig.path());
    let (_, body) = rig.by_pat("POST", &connect, json!({})).await;
    assert_eq!(body["data"]["status"], "CONNECTED");
    let disconnect = format!("{}/disconnect", rig.path());
    let (_, body) = rig.by_pat("POST", &disconnect, json!({})).await;
    assert_eq!(body["data"]["status"], "disconnected");
    rig.twin.idle().await;
    assert_eq!(rig.posts()[0].json()["data"]["status"], "disconnected");
    assert_eq!(rig.send_text("x").await.0, 400);
}

#[tokio::test]
async fn logs_come_in_pages_newest_first() {
    let rig = rig().await;
    for n in 0..5 {
        rig.send_text(&format!("message {n}")).await;
    }
    rig.twin.idle().await;
    let logs = format!("{}/message-logs?per_page=2&page=2&status=sent", rig.path());
    let (status, body) = rig.by_pat("GET", &logs, Value::Null).await;
    let page = &body["data"];
    assert_eq!(
        (status, page["current_page"].as_u64(), page["total"].as_u64()),
        (200, Some(2), Some(5))
    );
    assert_eq!((page["last_page"].as_u64(), page["from"].as_u64()), (Some(3), Some(3)));
    let ids: Vec<_> = page["data"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [100_002, 100_001]);
    let content: Value =
        serde_json::from_str(page["data"][0]["content"].as_str().unwrap()).unwrap();
    assert_eq!(content["text"], "message 2");
}

#[tokio::test]
async fn logs_are_bare_where_content_is_not_kept() {
    let new = NewSession { log_messages: false, hooks_after: LONG, ..NewSession::new(VENDOR) };
    let rig = rig_with(new).await;
    rig.send_text("x").await;
    let logs = format!("{}/message-logs", rig.path());
    let line = &rig.by_pat("GET", &logs, Value::Null).await.1["data"]["data"][0];
    assert_eq!((&line["to"], &line["content"]), (&Value::Null, &Value::Null));
    assert_eq!(line["status"], "in_progress");
}

#[tokio::test]
async fn every_request_is_noted() {
    let rig = rig().await;
    rig.send_text("x").await;
    rig.by_pat("GET", &rig.path(), Value::Null).await;
    rig.call("GET", "/nowhere", "nonsense", Value::Null).await;
    let seen = rig.twin.requests().into_iter().map(|it| (it.method, it.path, it.status, it.key));
    let want = [
        ("POST", "/api/send-message".to_owned(), Some(200), Key::Session(rig.session.id)),
        ("GET", format!("/api{}", rig.path()), Some(200), Key::Pat),
        ("GET", "/api/nowhere".to_owned(), Some(404), Key::Unknown),
    ];
    assert_eq!(seen.collect::<Vec<_>>(), want.map(|(a, b, c, d)| (a.to_owned(), b, c, d)));
}

#[tokio::test]
async fn what_prints_prints_no_secret() {
    let rig = rig().await;
    rig.send_text("Bonjour").await;
    let printed = format!("{:?} {:?}", rig.session, rig.twin.sends());
    for private in
        [&rig.session.api_key, &rig.session.webhook_secret, VENDOR, "705555555", "Bonjour"]
    {
        assert!(!printed.contains(private), "{private} in {printed}");
    }
}
