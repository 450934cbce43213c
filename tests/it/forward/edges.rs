//! What is told, and what is not.

use serde_json::{Value, json};
use waba_gateway::{
    domain::clock::HOUR,
    twin::{Misbehaviour, Times, real_message},
};

use super::{
    JID, connection, customer, dead, forwarding, quiet_app, quiet_vendor, receiver::Receiver, says,
    texts, topics, until_load, until_tries, update, upsert,
};
use crate::support::DEADLINE;

#[tokio::test]
async fn groups_are_told_and_broadcasts_and_channels_are_not() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    for (n, chat) in
        ["status@broadcast", "1203630@newsletter", "120363000000000000@g.us"].iter().enumerate()
    {
        let mut message = real_message(&format!("g{n}"), &customer(), chat, app.now_secs());
        message["data"]["messages"]["key"]["remoteJid"] = json!(chat);
        message["data"]["messages"]["key"]["participant"] = json!(JID);
        assert_eq!(app.post_signed(&vendor, &message).await.status, 200);
    }
    says(&app, &vendor, "last", "fin").await;
    let got = back_end.until_n(2).await;
    assert_eq!(texts(&got), ["120363000000000000@g.us", "fin"]);
    assert_eq!(
        (&got[0].data()["chat"], &got[0].data()["conversationId"]),
        (&json!("group"), &Value::Null)
    );
}

#[tokio::test]
async fn a_human_is_told_of_when_it_is_clear_that_it_was_one() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = app.vendor_with(1, forwarding(&back_end.url)).await;
    app.twin.misbehave(vendor.session.id, Misbehaviour::Hang { accepted: false }, Times::Always);
    says(&app, &vendor, "q", "horaires").await;
    app.until(&vendor, |it| it.iter().any(|it| it["status"] == "sending")).await;
    // It may be the echo of the send in flight.
    let typed = upsert("H", true, &json!({ "conversation": "j'arrive" }));
    assert_eq!(app.post_signed(&vendor, &typed).await.status, 200);
    assert_eq!(app.post_signed(&vendor, &update("H", 3)).await.status, 200);
    says(&app, &vendor, "r", "merci").await;
    back_end.until_n(2).await;
    app.clock.advance(11_000);
    let got = back_end.until_n(4).await;
    assert_eq!(
        topics(&got),
        ["message.received", "message.received", "message.sent", "message.status"]
    );
    assert_eq!(texts(&got)[2], "j'arrive");
    assert_eq!(got[3].data()["status"], "delivered");
}

#[tokio::test]
async fn a_session_found_disconnected_by_asking_is_told_once() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    app.twin.set_status(vendor.session.id, "disconnected");
    let path = format!("/api/admin/vendors/{}/wasender-status", vendor.id);
    for _ in 0..2 {
        assert_eq!(app.admin.get(&path).await.json()["live"], "disconnected");
    }
    assert_eq!(app.post_signed(&vendor, &connection("disconnected")).await.status, 200);
    assert_eq!(app.post_signed(&vendor, &connection("connected")).await.status, 200);
    let got = back_end.until_n(2).await;
    let states: Vec<&Value> = got.iter().map(|it| &it.data()["status"]).collect();
    assert_eq!(states, ["disconnected", "connected"]);
}

#[tokio::test]
async fn what_no_key_opens_is_given_up_and_told_once_the_key_is_back() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    back_end.always(|_| 500.into());
    says(&app, &vendor, "a", "shut").await;
    until_tries(&app, &vendor, 1).await;
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let body = |it: &[u8]| db.execute("UPDATE entries SET body = ?1 WHERE kind = 0", [it]).unwrap();
    let sealed: Vec<u8> =
        db.query_row("SELECT body FROM entries WHERE kind = 0", (), |row| row.get(0)).unwrap();
    body(b"shut");
    app.clock.advance(HOUR);
    until_load(&app, (0, 1)).await;
    let given_up = dead(&app, &vendor).await;
    assert_eq!(given_up[0]["lastError"], "unreadable");
    assert_eq!(back_end.got().len(), 1);
    // It holds up nothing of what comes after it.
    back_end.always(|_| 204.into());
    says(&app, &vendor, "b", "open").await;
    assert_eq!(texts(&back_end.until_n(2).await)[1], "open");
    until_load(&app, (0, 1)).await;
    body(&sealed);
    let path = format!("/api/admin/vendors/{}/forwards/replay", vendor.id);
    assert_eq!(app.admin.post(&path, json!({ "all": true })).await.json()["replayed"], 1);
    let got = back_end.until_n(3).await;
    assert_eq!((texts(&got)[2], got[2].id()), ("shut", given_up[0]["id"].as_str().unwrap()));
    until_load(&app, (0, 0)).await;
}

#[tokio::test]
async fn what_was_erased_is_not_told_any_more() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    back_end.always(|_| 500.into());
    says(&app, &vendor, "a", "erase me").await;
    until_tries(&app, &vendor, 1).await;
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    db.execute("DELETE FROM entries", ()).unwrap();
    app.clock.advance(HOUR);
    until_load(&app, (0, 0)).await;
    assert_eq!(back_end.got().len(), 1);
}
