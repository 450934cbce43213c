//! Content out: every kind of send, uploads, and what is done to a send later.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";
const WEBP: &[u8] = b"RIFF\x04\0\0\0WEBPVP8 ";

fn to(mut body: Value) -> Value {
    body["to"] = json!(CUSTOMER);
    body
}

#[tokio::test]
async fn each_kind_of_send_is_checked_and_told() {
    let rig = rig().await;
    let check = async |kind: &str, body: Value, content: Value| {
        let (status, answer) = rig.send(to(body.clone())).await;
        assert_eq!(status, 200, "{kind}: {answer}");
        let sent = rig.twin.sends().pop().unwrap();
        assert_eq!((sent.kind(), sent.json()), (kind, to(body)));
        let (_, info) = rig.by_key(&format!("/messages/{}/info", sent.msg_id)).await;
        assert_eq!(info["data"]["message"], content, "{kind}");
    };
    let url = "https://example.com/a";
    check("text", json!({ "text": "x" }), json!({ "conversation": "x" })).await;
    let image = json!({ "imageUrl": url, "text": "x", "viewOnce": true });
    check("image", image, json!({ "imageMessage": { "caption": "x" } })).await;
    check("video", json!({ "videoUrl": url }), json!({ "videoMessage": {} })).await;
    check("audio", json!({ "audioUrl": url }), json!({ "audioMessage": {} })).await;
    let document = json!({ "documentUrl": url, "fileName": "a.pdf" });
    check("document", document, json!({ "documentMessage": { "fileName": "a.pdf" } })).await;
    let sticker = json!({ "stickerUrl": "https://example.com/a.webp?x=1" });
    check("sticker", sticker, json!({ "stickerMessage": {} })).await;
    let place = json!({ "location": { "latitude": 14.7, "longitude": -17, "name": "Dakar" } });
    let told = json!({ "degreesLatitude": 14.7, "degreesLongitude": -17.0, "name": "Dakar" });
    check("location", place, json!({ "locationMessage": told })).await;
    let poll = json!({ "poll": { "question": "?", "options": ["a", "b"], "multiSelect": true } });
    let told = json!({ "name": "?", "selectableOptionsCount": 0,
        "options": [{ "optionName": "a" }, { "optionName": "b" }] });
    check("poll", poll, json!({ "pollCreationMessage": told })).await;
    let card = json!({ "contact": { "name": "Ada", "phone": "+221781112233" } });
    let vcard = wire::vcard("Ada", "+221781112233");
    check("contact", card, json!({ "contactMessage": { "displayName": "Ada", "vcard": vcard } }))
        .await;
}

#[tokio::test]
async fn a_send_with_a_fault_is_refused_by_field() {
    let rig = rig().await;
    let check = async |field: &str, body: Value| {
        let (status, answer) = rig.send(to(body.clone())).await;
        assert_eq!(status, 422, "{body}");
        assert!(answer["errors"][field][0].is_string(), "{field}: {answer}");
    };
    let options = |n: usize| json!({ "poll": { "question": "?", "options": vec!["a"; n] } });
    check("text", json!({ "text": 5 })).await;
    check("imageUrl", json!({ "imageUrl": "a.png" })).await;
    check("videoUrl", json!({ "videoUrl": "file:///a.mp4" })).await;
    check("stickerUrl", json!({ "stickerUrl": "https://example.com/a.png" })).await;
    check("fileName", json!({ "documentUrl": "https://example.com/a", "fileName": 1 })).await;
    check("contact.phone", json!({ "contact": { "name": "Ada" } })).await;
    check("contact.name", json!({ "contact": { "phone": "+221781112233" } })).await;
    check("location.longitude", json!({ "location": { "latitude": 1 } })).await;
    check("location.latitude", json!({ "location": { "latitude": 91, "longitude": 0 } })).await;
    check("poll.options", options(1)).await;
    check("poll.options", options(13)).await;
    check("poll.options", json!({ "poll": { "question": "?", "options": ["a", ""] } })).await;
    check("poll.question", json!({ "poll": { "options": ["a", "b"] } })).await;
    check("viewOnce", json!({ "text": "x", "viewOnce": true })).await;
    check("replyTo", json!({ "text": "x", "replyTo": "3EB0" })).await;
    check("replyTo", json!({ "text": "x", "replyTo": 99 })).await;
    assert_eq!(rig.twin.n_sends(), 0);
}

#[tokio::test]
async fn a_reply_quotes_an_earlier_send() {
    let rig = rig().await;
    rig.send_text("Bonjour").await;
    let (status, _) = rig.send(to(json!({ "text": "Oui", "replyTo": 100_000 }))).await;
    assert_eq!(status, 200);
    let (_, info) = rig.by_key("/messages/100001/info").await;
    let reply = &info["data"]["message"]["extendedTextMessage"];
    let first = rig.twin.sends()[0].key_id.clone();
    let context = json!({ "stanzaId": first, "quotedMessage": { "conversation": "Bonjour" } });
    assert_eq!(reply, &json!({ "text": "Oui", "contextInfo": context }));
}

impl Rig {
    async fn upload(&self, mime_type: &str, bytes: impl Into<Bytes>) -> (u16, Value) {
        let request = self.http.post(format!("{}/upload", self.twin.api_url()));
        let request = request.bearer_auth(&self.session.api_key).body(bytes.into());
        let response = request.header("content-type", mime_type).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call("POST", path, &self.session.api_key, body).await
    }
}

#[tokio::test]
async fn an_upload_is_kept_and_served_and_sent() {
    let rig = rig().await;
    let (status, answer) = rig.upload("image/png", PNG).await;
    let url = answer["publicUrl"].as_str().unwrap();
    assert_eq!((status, answer["success"].as_bool()), (200, Some(true)));
    assert!(url.starts_with(&rig.twin.api_url().replace("/api", "/media/")), "{url}");
    let served = rig.http.get(url).send().await.unwrap();
    assert_eq!(served.headers()["content-type"], "image/png");
    assert_eq!(served.bytes().await.unwrap(), PNG);
    assert_eq!(rig.twin.wait_uploads(1, LONG).await[0].url, url);

    assert_eq!(rig.send(to(json!({ "imageUrl": url }))).await.0, 200);
    let sent = rig.twin.sends()[0].json();
    assert_eq!(rig.twin.uploaded(sent["imageUrl"].as_str().unwrap()).unwrap().bytes, PNG);
    let gone = url.replace(".png", ".jpg");
    assert_eq!(rig.send(to(json!({ "imageUrl": gone }))).await.0, 422);
    assert_eq!(rig.http.get(gone).send().await.unwrap().status(), 404);

    for body in [
        json!({ "base64": format!("data:image/png;base64,{}", STANDARD.encode(PNG)) }),
        json!({ "mimetype": "image/png", "base64": STANDARD.encode(PNG) }),
    ] {
        assert_eq!(rig.post("/upload", body).await.0, 200);
        assert_eq!(rig.twin.uploads().pop().unwrap().bytes, PNG);
    }
    let (status, _) = rig.call("POST", "/upload", "", json!({})).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn an_upload_has_a_size_and_a_content() {
    let rig = rig().await;
    let file = |start: &[u8], n_bytes: usize| {
        let mut file = start.to_vec();
        file.resize(n_bytes, 0);
        file
    };
    let mib = 1024 * 1024;
    let check = async |want: u16, mime_type: &str, bytes: Vec<u8>| {
        let (status, answer) = rig.upload(mime_type, bytes).await;
        assert_eq!(status, want, "{mime_type}: {answer}");
    };
    check(200, "image/png", file(PNG, 16 * mib)).await;
    check(422, "image/png", file(PNG, 16 * mib + 1)).await;
    check(422, "audio/ogg", file(b"OggS", 16 * mib + 1)).await;
    check(200, "video/mp4", file(b"\0\0\0\x18ftypmp42", 17 * mib)).await;
    check(200, "image/webp", WEBP.to_vec()).await;
    check(422, "image/webp", file(WEBP, 5 * mib + 1)).await;
    check(422, "image/webp", PNG.to_vec()).await;
    check(422, "image/jpeg", b"<html>".to_vec()).await;
    check(422, "video/mp4", PNG.to_vec()).await;
    check(422, "application/pdf", Vec::new()).await;
    check(200, "application/pdf", b"%PDF-1.7".to_vec()).await;

    // What was uploaded can still be too large to be sent: the send page's limits are others.
    let large = rig.twin.uploads()[0].url.clone();
    assert_eq!(rig.send(to(json!({ "imageUrl": large }))).await.0, 422);
    assert_eq!(rig.send(to(json!({ "documentUrl": large }))).await.0, 200);
}

#[tokio::test]
async fn a_send_is_edited_and_deleted() {
    let rig = rig().await;
    rig.send_text("Bonjour").await;
    rig.twin.idle().await;
    let key = &rig.session.api_key;
    let path = "/messages/100000";
    assert_eq!(rig.call("PUT", path, key, json!({})).await.0, 422);
    let (status, answer) = rig.call("PUT", path, key, json!({ "text": "Bonsoir" })).await;
    assert_eq!((status, answer["data"]["msgId"].as_u64()), (200, Some(100_000)));
    let change = &answer["data"]["message"]["protocolMessage"];
    assert_eq!((change["type"].as_u64(), &change["key"]), (Some(14), &answer["data"]["key"]));
    assert_eq!(change["editedMessage"]["conversation"], "Bonsoir");
    let edits = rig.twin.wait_edits(1, LONG).await;
    assert_eq!((edits[0].msg_id, edits[0].text.as_str()), (100_000, "Bonsoir"));
    rig.twin.idle().await;
    let echo = rig.posts().pop().unwrap().json();
    assert_eq!(echo["event"], "messages.upsert");
    assert_eq!(&echo["data"]["messages"]["message"]["protocolMessage"], change);

    rig.misbehave(Misbehaviour::TooLate);
    assert_eq!(rig.call("DELETE", path, key, Value::Null).await.0, 400);
    rig.misbehave(Misbehaviour::DeedFails(503));
    assert_eq!(rig.call("DELETE", path, key, Value::Null).await.0, 503);
    let (status, answer) = rig.call("DELETE", path, key, Value::Null).await;
    assert_eq!((status, answer["message"].as_str()), (200, Some("Message deleted successfully.")));
    assert_eq!(rig.twin.wait_deletions(1, LONG).await[0].msg_id, 100_000);
    assert_eq!(rig.call("DELETE", path, key, Value::Null).await.0, 404, "it is gone");
    let text = json!({ "text": "x" });
    assert_eq!(rig.call("PUT", path, key, text.clone()).await.0, 404, "it is gone");
    assert_eq!(rig.call("PUT", "/messages/7", key, text.clone()).await.0, 404);
    let other = rig.twin.add_session(NewSession::new("+221781112233"));
    assert_eq!(rig.call("PUT", path, &other.api_key, text).await.0, 404);
    assert_eq!((rig.twin.edits().len(), rig.twin.deletions().len()), (1, 1));
}

#[tokio::test]
async fn only_what_failed_is_sent_again() {
    let rig = rig().await;
    rig.misbehave(Misbehaviour::FailsLater("Invalid number JID".to_owned()));
    rig.send_text("Bonjour").await;
    rig.twin.idle().await;
    let status = async || rig.by_key("/messages/100000/info").await.1["data"]["status"].as_u64();
    assert_eq!(status().await, Some(0));
    assert_eq!(rig.post("/messages/100000/resend", Value::Null).await.0, 200);
    rig.twin.idle().await;
    assert_eq!((status().await, rig.twin.resends().len()), (Some(4), 1));
    assert_eq!(rig.post("/messages/100000/resend", Value::Null).await.0, 400);
}

#[tokio::test]
async fn a_customers_message_is_marked_as_read_by_its_key_alone() {
    let rig = rig().await;
    let customer = Customer::new(CUSTOMER).with_lid("111122223333444");
    let answer = rig.twin.customer_says(rig.session.id, &customer, "Bonjour").await;
    let key = rig.posts()[0].json()["data"]["messages"]["key"].clone();
    let with = |field: &str, value: Value| {
        let mut key = key.clone();
        key[field] = value;
        json!({ "key": key })
    };
    assert_eq!(rig.post("/messages/read", json!({})).await.0, 422);
    assert_eq!(rig.post("/messages/read", with("fromMe", Value::Null)).await.0, 422);
    assert_eq!(rig.post("/messages/read", with("id", json!("3EB0"))).await.0, 404);
    assert_eq!(rig.post("/messages/read", with("remoteJid", json!(CUSTOMER_JID))).await.0, 404);
    assert_eq!(rig.post("/messages/read", with("fromMe", json!(true))).await.0, 404);
    let (status, body) = rig.post("/messages/read", json!({ "key": key })).await;
    assert_eq!((status, body), (200, json!({ "success": true, "data": { "status": "read" } })));
    let reads = rig.twin.wait_reads(1, LONG).await;
    assert_eq!((reads.len(), &reads[0].key_id), (1, &answer.event_id));

    rig.twin.know_message(rig.session.id, "ELSEWHERE", CUSTOMER_JID);
    let known = json!({ "id": "ELSEWHERE", "remoteJid": CUSTOMER_JID, "fromMe": false });
    assert_eq!(rig.post("/messages/read", json!({ "key": known })).await.0, 200);
}

#[tokio::test]
async fn presence_is_noted() {
    let rig = rig().await;
    let path = "/send-presence-update";
    let body = json!({ "jid": CUSTOMER_JID, "type": "composing", "delayMs": 1_500 });
    let (status, answer) = rig.post(path, body).await;
    let want = json!({ "jid": CUSTOMER_JID, "type": "composing" });
    assert_eq!((status, &answer["data"]), (200, &want));
    assert_eq!(rig.post(path, json!({ "jid": CUSTOMER_JID, "type": "typing" })).await.0, 422);
    assert_eq!(rig.post(path, json!({ "type": "composing" })).await.0, 422);
    rig.twin.set_status(rig.session.id, "disconnected");
    assert_eq!(rig.post(path, want).await.0, 400);
    let seen = rig.twin.wait_presences(1, LONG).await;
    assert_eq!((seen.len(), seen[0].kind.as_str()), (1, "composing"));
    assert_eq!(seen[0].delay_ms, Some(1_500));
}
