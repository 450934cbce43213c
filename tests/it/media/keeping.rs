//! Whose files are kept, and for how long.

use serde_json::json;
use waba_gateway::{
    domain::clock::{Clock, HOUR, iso},
    journal::MediaState,
    twin::{Customer, FileKind, Inbound, MediaFault, wire},
};

use super::{
    MARK, NOW, file, files_in, given_up, is_kept, kept, path, record,
    sending::{upload, uploaded},
    shares, until,
};
use crate::support::{DEADLINE, Options, spawn_app, spawn_app_with};

#[tokio::test]
async fn a_file_typed_on_the_phone_is_kept_and_one_of_a_group_is_not() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let clear = file(FileKind::Image, 5_000);
    let hosted = app.twin.host_media(FileKind::Image, &clear, None);
    let content = json!({ "imageMessage": {
        "url": hosted.url, "mediaKey": hosted.media_key, "mimetype": "image/jpeg",
        "fileSha256": hosted.file_sha256, "fileEncSha256": hosted.file_enc_sha256,
        "fileLength": hosted.file_length,
    } });
    let jid = "221705550142@s.whatsapp.net";
    let echo = wire::real_echo("3EB0ECHO", jid, "", &content, app.now_secs());
    let answer = app.twin.customer_sends(vendor.session.id, echo).await;
    let id = kept(&answer.body);
    let shown = app.admin.get(&path(&vendor, &id)).await;
    assert_eq!((shown.status, &shown.bytes), (200, &clear), "{}", shown.text);
    let mut group = wire::real_echo("3EB0GROUP", "12345-678@g.us", "", &content, app.now_secs());
    group["data"]["messages"]["key"]["fromMe"] = json!(false);
    group["data"]["messages"]["key"]["participant"] = json!("221705550143@s.whatsapp.net");
    let answer = app.twin.customer_sends(vendor.session.id, group).await;
    assert_eq!(app.admin.get(&path(&vendor, &kept(&answer.body))).await.status, 404);
    assert_eq!(files_in(&app.data_dir().join("media")).len(), 1);
}

#[tokio::test]
async fn a_message_that_comes_twice_has_one_file() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let inbound = Inbound::image(file(FileKind::Image, 5_000)).with_id("3EB0TWICE");
    let one = shares(&app, &vendor, &inbound).await;
    assert_eq!(shares(&app, &vendor, &inbound).await, one);
    until(&app, &vendor, &one, is_kept).await;
    assert_eq!(files_in(&app.data_dir().join("media")).len(), 1);
}

#[tokio::test]
async fn files_are_removed_after_30_days() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let old = shares(&app, &vendor, &Inbound::image(file(FileKind::Image, 5_000))).await;
    until(&app, &vendor, &old, is_kept).await;
    app.clock.advance(29 * 24 * HOUR);
    let young = shares(&app, &vendor, &Inbound::image(file(FileKind::Image, 5_000))).await;
    until(&app, &vendor, &young, is_kept).await;
    assert!(record(&app, &vendor.id, &old).await.is_some());
    app.clock.advance(25 * HOUR);
    let started = std::time::Instant::now();
    while record(&app, &vendor.id, &old).await.is_some() {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(app.admin.get(&path(&vendor, &old)).await.status, 404);
    assert_eq!(app.admin.get(&path(&vendor, &young)).await.status, 200);
    let names: Vec<_> = files_in(&app.data_dir().join("media"));
    assert!(names.len() == 1 && names[0].ends_with(&young), "{names:?}");
}

#[tokio::test]
async fn the_files_of_one_customer_are_erased_and_no_others() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let image = || Inbound::image(file(FileKind::Image, 5_000));
    let (one, two) = (shares(&app, &vendor, &image()).await, shares(&app, &vendor, &image()).await);
    let other = Customer::new("+221705550177");
    let answer = app.twin.customer_shares(vendor.session.id, &other, &image()).await;
    let others = kept(&answer.body);
    for id in [&one, &two, &others] {
        until(&app, &vendor, id, is_kept).await;
    }
    let journey = app.gateway.journey(&vendor.id, one.parse().unwrap()).await.unwrap();
    let contact = journey.row.contact.unwrap();
    assert_eq!(app.gateway.erase_media(contact).await.unwrap(), 2);
    assert_eq!(app.gateway.erase_media(contact).await.unwrap(), 0);
    for id in [&one, &two] {
        assert_eq!(app.admin.get(&path(&vendor, id)).await.status, 404);
    }
    assert_eq!(app.admin.get(&path(&vendor, &others)).await.status, 200);
    assert_eq!(files_in(&app.data_dir().join("media")).len(), 1);
}

#[tokio::test]
async fn a_message_for_later_is_not_taken_when_its_file_will_be_gone() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let id = uploaded(&app, &vendor, "", "image/jpeg", file(FileKind::Image, 5_000)).await;
    let send = async |days: i64| {
        let at = iso(app.clock.now() + days * 24 * HOUR);
        let image = json!({ "mediaId": id });
        let to = "+221705550001";
        let body = json!({ "to": to, "type": "image", "image": image, "sendAt": at });
        app.admin.post(&format!("/api/v1/vendors/{}/messages", vendor.id), body).await
    };
    assert_eq!(send(29).await.status, 202);
    app.clock.advance(2 * 24 * HOUR);
    let refused = send(29).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("image.mediaId: the file is kept until"), "{}", refused.text);
    assert_eq!(send(27).await.status, 202);
}

#[tokio::test]
async fn a_file_sent_to_one_customer_alone_is_erased_with_them() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let image = || file(FileKind::Image, 5_000);
    let own = uploaded(&app, &vendor, "", "image/jpeg", image()).await;
    let shared = uploaded(&app, &vendor, "", "image/jpeg", image()).await;
    let unsent = uploaded(&app, &vendor, "", "image/jpeg", image()).await;
    let send = async |to: &str, id: &str| {
        let body = json!({ "to": to, "type": "image", "image": { "mediaId": id } });
        let to = format!("/api/v1/vendors/{}/messages", vendor.id);
        let answer = app.admin.post(&to, body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json()["messageId"].as_str().unwrap().to_owned()
    };
    let (one, two) = ("+221705550001", "+221705550002");
    let message = send(one, &own).await;
    send(one, &own).await;
    send(one, &shared).await;
    send(two, &shared).await;
    app.twin.wait_sends(4, DEADLINE).await;
    let journey = app.gateway.journey(&vendor.id, message.parse().unwrap()).await.unwrap();
    let contact = journey.row.contact.unwrap();
    assert_eq!(app.gateway.erase_media(contact).await.unwrap(), 1);
    for (id, status) in [(own, 404), (shared, 200), (unsent, 200)] {
        assert_eq!(app.admin.get(&path(&vendor, &id)).await.status, status);
    }
}

#[tokio::test]
async fn a_file_that_was_lost_or_changed_on_disk_is_told_so() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    for (word, harm) in [
        (
            "damaged",
            (|it| {
                let mut bytes = std::fs::read(it).unwrap();
                bytes[MARK.len()] ^= 1;
                std::fs::write(it, bytes).unwrap();
            }) as fn(&std::path::Path),
        ),
        ("lost", |it| std::fs::remove_file(it).unwrap()),
    ] {
        let id = shares(&app, &vendor, &Inbound::image(file(FileKind::Image, 5_000))).await;
        until(&app, &vendor, &id, is_kept).await;
        let files = files_in(&app.data_dir().join("media"));
        harm(files.iter().find(|it| it.ends_with(&id)).unwrap());
        for _ in 0..2 {
            let answer = app.admin.get(&path(&vendor, &id)).await;
            assert_eq!(super::given_up(&answer), (410, word.to_owned()), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_file_whose_message_cannot_be_opened_is_given_up_and_keeps_no_other_from_being_fetched() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let (one, two) = (app.vendor(1).await, app.vendor(2).await);
    let cut = || Inbound::image(file(FileKind::Image, 5_000)).with_fault(MediaFault::Cut);
    let shut = shares(&app, &one, &cut()).await;
    let open = shares(&app, &two, &cut()).await;
    let is_tried = |it: &MediaState| matches!(it, MediaState::ToFetch { n_tries: 1, .. });
    until(&app, &one, &shut, is_tried).await;
    until(&app, &two, &open, is_tried).await;
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let sql = "UPDATE entries SET body = x'00' WHERE id = (SELECT entry FROM media WHERE id = ?1)";
    assert_eq!(db.execute(sql, [&shut]).unwrap(), 1);
    for hosted in app.twin.hosted_media() {
        app.twin.spoil_media(&hosted.url, None);
    }
    app.clock.advance(HOUR);
    until(&app, &two, &open, is_kept).await;
    until(&app, &one, &shut, |it| matches!(it, MediaState::GivenUp(_))).await;
    let answer = app.admin.get(&path(&one, &shut)).await;
    assert_eq!(given_up(&answer), (410, "unreadable".to_owned()));
}

#[tokio::test]
async fn files_stop_before_they_could_stop_intake() {
    let free = rustix::fs::statvfs("/tmp").unwrap();
    let free = free.f_bavail * free.f_frsize;
    let variables = vec![("MIN_FREE_DISK", (free / 4 * 3).to_string())];
    let app = spawn_app_with(Options { variables, ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let id = shares(&app, &vendor, &Inbound::image(file(FileKind::Image, 5_000))).await;
    let is_tried = |it: &MediaState| matches!(it, MediaState::ToFetch { n_tries: 1, .. });
    until(&app, &vendor, &id, is_tried).await;
    let answer = upload(&app, &vendor, "", "image/jpeg", file(FileKind::Image, 5_000)).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.text.contains("the disk is nearly full"), "{}", answer.text);
    assert!(files_in(&app.data_dir().join("media")).is_empty());
}

#[tokio::test]
async fn a_start_removes_files_that_nothing_is_known_of() {
    let mut app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let id = shares(&app, &vendor, &Inbound::image(file(FileKind::Image, 5_000))).await;
    until(&app, &vendor, &id, is_kept).await;
    let known = files_in(&app.data_dir().join("media")).remove(0);
    let stranger = app.data_dir().join("media/00/med_00000000000000000000000000000001");
    std::fs::create_dir_all(stranger.parent().unwrap()).unwrap();
    std::fs::copy(&known, &stranger).unwrap();
    // File systems tell times in steps; these must be before the start.
    for path in [&known, &stranger] {
        let before = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(before).unwrap();
    }
    app.restart().await;
    let started = std::time::Instant::now();
    while stranger.exists() {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(app.admin.get(&path(&vendor, &id)).await.status, 200);
}
