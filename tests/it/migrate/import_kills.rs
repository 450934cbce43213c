//! `waba-migrate import` that is killed at any moment and run again: as if it had run once.

use std::{
    collections::BTreeMap,
    fs,
    process::Child,
    time::{Duration, Instant},
};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};
use waba_gateway::store::{SharedStore, exchange::VendorExchange};

use super::{moving, place::Place};
use crate::support::{DEADLINE, Emulator};

/// What is to be imported: the command, its files, and the rows that make numbers.
struct Import {
    arguments: Vec<String>,
    report: String,
    n_numbers: usize,
}

/// Three numbers a user, the odd one switched off; some that two users share.
fn accounts(place: &Place, n_users: usize) -> Import {
    let head = "user_id,chatbot_id,phone_number_id,display_phone_number,access_token,\
        app_secret,verify_token,business_name,status,web_id\n";
    let is_off = |id: &usize| id / 3 % 5 == 1 && id % 3 == 2;
    let row = |id: usize| {
        let (user, status) = (id / 3, if is_off(&id) { "inactive" } else { "active" });
        format!(
            "{user},bot_{user},{id},+22177{id:07},token-{id},secret-{id},verify-{id},\
            Shop {user},{status},web-{user}\n"
        )
    };
    let rows: Vec<String> = (0..n_users * 3).map(row).collect();
    let shared = ["a", "b"].map(|it| format!("{it},,900001,+221780000001,t,s,v,{it},active,\n"));
    let file = place.raw_file([head, &rows.concat(), &shared.concat()].concat());
    let n_on = (0..n_users * 3).filter(|it| !is_off(it)).count();
    Import::of(place, &["import", "accounts", &file, "--prefix", "crm_"], n_on)
}

/// Each number has a project of its own, one in seven has two.
fn hub(place: &Place, n_numbers: usize) -> Import {
    let file = |head: &str, row: &dyn Fn(usize) -> String| {
        let rows: Vec<String> = (0..n_numbers).map(row).collect();
        place.raw_file(format!("{head}\n{}", rows.concat()))
    };
    let has_two = |n: usize| n % 7 == 3;
    let files = [
        place.raw_file("id,business_id,name,verify_token,access_token,app_secret\napp,b,A,v,t,s\n"),
        file("phone_number_id,app_id,phone_number,display_name", &|n| {
            format!("{n},app,+22176{n:07},Shop {n}\n")
        }),
        file("id,name,endpoint,description,is_active", &|n| {
            format!("p{n},P,https://p{n}.example/in,,true\n")
        }),
        file("id,phone_number_id,project_id,priority,is_active", &|n| {
            let second = if has_two(n) { format!("x{n},{n},p0,1,true\n") } else { String::new() };
            format!("{n},{n},p{n},1,true\n{second}")
        }),
    ];
    let mut arguments = vec!["import", "hub"];
    arguments.extend(files.iter().map(String::as_str));
    Import::of(place, &arguments, (0..n_numbers).filter(|it| !has_two(*it)).count())
}

impl Import {
    fn of(place: &Place, arguments: &[&str], n_numbers: usize) -> Self {
        let report = place.dir.path().join("report").to_str().unwrap().to_owned();
        let arguments = [arguments, &["--report", &report]].concat();
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        Self { arguments, report, n_numbers }
    }

    fn start(&self, place: &Place, emulator: Option<&Emulator>) -> Child {
        let mut variables = emulator.map(Emulator::variables).unwrap_or_default();
        variables.push(("RESPONSE_API_BASE_URL", "https://answers.example".to_owned()));
        let variables: Vec<(&str, &str)> = variables.iter().map(|it| (it.0, &*it.1)).collect();
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut command = place.command(&arguments, &variables);
        command.stdout(fs::File::create(place.dir.path().join("out")).unwrap());
        command.stderr(fs::File::create(place.dir.path().join("err")).unwrap());
        command.spawn().unwrap()
    }

    /// To the end. Some rows are left out.
    fn finish(&self, place: &Place, emulator: Option<&Emulator>) {
        let code = self.start(place, emulator).wait().unwrap().code();
        let said = |it| fs::read_to_string(place.dir.path().join(it)).unwrap();
        assert_eq!(code, Some(1), "{}{}", said("out"), said("err"));
    }

    fn n_told(&self) -> usize {
        let text = fs::read_to_string(&self.report).unwrap_or_default();
        text.lines().count().saturating_sub(1)
    }

    /// Kills it so long after so many more rows are on record; whether it was still at work.
    fn kill(
        &self,
        place: &Place,
        emulator: Option<&Emulator>,
        n_more: usize,
        after: Duration,
    ) -> bool {
        let n_before = self.n_told();
        let mut child = self.start(place, emulator);
        let started = Instant::now();
        let mut begun = (n_more == 0).then_some(started);
        while begun.is_none_or(|it| it.elapsed() < after) && child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < DEADLINE, "nothing more is on record");
            if begun.is_none() && self.n_told() >= n_before + n_more {
                begun = Some(Instant::now());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        let was_at_work = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        was_at_work
    }
}

/// All vendors with their numbers; without what each run makes anew.
async fn content(store: &SharedStore) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for vendor in store.vendors(None, 10_000).await.unwrap().vendors {
        let instances = store.instances(&vendor.id).await.unwrap();
        let whole = VendorExchange::of(&vendor, &instances, true);
        let mut whole = serde_json::to_value(whole).unwrap();
        assert!(!whole["signingSecret"].as_str().unwrap().is_empty());
        whole["signingSecret"] = Value::Null;
        let (created, updated) = (whole["createdAt"].take(), whole["updatedAt"].take());
        assert!(created.is_string() && updated.is_string());
        for it in whole["instances"].as_array_mut().unwrap() {
            (it["createdAt"], it["updatedAt"]) = (Value::Null, Value::Null);
        }
        all.insert(vendor.id.to_string(), whole);
    }
    all.insert("*former".to_owned(), json!(store.former_instances().await.unwrap().len()));
    all
}

/// What became of each row: told once, and that it was found there only where a killed run had put
/// it.
fn ends(report: &str) -> (BTreeMap<[String; 3], String>, usize) {
    let (mut ends, mut n_found) = (BTreeMap::new(), 0);
    for line in csv::Reader::from_path(report).unwrap().records() {
        let line = line.unwrap();
        let key = [1, 2, 3].map(|it| line[it].to_owned());
        let mut end = line[4].to_owned();
        if end == "unchanged" {
            (end, n_found) = ("created".to_owned(), n_found + 1);
        }
        let again = ends.insert(key, format!("{end} {}", &line[5]));
        assert_eq!(again, None, "{line:?} is told twice");
    }
    (ends, n_found)
}

async fn opened(place: &Place, emulator: Option<&Emulator>) -> moving::Opened {
    let store = if emulator.is_some() { "firestore" } else { "sqlite" };
    moving::open(place, &emulator.map(Emulator::variables).unwrap_or_default(), store).await
}

/// One place where it runs once, another where it is killed again and again.
async fn check(rows: fn(&Place, usize) -> Import, n_rows: usize, is_firestore: bool) {
    const KILLS: usize = 2;
    const TRIES: usize = 10;
    let calm = is_firestore.then(Emulator::start);
    let calm = calm.as_ref();
    let once = Place::new();
    let import = rows(&once, n_rows);
    let started = Instant::now();
    import.finish(&once, calm);
    let took = started.elapsed();
    let want = (content(&opened(&once, calm).await.store).await, ends(&import.report));
    assert_eq!(want.1.1, 0);
    let n_instances = |it: &BTreeMap<String, Value>| -> usize {
        it.values().filter_map(|it| it["instances"].as_array()).map(Vec::len).sum()
    };
    assert_eq!(n_instances(&want.0), import.n_numbers);
    let mut runner = TestRunner::default();
    let mut any = |most: u128| -> Duration {
        let micros = 0..=u64::try_from(most).unwrap();
        Duration::from_micros(micros.new_tree(&mut runner).unwrap().current())
    };
    // One that is at its end before it is killed shows nothing.
    let mut n_tries = 0;
    let (place, emulator, import) = loop {
        assert!(n_tries < TRIES, "it was never killed at work");
        n_tries += 1;
        let (place, emulator) = (Place::new(), is_firestore.then(Emulator::start));
        let (import, rough) = (rows(&place, n_rows), emulator.as_ref());
        // At its start, and between and within its steps.
        import.kill(&place, rough, 0, any(took.as_micros() / 2));
        let mut n_kills = 0;
        while n_kills < KILLS && import.n_told() < import.n_numbers {
            let after = any(took.as_micros() / 8);
            n_kills += usize::from(import.kill(&place, rough, 1, after));
        }
        if n_kills > 0 {
            break (place, emulator, import);
        }
    };
    let rough = emulator.as_ref();
    import.finish(&place, rough);
    let found = (content(&opened(&place, rough).await.store).await, ends(&import.report));
    assert_eq!(found.0, want.0);
    assert_eq!(found.1.0, want.1.0);
}

#[tokio::test]
async fn accounts_that_are_imported_with_kills_are_as_those_imported_at_once() {
    check(accounts, 170, false).await;
}

#[tokio::test]
async fn accounts_that_are_imported_with_kills_are_the_same_in_firestore() {
    check(accounts, 34, true).await;
}

#[tokio::test]
async fn a_hub_that_is_imported_with_kills_is_as_one_imported_at_once() {
    check(hub, 510, false).await;
}

#[tokio::test]
async fn a_hub_that_is_imported_with_kills_is_the_same_in_firestore() {
    check(hub, 102, true).await;
}
