//! A vendor's back end receives its events.

mod edges;
mod endings;
pub mod receiver;
mod statuses;
mod tries;

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR},
        secret::ExposeSecret,
        vendor::{Dialect, ResponderConfig, ResponseApi},
    },
    gateway::VendorChange,
    twin::{Customer, real_message},
};

use self::receiver::{Got, Receiver};
use crate::support::{
    DEADLINE, Options, TestApp, TestVendor, change, rules, spawn_app, spawn_app_with,
};

const NOW: i64 = 1_760_000_000_000;

fn customer() -> Customer {
    Customer::new("+221705550001").named("Awa")
}

fn forwarding(url: &str) -> VendorChange {
    VendorChange { forward_url: Some(Some(url.to_owned())), ..change(rules()) }
}

/// Events come in, nobody is answered, and time stands still.
async fn quiet_app() -> TestApp {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    app.clock.advance(HOUR);
    app
}

async fn quiet_vendor(app: &TestApp, n: u32, url: &str) -> TestVendor {
    app.vendor_with(n, VendorChange { auto_reply: Some(false), ..forwarding(url) }).await
}

/// A customer's message, which the vendor does not answer.
async fn says(app: &TestApp, vendor: &TestVendor, id: &str, text: &str) {
    let message = real_message(id, &customer(), text, app.now_secs());
    assert_eq!(app.post_signed(vendor, &message).await.status, 200);
}

fn topics(got: &[Got]) -> Vec<&str> {
    got.iter().map(Got::topic).collect()
}

fn texts(got: &[Got]) -> Vec<&str> {
    got.iter().map(|it| it.data()["message"].as_str().unwrap_or_default()).collect()
}

async fn secret_of(app: &TestApp, vendor: &TestVendor) -> String {
    app.gateway.vendor(&vendor.id).await.unwrap().signing_secret.expose_secret().to_owned()
}

async fn dead(app: &TestApp, vendor: &TestVendor) -> Vec<Value> {
    listed(app, vendor, "dead").await
}

async fn listed(app: &TestApp, vendor: &TestVendor, state: &str) -> Vec<Value> {
    let path = format!("/api/admin/vendors/{}/forwards?state={state}", vendor.id);
    let answer = app.admin.get(&path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["forwards"].as_array().unwrap().clone()
}

/// Waits until so many wait and so many were given up.
async fn until_load(app: &TestApp, want: (i64, i64)) {
    let started = std::time::Instant::now();
    loop {
        let load = app.gateway.journal().forwards_load().await.unwrap();
        if (load.n_waiting, load.n_dead) == want {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "in the end there was {load:?}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Waits until the tries of the oldest event were recorded.
async fn until_tries(app: &TestApp, vendor: &TestVendor, n: u32) {
    let started = std::time::Instant::now();
    loop {
        let waiting = app.gateway.forwards(&vendor.id, false, None, 200).await.unwrap();
        if waiting.last().is_some_and(|it| it.tries >= n) {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{waiting:?}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

const JID: &str = "221705550001@s.whatsapp.net";

/// A body as `messages.upsert` has it, of the customer or typed on the vendor's phone.
fn upsert(id: &str, ours: bool, message: &Value) -> Value {
    let key = json!({ "id": id, "fromMe": ours, "remoteJid": JID });
    let messages = json!({ "key": key, "message": message });
    json!({ "event": "messages.upsert", "data": { "messages": messages } })
}

/// 2 sent, 3 delivered, 4 read.
fn update(id: &str, status: u8) -> Value {
    let key = json!({ "id": id, "fromMe": true, "remoteJid": JID });
    json!({ "event": "messages.update", "data": { "update": { "status": status }, "key": key } })
}

fn connection(status: &str) -> Value {
    json!({ "event": "session.status", "data": { "status": status } })
}

#[tokio::test]
async fn a_back_end_sees_the_whole_conversation_signed_and_in_order() {
    let app = spawn_app().await;
    let back_end = Receiver::start().await;
    let vendor = app.vendor_with(1, forwarding(&back_end.url)).await;
    assert!(app.twin.customer_says(vendor.session.id, &customer(), "horaires ?").await.is_ok());
    let is_read = |it: &[Got]| it.iter().any(|it| it.data()["status"] == "read");
    let got = back_end.until(is_read).await;
    let secret = secret_of(&app, &vendor).await;
    got.iter().for_each(|it| it.check_signature(&secret));
    let received = &got[0];
    assert_eq!(received.topic(), "message.received");
    let data = received.data();
    assert_eq!(
        (&data["vendorId"], &data["wabaId"]),
        (&json!("vendor_001"), &json!("waba_vendor_001"))
    );
    assert_eq!((&data["from"], &data["name"]), (&json!("+221705550001"), &json!("Awa")));
    assert_eq!((&data["message"], &data["messageType"]), (&json!("horaires ?"), &json!("text")));
    assert!(data["messageId"].as_str().unwrap().starts_with("msg_"));
    assert!(data["conversationId"].as_str().unwrap().starts_with("conv_"));
    assert!(received.body["timestamp"].as_str().unwrap().ends_with('Z'));
    let (mut ids, mut ranks) = (vec![received.id().to_owned()], Vec::new());
    for status in &got[1..] {
        let (topic, data) = (status.topic(), status.data());
        assert_eq!(topic, "message.status");
        assert_eq!(
            (&data["to"], &data["inReplyTo"]),
            (&received.data()["from"], &received.data()["messageId"])
        );
        assert_eq!(data["conversationId"], received.data()["conversationId"]);
        assert_eq!(data["message"], "ouvert de 8 h à 19 h", "the back end can show the answer");
        ids.push(status.id().to_owned());
        let reason = data["reason"].as_str().unwrap_or_default();
        ranks.push(rank(data["status"].as_str().unwrap(), reason));
    }
    assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), got.len(), "each event has an id of its own");
    until_load(&app, (0, 0)).await;
    let metrics = app.admin.get("/metrics").await.text;
    for name in [
        "waba_forwards_total{outcome=\"taken\"}",
        "waba_forwards_waiting",
        "waba_forwards_oldest_seconds",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
}

/// Statuses in the order in which they may follow each other: what was refused may have been sent
/// after all, and proof that the customer has it outweighs a failure.
fn rank(status: &str, reason: &str) -> usize {
    match (status, reason) {
        ("unknown" | "parked", _) => 0,
        ("accepted", _) => 1,
        ("sent", _) => 3,
        ("dead", "failed") => 4,
        ("dead", _) => 2,
        ("delivered", _) => 5,
        ("read", _) => 6,
        ("played", _) => 7,
        _ => panic!("{status}"),
    }
}

/// Of everything one, about the message `T`; the status and the connection more than once.
fn all_kinds() -> [Value; 10] {
    let key = json!({ "id": "T" });
    let edited = json!({ "protocolMessage": { "key": key, "type": 14, "editedMessage": { "conversation": "bonsoir" } } });
    let reaction = json!({ "reactionMessage": { "key": key, "text": "👍" } });
    let deleted = json!({ "protocolMessage": { "key": key, "type": 0 } });
    let image = json!({ "imageMessage": {
        "url": "https://mmg.whatsapp.net/v/t62", "directPath": "/v/t62", "mimetype": "image/jpeg",
        "mediaKey": "a2V5a2V5a2V5a2V5", "fileLength": "12", "caption": "le sac",
    } });
    [
        upsert("E", false, &edited),
        upsert("R", false, &reaction),
        upsert("D", false, &deleted),
        upsert("I", false, &image),
        upsert("H", true, &json!({ "conversation": "je m'en occupe" })),
        update("H", 3),
        update("H", 2),
        update("H", 4),
        connection("disconnected"),
        connection("disconnected"),
    ]
}

#[tokio::test]
async fn every_kind_of_event_is_told_once() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    says(&app, &vendor, "T", "bonjour").await;
    let first = back_end.until_n(1).await[0].data()["messageId"].clone();
    let bodies = all_kinds();
    // What comes twice is told once.
    for body in bodies.iter().chain(&bodies[..8]) {
        assert_eq!(app.post_signed(&vendor, body).await.status, 200);
    }
    says(&app, &vendor, "T", "bonjour").await;
    says(&app, &vendor, "last", "fin").await;
    let got = back_end.until(|it| texts(it).contains(&"fin")).await;
    assert_eq!(
        topics(&got),
        [
            "message.received",
            "message.edited",
            "message.reaction",
            "message.deleted",
            "message.received",
            "message.sent",
            "message.status",
            "message.status",
            "connection.changed",
            "message.received",
        ]
    );
    for it in &got[1..4] {
        assert_eq!(
            (&it.data()["messageId"], &it.data()["from"]),
            (&first, &json!("+221705550001"))
        );
    }
    assert_eq!(
        (&got[1].data()["message"], &got[2].data()["reaction"]),
        (&json!("bonsoir"), &json!("👍"))
    );
    check_details(&got);
    // Neither secrets nor what only we need to fetch a file.
    let secret = secret_of(&app, &vendor).await;
    for it in &got {
        let raw = String::from_utf8(it.raw.clone()).unwrap();
        for private in
            ["a2V5a2V5", "mmg.whatsapp", "t62", vendor.secret(), &vendor.session.api_key, &secret]
        {
            assert!(!raw.contains(private), "{private} in {raw}");
        }
    }
    until_load(&app, (0, 0)).await;
}

#[track_caller]
fn check_details(got: &[Got]) {
    let media = &got[4].data()["media"];
    assert_eq!(
        (&media["id"], &media["mimeType"]),
        (&got[4].data()["messageId"], &json!("image/jpeg"))
    );
    let human = got[5].data();
    assert_eq!(
        (&human["byHuman"], &human["to"], &human["message"]),
        (&json!(true), &json!("+221705550001"), &json!("je m'en occupe"))
    );
    let statuses: Vec<&Value> = got[6..8].iter().map(|it| &it.data()["status"]).collect();
    assert_eq!(statuses, ["delivered", "read"]);
    assert_eq!(got[6].data()["messageId"], human["messageId"]);
    assert_eq!(
        (&got[8].data()["status"], &got[8].data()["wabaId"]),
        (&json!("disconnected"), &json!("waba_vendor_001"))
    );
}

#[tokio::test]
async fn a_bot_that_asks_for_a_human_is_told_to_the_back_end() {
    let app = spawn_app().await;
    let back_end = Receiver::start().await;
    let answer = json!({ "message": "Un conseiller arrive", "requiresHuman": true }).to_string();
    let router = axum::Router::new().route("/bot", axum::routing::post(|| async { answer }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/bot", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    let bot = ResponseApi { url, headers: Vec::new(), dialect: Dialect::default() };
    let bot = vec![ResponderConfig::ResponseApi(bot)];
    let vendor = app
        .vendor_with(1, VendorChange { responders: Some(bot), ..forwarding(&back_end.url) })
        .await;
    assert!(app.twin.customer_says(vendor.session.id, &customer(), "un humain !").await.is_ok());
    let got = back_end.until(|it| it.iter().any(|it| it.data()["status"] == "read")).await;
    assert_eq!(topics(&got)[..2], ["message.received", "conversation.escalated"]);
    let (message, escalated) = (got[0].data(), got[1].data());
    assert_eq!(escalated["reason"], "requires_human");
    for field in ["messageId", "conversationId", "from", "message"] {
        assert_eq!(escalated[field], message[field]);
    }
}

#[tokio::test]
async fn vendors_share_nothing_and_a_slow_back_end_holds_up_only_its_own() {
    let app = quiet_app().await;
    let (slow, fast) = (Receiver::start().await, Receiver::start().await);
    slow.always(|_| receiver::Reply { after: DEADLINE, ..204.into() });
    let vendors = [quiet_vendor(&app, 1, &slow.url).await, quiet_vendor(&app, 2, &fast.url).await];
    let silent = app.vendor_with(3, change(rules())).await;
    for n in 0..10 {
        for vendor in vendors.iter().chain([&silent]) {
            says(&app, vendor, &format!("m{n}"), &format!("{n}")).await;
        }
    }
    let got = fast.until_n(10).await;
    assert!(got.iter().all(|it| it.data()["vendorId"] == "vendor_002"));
    assert_eq!(texts(&got), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let got = slow.until_n(1).await;
    assert_eq!((got.len(), &got[0].data()["vendorId"]), (1, &json!("vendor_001")), "one at a time");
    // Whose events they are is decided by the key.
    let made =
        app.admin.post("/api/admin/keys", json!({ "name": "v", "vendorId": "vendor_002" })).await;
    let key = app.admin.with_key(made.json()["key"].as_str().unwrap());
    for path in ["", "?state=waiting"] {
        let answer = key.get(&format!("/api/admin/vendors/vendor_001/forwards{path}")).await;
        assert_eq!(answer.status, 403);
    }
    let id = listed(&app, &vendors[0], "waiting").await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(key.get("/api/admin/vendors/vendor_002/forwards").await.status, 200);
    assert_eq!(
        key.delete(&format!("/api/admin/vendors/vendor_002/forwards/{id}")).await.status,
        404
    );
    assert_eq!(listed(&app, &vendors[0], "waiting").await.len(), 10);
    assert_eq!(
        listed(&app, &silent, "waiting").await.len(),
        0,
        "without an address nothing is kept"
    );
}
