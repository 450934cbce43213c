//! Customers' files are fetched, proven, kept encrypted and shown to their vendor alone.

mod keeping;
pub mod sending;

use std::{path::Path, time::Duration};

use serde_json::json;
use waba_gateway::{
    domain::{
        clock::{Clock, MINUTE, SECOND},
        id::VendorId,
        media::MediaId,
    },
    journal::{MediaState, StoredMedia},
    twin::{Customer, FileKind, Inbound, MediaFault},
};

use crate::support::{
    Answer, Client, DEADLINE, Options, TestApp, TestVendor, spawn_app, spawn_app_with,
};

const NOW: i64 = 1_760_000_000_000;
/// In every file of these tests, and nowhere on disk.
const MARK: &[u8] = b"CLEARTEXTmarker-CLEARTEXTmarker-";

/// A file that begins as its kind does and has the mark in it several times.
pub fn file(kind: FileKind, n_bytes: usize) -> Vec<u8> {
    let head: &[u8] = match kind {
        FileKind::Image => b"\xff\xd8\xff\xe0",
        FileKind::Video => b"\0\0\0\x18ftypmp42",
        FileKind::Audio => b"OggS\0\x02",
        FileKind::Document => b"%PDF-1.7\n",
        FileKind::Sticker => b"RIFF\x10\0\0\0WEBPVP8 ",
    };
    head.iter().chain(MARK.iter().cycle()).copied().take(n_bytes).collect()
}

fn customer() -> Customer {
    Customer::new("+221705550199")
}

/// A customer sends this; the id of their message, which is that of its file.
async fn shares(app: &TestApp, vendor: &TestVendor, inbound: &Inbound) -> String {
    let answer = app.twin.customer_shares(vendor.session.id, &customer(), inbound).await;
    kept(&answer.body)
}

fn kept(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["processId"].as_str().unwrap().to_owned()
}

fn path(vendor: &TestVendor, id: &str) -> String {
    format!("/api/v1/vendors/{}/media/{id}", vendor.id)
}

async fn record(app: &TestApp, vendor: &VendorId, id: &str) -> Option<StoredMedia> {
    app.gateway.journal().media(vendor, &MediaId::parse(id).unwrap()).await.unwrap()
}

/// Waits until the record of a file is as `is` says.
async fn until(app: &TestApp, vendor: &TestVendor, id: &str, is: impl Fn(&MediaState) -> bool) {
    let started = std::time::Instant::now();
    loop {
        let state = record(app, &vendor.id, id).await.unwrap().state;
        if is(&state) {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "in the end it was {state:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_kept(state: &MediaState) -> bool {
    matches!(state, MediaState::Kept { .. })
}

/// Waits until this many files were asked for.
async fn fetches(app: &TestApp, n: usize) {
    let started = std::time::Instant::now();
    let seen = || app.twin.requests().iter().filter(|it| it.path.starts_with("/mmg/")).count();
    while seen() < n {
        assert!(started.elapsed() < DEADLINE, "{} of {n} files were asked for", seen());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn given_up(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["reason"].as_str().unwrap_or_default().to_owned())
}

/// Every file below this directory.
pub fn files_in(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_in(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Nothing of these tests' files is on disk in clear.
pub fn nothing_in_clear(app: &TestApp) {
    let files = files_in(&app.data_dir());
    assert!(files.len() > 2);
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let has = bytes.windows(MARK.len()).any(|it| it == MARK);
        assert!(!has, "{} holds a file in clear", path.display());
    }
}

#[tokio::test]
async fn a_file_of_each_kind_comes_in_and_is_shown_to_its_vendor() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let kinds = [
        (FileKind::Image, "image/jpeg", ".jpg"),
        (FileKind::Video, "video/mp4", ".mp4"),
        (FileKind::Audio, "audio/ogg", ".ogg"),
        (FileKind::Document, "application/pdf", "facture n° 7.pdf"),
        (FileKind::Sticker, "image/webp", ".webp"),
    ];
    for (n, (kind, mime_type, name)) in kinds.into_iter().enumerate() {
        let clear = file(kind, 200_000 + n);
        let inbound = match kind {
            FileKind::Document => Inbound::document(clear.clone(), name),
            _ => Inbound::file(kind, clear.clone()),
        };
        let id = shares(&app, &vendor, &inbound).await;
        let answer = app.admin.get(&path(&vendor, &id)).await;
        assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text);
        assert_eq!(answer.bytes, clear, "{kind:?}");
        let header = |name: &str| answer.headers[name].to_str().unwrap();
        assert_eq!(header("content-type"), mime_type);
        assert_eq!(header("content-length"), clear.len().to_string());
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "private, no-store");
        assert!(header("content-security-policy").contains("sandbox"));
        let disposition = header("content-disposition");
        assert!(disposition.starts_with("attachment; "), "{disposition}");
        let encoded = name.replace(' ', "%20").replace('°', "%C2%B0");
        assert!(disposition.ends_with(&encoded), "{disposition}");
        let head = app.admin.call("HEAD", &path(&vendor, &id), None, &[]).await;
        assert_eq!((head.status, head.bytes.len()), (200, 0));
        assert_eq!(head.headers["content-length"], answer.headers["content-length"]);
    }
    nothing_in_clear(&app);
}

#[tokio::test]
async fn the_messages_view_names_the_file_and_not_its_key_or_address() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let inbound = Inbound::image(file(FileKind::Image, 5_000)).caption("combien ?");
    let id = shares(&app, &vendor, &inbound).await;
    let messages = format!("/api/v1/vendors/{}/messages/{id}", vendor.id);
    let answer = app.admin.get(&messages).await;
    assert_eq!(answer.json()["media"]["id"], id.as_str(), "{}", answer.text);
    let hosted = &app.twin.hosted_media()[0];
    assert!(!answer.text.contains(&hosted.url) && !answer.text.contains(&hosted.media_key));
}

#[tokio::test]
async fn of_a_file_that_is_not_what_its_sender_made_no_byte_is_shown() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let faults = [
        (MediaFault::BadMac, "bad_mac"),
        (MediaFault::Truncated, "truncated"),
        (MediaFault::Gone(404), "gone"),
        (MediaFault::Gone(410), "gone"),
        (MediaFault::Gone(403), "gone"),
        (MediaFault::WrongSha256, "bad_hash"),
        (MediaFault::LargerThanAnnounced, "too_large"),
    ];
    for (fault, word) in faults {
        let inbound = Inbound::image(file(FileKind::Image, 30_000)).with_fault(fault.clone());
        let id = shares(&app, &vendor, &inbound).await;
        let answer = app.admin.get(&path(&vendor, &id)).await;
        assert_eq!(given_up(&answer), (410, word.to_owned()), "{fault:?}: {}", answer.text);
        assert!(answer.bytes.len() < 200);
    }
    let left = files_in(&app.data_dir().join("media"));
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_file_that_announces_more_than_its_kind_may_have_is_not_fetched() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let hosted = app.twin.host_media(FileKind::Image, &file(FileKind::Image, 10), None);
    for (field, value, word) in [
        ("fileLength", json!("16777217"), "too_large"),
        ("mediaKey", json!("AAAA"), "bad_key"),
        ("url", json!("ftp://mmg.whatsapp.net/a"), "bad_url"),
        ("url", json!("http://mmg.whatsapp.net/a"), "bad_url"),
        ("url", json!("https://8.8.8.8/a"), "bad_url"),
        ("url", json!("http://169.254.169.254/a"), "bad_url"),
    ] {
        let mut image = json!({
            "url": hosted.url, "mediaKey": hosted.media_key, "mimetype": "image/jpeg",
            "fileSha256": hosted.file_sha256, "fileEncSha256": hosted.file_enc_sha256,
            "fileLength": "10",
        });
        image[field] = value;
        let id = shares(&app, &vendor, &Inbound::raw(json!({ "imageMessage": image }))).await;
        let answer = app.admin.get(&path(&vendor, &id)).await;
        assert_eq!(given_up(&answer), (410, word.to_owned()), "{field}: {}", answer.text);
    }
    assert!(app.twin.requests().iter().all(|it| !it.path.starts_with("/mmg/")));
}

#[tokio::test]
async fn what_is_allowed_to_vendors_is_not_allowed_to_their_customers() {
    let refused = Options {
        variables: vec![("ALLOW_PRIVATE_TARGETS", "false".to_owned())],
        ..Options::default()
    };
    let app = spawn_app_with(refused).await;
    let vendor = app.vendor(1).await;
    let id = shares(&app, &vendor, &Inbound::image(file(FileKind::Image, 100))).await;
    let answer = app.admin.get(&path(&vendor, &id)).await;
    assert_eq!(given_up(&answer), (410, "bad_url".to_owned()), "{}", answer.text);
    assert!(app.twin.requests().iter().all(|it| !it.path.starts_with("/mmg/")));
    let allowed = Options {
        variables: vec![
            ("ALLOW_PRIVATE_TARGETS", "false".to_owned()),
            ("ALLOW_TARGETS", "127.0.0.0/8".to_owned()),
        ],
        ..Options::default()
    };
    let app = spawn_app_with(allowed).await;
    let vendor = app.vendor(1).await;
    let id = shares(&app, &vendor, &Inbound::image(file(FileKind::Image, 100))).await;
    let answer = app.admin.get(&path(&vendor, &id)).await;
    assert_eq!(given_up(&answer), (410, "bad_url".to_owned()), "{}", answer.text);
    assert!(app.twin.requests().iter().all(|it| !it.path.starts_with("/mmg/")));
}

#[tokio::test]
async fn only_its_vendor_may_see_a_file() {
    let app = spawn_app().await;
    let (one, two) = (app.vendor(1).await, app.vendor(2).await);
    let id = shares(&app, &one, &Inbound::image(file(FileKind::Image, 1_000))).await;
    let key = async |vendor: &TestVendor, read_only: bool| {
        let body = json!({ "name": "k", "vendorId": vendor.id.to_string(), "readOnly": read_only });
        let made = app.admin.post("/api/admin/keys", body).await.json();
        app.admin.with_key(made["key"].as_str().unwrap())
    };
    let own: Client = key(&one, true).await;
    let other = key(&two, false).await;
    assert_eq!(own.get(&path(&one, &id)).await.status, 200);
    assert_eq!(other.get(&path(&one, &id)).await.status, 403);
    assert_eq!(other.get(&path(&two, &id)).await.status, 404);
    assert_eq!(app.admin.get(&path(&two, &id)).await.status, 404);
    assert_eq!(app.admin.with_key("nobody").get(&path(&one, &id)).await.status, 401);
    for unknown in ["msg_0000000000000001", "med_00000000000000000000000000000001", "..", "waba.db"]
    {
        assert_eq!(app.admin.get(&path(&one, unknown)).await.status, 404, "{unknown}");
    }
    let upload = format!("/api/v1/vendors/{}/media", one.id);
    assert_eq!(own.post(&upload, json!({})).await.status, 403);
    assert_eq!(other.post(&upload, json!({})).await.status, 403);
}

#[tokio::test]
async fn a_file_that_breaks_off_is_fetched_again_later() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let clear = file(FileKind::Video, 100_000);
    let inbound = Inbound::video(clear.clone()).with_fault(MediaFault::Cut);
    let id = shares(&app, &vendor, &inbound).await;
    let is_tried = |n: u32| move |it: &MediaState| matches!(it, MediaState::ToFetch { n_tries, .. } if *n_tries == n);
    until(&app, &vendor, &id, is_tried(1)).await;
    app.clock.advance(4 * SECOND);
    tokio::time::sleep(Duration::from_millis(50)).await;
    until(&app, &vendor, &id, is_tried(1)).await;
    app.clock.advance(2 * SECOND);
    until(&app, &vendor, &id, is_tried(2)).await;
    app.twin.spoil_media(&app.twin.hosted_media()[0].url, Some(MediaFault::Gone(503)));
    app.clock.advance(MINUTE);
    until(&app, &vendor, &id, is_tried(3)).await;
    app.twin.spoil_media(&app.twin.hosted_media()[0].url, None);
    app.clock.advance(MINUTE);
    until(&app, &vendor, &id, is_kept).await;
    assert_eq!(app.admin.get(&path(&vendor, &id)).await.bytes, clear);
}

#[tokio::test]
async fn a_file_that_cannot_be_reached_for_hours_is_given_up() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let inbound = Inbound::audio(file(FileKind::Audio, 100)).with_fault(MediaFault::Gone(500));
    let id = shares(&app, &vendor, &inbound).await;
    for n in 1..40 {
        let is_past = |it: &MediaState| match it {
            MediaState::ToFetch { n_tries, .. } => *n_tries >= n,
            state => matches!(state, MediaState::GivenUp(word) if word == "unreachable"),
        };
        until(&app, &vendor, &id, is_past).await;
        app.clock.advance(61 * MINUTE);
        if n == 1 {
            // Asked for while it waits, it is tried once more, and then the caller is told to wait.
            let answer = app.admin.get(&path(&vendor, &id)).await;
            assert_eq!(
                (answer.status, &answer.headers["retry-after"]),
                (503, &"5".parse().unwrap())
            );
        }
        if record(&app, &vendor.id, &id).await.unwrap().state
            == MediaState::GivenUp("unreachable".to_owned())
        {
            let hours = (app.clock.now() - NOW) / MINUTE / 60;
            assert!((6..=9).contains(&hours), "{hours}");
            return;
        }
    }
    panic!("it was never given up");
}

#[tokio::test]
async fn a_file_that_hangs_is_503_and_keeps_nobody_else_waiting() {
    let app = spawn_app().await;
    let (one, two) = (app.vendor(1).await, app.vendor(2).await);
    let mut hanging = Vec::new();
    for _ in 0..4 {
        let inbound = Inbound::image(file(FileKind::Image, 50_000)).with_fault(MediaFault::Hang);
        hanging.push(shares(&app, &one, &inbound).await);
    }
    fetches(&app, 2).await;
    let id = shares(&app, &two, &Inbound::image(file(FileKind::Image, 50_000))).await;
    let (first, other) = (path(&one, &hanging[0]), path(&two, &id));
    let (slow, quick) = tokio::join!(app.admin.get(&first), app.admin.get(&other));
    assert_eq!((slow.status, slow.headers.contains_key("retry-after")), (503, true));
    // One that waited behind them would be 503 as well.
    assert_eq!(quick.status, 200);
    for hosted in app.twin.hosted_media() {
        app.twin.spoil_media(&hosted.url, None);
    }
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_file_fetches_it_again() {
    let mut app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let clear = file(FileKind::Document, 300_000);
    let inbound = Inbound::document(clear.clone(), "a.pdf").with_fault(MediaFault::Hang);
    let id = shares(&app, &vendor, &inbound).await;
    fetches(&app, 1).await;
    let started = std::time::Instant::now();
    while files_in(&app.data_dir().join("media/beside")).is_empty() {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    app.twin.spoil_media(&app.twin.hosted_media()[0].url, None);
    app.restart().await;
    until(&app, &vendor, &id, is_kept).await;
    assert_eq!(app.admin.get(&path(&vendor, &id)).await.bytes, clear);
    app.restart().await;
    assert_eq!(app.admin.get(&path(&vendor, &id)).await.bytes, clear);
    assert!(files_in(&app.data_dir().join("media/beside")).is_empty());
    nothing_in_clear(&app);
}

#[tokio::test]
async fn many_files_at_once_all_come_in() {
    let app = spawn_app().await;
    let vendors = [app.vendor(1).await, app.vendor(2).await, app.vendor(3).await];
    let mut ids = Vec::new();
    for n in 0..24 {
        let vendor = &vendors[n % 3];
        let slow = MediaFault::Slow(Duration::from_millis(30));
        let inbound = Inbound::image(file(FileKind::Image, 20_000 + n)).with_fault(slow);
        ids.push((n, vendor, shares(&app, vendor, &inbound).await));
    }
    for (n, vendor, id) in ids {
        let is = |it: &MediaState| *it == MediaState::Kept { n_bytes: 20_000 + n as u64 };
        until(&app, vendor, &id, is).await;
    }
    // Fetched once each.
    let seen = app.twin.requests().iter().filter(|it| it.path.starts_with("/mmg/")).count();
    assert_eq!(seen, 24);
}
