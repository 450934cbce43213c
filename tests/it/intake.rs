//! A webhook is proven, kept and answered; everything else is refused and leaves nothing behind.

use serde_json::json;
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR},
        id::{EntryId, InstanceId},
        schedule::{Job, Kind},
    },
    gateway::WAITING_PER_VENDOR_MAX,
    journal::Change,
    twin::{Customer, predecessor_message, real_message, sign_hmac},
};

use crate::support::{TestVendor, spawn_app};

const UNAUTHORIZED: &str = r#"{"error":"unauthorized"}"#;

fn body(id: &str) -> Vec<u8> {
    let customer = Customer::new("+221705550001");
    real_message(id, &customer, "horaires ?", Clock::System.now() / 1_000).to_string().into_bytes()
}

fn routes(vendor: &TestVendor) -> [String; 3] {
    ["", "/status", "/connection"].map(|it| format!("{}{it}", vendor.hook))
}

#[tokio::test]
async fn a_signed_webhook_is_kept_on_every_route_in_both_dialects() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let mut n = 0;
    for url in routes(&vendor) {
        for scheme in ["secret", "hmac", "hmac with prefix", "hmac in capitals", "PREFIX"] {
            n += 1;
            let body = if n % 2 == 0 {
                let at = Clock::System.now() / 1_000;
                predecessor_message("1001", &format!("m{n}"), "221705550001", "salut", at)
                    .to_string()
                    .into_bytes()
            } else {
                body(&format!("m{n}"))
            };
            let mac = sign_hmac(vendor.secret(), &body);
            let (name, value) = match scheme {
                "secret" => ("X-Webhook-Signature", vendor.secret().to_owned()),
                "hmac" => ("X-Wasender-Signature", mac),
                "hmac with prefix" => ("x-wasender-signature", format!("sha256={mac}")),
                "hmac in capitals" => ("X-WASENDER-SIGNATURE", mac.to_uppercase()),
                _ => ("X-Wasender-Signature", format!("SHA256={}", mac.to_uppercase())),
            };
            let answer = app.post(&url, &[(name, &value)], &body).await;
            assert_eq!(answer.status, 200, "{scheme} on {url}: {}", answer.text);
            let answer = answer.json();
            assert_eq!((&answer["success"], &answer["status"]), (&json!(true), &json!("received")));
            assert!(answer["processId"].as_str().unwrap().starts_with("msg_"));
        }
    }
    let messages =
        app.until(&vendor, |it| it.iter().filter(|it| it["inbound"] == true).count() >= n).await;
    assert_eq!(messages.iter().filter(|it| it["inbound"] == true).count(), n);
}

#[tokio::test]
async fn a_vendor_with_too_much_waiting_is_refused_alone_until_there_is_room() {
    let app = spawn_app().await;
    let (full, other) = (app.vendor(1).await, app.vendor(2).await);
    let work = app.gateway.work();
    // What waits need not be in the journal for that.
    let waiting = |n| Job {
        id: EntryId(n),
        vendor: full.id.clone(),
        instance: InstanceId::nth(&full.id, 1),
        contact: None,
        kind: Kind::Signal,
        due: Clock::System.now() + HOUR,
    };
    let n = i64::try_from(WAITING_PER_VENDOR_MAX).unwrap();
    work.apply((0..n).map(|n| Change::New(waiting(n))).collect());
    let secret = [("x-webhook-signature", full.secret())];
    let answer = app.post(&full.hook, &secret, &body("m1")).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    let path = format!("/api/v1/vendors/{}/messages", full.id);
    let message = json!({ "to": "+221705550001", "type": "text", "text": "Prêt" });
    assert_eq!(app.admin.post(&path, message).await.status, 503);
    let others = [("x-webhook-signature", other.secret())];
    assert_eq!(app.post(&other.hook, &others, &body("m1")).await.status, 200);
    work.apply(vec![Change::Decided(waiting(0), waba_gateway::domain::schedule::Next::Gone)]);
    let answer = app.post(&full.hook, &secret, &body("m1")).await;
    assert_eq!(answer.status, 200, "what was refused comes again and is no repetition");
}

#[tokio::test]
async fn what_is_not_proven_is_refused_with_one_constant_body_and_leaves_nothing() {
    let app = spawn_app().await;
    let (vendor, other) = (app.vendor(1).await, app.vendor(2).await);
    let body = body("m1");
    let mac = |secret: &str| sign_hmac(secret, &body);
    let good = mac(vendor.secret());
    let mut flipped = good.clone().into_bytes();
    flipped[10] = if flipped[10] == b'0' { b'1' } else { b'0' };
    let cases: Vec<Vec<(&str, String)>> = vec![
        vec![],
        vec![("x-webhook-signature", String::new())],
        vec![("x-webhook-signature", "wrong".into())],
        vec![("x-webhook-signature", other.secret().into())],
        vec![("x-webhook-signature", format!("{} ", &vendor.secret()[1..]))],
        vec![("x-webhook-signature", format!("{}0", vendor.secret()))],
        vec![("x-webhook-signature", good.clone())],
        vec![("x-wasender-signature", String::new())],
        vec![("x-wasender-signature", "sha256=".into())],
        vec![("x-wasender-signature", "not hexadecimal".into())],
        vec![("x-wasender-signature", good[..62].into())],
        vec![("x-wasender-signature", String::from_utf8(flipped).unwrap())],
        vec![("x-wasender-signature", mac(other.secret()))],
        vec![("x-wasender-signature", mac(""))],
        vec![("x-wasender-signature", vendor.secret().into())],
        vec![("x-signature", good.clone())],
        vec![("x-wasender-signature", good.clone()), ("x-wasender-signature", good.clone())],
    ];
    for url in routes(&vendor) {
        for headers in &cases {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|it| (it.0, it.1.as_str())).collect();
            let answer = app.post(&url, &headers, &body).await;
            assert_eq!((answer.status, answer.text.as_str()), (401, UNAUTHORIZED), "{headers:?}");
            assert!(!answer.text.contains(&good));
        }
    }
    for unknown in ["vendor_999", "a%20b", "..%2f", "%00", &"x".repeat(65)] {
        let url = format!("{}/api/webhooks/wasender/{unknown}", app.base);
        let answer = app.post(&url, &[("x-webhook-signature", vendor.secret())], &body).await;
        assert_eq!((answer.status, answer.text.as_str()), (401, UNAUTHORIZED), "{unknown}");
    }
    let ledger = app.gateway.journal().count(None).await.unwrap();
    assert_eq!(ledger.accepted, 0);
}

#[tokio::test]
async fn a_signature_is_over_the_raw_bytes() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    // The same JSON with white space: the predecessor signed what it had serialised again.
    let raw = br#"{ "event":"message",  "data":{"from":"221705550001","message":"a","type":"text","id":"r1"} }"#;
    let again = serde_json::from_slice::<serde_json::Value>(raw).unwrap().to_string();
    let of_raw = sign_hmac(vendor.secret(), raw);
    let of_again = sign_hmac(vendor.secret(), again.as_bytes());
    let post = |mac: String| {
        let (app, url) = (&app, vendor.hook.clone());
        async move { app.post(&url, &[("x-wasender-signature", &mac)], raw).await.status }
    };
    assert_eq!(post(of_again).await, 401);
    assert_eq!(post(of_raw).await, 200);
}

#[tokio::test]
async fn an_instance_accepts_only_the_schemes_it_names() {
    let app = spawn_app().await;
    let id = app.vendor(1).await.id;
    let path = format!("/api/admin/vendors/{id}/waba-instances");
    let secrets = ["only-hmac-secret", "only-plain-secret", "no-scheme-secret"];
    for (n, (secret, schemes)) in
        secrets.iter().zip([json!(["hmac"]), json!(["secret"]), json!([])]).enumerate()
    {
        let instance = json!({
            "phoneNumber": format!("+22178111000{n}"), "provider": "wasender",
            "wasenderWebhookSecret": secret, "signatureSchemes": schemes.clone(),
        });
        // One that accepts none could never be reached.
        let wanted = if schemes == json!([]) { 422 } else { 201 };
        assert_eq!(app.admin.post(&path, instance).await.status, wanted);
    }
    let url = format!("{}/api/webhooks/wasender/{id}", app.base);
    for (n, (secret, by_hmac, by_secret)) in
        [(secrets[0], 200, 401), (secrets[1], 401, 200), (secrets[2], 401, 401)]
            .into_iter()
            .enumerate()
    {
        let body = body(&format!("s{n}"));
        let mac = sign_hmac(secret, &body);
        assert_eq!(app.post(&url, &[("x-wasender-signature", &mac)], &body).await.status, by_hmac);
        assert_eq!(
            app.post(&url, &[("x-webhook-signature", secret)], &body).await.status,
            by_secret
        );
    }
}

#[tokio::test]
async fn the_instance_that_proves_a_webhook_receives_and_replies() {
    let app = spawn_app().await;
    let first = app.vendor(1).await;
    let second = app.number(&first.id, "+221780000002", 2_002).await;
    let customer = Customer::new("+221705550001");
    assert!(app.twin.customer_says(second.session.id, &customer, "horaires").await.is_ok());
    let sends = app.twin.wait_sends(1, crate::support::DEADLINE).await;
    assert_eq!((sends[0].from.as_str(), sends[0].to.as_str()), ("+221780000002", "+221705550001"));
    assert!(app.twin.customer_says(first.session.id, &customer, "horaires").await.is_ok());
    let sends = app.twin.wait_sends(2, crate::support::DEADLINE).await;
    assert_eq!(sends[1].from, first.phone);
}

#[tokio::test]
async fn a_body_that_names_anothers_instance_is_refused() {
    let app = spawn_app().await;
    let (vendor, other) = (app.vendor(1).await, app.vendor(2).await);
    // Their echoes would count as well.
    app.gateway.pause(None, true).await.unwrap();
    let named =
        |instance: &str, id: &str| predecessor_message(instance, id, "221705550001", "a", 1);
    let own = app.post_signed(&vendor, &named(&vendor.session.id.to_string(), "a")).await;
    assert_eq!(own.status, 200);
    let foreign = app.post_signed(&vendor, &named(&other.session.id.to_string(), "b")).await;
    assert_eq!((foreign.status, foreign.text.as_str()), (401, UNAUTHORIZED));
    // Nobody's: a session that was made anew has another number and the same secret.
    assert_eq!(app.post_signed(&vendor, &named("777", "c")).await.status, 200);
    assert_eq!(app.gateway.journal().count(None).await.unwrap().accepted, 2);
}

#[tokio::test]
async fn a_body_over_three_mebibytes_is_refused_and_one_below_is_kept() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let sized = |bytes: usize| {
        let empty = r#"{"event":"message","data":{"from":"221705550001","message":"","id":"big"}}"#;
        let text = "x".repeat(bytes - empty.len());
        empty.replace(r#""message":"""#, &format!(r#""message":"{text}""#)).into_bytes()
    };
    let limit = 3 * 1024 * 1024;
    let headers = [("x-webhook-signature", vendor.secret())];
    let answer = app.post(&vendor.hook, &headers, &sized(limit + 1)).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert_eq!(app.post(&vendor.hook, &headers, &sized(limit)).await.status, 200);
    // For strangers alike, so that nobody learns which vendors there are.
    for url in [&vendor.hook, &format!("{}/api/webhooks/wasender/nobody", app.base)] {
        assert_eq!(app.post(url, &[], &sized(limit + 1)).await.status, 413);
    }
}

#[tokio::test]
async fn unknown_events_and_proven_rubbish_are_kept_and_answered_200() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let headers = [("x-webhook-signature", vendor.secret())];
    let bodies: [&[u8]; 6] = [
        br#"{"event":"dashboard.test","data":{"hello":"world"}}"#,
        b"not json at all",
        b"",
        br#"{"event":"messages.received","data":{"messages":{"key":{"id":"tr"#,
        br"[1,2,3]",
        b"\xff\xfe\x00",
    ];
    for body in bodies {
        let answer = app.post(&vendor.hook, &headers, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.json()["processId"].is_string());
    }
    let ledger = app.gateway.journal().count(None).await.unwrap();
    assert_eq!((ledger.accepted, ledger.events_done), (6, 6));
}

#[tokio::test]
async fn one_message_that_comes_many_times_is_one_event() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let at = Clock::System.now() / 1_000;
    let customer = Customer::new("+221705550001").with_lid("111122223333444");
    let mut message = real_message("same", &customer, "horaires", at);
    let mut answers = Vec::new();
    let events =
        ["messages.received", "messages.upsert", "messages-personal.received", "messages.upsert"];
    for event in events {
        message["event"] = json!(event);
        answers.push(app.post_signed(&vendor, &message).await.json());
    }
    // By LID alone it is still the same message: the alias is known.
    let by_lid = real_message("same", &Customer::lid_only("111122223333444"), "horaires", at);
    answers.push(app.post_signed(&vendor, &by_lid).await.json());
    // And in the other dialect.
    let old = predecessor_message("1001", "same", "221705550001", "horaires", at);
    answers.push(app.post_signed(&vendor, &old).await.json());
    assert_eq!(answers[0]["status"], "received");
    for answer in &answers[1..] {
        assert_eq!(answer["status"], "duplicate");
        assert_eq!(answer["processId"], answers[0]["processId"]);
    }
    // Ids are chosen by the sending phone: another customer's is another message.
    let other = real_message("same", &Customer::new("+221705550002"), "horaires", at);
    assert_eq!(app.post_signed(&vendor, &other).await.json()["status"], "received");
    app.twin.wait_sends(2, crate::support::DEADLINE).await;
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 2);
    let ledger = app.gateway.journal().ledger(None).await.unwrap();
    assert!(ledger.duplicates >= 5, "{ledger:?}");
}

#[tokio::test]
async fn sixty_four_equal_webhooks_at_once_are_one_event() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let body = body("at-once");
    let headers = [("x-webhook-signature", vendor.secret())];
    let posts = (0..64).map(|_| app.post(&vendor.hook, &headers, &body));
    let answers = futures_util::future::join_all(posts).await;
    let new = answers.iter().filter(|it| it.json()["status"] == "received").count();
    assert_eq!((new, answers.len()), (1, 64));
    app.twin.wait_sends(1, crate::support::DEADLINE).await;
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 1);
}

#[tokio::test]
async fn a_message_first_known_by_lid_and_then_by_phone_is_one_event_in_one_conversation() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let at = Clock::System.now() / 1_000;
    // Two contacts, as far as anybody knows …
    let by_phone = real_message("p1", &Customer::new("+221705550001"), "a", at);
    let by_lid = real_message("l1", &Customer::lid_only("111122223333444"), "b", at);
    app.twin.know_lid("111122223333444", "+221705550009");
    app.post_signed(&vendor, &by_phone).await;
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    assert_eq!(app.post_signed(&vendor, &by_lid).await.json()["status"], "received");
    // … until a third message tells that they are one.
    let both = Customer::new("+221705550001").with_lid("111122223333444");
    app.post_signed(&vendor, &real_message("b1", &both, "c", at)).await;
    let again = app.post_signed(&vendor, &real_message("l1", &both, "b", at)).await;
    assert_eq!(again.json()["status"], "duplicate");
    let messages = app.messages(&vendor).await;
    let contacts: std::collections::HashSet<i64> =
        messages.iter().map(|it| it["contact"].as_i64().unwrap()).collect();
    assert_eq!(contacts.len(), 1, "{messages:#?}");
}

#[tokio::test]
async fn bodies_without_an_id_are_known_again_for_a_minute() {
    let app = crate::support::spawn_app_with(crate::support::Options {
        clock: Clock::fixed(1_760_000_000_000),
        ..Default::default()
    })
    .await;
    let vendor = app.vendor(1).await;
    let flat = json!({ "type": "message", "from": "+221705555555", "message": "Hello" });
    let post = async || app.post_signed(&vendor, &flat).await.json()["status"].clone();
    assert_eq!(post().await, "received");
    app.clock.advance(59_000);
    assert_eq!(post().await, "duplicate");
    app.clock.advance(2_000);
    assert_eq!(post().await, "received");
}

#[tokio::test]
async fn keys_are_known_for_eight_days_and_dropped_by_the_day() {
    let app = crate::support::spawn_app_with(crate::support::Options {
        clock: Clock::fixed(1_760_000_000_000),
        ..Default::default()
    })
    .await;
    let vendor = app.vendor(1).await;
    let old = predecessor_message("1001", "old", "221705550001", "a", 1_760_000_000);
    let mut n = 0;
    for day in 0..30_u32 {
        let status = app.post_signed(&vendor, &old).await.json()["status"].clone();
        let want = if day % 10 == 0 { None } else { Some("duplicate") };
        if let Some(want) = want.filter(|_| day <= 8) {
            assert_eq!(status, want, "after {day} days");
        }
        n += usize::from(status == "received");
        app.clock.advance(24 * 3_600_000);
    }
    assert!((2..=4).contains(&n), "kept for ever or not long enough: {n}");
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'keys_*'";
    let n_tables: i64 = db.query_row(sql, (), |row| row.get(0)).unwrap();
    assert!((8..=10).contains(&n_tables), "{n_tables} generations");
}

#[tokio::test]
async fn what_cannot_be_kept_is_503_and_the_vendor_is_not_unknown() {
    let app = crate::support::spawn_app_with(crate::support::Options {
        variables: vec![("MIN_FREE_DISK", u64::MAX.to_string())],
        ..Default::default()
    })
    .await;
    let vendor = app.vendor(1).await;
    let headers = [("x-webhook-signature", vendor.secret())];
    let answer = app.post(&vendor.hook, &headers, &body("full")).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(app.admin.get("/ready").await.status, 503);
    assert_eq!(app.admin.get("/health").await.status, 200);
    assert_eq!(app.gateway.journal().count(None).await.unwrap().accepted, 0);
}

#[tokio::test]
async fn a_secret_that_cannot_be_opened_is_503_and_never_401() {
    let mut app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.app.take().unwrap().stop().await;
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    // One sealed byte is flipped, as a bad disk would.
    let doc: Vec<u8> = db.query_row("SELECT doc FROM instances", (), |row| row.get(0)).unwrap();
    let mut bad = doc;
    let last = bad.len() - 1;
    bad[last] ^= 1;
    db.execute("UPDATE instances SET doc = ?1", [bad]).unwrap();
    drop(db);
    let address = app.base.strip_prefix("http://").unwrap().to_owned();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let running = crate::support::start(&app.config, app.clock.clone(), listener).await;
    let headers = [("x-webhook-signature", vendor.secret())];
    let answer = app.post(&vendor.hook, &headers, &body("x")).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(!answer.text.contains("sealed"));
    running.stop().await;
}

#[tokio::test]
async fn slow_and_greedy_strangers_cost_others_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let address = app.base.strip_prefix("http://").unwrap();
    let mut strangers = Vec::new();
    for _ in 0..200 {
        // They promise three mebibytes, with a header that could be proven, and send no more.
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /api/webhooks/wasender/{} HTTP/1.1\r\nhost: x\r\ncontent-length: 3145728\r\nx-wasender-signature: {}\r\n\r\nabc",
            vendor.id,
            "00".repeat(32)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        strangers.push(stream);
    }
    let headers = [("x-webhook-signature", vendor.secret())];
    assert_eq!(app.post(&vendor.hook, &headers, &body("fine")).await.status, 200);
    // And they are let go after a while.
    let mut answer = Vec::new();
    let read = strangers[0].read_to_end(&mut answer);
    tokio::time::timeout(crate::support::DEADLINE, read).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn two_contacts_who_are_one_leave_no_number_to_the_next() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let (phone, lid) = ("+221705550031", "111122223333555");
    let (known, hidden) = (Customer::new(phone), Customer::lid_only(lid));
    let customers = [known, hidden, Customer::new(phone).with_lid(lid)];
    for (n, customer) in customers.iter().enumerate() {
        let body = real_message(&format!("m{n}"), customer, "bonjour", app.now_secs());
        assert_eq!(app.post_signed(&vendor, &body).await.status, 200);
    }
    let contacts = |all: &[serde_json::Value]| -> std::collections::BTreeSet<i64> {
        all.iter().filter_map(|it| it["contact"].as_i64()).collect()
    };
    let one = contacts(&app.messages(&vendor).await);
    assert_eq!(one.len(), 1, "{one:?}");
    let next = real_message("n", &Customer::new("+221705550032"), "bonjour", app.now_secs());
    assert_eq!(app.post_signed(&vendor, &next).await.status, 200);
    let both = contacts(&app.messages(&vendor).await);
    // The first is 1, and 2 was the one that turned out to be it.
    assert_eq!(both.into_iter().collect::<Vec<_>>(), [1, 3]);
}
