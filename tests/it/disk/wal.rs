//! The write-ahead file, cut at any place and with anything after it.

use std::path::Path;

use waba_gateway::{
    domain::id::EntryId,
    twin::{Customer, real_message},
    vault::Vault,
};

use super::{Dice, check};
use crate::{
    restart::free_port,
    support::{Process, TestApp, TestVendor, spawn_app},
};

const N_CUTS: usize = 60;
const N_HOOKS: usize = 120;
const WAL_HEAD_BYTES: usize = 32;
const FRAME_HEAD_BYTES: usize = 24;

/// Where the present frames of a write-ahead file end: after those, there may be some from before
/// it was begun anew, which have other salts.
fn end_of(wal: &[u8]) -> usize {
    let word = |at: usize| u32::from_be_bytes(wal[at..at + 4].try_into().unwrap());
    if wal.len() < WAL_HEAD_BYTES {
        return 0;
    }
    let frame = FRAME_HEAD_BYTES + usize::try_from(word(8)).unwrap();
    let mut at = WAL_HEAD_BYTES;
    while at + frame <= wal.len() && wal[at + 8..at + 16] == wal[16..24] {
        at += frame;
    }
    at
}

/// Entries that were answered 200, and where the write-ahead file ended then.
async fn post_some(app: &TestApp, vendor: &TestVendor, from: usize) -> Vec<(EntryId, usize)> {
    let mut kept = Vec::new();
    for n in from..from + N_HOOKS {
        let customer = Customer::new(&format!("+22170555{:04}", n % 40));
        let body = real_message(&format!("K{n}"), &customer, "horaires", app.now_secs());
        let answer = app.post_signed(vendor, &body).await;
        assert_eq!(answer.status, 200);
        let end = end_of(&std::fs::read(app.data_dir().join("waba.db-wal")).unwrap());
        kept.push((answer.json()["processId"].as_str().unwrap().parse().unwrap(), end));
    }
    kept
}

/// The database's files, and what was in them by where the write-ahead file ended.
struct Image {
    db: Vec<u8>,
    wal: Vec<u8>,
    kept: Vec<(EntryId, usize)>,
}

/// Half of it is in the database file, and the write-ahead file was begun anew over the old frames.
async fn image(app: &TestApp) -> Image {
    let vendor = app.vendor(1).await;
    let mut kept = post_some(app, &vendor, 0).await;
    let path = app.data_dir().join("waba.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.busy_timeout(crate::support::DEADLINE).unwrap();
    other
        .query_row("PRAGMA wal_checkpoint(RESTART)", (), |row| {
            assert_eq!(row.get::<_, i64>(0), Ok(0), "busy");
            Ok(())
        })
        .unwrap();
    drop(other);
    kept.iter_mut().for_each(|it| it.1 = 0);
    kept.extend(post_some(app, &vendor, N_HOOKS).await);
    // The database file is not written any more, and the other only grows: a copy that is made
    // while answers are still being sent is one that a crash might leave.
    let read = |name: &str| std::fs::read(app.data_dir().join(name)).unwrap();
    Image { db: read("waba.db"), wal: read("waba.db-wal"), kept }
}

impl Image {
    /// Writes it with another write-ahead file, and answers what was kept before `sure`.
    fn write(&self, to: &Path, wal: &[u8], sure: usize) -> Vec<EntryId> {
        std::fs::write(to.join("waba.db"), &self.db).unwrap();
        std::fs::write(to.join("waba.db-wal"), wal).unwrap();
        self.kept.iter().filter(|it| it.1 <= sure).map(|it| it.0).collect()
    }
}

/// A write-ahead file as a crash might leave it, up to where it is what it was, and the words for it.
fn torn(wal: &[u8], n: usize, dice: &mut Dice) -> (Vec<u8>, usize, String) {
    let end = end_of(wal);
    // All of them cut through a frame, most of them anywhere in it.
    let cut = dice.below(end + 1);
    let mut torn = wal.to_vec();
    let how = match n % 5 {
        0 => {
            torn.truncate(cut);
            "cut"
        }
        1 => {
            torn.truncate(cut);
            torn.extend((0..dice.below(64 * 1024)).map(|_| 0));
            "cut and zeros after it"
        }
        2 => {
            torn.truncate(cut);
            let n_bytes = dice.below(64 * 1024);
            torn.extend((0..n_bytes).map(|_| u8::try_from(dice.below(256)).unwrap()));
            "cut and noise after it"
        }
        3 => {
            let at = cut.min(end - 1);
            torn[at] ^= 1 << dice.below(8);
            "one bit flipped"
        }
        _ => {
            let n_bytes = dice.below(4_096).min(torn.len() - cut);
            torn.copy_within(0..n_bytes, cut);
            "an older part in place of a later one"
        }
    };
    (torn, cut, format!("{how} at {cut} of {end}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_ahead_file_cut_anywhere_loses_nothing_from_before_the_cut() {
    let app = spawn_app().await;
    let image = image(&app).await;
    let key = std::fs::read_to_string(app.data_dir().join("encryption.key")).unwrap();
    let vault = std::sync::Arc::new(Vault::new(&key.trim().to_owned().into(), &[]).unwrap());
    let (mut dice, mut n_kept) = (Dice::new(1), Vec::new());
    for n in 0..N_CUTS {
        let copy = tempfile::tempdir().unwrap();
        let (wal, sure, what) = torn(&image.wal, n, &mut dice);
        let wanted = image.write(copy.path(), &wal, sure);
        if n % 3 == 0 {
            // An index of the write-ahead file that is of another one, or of none.
            std::fs::write(copy.path().join("waba.db-shm"), vec![0xA5; 32 * 1024]).unwrap();
        }
        check(copy.path(), std::sync::Arc::clone(&vault), &wanted, &what).await;
        n_kept.push(wanted.len());
    }
    // The cuts were spread over the second half.
    let spread = n_kept.iter().max().unwrap() - n_kept.iter().min().unwrap();
    assert!(spread > N_HOOKS / 2, "{n_kept:?}");
    assert!(n_kept.iter().all(|it| *it >= N_HOOKS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_starts_on_a_torn_write_ahead_file_and_works_on() {
    let app = spawn_app().await;
    let image = image(&app).await;
    let mut dice = Dice::new(7);
    for n in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let (data, log) = (directory.path().join("data"), directory.path().join("log"));
        std::fs::create_dir(&data).unwrap();
        for file in ["encryption.key", "admin.key"] {
            std::fs::copy(app.data_dir().join(file), data.join(file)).unwrap();
        }
        let (wal, sure, what) = torn(&image.wal, n, &mut dice);
        let wanted = image.write(&data, &wal, sure);
        let variables = [("WASENDER_API_URL", app.twin.api_url())];
        let mut process = Process::serve(&data, free_port(), &variables, &log).await;
        let vendor = app.twin.session(1_001).unwrap();
        let body = real_message("later", &Customer::new("+221705559999"), "x", app.now_secs());
        let url = format!("{}/api/webhooks/wasender/vendor_001", process.base);
        let headers = [("x-webhook-signature", vendor.webhook_secret.as_str())];
        let body = body.to_string().into_bytes();
        assert_eq!(app.post(&url, &headers, &body).await.status, 200, "{what}");
        process.signal("TERM");
        let status = process.ended(crate::support::DEADLINE).await;
        assert_eq!(status.code(), Some(0), "{what}");
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(!log.contains("panicked"), "{what}: {log}");
        let key = std::fs::read_to_string(data.join("encryption.key")).unwrap();
        let vault = Vault::new(&key.trim().to_owned().into(), &[]).unwrap();
        check(&data, vault.into(), &wanted, &what).await;
    }
}
