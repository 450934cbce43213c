//! Backups: made while the service works, brought back without sending anything.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::Value;
use waba_gateway::{
    app::{App, back_up, loopback, restore},
    config::Config,
    domain::clock::Clock,
    twin::{Customer, Misbehaviour, Times},
};

use crate::support::{
    Bot, Client, DEADLINE, TestApp, TestVendor, change, config, spawn_app, start,
};

/// A service with three answers that wait, one whose outcome nobody knows, and a message whose
/// responder is being asked.
async fn busy() -> (TestApp, TestVendor, Bot) {
    let app = spawn_app().await;
    let bot = Bot::hanging().await;
    let asks = app.vendor_with(3, change(vec![bot.responder()])).await;
    let customer = Customer::new("+221705550008");
    assert!(app.twin.customer_says(asks.session.id, &customer, "horaires").await.is_ok());
    let (vendor, other) = (app.vendor(1).await, app.vendor(2).await);
    for it in [Misbehaviour::NoEchoes, Misbehaviour::NoStatuses] {
        app.twin.misbehave(other.session.id, it, Times::Always);
    }
    app.twin.misbehave(other.session.id, Misbehaviour::Cut { accepted: true }, Times::Once);
    let customer = Customer::new("+221705550009");
    assert!(app.twin.customer_says(other.session.id, &customer, "horaires").await.is_ok());
    app.until(&other, |it| it.iter().any(|it| it["status"] == "unknown_yet")).await;
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    for n in 0..3 {
        let customer = Customer::new(&format!("+22170555000{n}"));
        assert!(app.twin.customer_says(vendor.session.id, &customer, "horaires").await.is_ok());
    }
    app.until(&vendor, |it| queued(it) == 3).await;
    while bot.n_asked() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    (app, vendor, bot)
}

fn queued(messages: &[Value]) -> usize {
    messages.iter().filter(|it| it["status"] == "queued").count()
}

async fn backed_up(app: &TestApp, name: &str) -> PathBuf {
    let file = app.directory.path().join(name);
    let (config, path) = (app.config.clone(), file.clone());
    let copied = tokio::task::spawn_blocking(move || back_up(&config, &path, Clock::System.now()));
    let n_bytes = copied.await.unwrap().unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().len(), n_bytes);
    file
}

/// A configuration on an empty directory with the key of the first.
fn elsewhere(app: &TestApp, name: &str) -> Config {
    let data = app.directory.path().join(name);
    std::fs::create_dir(&data).unwrap();
    let key = "encryption.key";
    std::fs::copy(app.data_dir().join(key), data.join(key)).unwrap();
    config(&data, &app.base, &app.twin, &[])
}

async fn started(config: &Config) -> (App, Client) {
    let listener = loopback().await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = start(config, Clock::System, listener).await;
    (app, Client::new(&base, ""))
}

/// Everything that was unfinished waits for a person, and nothing else is different.
async fn check_restored(app: &App, n_sent: usize, twin_sends: impl Fn() -> usize) {
    let parked = app.gateway.journal_ledger(None, true).await.unwrap();
    let (ledger, counted) = (parked.0, parked.1.unwrap());
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!(ledger, counted);
    assert_eq!((ledger.intents_waiting, ledger.events_waiting), (0, 0), "{ledger:?}");
    assert_eq!((ledger.intents_parked, ledger.events_parked), (4, 1));
    let stats = app.gateway.journal_stats().await.unwrap();
    assert_eq!(stats.backlog.parked, [("restored".to_owned(), 5)]);
    // All that may start by itself has started when it rests.
    while !app.gateway.work().rests() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(twin_sends(), n_sent);
}

#[tokio::test]
async fn a_restored_copy_sends_nothing_by_itself_and_balances() {
    let (mut app, vendor, bot) = busy().await;
    let file = backed_up(&app, "copy.db").await;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // The service goes on meanwhile, and what waited is sent.
    app.gateway.pause(Some(&vendor.id), false).await.unwrap();
    app.twin.wait_sends(4, DEADLINE).await;
    app.twin.idle().await;
    let newest = app.gateway.journal().newest().await.unwrap();
    app.app.take().unwrap().stop().await;
    let n_asked = bot.n_asked();

    let config = elsewhere(&app, "restored");
    let restored = restore(&config, &file, false, Clock::System.now()).await.unwrap();
    assert_eq!(restored.n_parked, 5);
    assert!(restored.made_at.is_some() && restored.replaced.is_none());
    let (copy, client) = started(&config).await;
    // Sends are not paused for that any more than they were.
    copy.gateway.pause(Some(&vendor.id), false).await.unwrap();
    check_restored(&copy, 4, || app.twin.n_sends()).await;
    assert_eq!(bot.n_asked(), n_asked);

    // A person lets one go on: that one is sent, once, after a plain replay was refused.
    let parked = waba_gateway::journal::Listing {
        state: waba_gateway::journal::Listed::Parked,
        vendor: Some(vendor.id.clone()),
        before: None,
        limit: 10,
    };
    let parked = copy.gateway.journal_entries(parked).await.unwrap();
    assert_eq!(parked.len(), 3);
    assert!(copy.gateway.replay(parked[0].id, false, "test").await.is_err());
    copy.gateway.release(parked[0].id, "test").await.unwrap();
    app.twin.wait_sends(5, DEADLINE).await;
    // New entries have ids that the first gateway never gave.
    let customer = Customer::new("+221705550077");
    let body = waba_gateway::twin::real_message("NEW", &customer, "horaires", app.now_secs());
    let hook = vendor.hook.replace(&app.base, &format!("http://{}", copy.address));
    let headers = [("x-webhook-signature", vendor.secret())];
    let answer = client.raw("POST", &hook, &headers, body.to_string().into_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(copy.gateway.journal().newest().await.unwrap() > newest);
    copy.stop().await;
}

#[tokio::test]
async fn a_backup_that_was_put_into_place_by_hand_sends_nothing_either() {
    let (mut app, vendor, _bot) = busy().await;
    let file = backed_up(&app, "copy.db").await;
    app.app.take().unwrap().stop().await;
    let config = elsewhere(&app, "by-hand");
    std::fs::copy(&file, config.data_dir.join("waba.db")).unwrap();
    let (copy, _) = started(&config).await;
    copy.gateway.pause(Some(&vendor.id), false).await.unwrap();
    check_restored(&copy, 1, || app.twin.n_sends()).await;
    copy.stop().await;
    // Only once: what is released stays released.
    let (copy, _) = started(&config).await;
    let parked = copy.gateway.journal_stats().await.unwrap().backlog.parked;
    assert_eq!(parked, [("restored".to_owned(), 5)]);
    copy.stop().await;
}

#[tokio::test]
async fn a_restore_refuses_what_would_lose_something() {
    let mut app = spawn_app().await;
    app.vendor(1).await;
    let file = backed_up(&app, "copy.db").await;
    let now = Clock::System.now();
    let refused = async |config: &Config, file: &Path, force: bool, why: &str| {
        let error = restore(config, file, force, now).await.unwrap_err();
        assert!(format!("{error:#}").contains(why), "{error:#}");
    };
    let twice = back_up(&app.config, &file, now).unwrap_err();
    assert!(twice.to_string().contains("is there already"), "{twice:#}");
    refused(&app.config, &file, true, "stop it first").await;
    app.app.take().unwrap().stop().await;
    refused(&app.config, &file, false, "--force").await;

    let config = elsewhere(&app, "restored");
    let bad = app.directory.path().join("bad.db");
    let mut bytes = std::fs::read(&file).unwrap();
    std::fs::write(&bad, b"no database").unwrap();
    refused(&config, &bad, false, "no sound backup").await;
    let half = bytes.len() / 2;
    bytes[half..half + 4096].fill(0x5a);
    std::fs::write(&bad, &bytes).unwrap();
    refused(&config, &bad, false, "no sound backup").await;
    std::fs::write(config.data_dir.join("encryption.key"), "A".repeat(43) + "=").unwrap();
    refused(&config, &file, false, "not the one").await;
    std::fs::remove_file(config.data_dir.join("encryption.key")).unwrap();
    refused(&config, &file, false, "no encryption key").await;
    // Nothing of all that was left behind.
    let left = std::fs::read_dir(&config.data_dir).unwrap();
    let left: Vec<_> = left.map(|it| it.unwrap().file_name()).filter(|it| it != "lock").collect();
    assert!(left.is_empty(), "{left:?}");

    // With force what was there is moved aside, whole.
    let n_vendors = |it: &App| {
        let gateway = it.gateway.clone();
        async move { gateway.vendors(None, 10).await.unwrap().vendors.len() }
    };
    let listener = loopback().await.unwrap();
    let before = start(&app.config, Clock::System, listener).await;
    let second = waba_gateway::domain::id::VendorId::parse("second").unwrap();
    let change = waba_gateway::gateway::VendorChange::default();
    before.gateway.put_vendor(&second, change).await.unwrap();
    assert_eq!(n_vendors(&before).await, 2);
    before.stop().await;
    let restored = restore(&app.config, &file, true, now).await.unwrap();
    let replaced = restored.replaced.unwrap();
    assert_eq!(restored.n_parked, 0);
    let (after, _) = started(&app.config).await;
    assert_eq!(n_vendors(&after).await, 1);
    after.stop().await;
    let old = elsewhere(&app, "old");
    for file in std::fs::read_dir(replaced).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, old.data_dir.join(path.file_name().unwrap())).unwrap();
    }
    let (old, _) = started(&old).await;
    assert_eq!(n_vendors(&old).await, 2);
    old.stop().await;
}
