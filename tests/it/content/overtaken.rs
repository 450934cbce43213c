//! What is done to a message may come before the message itself, and in no order.

use serde_json::{Value, json};
use waba_gateway::twin::wire;

use super::{NOW, customer, journey, steps, still};
use crate::support::{TestApp, TestVendor};

const JID: &str = "221705550001@s.whatsapp.net";

/// Takes a webhook. The id of the entry that it became.
async fn hook(app: &TestApp, vendor: &TestVendor, body: &Value) -> String {
    let url = format!("{}/api/webhooks/wasender/{}", app.base, vendor.id);
    let headers = [("x-webhook-signature", vendor.secret())];
    let answer = app.post(&url, &headers, body.to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["processId"].as_str().unwrap().to_owned()
}

fn key(id: &str, from_me: bool) -> Value {
    json!({ "id": id, "fromMe": from_me, "remoteJid": JID })
}

fn secs(n: i64) -> i64 {
    NOW / 1_000 + n
}

/// The customer changes their message, `n` seconds after the beginning.
fn edit(own_id: &str, target: &str, text: &str, n: i64) -> Value {
    let content = wire::edit_content(&key(target, false), text, secs(n) * 1_000);
    wire::real_content(own_id, &customer(), "", &content, secs(n))
}

#[tokio::test]
async fn edits_that_come_before_their_message_and_in_no_order_leave_the_last_text() {
    let (app, vendor) = still().await;
    hook(&app, &vendor, &edit("E2", "M1", "4 baguettes", 20)).await;
    hook(&app, &vendor, &edit("E1", "M1", "3 baguettes", 10)).await;
    let said = wire::real_message("M1", &customer(), "2 baguettes", secs(0));
    let id = hook(&app, &vendor, &said).await;
    let found = journey(&app, &vendor, &id).await;
    assert_eq!(found["message"], "4 baguettes", "{found:#}");
    hook(&app, &vendor, &edit("E3", "M1", "aucune", 15)).await;
    assert_eq!(journey(&app, &vendor, &id).await["message"], "4 baguettes");
    hook(&app, &vendor, &edit("E4", "M1", "5 baguettes", 30)).await;
    assert_eq!(journey(&app, &vendor, &id).await["message"], "5 baguettes");
}

#[tokio::test]
async fn an_edit_by_somebody_else_does_not_wait_for_the_message() {
    let (app, vendor) = still().await;
    let other = waba_gateway::twin::Customer::new("+221705550002");
    let content = wire::edit_content(&key("M1", false), "gratuit", secs(5) * 1_000);
    hook(&app, &vendor, &wire::real_content("E1", &other, "", &content, secs(5))).await;
    let said = wire::real_message("M1", &customer(), "2 baguettes", secs(0));
    let id = hook(&app, &vendor, &said).await;
    let found = journey(&app, &vendor, &id).await;
    assert_eq!((&found["message"], &found["edited"]), (&json!("2 baguettes"), &json!(false)));
}

#[tokio::test]
async fn a_deletion_that_comes_before_its_message_is_known_at_once() {
    let (app, vendor) = still().await;
    hook(&app, &vendor, &wire::real_deletion(&key("M1", false), secs(1))).await;
    let said = wire::real_message("M1", &customer(), "2 baguettes", secs(0));
    let id = hook(&app, &vendor, &said).await;
    let found = journey(&app, &vendor, &id).await;
    assert_eq!(found["deleted"], true, "{found:#}");
}

#[tokio::test]
async fn what_comes_before_a_message_that_a_human_typed_is_known_at_once() {
    let (app, vendor) = still().await;
    let session = &vendor.session.api_key;
    hook(&app, &vendor, &wire::real_status(session, "H1", JID, 4, NOW + 2_000)).await;
    let reacts =
        |id, emoji, n| wire::real_reaction(&key(id, false), &key("H1", true), emoji, secs(n));
    hook(&app, &vendor, &reacts("R1", "👍", 3)).await;
    let id = hook(&app, &vendor, &wire::real_typed("H1", &customer(), "Bonjour", secs(0))).await;
    let found = journey(&app, &vendor, &id).await;
    assert_eq!((&found["status"], &found["reaction"]), (&json!("read"), &json!("👍")), "{found:#}");
    // It was taken back before that: who tells it later changes nothing.
    hook(&app, &vendor, &reacts("R3", "", 9)).await;
    hook(&app, &vendor, &reacts("R2", "😡", 6)).await;
    let found = journey(&app, &vendor, &id).await;
    assert_eq!(found["reaction"], json!(null), "{found:#}");
    assert!(steps(&found).contains(&"reaction_taken_back"), "{found:#}");
}
