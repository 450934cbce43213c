//! Through restarts and crashes: nothing is lost, nothing is sent twice.

use std::{collections::HashMap, time::Duration};

use serde_json::json;
use waba_gateway::{
    domain::clock::Clock,
    journal::{Journal, SqliteJournal},
    sqlite::Db,
    twin::{Customer, Misbehaviour, Times, Twin, real_message, sign_hmac},
};

use crate::support::{DEADLINE, Process, TestApp, TestVendor, rules, spawn_app};

fn customer() -> Customer {
    Customer::new("+221705550001")
}

#[tokio::test]
async fn what_was_accepted_before_a_stop_is_answered_after_it() {
    let mut app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.gateway.pause(None, true).await.unwrap();
    for n in 0..5 {
        let customer = Customer::new(&format!("+22170555010{n}"));
        assert!(app.twin.customer_says(vendor.session.id, &customer, "horaires").await.is_ok());
    }
    app.restart().await;
    // The pause is durable too.
    let waiting =
        |it: &[serde_json::Value]| it.iter().filter(|it| it["status"] == "queued").count() == 5;
    app.until(&vendor, waiting).await;
    assert_eq!(app.twin.n_sends(), 0);
    app.gateway.pause(None, false).await.unwrap();
    app.twin.wait_sends(5, DEADLINE).await;
    app.twin.idle().await;
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 5);
}

#[tokio::test]
async fn a_vendors_pause_survives_a_restart_and_intake_goes_on() {
    let mut app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let path = format!("/api/admin/vendors/{}", vendor.id);
    assert_eq!(app.admin.post(&format!("{path}/pause"), json!(null)).await.status, 200);
    app.restart().await;
    assert_eq!(app.admin.get(&path).await.json()["paused"], true);
    assert!(app.twin.customer_says(vendor.session.id, &customer(), "horaires").await.is_ok());
    app.until(&vendor, |it| it.iter().any(|it| it["status"] == "queued")).await;
    assert_eq!(app.admin.post(&format!("{path}/resume"), json!(null)).await.status, 200);
    app.twin.wait_sends(1, DEADLINE).await;
}

#[tokio::test]
async fn a_send_that_a_crash_cut_off_is_fenced_and_settled_from_outside() {
    let mut app = spawn_app().await;
    let vendor = app.vendor(1).await;
    // The twin takes it and never answers; then the process is gone without a word.
    app.twin.misbehave(vendor.session.id, Misbehaviour::Hang { accepted: true }, Times::Once);
    app.twin.misbehave(vendor.session.id, Misbehaviour::NoEchoes, Times::Always);
    app.twin.misbehave(vendor.session.id, Misbehaviour::NoStatuses, Times::Always);
    assert!(app.twin.customer_says(vendor.session.id, &customer(), "horaires").await.is_ok());
    app.twin.wait_sends(1, DEADLINE).await;
    app.until(&vendor, |it| it.iter().any(|it| it["status"] == "sending")).await;
    let copy = copy_of_data(&app);
    let (journal, changes) = take_up(copy.path()).await;
    assert_eq!(changes, 1);
    let page = journal.messages(&vendor.id, None, 10).await.unwrap();
    assert!(page.rows.iter().any(|it| it.status == "unknown_yet"), "{page:?}");
    let ledger = journal.ledger(None).await.unwrap();
    assert!(ledger.balances());
    app.app.take();
}

/// The data as a crash at this moment would leave it, files of messages aside.
fn copy_of_data(app: &TestApp) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(app.data_dir()).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

async fn take_up(directory: &std::path::Path) -> (SqliteJournal, usize) {
    let key = std::fs::read_to_string(directory.join("encryption.key")).unwrap();
    let vault = waba_gateway::vault::Vault::new(&key.into(), &[]).unwrap();
    let journal = SqliteJournal::open(&directory.join("waba.db"), vault.into()).unwrap();
    let waiting = journal.waiting(waba_gateway::domain::id::EntryId(0), 1_000).await.unwrap();
    let n = waiting.len();
    (journal, n)
}

#[tokio::test]
async fn a_crash_at_any_point_sends_nothing_twice_and_loses_nothing() {
    // Each copy of the data is what a crash at that moment would leave. From each, the service
    // starts again beside the twin, which already has what was sent before.
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.twin.misbehave(
        vendor.session.id,
        Misbehaviour::Slow(Duration::from_millis(20)),
        Times::Always,
    );
    let mut copies = Vec::new();
    let n_messages = 12;
    let posts = async {
        for n in 0..n_messages {
            let customer = Customer::new(&format!("+2217055502{n:02}"));
            assert!(app.twin.customer_says(vendor.session.id, &customer, "horaires").await.is_ok());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let copying = async {
        for _ in 0..12 {
            // What the twin has by now had begun before the copy is made.
            let sent_before = app.twin.sends();
            copies.push((copy_of_live(&app).await, sent_before));
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    };
    tokio::join!(posts, copying);
    app.twin.wait_sends(n_messages, DEADLINE).await;
    for (copy, sent_before) in copies {
        after_crash(&vendor, copy, &sent_before).await;
    }
}

/// A consistent copy of a live database, as `VACUUM INTO` makes it: what is committed, no more.
async fn copy_of_live(app: &TestApp) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let (from, to) = (app.data_dir(), copy.path().join("waba.db"));
    std::fs::copy(from.join("encryption.key"), copy.path().join("encryption.key")).unwrap();
    let run = move || {
        let db = rusqlite::Connection::open(from.join("waba.db")).unwrap();
        db.busy_timeout(DEADLINE).unwrap();
        db.execute("VACUUM INTO ?1", [to.display().to_string()]).unwrap();
    };
    tokio::task::spawn_blocking(run).await.unwrap();
    copy
}

async fn after_crash(
    vendor: &TestVendor,
    copy: tempfile::TempDir,
    sent_before: &[waba_gateway::twin::Sent],
) {
    let (journal, _) = take_up(copy.path()).await;
    let page = journal.messages(&vendor.id, None, 200).await.unwrap();
    let waiting: Vec<String> = page
        .rows
        .iter()
        .filter(|it| !it.is_inbound && it.status == "queued")
        .map(|it| it.address.phone.as_ref().unwrap().expose())
        .collect();
    // What will be sent after the crash has not been sent before it.
    for to in &waiting {
        assert!(
            !sent_before.iter().any(|it| it.to == *to),
            "{} would be sent twice",
            waiting.len()
        );
    }
    // Every message that is done has its answer recorded, whatever became of it.
    for message in page.rows.iter().filter(|it| it.is_inbound && it.status == "received") {
        let is_answer = |it: &&waba_gateway::journal::MessageRow| it.origin == Some(message.id);
        assert_eq!(page.rows.iter().filter(is_answer).count(), 1);
    }
    let (ledger, counted) =
        (journal.ledger(None).await.unwrap(), journal.count(None).await.unwrap());
    assert_eq!(ledger, counted);
    assert!(ledger.balances(), "{ledger:?}");
    close(journal.db().clone()).await;
}

async fn close(db: Db) {
    tokio::task::spawn_blocking(move || db.close()).await.unwrap();
}

/// The process under load, killed five times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_five_times_under_load_it_loses_nothing_and_repeats_nothing() {
    let twin = Twin::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (data, log) = (directory.path().join("data"), directory.path().join("log"));
    let port = free_port();
    let vendors = prepare(&data, port, &twin).await;
    let variables = [("WASENDER_API_URL", twin.api_url())];
    let mut accepted: HashMap<String, u64> = HashMap::new();
    let mut in_flight_at_kills = 0;
    for round in 0..5 {
        let mut process = Process::serve(&data, port, &variables, &log).await;
        let kill_after = Duration::from_millis(250 + 90 * round);
        let load = load(&vendors, round, &mut accepted);
        let _ = tokio::time::timeout(kill_after, load).await;
        process.kill();
        in_flight_at_kills += 4 * vendors.len();
    }
    let mut process = Process::serve(&data, port, &variables, &log).await;
    let sends = settled_sends(&twin, &data, accepted.len()).await;
    process.signal("TERM");
    assert!(process.ended(Duration::from_secs(20)).await.success());
    let mut times: HashMap<&str, usize> = HashMap::new();
    sends.iter().for_each(|it| *times.entry(it.to.as_str()).or_default() += 1);
    assert!(times.values().all(|it| *it == 1), "a reply left twice");
    let missing = accepted.keys().filter(|it| !times.contains_key(it.as_str())).count();
    let (journal, _) = take_up(&data).await;
    let ledger = journal.ledger(None).await.unwrap();
    assert_eq!(ledger, journal.count(None).await.unwrap());
    assert!(ledger.balances(), "{ledger:?}");
    // What has no reply is listed as unknown, still fenced, and there are no more of them than
    // sends were in flight.
    let unknown = usize::try_from(ledger.intents_unknown + ledger.intents_waiting).unwrap();
    assert!(missing <= unknown, "{missing} lost, {ledger:?}");
    assert!(unknown <= in_flight_at_kills, "{ledger:?}");
    assert!(accepted.len() > 50, "the load was no load: {}", accepted.len());
    assert!(ledger.accepted >= i64::try_from(accepted.len()).unwrap());
}

struct LoadVendor {
    hook: String,
    secret: String,
}

async fn prepare(data: &std::path::Path, port: u16, twin: &Twin) -> Vec<LoadVendor> {
    let base = format!("http://127.0.0.1:{port}");
    let config = crate::support::config(data, &base, twin, &[]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = crate::support::start(&config, Clock::System, listener).await;
    let mut vendors = Vec::new();
    for n in 0..10_u32 {
        let id = waba_gateway::domain::id::VendorId::parse(&format!("vendor_{n:03}")).unwrap();
        app.gateway.put_vendor(&id, crate::support::change(rules())).await.unwrap();
        let phone = format!("+22177000{n:04}");
        let session = twin.add_session(waba_gateway::twin::NewSession::new(&phone));
        let new = waba_gateway::gateway::NewInstance {
            phone_number: waba_gateway::domain::phone::PhoneNumber::from_wire(&phone).unwrap(),
            wasender_instance_id: Some(session.id.to_string()),
            session_key: Some(session.api_key.clone().into()),
            webhook_secret: Some(session.webhook_secret.clone().into()),
            token: None,
            account_protection: false,
            schemes: waba_gateway::domain::waba::SignatureSchemes::default(),
        };
        app.gateway.create_instance(&id, new).await.unwrap();
        let hook = format!("{base}/api/webhooks/wasender/{id}");
        twin.set_webhook(session.id, &hook);
        vendors.push(LoadVendor { hook, secret: session.webhook_secret });
    }
    app.stop().await;
    vendors
}

/// Webhooks of ever new customers, until it is dropped. What was answered 200 is remembered.
async fn load(vendors: &[LoadVendor], round: u64, accepted: &mut HashMap<String, u64>) {
    let client = crate::support::Client::new("", "");
    let (told, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let post = async {
        let mut n = 0_u64;
        loop {
            let posts = (0..8).map(|lane| {
                let vendor = &vendors[usize::try_from(n + lane).unwrap() % vendors.len()];
                let to = format!("+22170{}{:06}", round + 1, n + lane);
                let at = Clock::System.now() / 1_000;
                let id = format!("K{round}-{}", n + lane);
                let body = real_message(&id, &Customer::new(&to), "horaires", at).to_string();
                let (client, told) = (client.clone(), told.clone());
                async move {
                    let mac = sign_hmac(&vendor.secret, body.as_bytes());
                    let headers = [("x-wasender-signature", mac.as_str())];
                    let post = client.try_post(&vendor.hook, &headers, body.into_bytes());
                    if post.await == Some(200) {
                        let _ = told.send(to);
                    }
                }
            });
            futures_util::future::join_all(posts).await;
            n += 8;
        }
    };
    let listen = async {
        while let Some(to) = answers.recv().await {
            accepted.insert(to, round);
        }
    };
    tokio::join!(post, listen);
}

/// Waits until the number of replies stands still although some may be missing: those are fenced.
async fn settled_sends(
    twin: &Twin,
    data: &std::path::Path,
    n_wanted: usize,
) -> Vec<waba_gateway::twin::Sent> {
    let started = std::time::Instant::now();
    let db = rusqlite::Connection::open(data.join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    loop {
        let sql = "SELECT count(*) FROM entries WHERE is_open = 1 AND (kind = 0
            OR (kind = 2 AND account = 0 AND life NOT LIKE '%fenced%'))";
        let n_open: i64 = db.query_row(sql, (), |row| row.get(0)).unwrap();
        if n_open == 0 {
            return twin.sends();
        }
        let within = 4 * DEADLINE;
        assert!(started.elapsed() < within, "{n_open} open, {} of {n_wanted}", twin.n_sends());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
