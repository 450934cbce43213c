//! Buttons and lists leave as numbered text, and the next message chooses.

use serde_json::{Value, json};
use waba_gateway::{
    domain::vendor::{ResponderConfig, Rule},
    twin::real_message,
};

use super::{customer, journey, send, still};
use crate::support::{DEADLINE, TestApp, TestVendor, change};

async fn shop() -> (TestApp, TestVendor) {
    let (app, _) = still().await;
    let rule = |contains: &str, reply: &str| Rule {
        contains: contains.to_owned(),
        reply: reply.to_owned(),
    };
    let rules = vec![
        rule("livraison", "chez vous"),
        rule("retrait", "chez nous"),
        rule("instant", "d'accord"),
    ];
    let rules = ResponderConfig::Rules { rules, otherwise: Some("merci".to_owned()) };
    let vendor = app.vendor_with(2, change(vec![rules])).await;
    app.clock.advance(60_000);
    (app, vendor)
}

fn offer(kind: &str) -> Value {
    let options = json!([
        { "id": "pickup", "title": "Retrait sur place" },
        { "id": "home", "title": "Livraison à domicile", "description": "2 h" },
    ]);
    json!({ "type": kind, kind: { "text": "Comment ?", "options": options } })
}

/// What is answered to a message of the customer's.
async fn answered(app: &TestApp, vendor: &TestVendor, id: &str, text: &str) -> String {
    let n_sends = app.twin.n_sends();
    let message = real_message(id, &customer(), text, app.now_secs());
    assert_eq!(app.post_signed(vendor, &message).await.status, 200);
    let sends = app.twin.wait_sends(n_sends + 1, DEADLINE).await;
    still_here(app).await;
    sends[n_sends].text.clone()
}

/// Waits for the echoes, too: the clock is about to be moved, and late ones are a human's.
async fn still_here(app: &TestApp) {
    app.twin.idle().await;
    app.settled().await;
}

async fn offered(app: &TestApp, vendor: &TestVendor, kind: &str) -> String {
    let n_sends = app.twin.n_sends();
    let id = send(app, vendor, offer(kind)).await;
    app.twin.wait_sends(n_sends + 1, DEADLINE).await;
    still_here(app).await;
    id
}

#[tokio::test]
async fn the_next_message_chooses_by_number_or_title() {
    let (app, vendor) = shop().await;
    for (n, (kind, said, want)) in [
        ("buttons", "2", "chez vous"),
        ("buttons", " 1) ", "chez nous"),
        ("list", "2.", "chez vous"),
        ("list", "livraison A DOMICILE", "chez vous"),
        ("list", "3", "merci"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = offered(&app, &vendor, kind).await;
        let text = "Comment ?\n\n1. Retrait sur place\n2. Livraison à domicile — 2 h";
        assert_eq!(app.twin.sends().last().unwrap().text, text);
        let found = journey(&app, &vendor, &id).await;
        assert_eq!((&found["type"], &found["message"]), (&json!(kind), &json!(text)));
        assert_eq!(found["options"][1]["id"], "home", "{found:#}");
        assert_eq!(answered(&app, &vendor, &format!("c{n}"), said).await, want, "{said}");
        app.clock.advance(60_000);
    }
}

#[tokio::test]
async fn a_choice_is_the_next_message_within_half_an_hour() {
    let (app, vendor) = shop().await;
    offered(&app, &vendor, "buttons").await;
    assert_eq!(answered(&app, &vendor, "a1", "un instant").await, "d'accord");
    assert_eq!(answered(&app, &vendor, "a2", "2").await, "merci", "not the next message");

    offered(&app, &vendor, "buttons").await;
    app.clock.advance(31 * 60_000);
    assert_eq!(answered(&app, &vendor, "a3", "2").await, "merci", "too late");

    // What the vendor says in between does not count.
    offered(&app, &vendor, "buttons").await;
    let n_sends = app.twin.n_sends();
    send(&app, &vendor, json!({ "type": "text", "text": "à vous" })).await;
    app.twin.wait_sends(n_sends + 1, DEADLINE).await;
    still_here(&app).await;
    app.clock.advance(29 * 60_000);
    assert_eq!(answered(&app, &vendor, "a4", "2").await, "chez vous");

    // One that was chosen is chosen.
    assert_eq!(answered(&app, &vendor, "a5", "1").await, "merci");
}
