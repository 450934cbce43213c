//! One message is one entry, however many ask at once; and old dedupe keys go without anybody having
//! to wait for it. Here the database is a file with its own writer, as in service.
//!
//! The long forms: `SIM_TRIALS=10000`, `SIM_KEYS=1000000` (a day).

use std::{sync::Arc, time::Instant};

use tokio::sync::Barrier;
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR, Millis},
        contact::Address,
        event::{Chat, Event, What},
        id::{InstanceId, VendorId},
        message::Content,
        phone::PhoneNumber,
        secret::SecretString,
    },
    journal::{Journal, NewEvent, NewEvents, Recorded, SqliteJournal},
    vault::Vault,
};

use super::{plan::BASE, seeds::number};

const AT_ONCE: usize = 64;
const TRIALS: u64 = if cfg!(debug_assertions) { 20 } else { 500 };
const KEYS_A_DAY: u64 = if cfg!(debug_assertions) { 500 } else { 20_000 };
const DAY: Millis = 24 * HOUR;

fn journal(directory: &tempfile::TempDir) -> SqliteJournal {
    let key = SecretString::from("c2ltdWxhdGlvbiBzaW11bGF0aW9uIHNpbXVsYXRpb24=");
    let vault = Arc::new(Vault::new(&key, &[]).unwrap());
    SqliteJournal::open(&directory.path().join("waba.db"), vault).unwrap()
}

fn batch(n: u64, now: Millis) -> NewEvents {
    let vendor = VendorId::parse("vendor_001").unwrap();
    let phone = PhoneNumber::from_wire(&format!("22170{:07}", n % 1_000)).unwrap();
    let what = What::Message(Content::text(format!("message {n}")));
    let mut event = Event::new(what, Chat::Private, Address::phone(phone));
    event.provider_id = Some(format!("3EB0{n:016X}"));
    NewEvents {
        instance: InstanceId::nth(&vendor, 1),
        vendor,
        silence: HOUR,
        forward: false,
        is_told_twice: false,
        now,
        raw: format!("{{\"n\":{n}}}").into(),
        events: vec![NewEvent { event, unanswered: None }],
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

#[test]
fn of_64_identical_requests_at_once_one_is_kept() {
    let n_trials = number("SIM_TRIALS").unwrap_or(TRIALS);
    let directory = tempfile::tempdir().unwrap();
    let journal = Arc::new(journal(&directory));
    let started = Instant::now();
    runtime().block_on(async {
        for n in 0..n_trials {
            let barrier = Arc::new(Barrier::new(AT_ONCE));
            let ask = |_| {
                let (journal, barrier) = (Arc::clone(&journal), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    journal.append(batch(n, BASE)).await.unwrap().entries[0]
                })
            };
            let asked: Vec<_> = (0..AT_ONCE).map(ask).collect();
            let (mut new, mut others) = (Vec::new(), Vec::new());
            for it in asked {
                match it.await.unwrap() {
                    Recorded::New(id) => new.push(id),
                    Recorded::Duplicate(id) => others.push(id),
                }
            }
            assert_eq!((new.len(), others.len()), (1, AT_ONCE - 1), "trial {n}");
            assert!(others.iter().all(|it| *it == new[0]), "trial {n}");
        }
        let ledger = journal.ledger(None).await.unwrap();
        let n_trials = i64::try_from(n_trials).unwrap();
        assert_eq!((ledger.accepted, ledger.duplicates), (n_trials, n_trials * 63));
        assert_eq!(ledger, journal.count(None).await.unwrap());
    });
    println!(
        "{n_trials} trials of {AT_ONCE} identical requests in {:.1} s: one event each",
        started.elapsed().as_secs_f64()
    );
    journal.db().close();
}

#[test]
fn old_keys_go_and_nobody_waits_for_it() {
    let n_keys = number("SIM_KEYS").unwrap_or(KEYS_A_DAY);
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(&directory);
    runtime().block_on(async {
        let mut took = Vec::new();
        for day in 0..12 {
            took.push(one_day(&journal, day, n_keys).await);
        }
        for (day, (p50, p99, most, first)) in took.iter().enumerate() {
            println!("day {day:>2}: p50 {p50:.2} ms, p99 {p99:.2} ms, most {most:.2} ms; the first {first:.2} ms");
        }
        let clock = Clock::fixed(BASE + 11 * DAY);
        let is_known = async |n| {
            let again = journal.append(batch(n, clock.now())).await.unwrap();
            matches!(again.entries[0], Recorded::Duplicate(_))
        };
        // Eight days back: Meta tries again for seven. A day's first key may have come the evening
        // before, with the last of that day.
        for day in 3..12 {
            assert!(is_known(day * n_keys + 40).await, "keys of day {day} are gone");
        }
        assert!(!is_known(0).await, "keys of eleven days ago are still there");
        let usual = took[..9].iter().map(|it| it.1).fold(0.0, f64::max);
        let across = took[9..].iter().map(|it| it.1).fold(0.0, f64::max);
        println!("p99 before anything is dropped {usual:.2} ms, with a drop each day {across:.2} ms");
        let most = took[9..].iter().map(|it| it.3).fold(0.0, f64::max);
        assert!(most < 1_000.0, "the first webhook of a day waited {most:.0} ms");
    });
    journal.db().close();
}

/// Keeps a day's messages, some at once: the median, the 99th percentile, the slowest and the first,
/// which is the one that drops, in milliseconds.
async fn one_day(journal: &SqliteJournal, day: u64, n_keys: u64) -> (f64, f64, f64, f64) {
    let now = BASE + i64::try_from(day).unwrap() * DAY;
    let mut took = Vec::new();
    let first = {
        let started = Instant::now();
        journal.append(batch(day * n_keys, now)).await.unwrap();
        started.elapsed().as_secs_f64() * 1_000.0
    };
    let mut n = day * n_keys + 1;
    while n < (day + 1) * n_keys {
        let many = (0..32).map(async |it| {
            let started = Instant::now();
            journal.append(batch(n + it, now)).await.unwrap();
            started.elapsed().as_secs_f64() * 1_000.0
        });
        took.extend(futures_util::future::join_all(many).await);
        n += 32;
    }
    took.push(first);
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    (at(50), at(99), took[took.len() - 1], first)
}
