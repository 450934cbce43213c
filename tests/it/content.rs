//! Content of every kind, in and out.

mod changes;
mod choices;
mod inbound;
mod orders;
mod outbound;
mod overtaken;
mod parts;

use serde_json::{Value, json};
use waba_gateway::{domain::clock::Clock, twin::Customer};

use crate::support::{Answer, Options, TestApp, TestVendor, spawn_app_with};

const NOW: i64 = 1_760_000_000_000;
const TO: &str = "+221705550001";

fn customer() -> Customer {
    Customer::new(TO)
}

/// A service whose clock the test moves, with rested pace buckets.
async fn still() -> (TestApp, TestVendor) {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    app.clock.advance(60_000);
    (app, vendor)
}

fn path(vendor: &TestVendor) -> String {
    format!("/api/v1/vendors/{}/messages", vendor.id)
}

async fn post(app: &TestApp, vendor: &TestVendor, mut body: Value) -> Answer {
    if body["to"].is_null() {
        body["to"] = json!(TO);
    }
    app.admin.post(&path(vendor), body).await
}

/// Sends a message and says its id.
async fn send(app: &TestApp, vendor: &TestVendor, body: Value) -> String {
    let answer = post(app, vendor, body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.json()["status"], "queued");
    answer.json()["messageId"].as_str().unwrap().to_owned()
}

async fn journey(app: &TestApp, vendor: &TestVendor, id: &str) -> Value {
    let answer = app.admin.get(&format!("{}/{id}", path(vendor))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn steps(journey: &Value) -> Vec<&str> {
    let steps = journey["steps"].as_array().unwrap();
    steps.iter().map(|it| it["step"].as_str().unwrap()).collect()
}

/// Waits until a message is in this state.
async fn status_is(app: &TestApp, vendor: &TestVendor, id: &str, want: &str) {
    app.until(vendor, |it| it.iter().any(|it| it["id"] == id && it["status"] == want)).await;
}

/// Waits until a message's journey is as `is` says.
async fn until(app: &TestApp, vendor: &TestVendor, id: &str, is: impl Fn(&Value) -> bool) -> Value {
    let (started, mut pause) = (std::time::Instant::now(), 50);
    loop {
        let found = journey(app, vendor, id).await;
        if is(&found) {
            return found;
        }
        assert!(started.elapsed() < crate::support::DEADLINE, "in the end it was {found:#}");
        // There are limits to how often one may ask.
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        pause = (pause * 2).min(1_000);
    }
}

/// The id of the customer's only message.
async fn inbound(app: &TestApp, vendor: &TestVendor) -> String {
    let messages = app.until(vendor, |it| it.iter().any(|it| it["inbound"] == true)).await;
    let message = messages.iter().find(|it| it["inbound"] == true).unwrap();
    message["id"].as_str().unwrap().to_owned()
}
