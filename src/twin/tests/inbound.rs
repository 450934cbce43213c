//! Content in: files, places, cards, polls, and what customers do to messages.

use aes::Aes256;
use base64::{Engine, engine::general_purpose::STANDARD};
use cbc::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{
    super::{DeleteForm, EditForm, FileKind, Inbound, MediaFault, encrypt_media},
    *,
};

const FILE: &[u8] = b"\xff\xd8\xff and the rest of a picture";

fn ada() -> Customer {
    Customer::new(CUSTOMER).named("Ada")
}

impl Rig {
    /// A customer sends it; what the webhook says of it.
    async fn share(&self, inbound: Inbound) -> Value {
        let answer = self.twin.customer_shares(self.session.id, &ada(), &inbound).await;
        assert!(answer.is_ok(), "{answer:?}");
        let body = self.posts().pop().unwrap().json();
        assert_eq!(body["event"], "messages.received");
        let message = body["data"]["messages"].clone();
        assert_eq!(message["key"]["id"], answer.event_id);
        message
    }

    async fn fetch(&self, media: &Value) -> reqwest::Result<bytes::Bytes> {
        let url = media["url"].as_str().unwrap();
        let response = self.http.get(url).timeout(SHORT).send().await?.error_for_status()?;
        response.bytes().await
    }
}

/// Opens a file as the official sample does, and checks what the sample does not.
fn open(info: &str, media: &Value, file: &[u8]) -> Result<Vec<u8>, &'static str> {
    let of = |field: &str| STANDARD.decode(media[field].as_str().unwrap()).unwrap();
    if Sha256::digest(file).as_slice() != of("fileEncSha256") {
        return Err("fileEncSha256");
    }
    let mut keys = [0; 112];
    Hkdf::<Sha256>::new(None, &of("mediaKey")).expand(info.as_bytes(), &mut keys).unwrap();
    let (cipher, mac) = file.split_at(file.len() - 10);
    let mut want = Hmac::<Sha256>::new_from_slice(&keys[48..80]).unwrap();
    want.update(&keys[..16]);
    want.update(cipher);
    if want.finalize().into_bytes()[..10] != *mac {
        return Err("MAC");
    }
    let opener = cbc::Decryptor::<Aes256>::new_from_slices(&keys[16..48], &keys[..16]).unwrap();
    let clear = opener.decrypt_padded_vec::<Pkcs7>(cipher).map_err(|_| "padding")?;
    if Sha256::digest(&clear).as_slice() != of("fileSha256") {
        return Err("fileSha256");
    }
    if media["fileLength"] != json!(clear.len().to_string()) {
        return Err("fileLength");
    }
    Ok(clear)
}

#[tokio::test]
async fn a_file_can_be_opened_with_what_the_webhook_tells() {
    let rig = rig().await;
    let check = async |inbound: Inbound, place: &str, mime_type: &str, info: &str| {
        let message = rig.share(inbound).await;
        let media = message["message"].pointer(place).unwrap_or_else(|| panic!("{message}"));
        let file = rig.fetch(media).await.unwrap();
        assert_eq!(open(info, media, &file).unwrap(), FILE, "{place}");
        assert_eq!(media["mimetype"], mime_type);
        message
    };
    let photo = Inbound::image(FILE).caption("Combien ?");
    let photo = check(photo, "/imageMessage", "image/jpeg", "WhatsApp Image Keys").await;
    assert_eq!(photo["messageBody"], "Combien ?");
    assert_eq!(photo["message"]["imageMessage"]["caption"], "Combien ?");
    let film = Inbound::video(FILE);
    let film = check(film, "/videoMessage", "video/mp4", "WhatsApp Video Keys").await;
    assert_eq!((film.get("messageBody"), &film["pushName"]), (None, &json!("Ada")));
    let voice = Inbound::audio(FILE).mime_type("audio/mp4");
    check(voice, "/audioMessage", "audio/mp4", "WhatsApp Audio Keys").await;
    let info = "WhatsApp Document Keys";
    let file = Inbound::document(FILE, "a.pdf");
    let file = check(file, "/documentMessage", "application/pdf", info).await;
    assert_eq!(file["message"]["documentMessage"]["fileName"], "a.pdf");
    let file = Inbound::document(FILE, "a.pdf").caption("Facture");
    let place = "/documentWithCaptionMessage/message/documentMessage";
    check(file, place, "application/pdf", info).await;
    let sticker = Inbound::sticker(FILE);
    check(sticker, "/stickerMessage", "image/webp", "WhatsApp Image Keys").await;
    let once = Inbound::image(FILE).view_once().ephemeral();
    let place = "/ephemeralMessage/message/viewOnceMessageV2/message/imageMessage";
    check(once, place, "image/jpeg", "WhatsApp Image Keys").await;

    assert_eq!(rig.twin.hosted_media().len(), 7);
    let n_fetched = rig.twin.requests().iter().filter(|it| it.path.starts_with("/mmg/")).count();
    assert_eq!(n_fetched, 7);
}

#[test]
fn a_file_is_padded_and_ends_in_a_mac() {
    let file = |n: usize| encrypt_media(FileKind::Image, &[7; 32], &vec![1; n]);
    assert_eq!([file(0).len(), file(15).len(), file(16).len()], [26, 26, 42]);
    assert_ne!(file(16), encrypt_media(FileKind::Video, &[7; 32], &[1; 16]));
    assert_eq!(file(16), encrypt_media(FileKind::Sticker, &[7; 32], &[1; 16]));
}

#[tokio::test]
async fn a_file_has_the_fault_that_was_asked_for() {
    let rig = rig().await;
    let check = async |fault: MediaFault, want: &str| {
        let message = rig.share(Inbound::image(FILE).with_fault(fault.clone())).await;
        let media = &message["message"]["imageMessage"];
        let file = rig.fetch(media).await.unwrap();
        assert_eq!(open("WhatsApp Image Keys", media, &file), Err(want), "{fault:?}");
    };
    check(MediaFault::BadMac, "MAC").await;
    check(MediaFault::Truncated, "fileEncSha256").await;
    check(MediaFault::WrongSha256, "fileSha256").await;
    check(MediaFault::LargerThanAnnounced, "fileLength").await;

    let fails = async |fault: MediaFault| {
        let message = rig.share(Inbound::image(FILE).with_fault(fault.clone())).await;
        rig.fetch(&message["message"]["imageMessage"]).await.unwrap_err()
    };
    assert_eq!(fails(MediaFault::Gone(410)).await.status().unwrap(), 410);
    assert!(fails(MediaFault::Slow(LONG)).await.is_timeout());
    assert!(fails(MediaFault::Hang).await.is_timeout());
    assert!(!fails(MediaFault::Cut).await.is_timeout());

    let good = rig.share(Inbound::image(FILE)).await;
    let media = &good["message"]["imageMessage"];
    let url = media["url"].as_str().unwrap();
    rig.twin.spoil_media(url, Some(MediaFault::Gone(404)));
    assert_eq!(rig.fetch(media).await.unwrap_err().status().unwrap(), 404);
    rig.twin.spoil_media(url, None);
    assert!(rig.fetch(media).await.is_ok());
}

#[tokio::test]
async fn places_cards_and_polls_are_told() {
    let rig = rig().await;
    let check = async |inbound: Inbound, want: Value| {
        let message = rig.share(inbound).await;
        assert_eq!(message["message"], want);
        assert_eq!(message.get("messageBody"), None);
    };
    let place = json!({ "degreesLatitude": 14.7, "degreesLongitude": -17.4, "address": "Dakar" });
    check(Inbound::location(14.7, -17.4, "", "Dakar"), json!({ "locationMessage": place })).await;
    let vcard = "BEGIN:VCARD\nVERSION:3.0\nFN:Bob\nTEL;type=CELL;waid=22177:+221 77\nEND:VCARD";
    let card = json!({ "contactMessage": { "displayName": "Bob", "vcard": vcard } });
    check(Inbound::contact("Bob", "+221 77"), card).await;
    let options = json!([{ "optionName": "a" }, { "optionName": "b" }]);
    let poll = json!({ "name": "?", "options": options, "selectableOptionsCount": 1 });
    let poll = json!({ "pollCreationMessageV3": poll });
    check(Inbound::poll("?", &["a", "b"], false), poll).await;
}

#[tokio::test]
async fn a_reply_names_the_message_that_it_quotes() {
    let rig = rig().await;
    rig.send_text("Bonjour").await;
    let sent = rig.twin.sends()[0].key_id.clone();
    let reply = rig.share(Inbound::text("Oui").quoting(&sent)).await;
    let context = json!({
        "stanzaId": sent,
        "participant": "221771234567@s.whatsapp.net",
        "quotedMessage": { "conversation": "Bonjour" },
    });
    let text = json!({ "text": "Oui", "contextInfo": context });
    assert_eq!(reply["message"], json!({ "extendedTextMessage": text }));
    assert_eq!(reply["messageBody"], "Oui");
    let own = rig.share(Inbound::image(FILE).quoting("3EB0")).await;
    let context = &own["message"]["imageMessage"]["contextInfo"];
    assert_eq!(
        (&context["stanzaId"], &context["participant"]),
        (&json!("3EB0"), &json!(CUSTOMER_JID))
    );
}

#[tokio::test]
async fn reactions_edits_and_deletions_are_told() {
    let rig = rig().await;
    let id = rig.session.id;
    rig.send_text("Bonjour").await;
    rig.twin.idle().await;
    let sent = rig.twin.sends()[0].key_id.clone();
    let last = || rig.posts().pop().unwrap().json();

    let answer = rig.twin.customer_reacts(id, &ada(), &sent, "👍").await;
    let reaction = last();
    assert_eq!(reaction["event"], "messages.reaction");
    let target = json!({ "id": sent, "fromMe": true, "remoteJid": CUSTOMER_JID });
    assert_eq!(reaction["data"][0]["key"], target);
    let reaction = &reaction["data"][0]["reaction"];
    assert_eq!(
        (&reaction["text"], &reaction["key"]["id"]),
        (&json!("👍"), &json!(answer.event_id))
    );

    let said = rig.twin.customer_says(id, &ada(), "Bonjuor").await.event_id;
    let own = json!({ "id": said, "fromMe": false, "remoteJid": CUSTOMER_JID });
    for (form, place) in [
        (EditForm::Protocol, "/data/messages/message/protocolMessage"),
        (EditForm::Wrapped, "/data/messages/message/editedMessage/message/protocolMessage"),
    ] {
        rig.twin.customer_edits(id, &ada(), &said, "Bonjour", form).await;
        let edit = last();
        assert_eq!(edit["event"], "messages.upsert");
        let change = edit.pointer(place).unwrap();
        assert_eq!((&change["key"], change["type"].as_u64()), (&own, Some(14)));
        assert_eq!(change["editedMessage"], json!({ "conversation": "Bonjour" }));
    }
    rig.twin.customer_deletes(id, &ada(), &said, DeleteForm::Revoke).await;
    let revoke = json!({ "protocolMessage": { "key": own, "type": 0 } });
    assert_eq!(last()["data"]["messages"]["message"], revoke);
    rig.twin.customer_deletes(id, &ada(), &said, DeleteForm::Event).await;
    let mut deletion = last();
    assert!(deletion["timestamp"].take().is_i64());
    let want = json!({ "event": "messages.delete", "timestamp": null, "data": { "keys": [own] } });
    assert_eq!(deletion, want);
}

#[tokio::test]
async fn votes_in_a_poll_are_told_by_option() {
    let rig = rig().await;
    let poll = json!({ "question": "?", "options": ["a", "b"] });
    rig.send(json!({ "to": CUSTOMER, "poll": poll })).await;
    rig.twin.idle().await;
    let sent = rig.twin.sends()[0].key_id.clone();
    assert!(rig.twin.customer_votes(rig.session.id, &ada(), &sent, &["b"]).await.is_ok());
    let mut told = rig.posts().pop().unwrap().json();
    assert!(told["timestamp"].take().as_i64().unwrap() > 1_000_000_000_000, "milliseconds");
    let want = json!({
        "event": "poll.results",
        "sessionId": rig.session.api_key,
        "timestamp": null,
        "data": {
            "key": { "remoteJid": CUSTOMER_JID, "fromMe": true, "id": sent },
            "pollResult": [
                { "name": "a", "voters": [] },
                { "name": "b", "voters": [CUSTOMER_JID] },
            ],
        },
    });
    assert_eq!(told, want);
    let answer = rig.twin.customer_votes(rig.session.id, &ada(), "3EB0", &["b"]).await;
    assert_eq!(answer.status, 0);
}

#[tokio::test]
async fn what_is_not_subscribed_is_not_told() {
    let rig = rig().await;
    let id = rig.session.id;
    rig.twin.change(id, |it| it.webhook_events = vec!["messages.received".to_owned()]);
    let nothing = HookAnswer::none("not subscribed");
    let edit = rig.twin.customer_edits(id, &ada(), "3EB0", "x", EditForm::Protocol).await;
    let deletion = rig.twin.customer_deletes(id, &ada(), "3EB0", DeleteForm::Event).await;
    assert_eq!((edit, deletion), (nothing.clone(), nothing));
    assert!(rig.twin.customer_reacts(id, &ada(), "3EB0", "👍").await.is_ok());
    let told = rig.posts().pop().unwrap().json();
    let reaction = &told["data"]["messages"]["message"]["reactionMessage"];
    assert_eq!((&reaction["text"], &reaction["key"]["id"]), (&json!("👍"), &json!("3EB0")));
}

#[tokio::test]
async fn the_predecessor_has_few_words() {
    let new = NewSession { dialect: Dialect::Predecessor, ..NewSession::new(VENDOR) };
    let rig = rig_with(new).await;
    let photo = Inbound::image(FILE).caption("Combien ?");
    assert!(rig.twin.customer_shares(rig.session.id, &ada(), &photo).await.is_ok());
    let data = rig.posts()[0].json()["data"].clone();
    assert_eq!((&data["type"], &data["message"]), (&json!("image"), &json!("Combien ?")));
    let answer = rig.twin.customer_reacts(rig.session.id, &ada(), "3EB0", "👍").await;
    assert_eq!((answer.status, rig.posts().len()), (0, 1));
}
