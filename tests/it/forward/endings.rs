//! What was given up: listed, replayed, forgotten. Addresses that may not be reached.

use serde_json::{Value, json};
use waba_gateway::{
    domain::clock::{HOUR, MINUTE, SECOND, iso},
    gateway::VendorChange,
};

use super::{
    dead, forwarding, listed, quiet_app, quiet_vendor,
    receiver::{Receiver, Reply},
    says, secret_of, texts, topics, until_load, until_tries,
};
use crate::support::{Options, spawn_app, spawn_app_with};

const PATH: &str = "/api/admin/vendors/vendor_001/forwards";

#[tokio::test]
async fn after_a_day_an_event_is_given_up_listed_and_replayed_under_the_same_id() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    back_end.always(|_| 500.into());
    says(&app, &vendor, "a", "first").await;
    until_tries(&app, &vendor, 1).await;
    app.clock.advance(HOUR);
    says(&app, &vendor, "b", "second").await;
    until_tries(&app, &vendor, 2).await;
    app.clock.advance(23 * HOUR - SECOND);
    assert_eq!(dead(&app, &vendor).await.len(), 0);
    app.clock.advance(SECOND + MINUTE);
    until_load(&app, (1, 1)).await;
    let given_up = dead(&app, &vendor).await;
    assert_eq!(given_up[0]["state"], "dead");
    assert_eq!(given_up[0]["lastError"], "expired, http_500");
    assert_eq!(given_up[0]["dueAt"], Value::Null);
    app.clock.advance(HOUR);
    until_load(&app, (0, 2)).await;
    // By pages, newest first.
    let page = app.admin.get(&format!("{PATH}?limit=1")).await.json();
    let rest = app
        .admin
        .get(&format!("{PATH}?limit=1&cursor={}", page["cursor"].as_str().unwrap()))
        .await
        .json();
    assert_eq!(page["forwards"][0]["id"], dead(&app, &vendor).await[0]["id"]);
    assert_eq!((&rest["forwards"][0]["id"], &rest["cursor"]), (&given_up[0]["id"], &Value::Null));
    let n = back_end.got().len();
    back_end.always(|_| 200.into());
    let ids = json!({ "ids": [given_up[0]["id"]] });
    let answer = app.admin.post(&format!("{PATH}/replay"), ids).await;
    assert_eq!(answer.json(), json!({ "success": true, "replayed": 1 }), "at once, without a wait");
    let got = back_end.until_n(n + 1).await;
    assert_eq!(got[n].id(), given_up[0]["id"].as_str().unwrap());
    assert_eq!(got[n].data()["message"], "first");
    let since = json!({ "since": iso(app.clock.now() - 30 * HOUR) });
    assert_eq!(app.admin.post(&format!("{PATH}/replay"), since).await.json()["replayed"], 1);
    assert_eq!(back_end.until_n(n + 2).await[n + 1].data()["message"], "second");
    until_load(&app, (0, 0)).await;
}

#[tokio::test]
async fn a_replay_has_exactly_one_choice() {
    let app = spawn_app().await;
    let back_end = Receiver::start().await;
    let vendor = app.vendor_with(1, forwarding(&back_end.url)).await;
    let now = iso(app.clock.now());
    let wrong = [
        json!({}),
        json!({ "all": false }),
        json!({ "all": true, "since": now }),
        json!({ "since": "yesterday" }),
        json!({ "ids": ["msg_1"] }),
        json!({ "ids": vec!["evt_0000000000000001"; 1_001] }),
    ];
    for body in wrong {
        let answer = app.admin.post(&format!("{PATH}/replay"), body.clone()).await;
        assert_eq!(answer.status, 422, "{body}");
        tokio::time::sleep(std::time::Duration::from_millis(110)).await;
    }
    assert_eq!(
        app.admin.post(&format!("{PATH}/replay"), json!({ "all": true })).await.json()["replayed"],
        0
    );
    assert_eq!(app.admin.get(&format!("{PATH}?state=lost")).await.status, 422);
    let none = VendorChange { forward_url: Some(None), ..VendorChange::default() };
    app.gateway.put_vendor(&vendor.id, none).await.unwrap();
    assert_eq!(app.admin.post(&format!("{PATH}/replay"), json!({ "all": true })).await.status, 409);
    assert_eq!(app.admin.post(&format!("{PATH}/test"), Value::Null).await.status, 409);
}

#[tokio::test]
async fn a_back_end_that_wants_no_more_gets_no_more() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    back_end.always(|_| 410.into());
    for n in 0..6 {
        says(&app, &vendor, &format!("m{n}"), "a").await;
    }
    until_load(&app, (3, 3)).await;
    assert!(dead(&app, &vendor).await.iter().all(|it| it["lastError"] == "gone, http_410"));
    assert_eq!(back_end.got().len(), 3, "then it is given a rest");
}

#[tokio::test]
async fn when_the_address_is_taken_away_what_waits_is_given_up_and_can_be_replayed_to_another() {
    let app = quiet_app().await;
    let (back_end, other) = (Receiver::start().await, Receiver::start().await);
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    back_end.always(|_| 500.into());
    for n in 0..3 {
        says(&app, &vendor, &format!("m{n}"), &format!("{n}")).await;
    }
    back_end.until_n(1).await;
    let to =
        |url: Option<String>| VendorChange { forward_url: Some(url), ..VendorChange::default() };
    app.gateway.put_vendor(&vendor.id, to(None)).await.unwrap();
    until_load(&app, (0, 3)).await;
    assert_eq!(dead(&app, &vendor).await[0]["lastError"], "no_url");
    says(&app, &vendor, "m3", "nobody is told").await;
    app.gateway.put_vendor(&vendor.id, to(Some(other.url.clone()))).await.unwrap();
    assert_eq!(
        app.admin.post(&format!("{PATH}/replay"), json!({ "all": true })).await.json()["replayed"],
        3
    );
    assert_eq!(texts(&other.until_n(3).await), ["0", "1", "2"]);
    until_load(&app, (0, 0)).await;
}

#[tokio::test]
async fn one_event_can_be_forgotten() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    back_end.always(|_| 500.into());
    says(&app, &vendor, "a", "first").await;
    says(&app, &vendor, "b", "second").await;
    until_tries(&app, &vendor, 1).await;
    let waiting = listed(&app, &vendor, "waiting").await;
    let path = format!("{PATH}/{}", waiting[1]["id"].as_str().unwrap());
    assert_eq!(app.admin.delete(&path).await.status, 200);
    assert_eq!(app.admin.delete(&path).await.status, 404);
    assert_eq!(app.admin.delete(&format!("{PATH}/evt_1")).await.status, 404);
    back_end.always(|_| 200.into());
    app.clock.advance(HOUR);
    let got = back_end.until(|it| texts(it).contains(&"second")).await;
    assert_eq!(got.iter().filter(|it| it.data()["message"] == "first").count(), 1);
    until_load(&app, (0, 0)).await;
}

#[tokio::test]
async fn an_address_is_tried_with_a_signed_event() {
    let app = spawn_app().await;
    let back_end = Receiver::start().await;
    let vendor = app.vendor_with(1, forwarding(&back_end.url)).await;
    let answer = app.admin.post(&format!("{PATH}/test"), Value::Null).await.json();
    assert_eq!((&answer["success"], &answer["status"]), (&json!(true), &json!(204)));
    assert!(answer["ms"].is_i64());
    back_end.answers([Reply::from(404)]);
    let answer = app.admin.post(&format!("{PATH}/test"), Value::Null).await.json();
    assert_eq!((&answer["success"], &answer["status"]), (&json!(false), &json!(404)));
    let got = back_end.got();
    assert_eq!(topics(&got), ["test.ping", "test.ping"]);
    let secret = secret_of(&app, &vendor).await;
    got.iter().for_each(|it| it.check_signature(&secret));
    let nobody = VendorChange {
        forward_url: Some(Some("http://127.0.0.1:9/".to_owned())),
        ..VendorChange::default()
    };
    app.gateway.put_vendor(&vendor.id, nobody).await.unwrap();
    let answer = app.admin.post(&format!("{PATH}/test"), Value::Null).await.json();
    assert_eq!((&answer["status"], &answer["error"]), (&Value::Null, &json!("no_connection")));
}

#[tokio::test]
async fn private_addresses_are_refused_when_set_and_when_a_name_leads_to_them() {
    let variables = vec![("ALLOW_PRIVATE_TARGETS", "false".to_owned())];
    let app = spawn_app_with(Options { variables, ..Options::default() }).await;
    let back_end = Receiver::start().await;
    let vendor = "/api/admin/vendors/vendor_001";
    assert_eq!(app.admin.put(vendor, json!({})).await.status, 201);
    for url in
        [&back_end.url, "http://169.254.169.254/latest", "https://[::1]/", "http://10.0.0.1/"]
    {
        let answer = app.admin.put(vendor, json!({ "forwardUrl": url })).await;
        assert_eq!(answer.status, 422, "{url}");
        assert!(answer.text.contains("forwardUrl"), "{}", answer.text);
    }
    let named = back_end.url.replace("127.0.0.1", "localhost");
    assert_eq!(app.admin.put(vendor, json!({ "forwardUrl": named })).await.status, 200);
    let answer = app.admin.post(&format!("{PATH}/test"), Value::Null).await.json();
    assert_eq!((&answer["success"], &answer["error"]), (&json!(false), &json!("forbidden")));
    assert!(back_end.got().is_empty());
}

#[tokio::test]
async fn more_than_so_many_are_not_kept_and_the_oldest_go_first() {
    let mut app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    back_end.always(|_| 500.into());
    says(&app, &vendor, "a", "oldest").await;
    back_end.until_n(1).await;
    app.app.take().unwrap().stop().await;
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    let sql = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 102500)
        INSERT INTO forwards (id, vendor, entry, what, due, expires)
        SELECT id + n, vendor, entry, what, due, expires FROM forwards, n";
    db.execute(sql, ()).unwrap();
    drop(db);
    let address = app.base.strip_prefix("http://").unwrap();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let started = crate::support::start(&app.config, app.clock.clone(), listener).await;
    app.gateway = started.gateway.clone();
    app.app = Some(started);
    until_load(&app, (100_000, 2_501)).await;
    assert_eq!(dead(&app, &vendor).await[0]["lastError"], "overflow");
}
