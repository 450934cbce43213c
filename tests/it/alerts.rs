//! What was heard of vendors' callers, and the alerts raised from it.

use std::time::Instant;

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR, MINUTE},
        id::VendorId,
        vendor::VendorStatus,
    },
    gateway::VendorChange,
    twin::Customer,
};

use crate::support::{DEADLINE, Options, TestApp, TestVendor, rules, spawn_app, spawn_app_with};

/// A Tuesday, 14:05 UTC.
const NOW: i64 = 1_763_474_700_000;

async fn app() -> TestApp {
    spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await
}

/// The open alerts, as `kind vendor`.
async fn open(app: &TestApp) -> Vec<String> {
    let answer = app.admin.get("/api/admin/alerts").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    let alerts = answer["alerts"].as_array().unwrap();
    assert_eq!(answer["total"], alerts.len());
    let word = |it: &Value| {
        let vendor = it["vendorId"].as_str().unwrap_or("-");
        format!("{} {vendor}", it["kind"].as_str().unwrap())
    };
    alerts.iter().map(word).collect()
}

async fn refuse(app: &TestApp, vendor: &TestVendor) {
    let headers = [("x-webhook-signature", "not-the-secret")];
    assert_eq!(app.post(&vendor.hook, &headers, b"{}").await.status, 401);
}

async fn status(app: &TestApp, vendor: &TestVendor) -> Value {
    app.admin.get(&format!("/api/admin/vendors/{}/wasender-status", vendor.id)).await.json()
}

/// Messages that came to a vendor, as the journal counts them: by hours before now.
fn count_hours(app: &TestApp, vendor: &TestVendor, counts: impl Iterator<Item = (i64, i64)>) {
    let mut db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let tx = db.transaction().unwrap();
    let now = app.clock.now().div_euclid(HOUR);
    for (ago, n) in counts {
        let sql = "INSERT OR REPLACE INTO hours (vendor, hour, what, n) VALUES (?1, ?2, 'in', ?3)";
        tx.execute(sql, (vendor.id.as_str(), now - ago, n)).unwrap();
    }
    tx.commit().unwrap();
}

#[tokio::test]
async fn what_was_heard_of_a_vendor_is_told_and_outlives_a_restart() {
    let mut app = app().await;
    let (one, other) = (app.vendor(1).await, app.vendor(2).await);
    let fresh = status(&app, &one).await;
    assert_eq!((&fresh["lastVerifiedAt"], &fresh["refusals"]), (&Value::Null, &json!(0)));
    refuse(&app, &one).await;
    app.clock.advance(MINUTE);
    // A signature that is none, a wrong one, and none at all.
    for headers in [vec![("x-wasender-signature", "zz")], vec![]] {
        assert_eq!(app.post(&one.hook, &headers, b"{}").await.status, 401);
    }
    let mac = [("x-wasender-signature", &*"ab".repeat(32))];
    assert_eq!(app.post(&one.hook, &mac, b"{}").await.status, 401);
    let told = status(&app, &one).await;
    assert_eq!(told["refusals"], 4, "{told:#}");
    assert_eq!(told["lastRefusedAt"], "2025-11-18T14:06:00.000Z");
    assert_eq!(told["lastVerifiedAt"], Value::Null);
    assert_eq!(app.post_signed(&one, &json!({ "event": "test" })).await.status, 200);
    app.restart().await;
    let told = status(&app, &one).await;
    assert_eq!(told["lastVerifiedAt"], "2025-11-18T14:06:00.000Z", "{told:#}");
    assert_eq!(told["refusals"], 4);
    assert_eq!(status(&app, &other).await["refusals"], 0);
    // Nobody knows this vendor, so there is nothing to count it under.
    let nobody = format!("{}/api/webhooks/wasender/nobody", app.base);
    assert_eq!(app.post(&nobody, &[("x-webhook-signature", "x")], b"{}").await.status, 401);
    let nobody = VendorId::parse("nobody").unwrap();
    assert_eq!(app.gateway.vitals(&nobody).await.unwrap().n_refused, 0);
}

#[tokio::test]
async fn what_was_heard_is_written_within_seconds_and_not_with_each_webhook() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    for _ in 0..50 {
        refuse(&app, &vendor).await;
    }
    let started = Instant::now();
    loop {
        let stored = app.gateway.store().vitals(&vendor.id).await.unwrap().unwrap_or_default();
        if stored.n_refused == 50 {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{stored:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_vendor_that_is_refused_and_not_proven_for_five_minutes_is_an_alert() {
    let mut app = app().await;
    let (one, two) = (app.vendor(1).await, app.vendor(2).await);
    for vendor in [&one, &two] {
        assert_eq!(app.post_signed(vendor, &json!({ "event": "test" })).await.status, 200);
        refuse(&app, vendor).await;
    }
    app.clock.advance(4 * MINUTE);
    app.gateway.look().await.unwrap();
    assert!(open(&app).await.is_empty());
    // One of them is proven again in time.
    assert_eq!(app.post_signed(&two, &json!({ "event": "test" })).await.status, 200);
    refuse(&app, &one).await;
    app.clock.advance(MINUTE);
    app.gateway.look().await.unwrap();
    assert_eq!(open(&app).await, ["refused vendor_001"]);
    // A restart neither forgets nor repeats it.
    let raised = app.gateway.alerts().await.unwrap();
    app.clock.advance(MINUTE);
    app.restart().await;
    app.gateway.look().await.unwrap();
    assert_eq!(app.gateway.alerts().await.unwrap(), raised);
    assert_eq!(app.post_signed(&one, &json!({ "event": "test" })).await.status, 200);
    app.gateway.look().await.unwrap();
    assert!(open(&app).await.is_empty());
}

#[tokio::test]
async fn an_alert_is_looked_for_every_minute_by_the_gateways_clock() {
    let app = app().await;
    let vendor = app.vendor(1).await;
    refuse(&app, &vendor).await;
    let started = Instant::now();
    while open(&app).await.is_empty() {
        assert!(started.elapsed() < DEADLINE);
        app.clock.advance(MINUTE);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let metrics = app.admin.get("/metrics").await.text;
    assert!(metrics.contains("waba_alerts_open{kind=\"refused\"}"), "{metrics}");
    assert!(metrics.contains("waba_refused_webhooks_total"), "{metrics}");
    assert!(!metrics.contains("vendor_001"));
}

#[tokio::test]
async fn a_number_that_falls_silent_against_its_own_habit_is_an_alert() {
    let app = app().await;
    let (busy, quiet, closed) = (app.vendor(1).await, app.vendor(2).await, app.vendor(3).await);
    // Six an hour from 8 to 20 each day of the week before; today until 11.
    let habit = |n: i64| {
        (1..=7 * 24 + 14).filter_map(move |ago| {
            let hour = (14_i64 - ago).rem_euclid(24);
            let is_open = (8..20).contains(&hour) && ago > 2;
            is_open.then_some((ago, n))
        })
    };
    count_hours(&app, &busy, habit(6));
    count_hours(&app, &quiet, habit(1));
    count_hours(&app, &closed, habit(6));
    let status = Some(VendorStatus::Inactive);
    let change = VendorChange { status, ..VendorChange::default() };
    app.gateway.put_vendor(&closed.id, change).await.unwrap();
    app.gateway.look().await.unwrap();
    assert_eq!(open(&app).await, ["silent vendor_001"]);
    // It is not raised again, and one message ends it.
    app.clock.advance(HOUR);
    app.gateway.look().await.unwrap();
    assert_eq!(open(&app).await, ["silent vendor_001"]);
    let customer = Customer::new("+221705550001");
    assert!(app.twin.customer_says(busy.session.id, &customer, "bonjour").await.is_ok());
    app.gateway.look().await.unwrap();
    assert!(open(&app).await.is_empty());
}

#[tokio::test]
async fn nights_raise_no_alert() {
    let app = app().await;
    let vendor = app.vendor(1).await;
    count_hours(
        &app,
        &vendor,
        (0..8 * 24).filter_map(|ago| {
            let hour = (14_i64 - ago).rem_euclid(24);
            (8..15).contains(&hour).then_some((ago, 30))
        }),
    );
    for _ in 0..17 {
        app.clock.advance(HOUR);
        app.gateway.look().await.unwrap();
        assert!(open(&app).await.is_empty(), "at {}", app.clock.now());
    }
    // The next day's first hours are missed.
    app.clock.advance(3 * HOUR);
    app.gateway.look().await.unwrap();
    assert_eq!(open(&app).await, ["silent vendor_001"]);
}

#[tokio::test]
async fn a_session_that_is_not_connected_is_an_alert_until_it_is() {
    let app = app().await;
    let vendor = app.vendor(1).await;
    let tell = async |word: &str| {
        app.twin.set_status(vendor.session.id, word);
        assert!(app.twin.tell_status(vendor.session.id).await.is_ok());
        app.gateway.look().await.unwrap();
    };
    tell("connected").await;
    assert!(open(&app).await.is_empty());
    tell("need_scan").await;
    assert_eq!(open(&app).await, ["disconnected vendor_001"]);
    tell("connected").await;
    assert!(open(&app).await.is_empty());
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_and_forwards_that_died_are_alerts() {
    let variables = vec![("MIN_FREE_DISK", u64::MAX.to_string())];
    let clock = Clock::fixed(NOW);
    let app = spawn_app_with(Options { clock, variables, ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let sql = "INSERT INTO forwards (vendor, entry, what, state, due, expires)
        VALUES (?1, 1, 'message.received', 1, 0, 0)";
    db.execute(sql, [vendor.id.as_str()]).unwrap();
    app.gateway.look().await.unwrap();
    let mut alerts = open(&app).await;
    alerts.sort();
    assert_eq!(alerts, ["disk_full -", "forwards_dead vendor_001"]);
    db.execute("DELETE FROM forwards", ()).unwrap();
    app.gateway.look().await.unwrap();
    assert_eq!(open(&app).await, ["disk_full -"]);
}

#[tokio::test]
async fn more_vendors_than_one_look_takes_are_looked_at_in_turn() {
    let app = app().await;
    let id = |n: usize| VendorId::parse(&format!("v{n:05}")).unwrap();
    let secret = waba_gateway::gateway::signing_secret;
    let vendor =
        |n| waba_gateway::domain::vendor::Vendor::new(id(n), "x".to_owned(), secret(), NOW);
    let vendors: Vec<_> = (0..2_500).map(vendor).collect();
    app.gateway.store().put_all(&vendors, &[]).await.unwrap();
    let last = app.vendor_with(1, VendorChange { responders: Some(rules()), ..Default::default() });
    let last = last.await;
    app.twin.set_status(last.session.id, "logged_out");
    assert!(app.twin.tell_status(last.session.id).await.is_ok());
    let started = Instant::now();
    while open(&app).await.is_empty() {
        assert!(started.elapsed() < DEADLINE);
        app.gateway.look().await.unwrap();
    }
    assert_eq!(open(&app).await, ["disconnected vendor_001"]);
    // Only an admin is told.
    let key = app.admin.post("/api/admin/keys", json!({ "name": "x", "vendorId": "vendor_001" }));
    let key = key.await.json()["key"].as_str().unwrap().to_owned();
    let client = app.admin.with_key(&key);
    assert_eq!(client.get("/api/admin/alerts").await.status, 403);
}

#[tokio::test]
async fn a_vendor_whose_secrets_cannot_be_opened_gets_503_and_an_alert() {
    let mut app = app().await;
    let (one, other) = (app.vendor(1).await, app.vendor(2).await);
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let (get, set) = (
        "SELECT doc FROM instances WHERE vendor = ?1",
        "UPDATE instances SET doc = ?2 WHERE vendor = ?1",
    );
    let id = one.id.as_str();
    let whole: Vec<u8> = db.query_row(get, [id], |row| row.get(0)).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    db.execute(set, (id, damaged)).unwrap();
    app.restart().await;
    let post = async |vendor: &TestVendor| {
        app.post_signed(vendor, &json!({ "event": "test" })).await.status
    };
    assert_eq!([post(&one).await, post(&other).await], [503, 200]);
    // Not even who has no secret at all is told more.
    assert_eq!(app.post(&one.hook, &[], b"{}").await.status, 503);
    for _ in 0..2 {
        app.gateway.look().await.unwrap();
        assert_eq!(open(&app).await, [format!("unreadable {id}")]);
    }
    db.execute(set, (id, whole)).unwrap();
    app.gateway.look().await.unwrap();
    assert!(open(&app).await.is_empty());
    assert_eq!(post(&one).await, 200);
}

#[tokio::test]
async fn a_vendor_that_cannot_be_read_hides_no_other_and_is_named_wherever_all_are_asked_for() {
    let app = app().await;
    let (shut, other) = (app.vendor(1).await, app.vendor(2).await);
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let (get, set) =
        ("SELECT doc FROM vendors WHERE id = ?1", "UPDATE vendors SET doc = ?2 WHERE id = ?1");
    let id = shut.id.as_str();
    let whole: Vec<u8> = db.query_row(get, [id], |row| row.get(0)).unwrap();
    db.execute(set, (id, b"damaged")).unwrap();
    app.twin.set_status(other.session.id, "logged_out");
    assert!(app.twin.tell_status(other.session.id).await.is_ok());
    for _ in 0..2 {
        app.gateway.look().await.unwrap();
        let mut alerts = open(&app).await;
        alerts.sort();
        assert_eq!(alerts, ["disconnected vendor_002", "unreadable vendor_001"]);
    }
    let listed = app.admin.get("/api/admin/vendors").await.json();
    assert_eq!(listed["unreadable"], json!([id]));
    assert_eq!(listed["vendors"][0]["vendorId"], "vendor_002");
    // By pages none is missed, and none comes twice.
    let page = app.admin.get("/api/admin/vendors?limit=1").await.json();
    assert_eq!(
        (&page["vendors"], &page["unreadable"], &page["cursor"]),
        (&json!([]), &json!([id]), &json!(id))
    );
    let page = app.admin.get("/api/admin/vendors?limit=1&cursor=vendor_001").await.json();
    assert_eq!(page["vendors"][0]["vendorId"], "vendor_002");
    // What is exported says that it is not everything, and can be imported.
    let exported = app.admin.get("/api/admin/export?secrets=true").await.json();
    assert_eq!(exported["unreadable"], json!([id]));
    assert_eq!(exported["vendors"].as_array().unwrap().len(), 1);
    assert_eq!(app.admin.post("/api/admin/import", exported).await.status, 200);
    db.execute(set, (id, whole)).unwrap();
    app.gateway.look().await.unwrap();
    assert_eq!(open(&app).await, ["disconnected vendor_002"]);
    let listed = app.admin.get("/api/admin/vendors").await.json();
    assert_eq!(listed["unreadable"], json!([]));
}

#[tokio::test]
async fn alerts_of_a_vendor_that_is_not_there_any_more_end() {
    let app = app().await;
    let (gone, other) = (app.vendor(1).await, app.vendor(2).await);
    for vendor in [&gone, &other] {
        app.twin.set_status(vendor.session.id, "logged_out");
        assert!(app.twin.tell_status(vendor.session.id).await.is_ok());
    }
    app.gateway.look().await.unwrap();
    assert_eq!(open(&app).await.len(), 2);
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    assert_eq!(db.execute("DELETE FROM vendors WHERE id = ?1", [gone.id.as_str()]).unwrap(), 1);
    app.gateway.look().await.unwrap();
    assert_eq!(open(&app).await, ["disconnected vendor_002"]);
}
