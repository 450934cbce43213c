//! Everything sealed with another key, beside a server that works.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        clock::Clock,
        id::VendorId,
        secret::{ExposeSecret, SecretString},
        vendor::Vendor,
    },
    journal::SqliteJournal,
    store::{Keyed, SqliteStore, Store},
    twin::Customer,
    vault::Vault,
};

use crate::{
    media::sending::uploaded,
    support::{DEADLINE, Options, TestApp, TestVendor, gateway_binary, spawn_app_with},
};

/// What is sealed in the database.
const SEALED: [(&str, &str); 5] = [
    ("vendors", "doc"),
    ("instances", "doc"),
    ("contacts", "doc"),
    ("entries", "body"),
    ("media", "doc"),
];

fn key() -> SecretString {
    Vault::new_key().unwrap()
}

/// A command on the data in a directory, with this key and these older ones.
fn command(data: &Path, arguments: &[&str], key: &SecretString, old: &[&SecretString]) -> Command {
    let old: Vec<&str> = old.iter().map(|it| it.expose_secret()).collect();
    let mut command = Command::new(gateway_binary());
    command
        .args(arguments)
        .current_dir(data.parent().unwrap())
        .env_clear()
        .env("DATA_DIR", data)
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("METRICS_ADDR", "off")
        .env("ENCRYPTION_KEY", key.expose_secret())
        .env("ENCRYPTION_KEYS_OLD", old.join(","))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn ended(output: &Output) -> (i32, String) {
    let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
}

fn run(
    data: &Path,
    arguments: &[&str],
    key: &SecretString,
    old: &[&SecretString],
) -> (i32, String) {
    ended(&command(data, arguments, key, old).output().unwrap())
}

/// Runs it where standard error is a terminal, by `script` of util-linux.
pub(crate) fn at_a_terminal(command: &Command) -> (i32, String) {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<&str> = words.map(|it| it.to_str().unwrap()).collect();
    let shell = format!("stty cols 100 rows 24; exec {}", words.join(" "));
    let mut script = Command::new("script");
    script.args(["-qec", &shell, "/dev/null"]).stdin(Stdio::null()).env("TERM", "xterm");
    script.envs(command.get_envs().filter_map(|it| Some((it.0, it.1?))));
    ended(&script.current_dir(command.get_current_dir().unwrap()).output().unwrap())
}

/// How many boxes of a column there are, and how many are not sealed with this key.
pub(crate) fn boxes(
    data: &Path,
    (table, column): (&str, &str),
    key: &SecretString,
) -> (usize, usize) {
    let vault = Vault::new(key, &[]).unwrap();
    let db = rusqlite::Connection::open(data.join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let mut all = db.prepare(&format!("SELECT {column} FROM {table}")).unwrap();
    let all = all.query_map((), |row| row.get::<_, Option<Vec<u8>>>(0)).unwrap();
    let all: Vec<Vec<u8>> = all.filter_map(Result::unwrap).filter(|it| !it.is_empty()).collect();
    (all.len(), all.iter().filter(|it| !vault.is_current(it)).count())
}

async fn app_with(key: &SecretString) -> TestApp {
    let variables = vec![("ENCRYPTION_KEY", key.expose_secret().to_owned())];
    spawn_app_with(Options { variables, ..Options::default() }).await
}

/// Restarts the server with this key and these older ones.
pub(crate) async fn restart(app: &mut TestApp, key: &SecretString, old: &[&SecretString]) {
    app.config.encryption_key = Some(key.clone());
    app.config.old_encryption_keys = old.iter().map(|it| (*it).clone()).collect();
    app.restart().await;
}

/// What can be read of a vendor's messages: everything, and in their order.
async fn readable(app: &TestApp, vendor: &TestVendor) -> Vec<(String, Value)> {
    let messages = app.messages(vendor).await;
    messages.iter().map(|it| (it["id"].as_str().unwrap().to_owned(), it["text"].clone())).collect()
}

async fn says(app: &TestApp, vendor: &TestVendor, customer: &str, text: &str) {
    let customer = Customer::new(customer);
    assert!(app.twin.customer_says(vendor.session.id, &customer, text).await.is_ok());
}

#[test]
fn every_sealed_column_is_looked_at_here_or_in_tests_of_its_own() {
    // Copies of a store elsewhere, and jobs.
    const OTHERS: [(&str, &str); 3] =
        [("known", "doc"), ("bulk_jobs", "doc"), ("bulk_recipients", "doc")];
    let columns = Keyed::columns().iter().chain(SqliteJournal::columns());
    let mut all: Vec<(&str, &str)> = columns.map(|it| (it.table, it.column)).collect();
    let mut here: Vec<(&str, &str)> = SEALED.into_iter().chain(OTHERS).collect();
    all.sort_unstable();
    here.sort_unstable();
    assert_eq!(all, here);
}

#[tokio::test]
async fn everything_is_sealed_with_the_new_key_while_the_server_works() {
    let (one, two) = (key(), key());
    let mut app = app_with(&one).await;
    let data = app.data_dir();
    let vendor = app.vendor(1).await;
    let body = json!({ "event": "message", "instanceId": vendor.session.id.to_string(),
        "data": { "from": "22170111111", "message": "horaires", "type": "text", "id": "A1", "time": app.now_secs() } });
    assert_eq!(app.post_signed(&vendor, &body).await.status, 200);
    for n in 0..10 {
        says(&app, &vendor, &format!("+22170555010{n}"), "horaires").await;
    }
    uploaded(&app, &vendor, "", "application/pdf", b"%PDF-1.7 a price list".to_vec()).await;
    app.twin.wait_sends(11, DEADLINE).await;
    app.settled().await;
    let before = readable(&app, &vendor).await;

    // The server does not know the new key yet: it could not read what is sealed with it.
    let (code, told) = run(&data, &["vault", "rotate"], &two, &[&one]);
    assert!(code == 2 && told.contains("restart it with the new key"), "{code} {told}");
    restart(&mut app, &two, &[&one]).await;
    // Whoever has the new key alone cannot start before all is done.
    let (code, told) = run(&data, &["vendor", "list"], &two, &[]);
    assert!(code == 2 && told.contains("another ENCRYPTION_KEY"), "{code} {told}");
    let (code, told) = run(&data, &["vault", "rotate", "--dry-run"], &two, &[&one]);
    assert!(code == 0 && told.contains("nothing was changed"), "{code} {told}");
    for what in SEALED {
        let (n, n_old) = boxes(&data, what, &two);
        assert!(n > 0 && n_old > 0, "{what:?}: {n_old} of {n}");
    }

    let rotation = command(&data, &["vault", "rotate", "--json"], &two, &[&one]).spawn().unwrap();
    let rotation = tokio::task::spawn_blocking(move || rotation.wait_with_output().unwrap());
    let mut n_said = 0;
    // No more than the number may send at once.
    while !rotation.is_finished() && n_said < 15 {
        says(&app, &vendor, &format!("+2217055502{n_said:02}"), "horaires").await;
        n_said += 1;
    }
    let (code, told) = ended(&rotation.await.unwrap());
    assert_eq!(code, 0, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let n_resealed = |name: &str| {
        let parts = told["parts"].as_array().unwrap();
        parts.iter().find(|it| it["name"] == name).unwrap()["resealed"].as_u64().unwrap()
    };
    assert!(SEALED.iter().all(|it| n_resealed(it.0) > 0) && told["clean"] == true, "{told:#}");
    for what in SEALED {
        assert_eq!(boxes(&data, what, &two).1, 0, "{what:?}");
    }
    app.twin.wait_sends(11 + n_said, DEADLINE).await;
    app.settled().await;

    // The old key is needed for nothing any more, and opens nothing.
    restart(&mut app, &two, &[]).await;
    let (code, told) = run(&data, &["vendor", "list"], &one, &[]);
    assert!(code == 2 && told.contains("another ENCRYPTION_KEY"), "{code} {told}");
    let after = readable(&app, &vendor).await;
    assert!(after.ends_with(&before), "{after:?}");
    // What is found by keyed hashes is found: the same message, the same customer.
    assert_eq!(app.post_signed(&vendor, &body).await.json()["status"], "duplicate");
    says(&app, &vendor, "+221705550100", "merci").await;
    app.twin.wait_sends(12 + n_said, DEADLINE).await;
    app.settled().await;
    let contacts: std::collections::BTreeSet<i64> =
        app.messages(&vendor).await.iter().filter_map(|it| it["contact"].as_i64()).collect();
    assert_eq!(contacts.len(), 11 + n_said);
    let audit = app.admin.get("/api/admin/audit").await;
    assert!(audit.text.contains("\"rotateVault\""), "{}", audit.text);
}

#[tokio::test]
async fn keys_of_before_are_refused_once_something_was_sealed_with_new_ones() {
    let (one, two) = (key(), key());
    let mut app = app_with(&one).await;
    let (data, vendor) = (app.data_dir(), app.vendor(1).await);
    says(&app, &vendor, "+221705550100", "horaires").await;
    app.twin.wait_sends(1, DEADLINE).await;
    app.settled().await;
    // A customer who is erased leaves a row in which nothing is sealed.
    let list = format!("/api/admin/vendors/{}/conversations", vendor.id);
    let all = app.admin.get(&list).await.json();
    let id = all["conversations"][0]["conversationId"].as_str().unwrap().to_owned();
    assert_eq!(app.admin.delete(&format!("{list}/{id}")).await.status, 200);
    restart(&mut app, &two, &[&one]).await;
    app.app.take().unwrap().stop().await;
    let (code, told) = run(&data, &["serve"], &one, &[]);
    assert!(code == 1 && told.contains("with another ENCRYPTION_KEY since"), "{code} {told}");
    let (code, told) = run(&data, &["vault", "rotate"], &two, &[&one]);
    assert_eq!(code, 0, "{told}");
    let (code, told) = run(&data, &["vendor", "show", vendor.id.as_str()], &two, &[]);
    assert_eq!(code, 0, "{told}");
}

#[tokio::test]
async fn a_rotation_that_was_killed_is_gone_on_with() {
    const N: usize = 5_000;
    let (one, two) = (key(), key());
    let mut app = app_with(&one).await;
    let data = app.data_dir();
    app.app.take().unwrap().stop().await;
    let vault = Arc::new(Vault::new(&one, &[]).unwrap());
    let journal =
        waba_gateway::journal::SqliteJournal::open(&data.join("waba.db"), Arc::clone(&vault));
    let db = journal.unwrap().db().clone();
    let store = SqliteStore::new(db.clone(), vault);
    let vendors: Vec<Vendor> = (0..N)
        .map(|n| {
            let id = VendorId::parse(&format!("shop_{n:05}")).unwrap();
            Vendor::new(id, "Shop".to_owned(), "hush".to_owned().into(), Clock::System.now())
        })
        .collect();
    store.put_all(&vendors, &[]).await.unwrap();
    db.close();
    let mut rotation: Child = command(&data, &["vault", "rotate"], &two, &[&one]).spawn().unwrap();
    let started = std::time::Instant::now();
    let n_old = || boxes(&data, SEALED[0], &two).1;
    while n_old() == N {
        assert!(started.elapsed() < DEADLINE, "nothing happens");
    }
    rotation.kill().unwrap();
    rotation.wait().unwrap();
    let left = n_old();
    assert!(left > 0 && left < N, "{left}");
    let (code, told) = run(&data, &["vendor", "list"], &two, &[]);
    assert!(code == 2 && told.contains("another ENCRYPTION_KEY"), "{code} {told}");
    let (code, told) = run(&data, &["audit"], &two, &[&one]);
    assert!(code == 0 && told.contains("rotateVault"), "{code} {told}");
    let (code, told) = run(&data, &["vault", "rotate", "--json"], &two, &[&one]);
    let document: Value = serde_json::from_str(&told).unwrap();
    let vendors = document["parts"].as_array().unwrap().iter().find(|it| it["name"] == "vendors");
    assert_eq!((code, &vendors.unwrap()["resealed"]), (0, &json!(left)), "{told}");
    assert_eq!(n_old(), 0);
    let (code, told) = run(&data, &["vendor", "list"], &two, &[]);
    assert!(code == 0 && told.contains("shop_00042"), "{code} {told}");
    // At a terminal it shows how far it is.
    let (code, told) = at_a_terminal(&command(&data, &["vault", "rotate"], &two, &[&one]));
    assert!(code == 0 && told.contains("vendors [") && told.contains("/5000"), "{code} {told}");
}

#[tokio::test]
async fn what_no_key_opens_is_told_and_left() {
    let (one, two) = (key(), key());
    let mut app = app_with(&one).await;
    let (data, vendor) = (app.data_dir(), app.vendor(1).await);
    app.app.take().unwrap().stop().await;
    let db = rusqlite::Connection::open(data.join("waba.db")).unwrap();
    let stranger = Vault::new(&key(), &[]).unwrap().seal("vendor:odd", b"{}").unwrap();
    db.execute("INSERT INTO vendors (id, doc) VALUES ('odd', ?1)", [&stranger]).unwrap();
    drop(db);
    let (code, told) = run(&data, &["vault", "rotate"], &two, &[&one]);
    assert!(code == 1 && told.contains("1 could not be opened"), "{code} {told}");
    // The rest does not need the old key any more.
    let (code, told) = run(&data, &["vendor", "show", vendor.id.as_str()], &two, &[]);
    assert_eq!(code, 0, "{told}");
}

#[test]
fn with_a_redis_that_others_share_no_key_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(gateway_binary())
        .env_clear()
        .env("DATA_DIR", directory.path().join("data"))
        .env("REDIS_URL", "redis://127.0.0.1:1")
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("METRICS_ADDR", "off")
        .current_dir(directory.path())
        .output()
        .unwrap();
    let (code, told) = ended(&output);
    assert!(code == 1 && told.contains("ENCRYPTION_KEY is needed with REDIS_URL"), "{code} {told}");
    assert!(!directory.path().join("data/encryption.key").exists());
}
