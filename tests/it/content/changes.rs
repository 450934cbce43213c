//! Messages are changed and taken back after they were sent.

use serde_json::json;
use waba_gateway::twin::{Misbehaviour, Times};

use super::{customer, inbound, journey, path, send, status_is, steps};
use crate::support::{DEADLINE, spawn_app};

#[tokio::test]
async fn a_sent_message_is_changed_and_taken_back() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let id = send(&app, &vendor, json!({ "type": "text", "text": "à 8 h" })).await;
    status_is(&app, &vendor, &id, "read").await;
    let msg_id = app.twin.sends()[0].msg_id;
    let message = format!("{}/{id}", path(&vendor));
    let answer = app.admin.put(&message, json!({ "text": "à 9 h" })).await;
    assert_eq!((answer.status, &answer.json()["messageId"]), (200, &json!(id)), "{}", answer.text);
    let edits = app.twin.wait_edits(1, DEADLINE).await;
    assert_eq!((edits[0].msg_id, edits[0].text.as_str()), (msg_id, "à 9 h"));
    let found = journey(&app, &vendor, &id).await;
    assert_eq!((&found["message"], &found["edited"]), (&json!("à 9 h"), &json!(true)), "{found:#}");
    assert!(steps(&found).contains(&"edited"), "{found:#}");
    assert_eq!(found["status"], "read");

    for (text, why) in [(" ".to_owned(), "empty"), ("a".repeat(4_097), "more than 4096")] {
        let answer = app.admin.put(&message, json!({ "text": text })).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert!(answer.text.contains(why), "{}", answer.text);
    }
    assert_eq!(app.admin.delete(&message).await.status, 200);
    assert_eq!(app.twin.wait_deletions(1, DEADLINE).await[0].msg_id, msg_id);
    let found = journey(&app, &vendor, &id).await;
    assert_eq!(found["deleted"], true, "{found:#}");
    assert!(steps(&found).contains(&"deleted"), "{found:#}");
    assert_eq!(app.admin.delete(&message).await.status, 409);
    assert_eq!(app.admin.put(&message, json!({ "text": "x" })).await.status, 409);
    app.twin.idle().await;
    app.settled().await;
    // Its echoes are ours, too.
    let messages = app.messages(&vendor).await;
    assert_eq!(messages.len(), 1, "{messages:#?}");
}

#[tokio::test]
async fn what_was_not_sent_or_is_not_ours_is_not_changed() {
    let app = spawn_app().await;
    let (vendor, other) = (app.vendor(1).await, app.vendor(2).await);
    assert!(app.twin.customer_says(vendor.session.id, &customer(), "Bonjour").await.is_ok());
    app.twin.wait_sends(1, DEADLINE).await;
    let theirs = inbound(&app, &vendor).await;
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    let queued = send(&app, &vendor, json!({ "type": "text", "text": "x" })).await;
    for (vendor, id, status) in [
        (&vendor, queued.as_str(), 409),
        (&vendor, theirs.as_str(), 409),
        (&other, queued.as_str(), 404),
        (&vendor, "msg_0000000000000", 404),
        (&vendor, "x", 404),
    ] {
        let message = format!("{}/{id}", path(vendor));
        assert_eq!(app.admin.put(&message, json!({ "text": "y" })).await.status, status, "{id}");
        assert_eq!(app.admin.delete(&message).await.status, status, "{id}");
    }
    let poll = json!({ "question": "Q", "options": ["a", "b"] });
    app.gateway.pause(Some(&vendor.id), false).await.unwrap();
    let poll = send(&app, &vendor, json!({ "type": "poll", "poll": poll })).await;
    status_is(&app, &vendor, &poll, "read").await;
    let answer = app.admin.put(&format!("{}/{poll}", path(&vendor)), json!({ "text": "y" })).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!((app.twin.edits().len(), app.twin.deletions().len()), (0, 0));
}

#[tokio::test]
async fn a_provider_that_refuses_or_is_away_is_told() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let session = vendor.session.id;
    let id = send(&app, &vendor, json!({ "type": "text", "text": "x" })).await;
    status_is(&app, &vendor, &id, "read").await;
    let message = format!("{}/{id}", path(&vendor));
    for (fault, status) in [
        (Misbehaviour::TooLate, 502),
        (Misbehaviour::KeyRefused, 502),
        (Misbehaviour::DeedFails(500), 503),
        (Misbehaviour::DeedFails(429), 503),
    ] {
        app.twin.misbehave(session, fault.clone(), Times::Always);
        let answer = app.admin.put(&message, json!({ "text": "y" })).await;
        assert_eq!(answer.status, status, "{fault:?}: {}", answer.text);
        assert_eq!(app.admin.delete(&message).await.status, status, "{fault:?}");
        app.twin.behave(session);
    }
    app.twin.set_status(session, "DISCONNECTED");
    assert_eq!(app.admin.delete(&message).await.status, 503);
    let found = journey(&app, &vendor, &id).await;
    assert_eq!((&found["message"], &found["deleted"]), (&json!("x"), &json!(false)), "{found:#}");
}

#[tokio::test]
async fn nothing_is_changed_while_the_vendors_sends_are_stopped() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let id = send(&app, &vendor, json!({ "type": "text", "text": "à 8 h" })).await;
    status_is(&app, &vendor, &id, "read").await;
    let message = format!("{}/{id}", path(&vendor));
    for stopped in [Some(&vendor.id), None] {
        app.gateway.pause(stopped, true).await.unwrap();
        assert_eq!(app.admin.put(&message, json!({ "text": "x" })).await.status, 409);
        assert_eq!(app.admin.delete(&message).await.status, 409);
        app.gateway.pause(stopped, false).await.unwrap();
    }
    assert!(app.twin.edits().is_empty() && app.twin.deletions().is_empty());
    assert_eq!(app.admin.put(&message, json!({ "text": "x" })).await.status, 200);
}
