//! Vendors' files are kept encrypted and handed to the provider before their message is sent.

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR, MINUTE},
        media::MediaId,
    },
    twin::{FileKind, Inbound, Misbehaviour, Times},
};

use super::{NOW, file, files_in, is_kept, nothing_in_clear, path, shares, until};
use crate::{
    delivery::status_is,
    support::{Answer, DEADLINE, Options, TestApp, TestVendor, spawn_app, spawn_app_with},
};

const TO: &str = "+221705550001";

/// Uploads a file as this type; `query` begins with `?` where there is one.
pub async fn upload(
    app: &TestApp,
    vendor: &TestVendor,
    query: &str,
    mime_type: &str,
    bytes: Vec<u8>,
) -> Answer {
    let url = format!("{}/api/v1/vendors/{}/media{query}", app.base, vendor.id);
    let bearer = app.admin.bearer();
    let mut headers = vec![("authorization", bearer.as_str())];
    if !mime_type.is_empty() {
        headers.push(("content-type", mime_type));
    }
    app.admin.raw("POST", &url, &headers, bytes).await
}

/// The id of a file that was taken.
pub async fn uploaded(
    app: &TestApp,
    vendor: &TestVendor,
    query: &str,
    mime_type: &str,
    bytes: Vec<u8>,
) -> String {
    let answer = upload(app, vendor, query, mime_type, bytes).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["mediaId"].as_str().unwrap().to_owned()
}

async fn send(app: &TestApp, vendor: &TestVendor, kind: &str, media: Value) -> Answer {
    let body = json!({ "to": TO, "type": kind, kind: media });
    app.admin.post(&format!("/api/v1/vendors/{}/messages", vendor.id), body).await
}

async fn sent(app: &TestApp, vendor: &TestVendor, kind: &str, media: Value) -> String {
    let answer = send(app, vendor, kind, media).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["messageId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_file_of_each_kind_is_uploaded_and_sent_from_where_the_provider_has_it() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let kinds = [
        (FileKind::Image, "image", "", "image/jpeg", "imageUrl"),
        (FileKind::Video, "video", "", "video/mp4", "videoUrl"),
        (FileKind::Audio, "audio", "", "audio/ogg; codecs=opus", "audioUrl"),
        (
            FileKind::Document,
            "document",
            "?fileName=re%C3%A7u.pdf",
            "application/pdf",
            "documentUrl",
        ),
        (FileKind::Sticker, "sticker", "?kind=sticker", "image/webp", "stickerUrl"),
    ];
    for (n, (kind, word, query, mime_type, field)) in kinds.into_iter().enumerate() {
        let clear = file(kind, 60_000 + n);
        let answer = upload(&app, &vendor, query, mime_type, clear.clone()).await;
        let view = answer.json();
        let id = view["mediaId"].as_str().unwrap().to_owned();
        let want = json!({
            "mediaId": id, "kind": word, "mimeType": mime_type, "bytes": clear.len(),
        });
        assert_eq!((answer.status, view), (201, want));
        sent(&app, &vendor, word, json!({ "mediaId": id })).await;
        let sends = app.twin.wait_sends(n + 1, DEADLINE).await;
        let body = sends[n].json();
        let there = app.twin.uploaded(body[field].as_str().unwrap()).unwrap();
        assert_eq!((there.bytes.as_ref(), there.mime_type.as_str()), (&clear[..], mime_type));
        if kind == FileKind::Document {
            assert_eq!(body["fileName"], "reçu.pdf");
        }
        let shown = app.admin.get(&path(&vendor, &id)).await;
        assert_eq!((shown.status, shown.bytes), (200, clear));
    }
    nothing_in_clear(&app);
}

#[tokio::test]
async fn a_customers_own_file_can_be_sent_on() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let clear = file(FileKind::Image, 9_000);
    let id = shares(&app, &vendor, &Inbound::image(clear.clone())).await;
    until(&app, &vendor, &id, is_kept).await;
    let answer = send(&app, &vendor, "image", json!({ "mediaId": id, "caption": "celui-ci ?" }));
    assert_eq!(answer.await.status, 202);
    let started = std::time::Instant::now();
    while app.twin.uploads().is_empty() {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(app.twin.uploads()[0].bytes, clear);
}

#[tokio::test]
async fn a_file_is_handed_over_once_for_many_sends_and_again_when_it_has_expired_there() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    app.clock.advance(MINUTE);
    let id = uploaded(&app, &vendor, "", "image/jpeg", file(FileKind::Image, 5_000)).await;
    for n in 1..=3 {
        sent(&app, &vendor, "image", json!({ "mediaId": id })).await;
        app.twin.wait_sends(n, DEADLINE).await;
    }
    assert_eq!(app.twin.uploads().len(), 1);
    app.clock.advance(20 * HOUR + MINUTE);
    sent(&app, &vendor, "image", json!({ "mediaId": id })).await;
    app.twin.wait_sends(4, DEADLINE).await;
    assert_eq!(app.twin.uploads().len(), 2);
    // Another number is another session, which has its own files.
    let other = app.number(&vendor.id, "+221770009999", 7_777).await;
    let body = json!({
        "to": TO, "type": "image", "wabaId": format!("waba_{}_2", vendor.id),
        "image": { "mediaId": id },
    });
    let answer = app.admin.post(&format!("/api/v1/vendors/{}/messages", vendor.id), body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    app.clock.advance(MINUTE);
    app.twin.wait_sends(5, DEADLINE).await;
    assert_eq!(app.twin.uploads().last().unwrap().session, other.session.id);
}

#[tokio::test]
async fn while_the_file_cannot_be_handed_over_nothing_is_sent() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let file_id = uploaded(&app, &vendor, "", "image/jpeg", file(FileKind::Image, 5_000)).await;
    app.twin.misbehave(vendor.session.id, Misbehaviour::DeedFails(500), Times::Next(2));
    let id = sent(&app, &vendor, "image", json!({ "mediaId": file_id })).await;
    app.twin.wait_sends(1, DEADLINE).await;
    status_is(&app, &vendor, &id, "read").await;
    let tries = app.twin.requests().iter().filter(|it| it.path.ends_with("/upload")).count();
    assert_eq!((tries, app.twin.n_sends()), (3, 1));
    // What Wasender will never take is given up.
    app.twin.misbehave(vendor.session.id, Misbehaviour::DeedFails(422), Times::Always);
    let file_id = uploaded(&app, &vendor, "", "image/jpeg", file(FileKind::Image, 6_000)).await;
    let id = sent(&app, &vendor, "image", json!({ "mediaId": file_id })).await;
    status_is(&app, &vendor, &id, "dead").await;
    assert_eq!(app.twin.n_sends(), 1);
}

#[tokio::test]
async fn a_message_whose_file_was_erased_meanwhile_is_given_up() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let file_id = uploaded(&app, &vendor, "", "image/jpeg", file(FileKind::Image, 5_000)).await;
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    let id = sent(&app, &vendor, "image", json!({ "mediaId": file_id })).await;
    let gone = vec![MediaId::parse(&file_id).unwrap()];
    app.gateway.journal().forget_media(gone).await.unwrap();
    app.gateway.pause(Some(&vendor.id), false).await.unwrap();
    status_is(&app, &vendor, &id, "dead").await;
    assert_eq!((app.twin.n_sends(), app.twin.uploads().len()), (0, 0));
}

#[tokio::test]
async fn a_file_that_is_not_what_it_says_is_refused_and_not_kept() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let image = file(FileKind::Image, 200);
    let wrong = [
        ("", "", image.clone(), 415, "Content-Type"),
        ("", "nonsense", image.clone(), 415, "Content-Type"),
        ("", "multipart/form-data; boundary=x", image.clone(), 415, "the body is the file"),
        ("", "application/x-www-form-urlencoded", image.clone(), 415, "the body is the file"),
        ("?kind=image", "image/gif", b"GIF89a".to_vec(), 415, "image/jpeg, image/png"),
        ("?kind=sticker", "image/png", image.clone(), 415, "image/webp"),
        ("?kind=photo", "image/png", image.clone(), 422, "kind is one of"),
        ("?name=a", "image/jpeg", image.clone(), 400, "query"),
        ("", "image/png", image.clone(), 422, "does not begin as image/png does"),
        ("", "video/mp4", image.clone(), 422, "does not begin"),
        ("", "application/pdf", image.clone(), 422, "does not begin"),
        ("", "image/jpeg", Vec::new(), 422, "empty"),
        ("?kind=sticker", "image/webp", file(FileKind::Sticker, 100 * 1024 + 1), 413, "100 KB"),
        ("", "image/jpeg", file(FileKind::Image, 5 * 1024 * 1024 + 1), 413, "5 MB"),
        ("?fileName=a%0Ab", "image/jpeg", image.clone(), 422, "fileName"),
    ];
    for (query, mime_type, bytes, status, word) in wrong {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let answer = upload(&app, &vendor, query, mime_type, bytes).await;
        assert_eq!(answer.status, status, "{query} {mime_type}: {}", answer.text);
        assert!(answer.text.contains(word), "{query} {mime_type}: {}", answer.text);
    }
    assert!(files_in(&app.data_dir().join("media")).is_empty());
    assert_eq!(
        upload(&app, &vendor, "?kind=sticker", "image/webp", file(FileKind::Sticker, 100 * 1024))
            .await
            .status,
        201
    );
    let nobody = format!("{}/api/v1/vendors/vendor_999/media", app.base);
    let bearer = app.admin.bearer();
    let headers = [("authorization", bearer.as_str()), ("content-type", "image/jpeg")];
    assert_eq!(app.admin.raw("POST", &nobody, &headers, image).await.status, 404);
}

#[tokio::test]
async fn a_message_names_a_file_of_its_vendor_that_fits() {
    let app = spawn_app().await;
    let (one, two) = (app.vendor(1).await, app.vendor(2).await);
    let others = uploaded(&app, &two, "", "image/jpeg", file(FileKind::Image, 500)).await;
    let pdf = uploaded(&app, &one, "", "application/pdf", file(FileKind::Document, 500)).await;
    let large = file(FileKind::Image, 5 * 1024 * 1024 + 1);
    let large = uploaded(&app, &one, "?kind=document", "image/jpeg", large).await;
    let wrong = [
        ("image", others.as_str(), "there is no such file"),
        ("image", "med_00000000000000000000000000000001", "there is no such file"),
        ("image", "msg_0000000000000001", "there is no such file"),
        ("image", pdf.as_str(), "application/pdf cannot be sent as image"),
        ("sticker", pdf.as_str(), "application/pdf cannot be sent as sticker"),
        ("image", large.as_str(), "at most 5 MB"),
    ];
    for (kind, id, word) in wrong {
        let answer = send(&app, &one, kind, json!({ "mediaId": id })).await;
        assert_eq!(answer.status, 422, "{kind} {id}: {}", answer.text);
        assert!(answer.text.contains(word), "{kind} {id}: {}", answer.text);
        assert!(answer.text.contains(&format!("{kind}.mediaId")), "{}", answer.text);
    }
    sent(&app, &one, "document", json!({ "mediaId": large })).await;
    app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(app.messages(&one).await.len(), 1);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let address = app.base.strip_prefix("http://").unwrap();
    let head = format!(
        "POST /api/v1/vendors/{}/media HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-type: image/jpeg\r\ncontent-length: 100000\r\n\r\n",
        vendor.id,
        app.admin.bearer(),
    );
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut bytes = head.into_bytes();
    bytes.extend(file(FileKind::Image, 50_000));
    tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await.unwrap();
    let beside = app.data_dir().join("media/beside");
    let started = std::time::Instant::now();
    while files_in(&beside).is_empty() {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    drop(stream);
    while !files_in(&beside).is_empty() {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(files_in(&app.data_dir().join("media")).is_empty());
}

#[tokio::test]
async fn one_vendor_cannot_fill_the_disk_of_all() {
    let app = spawn_app().await;
    let (one, two) = (app.vendor(1).await, app.vendor(2).await);
    let database = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    let sql = "INSERT INTO media (id, vendor, state, due, n_bytes, made_at) VALUES (?1, ?2, 1, 0, ?3, ?4)";
    let full = 4_i64 * 1024 * 1024 * 1024;
    database
        .execute(sql, (format!("med_{:032x}", 1), one.id.as_str(), full, app.clock.now()))
        .unwrap();
    let picture = || file(FileKind::Image, 1_000);
    let answer = upload(&app, &one, "", "image/jpeg", picture()).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert_eq!(upload(&app, &two, "", "image/jpeg", picture()).await.status, 201);
    let id = shares(&app, &one, &Inbound::image(picture())).await;
    let answer = app.admin.get(&path(&one, &id)).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (410, &json!("quota")));
}
