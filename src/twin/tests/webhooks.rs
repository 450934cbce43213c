use super::{
    super::{Customer, sign_hmac},
    *,
};

const LID: &str = "111122223333444";

fn predecessor() -> NewSession {
    NewSession { dialect: Dialect::Predecessor, ..NewSession::new(VENDOR) }
}

#[tokio::test]
async fn a_customer_writes_as_at_wasender() {
    let rig = rig().await;
    let customer = Customer::new(CUSTOMER).with_lid(LID).named("Ada");
    let answer = rig.twin.customer_says(rig.session.id, &customer, "Bonjour").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "noted"));

    let post = &rig.posts()[0];
    assert_eq!(post.header("x-webhook-signature"), Some(rig.session.webhook_secret.as_str()));
    assert_eq!(post.header("content-type"), Some("application/json"));
    let body = post.json();
    assert_eq!(body["event"], "messages.received");
    let message = &body["data"]["messages"];
    let key = json!({
        "id": answer.event_id,
        "fromMe": false,
        "remoteJid": format!("{LID}@lid"),
        "addressingMode": "lid",
        "senderPn": CUSTOMER_JID,
        "cleanedSenderPn": "221705555555",
        "senderLid": format!("{LID}@lid"),
    });
    assert_eq!(message["key"], key);
    assert_eq!((&message["messageBody"], &message["pushName"]), (&json!("Bonjour"), &json!("Ada")));
}

#[tokio::test]
async fn a_customer_writes_as_at_the_predecessor() {
    let rig = rig_with(predecessor()).await;
    let id = rig.session.id;
    let answer = rig.twin.customer_says(id, &Customer::new(CUSTOMER), "Bonjour").await;
    let post = &rig.posts()[0];
    let signature = sign_hmac(&rig.session.webhook_secret, &post.body);
    assert_eq!(post.header("x-wasender-signature"), Some(signature.as_str()));
    let mut body = post.json();
    assert!(body["data"]["time"].take().is_i64());
    let data = json!({
        "from": "221705555555",
        "message": "Bonjour",
        "type": "text",
        "id": answer.event_id,
        "time": null,
    });
    assert_eq!(body, json!({ "event": "message", "instanceId": id.to_string(), "data": data }));
}

#[test]
fn the_mac_is_that_of_rfc_4231() {
    let want = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(sign_hmac("Jefe", b"what do ya want for nothing?"), want);
}

#[tokio::test]
async fn the_predecessor_tells_statuses_by_wasenders_id() {
    let rig = rig_with(predecessor()).await;
    rig.send_text("Bonjour").await;
    assert_eq!(rig.story().await, ["delivered", "read"]);
    let body = rig.posts()[0].json();
    assert_eq!((&body["event"], &body["messageId"]), (&json!("status"), &json!("100000")));
}

#[tokio::test]
async fn a_connection_is_told_in_both_dialects() {
    let rig = rig().await;
    rig.twin.set_status(rig.session.id, "logged_out");
    assert!(rig.twin.tell_status(rig.session.id).await.is_ok());
    let want = json!({
        "event": "session.status",
        "sessionId": rig.session.api_key,
        "data": { "status": "logged_out" },
    });
    assert_eq!(rig.posts()[0].json(), want);

    let rig = rig_with(predecessor()).await;
    rig.twin.set_status(rig.session.id, "logged_out");
    assert!(rig.twin.tell_status(rig.session.id).await.is_ok());
    let body = rig.posts()[0].json();
    assert_eq!(
        (&body["event"], &body["status"]),
        (&json!("connection_status"), &json!("disconnected"))
    );
    assert_eq!(body["phoneNumber"], VENDOR);
}

#[tokio::test]
async fn what_is_typed_on_the_phone_is_told() {
    let rig = rig().await;
    let customer = Customer::new(CUSTOMER).with_lid(LID);
    let answer = rig.twin.human_types(rig.session.id, &customer, "J'arrive").await;
    let body = rig.posts()[0].json();
    let key = json!({
        "id": answer.event_id,
        "fromMe": true,
        "remoteJid": format!("{LID}@lid"),
        "remoteJidAlt": CUSTOMER_JID,
    });
    assert_eq!(
        (&body["event"], &body["data"]["messages"]["key"]),
        (&json!("messages.upsert"), &key)
    );
    assert_eq!(rig.twin.n_sends(), 0);
}

#[tokio::test]
async fn a_webhook_can_be_broken_forged_or_overlap() {
    let rig = rig().await;
    let customer = Customer::new(CUSTOMER);
    let say = async || rig.twin.customer_says(rig.session.id, &customer, "Bonjour").await;
    rig.misbehave(Misbehaviour::TruncatedHooks);
    say().await;
    rig.misbehave(Misbehaviour::WrongSignature);
    say().await;
    rig.misbehave(Misbehaviour::Overlap);
    let id = say().await.event_id;

    let posts = rig.posts();
    assert!(serde_json::from_slice::<Value>(&posts[0].body).is_err());
    let secret = Some(rig.session.webhook_secret.as_str());
    assert_eq!(posts[0].header("x-webhook-signature"), secret);
    assert_ne!(posts[1].header("x-webhook-signature"), secret);
    let told: Vec<_> = posts[2..].iter().map(|it| it.json()["event"].clone()).collect();
    assert_eq!(told, ["messages.received", "messages-personal.received", "messages.upsert"]);
    assert!(posts[2..].iter().all(|it| it.json()["data"]["messages"]["key"]["id"] == id));
}

#[tokio::test]
async fn a_truncated_webhook_of_the_predecessor_is_signed_as_it_is() {
    let rig = rig_with(predecessor()).await;
    rig.misbehave(Misbehaviour::TruncatedHooks);
    rig.twin.customer_says(rig.session.id, &Customer::new(CUSTOMER), "Bonjour").await;
    let post = &rig.posts()[0];
    let signature = sign_hmac(&rig.session.webhook_secret, &post.body);
    assert_eq!(post.header("x-wasender-signature"), Some(signature.as_str()));
}

#[tokio::test]
async fn a_customer_can_be_a_lid_that_nobody_knows() {
    let rig = rig().await;
    rig.twin.customer_says(rig.session.id, &Customer::lid_only(LID), "Bonjour").await;
    let key = &rig.posts()[0].json()["data"]["messages"]["key"];
    assert!(key.get("senderPn").is_none() && key.get("cleanedSenderPn").is_none());
    let path = format!("/pn-from-lid/{LID}");
    assert_eq!(rig.by_key(&path).await.0, 404);
    rig.twin.know_lid(LID, CUSTOMER);
    assert_eq!(rig.by_key(&path).await.1["data"]["pn"], CUSTOMER_JID);
    let lid = rig.by_key(&format!("/lid-from-pn/{CUSTOMER}")).await.1;
    assert_eq!(lid["data"]["lid"], format!("{LID}@lid"));
}

#[tokio::test]
async fn a_webhook_that_is_not_taken_is_noted_and_not_repeated() {
    let rig = rig().await;
    rig.receiver.status.store(503, Ordering::Relaxed);
    let customer = Customer::new(CUSTOMER);
    let answer = rig.twin.customer_says(rig.session.id, &customer, "Bonjour").await;
    assert_eq!(answer.status, 503);
    assert_eq!(rig.posts().len(), 1);
    rig.twin.set_webhook(rig.session.id, "http://127.0.0.1:1/");
    let answer = rig.twin.customer_says(rig.session.id, &customer, "Bonjour").await;
    assert_eq!((answer.status, answer.body.as_str()), (0, "cannot connect"));
    let failures = rig.twin.hook_failures();
    assert_eq!(failures.iter().map(|it| it.status).collect::<Vec<_>>(), [Some(503), None]);
}

#[tokio::test]
async fn only_what_is_asked_for_is_told() {
    let rig = rig().await;
    let only = json!({ "webhook_events": ["messages.upsert", "messages.update"] });
    rig.by_pat("PUT", &rig.path(), only).await;
    rig.send_text("x").await;
    assert_eq!(rig.story().await, ["messages.upsert", "2", "3", "4"]);
    rig.twin.customer_says(rig.session.id, &Customer::new(CUSTOMER), "Bonjour").await;
    assert_eq!(rig.posts()[4].json()["event"], "messages.upsert");
    rig.by_pat("PUT", &rig.path(), json!({ "webhook_enabled": false })).await;
    rig.send_text("x").await;
    assert_eq!(
        rig.twin.customer_says(rig.session.id, &Customer::new(CUSTOMER), "x").await.status,
        0
    );
    rig.twin.idle().await;
    assert_eq!(rig.posts().len(), 5);
}

#[tokio::test]
async fn any_body_can_be_sent() {
    let rig = rig().await;
    let body = json!({ "type": "message", "from": CUSTOMER, "message": "Hello" });
    assert!(rig.twin.customer_sends(rig.session.id, body.clone()).await.is_ok());
    assert_eq!(rig.posts()[0].json(), body);
}

#[tokio::test]
async fn a_twin_that_is_stopped_is_gone_and_comes_back_where_it_was() {
    let rig = rig().await;
    rig.twin.change(rig.session.id, |it| it.hooks_after = LONG);
    rig.send_text("x").await;
    rig.twin.stop().await;
    rig.twin.idle().await;
    assert!(rig.posts().is_empty(), "pending webhooks are dropped");
    assert!(rig.send_in_vain(LONG).await.is_connect());
    rig.twin.start_again().await.unwrap();
    assert_eq!(rig.send_text("y").await.0, 200);
    assert_eq!(rig.twin.n_sends(), 2);
}
