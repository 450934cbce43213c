//! Messages of every kind are sent, and bad ones refused before anything is kept.

use serde_json::{Value, json};
use waba_gateway::twin::Misbehaviour;

use super::{TO, customer, inbound, journey, path, post, send, status_is};
use crate::{
    media::sending::uploaded,
    support::{DEADLINE, spawn_app},
};

const URL: &str = "https://files.example/a";

fn options(n: usize) -> Vec<Value> {
    (0..n).map(|it| json!({ "id": format!("o{it}"), "title": format!("Option {it}") })).collect()
}

#[tokio::test]
async fn every_kind_of_message_is_sent() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let caption = "un deux trois ".repeat(100);
    let kinds = [
        (json!({ "type": "text", "text": "Bonjour" }), json!({ "text": "Bonjour" })),
        (
            json!({ "type": "image", "image": { "url": URL, "caption": "c", "viewOnce": true } }),
            json!({ "imageUrl": URL, "text": "c", "viewOnce": true }),
        ),
        (json!({ "type": "video", "video": { "url": URL } }), json!({ "videoUrl": URL })),
        (
            json!({ "type": "audio", "audio": { "url": URL, "viewOnce": true } }),
            json!({ "audioUrl": URL, "viewOnce": true }),
        ),
        (
            json!({ "type": "document", "document": { "url": URL, "fileName": "devis.pdf", "caption": "c" } }),
            json!({ "documentUrl": URL, "fileName": "devis.pdf", "text": "c" }),
        ),
        (
            json!({ "type": "sticker", "sticker": { "url": format!("{URL}.webp") } }),
            json!({ "stickerUrl": format!("{URL}.webp") }),
        ),
        (
            json!({ "type": "location", "location": { "latitude": 14.7, "longitude": -17.5, "name": "Dakar" } }),
            json!({ "location": { "latitude": 14.7, "longitude": -17.5, "name": "Dakar" } }),
        ),
        (
            json!({ "type": "contact", "contact": { "name": "Awa", "phone": "77 055 50 09" } }),
            json!({ "contact": { "name": "Awa", "phone": "+221770555009" } }),
        ),
        (
            json!({ "type": "poll", "poll": { "question": "Quand ?", "options": ["lundi", "mardi"], "multiSelect": true } }),
            json!({ "poll": { "question": "Quand ?", "options": ["lundi", "mardi"], "multiSelect": true } }),
        ),
    ];
    for (n, (body, want)) in kinds.into_iter().enumerate() {
        let id = send(&app, &vendor, body.clone()).await;
        let mut sent = app.twin.wait_sends(n + 1, DEADLINE).await[n].json();
        assert_eq!(sent["to"], TO);
        sent.as_object_mut().unwrap().remove("to");
        assert_eq!(sent, want);
        status_is(&app, &vendor, &id, "read").await;
        let found = journey(&app, &vendor, &id).await;
        assert_eq!(found["type"], body["type"], "{found:#}");
    }
    // What does not fit under a file follows it.
    let body = json!({ "type": "image", "image": { "url": URL, "caption": caption } });
    assert_eq!(post(&app, &vendor, body).await.json()["parts"], 2);
    let sends = app.twin.wait_sends(11, DEADLINE).await;
    let (image, text) = (sends[9].json(), sends[10].json());
    assert_eq!((image["imageUrl"].clone(), text["imageUrl"].clone()), (json!(URL), Value::Null));
    assert_eq!(format!("{} {}", sends[9].text, sends[10].text), caption.trim());
    app.twin.idle().await;
    app.settled().await;
    assert!(app.messages(&vendor).await.iter().all(|it| it["human"] == false));
}

#[tokio::test]
async fn what_was_shared_is_shown_in_detail() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let file = uploaded(&app, &vendor, "", "application/pdf", b"%PDF-1.7".to_vec()).await;
    let body = json!({ "type": "document", "document": { "mediaId": file, "fileName": "d.pdf" } });
    let id = send(&app, &vendor, body).await;
    let found = journey(&app, &vendor, &id).await;
    assert_eq!(
        (&found["media"]["id"], &found["media"]["fileName"]),
        (&json!(file), &json!("d.pdf"))
    );
    let body = json!({ "type": "location", "location": { "latitude": 14, "longitude": 1.5 } });
    let id = send(&app, &vendor, body).await;
    let found = journey(&app, &vendor, &id).await;
    assert_eq!(found["location"], json!({ "latitude": 14.0, "longitude": 1.5, "name": "" }));
}

/// Bad texts and files, and what is said of them.
fn bad_files() -> Vec<(Value, &'static str)> {
    let image = |it: Value| json!({ "type": "image", "image": it });
    let poll = json!({ "question": "Q", "options": [] });
    let document = json!({ "url": URL, "fileName": "a/b" });
    vec![
        (json!({ "type": "text", "text": " " }), "text: is empty"),
        (json!({ "type": "text", "text": "a".repeat(65_537) }), "text: has more than 65536"),
        (json!({ "type": "text" }), "text: is missing"),
        (json!({ "type": "text", "text": "a", "poll": poll }), "poll: does not belong"),
        (json!({ "type": "reaction" }), "reaction: is missing"),
        (json!({ "type": "fax" }), "type: is one of text, image"),
        (json!({ "type": "text", "text": "a", "to": "12" }), "to: "),
        (json!({ "type": "text", "text": "a", "to": "SN.1349120865" }), "to: wasender needs"),
        (json!({ "type": "text", "text": "a", "replyTo": "msg_1" }), "replyTo: "),
        (image(json!({})), "image: has either url or mediaId"),
        (image(json!({ "url": URL, "mediaId": "med_1" })), "image: has either url or mediaId"),
        (image(json!({ "url": "ftp://files.example/a" })), "image.url: "),
        (image(json!({ "url": "a".repeat(2_049) })), "image.url: "),
        (image(json!({ "mediaId": "../x" })), "image.mediaId: "),
        (image(json!({ "url": URL, "caption": "a".repeat(65_537) })), "image.caption: has more"),
        (json!({ "type": "document", "document": document }), "document.fileName: "),
        (json!({ "type": "sticker", "sticker": { "url": URL } }), "sticker.url: Wasender takes"),
    ]
}

/// Bad content of other types, and what is said of it.
fn bad_others() -> Vec<(Value, &'static str)> {
    let poll =
        |options: Value| json!({ "type": "poll", "poll": { "question": "Q", "options": options } });
    let place = |latitude: f64, longitude: f64| {
        let place = json!({ "latitude": latitude, "longitude": longitude });
        json!({ "type": "location", "location": place })
    };
    let card = |name: &str, phone: &str| json!({ "type": "contact", "contact": { "name": name, "phone": phone } });
    let list = |text: &str, options: Vec<Value>| json!({ "type": "list", "list": { "text": text, "options": options } });
    let twice = vec![options(1)[0].clone(), options(1)[0].clone()];
    let many: Vec<_> = (0..13).map(|it| it.to_string()).collect();
    vec![
        (place(91.0, 0.0), "location.latitude: is from -90 to 90"),
        (place(0.0, -180.5), "location.longitude: "),
        (card("", TO), "contact.name: is empty"),
        (card("A", "12"), "contact.phone: "),
        (poll(json!(["a"])), "poll.options: are 2 to 12"),
        (poll(json!(many)), "poll.options: are 2 to 12"),
        (poll(json!(["a", "a"])), "poll.options: has one twice"),
        (poll(json!(["a", "b".repeat(101)])), "poll.options: has more than 100"),
        (list("", options(1)), "list.text: is empty"),
        (list("Q", options(0)), "list.options: are 1 to 10"),
        (list("Q", options(11)), "list.options: are 1 to 10"),
        (list("Q", twice), "list.options.id: has one twice"),
    ]
}

/// Bad content that only some providers have, and what is said of it.
fn bad_rich() -> Vec<(Value, &'static str)> {
    let of = |kind: &str, it: Value| json!({ "type": kind, kind: it });
    let link =
        |text: &str, label: &str, url: &str| json!({ "text": text, "label": label, "url": url });
    let flow = |change: Value| {
        let mut flow = json!({ "text": "RDV", "cta": "Prendre", "id": "42" });
        flow.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        of("flow", flow)
    };
    let long = |n: usize| "a".repeat(n);
    let big = json!([{ "x": long(32 * 1_024) }]);
    vec![
        (of("ctaUrl", link(" ", "b", URL)), "ctaUrl.text: is empty"),
        (of("ctaUrl", link(&long(1_025), "b", URL)), "ctaUrl.text: has more than 1024"),
        (of("ctaUrl", link("a", "", URL)), "ctaUrl.label: is empty"),
        (of("ctaUrl", link("a", &long(21), URL)), "ctaUrl.label: has more than 20"),
        (of("ctaUrl", link("a", "b", "javascript:x")), "ctaUrl.url: "),
        (of("template", json!({ "name": "x", "contentSid": "HX1" })), "template: has name and"),
        (flow(json!({ "text": "" })), "flow.text: is empty"),
        (flow(json!({ "cta": long(31) })), "flow.cta: has more than 30"),
        (flow(json!({ "name": "x" })), "flow: has either id or name"),
        (flow(json!({ "id": null })), "flow: has either id or name"),
        (flow(json!({ "token": long(4_097) })), "flow.token: has more than 4096"),
        (
            flow(json!({ "payload": { "x": long(32 * 1_024) } })),
            "flow.payload: has more than 32768 bytes",
        ),
        (of("locationRequest", json!({ "text": "" })), "locationRequest.text: is empty"),
        (of("locationRequest", json!({ "text": long(1_025) })), "locationRequest.text: has more"),
        (of("template", json!({ "text": "x" })), "template: has name and language, or contentSid"),
        (of("template", json!({ "name": "t", "text": "x" })), "template: has name and language"),
        (
            of("template", json!({ "name": long(513), "language": "fr" })),
            "template.name: has more than 512",
        ),
        (
            of("template", json!({ "name": "t", "language": "fr", "components": big })),
            "template.components: has more than 32768 bytes",
        ),
        (of("reaction", json!({ "emoji": long(33) })), "reaction.emoji: has more than 32"),
        (of("reaction", json!({ "emoji": "👍" })), "type: Wasender cannot send this"),
    ]
}

#[tokio::test]
async fn a_bad_message_is_refused_with_its_field_and_nothing_is_kept() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    for (body, want) in bad_files().into_iter().chain(bad_others()).chain(bad_rich()) {
        let answer = post(&app, &vendor, body).await;
        assert_eq!(answer.status, 422, "{want}: {}", answer.text);
        let why = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(why.starts_with(want), "{why} is not {want}");
    }
    for (body, want) in [
        json!({ "type": "text", "text": "a", "x": 1 }),
        json!({ "text": "a" }),
        json!({ "type": "text", "text": 1 }),
        json!({ "type": "poll", "poll": { "question": "Q", "options": "a" } }),
    ]
    .into_iter()
    .zip(["unknown field `x`", "missing field `type`", " text: the", " poll.options: the"])
    {
        let answer = post(&app, &vendor, body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text.contains(want), "{want}: {}", answer.text);
    }
    assert!(app.messages(&vendor).await.is_empty());
    assert_eq!(app.twin.n_sends(), 0);
}

#[tokio::test]
async fn a_message_of_ours_can_be_quoted_and_no_other() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let first = send(&app, &vendor, json!({ "type": "text", "text": "un" })).await;
    let sends = app.twin.wait_sends(1, DEADLINE).await;
    status_is(&app, &vendor, &first, "read").await;
    let reply = json!({ "type": "text", "text": "deux", "replyTo": first });
    let second = send(&app, &vendor, reply.clone()).await;
    let quoting = app.twin.wait_sends(2, DEADLINE).await[1].json();
    assert_eq!(quoting["replyTo"], json!(sends[0].msg_id));
    assert_eq!(journey(&app, &vendor, &second).await["quotedMessageId"], json!(first));

    let elsewhere = json!({ "type": "text", "text": "x", "replyTo": first, "to": "+221705550002" });
    let unknown = json!({ "type": "text", "text": "x", "replyTo": "msg_0000000000000" });
    assert!(app.twin.customer_says(vendor.session.id, &customer(), "Et moi ?").await.is_ok());
    let theirs = json!({ "type": "text", "text": "x", "replyTo": inbound(&app, &vendor).await });
    for (body, why) in [
        (elsewhere, "another conversation"),
        (unknown, "no such message"),
        (theirs, "only messages sent by this gateway"),
    ] {
        let answer = post(&app, &vendor, body).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert!(answer.text.contains(why), "{}", answer.text);
    }
    // Another vendor's message is nobody's.
    let other = app.vendor(2).await;
    assert_eq!(post(&app, &other, reply).await.status, 422);
}

#[tokio::test]
async fn a_message_whose_send_is_lost_is_found_in_the_log_by_what_it_is() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let session = vendor.session.id;
    app.twin.misbehave(session, Misbehaviour::NoEchoes, waba_gateway::twin::Times::Always);
    app.twin.misbehave(session, Misbehaviour::NoStatuses, waba_gateway::twin::Times::Always);
    let cut = Misbehaviour::Cut { accepted: true };
    app.twin.misbehave(session, cut, waba_gateway::twin::Times::Once);
    let body = json!({ "type": "image", "image": { "url": URL, "caption": "la carte" } });
    let id = send(&app, &vendor, body).await;
    // The log is asked after five seconds.
    status_is(&app, &vendor, &id, "sent").await;
    assert_eq!(app.twin.n_sends(), 1);
}

#[tokio::test]
async fn vendors_keys_send_and_are_not_slowed_down() {
    let app = spawn_app().await;
    let (vendor, other) = (app.vendor(1).await, app.vendor(2).await);
    let key = json!({ "name": "shop", "vendorId": vendor.id.to_string() });
    let key = app.admin.post("/api/admin/keys", key).await.json();
    let shop = app.admin.with_key(key["key"].as_str().unwrap());
    for n in 0..30 {
        let body = json!({ "to": TO, "type": "text", "text": format!("n° {n}") });
        let answer = shop.post(&path(&vendor), body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let body = json!({ "to": TO, "type": "text", "text": "x" });
    assert_eq!(shop.post(&path(&other), body).await.status, 403);
    assert_eq!(shop.with_key("nobody").post(&path(&vendor), json!({})).await.status, 401);
}
