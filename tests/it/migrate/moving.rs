//! `waba-migrate move`, between SQLite and a Firestore.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::test_runner::TestRunner;
use rusqlite::Connection as Sqlite;
use serde_json::{Value, json};
use waba_gateway::{
    app,
    config::Config,
    domain::{
        event::Connection, id::VendorId, secret::ExposeSecret, vendor::Vendor, waba::WabaInstance,
    },
    journal::SqliteJournal,
    store::{ApiKey, FirestoreStore, SharedStore, SqliteStore, exchange::VendorExchange},
};

use super::place::{ANNA, BINTA, Place, Ran, vendor_id};
use crate::{
    exchange,
    support::{DEADLINE, Emulator, spawn_app},
};

/// What the environment says, but which store is used.
fn variables(emulator: &Emulator) -> Vec<(&'static str, String)> {
    let mut all = emulator.variables();
    all.retain(|it| it.0 != "STORE");
    all
}

fn run(place: &Place, emulator: &Emulator, arguments: &[&str]) -> Ran {
    let all = variables(emulator);
    let all: Vec<(&str, &str)> = all.iter().map(|it| (it.0, it.1.as_str())).collect();
    place.run_with(&[&["move"][..], arguments].concat(), &all)
}

/// A store of a place, as a gateway opens it.
pub(super) struct Opened {
    pub(super) store: SharedStore,
    journal: SqliteJournal,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.journal.db().close();
    }
}

pub(super) async fn open(
    place: &Place,
    variables: &[(&'static str, String)],
    store: &str,
) -> Opened {
    let mut all = variables.to_vec();
    all.retain(|it| it.0 != "STORE");
    all.push(("STORE", store.to_owned()));
    all.push(("DATA_DIR", place.data().display().to_string()));
    let get = |name: &str| all.iter().find(|it| it.0 == name).map(|it| it.1.clone());
    let config = Config::from_lookup(get).unwrap();
    let vault = Arc::new(app::vault(&config).unwrap());
    let journal = SqliteJournal::open(&app::database_of(&config), Arc::clone(&vault)).unwrap();
    let local = SqliteStore::new(journal.db().clone(), Arc::clone(&vault));
    local.check_key().await.unwrap();
    let store: SharedStore = match &config.firestore {
        Some(it) => Arc::new(FirestoreStore::start(it, vault, local).await.unwrap()),
        None => Arc::new(local),
    };
    Opened { store, journal }
}

/// Everything in a store, secrets too, by vendor.
async fn all_of(store: &SharedStore) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for vendor in store.vendors(None, 1_000).await.unwrap().vendors {
        let instances = store.instances(&vendor.id).await.unwrap();
        let whole = VendorExchange::of(&vendor, &instances, true);
        all.insert(vendor.id.to_string(), serde_json::to_value(whole).unwrap());
    }
    let mut keys: Vec<String> =
        store.keys().await.unwrap().iter().map(|it| format!("{it:?}")).collect();
    keys.sort();
    all.insert("*keys".to_owned(), json!(keys));
    let (mut paused, everybody) = store.paused().await.unwrap();
    paused.sort();
    all.insert("*paused".to_owned(), json!([format!("{paused:?}"), everybody]));
    let former = store.former_instances().await.unwrap();
    all.insert("*former".to_owned(), json!(format!("{former:?}")));
    all
}

#[track_caller]
fn assert_same(left: &BTreeMap<String, Value>, right: &BTreeMap<String, Value>) {
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (name, it) in left {
        assert_eq!(it, &right[name], "{name}");
    }
}

fn key(n: u8, vendor: Option<VendorId>) -> ApiKey {
    ApiKey {
        id: format!("key_{n}"),
        hash: [n; 32],
        name: format!("of {n}"),
        read_only: n.is_multiple_of(2),
        vendor,
        created_at: 1_700_000_000_000 + i64::from(n),
        expires_at: (n > 2).then_some(1_900_000_000_000),
        used_at: (n == 1).then_some(1_750_000_000_000),
    }
}

/// Vendors of every kind; what is blank is nothing in Firestore.
fn any_vendors(n: usize) -> (Vec<Vendor>, Vec<WabaInstance>) {
    let (mut vendors, instances) = exchange::any_vendors(&mut TestRunner::deterministic(), n);
    for it in &mut vendors {
        it.welcome_message = it.welcome_message.take().filter(|it| !it.trim().is_empty());
        if it.business_name.trim().is_empty() {
            it.business_name = it.id.to_string();
        }
    }
    (vendors, instances)
}

/// So many vendors of every kind, keys, pauses and a number that was deleted.
async fn fill(store: &SharedStore, n_vendors: usize) {
    let (vendors, instances) = any_vendors(n_vendors);
    store.import(&vendors, &instances).await.unwrap();
    for n in 1..=4 {
        let vendor = (n > 1).then(|| vendors[usize::from(n)].id.clone());
        store.put_key(&key(n, vendor)).await.unwrap();
    }
    store.set_keys_used(&[("key_1".to_owned(), 1_750_000_000_000)]).await.unwrap();
    store.pause(None, true).await.unwrap();
    let gone = &instances[0];
    assert!(store.delete_instance(&gone.vendor_id, &gone.id).await.unwrap());
}

#[tokio::test]
async fn everything_is_moved_to_firestore_and_back_without_losing_a_vendor() {
    let (place, emulator) = (Place::new(), Emulator::start());
    let before = {
        let sqlite = open(&place, &variables(&emulator), "sqlite").await;
        fill(&sqlite.store, 70).await;
        all_of(&sqlite.store).await
    };
    let content = place.content();
    let dry = run(&place, &emulator, &["--to", "firestore", "--dry-run"]);
    dry.says(0, &["70 vendors with ", ": 70 would be moved, 0 were there", "nothing was moved"]);
    let program = emulator.program().await;
    assert!(program.all("vendor_configs").await.is_empty());
    assert!(program.all("gateway_meta").await.is_empty());
    let ran = run(&place, &emulator, &["--to", "firestore"]);
    ran.says(0, &["70 moved, 0 were there, 0 differed", "4 API keys", "now set STORE=firestore"]);
    assert!(!ran.all().contains("secret-"), "{}", ran.all());
    let again = run(&place, &emulator, &["--to", "firestore"]);
    again.says(0, &["0 moved, 70 were there, 0 differed"]);
    {
        let firestore = open(&place, &variables(&emulator), "firestore").await;
        assert_same(&all_of(&firestore.store).await, &before);
    }
    // Where it came from, it is as it was.
    assert_eq!(place.content(), content);
    let home = Place::new();
    let ran = run(&home, &emulator, &["--to", "sqlite"]);
    ran.says(0, &["70 moved, 0 were there", "now set STORE=sqlite"]);
    let sqlite = open(&home, &variables(&emulator), "sqlite").await;
    assert_same(&all_of(&sqlite.store).await, &before);
}

/// Kills it as soon as `is_begun` says so.
async fn kill_when(place: &Place, emulator: &Emulator, to: &str, is_begun: impl AsyncFn() -> bool) {
    let all = variables(emulator);
    let all: Vec<(&str, &str)> = all.iter().map(|it| (it.0, it.1.as_str())).collect();
    let mut child = place.command(&["move", "--to", to], &all).spawn().unwrap();
    let started = Instant::now();
    while !is_begun().await {
        assert!(started.elapsed() < DEADLINE, "it never began");
        assert!(child.try_wait().unwrap().is_none(), "it ended before");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_kill_in_the_middle_loses_nobody_either_way() {
    const N: usize = 200;
    let (place, emulator) = (Place::new(), Emulator::start());
    let before = {
        let sqlite = open(&place, &variables(&emulator), "sqlite").await;
        fill(&sqlite.store, N).await;
        all_of(&sqlite.store).await
    };
    let program = emulator.program().await;
    let n_there = async || program.all("vendor_configs").await.len();
    kill_when(&place, &emulator, "firestore", async || n_there().await > 0).await;
    assert!((1..N).contains(&n_there().await), "{} were moved", n_there().await);
    let n_on_record = async || {
        let all = program.all("gateway_audit").await;
        all.values().filter(|it| it["what"] == "moveVendors").count()
    };
    assert_eq!(n_on_record().await, 1, "a kill leaves it on record");
    run(&place, &emulator, &["--to", "firestore"]).says(0, &["0 differed", "is the same"]);
    assert_eq!(n_on_record().await, 2);
    run(&place, &emulator, &["--to", "firestore"]).says(0, &["0 differed", "is the same"]);
    assert_eq!(n_on_record().await, 2, "nothing was moved");
    {
        let firestore = open(&place, &variables(&emulator), "firestore").await;
        assert_same(&all_of(&firestore.store).await, &before);
    }
    let home = Place::new();
    let n_here = || {
        let count = |it: Sqlite| it.query_row("SELECT count(*) FROM vendors", (), |row| row.get(0));
        // The file, or its table, is not there yet.
        Sqlite::open(home.data().join("waba.db")).and_then(count).unwrap_or(0_i64)
    };
    kill_when(&home, &emulator, "sqlite", async || n_here() > 0).await;
    assert!((1..200).contains(&n_here()), "{} were moved", n_here());
    run(&home, &emulator, &["--to", "sqlite"]).says(0, &["0 differed", "is the same"]);
    let sqlite = open(&home, &variables(&emulator), "sqlite").await;
    assert_same(&all_of(&sqlite.store).await, &before);
}

#[tokio::test]
async fn what_differs_over_there_is_listed_and_left_until_it_is_said_whose_is_kept() {
    let (place, emulator) = (Place::new(), Emulator::start());
    let (source, target) = {
        let sqlite = open(&place, &variables(&emulator), "sqlite").await;
        let (mut vendors, mut instances) = any_vendors(6);
        sqlite.store.import(&vendors, &instances).await.unwrap();
        sqlite.store.put_key(&key(1, None)).await.unwrap();
        let firestore = open(&place, &variables(&emulator), "firestore").await;
        vendors[1].business_name = "Somebody else".to_owned();
        instances.retain(|it| it.vendor_id != vendors[1].id);
        firestore.store.import(&vendors[..3], &instances[..2]).await.unwrap();
        // Revoked on the one side since, or never there.
        firestore.store.put_key(&key(3, None)).await.unwrap();
        (all_of(&sqlite.store).await, all_of(&firestore.store).await)
    };
    let ran = run(&place, &emulator, &["--to", "firestore"]);
    ran.says(1, &["nothing was written", "vendor vendor_001", "API key key_3 (of 3), only there"]);
    {
        let firestore = open(&place, &variables(&emulator), "firestore").await;
        assert_same(&all_of(&firestore.store).await, &target);
    }
    let ran = run(&place, &emulator, &["--to", "firestore", "--on-conflict", "target"]);
    ran.says(0, &["differed"]);
    {
        let firestore = open(&place, &variables(&emulator), "firestore").await;
        let kept = all_of(&firestore.store).await;
        assert_eq!(kept["vendor_001"], target["vendor_001"]);
        assert_eq!(kept["vendor_005"], source["vendor_005"]);
        assert_eq!(firestore.store.keys().await.unwrap().len(), 2);
    }
    run(&place, &emulator, &["--to", "firestore", "--on-conflict", "source"]).says(0, &["same"]);
    let firestore = open(&place, &variables(&emulator), "firestore").await;
    let mut moved = all_of(&firestore.store).await;
    // A number that only the target had is remembered as a former one.
    moved.insert("*former".to_owned(), source["*former"].clone());
    assert_same(&moved, &source);
}

#[tokio::test]
async fn numbers_that_were_swapped_since_are_moved_in_one_step() {
    let (place, emulator) = (Place::new(), Emulator::start());
    let source = {
        let sqlite = open(&place, &variables(&emulator), "sqlite").await;
        let (vendors, mut instances) = any_vendors(8);
        let firestore = open(&place, &variables(&emulator), "firestore").await;
        firestore.store.import(&vendors, &instances).await.unwrap();
        let last = instances.len() - 1;
        assert_ne!(instances[0].vendor_id, instances[last].vendor_id);
        let number = instances[0].phone_number.clone();
        instances[0].phone_number = std::mem::replace(&mut instances[last].phone_number, number);
        sqlite.store.import(&vendors, &instances).await.unwrap();
        all_of(&sqlite.store).await
    };
    let ran = run(&place, &emulator, &["--to", "firestore"]);
    ran.says(1, &["has its phone number there", ": waba_vendor_"]);
    let ran = run(&place, &emulator, &["--to", "firestore", "--on-conflict", "source"]);
    ran.says(0, &["2 differed", "is the same"]);
    let firestore = open(&place, &variables(&emulator), "firestore").await;
    assert_same(&all_of(&firestore.store).await, &source);
}

#[tokio::test]
async fn a_number_that_another_vendor_has_over_there_stops_everything() {
    let (place, emulator) = (Place::new(), Emulator::start());
    place.migrate(&[ANNA, BINTA]);
    let program = emulator.program().await;
    let rival = json!({ "vendorId": "rival", "phoneNumber": "+221771234568" });
    program.set("waba_instances", "waba_rival", rival).await;
    let mut all = variables(&emulator);
    all.retain(|it| it.0 != "ENCRYPTION_KEY");
    let all: Vec<(&str, &str)> = all.iter().map(|it| (it.0, it.1.as_str())).collect();
    // The key is the one in the directory, as it is where nobody set one.
    let move_it = ["move", "--to", "firestore", "--on-conflict", "source"];
    let ran = place.run_with(&move_it, &all);
    ran.says(1, &["nothing was written", "waba_binta: vendor rival has its phone number there"]);
    assert!(!ran.all().contains("22177"), "{}", ran.all());
    assert!(program.all("vendor_configs").await.is_empty());
    program.delete("waba_instances", "waba_rival").await;
    place.run_with(&move_it, &all).says(0, &["2 vendors with 2 numbers: 2 moved"]);
    let moved = program.get("waba_instances", "waba_binta").await;
    assert_eq!(moved["businessName"], "Binta, Fils");
    assert!(!moved.to_string().contains("marked"), "{moved}");
}

#[tokio::test]
async fn without_a_vendor_that_cannot_be_read_nothing_is_moved() {
    let (place, emulator) = (Place::new(), Emulator::start());
    let (vendors, instances) = any_vendors(3);
    {
        let sqlite = open(&place, &variables(&emulator), "sqlite").await;
        sqlite.store.import(&vendors, &instances).await.unwrap();
    }
    let shut = vendors[1].id.as_str();
    place.damage(shut);
    let ran = run(&place, &emulator, &["--to", "firestore"]);
    let told = format!("what is stored of these vendors cannot be opened or read: {shut}");
    ran.says(2, &[&told]);
    let program = emulator.program().await;
    assert!(program.all("vendor_configs").await.is_empty());
}

#[tokio::test]
async fn vendors_that_ids_of_documents_alone_name_are_moved_too() {
    let (place, emulator) = (Place::new(), Emulator::start());
    let program = emulator.program().await;
    for (id, number) in [("waba_anna", "+221771234567"), ("binta", "+221771234568")] {
        let fields = json!({ "phoneNumber": number, "wasenderWebhookSecret": "marked-secret" });
        program.set("waba_instances", id, fields).await;
    }
    let ran = run(&place, &emulator, &["--to", "sqlite"]);
    ran.says(0, &["2 vendors with 2 numbers: 2 moved", "now set STORE=sqlite"]);
    let sqlite = open(&place, &variables(&emulator), "sqlite").await;
    for id in ["anna", "binta"] {
        let numbers = sqlite.store.instances(&vendor_id(id)).await.unwrap();
        assert_eq!(super::place::secrets(&numbers[0]), ["marked-secret"], "{id}");
    }
}

#[tokio::test]
async fn it_says_why_it_does_not_move() {
    let emulator = Emulator::start();
    let app = spawn_app().await;
    let place = Place::new();
    let mut all = variables(&emulator);
    all.push(("DATA_DIR", app.config.data_dir.display().to_string()));
    let all: Vec<(&str, &str)> = all.iter().map(|it| (it.0, it.1.as_str())).collect();
    for to in ["firestore", "sqlite"] {
        let ran = place.run_with(&["move", "--to", to], &all);
        ran.says(2, &["a gateway runs on ", "stop it first"]);
    }
    run(&place, &emulator, &["--to", "firestore"]).says(2, &["there is no data in"]);
    place.run(&["move", "--to", "firestore"]).says(2, &["FIREBASE_PROJECT_ID is needed"]);
    place.run(&["move"]).says(2, &["--to"]);
    // A number that two vendors have in Firestore routes for neither: which is to have it?
    let program = emulator.program().await;
    for id in ["anna", "binta"] {
        let number = json!({ "vendorId": id, "phoneNumber": "+221771234567",
            "wasenderWebhookSecret": "marked-secret" });
        program.set("waba_instances", &format!("waba_{id}"), number).await;
    }
    let ran = run(&place, &emulator, &["--to", "sqlite"]);
    ran.says(1, &["waba_binta: vendor anna has its phone number too", "doctor"]);
    program.delete("waba_instances", "waba_binta").await;
    let foreign =
        json!({ "vendorId": "cara", "phoneNumber": "+221771234569", "provider": "vonage" });
    program.set("waba_instances", "waba_cara", foreign).await;
    let ran = run(&place, &emulator, &["--to", "sqlite"]);
    ran.says(
        0,
        &["2 vendors with 1 numbers: 2 moved", "1 documents of waba_instances stay behind"],
    );
    let sqlite = open(&place, &variables(&emulator), "sqlite").await;
    let anna = sqlite.store.instances(&vendor_id("anna")).await.unwrap();
    assert_eq!(super::place::secrets(&anna[0]), ["marked-secret"]);
    assert_eq!(anna[0].status, Connection::Pending);
    let vendor = sqlite.store.vendor(&vendor_id("anna")).await.unwrap().unwrap();
    assert!(vendor.signing_secret.expose_secret().starts_with("whsec_") && !vendor.auto_reply);
}
