//! `waba-migrate`, run as an operator runs it.

mod export;
mod import;
mod import_hub;
mod import_kills;
mod interactive;
mod moving;
mod place;
mod refusals;
mod steps;
mod webhooks;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Barrier};

use rusqlite::Connection as Sqlite;
use waba_gateway::{
    app,
    domain::{
        clock::{Clock, HOUR},
        event::Connection,
        id::InstanceId,
        secret::ExposeSecret,
        vendor::{OnUnknown, Vendor, VendorStatus},
        waba::{ProviderKind, SignatureSchemes, WebhookSecret},
    },
    store::Store,
    vault::Vault,
};

use self::place::{ANNA, BAD, BINTA, HEADER, Place, Ran, other_instance, secrets, vendor_id};

#[tokio::test]
async fn the_examples_become_vendors_with_their_numbers() {
    let place = Place::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/vendors.csv");
    let ran = place.run(&["batch", file.to_str().unwrap()]);
    ran.says(0, &["3 rows: 3 created, 0 updated, 0 unchanged, 0 bad"]);
    let url = "https://gw.example/base/api/webhooks/wasender/vendor_00";
    for n in 1..=3 {
        ran.says(0, &[&format!("line {}  vendor_00{n}  created  {url}{n}\n", n + 1)]);
    }
    let opened = place.open();
    let vendor = opened.vendor("vendor_002").await.unwrap();
    assert_eq!(vendor.business_name, "Pharmacie du Plateau, Abidjan");
    assert!(vendor.signing_secret.expose_secret().starts_with("whsec_"));
    let other = opened.vendor("vendor_001").await.unwrap();
    assert_ne!(vendor.signing_secret.expose_secret(), other.signing_secret.expose_secret());
    let instance = opened.instance("vendor_002").await.unwrap();
    assert_eq!(instance.id.as_str(), "waba_vendor_002");
    assert_eq!(instance.phone_number.digits(), "2250700000002");
    assert_eq!((instance.provider, instance.status), (ProviderKind::Wasender, Connection::Pending));
    assert_eq!(instance.wasender.instance_id.as_deref(), Some("4002"));
    assert_eq!(secrets(&instance), ["example-webhook-secret-abidjan-02"]);
    assert!(instance.wasender.session_key.unwrap().expose_secret().ends_with("ab1d4002"));
    assert_eq!(instance.schemes, SignatureSchemes::default());
}

#[test]
fn the_log_has_time_vendor_and_action_and_is_its_owners_alone() {
    let place = Place::new();
    place.migrate(&[ANNA]);
    let is_iso = |it: &str| it.len() == 24 && it.starts_with("20") && it.ends_with('Z');
    let log = place.log();
    let (time, rest) = log.split_once(' ').unwrap();
    assert!(is_iso(time) && rest == "anna created\n", "{log}");
    let mode = |it: &str| fs::metadata(place.data().join(it)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("waba-migrate.log"), mode("encryption.key"), mode(".")),
        (0o600, 0o600, 0o700)
    );
    place.migrate(&[&ANNA.replace("Anna's", "Chez Anna").replace("4001", "4009"), BINTA]);
    let log = place.log();
    let done: Vec<&str> = log.lines().map(|it| it.split_once(' ').unwrap().1).collect();
    let updated = "anna updated (businessName, wasenderInstanceId)";
    assert_eq!(done, ["anna created", updated, "binta created"]);
    let elsewhere = place.dir.path().join("elsewhere.log");
    let file = place.file(&["cara,C,+221771234569,4004,marked-secret-cara,"]);
    place.run(&["batch", &file, "--log", elsewhere.to_str().unwrap()]).says(0, &["cara  created"]);
    assert!(fs::read_to_string(elsewhere).unwrap().ends_with("cara created\n"));
    assert_eq!(place.log(), log);
}

#[tokio::test]
async fn quotes_bom_crlf_blank_lines_and_a_missing_last_column_are_read() {
    let place = Place::new();
    let header = "VENDORID , businessname,phoneNumber,wasenderInstanceId,wasenderWebhookSecret";
    let rows = "anna,\"A \"\"B\"\", C\",00221 77 123 45 67,\"4001\", marked-secret-anna \r\n\
        \r\n,,,,\r\nbinta,Café,22170111111,4002,\"marked,secret\"";
    let file = place.raw_file(format!("\u{feff}{header}\r\n{rows}"));
    place.run(&["batch", &file]).says(0, &["line 2  anna  created", "line 5  binta  created"]);
    let opened = place.open();
    assert_eq!(opened.vendor("anna").await.unwrap().business_name, "A \"B\", C");
    assert_eq!(opened.vendor("binta").await.unwrap().business_name, "Café");
    let (anna, binta) = (opened.instance("anna").await, opened.instance("binta").await);
    let (anna, binta) = (anna.unwrap(), binta.unwrap());
    assert_eq!(secrets(&anna), ["marked-secret-anna"]);
    assert_eq!(secrets(&binta), ["marked,secret"]);
    assert_eq!(binta.phone_number.digits(), "22170111111");
    assert!(binta.wasender.session_key.is_none());
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    let dry = |rows: &[&str]| place.run(&["batch", &place.file(rows), "--dry-run"]);
    dry(&[ANNA]).says(0, &["line 2  anna  would be created  https://gw.example/base/api/"]);
    dry(&[ANNA, BAD]).says(1, &["line 3 (bad)", "dry run: nothing was written"]);
    assert!(!place.data().exists());
    place.migrate(&[ANNA]);
    let (content, log) = (place.content(), place.log());
    let changed = ANNA.replace("4001", "4009");
    dry(&[&changed, BINTA]).says(0, &["would be updated (wasenderInstanceId)", "would be created"]);
    dry(&[ANNA]).says(0, &["line 2  anna  unchanged  https://"]);
    dry(&["cara,C,+221771234567,4009,marked-secret-cara,"]).says(1, &["belongs to vendor anna"]);
    assert_eq!((place.content(), place.log()), (content, log));
}

#[test]
fn the_same_file_again_changes_nothing() {
    let place = Place::new();
    place.migrate(&[ANNA, BINTA]);
    let (content, log) = (place.content(), place.log());
    assert!(content.len() > 6 && log.lines().count() == 2);
    let ran = place.migrate(&[ANNA, BINTA]);
    ran.says(0, &["line 2  anna  unchanged  https://gw.example/base/api/webhooks/wasender/anna\n"]);
    ran.says(0, &["2 rows: 0 created, 0 updated, 2 unchanged, 0 bad\n"]);
    assert_eq!((place.content(), place.log()), (content, log));
}

#[tokio::test]
async fn what_is_stored_stays_where_the_row_does_not_differ() {
    let place = Place::new();
    let anna = vendor_id("anna");
    let mut vendor = Vendor::new(anna.clone(), "Anna".to_owned(), "whsec_anna".into(), 1_000);
    vendor.status = VendorStatus::Inactive;
    vendor.auto_reply = false;
    vendor.welcome_message = Some("Salam".to_owned());
    vendor.on_unknown = OnUnknown::Retry;
    let mut instance =
        other_instance("waba_anna", "anna", "221771234567", "4000", "old-secret-anna");
    // The session's own secret, as setting up adds it, and one that is nearly over.
    let now = Clock::System.now();
    let beside = |it: &str, until| WebhookSecret { secret: it.into(), until, is_sessions: false };
    instance.wasender.webhook_secrets.push(beside("session-secret", None));
    instance.wasender.webhook_secrets.push(beside("older-secret", Some(now + HOUR)));
    {
        let store = &place.open().store;
        store.check_key().await.unwrap();
        store.put_all(&[vendor], &[instance]).await.unwrap();
        store.pause(Some(&anna), true).await.unwrap();
        let id = InstanceId::nth(&anna, 1);
        store.set_status(&id, Some(Connection::Connected), 2_000).await.unwrap();
    }
    let ran = place.migrate(&["anna,Anna's,+221771234567,4001,new-secret-anna,"]);
    ran.says(0, &["updated (businessName, wasenderInstanceId, wasenderWebhookSecret)"]);
    let opened = place.open();
    let vendor = opened.vendor("anna").await.unwrap();
    assert_eq!(vendor.business_name, "Anna's");
    assert_eq!((vendor.status, vendor.auto_reply), (VendorStatus::Inactive, false));
    assert_eq!(vendor.welcome_message.as_deref(), Some("Salam"));
    assert_eq!((vendor.on_unknown, vendor.paused), (OnUnknown::Retry, true));
    assert_eq!(vendor.signing_secret.expose_secret(), "whsec_anna");
    assert_eq!((vendor.created_at, vendor.updated_at >= now), (1_000, true));
    let instance = opened.instance("anna").await.unwrap();
    assert_eq!(instance.wasender.instance_id.as_deref(), Some("4001"));
    assert_eq!(instance.wasender.session_key.as_ref().unwrap().expose_secret(), "session-key");
    assert_eq!(instance.wasender.token.as_ref().unwrap().expose_secret(), "token");
    assert!(instance.account_protection && !instance.schemes.secret);
    assert_eq!((instance.status, instance.last_sync), (Connection::Connected, Some(2_000)));
    let wanted = ["new-secret-anna", "old-secret-anna", "session-secret", "older-secret"];
    assert_eq!(secrets(&instance), wanted);
    let untils: Vec<_> = instance.wasender.webhook_secrets.iter().map(|it| it.until).collect();
    let is_a_day =
        |it: Option<i64>| it.is_some_and(|it| (24 * HOUR..25 * HOUR).contains(&(it - now)));
    assert!(untils[0].is_none() && is_a_day(untils[1]) && is_a_day(untils[2]), "{untils:?}");
    assert_eq!(untils[3], Some(now + HOUR));
}

#[test]
fn help_tells_columns_and_exit_codes() {
    let place = Place::new();
    place.run(&["batch"]).says(2, &["<FILE>"]);
    place.run(&["--help"]).says(0, &["Usage: waba-migrate", "Exit codes", "Example"]);
    place.run(&["-h"]).says(0, &["batch", "interactive", "--yes", "--lang", "Exit codes"]);
    let help = place.run(&["interactive", "--help"]);
    help.says(0, &["one a line in the same order", "--yes", "--lang", "--log", "Exit codes"]);
    HEADER.split(',').for_each(|column| help.says(0, &[column]));
    let help = place.run(&["batch", "--help"]);
    help.says(
        0,
        &["--dry-run", "--keep-going", "--log", "waba-migrate.log in DATA_DIR", "Exit codes"],
    );
    HEADER.split(',').for_each(|column| help.says(0, &[&format!("\n  {column}  ")]));
}

#[test]
fn a_base_that_wasender_cannot_call_is_noted() {
    let place = Place::new();
    let file = place.file(&[ANNA]);
    let ran = place.run_with(&["batch", &file], &[("APP_BASE_URL", "")]);
    ran.says(
        0,
        &["http://localhost:9002/api/webhooks/wasender/anna", "note: APP_BASE_URL is http://"],
    );
}

#[tokio::test]
async fn it_waits_for_whoever_is_writing() {
    let place = Place::new();
    place.migrate(&[ANNA]);
    let server = Sqlite::open(place.data().join("waba.db")).unwrap();
    server.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut child = place.command(&["batch", &place.file(&[BINTA])], &[]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert!(child.try_wait().unwrap().is_none());
    server.execute_batch("COMMIT").unwrap();
    Ran::of(&child.wait_with_output().unwrap()).says(0, &["binta  created"]);
    assert!(place.open().vendor("binta").await.is_some());
}

#[tokio::test]
async fn two_at_once_in_a_fresh_directory_get_along() {
    for _ in 0..5 {
        let place = Place::new();
        let start = |row| place.command(&["batch", &place.file(&[row])], &[]).spawn().unwrap();
        // The third claims what the first has.
        let rival = "rival,R,+221771234567,4009,marked-secret-rival,";
        let children = [start(ANNA), start(BINTA), start(rival)];
        let codes = children.map(|it| it.wait_with_output().unwrap().status.code().unwrap());
        assert!(matches!(codes, [0, 0, 1] | [1, 0, 0]), "{codes:?}");
        let opened = place.open();
        assert!(!opened.has_nothing().await);
        assert!(opened.instance("binta").await.is_some());
        assert_eq!(opened.instance("anna").await.is_some(), codes[0] == 0);
        assert_eq!(opened.instance("rival").await.is_some(), codes[2] == 0);
    }
}

#[test]
fn whoever_makes_the_encryption_key_at_once_gets_the_same_one() {
    for _ in 0..20 {
        let place = Place::new();
        let (config, barrier) = (place.config(), Barrier::new(8));
        let vaults: Vec<Vault> = std::thread::scope(|scope| {
            let make = || {
                barrier.wait();
                app::vault(&config).unwrap()
            };
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            makers.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let sealed = vaults[0].seal("here", b"habari").unwrap();
        assert!(vaults.iter().all(|it| it.open("here", &sealed).is_ok()));
        let files: Vec<_> =
            fs::read_dir(place.data()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(files, ["encryption.key"]);
    }
}
