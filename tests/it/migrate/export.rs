//! `waba-migrate export`, and its file taken in again.

use std::{fs, os::unix::fs::PermissionsExt};

use proptest::test_runner::TestRunner;
use waba_gateway::store::Store;

use super::place::{ANNA, BINTA, HEADER, Place, other_instance};
use crate::exchange::any_vendors;

#[tokio::test]
async fn what_was_exported_changes_nothing_when_it_is_taken_in_again() {
    let place = Place::new();
    let n_complete = {
        let opened = place.open();
        opened.store.check_key().await.unwrap();
        let (mut vendors, mut instances) = any_vendors(&mut TestRunner::deterministic(), 120);
        for (n, it) in vendors.iter_mut().enumerate() {
            it.business_name = format!("\"Chez\" {n}, é; {}", it.business_name.trim());
            it.business_name = it.business_name.trim_end().to_owned();
        }
        // Only what has a session and a secret for good can be in such a file.
        instances.retain(|it| {
            let secret = it.wasender.webhook_secrets.first();
            it.wasender.instance_id.is_some() && secret.is_some_and(|it| it.until.is_none())
        });
        opened.store.import(&vendors, &instances).await.unwrap();
        instances.len()
    };
    assert!(n_complete > 20);
    let content = place.content();
    let file = place.dir.path().join("all.csv");
    let file = file.to_str().unwrap();
    let ran = place.run(&["export", file, "--with-secrets"]);
    ran.says(0, &[&format!("{n_complete} numbers are in "), "with their secrets in clear"]);
    assert!(!ran.all().contains("secret-"), "{}", ran.all());
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let told = format!("{n_complete} rows: 0 created, 0 updated, {n_complete} unchanged, 0 bad");
    place.run(&["batch", file]).says(0, &[&told]);
    assert_eq!(place.content(), content);
    place.run(&["export", file]).says(2, &["is there already; it is not overwritten"]);
}

#[tokio::test]
async fn secrets_are_in_it_only_when_they_are_asked_for() {
    let place = Place::new();
    place.run(&["export", "none.csv"]).says(2, &["there is no data in"]);
    place.migrate(&[ANNA, BINTA, "dana,D,22170111111,4009,marked-secret-dana,"]);
    place.run(&["export", "plain.csv"]).says(0, &["3 numbers are in plain.csv, without secrets"]);
    let text = fs::read_to_string(place.dir.path().join("plain.csv")).unwrap();
    let anna = "anna,Anna's,+221771234567,4001,,\n";
    let rest = "binta,\"Binta, Fils\",+221771234568,4002,,\ndana,D,+22170111111,4009,,\n";
    assert_eq!(text, format!("{HEADER}\n{anna}{rest}"));
    place.run(&["batch", "plain.csv"]).says(1, &["line 2 (anna): wasenderWebhookSecret is empty"]);
    // What a CSV file cannot carry is told.
    let mut second = other_instance("waba_anna_2", "anna", "221771234500", "4100", "marked-second");
    second.wasender.instance_id = None;
    place.open().store.put_all(&[], &[second]).await.unwrap();
    let ran = place.run(&["export", "whole.csv", "--with-secrets"]);
    ran.says(1, &["1 are further numbers", "do", "as they are: waba_anna_2", "vendor export"]);
    let text = fs::read_to_string(place.dir.path().join("whole.csv")).unwrap();
    assert!(text.contains("+221771234567,4001,marked-secret-anna,marked-key-anna\n"), "{text}");
    place.run(&["export", "no/such/file.csv"]).says(2, &["make a file in no/such"]);
}

#[test]
fn a_vendor_that_cannot_be_read_is_named_and_not_in_it() {
    let place = Place::new();
    place.migrate(&[ANNA, BINTA]);
    place.damage("anna");
    let ran = place.run(&["export", "rest.csv"]);
    ran.says(1, &["1 numbers are in rest.csv", "cannot be opened or read", "not in it: anna"]);
    let text = fs::read_to_string(place.dir.path().join("rest.csv")).unwrap();
    assert!(text.contains("\nbinta,") && !text.contains("anna"), "{text}");
}
