use super::*;

#[tokio::test]
async fn a_send_is_taken_and_told() {
    let rig = rig().await;
    let (status, body) = rig.send_text("Bonjour").await;
    let want = json!({ "msgId": 100_000, "jid": CUSTOMER, "status": "in_progress" });
    assert_eq!((status, body), (200, json!({ "success": true, "data": want })));

    let sent = &rig.twin.wait_sends(1, LONG).await[0];
    assert_eq!((sent.from.as_str(), sent.to.as_str()), (VENDOR, CUSTOMER));
    assert_eq!((sent.text.as_str(), sent.msg_id), ("Bonjour", 100_000));
    assert!(sent.key_id.starts_with("3EB0") && sent.body.starts_with(b"{"));
    assert_eq!(rig.story().await, ["message.sent", "messages.upsert", "2", "3", "4"]);

    let told = rig.posts()[1].json();
    let message = &told["data"]["messages"];
    let key = json!({ "id": sent.key_id, "fromMe": true, "remoteJid": CUSTOMER_JID });
    assert_eq!(message["key"], key);
    assert_eq!(message["messageBody"], "Bonjour");
    assert!(told["timestamp"].as_i64().unwrap() < 10_000_000_000, "seconds");
    let update = rig.posts()[2].json();
    assert!(update["timestamp"].as_i64().unwrap() > 1_000_000_000_000, "milliseconds");
    assert_eq!(update["data"]["key"], key);
}

#[tokio::test]
async fn a_send_is_answered_before_its_webhooks_come() {
    let rig = rig_with(NewSession { hooks_after: SHORT, ..NewSession::new(VENDOR) }).await;
    rig.send_text("Bonjour").await;
    assert!(rig.posts().is_empty());
    assert_eq!(rig.story().await.len(), 5);
}

#[tokio::test]
async fn every_kind_of_send_is_known_and_nothing_else() {
    #[track_caller]
    fn check(got: &(u16, Value), want: u16, field: &str, text: &str) {
        assert_eq!(got.0, want, "{}", got.1);
        assert_eq!(got.1["errors"][field][0].as_str().unwrap_or_default(), text);
    }
    let rig = rig().await;
    let no_text = "The text field is required when no media is present.";
    check(&rig.send(json!({ "to": CUSTOMER, "message": "x" })).await, 422, "text", no_text);
    check(&rig.send(json!({ "to": CUSTOMER, "text": "" })).await, 422, "text", no_text);
    check(&rig.send(json!({ "text": "x" })).await, 422, "to", "The to field is required.");
    let no_chat = "The to field format is invalid.";
    for to in ["1@lid", "bonjour", "+22", "+221 77 123 45 67"] {
        check(&rig.send(json!({ "to": to, "text": "x" })).await, 422, "to", no_chat);
    }
    for to in ["221705555555", "@ada", "1203630@g.us", CUSTOMER_JID] {
        check(&rig.send(json!({ "to": to, "text": "x" })).await, 200, "", "");
    }
    let image = json!({ "to": CUSTOMER, "imageUrl": "https://example.com/a.png" });
    check(&rig.send(image).await, 200, "", "");
    assert_eq!(rig.twin.n_sends(), 5);
}

#[tokio::test]
async fn only_the_session_key_sends() {
    let rig = rig().await;
    let body = json!({ "to": CUSTOMER, "text": "x" });
    let check = async |key: &str, want: &str| {
        let (status, answer) = rig.call("POST", "/send-message", key, body.clone()).await;
        assert_eq!((status, answer["message"].as_str()), (401, Some(want)));
    };
    check("", "API key is required").await;
    check("nonsense", "Invalid API key").await;
    check(rig.twin.pat(), "Invalid API key").await;
    rig.misbehave(Misbehaviour::KeyRefused);
    check(&rig.session.api_key, "Invalid API key").await;
    assert_eq!(rig.twin.n_sends(), 0);
}

#[tokio::test]
async fn a_session_that_is_down_does_not_send() {
    let rig = rig().await;
    rig.twin.set_status(rig.session.id, "disconnected");
    let (status, body) = rig.send_text("Bonjour").await;
    assert_eq!(status, 400);
    assert!(body["message"].as_str().unwrap().contains("Session is not connected"));
    assert_eq!(rig.by_key("/status").await, (200, json!({ "status": "disconnected" })));
}

#[tokio::test]
async fn a_paced_session_refuses_what_is_too_much() {
    let new = NewSession { paced: true, account_protection: true, ..NewSession::new(VENDOR) };
    let rig = rig_with(new).await;
    assert_eq!(rig.send_text("one").await.0, 200);
    let (status, body) = rig.send_text("two").await;
    assert_eq!((status, body["retry_after"].as_u64()), (429, Some(5)));
    assert!(body.get("success").is_none());
}

#[tokio::test]
async fn the_room_that_is_left_is_told() {
    let rig = rig().await;
    let url = format!("{}/send-message", rig.twin.api_url());
    let body = json!({ "to": CUSTOMER, "text": "x" });
    let request = rig.http.post(url).bearer_auth(&rig.session.api_key).json(&body);
    let headers = request.send().await.unwrap().headers().clone();
    assert_eq!(headers["x-ratelimit-limit"], "256");
    assert_eq!(headers["x-ratelimit-remaining"], "255");
    assert!(headers.contains_key("x-ratelimit-reset"));
}

#[tokio::test]
async fn info_links_both_ids() {
    let rig = rig().await;
    rig.send_text("Bonjour").await;
    rig.twin.idle().await;
    let (status, body) = rig.by_key("/messages/100000/info").await;
    assert_eq!(status, 200);
    let (sent, info) = (&rig.twin.sends()[0], &body["data"]);
    assert_eq!(info["msgId"], sent.msg_id);
    assert_eq!((&info["id"], &info["key"]["id"]), (&json!(sent.key_id), &json!(sent.key_id)));
    assert_eq!((info["status"].as_u64(), info["messageTimestamp"].is_string()), (Some(4), true));

    let other = rig.twin.add_session(NewSession::new("+221781112233"));
    let (status, _) = rig.call("GET", "/messages/100000/info", &other.api_key, Value::Null).await;
    assert_eq!(status, 404, "another session's send is nobody's");
    assert_eq!(rig.by_key("/messages/99/info").await.0, 404);
}

#[tokio::test]
async fn a_twin_that_counts_keeps_nothing() {
    let texts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&texts);
    let on_send = move |text: &str| seen.lock().unwrap().push(text.to_owned());
    let twin = Twin::counting(Some(Box::new(on_send))).await.unwrap();
    let session = twin.add_session(NewSession::new(VENDOR));
    let rig = Rig { twin, session, ..rig().await };

    rig.send_text("one").await;
    rig.send_text("two").await;
    assert_eq!(rig.twin.wait_n_sends(2, LONG).await, 2);
    assert_eq!(*texts.lock().unwrap(), ["one", "two"]);
    assert!(rig.twin.sends().is_empty() && rig.twin.requests().is_empty());
    rig.twin.idle().await;
}

#[tokio::test]
async fn waiting_for_sends_ends() {
    let rig = rig().await;
    let twin = rig.twin.clone();
    let waiting = tokio::spawn(async move { twin.wait_sends(2, LONG).await.len() });
    rig.send_text("one").await;
    rig.send_text("two").await;
    assert_eq!(waiting.await.unwrap(), 2);
    assert_eq!(rig.twin.wait_sends(3, Duration::from_millis(20)).await.len(), 2);
}
