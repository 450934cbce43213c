//! A send is made once, paced, and its outcome settled.

use serde_json::json;
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR, MINUTE, SECOND},
        vendor::OnUnknown,
    },
    gateway::VendorChange,
    twin::{Misbehaviour, Times, wire},
};

use crate::support::{
    DEADLINE, Options, TestApp, TestVendor, change, rules, spawn_app, spawn_app_with,
};

const NOW: i64 = 1_760_000_000_000;
const TO: &str = "+221705550001";

pub async fn send(app: &TestApp, vendor: &TestVendor, to: &str, text: &str) -> String {
    let path = format!("/api/admin/vendors/{}/send-message", vendor.id);
    let answer = app.admin.post(&path, json!({ "to": to, "message": text })).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["messageId"].as_str().unwrap().to_owned()
}

pub async fn status_is(app: &TestApp, vendor: &TestVendor, id: &str, want: &str) {
    app.until(vendor, |it| it.iter().any(|it| it["id"] == id && it["status"] == want)).await;
}

/// A service whose clock the test moves, with rested pace buckets.
async fn still() -> (TestApp, TestVendor) {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    app.clock.advance(MINUTE);
    (app, vendor)
}

#[tokio::test]
async fn a_message_sent_through_the_api_goes_through_all_its_statuses() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let id = send(&app, &vendor, "77 055 50 01", "votre commande est prête").await;
    let sends = app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(
        (sends[0].from.as_str(), sends[0].to.as_str()),
        (vendor.phone.as_str(), "+221770555001")
    );
    status_is(&app, &vendor, &id, "read").await;
    let path = format!("/api/admin/vendors/{}/messages/{id}", vendor.id);
    let journey = app.admin.get(&path).await.json();
    let steps: Vec<&str> = journey["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["step"].as_str().unwrap())
        .collect();
    assert_eq!(&steps[..2], ["queued", "sending"], "{journey:#}");
    assert!(steps.contains(&"heard_delivered") && steps.contains(&"sent"), "{journey:#}");
    assert_eq!(journey["attempts"], 1);
}

#[tokio::test]
async fn asking_twice_under_one_key_sends_once_and_another_body_is_a_conflict() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let path = format!("/api/admin/vendors/{}/send-message", vendor.id);
    let key = [("idempotency-key", "order-42")];
    let ask = |text: &str| {
        app.admin.call("POST", &path, Some(json!({ "to": TO, "message": text })), &key)
    };
    let (one, two, three) = (ask("prêt").await, ask("prêt").await, ask("autre").await);
    assert_eq!((one.status, two.status, three.status), (202, 202, 409));
    assert_eq!(one.json()["messageId"], two.json()["messageId"]);
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 1);
}

#[tokio::test]
async fn the_sends_of_a_conversation_leave_in_order() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.twin.misbehave(
        vendor.session.id,
        Misbehaviour::Fail { status: 503, accepted: false },
        Times::Next(3),
    );
    for n in 0..8 {
        send(&app, &vendor, TO, &format!("n° {n}")).await;
    }
    let sends = app.twin.wait_sends(8, DEADLINE).await;
    let texts: Vec<String> = sends.iter().map(|it| it.text.clone()).collect();
    assert_eq!(texts, (0..8).map(|n| format!("n° {n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn retry_after_is_obeyed_by_the_whole_instance() {
    let (app, vendor) = still().await;
    app.twin.misbehave(vendor.session.id, Misbehaviour::TooMany { retry_after: 60 }, Times::Once);
    let first = send(&app, &vendor, TO, "un").await;
    status_is(&app, &vendor, &first, "queued").await;
    let refused = async || {
        let seen = app.twin.requests();
        seen.iter().filter(|it| it.path.ends_with("/send-message")).count()
    };
    let started = std::time::Instant::now();
    while refused().await == 0 {
        assert!(started.elapsed() < DEADLINE);
        tokio::task::yield_now().await;
    }
    let second = send(&app, &vendor, "+221705550002", "deux").await;
    app.clock.advance(59 * SECOND);
    tokio::task::yield_now().await;
    assert_eq!((app.twin.n_sends(), refused().await), (0, 1));
    app.clock.advance(2 * SECOND);
    app.twin.wait_sends(2, DEADLINE).await;
    status_is(&app, &vendor, &first, "read").await;
    status_is(&app, &vendor, &second, "read").await;
}

#[tokio::test]
async fn refusals_that_are_sure_are_tried_again_and_hopeless_ones_are_not() {
    let app = spawn_app().await;
    let faults = [
        (Misbehaviour::NotConnected, None),
        (Misbehaviour::Fail { status: 503, accepted: false }, None),
        (Misbehaviour::KeyRefused, Some(("parked", "unauthorized"))),
        (
            Misbehaviour::Refuse { status: 422, message: "The to field must be valid.".to_owned() },
            Some(("dead", "invalid")),
        ),
        (
            Misbehaviour::Refuse {
                status: 403,
                message: "Active subscription or trial is required to use the API".to_owned(),
            },
            Some(("parked", "plan")),
        ),
    ];
    for (n, (fault, end)) in faults.into_iter().enumerate() {
        let vendor = app.vendor(u32::try_from(n).unwrap()).await;
        let times = if end.is_some() { Times::Always } else { Times::Once };
        app.twin.misbehave(vendor.session.id, fault, times);
        let id = send(&app, &vendor, TO, "bonjour").await;
        if let Some((status, reason)) = end {
            let messages = app
                .until(&vendor, |it| it.iter().any(|it| it["id"] == id && it["status"] == status))
                .await;
            assert_eq!(messages[0]["reason"], reason);
        } else {
            status_is(&app, &vendor, &id, "read").await;
        }
    }
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 2);
}

#[tokio::test]
async fn a_gateway_that_cannot_connect_keeps_trying() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.twin.stop().await;
    let id = send(&app, &vendor, TO, "patience").await;
    status_is(&app, &vendor, &id, "queued").await;
    app.twin.start_again().await.unwrap();
    status_is(&app, &vendor, &id, "read").await;
    assert_eq!(app.twin.n_sends(), 1);
}

#[tokio::test]
async fn an_unknown_outcome_is_settled_by_an_echo_a_status_or_the_log_and_never_sent_twice() {
    let unknown = [
        Misbehaviour::Cut { accepted: true },
        Misbehaviour::Fail { status: 500, accepted: true },
        Misbehaviour::Garbled,
    ];
    for fault in unknown {
        for quiet in [&[][..], &[Misbehaviour::NoEchoes], &[Misbehaviour::NoStatuses]] {
            let app = spawn_app().await;
            let vendor = app.vendor(1).await;
            app.twin.misbehave(vendor.session.id, fault.clone(), Times::Once);
            for quiet in quiet {
                app.twin.misbehave(vendor.session.id, quiet.clone(), Times::Always);
            }
            let id = send(&app, &vendor, TO, "une seule fois").await;
            let messages = app
                .until(&vendor, |it| {
                    it.iter().any(|it| {
                        it["id"] == id
                            && ["sent", "delivered", "read"]
                                .contains(&it["status"].as_str().unwrap())
                    })
                })
                .await;
            assert_eq!(app.twin.n_sends(), 1, "{fault:?} {quiet:?}: {messages:#?}");
            app.balanced().await;
        }
    }
}

#[tokio::test]
async fn an_outcome_nobody_can_tell_is_given_up_or_risked_as_the_vendor_chose() {
    for (choice, n_sends) in [(OnUnknown::GiveUp, 0), (OnUnknown::Retry, 1)] {
        let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
        let on_unknown = VendorChange { on_unknown: Some(choice), ..change(rules()) };
        let vendor = app.vendor_with(1, on_unknown).await;
        app.clock.advance(MINUTE);
        app.twin.misbehave(vendor.session.id, Misbehaviour::Cut { accepted: false }, Times::Once);
        let id = send(&app, &vendor, TO, "peut-être").await;
        status_is(&app, &vendor, &id, "unknown_yet").await;
        for _ in 0..30 {
            app.clock.advance(30 * SECOND);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        if choice == OnUnknown::GiveUp {
            status_is(&app, &vendor, &id, "unknown").await;
            let ledger = app.gateway.journal().ledger(None).await.unwrap();
            assert_eq!((ledger.intents_unknown, ledger.intents_waiting), (1, 0));
        } else {
            app.twin.wait_sends(1, DEADLINE).await;
        }
        assert_eq!(app.twin.n_sends(), n_sends);
        app.balanced().await;
    }
}

#[tokio::test]
async fn a_fence_holds_later_sends_of_its_conversation_for_thirty_seconds() {
    let (app, vendor) = still().await;
    app.twin.misbehave(vendor.session.id, Misbehaviour::Cut { accepted: false }, Times::Once);
    let first = send(&app, &vendor, TO, "un").await;
    status_is(&app, &vendor, &first, "unknown_yet").await;
    let second = send(&app, &vendor, TO, "deux").await;
    // Another conversation is not held.
    send(&app, &vendor, "+221705550002", "autre").await;
    let sends = app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends[0].text, "autre");
    app.clock.advance(29 * SECOND);
    status_is(&app, &vendor, &second, "queued").await;
    app.clock.advance(2 * SECOND);
    let sends = app.twin.wait_sends(2, DEADLINE).await;
    assert_eq!(sends[1].text, "deux");
}

#[tokio::test]
async fn a_send_without_any_status_is_asked_about() {
    let (app, vendor) = still().await;
    app.twin.misbehave(vendor.session.id, Misbehaviour::NoEchoes, Times::Always);
    app.twin.misbehave(vendor.session.id, Misbehaviour::NoStatuses, Times::Always);
    let id = send(&app, &vendor, TO, "un").await;
    status_is(&app, &vendor, &id, "accepted").await;
    let asked = || app.twin.requests().iter().filter(|it| it.path.ends_with("/info")).count();
    assert_eq!(asked(), 0);
    app.clock.advance(31 * SECOND);
    let started = std::time::Instant::now();
    while asked() == 0 {
        assert!(started.elapsed() < DEADLINE);
        tokio::task::yield_now().await;
    }
    // At most once more, and nobody asks for ever.
    while app.messages(&vendor).await.iter().any(|it| it["id"] == id && it["status"] == "accepted")
    {
        assert!(started.elapsed() < DEADLINE);
        app.clock.advance(MINUTE);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    app.clock.advance(HOUR);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(asked() <= 2);
}

#[tokio::test]
async fn statuses_in_any_order_and_before_their_message_end_in_the_best() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.twin.misbehave(vendor.session.id, Misbehaviour::NoEchoes, Times::Always);
    app.twin.misbehave(vendor.session.id, Misbehaviour::NoStatuses, Times::Always);
    let id = send(&app, &vendor, TO, "bonjour").await;
    let key_id = app.twin.wait_sends(1, DEADLINE).await[0].key_id.clone();
    // The statuses come first, nobody knows the id yet.
    for status in [4, 2, 3] {
        let jid = "221705550001@s.whatsapp.net";
        let body =
            wire::real_status(&vendor.session.api_key, &key_id, jid, status, 1_760_000_000_000);
        assert_eq!(app.post_signed(&vendor, &body).await.status, 200);
    }
    status_is(&app, &vendor, &id, "accepted").await;
    // Then the echo tells whose they were.
    let content = json!({ "conversation": "bonjour" });
    let echo = wire::real_sent(&key_id, "221705550001@s.whatsapp.net", &content, app.now_secs());
    assert_eq!(app.post_signed(&vendor, &echo).await.status, 200);
    status_is(&app, &vendor, &id, "read").await;
    app.settled().await;
}

#[tokio::test]
async fn what_was_not_sent_in_time_is_not_sent_at_all() {
    let (app, vendor) = still().await;
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    let id = send(&app, &vendor, TO, "trop tard").await;
    app.clock.advance(25 * HOUR);
    app.gateway.pause(Some(&vendor.id), false).await.unwrap();
    let messages =
        app.until(&vendor, |it| it.iter().any(|it| it["id"] == id && it["status"] == "dead")).await;
    assert_eq!(messages[0]["reason"], "expired");
    assert_eq!(app.twin.n_sends(), 0);
}

#[tokio::test]
async fn the_pace_is_kept() {
    let (app, vendor) = still().await;
    for n in 0..40 {
        send(&app, &vendor, &format!("+2217055501{n:02}"), "bonjour").await;
    }
    app.twin.wait_sends(32, DEADLINE).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(app.twin.n_sends(), 32, "a burst of 32, and then the clock stands still");
    app.clock.advance(SECOND);
    app.twin.wait_sends(35, DEADLINE).await;
    assert!(app.twin.n_sends() <= 36);
    app.clock.advance(MINUTE);
    app.twin.wait_sends(40, DEADLINE).await;
}

#[tokio::test]
async fn numbers_people_cannot_have_meant_are_refused_with_a_reading() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let path = format!("/api/admin/vendors/{}/send-message", vendor.id);
    for bad in ["", "12", "abc", "12345678", "+0123456789"] {
        let answer = app.admin.post(&path, json!({ "to": bad, "message": "x" })).await;
        assert_eq!(answer.status, 422, "{bad}: {}", answer.text);
        assert!(answer.json()["error"].as_str().unwrap().starts_with("to: "));
    }
    assert_eq!(app.admin.post(&path, json!({ "to": TO, "message": " " })).await.status, 422);
    assert_eq!(app.admin.post(&path, json!({ "to": TO })).await.status, 400);
    assert_eq!(
        app.admin.post(&path, json!({ "to": TO, "message": "x", "text": "y" })).await.status,
        400
    );
}
