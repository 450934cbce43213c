//! Alerts as the callers of Twilio and Meta send them: one text to some recipients.

use serde_json::{Value, json};
use waba_gateway::{
    domain::{id::VendorId, secret::ExposeSecret},
    gateway::{NewKey, VendorChange},
};

use crate::{
    delivery::status_is,
    support::{Answer, Client, DEADLINE, TestApp, TestVendor, spawn_app},
};

/// The service, a vendor, and its own program's key.
struct Shop {
    app: TestApp,
    vendor: TestVendor,
    own: Client,
}

async fn shop() -> Shop {
    let app = spawn_app().await;
    let silent = VendorChange { auto_reply: Some(false), ..VendorChange::default() };
    let vendor = app.vendor_with(1, silent).await;
    let new = NewKey {
        name: "shop".to_owned(),
        vendor: Some(vendor.id.clone()),
        read_only: false,
        expires_at: None,
    };
    let key = app.gateway.create_key(new).await.unwrap().1;
    let own = app.admin.with_key(key.expose_secret());
    Shop { app, vendor, own }
}

impl Shop {
    fn path(&self, route: &str) -> String {
        format!("/api/v1/vendors/{}/{route}", self.vendor.id)
    }

    async fn alert(&self, to: Value, message: &str) -> Answer {
        let body = json!({ "to": to, "message": message });
        self.own.post(&self.path("alerts"), body).await
    }

    async fn keyed(&self, key: &str, to: Value, message: &str) -> Answer {
        let body = json!({ "to": to, "message": message });
        let headers = [("idempotency-key", key)];
        self.own.call("POST", &self.path("alerts"), Some(body), &headers).await
    }

    async fn status(&self) -> Value {
        self.own.get(&self.path("whatsapp-status")).await.json()
    }
}

fn of(answer: &Answer, field: &str) -> Vec<Value> {
    let results = answer.json()["results"].clone();
    results.as_array().unwrap().iter().map(|it| it[field].clone()).collect()
}

#[tokio::test]
async fn an_alert_reaches_each_of_its_recipients_however_their_numbers_are_written() {
    let shop = shop().await;
    let to = json!([
        "whatsapp:+221705550001",
        "+221 70-555-00-02",
        "221705550003",
        "whatsapp:221 70 555 00 01",
        "15551234567",
        "appelez-moi",
    ]);
    let answer = shop.alert(to.clone(), "Stock bas : riz").await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let told = answer.json();
    assert_eq!((&told["queued"], &told["refused"]), (&json!(5), &json!(1)));
    assert_eq!(json!(of(&answer, "to")), to);
    let ids = of(&answer, "messageId");
    assert_eq!(ids[0], ids[3], "who is in it twice gets it once");
    assert!(ids[5].is_null());
    assert!(of(&answer, "error")[5].as_str().unwrap().starts_with("to: "), "{}", answer.text);
    let sends = shop.app.twin.wait_sends(4, DEADLINE).await;
    let mut reached: Vec<&str> = sends.iter().map(|it| it.to.as_str()).collect();
    reached.sort_unstable();
    assert_eq!(reached, ["+15551234567", "+221705550001", "+221705550002", "+221705550003"]);
    assert!(sends.iter().all(|it| it.text == "Stock bas : riz" && it.from == shop.vendor.phone));
    for id in &ids[..5] {
        status_is(&shop.app, &shop.vendor, id.as_str().unwrap(), "read").await;
    }
    shop.app.settled().await;
    assert_eq!(shop.app.twin.n_sends(), 4);
}

#[tokio::test]
async fn a_long_alert_leaves_cut_as_one_message() {
    let shop = shop().await;
    let answer = shop.alert(json!("+221705550001"), &"é".repeat(5_000)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let sends = shop.app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends[0].text, "é".repeat(4_093) + "...");
    shop.app.settled().await;
    assert_eq!(shop.app.twin.n_sends(), 1);
}

#[tokio::test]
async fn an_alert_that_is_repeated_under_its_key_is_sent_once() {
    let shop = shop().await;
    let (one, two) = ("+221705550001", "+221705550002");
    let first = shop.keyed("stock-42", json!([one]), "Stock bas").await;
    assert_eq!(first.status, 202, "{}", first.text);
    let again = shop.keyed("stock-42", json!([one, two]), "Stock bas").await;
    assert_eq!(again.status, 202, "{}", again.text);
    assert_eq!(of(&again, "messageId")[0], of(&first, "messageId")[0]);
    let other = shop.keyed("stock-42", json!([one, two]), "Stock épuisé").await;
    assert_eq!(other.status, 409, "{}", other.text);
    assert_eq!(shop.keyed(&"k".repeat(256), json!(one), "x").await.status, 422);
    shop.app.twin.wait_sends(2, DEADLINE).await;
    shop.app.settled().await;
    assert_eq!(shop.app.twin.n_sends(), 2);
}

#[tokio::test]
async fn what_nobody_can_get_is_refused_with_the_reason() {
    let shop = shop().await;
    let many: Vec<String> = (0..1_001).map(|it| format!("+22170555{it:04}")).collect();
    for (to, message, status, why) in [
        (json!("appelez-moi"), "x", 422, "nobody"),
        (json!(["12", "non"]), "x", 422, "nobody"),
        (json!([]), "x", 422, "1 to 1000"),
        (json!(many), "x", 422, "1 to 1000"),
        (json!("+221705550001"), " ", 422, "message: is empty"),
        (json!(7), "x", 400, "wrong type"),
    ] {
        let answer = shop.alert(to, message).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(answer.text.contains(why), "{}", answer.text);
    }
    let answer = shop.alert(json!(["12", "non"]), "x").await;
    assert_eq!(of(&answer, "status"), [json!("refused"), json!("refused")]);
    let nowhere = VendorId::parse("vendor_none").unwrap();
    let path = format!("/api/v1/vendors/{nowhere}/alerts");
    let body = json!({ "to": "+221705550001", "message": "x" });
    assert_eq!(shop.app.admin.post(&path, body.clone()).await.status, 404);
    shop.app.gateway.put_vendor(&nowhere, VendorChange::default()).await.unwrap();
    assert_eq!(shop.app.admin.post(&path, body).await.status, 409, "it has no number");
    assert_eq!(shop.app.twin.n_sends(), 0);
}

#[tokio::test]
async fn the_status_says_whether_alerts_would_leave_and_no_secret() {
    let shop = shop().await;
    let status = shop.status().await;
    let wanted = json!({
        "success": true, "vendorId": "vendor_001", "configured": true, "enabled": true,
        "connected": true, "provider": "wasender", "phoneNumber": shop.vendor.phone,
        "wabaId": "waba_vendor_001",
    });
    assert_eq!(status, wanted);
    shop.app.gateway.pause(Some(&shop.vendor.id), true).await.unwrap();
    let status = shop.status().await;
    assert_eq!((&status["enabled"], &status["configured"]), (&json!(false), &json!(true)));
    let empty = VendorId::parse("vendor_none").unwrap();
    shop.app.gateway.put_vendor(&empty, VendorChange::default()).await.unwrap();
    let status = shop.app.admin.get(&format!("/api/v1/vendors/{empty}/whatsapp-status")).await;
    let wanted = json!({
        "success": true, "vendorId": "vendor_none", "configured": false, "enabled": true,
        "connected": false, "provider": null, "phoneNumber": null, "wabaId": null,
    });
    assert_eq!(status.json(), wanted);
}
