//! Conversations: listed, read, paused, exported, erased.

use serde_json::{Value, json};
use waba_gateway::{
    domain::clock::{Clock, MINUTE},
    twin::{Customer, FileKind, Inbound, Misbehaviour, Times, real_message},
};

use crate::{
    delivery::{send, status_is},
    support::{DEADLINE, Options, TestApp, TestVendor, rules, spawn_app, spawn_app_with},
};

const NOW: i64 = 1_760_000_000_000;
const AWA: &str = "+221705550001";
const BINTA: &str = "+221705550002";

fn path(vendor: &TestVendor, rest: &str) -> String {
    format!("/api/admin/vendors/{}/conversations{rest}", vendor.id)
}

async fn says(app: &TestApp, vendor: &TestVendor, id: &str, phone: &str, text: &str) -> Value {
    let customer = Customer::new(phone).named(if phone == AWA { "Awa Ndiaye" } else { "Binta" });
    let body = real_message(id, &customer, text, app.now_secs());
    let answer = app.post_signed(vendor, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn list(app: &TestApp, vendor: &TestVendor) -> Vec<Value> {
    let answer = app.admin.get(&path(vendor, "")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["conversations"].as_array().unwrap().clone()
}

fn id(conversation: &Value) -> String {
    conversation["conversationId"].as_str().unwrap().to_owned()
}

/// A vendor with a customer's message that was answered and read.
async fn answered(app: &TestApp) -> (TestVendor, String) {
    let vendor = app.vendor(1).await;
    says(app, &vendor, "M1", AWA, "horaires").await;
    app.twin.wait_sends(1, DEADLINE).await;
    app.until(&vendor, |it| it.iter().any(|it| it["status"] == "read")).await;
    app.twin.idle().await;
    app.settled().await;
    let conversation = id(&list(app, &vendor).await[0]);
    (vendor, conversation)
}

#[tokio::test]
async fn conversations_are_listed_by_their_latest_message() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let (vendor, other) = (app.vendor(1).await, app.vendor(2).await);
    app.gateway.pause(None, true).await.unwrap();
    for (n, phone) in [AWA, BINTA, AWA].iter().enumerate() {
        app.clock.advance(MINUTE);
        says(&app, &vendor, &format!("M{n}"), phone, &format!("n° {n}")).await;
        app.until(&vendor, |it| it.len() == 2 * n + 2).await;
    }
    let all = list(&app, &vendor).await;
    let fields: Vec<&String> = all[0].as_object().unwrap().keys().collect();
    let want = [
        "conversationId",
        "customer",
        "lastMessage",
        "name",
        "pauseReason",
        "pausedUntil",
        "wabaId",
    ];
    assert_eq!(fields, want);
    let customers: Vec<&Value> = all.iter().map(|it| &it["customer"]).collect();
    assert_eq!(customers, [AWA, BINTA]);
    assert_eq!(all[0]["name"], "Awa Ndiaye");
    assert_eq!(all[0]["wabaId"], "waba_vendor_001");
    let last = &all[0]["lastMessage"];
    assert_eq!((&last["direction"], &last["status"]), (&json!("outbound"), &json!("queued")));
    assert_eq!((&last["type"], &last["message"]), (&json!("text"), &json!("merci")));
    // Page by page it is the same.
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.admin.get(&path(&vendor, &format!("?limit=1{cursor}"))).await.json();
        paged.extend(page["conversations"].as_array().unwrap().clone());
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, all);
    // Another vendor has none of it.
    assert!(list(&app, &other).await.is_empty());
    let awa = id(&all[0]);
    for (method, rest) in [
        ("GET", ""),
        ("GET", "/messages"),
        ("GET", "/export"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("DELETE", ""),
    ] {
        let foreign = path(&other, &format!("/{awa}{rest}"));
        let answer = app.admin.call(method, &foreign, Some(json!({})), &[]).await;
        assert_eq!(answer.status, 404, "{method} {rest} {}", answer.text);
    }
    assert_eq!(list(&app, &vendor).await, all);
}

#[tokio::test]
async fn a_conversation_is_read_from_either_end() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.gateway.pause(None, true).await.unwrap();
    says(&app, &vendor, "M1", AWA, "un").await;
    app.until(&vendor, |it| it.len() == 2).await;
    says(&app, &vendor, "M2", BINTA, "autre").await;
    says(&app, &vendor, "M3", AWA, "deux").await;
    app.until(&vendor, |it| it.len() == 6).await;
    let all = list(&app, &vendor).await;
    let awa = id(all.iter().find(|it| it["customer"] == AWA).unwrap());
    let one = app.admin.get(&path(&vendor, &format!("/{awa}"))).await.json();
    assert_eq!(one["customer"], AWA);
    let mut read = Vec::new();
    for order in ["newest", "oldest"] {
        let (mut texts, mut cursor) = (Vec::new(), String::new());
        loop {
            let query = format!("/{awa}/messages?limit=3&order={order}{cursor}");
            let page = app.admin.get(&path(&vendor, &query)).await.json();
            let rows = page["messages"].as_array().unwrap().clone();
            texts.extend(rows.iter().map(|it| it["message"].as_str().unwrap().to_owned()));
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        read.push(texts);
    }
    assert_eq!(read[1], ["un", "merci", "deux", "merci"]);
    read[1].reverse();
    assert_eq!(read[0], read[1]);
    for bad in ["conv_1", "msg_0000000000000001", "conv_00000000000fffff"] {
        assert_eq!(app.admin.get(&path(&vendor, &format!("/{bad}"))).await.status, 404);
    }
}

#[tokio::test]
async fn the_bot_is_paused_and_resumed_by_conversation() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    app.gateway.pause(None, true).await.unwrap();
    says(&app, &vendor, "M1", AWA, "un").await;
    app.until(&vendor, |it| it.len() == 2).await;
    let awa = id(&list(&app, &vendor).await[0]);
    let pause = path(&vendor, &format!("/{awa}/pause"));
    assert_eq!(app.admin.post(&pause, json!({ "minutes": 30 })).await.status, 200);
    let one = app.admin.get(&path(&vendor, &format!("/{awa}"))).await.json();
    assert_eq!(one["pausedUntil"], "2025-10-09T09:23:20.000Z");
    assert_eq!(one["pauseReason"], "admin");
    says(&app, &vendor, "M2", AWA, "deux").await;
    app.until(&vendor, |it| it.iter().any(|it| it["reason"] == "paused")).await;
    let resume = path(&vendor, &format!("/{awa}/resume"));
    assert_eq!(app.admin.post(&resume, Value::Null).await.status, 200);
    let one = app.admin.get(&path(&vendor, &format!("/{awa}"))).await.json();
    assert_eq!((&one["pausedUntil"], &one["pauseReason"]), (&Value::Null, &Value::Null));
    says(&app, &vendor, "M3", AWA, "trois").await;
    app.until(&vendor, |it| it.len() == 5).await;
}

#[tokio::test]
async fn everything_kept_of_a_customer_is_exported() {
    let app = spawn_app().await;
    let (vendor, awa) = answered(&app).await;
    let answer = app.admin.get(&path(&vendor, &format!("/{awa}/export"))).await;
    assert_eq!(answer.status, 200);
    let want = format!("attachment; filename=\"{awa}.json\"");
    assert_eq!(answer.headers["content-disposition"], want.as_str());
    let export = answer.json();
    assert_eq!(export["conversationId"], awa);
    assert_eq!(export["customer"]["phone"], AWA);
    assert_eq!(export["name"], "Awa Ndiaye");
    let phones: Vec<&Value> =
        export["addresses"].as_array().unwrap().iter().map(|it| &it["phone"]).collect();
    assert!(phones.contains(&&json!(AWA)));
    let entries = export["entries"].as_array().unwrap();
    let texts: Vec<&str> = entries.iter().filter_map(|it| it["message"].as_str()).collect();
    assert_eq!(texts, ["horaires", "ouvert de 8 h à 19 h"]);
    let steps = entries.iter().find(|it| it["direction"] == "outbound").unwrap()["steps"].clone();
    assert!(steps.as_array().unwrap().iter().any(|it| it["step"] == "heard_read"), "{steps}");
    assert!(entries.iter().any(|it| it["told"] == "read"), "{export:#}");
    assert!(!answer.text.contains(vendor.secret()));
}

#[tokio::test]
async fn an_erased_customer_leaves_counts_and_nothing_else() {
    let app = spawn_app().await;
    let (vendor, awa) = answered(&app).await;
    says(&app, &vendor, "M2", BINTA, "je reste").await;
    app.twin.wait_sends(2, DEADLINE).await;
    app.until(&vendor, |it| it.iter().filter(|it| it["status"] == "read").count() == 2).await;
    app.twin.idle().await;
    app.settled().await;
    let before = app.gateway.ledger(&vendor.id).await.unwrap();
    let answer = app.admin.delete(&path(&vendor, &format!("/{awa}"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(app.gateway.ledger(&vendor.id).await.unwrap(), before);
    app.balanced().await;
    for rest in ["", "/messages", "/export"] {
        let gone = path(&vendor, &format!("/{awa}{rest}"));
        assert_eq!(app.admin.get(&gone).await.status, 404, "{rest}");
    }
    assert_eq!(app.admin.delete(&path(&vendor, &format!("/{awa}"))).await.status, 404);
    // The rows are still there, and say nothing.
    let messages = app.admin.get(&format!("/api/admin/vendors/{}/messages", vendor.id)).await;
    assert!(!messages.text.contains(AWA) && !messages.text.contains("Awa Ndiaye"));
    assert!(!messages.text.contains("horaires") && !messages.text.contains("ouvert de"));
    let messages = messages.json();
    let erased: Vec<&Value> = messages["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["type"] == "erased")
        .collect();
    assert_eq!(erased.len(), 2);
    for it in &erased {
        assert_eq!((&it["message"], &it["reason"]), (&json!(""), &json!("erased")));
        let id = it["messageId"].as_str().unwrap();
        let journey = format!("/api/admin/vendors/{}/messages/{id}", vendor.id);
        let journey = app.admin.get(&journey).await;
        assert_eq!(journey.status, 200, "{}", journey.text);
        assert!(!journey.text.contains(AWA));
    }
    // Nobody else is touched.
    let rest = list(&app, &vendor).await;
    assert_eq!((rest.len(), &rest[0]["customer"]), (1, &json!(BINTA)));
}

#[tokio::test]
async fn who_was_erased_is_somebody_new_and_what_they_sent_before_stays_known() {
    let app = spawn_app().await;
    let (vendor, awa) = answered(&app).await;
    assert_eq!(app.admin.delete(&path(&vendor, &format!("/{awa}"))).await.status, 200);
    // Wasender repeats the webhook of before.
    let again = says(&app, &vendor, "M1", AWA, "horaires").await;
    assert_eq!(again["status"], "duplicate");
    assert!(list(&app, &vendor).await.is_empty());
    assert_eq!(says(&app, &vendor, "M9", AWA, "horaires").await["status"], "received");
    app.twin.wait_sends(2, DEADLINE).await;
    let fresh = list(&app, &vendor).await;
    assert_eq!(fresh.len(), 1);
    assert_ne!(id(&fresh[0]), awa);
    assert_eq!(fresh[0]["customer"], AWA);
    let path = path(&vendor, &format!("/{}/messages", id(&fresh[0])));
    assert_eq!(app.admin.get(&path).await.json()["messages"].as_array().unwrap().len(), 2);
    app.balanced().await;
}

#[tokio::test]
async fn what_was_not_sent_to_an_erased_customer_never_is() {
    let mut app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    // More than one transaction erases.
    for n in 0..250 {
        let message = waba_gateway::gateway::SendMessage {
            to: AWA.to_owned(),
            content: waba_gateway::domain::message::Content::text(format!("n° {n}")),
            instance: None,
            reply_to: None,
            provider: None,
            send_at: None,
            idempotency_key: None,
        };
        app.gateway.send_message(&vendor.id, message).await.unwrap();
    }
    let other = send(&app, &vendor, BINTA, "elle le reçoit").await;
    let all = list(&app, &vendor).await;
    let awa = id(all.iter().find(|it| it["customer"] == AWA).unwrap());
    assert_eq!(app.admin.delete(&path(&vendor, &format!("/{awa}"))).await.status, 200);
    app.balanced().await;
    let messages = app.gateway.messages(&vendor.id, None, 300).await.unwrap();
    let dead = messages.rows.iter().filter(|it| it.status == "dead");
    assert_eq!(dead.filter(|it| it.reason.as_deref() == Some("erased")).count(), 250);
    app.restart().await;
    app.gateway.pause(Some(&vendor.id), false).await.unwrap();
    status_is(&app, &vendor, &other, "read").await;
    app.settled().await;
    let sends = app.twin.sends();
    assert_eq!((sends.len(), sends[0].to.as_str()), (1, BINTA));
}

#[tokio::test]
async fn a_send_that_is_on_its_way_when_its_customer_is_erased_still_ends() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.twin.misbehave(vendor.session.id, Misbehaviour::Hang { accepted: true }, Times::Once);
    says(&app, &vendor, "M1", AWA, "horaires").await;
    app.twin.wait_sends(1, DEADLINE).await;
    app.until(&vendor, |it| it.iter().any(|it| it["status"] == "sending")).await;
    let awa = id(&list(&app, &vendor).await[0]);
    assert_eq!(app.admin.delete(&path(&vendor, &format!("/{awa}"))).await.status, 200);
    app.balanced().await;
    // Its echo is ours still, and nobody's conversation.
    app.twin.idle().await;
    app.until(&vendor, |it| it.iter().all(|it| it["text"] == "" && it["human"] == false)).await;
    assert!(list(&app, &vendor).await.is_empty());
}

#[tokio::test]
async fn a_vendor_exports_and_erases_its_own() {
    let app = spawn_app().await;
    let (vendor, awa) = answered(&app).await;
    let other = app.vendor(2).await;
    let mut keys = Vec::new();
    for (of, looks) in [(&vendor, false), (&vendor, true), (&other, false)] {
        let body = json!({ "name": "shop", "vendorId": of.id.as_str(), "readOnly": looks });
        let made = app.admin.post("/api/admin/keys", body).await.json();
        keys.push(app.admin.with_key(made["key"].as_str().unwrap()));
    }
    let (export, one) =
        (path(&vendor, &format!("/{awa}/export")), path(&vendor, &format!("/{awa}")));
    assert_eq!(keys[2].get(&export).await.status, 403);
    assert_eq!(keys[2].delete(&one).await.status, 403);
    assert_eq!(keys[1].get(&export).await.status, 200);
    assert_eq!(keys[1].delete(&one).await.status, 403);
    assert_eq!(keys[0].get(&export).await.status, 200);
    assert_eq!(keys[0].delete(&one).await.status, 200);
}

#[tokio::test]
async fn an_erased_customers_files_and_events_on_their_way_go_too() {
    let app = spawn_app().await;
    // Nobody listens there: what is to be told stays.
    let change = waba_gateway::gateway::VendorChange {
        forward_url: Some(Some("http://127.0.0.1:9/hook".to_owned())),
        ..crate::support::change(rules())
    };
    let vendor = app.vendor_with(1, change).await;
    let customer = Customer::new(AWA);
    let clear = [b"\xff\xd8\xff\xe0".as_slice(), &[7; 5_000]].concat();
    let image = Inbound::file(FileKind::Image, clear.clone());
    let told = app.twin.customer_shares(vendor.session.id, &customer, &image).await;
    let told: Value = serde_json::from_str(&told.body).unwrap();
    let file =
        format!("/api/v1/vendors/{}/media/{}", vendor.id, told["processId"].as_str().unwrap());
    assert_eq!(app.admin.get(&file).await.bytes, clear);
    app.twin.wait_sends(1, DEADLINE).await;
    app.twin.idle().await;
    app.settled().await;
    assert!(app.gateway.journal().forwards_load().await.unwrap().n_waiting > 0);
    let awa = id(&list(&app, &vendor).await[0]);
    let export = app.admin.get(&path(&vendor, &format!("/{awa}/export"))).await;
    assert_eq!(export.json()["entries"][0]["media"]["id"], told["processId"]);
    assert_eq!(app.admin.delete(&path(&vendor, &format!("/{awa}"))).await.status, 200);
    assert_eq!(app.admin.get(&file).await.status, 404);
    assert_eq!(n_files(&app.data_dir().join("media")), 0);
    assert_eq!(app.gateway.journal().forwards_load().await.unwrap().n_waiting, 0);
    app.balanced().await;
}

fn n_files(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|it| it.unwrap().path());
    entries.map(|it| if it.is_dir() { n_files(&it) } else { 1 }).sum()
}

#[tokio::test]
async fn what_an_erased_customer_wrote_in_a_group_goes_too() {
    let app = spawn_app().await;
    let (vendor, awa) = answered(&app).await;
    let mut body = real_message("G1", &Customer::new(AWA), "dans le groupe", app.now_secs());
    let key = &mut body["data"]["messages"]["key"];
    key["remoteJid"] = json!("120363000000000001@g.us");
    key["participant"] = json!("221705550001@s.whatsapp.net");
    assert_eq!(app.post_signed(&vendor, &body).await.status, 200);
    let group = |it: &[Value]| it.iter().any(|it| it["reason"] == "not_private");
    app.until(&vendor, group).await;
    assert_eq!(app.admin.delete(&path(&vendor, &format!("/{awa}"))).await.status, 200);
    let all = app.messages(&vendor).await;
    assert!(all.iter().all(|it| it["text"] == "" && it["reason"] == "erased"), "{all:#?}");
}
