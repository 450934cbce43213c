use std::time::Instant;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

const ALL: [&str; 5] = ["message.sent", "messages.upsert", "2", "3", "4"];

#[tokio::test]
async fn a_cut_sends_not_one_byte_back() {
    let rig = rig().await;
    rig.misbehave(Misbehaviour::Cut { accepted: true });
    let body = json!({ "to": CUSTOMER, "text": "Bonjour" }).to_string();
    let host = rig.twin.api_url().replace("http://", "").replace("/api", "");
    let mut stream = TcpStream::connect(&host).await.unwrap();
    let head = format!(
        "POST /api/send-message HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
         content-length: {}\r\n\r\n",
        rig.session.api_key,
        body.len(),
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty());
    assert_eq!(rig.twin.n_sends(), 1);
    assert_eq!(rig.story().await, ALL);
    assert_eq!(rig.twin.requests()[0].status, None);
}

#[tokio::test]
async fn a_send_can_be_lost_before_it_is_taken() {
    let rig = rig().await;
    rig.misbehave(Misbehaviour::Cut { accepted: false });
    assert!(!rig.send_in_vain(LONG).await.is_timeout());
    rig.misbehave(Misbehaviour::Hang { accepted: false });
    assert!(rig.send_in_vain(SHORT).await.is_timeout());
    rig.misbehave(Misbehaviour::Fail { status: 500, accepted: false });
    assert_eq!(rig.send_text("x").await, (500, json!({ "message": "Server Error" })));
    rig.misbehave(Misbehaviour::Fail { status: 503, accepted: false });
    let (status, body) = rig.send_text("x").await;
    assert!(status == 503 && body.as_str().unwrap().starts_with("<html>"));
    rig.misbehave(Misbehaviour::NotConnected);
    assert_eq!(rig.send_text("x").await.0, 400);
    let message = "Active subscription or trial is required to use the API".to_owned();
    rig.misbehave(Misbehaviour::Refuse { status: 403, message: message.clone() });
    assert_eq!(rig.send_text("x").await, (403, json!({ "success": false, "message": message })));
    assert_eq!(rig.twin.n_sends(), 0);
    assert!(rig.story().await.is_empty());
    assert_eq!(rig.send_text("x").await.0, 200, "each was for once");
}

#[tokio::test]
async fn a_send_can_be_taken_and_its_answer_lost() {
    let rig = rig().await;
    rig.misbehave(Misbehaviour::Cut { accepted: true });
    assert!(!rig.send_in_vain(LONG).await.is_timeout());
    rig.misbehave(Misbehaviour::Hang { accepted: true });
    assert!(rig.send_in_vain(SHORT).await.is_timeout());
    rig.misbehave(Misbehaviour::Fail { status: 500, accepted: true });
    assert_eq!(rig.send_text("x").await.0, 500);
    rig.misbehave(Misbehaviour::Garbled);
    assert!(rig.send_text("x").await.1.is_string(), "not JSON");
    assert_eq!(rig.twin.n_sends(), 4);
    rig.twin.idle().await;
    assert_eq!(rig.posts().len(), 4 * ALL.len());
}

#[tokio::test]
async fn a_send_can_be_slow_and_is_taken_even_if_nobody_waits() {
    let rig = rig_with(NewSession { hooks_after: SHORT, ..NewSession::new(VENDOR) }).await;
    rig.misbehave(Misbehaviour::Slow(2 * SHORT));
    let start = Instant::now();
    assert_eq!(rig.send_text("x").await.0, 200);
    assert!(start.elapsed() >= 2 * SHORT);
    assert!(rig.posts().is_empty(), "its webhooks are late too");
    rig.misbehave(Misbehaviour::Slow(2 * SHORT));
    assert!(rig.send_in_vain(SHORT).await.is_timeout());
    assert_eq!(rig.story().await.len(), 2 * ALL.len());
}

#[tokio::test]
async fn a_send_can_be_too_many() {
    let rig = rig().await;
    let id = rig.session.id;
    rig.twin.misbehave(id, Misbehaviour::TooMany { retry_after: 7 }, Times::Next(2));
    for _ in 0..2 {
        let (status, body) = rig.send_text("x").await;
        assert_eq!((status, body["retry_after"].as_u64()), (429, Some(7)));
    }
    assert_eq!(rig.send_text("x").await.0, 200);
}

#[tokio::test]
async fn misbehaviours_of_the_answer_are_worked_off_in_turn() {
    let rig = rig().await;
    let id = rig.session.id;
    rig.twin.misbehave(id, Misbehaviour::NotConnected, Times::Once);
    rig.twin.misbehave(id, Misbehaviour::Fail { status: 500, accepted: false }, Times::Next(2));
    rig.twin.misbehave(id, Misbehaviour::TooMany { retry_after: 1 }, Times::Always);
    for want in [400, 500, 500, 429, 429, 429] {
        assert_eq!(rig.send_text("x").await.0, want);
    }
    rig.twin.behave(id);
    assert_eq!(rig.send_text("x").await.0, 200);
}

#[tokio::test]
async fn webhooks_can_be_twice_out_of_order_or_missing() {
    let check = async |how: Misbehaviour, want: &[&str]| {
        let rig = rig().await;
        rig.misbehave(how.clone());
        rig.send_text("x").await;
        assert_eq!(rig.story().await, want, "{how:?}");
    };
    check(Misbehaviour::NoEchoes, &["2", "3", "4"]).await;
    check(Misbehaviour::NoStatuses, &["message.sent", "messages.upsert"]).await;
    let backwards = ["3", "2", "4", "message.sent", "messages.upsert"];
    check(Misbehaviour::HooksOutOfOrder, &backwards).await;
    let twice = ALL.map(|it| [it, it]).concat();
    check(Misbehaviour::DuplicateHooks, &twice).await;
}

#[tokio::test]
async fn webhooks_can_overtake_the_answer() {
    let rig = rig().await;
    rig.misbehave(Misbehaviour::EarlyEcho);
    rig.send_text("x").await;
    assert_eq!(rig.posts().len(), ALL.len());
}

#[tokio::test]
async fn webhooks_can_know_a_lid_only() {
    let rig = rig().await;
    rig.misbehave(Misbehaviour::LidOnly);
    rig.send_text("x").await;
    rig.twin.idle().await;
    let echo = rig.posts()[1].json();
    let jid = echo["data"]["messages"]["key"]["remoteJid"].as_str().unwrap().to_owned();
    assert!(jid.ends_with("@lid"));
    let phone = json!({ "success": true, "data": { "pn": CUSTOMER_JID } });
    assert_eq!(rig.by_key(&format!("/pn-from-lid/{jid}")).await, (200, phone));
    let whole: String = rig.posts().iter().map(|it| it.json().to_string()).collect();
    assert!(!whole.contains("221705555555"));
}

#[tokio::test]
async fn a_send_can_fail_after_it_was_taken() {
    let rig = rig().await;
    rig.misbehave(Misbehaviour::FailsLater("Invalid number JID: +1".to_owned()));
    assert_eq!(rig.send_text("x").await.0, 200);
    assert_eq!(rig.story().await, ["message.sent"]);
    let data = json!({
        "success": false,
        "error": "Failed to send message: Invalid number JID: +1",
    });
    assert_eq!(rig.posts()[0].json()["data"], data);
    let logs = format!("{}/message-logs?status=failed", rig.path());
    let (_, logs) = rig.by_pat("GET", &logs, Value::Null).await;
    assert_eq!(logs["data"]["data"][0]["failed_reason"], "Invalid number JID: +1");
}

#[tokio::test]
async fn a_send_can_be_missing_where_one_would_look() {
    let rig = rig().await;
    rig.misbehave(Misbehaviour::NotInLogs);
    rig.misbehave(Misbehaviour::NoInfo);
    rig.send_text("x").await;
    let logs = format!("{}/message-logs", rig.path());
    assert_eq!(rig.by_pat("GET", &logs, Value::Null).await.1["data"]["total"], 0);
    assert_eq!(rig.by_key("/messages/100000/info").await.0, 404);
}
