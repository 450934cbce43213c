//! Who may tell what: handshakes and signatures.

use waba_gateway::twin::sign_hmac;

use super::*;

#[tokio::test]
async fn only_what_the_app_signed_as_it_left_is_believed() {
    let shop = shop().await;
    let answers = async |how: MetaMisbehaviour| {
        shop.misbehave(how);
        let inbound = MetaInbound::text("Vos horaires à l'été ?");
        // It comes again, as it should be, until it is taken.
        shop.meta.customer_says(&shop.number.id, &customer(), &inbound).await.status
    };
    shop.meta.change(&shop.number.id, |it| it.retry_after = std::time::Duration::from_hours(1));
    assert_eq!(answers(MetaMisbehaviour::WrongSignature).await, 401);
    assert_eq!(answers(MetaMisbehaviour::SignedUnescaped).await, 401);
    assert_eq!(answers(MetaMisbehaviour::TruncatedHooks).await, 200, "proven, but unreadable");
    let body = json!({ "object": "whatsapp_business_account", "entry": [] }).to_string();
    let right = format!("sha256={}", sign_hmac(&shop.number.app_secret, body.as_bytes()));
    let post = async |header: &str, signature: &str| {
        shop.app.post(&shop.vendor.hook, &[(header, signature)], body.as_bytes()).await.status
    };
    assert_eq!(post("x-hub-signature-256", &right).await, 200);
    assert_eq!(post("x-hub-signature", &right).await, 401);
    assert_eq!(post("x-hub-signature-256", &right.to_uppercase()).await, 200);
    assert_eq!(post("x-hub-signature-256", "sha256=").await, 401);
    assert_eq!(post("x-webhook-signature", shop.vendor.secret()).await, 401);
    assert!(shop.meta.sends().is_empty());
}

#[tokio::test]
async fn a_number_without_a_secret_is_proven_by_its_vendors_others_alone() {
    let shop = shop().await;
    let second = shop.meta.add_number(NewMetaNumber::new("+221770000002"));
    let path = format!("/api/admin/vendors/{}/waba-instances", shop.vendor.id);
    let account = json!({ "phoneNumberId": second.id, "accessToken": second.access_token });
    let body = json!({ "phoneNumber": second.phone_number, "provider": "meta", "meta": account });
    let made = shop.app.admin.post(&path, body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let metadata = json!({ "phone_number_id": second.id, "display_phone_number": "221770000002" });
    let message = json!({ "from": "221705550001", "id": "wamid.SECOND", "type": "text",
        "timestamp": (shop.app.clock.now() / 1_000).to_string(), "text": { "body": "horaires" } });
    let value = json!({ "messaging_product": "whatsapp", "metadata": metadata,
        "messages": [message] });
    let body = json!({ "object": "whatsapp_business_account",
        "entry": [{ "id": "1", "changes": [{ "field": "messages", "value": value }] }] })
    .to_string();
    let signature = format!("sha256={}", sign_hmac(&shop.number.app_secret, body.as_bytes()));
    let headers = [("x-hub-signature-256", signature.as_str())];
    assert_eq!(shop.app.post(&shop.vendor.hook, &headers, body.as_bytes()).await.status, 200);
    let sent = &shop.meta.wait_sends(1, DEADLINE).await[0];
    assert_eq!(sent.number, second.id, "answered from the number that was written to");
}

#[tokio::test]
async fn what_is_told_of_an_account_is_told_of_its_numbers_alone() {
    let shop = shop().await;
    let second = shop.meta.add_number(NewMetaNumber::new("+221770000002"));
    let made = add_number(&shop.app, &shop.vendor.id, &second, &shop.number.app_secret).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let tell = async |account: &str, event: &str| {
        let value = json!({ "event": event });
        let change = json!({ "field": "account_update", "value": value });
        let body = json!({ "object": "whatsapp_business_account",
            "entry": [{ "id": account, "time": 1_749_854_575, "changes": [change] }] })
        .to_string();
        let signature = format!("sha256={}", sign_hmac(&shop.number.app_secret, body.as_bytes()));
        let headers = [("x-hub-signature-256", signature.as_str())];
        assert_eq!(shop.app.post(&shop.vendor.hook, &headers, body.as_bytes()).await.status, 200);
        let path = format!("/api/admin/vendors/{}/waba-instances", shop.vendor.id);
        let shown = shop.app.admin.get(&path).await.json();
        let status = |n: usize| shown["instances"][n]["status"].as_str().unwrap().to_owned();
        [status(0), status(1)]
    };
    let before = tell("1", "ACCOUNT_RESTRICTION").await;
    assert!(!before.contains(&"error".to_owned()), "an account of nobody here: {before:?}");
    let after = tell(&second.waba_id, "ACCOUNT_RESTRICTION").await;
    assert_eq!(after, [before[0].clone(), "error".to_owned()]);
    let after = tell(&shop.number.waba_id, "ACCOUNT_DELETED").await;
    assert_eq!(after, ["disconnected", "error"]);
}

/// One app's secret proves what is told of every account that it serves.
#[tokio::test]
async fn what_is_told_of_an_account_that_no_number_names_changes_no_state() {
    let shop = shop().await;
    let vendor = shop.app.vendor(2).await;
    let at = shop.meta.add_number(NewMetaNumber::new("+221770000003"));
    let account = json!({ "phoneNumberId": at.id, "accessToken": at.access_token,
        "appSecret": shop.number.app_secret, "verifyToken": at.verify_token });
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", vendor.id);
    let change = json!({ "provider": "meta", "meta": account });
    let changed = shop.app.admin.put(&path, change).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let before = shop.app.admin.get(&path).await.json()["status"].take();
    let change = json!({ "field": "account_update", "value": { "event": "PARTNER_REMOVED" } });
    let body = json!({ "object": "whatsapp_business_account",
        "entry": [{ "id": "7", "time": 1_749_854_575, "changes": [change] }] })
    .to_string();
    let signature = format!("sha256={}", sign_hmac(&shop.number.app_secret, body.as_bytes()));
    let headers = [("x-hub-signature-256", signature.as_str())];
    let hook = format!("{}/api/webhooks/meta/{}", shop.app.base, vendor.id);
    assert_eq!(shop.app.post(&hook, &headers, body.as_bytes()).await.status, 200);
    assert_eq!(shop.app.admin.get(&path).await.json()["status"].take(), before);
}

#[tokio::test]
async fn what_meta_warns_of_is_shown_and_changes_no_state() {
    let shop = shop().await;
    let instances = format!("/api/admin/vendors/{}/waba-instances", shop.vendor.id);
    let status =
        async || shop.app.admin.get(&instances).await.json()["instances"][0]["status"].take();
    let latest = async || {
        let census = shop.app.admin.get("/api/admin/analytics/waba-instances").await.json();
        census["recentFailures"][0]["lastError"].clone()
    };
    let before = status().await;
    assert_eq!(latest().await, Value::Null);
    let number = shop.number.phone_number.trim_start_matches('+');
    let flagged = json!({ "display_phone_number": number, "event": "FLAGGED" });
    let field = "phone_number_quality_update";
    assert_eq!(shop.meta.tell_of_account(&shop.number.id, field, flagged).await.status, 200);
    assert_eq!((latest().await, status().await), (json!("quality_flagged"), before.clone()));
    // Of a number that nobody here has nothing is known.
    let other = json!({ "display_phone_number": "221779999999", "event": "DOWNGRADE" });
    assert_eq!(shop.meta.tell_of_account(&shop.number.id, field, other).await.status, 200);
    assert_eq!(latest().await, "quality_flagged");
    let planned = json!({ "event": "DISABLED_UPDATE",
        "ban_info": { "waba_ban_state": "SCHEDULE_FOR_DISABLE", "waba_ban_date": "May 4, 2027" } });
    let told = shop.meta.tell_of_account(&shop.number.id, "account_update", planned).await;
    assert_eq!((told.status, latest().await), (200, json!("ban_scheduled")));
    assert_eq!(status().await, before);
}

#[tokio::test]
async fn an_app_secret_that_is_not_the_apps_refuses_everything_until_it_is_right() {
    let shop = shop().await;
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", shop.vendor.id);
    let set = async |secret: &str| {
        let body = json!({ "meta": { "appSecret": secret } });
        let answer = shop.app.admin.put(&path, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    set("not-the-secret-of-this-app").await;
    let inbound = MetaInbound::text("horaires");
    let answer = shop.meta.customer_says(&shop.number.id, &customer(), &inbound).await;
    assert_eq!(answer.status, 401);
    set(&shop.number.app_secret).await;
    // Meta tries again until then.
    assert_eq!(shop.meta.wait_sends(1, DEADLINE).await.len(), 1);
}

#[tokio::test]
async fn the_challenge_is_answered_for_the_right_token_alone() {
    let shop = shop().await;
    let hook = &shop.vendor.hook;
    assert!(shop.meta.shakes_hands(hook, &shop.number.verify_token).await);
    assert!(!shop.meta.shakes_hands(hook, "another").await);
    assert!(!shop.meta.shakes_hands(hook, "").await);
    let token = &shop.number.verify_token;
    let path = format!("/api/webhooks/meta/{}", shop.vendor.id);
    for query in [
        format!("hub.mode=unsubscribe&hub.verify_token={token}&hub.challenge=1"),
        format!("hub.mode=subscribe&hub.verify_token={token}"),
        "hub.mode=subscribe&hub.challenge=1".to_owned(),
    ] {
        assert_eq!(shop.app.admin.get(&format!("{path}?{query}")).await.status, 400, "{query}");
    }
    let unknown = hook.replace("vendor_001", "vendor_999");
    assert!(!shop.meta.shakes_hands(&unknown, &shop.number.verify_token).await);
}
