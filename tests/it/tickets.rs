//! The provider's own number of a send belongs to one message.

use serde_json::{Value, json};
use waba_gateway::{
    domain::clock::{Clock, MINUTE, SECOND},
    twin::{Misbehaviour, Times},
};

use crate::support::{DEADLINE, Options, TestApp, TestVendor, spawn_app_with};

async fn send(app: &TestApp, vendor: &TestVendor) -> String {
    let path = format!("/api/admin/vendors/{}/send-message", vendor.id);
    let body = json!({ "to": "+221705550001", "message": "votre commande est prête" });
    let answer = app.admin.post(&path, body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["messageId"].as_str().unwrap().to_owned()
}

async fn status_is(app: &TestApp, vendor: &TestVendor, id: &str, want: &str) {
    let is = |it: &Value| it["id"] == id && it["status"] == want;
    app.until(vendor, |it| it.iter().any(is)).await;
}

/// Waits until the provider's log was asked so often.
async fn log_asked(app: &TestApp, n: usize) {
    let started = std::time::Instant::now();
    let asked =
        || app.twin.requests().iter().filter(|it| it.path.ends_with("message-logs")).count();
    while asked() < n {
        assert!(started.elapsed() < DEADLINE, "the log was asked {} times", asked());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_lost_send_is_not_taken_for_a_later_one_with_the_same_words() {
    // The log has the twin's time.
    let clock = Clock::fixed(Clock::System.now());
    let app = spawn_app_with(Options { clock, ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    app.clock.advance(SECOND);
    let session = vendor.session.id;
    for silent in [Misbehaviour::NoEchoes, Misbehaviour::NoStatuses] {
        app.twin.misbehave(session, silent, Times::Always);
    }
    // The first one never got there, and nobody can say so.
    app.twin.misbehave(session, Misbehaviour::Cut { accepted: false }, Times::Once);
    let lost = send(&app, &vendor).await;
    status_is(&app, &vendor, &lost, "unknown_yet").await;
    let later = send(&app, &vendor).await;
    for (n, at) in [5, 20].into_iter().enumerate() {
        app.clock.advance(at * SECOND);
        log_asked(&app, n + 1).await;
    }
    app.clock.advance(6 * SECOND);
    status_is(&app, &vendor, &later, "accepted").await;

    // Now the log has one entry with these words, which is the later one's.
    app.clock.advance(29 * SECOND);
    log_asked(&app, 3).await;
    app.clock.advance(6 * MINUTE);
    log_asked(&app, 4).await;
    status_is(&app, &vendor, &lost, "unknown_yet").await;
    app.clock.advance(6 * MINUTE);
    status_is(&app, &vendor, &lost, "unknown").await;
    status_is(&app, &vendor, &later, "read").await;
    assert_eq!(app.twin.n_sends(), 1);
    app.settled().await;
}
