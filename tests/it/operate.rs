//! What a person does with the journal: looks, puts aside, lets go on.

use std::time::Duration;

use serde_json::{Value, json};
use waba_gateway::{
    domain::{clock::HOUR, id::ContactId},
    gateway::VendorChange,
    twin::{Customer, Misbehaviour, Times, real_message},
};

use crate::support::{Answer, Bot, DEADLINE, TestApp, TestVendor, change, rules, spawn_app};

const AWA: &str = "+221705550001";

async fn api_send(app: &TestApp, vendor: &TestVendor, text: &str) -> String {
    let path = format!("/api/admin/vendors/{}/send-message", vendor.id);
    let sent = app.admin.post(&path, json!({ "to": AWA, "message": text })).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    sent.json()["messageId"].as_str().unwrap().to_owned()
}

async fn entry(app: &TestApp, id: &str) -> Value {
    let answer = app.admin.get(&format!("/api/admin/journal/entries/{id}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn listed(app: &TestApp, query: &str) -> Vec<String> {
    let answer = app.admin.get(&format!("/api/admin/journal/entries?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let entries = answer.json()["entries"].as_array().unwrap().clone();
    entries.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

async fn act(app: &TestApp, id: &str, what: &str, body: Value) -> Answer {
    app.admin.post(&format!("/api/admin/journal/entries/{id}/{what}"), body).await
}

/// Waits until an entry is as `is` says.
async fn until(app: &TestApp, id: &str, is: impl Fn(&Value) -> bool) -> Value {
    let started = std::time::Instant::now();
    loop {
        let entry = app.gateway.journal_entry(id.parse().unwrap()).await.unwrap();
        let shown = json!({
            "state": entry.state, "reason": entry.reason, "attempts": entry.attempts,
            "open": entry.is_open,
            "steps": entry.steps.iter().map(|it| it.1.clone()).collect::<Vec<_>>(),
        });
        if is(&shown) {
            return shown;
        }
        assert!(started.elapsed() < DEADLINE, "in the end it was {shown:#}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn texts(app: &TestApp) -> Vec<String> {
    app.twin.sends().into_iter().map(|it| it.text).collect()
}

async fn pause_of(app: &TestApp, id: &str) -> Option<(i64, String)> {
    let contact = app.gateway.journal_entry(id.parse().unwrap()).await.unwrap().contact;
    let contact: ContactId = contact.unwrap();
    app.gateway.journal().pause_of(contact).await.unwrap()
}

#[tokio::test]
async fn a_dead_send_is_replayed_at_the_tail_also_through_a_restart() {
    let mut app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let refuse =
        Misbehaviour::Refuse { status: 422, message: "The to field must be valid.".to_owned() };
    app.twin.misbehave(vendor.session.id, refuse, Times::Once);
    let dead = api_send(&app, &vendor, "first").await;
    until(&app, &dead, |it| it["state"] == "dead").await;
    assert_eq!(listed(&app, "state=dead").await, std::slice::from_ref(&dead));
    app.gateway.pause(None, true).await.unwrap();
    let second = api_send(&app, &vendor, "second").await;
    assert_eq!(listed(&app, "state=waiting").await, std::slice::from_ref(&second));
    let replayed = act(&app, &dead, "replay", json!(null)).await;
    assert_eq!(replayed.status, 200, "{}", replayed.text);
    assert_eq!(replayed.json()["state"], "queued");
    let third = api_send(&app, &vendor, "third").await;
    app.restart().await;
    app.gateway.pause(None, false).await.unwrap();
    app.twin.wait_sends(3, DEADLINE).await;
    assert_eq!(texts(&app), ["second", "first", "third"]);
    app.twin.idle().await;
    app.settled().await;
    let shown = entry(&app, &dead).await;
    let steps: Vec<&str> =
        shown["steps"].as_array().unwrap().iter().map(|it| it["step"].as_str().unwrap()).collect();
    assert!(steps.windows(2).any(|it| it == ["replayed", "queued"]), "{steps:?}");
    assert_eq!(shown["attempts"], 2);
    let waiting = act(&app, &third, "release", json!(null)).await;
    assert_eq!(waiting.status, 409, "{}", waiting.text);
}

#[tokio::test]
async fn what_the_customer_may_have_goes_again_only_when_that_is_asked_for() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let id = api_send(&app, &vendor, "once").await;
    app.until(&vendor, |it| it.iter().any(|it| it["status"] == "read")).await;
    app.twin.idle().await;
    let refused = act(&app, &id, "replay", json!({})).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.json()["error"].as_str().unwrap().contains("again"), "{}", refused.text);
    assert_eq!(app.twin.n_sends(), 1);
    assert_eq!(act(&app, &id, "replay", json!({ "again": true })).await.status, 200);
    app.twin.wait_sends(2, DEADLINE).await;
    app.until(&vendor, |it| it.iter().any(|it| it["status"] == "read")).await;
    app.twin.idle().await;
    app.settled().await;
    // Its echo is known for ours: nobody took the conversation over.
    assert_eq!(pause_of(&app, &id).await, None);
    assert_eq!(app.messages(&vendor).await.len(), 1);
    assert_eq!(texts(&app), ["once", "once"]);
}

#[tokio::test]
async fn a_message_without_an_answer_is_worked_on_again_however_old() {
    let app = spawn_app().await;
    let vendor = app.vendor_with(1, change(Vec::new())).await;
    let customer = Customer::new(AWA);
    let old = app.now_secs() - 9 * HOUR / 1_000;
    let stale = app.post_signed(&vendor, &real_message("OLD", &customer, "vieux", old)).await;
    let stale = stale.json()["processId"].as_str().unwrap().to_owned();
    assert!(app.twin.customer_says(vendor.session.id, &customer, "horaires").await.is_ok());
    let silent = |it: &[Value]| it.iter().any(|it| it["reason"] == "silence");
    let messages = app.until(&vendor, silent).await;
    let silent = messages[0]["id"].as_str().unwrap().to_owned();
    let query = format!("state=unanswered&vendorId={}", vendor.id);
    assert_eq!(listed(&app, &query).await, [silent.clone(), stale.clone()]);
    assert_eq!(entry(&app, &stale).await["reason"], "stale");
    let responders = VendorChange { responders: Some(rules()), ..VendorChange::default() };
    app.gateway.put_vendor(&vendor.id, responders).await.unwrap();
    assert_eq!(act(&app, &stale, "replay", json!({})).await.status, 200);
    app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(act(&app, &silent, "replay", json!({})).await.status, 200);
    app.twin.wait_sends(2, DEADLINE).await;
    app.twin.idle().await;
    app.settled().await;
    assert_eq!(texts(&app), ["merci", "ouvert de 8 h à 19 h"]);
    assert_eq!(act(&app, &stale, "replay", json!({})).await.status, 409, "it has its answer");
    assert!(listed(&app, &query).await.is_empty());
}

#[tokio::test]
async fn what_is_put_aside_waits_for_a_person() {
    let app = spawn_app().await;
    let bot = Bot::hanging().await;
    let vendor = app.vendor_with(1, change(vec![bot.responder()])).await;
    let customer = Customer::new(AWA);
    assert!(app.twin.customer_says(vendor.session.id, &customer, "horaires").await.is_ok());
    let message = app.until(&vendor, |it| !it.is_empty()).await[0]["id"].clone();
    let message = message.as_str().unwrap().to_owned();
    // Also while its responder is being asked.
    let started = std::time::Instant::now();
    while bot.n_asked() == 0 {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let parked = act(&app, &message, "park", json!(null)).await;
    assert_eq!((parked.status, parked.json()["reason"].as_str()), (200, Some("held")));
    app.balanced().await;
    assert_eq!(act(&app, &message, "park", json!(null)).await.status, 409);
    assert_eq!(act(&app, &message, "replay", json!(null)).await.status, 200);
    assert_eq!(act(&app, &message, "park", json!(null)).await.status, 200);
    let responders = VendorChange { responders: Some(rules()), ..VendorChange::default() };
    app.gateway.put_vendor(&vendor.id, responders).await.unwrap();

    app.gateway.pause(None, true).await.unwrap();
    let send = api_send(&app, &vendor, "held back").await;
    assert_eq!(act(&app, &send, "park", json!(null)).await.status, 200);
    app.gateway.pause(None, false).await.unwrap();
    let mut parked = listed(&app, "state=parked").await;
    parked.reverse();
    assert_eq!(parked, [message.clone(), send.clone()]);
    // What comes later is not held up.
    let later = api_send(&app, &vendor, "later").await;
    app.twin.wait_sends(1, DEADLINE).await;
    until(&app, &later, |it| it["state"] == "read").await;
    assert_eq!(act(&app, &send, "release", json!(null)).await.status, 200);
    app.twin.wait_sends(2, DEADLINE).await;
    // The lane is free again when the call that was cut off has ended.
    assert_eq!(act(&app, &message, "release", json!(null)).await.status, 200);
    app.balanced().await;
    assert_eq!(texts(&app)[..2], ["later", "held back"]);
}

#[tokio::test]
async fn a_conversation_that_a_human_has_taken_over_is_left_alone() {
    let app = spawn_app().await;
    let vendor = app.vendor_with(1, change(Vec::new())).await;
    let customer = Customer::new(AWA);
    assert!(app.twin.customer_says(vendor.session.id, &customer, "horaires").await.is_ok());
    let silent = |it: &[Value]| it.iter().any(|it| it["reason"] == "silence");
    let message = app.until(&vendor, silent).await[0]["id"].as_str().unwrap().to_owned();
    assert!(app.twin.human_types(vendor.session.id, &customer, "je m'en occupe").await.is_ok());
    app.until(&vendor, |it| it.iter().any(|it| it["human"] == true)).await;
    app.settled().await;
    let refused = act(&app, &message, "replay", json!({ "again": true })).await;
    assert_eq!(refused.status, 409);
    assert!(refused.json()["error"].as_str().unwrap().contains("paused"), "{}", refused.text);
    let body = json!({ "vendorId": vendor.id, "since": "2020-01-01T00:00:00Z" });
    let many = app.admin.post("/api/admin/journal/replay", body).await.json();
    assert_eq!(many["replayed"], 0, "{many}");
    assert_eq!(many["refused"].as_object().unwrap().len(), 1, "{many}");
}

#[tokio::test]
async fn all_of_a_vendor_is_replayed_at_once_and_counted_right() {
    let app = spawn_app().await;
    let (vendor, other) = (
        app.vendor_with(1, change(Vec::new())).await,
        app.vendor_with(2, change(Vec::new())).await,
    );
    // More than one transaction takes.
    let n_messages = 230;
    for n in 0..n_messages {
        let customer = Customer::new(&format!("+2217055{n:05}"));
        let body = real_message(&format!("M{n}"), &customer, "horaires", app.now_secs());
        assert_eq!(app.post_signed(&vendor, &body).await.status, 200);
    }
    let body = real_message("O", &Customer::new(AWA), "horaires", app.now_secs());
    assert_eq!(app.post_signed(&other, &body).await.status, 200);
    app.settled().await;
    // Answers are made, and none is sent: what is counted then stands still.
    app.gateway.pause(None, true).await.unwrap();
    let responders = VendorChange { responders: Some(rules()), ..VendorChange::default() };
    app.gateway.put_vendor(&vendor.id, responders).await.unwrap();
    let future = json!({ "vendorId": vendor.id, "since": "2100-01-01T00:00:00Z" });
    let none = app.admin.post("/api/admin/journal/replay", future).await.json();
    assert_eq!(none["replayed"], 0);
    let body = json!({ "vendorId": vendor.id, "since": "2020-01-01T00:00:00Z" });
    let done = app.admin.post("/api/admin/journal/replay", body.clone()).await;
    assert_eq!(done.json(), json!({ "replayed": n_messages, "refused": {}, "hasMore": false }));
    let queued = |it: &[Value]| it.iter().filter(|it| it["status"] == "queued").count();
    let started = std::time::Instant::now();
    loop {
        let ledger = app.gateway.journal().ledger(Some(&vendor.id)).await.unwrap();
        if ledger.intents_waiting == n_messages {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "{ledger:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(queued(&app.messages(&vendor).await) > 0);
    let again = app.admin.post("/api/admin/journal/replay", body).await.json();
    assert_eq!(again["replayed"], 0, "what waits is left alone: {again}");
    let ledger = app.admin.get("/api/admin/journal/ledger?verify=true").await.json();
    assert_eq!((&ledger["verified"], &ledger["balances"]), (&json!(true), &json!(true)));
    assert_eq!(ledger["counted"]["events"]["accepted"], n_messages + 1);
    assert_eq!(listed(&app, &format!("state=unanswered&vendorId={}", other.id)).await.len(), 1);
    let stats = app.admin.get("/api/admin/journal/stats").await.json();
    assert_eq!(
        (&stats["waiting"], &stats["entries"]),
        (&json!(n_messages), &json!(2 * n_messages + 1))
    );
    assert!(stats["server"]["writes"].as_i64() >= stats["server"]["commits"].as_i64(), "{stats}");
    assert!(stats["server"]["commits"].as_i64() > Some(0), "{stats}");
}

#[tokio::test]
async fn only_an_admin_operates_the_journal() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let id = api_send(&app, &vendor, "bonjour").await;
    let key = |body: Value| async {
        let made = app.admin.post("/api/admin/keys", body).await.json();
        app.admin.with_key(made["key"].as_str().unwrap())
    };
    let own = key(json!({ "name": "own", "vendorId": vendor.id })).await;
    let watcher = key(json!({ "name": "watcher", "readOnly": true })).await;
    for path in ["stats", "ledger", "entries", &format!("entries/{id}")] {
        let path = format!("/api/admin/journal/{path}");
        assert_eq!(own.get(&path).await.status, 403, "{path}");
        assert_eq!(watcher.get(&path).await.status, 200, "{path}");
    }
    for what in ["park", "release", "replay"] {
        let path = format!("/api/admin/journal/entries/{id}/{what}");
        assert_eq!(own.post(&path, json!({})).await.status, 403);
        assert_eq!(watcher.post(&path, json!({})).await.status, 403);
    }
    let none = format!("/api/admin/journal/entries/msg_{:016x}/replay", 5);
    assert_eq!(app.admin.post(&none, json!({})).await.status, 404);
    for (query, status) in [("state=odd", 422), ("state=unanswered", 422), ("vendorId=none", 404)] {
        let path = format!("/api/admin/journal/entries?{query}");
        assert_eq!(app.admin.get(&path).await.status, status, "{query}");
    }
}
