//! What a stranger found who attacked the core: hang-ups, failing writes, foreign keys, clocks.

use crate::{
    delivery::{send, status_is},
    support::*,
};
use serde_json::json;
use std::{fmt::Write, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR, MINUTE, SECOND},
        id::{ContactId, EntryId, InstanceId, VendorId},
        phone::PhoneNumber,
        schedule::{Job, Kind, Limit, Next, Scheduler},
        vendor::OnUnknown,
        waba::SignatureSchemes,
    },
    gateway::{AccountsChange, NewInstance, VendorChange},
    twin::{Customer, Misbehaviour, NewSession, Times, real_message, wire},
};

const NOW: i64 = 1_760_000_000_000;
const TO: &str = "+221705550001";

fn lock(app: &TestApp) -> rusqlite::Connection {
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    db
}
async fn open_post(
    app: &TestApp,
    path: &str,
    headers: &[(&str, &str)],
    length: usize,
    body: &[u8],
) -> tokio::net::TcpStream {
    let mut s =
        tokio::net::TcpStream::connect(app.base.strip_prefix("http://").unwrap()).await.unwrap();
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n");
    for (n, v) in headers {
        let _ = write!(head, "{n}: {v}\r\n");
    }
    head += "\r\n";
    s.write_all(head.as_bytes()).await.unwrap();
    s.write_all(body).await.unwrap();
    s.flush().await.unwrap();
    s
}

#[tokio::test]
async fn a_message_whose_caller_hung_up_during_the_sync_is_answered() {
    let app = spawn_app().await;
    let v = app.vendor(1).await;
    let body = real_message("K1", &Customer::new(TO), "horaires", app.now_secs());
    let text = body.to_string();
    let db = lock(&app);
    let s = open_post(
        &app,
        "/api/webhooks/wasender/vendor_001",
        &[("x-webhook-signature", v.secret())],
        text.len(),
        text.as_bytes(),
    )
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(s);
    tokio::time::sleep(Duration::from_millis(300)).await;
    db.execute_batch("COMMIT").unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    app.post_signed(&v, &body).await;
    app.twin.wait_sends(1, DEADLINE).await;
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 1);
}

#[tokio::test]
async fn a_send_whose_caller_hung_up_during_the_sync_is_made() {
    let app = spawn_app().await;
    let v = app.vendor(1).await;
    let body = json!({"to": TO, "message": "bonjour"});
    let text = body.to_string();
    let file = std::fs::read_to_string(app.data_dir().join("admin.key")).unwrap();
    let bearer = format!("Bearer {}", file.trim());
    let path = format!("/api/admin/vendors/{}/send-message", v.id);
    let db = lock(&app);
    let s = open_post(
        &app,
        &path,
        &[
            ("authorization", &bearer),
            ("idempotency-key", "k1"),
            ("content-type", "application/json"),
        ],
        text.len(),
        text.as_bytes(),
    )
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(s);
    tokio::time::sleep(Duration::from_millis(300)).await;
    db.execute_batch("COMMIT").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let again = app.admin.call("POST", &path, Some(body), &[("idempotency-key", "k1")]).await;
    assert_eq!(again.status, 202, "{}", again.text);
    app.twin.wait_sends(1, DEADLINE).await;
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 1);
}

#[tokio::test]
async fn an_event_is_worked_on_although_the_state_of_its_session_could_not_be_kept() {
    let app = spawn_app().await;
    let v = app.vendor(1).await;
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    db.execute_batch(
        "CREATE TRIGGER t BEFORE UPDATE ON instances BEGIN SELECT RAISE(ABORT,'x'); END",
    )
    .unwrap();
    let body = real_message("K1", &Customer::new(TO), "horaires", app.now_secs());
    app.post_signed(&v, &body).await;
    db.execute_batch("DROP TRIGGER t").unwrap();
    app.post_signed(&v, &body).await;
    app.twin.wait_sends(1, DEADLINE).await;
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 1);
}

#[tokio::test]
async fn a_vendors_key_takes_over_no_number_of_another() {
    let app = spawn_app().await;
    let a = app.vendor(1).await;
    let b = app.vendor(2).await;
    let key =
        app.admin.post("/api/admin/keys", json!({"name":"a","vendorId":"vendor_001"})).await.json();
    let client = app.admin.with_key(key["key"].as_str().unwrap());
    let got = client
        .post(
            "/api/admin/vendors/vendor_001/setup-wasender-webhook",
            json!({"wasenderInstanceId": b.session.id, "phoneNumber": b.phone, "replace": true}),
        )
        .await;
    assert_eq!(
        app.twin.session(b.session.id).unwrap().webhook_url.as_deref(),
        Some(b.hook.as_str())
    );
    // Nor does an admin give it away by mistake.
    let body = json!({"wasenderInstanceId": b.session.id, "phoneNumber": b.phone, "replace": true});
    let path = format!("/api/admin/vendors/{}/setup-wasender-webhook", a.id);
    assert_eq!(app.admin.post(&path, body).await.status, 409);
    let instance = json!({"phoneNumber": b.phone});
    let path = format!("/api/admin/vendors/{}/waba-instances", a.id);
    assert_eq!(app.admin.post(&path, instance).await.status, 409);
    assert_eq!(got.status, 403);
}

#[tokio::test]
async fn a_begin_that_fails_does_not_change_the_order() {
    let app = spawn_app().await;
    let v = app.vendor(1).await;
    app.gateway.pause(Some(&v.id), true).await.unwrap();
    for n in 0..3 {
        send(&app, &v, TO, &format!("n{n}")).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let db = lock(&app);
    // As another process lets it go, so that whoever looks at the store later finds it so.
    db.execute("UPDATE vendors SET paused = 0", ()).unwrap();
    app.gateway.work().pause(Some(&v.id), false);
    tokio::time::sleep(Duration::from_secs(6)).await;
    db.execute_batch("COMMIT").unwrap();
    let sends = app.twin.wait_sends(3, DEADLINE).await;
    let texts: Vec<_> = sends.iter().map(|it| it.text.clone()).collect();
    assert_eq!(texts, ["n0", "n1", "n2"]);
}

#[tokio::test]
async fn a_fence_holds_its_conversation_through_a_restart() {
    let mut app = spawn_app().await;
    let v = app.vendor(1).await;
    app.twin.misbehave(v.session.id, Misbehaviour::Cut { accepted: false }, Times::Once);
    let one = send(&app, &v, TO, "un").await;
    status_is(&app, &v, &one, "unknown_yet").await;
    let _two = send(&app, &v, TO, "deux").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(app.twin.n_sends(), 0, "held before");
    app.restart().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(app.twin.n_sends(), 0, "held after");
}

#[tokio::test]
async fn an_echo_in_a_group_settles_no_send() {
    let app = spawn_app().await;
    let v = app.vendor(1).await;
    app.twin.misbehave(v.session.id, Misbehaviour::Cut { accepted: false }, Times::Once);
    let one = send(&app, &v, TO, "ok").await;
    status_is(&app, &v, &one, "unknown_yet").await;
    let echo = wire::real_sent(
        "GRP1",
        "120363000000000000@g.us",
        &json!({"conversation":"ok"}),
        app.now_secs(),
    );
    assert_eq!(app.post_signed(&v, &echo).await.status, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let m = app.messages(&v).await;
    assert!(m.iter().any(|it| it["id"] == one && it["status"] == "unknown_yet"));
}

#[tokio::test]
async fn a_clock_that_is_set_back_mutes_nobody() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let v = app.vendor(1).await;
    app.clock.advance(MINUTE);
    send(&app, &v, TO, "a").await;
    app.twin.wait_sends(1, DEADLINE).await;
    app.clock.advance(-HOUR);
    send(&app, &v, "+221705550002", "b").await;
    for _ in 0..60 {
        app.clock.advance(SECOND);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(app.twin.n_sends(), 2);
}

#[tokio::test]
async fn strangers_who_stall_big_bodies_keep_no_other_vendor_out() {
    let app = spawn_app().await;
    let _v = app.vendor(1).await;
    let w = app.vendor(2).await;
    let max = 3 * 1024 * 1024;
    let mac = "ab".repeat(32);
    let h = [("x-wasender-signature", mac.as_str())];
    let big = vec![b'x'; max];
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(
            open_post(&app, "/api/webhooks/wasender/vendor_001", &h, max, &big[..max - 1]).await,
        );
    }
    let left = 32 * 1024 * 1024 - 10 * (max - 1);
    held.push(
        open_post(&app, "/api/webhooks/wasender/vendor_001", &h, left + 1, &big[..left]).await,
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    let body = real_message("K1", &Customer::new(TO), "horaires", app.now_secs());
    let got = app.post_signed(&w, &body).await;
    assert_eq!(got.status, 200);
}

#[tokio::test]
async fn a_body_that_is_too_large_does_not_tell_which_vendors_there_are() {
    let app = spawn_app().await;
    let _v = app.vendor(1).await;
    let mac = "ab".repeat(32);
    let h = [("x-wasender-signature", mac.as_str())];
    let big = vec![b'x'; 3 * 1024 * 1024 + 1];
    let mut got = Vec::new();
    for id in ["vendor_001", "vendor_999"] {
        let mut s =
            open_post(&app, &format!("/api/webhooks/wasender/{id}"), &h, big.len(), b"").await;
        let mut buf = [0u8; 64];
        let n = s.read(&mut buf).await.unwrap();
        got.push(String::from_utf8_lossy(&buf[..16.min(n)]).to_string());
    }
    assert_eq!(got[0], got[1]);
}

#[tokio::test]
async fn an_instance_under_account_protection_does_not_burst_at_first() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let id = VendorId::parse("vendor_001").unwrap();
    app.gateway.put_vendor(&id, change(rules())).await.unwrap();
    let s = app.twin.add_session(NewSession {
        id: Some(77),
        account_protection: true,
        ..NewSession::new("+221770000001")
    });
    app.gateway
        .create_instance(
            &id,
            NewInstance {
                phone_number: PhoneNumber::from_wire("+221770000001").unwrap(),
                wasender_instance_id: Some("77".to_owned()),
                session_key: Some(s.api_key.clone().into()),
                webhook_secret: Some(s.webhook_secret.clone().into()),
                token: None,
                account_protection: true,
                schemes: SignatureSchemes::default(),
                accounts: AccountsChange::default(),
            },
        )
        .await
        .unwrap();
    app.gateway.pause(Some(&id), true).await.unwrap();
    for n in 0..6 {
        let a = app
            .admin
            .post(
                "/api/admin/vendors/vendor_001/send-message",
                json!({"to": format!("+22170555000{n}"), "message": "x"}),
            )
            .await;
        assert_eq!(a.status, 202);
    }
    app.clock.advance(MINUTE / 2);
    app.gateway.pause(Some(&id), false).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let n = app.twin.requests().iter().filter(|it| it.path.ends_with("/send-message")).count();
    assert_eq!(n, 1);
}

#[tokio::test]
async fn two_instances_made_at_once_are_two() {
    let app = spawn_app().await;
    let id = VendorId::parse("vendor_001").unwrap();
    app.gateway.put_vendor(&id, change(rules())).await.unwrap();
    let p = "/api/admin/vendors/vendor_001/waba-instances";
    let (a, b) = tokio::join!(
        app.admin.post(
            p,
            json!({"phoneNumber":"+221770000001","wasenderWebhookSecret":"secret-number-1"})
        ),
        app.admin.post(
            p,
            json!({"phoneNumber":"+221770000002","wasenderWebhookSecret":"secret-number-2"})
        )
    );
    assert_eq!((a.status, b.status), (201, 201));
    let n = app.gateway.instances(&id).await.unwrap().len();
    assert_eq!(n, 2);
}

#[tokio::test]
async fn a_vendor_lifts_neither_its_suspension_nor_the_operators_pause() {
    let app = spawn_app().await;
    let _v = app.vendor(1).await;
    let key =
        app.admin.post("/api/admin/keys", json!({"name":"a","vendorId":"vendor_001"})).await.json();
    let client = app.admin.with_key(key["key"].as_str().unwrap());
    app.admin.put("/api/admin/vendors/vendor_001", json!({"status":"suspended"})).await;
    app.admin.post("/api/admin/vendors/vendor_001/pause", json!(null)).await;
    let got = client.put("/api/admin/vendors/vendor_001", json!({"status":"active"})).await;
    let res = client.post("/api/admin/vendors/vendor_001/resume", json!(null)).await;
    assert_eq!((got.status, res.status), (403, 403));
}

#[tokio::test]
async fn an_admin_key_that_was_replaced_opens_nothing() {
    let mut app = spawn_app().await;
    let old = app.admin.clone();
    let a = "A".repeat(40);
    let b = "B".repeat(40);
    app.config.admin_key = Some(a.clone().into());
    app.restart().await;
    app.config.admin_key = Some(b.clone().into());
    app.restart().await;
    let st = |c: Client| async move { c.get("/api/admin/vendors").await.status };
    let (x, y, z) = (st(old.clone()).await, st(old.with_key(&a)).await, st(old.with_key(&b)).await);
    assert_eq!((x, y, z), (401, 401, 200));
}

#[tokio::test]
async fn a_vendor_that_risks_a_second_send_risks_no_third() {
    let app = spawn_app().await;
    let ch = VendorChange {
        on_unknown: Some(OnUnknown::Retry),
        unknown_deadline: Some(0),
        ..change(rules())
    };
    let v = app.vendor_with(1, ch).await;
    for m in [
        Misbehaviour::NoEchoes,
        Misbehaviour::NoStatuses,
        Misbehaviour::NotInLogs,
        Misbehaviour::NoInfo,
        Misbehaviour::Fail { status: 500, accepted: true },
    ] {
        app.twin.misbehave(v.session.id, m, Times::Always);
    }
    send(&app, &v, TO, "once please").await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(app.twin.n_sends() <= 2);
}

fn scheduler() -> Scheduler {
    let mut scheduler = Scheduler::new(0);
    scheduler.set_limit(&InstanceId::parse("i").unwrap(), Limit::WASENDER);
    scheduler
}

fn job(id: i64, contact: i64, kind: Kind) -> Job {
    Job {
        id: EntryId(id),
        vendor: VendorId::parse("v").unwrap(),
        instance: InstanceId::parse("i").unwrap(),
        contact: Some(ContactId(contact)),
        kind,
        due: 0,
    }
}

#[test]
fn a_settled_fence_opens_its_lane_after_a_merge() {
    let (mut s, now) = (scheduler(), 1_000_000);
    s.add(job(1, 7, Kind::Send), now);
    s.add(job(2, 7, Kind::Send), now);
    s.next(now).unwrap();
    s.finish(
        EntryId(1),
        Next::Again { kind: Kind::Follow, due: now + 5_000, hold: Some(now + 30_000) },
        now,
    );
    s.merge(ContactId(7), ContactId(3), now);
    s.decided(job(1, 3, Kind::Follow), Next::Gone, now + 10);
    assert_eq!(s.next(now + 10).map(|it| it.id), Some(EntryId(2)));
}

#[test]
fn a_send_that_comes_back_loses_no_other() {
    let now = 1_000_000_i64;
    let base = now << 20;
    let mut s = scheduler();
    s.add(job(base, 7, Kind::Send), now);
    s.next(now).unwrap();
    // what worker::again does with a send whose begin failed
    s.finish(EntryId(base), Next::Again { kind: Kind::Follow, due: now, hold: None }, now);
    let f = s.next(now).unwrap();
    assert_eq!(f.kind, Kind::Follow);
    s.finish(EntryId(base), Next::Again { kind: Kind::Send, due: now + 500, hold: None }, now);
    // the journal's next id in the same millisecond
    s.add(job(base + 1, 7, Kind::Send), now);
    let mut t = now;
    let mut done = Vec::new();
    for _ in 0..100 {
        while let Some(j) = s.next(t) {
            done.push(j.id);
            s.finish(j.id, Next::Gone, t);
        }
        match s.wake_at() {
            Some(at) => t = at.max(t + 1),
            None => break,
        }
    }
    assert_eq!(s.n_jobs(), 0);
}

#[test]
fn live_traffic_does_not_wait_for_the_tokens_of_a_backlog() {
    // an old lane (two tokens) waits first; a live one needs one token only and must not wait for two
    let mut s = scheduler();
    let t = 1_000_000_i64;
    for n in 0..32 {
        s.add(job((t << 20) + n, n + 1, Kind::Send), t);
    }
    while let Some(j) = s.next(t) {
        s.finish(j.id, Next::Gone, t);
    }
    s.add(job((t - 120_000) << 20, 500, Kind::Send), t);
    assert!(s.next(t).is_none());
    s.add(job((t << 20) + 100, 501, Kind::Send), t);
    assert!(s.next(t).is_none());
    assert!(s.wake_at().unwrap() - t <= 268);
}
