use std::time::Instant;

use super::{super::ledger::Log, *};
use crate::domain::delivery::{Reason, State};

const START: i64 = 1_760_000_000_000;

fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    for script in crate::sqlite::SCRIPTS {
        connection.execute_batch(script).unwrap();
    }
    connection
}

#[test]
fn every_status_is_counted() {
    let states = [
        State::Waiting { due: 0 },
        State::Begun,
        State::Fenced { since: 0 },
        State::Accepted { at: 0 },
        State::Sent,
        State::Unknown,
        State::Parked(Reason::NoPhone),
        State::Dead(Reason::Expired),
    ];
    assert!(states.iter().all(|it| is_status(life::word(it))));
    assert!((0..6).filter_map(Status::of_code).all(|it| is_status(it.as_str())));
    assert!(is_status(echo_word(true, None)) && is_status(echo_word(false, None)));
}

#[test]
fn what_is_logged_is_small() {
    let (mut delta, id) = (Delta::default(), EntryId::at(START));
    let without = serde_json::to_string(&delta).unwrap().len();
    delta.hours.inbound(id);
    delta.hours.outbound(id, "queued", 1);
    delta.hours.moved(id, "queued", "sending");
    delta.hours.moved(id, "sending", "read");
    delta.hours.answered(id, 2_000);
    let with = serde_json::to_string(&delta).unwrap();
    assert!(with.len() - without < 100, "{with}");
    let read: Delta = serde_json::from_str(&with).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), with);
}

/// A month of one vendor with a million messages, in transactions of 100, beside 20 others.
fn a_million(connection: &Connection) -> VendorId {
    let vendor = VendorId::parse("busy").unwrap();
    let others: Vec<VendorId> =
        (0..20).map(|n| VendorId::parse(&format!("v{n}")).unwrap()).collect();
    let mut log = Log::load(connection).unwrap();
    let tx = connection.unchecked_transaction().unwrap();
    for n in 0..10_000 {
        let mut delta = Delta::default();
        for m in 0..50 {
            let id = EntryId::at(START + n * 30 * 24 * HOUR / 10_000 + m);
            delta.hours.inbound(id);
            delta.hours.outbound(id, "queued", 1);
            delta.hours.moved(id, "queued", if m == 0 { "dead" } else { "delivered" });
            delta.hours.answered(id, 1_500);
        }
        let all = others.iter().map(|it| (it.clone(), delta.clone()));
        let deltas = all.chain([(vendor.clone(), delta.clone())]).collect();
        log.write(&tx, &deltas).unwrap();
    }
    tx.commit().unwrap();
    vendor
}

#[test]
fn a_million_messages_are_counted_from_a_few_thousand_rows() {
    let connection = database();
    let vendor = a_million(&connection);
    let started = Instant::now();
    let tally = read(&connection, &vendor, &(0..1_000_000)).unwrap();
    println!("a million messages by counters: {:?}", started.elapsed());
    let sql = "SELECT count(*) FROM hours WHERE vendor = ?1";
    let n_rows: i64 = connection.query_row(sql, [vendor.as_str()], |row| row.get(0)).unwrap();
    // A row for each hour of the month and each of its words, however many messages there were.
    assert!(n_rows <= 31 * 24 * 8, "{n_rows}");
    assert_eq!((tally.inbound, tally.outbound), (500_000, 500_000));
    let by_status = [("dead", 10_000), ("delivered", 490_000)];
    assert_eq!(tally.by_status, by_status.map(|it| (it.0.to_owned(), it.1)).into());
    assert_eq!((tally.answered, tally.answer_ms), (500_000, 750_000_000));
    assert_ne!(tally, read(&connection, &vendor, &(0..START / HOUR + 24)).unwrap());
}

#[test]
#[ignore = "a scan of a million entries, to compare with"]
fn a_scan_of_a_million_entries_takes_much_longer() {
    let connection = database();
    let sql = "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n LIMIT 1000000)
        INSERT INTO entries (id, kind, account, is_open, vendor, instance, contact, body, life)
        SELECT (?1 + n * 2592) << 20, 2 * (n % 2), 1, 0, 'busy', 'waba_busy', n % 5000,
            zeroblob(300), ?2 FROM n";
    let delivery = crate::domain::delivery::Delivery::new(0, 0);
    let life = crate::journal::life::Life { delivery: Some(delivery), ..Default::default() };
    connection.execute(sql, params![START, life.text()]).unwrap();
    let started = Instant::now();
    let tally = count(&connection, &VendorId::parse("busy").unwrap(), &(0..1_000_000)).unwrap();
    println!("a million messages by a scan: {:?}", started.elapsed());
    assert_eq!(tally.inbound + tally.outbound, 1_000_000);
}
