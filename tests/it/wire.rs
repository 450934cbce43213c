//! What Wasender's events become, through the whole service. How each shape parses is a table
//! beside the parser.

use serde_json::json;
use waba_gateway::twin::{Customer, wire};

use crate::support::{TestApp, TestVendor, spawn_app};

async fn posted(app: &TestApp, vendor: &TestVendor, body: serde_json::Value) {
    let answer = app.post_signed(vendor, &body).await;
    assert_eq!(answer.status, 200, "{}: {body}", answer.text);
}

#[tokio::test]
async fn messages_of_every_kind_are_recorded_as_what_they_are() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let media = json!({ "url": "https://mmg.whatsapp.net/x", "mimetype": "image/jpeg", "mediaKey": "AAAA" });
    let contents = [
        ("text", json!({ "conversation": "bonjour" })),
        (
            "text",
            json!({ "ephemeralMessage": { "message": { "extendedTextMessage": { "text": "éphémère" } } } }),
        ),
        ("image", json!({ "viewOnceMessageV2": { "message": { "imageMessage": media } } })),
        ("video", json!({ "videoMessage": media })),
        ("audio", json!({ "audioMessage": media })),
        (
            "document",
            json!({ "documentWithCaptionMessage": { "message": { "documentMessage": media } } }),
        ),
        ("sticker", json!({ "stickerMessage": media })),
        (
            "location",
            json!({ "locationMessage": { "degreesLatitude": 14.7, "degreesLongitude": -17.4 } }),
        ),
        ("contact", json!({ "contactMessage": { "displayName": "Awa", "vcard": "BEGIN:VCARD" } })),
        ("poll", json!({ "pollCreationMessage": { "name": "?", "options": [] } })),
    ];
    for (n, (_, message)) in contents.iter().enumerate() {
        let id = format!("K{n}");
        let key = json!({ "id": id, "fromMe": false, "remoteJid": "221705550001@s.whatsapp.net" });
        let stamps = [
            json!(app.now_secs()),
            json!(app.now_secs().to_string()),
            json!({ "low": app.now_secs(), "high": 0, "unsigned": true }),
        ];
        let item = json!({ "key": key, "messageTimestamp": stamps[n % 3], "message": message });
        let messages = if n % 2 == 0 { item } else { json!([item]) };
        posted(
            &app,
            &vendor,
            json!({ "event": "messages.upsert", "data": { "messages": messages } }),
        )
        .await;
    }
    let messages = app.messages(&vendor).await;
    let inbound = messages.iter().rev().filter(|it| it["inbound"] == true);
    let kinds: Vec<&str> = inbound.map(|it| it["type"].as_str().unwrap()).collect();
    let want: Vec<&str> = contents.iter().map(|it| it.0).collect();
    assert_eq!(kinds, want);
}

#[tokio::test]
async fn what_speaks_of_a_message_is_recorded_and_disturbs_nobody() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let customer = Customer::new("+221705550001");
    posted(&app, &vendor, wire::real_message("M1", &customer, "bonjour", app.now_secs())).await;
    let key = json!({ "id": "M1", "fromMe": false, "remoteJid": "221705550001@s.whatsapp.net" });
    let own =
        |id: &str| json!({ "id": id, "fromMe": false, "remoteJid": "221705550001@s.whatsapp.net" });
    let bodies = [
        json!({ "event": "messages.reaction", "data": [{ "key": key, "reaction": { "text": "👍", "key": own("R1") } }] }),
        json!({ "event": "messages.delete", "data": { "keys": [key] } }),
        json!({ "event": "messages.upsert", "data": { "messages": { "key": own("E1"), "message": {
            "protocolMessage": { "key": key, "type": 14, "editedMessage": { "conversation": "bonsoir" } } } } } }),
        json!({ "event": "message-receipt.update", "data": { "message": {
            "key": { "remoteJid": "1203@g.us", "id": "G1", "fromMe": true, "participant": "221705550003@s.whatsapp.net" },
            "receipt": { "userJid": "221705550003@s.whatsapp.net", "readTimestamp": app.now_secs() } } } }),
        json!({ "event": "message.sent", "data": { "success": false, "error": "Failed: Invalid number JID: +123456787" } }),
        json!({ "event": "call", "data": { "call": { "id": "C1", "from": "221705550001@s.whatsapp.net", "status": "offer" } } }),
        json!({ "event": "qrcode.updated", "data": { "qr": "2@abcdef" } }),
        json!({ "event": "connection_status", "status": "connected", "phoneNumber": "+221770000001", "timestamp": app.now_secs() }),
    ];
    for body in bodies {
        posted(&app, &vendor, body.clone()).await;
        // Again is no second event, or no event at all.
        posted(&app, &vendor, body).await;
    }
    app.twin.wait_sends(1, crate::support::DEADLINE).await;
    app.twin.idle().await;
    let messages = app.messages(&vendor).await;
    assert_eq!(messages.iter().filter(|it| it["inbound"] == true).count(), 1, "{messages:#?}");
    assert_eq!(app.twin.n_sends(), 1);
    app.balanced().await;
}

#[tokio::test]
async fn the_predecessors_statuses_name_our_sends_by_wasenders_number() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.twin.change(vendor.session.id, |it| it.dialect = waba_gateway::twin::Dialect::Predecessor);
    let customer = Customer::new("+221705550001");
    assert!(app.twin.customer_says(vendor.session.id, &customer, "horaires").await.is_ok());
    app.until(&vendor, |it| it.iter().any(|it| it["status"] == "read")).await;
}
