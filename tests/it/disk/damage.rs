//! A damaged database file: said plainly, and not touched.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use waba_gateway::{
    domain::id::{EntryId, VendorId},
    journal::{Counters, Journal, SqliteJournal},
    twin::{Customer, real_message},
};

use super::{Dice, ENCRYPTION_KEY, vault};
use crate::support::{DEADLINE, Options, TestApp, gateway_binary, spawn_app_with};

const PAGE_BYTES: usize = 4_096;

/// A gateway that has worked, stopped, all of it in the database file.
async fn stopped() -> (TestApp, Vec<u8>) {
    let mut app = app().await;
    app.app.take().unwrap().stop().await;
    let path = app.data_dir().join("waba.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).unwrap();
    let whole = std::fs::read(path).unwrap();
    assert!(whole.len() > 8 * PAGE_BYTES);
    (app, whole)
}

async fn app() -> TestApp {
    let variables = vec![("ENCRYPTION_KEY", ENCRYPTION_KEY.to_owned())];
    let app = spawn_app_with(Options { variables, ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    for n in 0..20 {
        let customer = Customer::new(&format!("+2217055500{n:02}"));
        let body = real_message(&format!("K{n}"), &customer, "horaires", app.now_secs());
        assert_eq!(app.post_signed(&vendor, &body).await.status, 200);
    }
    app.settled().await;
    app
}

/// What a start on this directory comes to.
fn serve(data: &Path) -> (Option<i32>, String) {
    let log = data.with_file_name("log");
    let mut child = Command::new(gateway_binary())
        .arg("serve")
        .env_clear()
        .env("DATA_DIR", data)
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("METRICS_ADDR", "off")
        .env("MIN_FREE_DISK", "0")
        .env("ENCRYPTION_KEY", ENCRYPTION_KEY)
        .current_dir(data.parent().unwrap())
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() && started.elapsed() < DEADLINE {
        std::thread::sleep(Duration::from_millis(10));
    }
    // Where it serves, it would not end.
    let _ = child.kill();
    (child.wait().unwrap().code(), std::fs::read_to_string(&log).unwrap())
}

/// The process does not start on these files, says why, and leaves them as they are.
#[track_caller]
fn refused(db: Option<&[u8]>, wal: Option<&[u8]>, because: &str) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let files = [("waba.db", db), ("waba.db-wal", wal)];
    for (name, content) in files {
        if let Some(content) = content {
            std::fs::write(data.join(name), content).unwrap();
        }
    }
    let (code, told) = serve(&data);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("waba.db") && told.contains(because), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    for (name, content) in files {
        let now = std::fs::read(data.join(name)).ok();
        assert!(now.as_deref() == content, "{name} was changed: {told}");
    }
}

#[tokio::test]
async fn a_damaged_database_file_is_refused_and_not_overwritten() {
    let live = app().await;
    let wal = std::fs::read(live.data_dir().join("waba.db-wal")).unwrap();
    // What is in the write-ahead file must not be thrown away for want of the other.
    refused(None, Some(&wal), "write-ahead file");
    refused(Some(b""), Some(&wal), "write-ahead file");
    let (_app, whole) = stopped().await;
    refused(Some(&whole[..10]), None, "not a database");
    refused(Some(&whole[..whole.len() / 2]), None, "malformed");
    refused(Some(&[0; PAGE_BYTES]), None, "not a database");
    let mut noise = whole.clone();
    noise[..100].fill(0xA5);
    refused(Some(&noise), None, "not a database");
}

#[tokio::test]
async fn damaged_pages_make_nothing_panic() {
    let (_app, whole) = stopped().await;
    let mut dice = Dice::new(13);
    let mut n_found = 0;
    for n in 0..60 {
        let mut damaged = whole.clone();
        for _ in 0..=n / 20 {
            let page = dice.below(damaged.len() / PAGE_BYTES) * PAGE_BYTES;
            let (from, n_bytes) = (page + dice.below(64), 1 + dice.below(512));
            (from..from + n_bytes).for_each(|at| damaged[at] = dice.below(256).try_into().unwrap());
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("waba.db");
        std::fs::write(&path, &damaged).unwrap();
        n_found += usize::from(!reads_all(&path).await);
    }
    assert!(n_found > 10, "of 60 damaged files {n_found} were noticed");
}

/// Whether everything can be read.
async fn reads_all(path: &Path) -> bool {
    let Ok(journal) = SqliteJournal::open(path, vault()) else { return false };
    let vendor = VendorId::parse("vendor_001").unwrap();
    let ends = [
        journal.waiting(EntryId(0), 1_000).await.is_ok(),
        journal.messages(&vendor, None, 200).await.is_ok(),
        journal.count(None).await.is_ok_and(|it| it.balances()),
        journal.count_hours(&vendor, 0..1_000_000).await.is_ok(),
        journal.ready().await.is_ok(),
    ];
    let db = journal.db().clone();
    tokio::task::spawn_blocking(move || db.close()).await.unwrap();
    ends.iter().all(|it| *it)
}
