//! Many rows: step by step, on record, and on again after a kill.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use waba_gateway::{
    domain::id::InstanceId,
    store::{Audit, Store},
};

use super::{
    interactive::Terminal,
    place::{ANNA, BAD, BINTA, HEADER, Place, vendor_id},
};
use crate::support::DEADLINE;

const REPORT_HEADER: &str = "time,line,vendorId,step,result,detail,webhookUrl\n";

pub(super) fn rows(n_rows: usize) -> String {
    let row = |n| {
        let number = 1_000_000 + n;
        format!(
            "shop_{n:05},Shop {n},+22177{number},{number},marked-secret-{n:05},marked-key-{n:05}"
        )
    };
    let rows: Vec<String> = (0..n_rows).map(row).collect();
    format!("{HEADER}\n{}\n", rows.join("\n"))
}

/// The report's lines: which row, which step, what came of it.
fn lines(report: &Path) -> Vec<(String, String, String)> {
    let mut reader = csv::Reader::from_path(report).unwrap();
    let line = |it: Result<csv::StringRecord, csv::Error>| {
        let it = it.unwrap();
        assert!(it[0].ends_with('Z') && it.len() == 7, "{it:?}");
        (format!("{} {}", &it[1], &it[2]), it[3].to_owned(), it[4].to_owned())
    };
    reader.records().map(line).collect()
}

#[tokio::test]
async fn a_kill_in_the_middle_costs_nothing_when_it_is_run_again() {
    const N_ROWS: usize = 3_000;
    let place = Place::new();
    let (file, report) = (place.raw_file(rows(N_ROWS)), place.dir.path().join("done.csv"));
    let arguments = ["batch", &file, "--report", report.to_str().unwrap()];
    let mut child = place.command(&arguments, &[]).spawn().unwrap();
    let started = Instant::now();
    while fs::read_to_string(&report).unwrap_or_default().lines().count() < 2 {
        assert!(started.elapsed() < DEADLINE, "nothing is on record");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let first = lines(&report);
    assert!((1..N_ROWS).contains(&first.len()), "{} rows were done", first.len());
    {
        let opened = place.open();
        let kept = opened.store.vendors(None, N_ROWS + 1).await.unwrap().vendors;
        assert!((first.len()..N_ROWS).contains(&kept.len()), "{} are stored", kept.len());
        let deeds = opened.store.deeds(None, None, 10).await.unwrap();
        let told: Vec<(&str, Option<&str>)> =
            deeds.iter().map(|it| (it.1.what.as_str(), it.1.about.as_deref())).collect();
        assert_eq!(told, [("migrate", Some("3000 rows"))], "a kill leaves it on record");
    }
    // As if the line that was being written had been cut off.
    let cut = "2026-01-31T18:00:00.000Z,2999,shop_0";
    OpenOptions::new().append(true).open(&report).unwrap().write_all(cut.as_bytes()).unwrap();
    let ran = place.run(&arguments);
    ran.says(0, &["3000 rows: "]);
    assert!(ran.err.is_empty(), "no bar in a pipe: {}", ran.err);
    let opened = place.open();
    let vendors = opened.store.vendors(None, N_ROWS + 1).await.unwrap().vendors;
    assert_eq!(vendors.len(), N_ROWS);
    for vendor in &vendors {
        assert_eq!(opened.store.instances(&vendor.id).await.unwrap().len(), 1);
    }
    let all = lines(&report);
    let told: BTreeSet<&String> = all.iter().map(|it| &it.0).collect();
    assert_eq!((told.len(), all.len()), (N_ROWS, N_ROWS));
    let mut results: BTreeMap<&str, usize> = BTreeMap::new();
    all.iter().for_each(|it| *results.entry(&it.2).or_default() += 1);
    // What was stored and not on record yet is found unchanged.
    let unchanged = results.remove("unchanged").unwrap_or(0);
    assert!(unchanged <= 250, "{unchanged} unchanged");
    assert_eq!(results, BTreeMap::from([("created", N_ROWS - unchanged)]));
    let text = fs::read_to_string(&report).unwrap();
    assert!(text.starts_with(REPORT_HEADER) && !text.contains("marked") && !text.contains("22177"));
    assert_eq!(fs::metadata(&report).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_report_tells_of_every_row_and_why_it_was_refused() {
    let place = Place::new();
    let report = place.dir.path().join("done.csv");
    let report_name = report.to_str().unwrap();
    let file = place.file(&[ANNA, BAD, BINTA]);
    place.run(&["batch", &file, "--report", report_name]).says(1, &["nothing was written"]);
    let row = |n: usize, id: &str, result: &str| {
        (format!("{n} {id}"), "row".to_owned(), result.to_owned())
    };
    assert_eq!(lines(&report), [row(3, "bad", "refused")]);
    place.run(&["batch", &file, "--report", report_name, "--keep-going"]).says(1, &["2 created"]);
    let told = [row(2, "anna", "created"), row(3, "bad", "refused"), row(4, "binta", "created")];
    assert_eq!(lines(&report)[1..], told);
    // Again: what is there stays, and nothing is told twice.
    place.run(&["batch", &place.file(&[ANNA]), "--report", report_name]).says(0, &["1 unchanged"]);
    assert_eq!(lines(&report).len(), 4);
    let text = fs::read_to_string(&report).unwrap();
    assert!(text.contains(",\"businessName is empty; "), "{text}");
    assert!(text.contains("https://gw.example/base/api/webhooks/wasender/anna\n"), "{text}");
    // Somebody else's file is not written into.
    let other = place.raw_file("a,b\n1,2");
    place.run(&["batch", &file, "--report", &other]).says(2, &["is no report of waba-migrate's"]);
    assert_eq!(fs::read_to_string(&other).unwrap(), "a,b\n1,2");
    place.run(&["batch", &file, "--report", report_name, "--dry-run"]).says(2, &["--dry-run"]);
}

#[test]
fn a_terminal_shows_a_bar() {
    let place = Place::new();
    let file = place.raw_file(rows(600));
    let shell = format!("TERM=xterm {} batch {file}", env!("CARGO_BIN_EXE_waba-migrate"));
    let mut terminal = Terminal::start(&place, &shell);
    terminal.expect("600 rows: 600 created", "");
    let shown = terminal.shown();
    for word in ["checking", "writing", "/600", "left"] {
        assert!(shown.contains(word), "no {word} in {shown}");
    }
}

/// One more number of Anna's, as the administration makes it.
async fn put_second(place: &Place) {
    let (number, session) = ("221771234500", "4100");
    let second =
        super::place::other_instance("waba_anna_2", "anna", number, session, "marked-second");
    place.open().store.put_all(&[], &[second]).await.unwrap();
}

#[tokio::test]
async fn rows_of_one_vendor_are_its_numbers_where_it_has_them_already() {
    let place = Place::new();
    place.migrate(&[ANNA]);
    put_second(&place).await;
    let content = place.content();
    let again = "anna,Anna's,+221771234500,4100,marked-second,session-key";
    place.migrate(&[ANNA, again]).says(0, &["2 rows: 0 created, 0 updated, 2 unchanged"]);
    assert_eq!(place.content(), content);
    let other_name = again.replace("Anna's", "Chez Anna");
    place
        .run(&["batch", &place.file(&[ANNA, &other_name])])
        .says(1, &["line 3 (anna): businessName is not the one that this vendor has in line 2"]);
    assert_eq!(place.content(), content);
    place
        .migrate(&[&again.replace("second", "third")])
        .says(0, &["updated (wasenderWebhookSecret)"]);
    let opened = place.open();
    let numbers = opened.store.instances(&super::place::vendor_id("anna")).await.unwrap();
    assert_eq!(super::place::secrets(&numbers[1]), ["marked-secret-anna"]);
    assert_eq!(super::place::secrets(&numbers[0]), ["marked-third", "marked-second"]);
    // Each run that changed something is on record, once.
    let deeds = opened.store.deeds(None, None, 10).await.unwrap();
    let deeds: Vec<&str> = deeds.iter().map(|it| it.1.what.as_str()).collect();
    assert_eq!(deeds, ["migrate", "migrate"]);
    drop(opened);
    // A third one is not known: which row is meant?
    let third = "anna,Anna's,+221771234501,4101,marked-fourth,";
    place
        .run(&["batch", &place.file(&[ANNA, third])])
        .says(1, &["line 3 (anna): vendorId is also in line 2"]);
}

#[tokio::test]
async fn the_id_of_a_deleted_number_is_not_given_again() {
    let place = Place::new();
    place.migrate(&[ANNA, BINTA]);
    let (anna, nth) = (vendor_id("anna"), |n| InstanceId::nth(&vendor_id("anna"), n));
    assert!(place.open().store.delete_instance(&anna, &nth(1)).await.unwrap());
    let other = "anna,Anna's,+221771234599,4009,marked-secret-other,";
    place.migrate(&[other, BINTA]).says(0, &["2 rows: 1 created, 0 updated, 1 unchanged"]);
    let numbers = place.open().store.instances(&anna).await.unwrap();
    assert_eq!(numbers.iter().map(|it| &it.id).collect::<Vec<_>>(), [&nth(2)]);
    // The same file is about the same number, and so is one of its new session.
    place.migrate(&[other, BINTA]).says(0, &["2 rows: 0 created, 0 updated, 2 unchanged"]);
    let renewed = "anna,Anna's,+221771234599,4010,marked-secret-other,";
    place.migrate(&[renewed, BINTA]).says(0, &["2 rows: 0 created, 1 updated, 1 unchanged"]);
}

#[tokio::test]
async fn what_others_write_while_it_writes_is_not_written_over() {
    const N_ROWS: usize = 600;
    let place = Place::new();
    let before = rows(N_ROWS);
    assert_eq!(place.run(&["batch", &place.raw_file(&before)]).code, 0);
    let after = place.raw_file(before.replace(",Shop ", ",Boutique "));
    let opened = place.open();
    let store = &opened.store;
    let mut vendors = store.vendors(None, N_ROWS).await.unwrap().vendors;
    let child = place.command(&["batch", &after], &[]).spawn().unwrap();
    // What it says has to be read, or it waits.
    let child = std::thread::spawn(|| child.wait_with_output().unwrap());
    let (mut n_changes, mut is_done) = (0, false);
    while !is_done {
        is_done = child.is_finished();
        // In the end all are looked at: what was changed first may have been written over last.
        for known in vendors.iter_mut().step_by(if is_done { 1 } else { 100 }) {
            let stored = store.vendor(&known.id).await.unwrap().unwrap();
            assert_eq!(stored.forward_url, known.forward_url, "{} was written over", known.id);
            let mut changed = stored.clone();
            changed.forward_url = Some(format!("https://shop.example/{n_changes}"));
            if !is_done && store.put_vendor_if(Some(&stored), &changed).await.is_ok() {
                n_changes += 1;
                *known = changed;
            }
            tokio::time::sleep(Duration::from_millis(if is_done { 0 } else { 5 })).await;
        }
    }
    let ran = super::place::Ran::of(&child.join().unwrap());
    ran.says(0, &["600 rows: 0 created, 600 updated, 0 unchanged"]);
    assert!(n_changes > 10, "{n_changes}");
    for vendor in store.vendors(None, N_ROWS).await.unwrap().vendors {
        assert!(vendor.business_name.starts_with("Boutique "), "{}", vendor.business_name);
    }
}

/// Waits until a process waits for a lock on a file.
fn until_it_waits(process: u32) {
    let started = Instant::now();
    let waits = |it: &str| {
        let words: Vec<&str> = it.split_whitespace().collect();
        words.get(1) == Some(&"->") && words.contains(&process.to_string().as_str())
    };
    while !fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
        assert!(started.elapsed() < DEADLINE, "it waits for nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn a_row_of_a_number_that_is_deleted_meanwhile_changes_no_other_number() {
    let place = Place::new();
    place.migrate(&[ANNA]);
    put_second(&place).await;
    // Both rows are good, and something is to be written.
    let rows = [ANNA, "anna,Anna's,+221771234500,4100,marked-second,session-key"]
        .map(|it| it.replace("Anna's", "Chez Anna"));
    let file = place.file(&[&rows[0], &rows[1]]);
    let turn = fs::File::open(place.data()).unwrap();
    turn.lock().unwrap();
    let child = place.command(&["batch", &file], &[]).spawn().unwrap();
    until_it_waits(child.id());
    let anna = vendor_id("anna");
    let gone = InstanceId::nth(&anna, 2);
    assert!(place.open().store.delete_instance(&anna, &gone).await.unwrap());
    turn.unlock().unwrap();
    let ran = super::place::Ran::of(&child.wait_with_output().unwrap());
    ran.says(1, &["1 updated", "line 3 (anna): vendorId is also in line 2"]);
    let opened = place.open();
    let left = opened.store.instances(&anna).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].wasender.instance_id.as_deref(), Some("4001"));
    assert_eq!(super::place::secrets(&left[0]), ["marked-secret-anna"]);
    assert_eq!(opened.vendor("anna").await.unwrap().business_name, "Chez Anna");
}
