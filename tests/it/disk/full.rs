//! A full disk: refused while it lasts, nothing lost by it, and back by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::Router;
use serde_json::json;
use waba_gateway::{
    gateway::free_disk_bytes,
    journal::{Journal, SqliteJournal},
    twin::{Customer, Misbehaviour, Times, real_message},
};

use super::{Server, check, vault};
use crate::support::{DEADLINE, Options, TestApp, spawn_app, spawn_app_with};

/// A responder that fills the disk when it is asked for the first time.
async fn filling_bot(switch: std::path::PathBuf) -> (String, Arc<AtomicUsize>) {
    let n_asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&n_asked);
    let router = Router::new().fallback(move || {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            std::fs::write(&switch, "").unwrap();
        }
        async { r#"{"message":"merci"}"# }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/bot", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    (url, n_asked)
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is().await {
        assert!(started.elapsed() < 3 * DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until nothing waits any more, as the files say it.
pub(super) async fn settled(server: &Server) {
    let db = rusqlite::Connection::open(server.data().join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let sql = "SELECT count(*) FROM entries WHERE is_open = 1 AND account = 0";
    until("work is left", async || db.query_row(sql, (), |row| row.get::<_, i64>(0)) == Ok(0))
        .await;
}

fn n_errors(log: &str) -> usize {
    log.lines().filter(|it| it.contains(r#""level":"ERROR""#)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_answered_503_and_what_was_taken_is_worked_on_when_there_is_room() {
    let mut server = Server::start(json!([])).await;
    let (url, n_asked) = filling_bot(server.layer.switch("full")).await;
    let responders = json!({ "responders": [{ "kind": "responseApi", "url": url }] });
    let changed = server.admin.put("/api/admin/vendors/v", responders).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let mut kept = vec![server.post(1).await.unwrap()];
    until("the bot is asked", async || n_asked.load(Ordering::SeqCst) > 0).await;
    until("refused", async || server.post(2).await == Err(503)).await;
    assert_eq!(server.admin.get("/ready").await.status, 503);
    assert_eq!(server.admin.get("/health").await.status, 200);
    // It is hammered meanwhile, and neither dies, nor answers 200, nor fills the log.
    let started = Instant::now();
    let mut n_refused = 0;
    while started.elapsed() < Duration::from_secs(4) {
        assert_eq!(server.post(3).await, Err(503));
        n_refused += 1;
    }
    let log = server.log();
    assert!(n_refused > 50, "{n_refused}");
    assert_eq!(n_errors(&log), 1, "{log}");
    assert_eq!(log.matches("the disk takes no writes").count(), 1);
    assert_eq!(server.twin.n_sends(), 0, "what cannot be recorded is not sent");
    assert_eq!(n_asked.load(Ordering::SeqCst), 1, "the bot is not asked in vain");
    server.layer.mend("full");
    until("taken again", async || server.post(4).await.map(|it| kept.push(it)).is_ok()).await;
    server.twin.wait_sends(2, DEADLINE).await;
    settled(&server).await;
    assert_eq!(server.admin.get("/ready").await.status, 200);
    assert_eq!(server.twin.n_sends(), 2, "each is answered once");
    assert_eq!(n_asked.load(Ordering::SeqCst), 3, "the first one's bot was asked again");
    // Told apart by some seconds, should it come and go.
    let is_told = async || {
        server.admin.get("/ready").await;
        server.log().contains("the disk takes writes again")
    };
    until("told", is_told).await;
    server.process().kill();
    check(&server.data(), vault(), &kept, "after a full disk").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_whose_outcome_finds_no_room_is_not_repeated() {
    let mut server = Server::start(json!([{ "kind": "rules", "otherwise": "merci" }])).await;
    server.twin.misbehave(server.session, Misbehaviour::Slow(Duration::from_secs(2)), Times::Once);
    let kept = [server.post(1).await.unwrap()];
    let sending = async || {
        let seen = server.twin.requests();
        seen.iter().any(|it| it.path.ends_with("/send-message"))
    };
    until("it is being sent", sending).await;
    server.layer.fail("full");
    server.twin.wait_sends(1, DEADLINE).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(n_errors(&server.log()) <= 1, "{}", server.log());
    // The process dies before there is room: nobody knows what became of the send.
    server.process().kill();
    server.layer.mend("full");
    server.serve(true).await;
    settled(&server).await;
    assert_eq!(server.twin.n_sends(), 1, "it left once");
    server.process().kill();
    check(&server.data(), vault(), &kept, "after a full disk").await;
    let journal = SqliteJournal::open(&server.data().join("waba.db"), vault()).unwrap();
    let ledger = journal.ledger(None).await.unwrap();
    // The twin's log told what became of it.
    assert_eq!((ledger.created, ledger.intents_sent), (1, 1), "{ledger:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_in_flight_while_the_disk_is_full_is_recorded_when_there_is_room() {
    let mut server = Server::start(json!([{ "kind": "rules", "otherwise": "merci" }])).await;
    server.twin.misbehave(server.session, Misbehaviour::Slow(Duration::from_secs(1)), Times::Once);
    let kept = [server.post(1).await.unwrap()];
    let sending = async || {
        let seen = server.twin.requests();
        seen.iter().any(|it| it.path.ends_with("/send-message"))
    };
    until("it is being sent", sending).await;
    server.layer.fail("full");
    server.twin.wait_sends(1, DEADLINE).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.layer.mend("full");
    settled(&server).await;
    assert_eq!(server.twin.n_sends(), 1);
    server.process().kill();
    check(&server.data(), vault(), &kept, "after a full disk").await;
}

#[tokio::test]
async fn with_only_the_reserve_left_webhooks_are_refused_and_work_goes_on() {
    let mut app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let post = async |app: &TestApp, n: usize| {
        let customer = Customer::new(&format!("+22170555{n:04}"));
        let body = real_message(&format!("K{n}"), &customer, "horaires", app.now_secs());
        app.post_signed(&vendor, &body).await.status
    };
    app.gateway.pause(None, true).await.unwrap();
    for n in 0..3 {
        assert_eq!(post(&app, n).await, 200);
    }
    app.config.min_free_disk_bytes = u64::MAX;
    app.restart().await;
    assert_eq!(post(&app, 3).await, 503);
    assert_eq!(app.admin.get("/ready").await.status, 503);
    app.gateway.pause(None, false).await.unwrap();
    app.twin.wait_sends(3, DEADLINE).await;
    app.settled().await;
    assert_eq!(post(&app, 4).await, 503, "still");
    app.config.min_free_disk_bytes = 0;
    app.restart().await;
    assert_eq!(post(&app, 3).await, 200);
    app.twin.wait_sends(4, DEADLINE).await;
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 4);
}

/// In memory, where nobody else writes much meanwhile.
#[tokio::test]
async fn room_that_goes_and_comes_back_while_it_runs_is_noticed() {
    const BALLAST: u64 = 16 * 1024 * 1024;
    let Ok(place) = tempfile::tempdir_in("/dev/shm") else {
        return println!("not looked at: there is no /dev/shm");
    };
    let free = free_disk_bytes(place.path()).unwrap();
    if free < 4 * BALLAST {
        return println!("not looked at: /dev/shm has {free} bytes");
    }
    let variables = vec![
        ("DATA_DIR", place.path().join("data").display().to_string()),
        ("MIN_FREE_DISK", (free - BALLAST).to_string()),
    ];
    let app = spawn_app_with(Options { variables, ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let post = async |n: usize| {
        let customer = Customer::new(&format!("+22170555{n:04}"));
        let body = real_message(&format!("K{n}"), &customer, "horaires", app.now_secs());
        app.post_signed(&vendor, &body).await.status
    };
    assert_eq!(post(0).await, 200);
    for n in [1, 2] {
        let ballast = place.path().join("ballast");
        std::fs::write(&ballast, vec![1; usize::try_from(BALLAST).unwrap()]).unwrap();
        until("refused", async || post(100 + n).await == 503).await;
        assert_eq!(app.admin.get("/ready").await.status, 503);
        app.twin.wait_sends(n, DEADLINE).await;
        std::fs::remove_file(&ballast).unwrap();
        until("taken again", async || post(n).await == 200).await;
        assert_eq!(app.admin.get("/ready").await.status, 200);
    }
    app.settled().await;
}
