//! Long text leaves in parts, one after another.

use std::time::Duration;

use serde_json::json;
use waba_gateway::{
    domain::{
        clock::{MINUTE, SECOND},
        vendor::{ResponderConfig, Rule},
    },
    twin::{Misbehaviour, Times, wire},
};

use super::{
    NOW, TO, customer, inbound, journey, path, post, send, status_is, steps, still, until,
};
use crate::support::{DEADLINE, TestApp, TestVendor, change, spawn_app};

/// Three parts' worth of words that tell their place.
fn long() -> String {
    (0..1_400).map(|it| format!("mot{it:04}")).collect::<Vec<_>>().join(" ")
}

/// The ids of a group's parts, by the messages that are shown.
async fn parts(app: &TestApp, vendor: &TestVendor, first: &str) -> Vec<String> {
    let all = app.admin.get(&format!("/api/admin/vendors/{}/messages?limit=50", vendor.id)).await;
    let all = all.json();
    let mut parts: Vec<_> = all["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["part"]["messageId"] == first)
        .map(|it| (it["part"]["number"].as_i64().unwrap(), it["messageId"].as_str().unwrap()))
        .collect();
    parts.sort_unstable();
    parts.into_iter().map(|it| it.1.to_owned()).collect()
}

/// Sends three parts of which the second goes as `faults` say, and says their ids.
async fn with_second(app: &TestApp, vendor: &TestVendor, faults: &[Misbehaviour]) -> Vec<String> {
    // While the first is being answered, the twin is told what to do with the second.
    let session = vendor.session.id;
    app.twin.misbehave(session, Misbehaviour::Slow(Duration::from_secs(1)), Times::Once);
    let first = send(app, vendor, json!({ "type": "text", "text": long() })).await;
    app.twin.wait_sends(1, DEADLINE).await;
    for fault in faults {
        let answers = matches!(
            fault,
            Misbehaviour::Cut { .. } | Misbehaviour::TooMany { .. } | Misbehaviour::Refuse { .. }
        );
        app.twin.misbehave(
            session,
            fault.clone(),
            if answers { Times::Once } else { Times::Always },
        );
    }
    let ids = parts(app, vendor, &first).await;
    assert_eq!((ids.len(), &ids[0]), (3, &first));
    ids
}

fn lost() -> [Misbehaviour; 4] {
    [
        Misbehaviour::Cut { accepted: true },
        Misbehaviour::NoEchoes,
        Misbehaviour::NoStatuses,
        Misbehaviour::NotInLogs,
    ]
}

#[tokio::test]
async fn a_long_text_leaves_in_parts_and_loses_no_word() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let answer = post(&app, &vendor, json!({ "type": "text", "text": long() })).await;
    assert_eq!((answer.status, &answer.json()["parts"]), (202, &json!(3)), "{}", answer.text);
    let sends = app.twin.wait_sends(3, DEADLINE).await;
    assert!(sends.iter().all(|it| it.text.chars().count() <= 4_096));
    let said: Vec<_> = sends.iter().map(|it| it.text.clone()).collect();
    assert_eq!(said.join(" "), long(), "in order, cut between words");
    let first = answer.json()["messageId"].as_str().unwrap().to_owned();
    for (n, id) in parts(&app, &vendor, &first).await.iter().enumerate() {
        status_is(&app, &vendor, id, "read").await;
        let part = &journey(&app, &vendor, id).await["part"];
        assert_eq!(*part, json!({ "messageId": first, "number": n + 1, "of": 3 }));
    }
    app.settled().await;
    // The short form splits likewise, and what fits has no parts.
    let path = format!("/api/admin/vendors/{}/send-message", vendor.id);
    let answer = app.admin.post(&path, json!({ "to": TO, "message": long() })).await;
    assert_eq!(answer.json()["parts"], 3);
    let answer = app.admin.post(&path, json!({ "to": TO, "message": "court" })).await;
    assert!(answer.json()["parts"].is_null());
    app.twin.wait_sends(7, DEADLINE).await;
}

#[tokio::test]
async fn an_unknown_part_holds_the_following_ones_and_nothing_else() {
    let (mut app, vendor) = still().await;
    let ids = with_second(&app, &vendor, &lost()).await;
    status_is(&app, &vendor, &ids[1], "unknown_yet").await;
    let other = send(&app, &vendor, json!({ "type": "text", "text": "autre chose" })).await;
    assert_eq!(app.twin.n_sends(), 2, "a fence holds its conversation for half a minute");
    app.clock.advance(31 * SECOND);
    status_is(&app, &vendor, &ids[2], "parked").await;
    assert_eq!(journey(&app, &vendor, &ids[2]).await["reason"], "part_before");
    assert_eq!(app.twin.wait_sends(3, DEADLINE).await[2].text, "autre chose");
    status_is(&app, &vendor, &other, "accepted").await;

    // Neither a restart nor an unfitting status lets it go.
    app.restart().await;
    let lost = app.twin.sends()[1].clone();
    let jid = "221705550001@s.whatsapp.net";
    let status = |key: &str| wire::real_status(&vendor.session.api_key, key, jid, 3, NOW);
    assert_eq!(app.post_signed(&vendor, &status("3EB0FFFF")).await.status, 200);
    assert_eq!(journey(&app, &vendor, &ids[2]).await["status"], "parked");
    app.balanced().await;

    // Its own settles it, and what waited for it follows.
    assert_eq!(app.post_signed(&vendor, &status(&lost.key_id)).await.status, 200);
    let echo = json!({ "conversation": lost.text });
    let echo = wire::real_sent(&lost.key_id, jid, &echo, app.now_secs());
    assert_eq!(app.post_signed(&vendor, &echo).await.status, 200);
    status_is(&app, &vendor, &ids[1], "delivered").await;
    // After the restart the pace starts anew.
    app.clock.advance(MINUTE);
    let sends = app.twin.wait_sends(4, DEADLINE).await;
    assert!(sends[3].text.ends_with("mot1399"), "the third part follows");
    let found = journey(&app, &vendor, &ids[2]).await;
    assert_eq!(steps(&found)[..3], ["queued", "parked", "queued"], "{found:#}");
    app.balanced().await;
}

#[tokio::test]
async fn what_follows_a_part_that_was_given_up_stays_parked() {
    let (app, vendor) = still().await;
    let ids = with_second(&app, &vendor, &lost()).await;
    status_is(&app, &vendor, &ids[1], "unknown_yet").await;
    app.clock.advance(31 * SECOND);
    status_is(&app, &vendor, &ids[2], "parked").await;
    app.clock.advance(11 * MINUTE);
    status_is(&app, &vendor, &ids[1], "unknown").await;
    app.settled().await;
    assert_eq!(journey(&app, &vendor, &ids[2]).await["reason"], "part_before");
    assert_eq!(app.twin.n_sends(), 2);
}

#[tokio::test]
async fn what_follows_a_part_that_was_refused_stays_parked() {
    let (app, vendor) = still().await;
    let refuse = Misbehaviour::Refuse { status: 422, message: "No.".to_owned() };
    let ids = with_second(&app, &vendor, &[refuse]).await;
    status_is(&app, &vendor, &ids[1], "dead").await;
    status_is(&app, &vendor, &ids[2], "parked").await;
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 1);
}

#[tokio::test]
async fn a_part_that_must_wait_keeps_its_place() {
    let (app, vendor) = still().await;
    let ids = with_second(&app, &vendor, &[Misbehaviour::TooMany { retry_after: 20 }]).await;
    let queued_again = |it: &serde_json::Value| it["attempts"] == 1 && it["status"] == "queued";
    until(&app, &vendor, &ids[1], queued_again).await;
    assert_eq!(app.twin.n_sends(), 1);
    app.clock.advance(21 * SECOND);
    let sends = app.twin.wait_sends(3, DEADLINE).await;
    let said: Vec<_> = sends.iter().map(|it| it.text.clone()).collect();
    assert_eq!(said.join(" "), long());
    assert!(!steps(&journey(&app, &vendor, &ids[2]).await).contains(&"parked"));
}

#[tokio::test]
async fn asking_twice_under_one_key_sends_the_parts_once() {
    let app = spawn_app().await;
    let path = path(&app.vendor(1).await);
    let key = [("idempotency-key", "order-42")];
    let ask = |text: String| {
        let body = json!({ "to": TO, "type": "text", "text": text });
        app.admin.call("POST", &path, Some(body), &key)
    };
    let (one, two) = (ask(long()).await, ask(long()).await);
    assert_eq!((one.status, two.status), (202, 202));
    assert_eq!(one.json(), two.json());
    assert_eq!(ask(format!("{}!", long())).await.status, 409);
    app.twin.wait_sends(3, DEADLINE).await;
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 3);
}

#[tokio::test]
async fn an_answer_in_parts_is_one_answer() {
    let app = spawn_app().await;
    let rule = Rule { contains: "tout".to_owned(), reply: long() };
    let rules = ResponderConfig::Rules { rules: vec![rule], otherwise: None };
    let vendor = app.vendor_with(1, change(vec![rules])).await;
    for n in 1..=4_usize {
        let said = format!("dites-moi tout {n}");
        assert!(app.twin.customer_says(vendor.session.id, &customer(), &said).await.is_ok());
        app.twin.wait_sends(3 * n.min(3), DEADLINE).await;
        app.settled().await;
    }
    // The third equal answer is the last, whatever the number of its parts.
    assert_eq!(app.twin.n_sends(), 9);
    let messages = app.messages(&vendor).await;
    assert!(messages.iter().any(|it| it["reason"] == "paused"), "{messages:#?}");
    let question = messages.iter().rfind(|it| it["inbound"] == true).unwrap();
    let found = journey(&app, &vendor, question["id"].as_str().unwrap()).await;
    assert_eq!(found["answers"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_human_who_takes_over_stops_what_is_left_of_an_answer() {
    let app = spawn_app().await;
    let rule = Rule { contains: "tout".to_owned(), reply: long() };
    let rules = ResponderConfig::Rules { rules: vec![rule], otherwise: None };
    let vendor = app.vendor_with(1, change(vec![rules])).await;
    let slow = Misbehaviour::Slow(Duration::from_secs(2));
    app.twin.misbehave(vendor.session.id, slow, Times::Once);
    assert!(app.twin.customer_says(vendor.session.id, &customer(), "tout").await.is_ok());
    app.twin.wait_sends(1, DEADLINE).await;
    let question = inbound(&app, &vendor).await.parse().unwrap();
    app.gateway.pause_conversation(&vendor.id, question, Some(None)).await.unwrap();
    app.until(&vendor, |it| it.iter().filter(|it| it["reason"] == "silenced").count() == 2).await;
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 1);
}
