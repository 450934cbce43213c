//! Jobs that are not taken, or wait for a person.

use waba_gateway::{
    domain::{bulk::RECIPIENTS_MAX, message::Content},
    gateway::{AdminError, NewBulk, SendError},
};

use super::*;
use crate::media::{file, sending::uploaded};

fn new() -> NewBulk {
    let content = Content::text("bonjour");
    NewBulk { content, instance: None, per_minute: None, idempotency_key: None }
}

#[tokio::test]
async fn one_vendor_hands_in_two_jobs_at_once_and_another_its_own() {
    let app = spawn_app().await;
    let (vendor, other) = (app.vendor(1).await, app.vendor(2).await);
    let one = app.gateway.open_bulk(&vendor.id, new()).await.unwrap();
    let _two = app.gateway.open_bulk(&vendor.id, new()).await.unwrap();
    let three = app.gateway.open_bulk(&vendor.id, new()).await;
    assert!(matches!(three, Err(SendError::Overloaded)));
    assert!(app.gateway.open_bulk(&other.id, new()).await.is_ok());
    drop(one);
    assert!(app.gateway.open_bulk(&vendor.id, new()).await.is_ok());
}

#[tokio::test]
async fn more_jobs_than_a_vendor_may_have_are_refused_until_one_has_ended() {
    let (app, vendor) = still().await;
    let body = lines(1, Some(1));
    let first = taken(&app, &vendor, &body).await;
    for _ in 1..20 {
        taken(&app, &vendor, &body).await;
    }
    let answer = post(&app, &vendor, LINES, "", &body).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(answer.text.contains("20 jobs that have not ended"), "{}", answer.text);
    let cancelled = app.admin.post(&format!("{}/{first}/cancel", path(&vendor)), json!({})).await;
    assert_eq!(cancelled.status, 200);
    taken(&app, &vendor, &body).await;
    let opened = app.gateway.open_bulk(&vendor.id, new()).await;
    assert!(matches!(opened, Err(SendError::Admin(AdminError::Conflict(_)))));
}

#[tokio::test]
async fn a_recipient_whose_own_file_is_gone_stops_nobody_behind_them() {
    let (app, vendor) = still().await;
    let clear = file(waba_gateway::twin::FileKind::Image, 1_000);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(uploaded(&app, &vendor, "", "image/jpeg", clear.clone()).await);
    }
    let message = json!({ "type": "image", "image": { "mediaId": "{{file}}" } });
    let mut body = json!({ "message": message, "perMinute": 60 }).to_string();
    for (n, id) in ids.iter().enumerate() {
        let line = json!({ "to": format!("+22170555000{n}"), "file": id });
        write!(body, "\n{line}").unwrap();
    }
    let job = taken(&app, &vendor, &body).await;
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.execute("DELETE FROM media WHERE id = ?1", [&ids[1]]).unwrap();
    let done = until(&app, &vendor, &job, |it| it["state"] == "done" && it["away"] == 0).await;
    assert_eq!((&done["sent"], &done["parked"]), (&json!(2), &json!(1)), "{done:#}");
}

#[tokio::test]
async fn a_number_whose_jobs_wait_is_deleted_only_by_force() {
    let (app, vendor) = still().await;
    let job = taken(&app, &vendor, &lines(60, Some(1))).await;
    let pause = app.admin.post(&format!("{}/{job}/pause", path(&vendor)), json!({})).await;
    assert_eq!(pause.status, 200);
    until(&app, &vendor, &job, |it| it["away"] == 0).await;
    let number = format!("/api/admin/vendors/{0}/waba/waba_{0}", vendor.id);
    let refused = app.admin.call("DELETE", &number, None, &[]).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("bulk job"), "{}", refused.text);
    let forced = app.admin.call("DELETE", &format!("{number}?force=true"), None, &[]).await;
    assert_eq!(forced.status, 200, "{}", forced.text);
}

/// Jobs with a pace of their own begin after a second: there is time to spoil them.
#[tokio::test]
async fn a_job_that_cannot_go_on_waits_for_a_person_and_stops_no_other() {
    let (app, vendor) = still().await;
    let clear = file(waba_gateway::twin::FileKind::Image, 1_000);
    let id = uploaded(&app, &vendor, "", "image/jpeg", clear).await;
    let image = json!({ "message": { "type": "image", "image": { "mediaId": id } },
        "perMinute": 60 });
    let image = lines(3, None).replacen(lines(0, None).trim(), &image.to_string(), 1);
    let (file_gone, spoilt) = (taken(&app, &vendor, &image).await, lines(3, Some(60)));
    let spoilt = taken(&app, &vendor, &spoilt).await;
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.execute("DELETE FROM media WHERE id = ?1", [&id]).unwrap();
    let number = spoilt.parse::<waba_gateway::domain::bulk::BulkId>().unwrap().0;
    db.execute("UPDATE bulk_jobs SET doc = x'00' WHERE id = ?1", [number]).unwrap();
    let whole = taken(&app, &vendor, &lines(3, Some(60))).await;
    until(&app, &vendor, &whole, |it| it["state"] == "done" && it["away"] == 0).await;
    for (job, why) in [(&file_gone, "invalid"), (&spoilt, "unreadable")] {
        let held = until(&app, &vendor, job, |it| it["state"] == "paused").await;
        assert_eq!((&held["note"], &held["waiting"]), (&json!(why), &json!(3)));
    }
    assert_eq!(app.twin.n_sends(), 3);
}

#[tokio::test]
#[ignore = "takes half a minute"]
async fn a_job_with_more_recipients_than_a_job_has_is_refused_and_nothing_of_it_is_kept() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let mut body = json!({ "message": { "type": "text", "text": "Bonjour" } }).to_string();
    // Who is given again counts, too.
    for n in 0..=RECIPIENTS_MAX {
        write!(body, "\n{{\"to\":\"+22170555{:04}\"}}", n % 1_000).unwrap();
    }
    let refused = post(&app, &vendor, LINES, "", &body).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.text.contains("at most 100000 recipients"), "{}", refused.text);
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    let kept = "SELECT (SELECT count(*) FROM bulk_jobs) + (SELECT count(*) FROM bulk_recipients)";
    let started = std::time::Instant::now();
    while db.query_row(kept, (), |row| row.get::<_, i64>(0)).unwrap() > 0 {
        assert!(started.elapsed() < DEADLINE, "some of it is left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(app.messages(&vendor).await.is_empty());
    assert_eq!(app.twin.n_sends(), 0);
}
