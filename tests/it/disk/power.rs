//! The power is cut: what was not synced is there in part, or not at all.

use std::sync::Arc;

use serde_json::json;
use waba_gateway::domain::id::EntryId;

use super::{Dice, Server, check, layer::Log, vault};
use crate::support::DEADLINE;

const N_CUTS: usize = 80;
const N_HOOKS: usize = 150;
const LANES: usize = 6;

/// Posts at once in several lanes. What was answered 200, and how far the log was by then.
async fn post_some(server: &Server, from: usize) -> Vec<(EntryId, usize)> {
    let lanes = (0..LANES).map(|lane| async move {
        let mut kept = Vec::new();
        for n in (from + lane..from + N_HOOKS).step_by(LANES) {
            if let Ok(id) = server.post(n).await {
                kept.push((id, server.layer.written()));
            }
        }
        kept
    });
    futures_util::future::join_all(lanes).await.concat()
}

async fn cut_at(log: &Log, n: usize, dice: &mut Dice, kept: &[(EntryId, usize)]) {
    let copy = tempfile::tempdir().unwrap();
    // Of what was not synced: nothing, all, or any part.
    let mode = dice.below(4);
    let mut chance = || match mode {
        0 => false,
        1 => true,
        _ => dice.below(2) == 0,
    };
    log.cut(n, &mut chance, copy.path());
    let written = log.written(n);
    let wanted: Vec<EntryId> = kept.iter().filter(|it| it.1 <= written).map(|it| it.0).collect();
    let what = format!("the power cut after {n} of {} operations, mode {mode}", log.len());
    check(copy.path(), vault(), &wanted, &what).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_moment_loses_nothing_that_was_answered_200() {
    let responders = json!([{ "kind": "rules", "otherwise": "merci" }]);
    let mut server = Server::start(responders).await;
    let mut kept = post_some(&server, 0).await;
    // The stop copies the write-ahead file back and removes it, and the start makes another.
    server.process().signal("TERM");
    assert_eq!(server.process().ended(DEADLINE).await.code(), Some(0));
    server.serve(true).await;
    kept.extend(post_some(&server, N_HOOKS).await);
    server.process().kill();
    let log = server.layer.log();
    assert_eq!(kept.len(), 2 * N_HOOKS, "all were kept");
    assert!(log.n_syncs() > 20, "{} syncs", log.n_syncs());
    let (log, kept) = (Arc::new(log), Arc::new(kept));
    let mut dice = Dice::new(3);
    for _ in 0..N_CUTS {
        let n = dice.below(log.len() + 1);
        cut_at(&log, n, &mut dice, &kept).await;
    }
    cut_at(&log, log.len(), &mut dice, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_the_process_and_the_next_start_has_all_that_was_answered_200() {
    let responders = json!([{ "kind": "rules", "otherwise": "merci" }]);
    let mut server = Server::start(responders).await;
    let kept = post_some(&server, 0).await;
    server.layer.fail("wal-sync-fails");
    assert_eq!(server.post(9_000).await, Err(0), "it cannot be answered");
    let status = server.process().ended(DEADLINE).await;
    assert_eq!(status.code(), Some(74));
    assert_eq!(server.log().matches("the disk could not be synced").count(), 1);
    let log = server.layer.log();
    let mut dice = Dice::new(5);
    for _ in 0..8 {
        cut_at(&log, log.len(), &mut dice, &kept).await;
    }
    // And where the disk has it all after all.
    server.layer.mend("wal-sync-fails");
    server.serve(true).await;
    assert!(server.post(9_001).await.is_ok());
    server.process().kill();
    let kept: Vec<EntryId> = kept.iter().map(|it| it.0).collect();
    check(&server.data(), vault(), &kept, "after a failed sync").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_file_that_cannot_be_synced_costs_nothing() {
    let responders = json!([{ "kind": "rules", "otherwise": "merci" }]);
    let mut server = Server::start(responders).await;
    let mut kept = post_some(&server, 0).await;
    // At the stop the write-ahead file is to be copied back.
    server.layer.fail("db-sync-fails");
    server.process().signal("TERM");
    server.process().ended(DEADLINE).await;
    let log = server.layer.log();
    let mut dice = Dice::new(11);
    for _ in 0..8 {
        cut_at(&log, log.len(), &mut dice, &kept).await;
    }
    server.layer.mend("db-sync-fails");
    server.serve(true).await;
    kept.extend(post_some(&server, N_HOOKS).await);
    server.process().kill();
    let kept: Vec<EntryId> = kept.iter().map(|it| it.0).collect();
    assert_eq!(kept.len(), 2 * N_HOOKS);
    check(&server.data(), vault(), &kept, "after a failed sync of the database file").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_of_the_database_file_that_fails_while_it_serves_ends_the_process() {
    let responders = json!([{ "kind": "rules", "otherwise": "merci" }]);
    let mut server = Server::start(responders).await;
    server.layer.fail("db-sync-fails");
    // The write-ahead file is copied back when it has 64 MiB.
    let (text, mut kept) = ("a".repeat(1 << 20), Vec::new());
    for n in 0..200 {
        let Ok(id) = server.post_text(n, &text).await else { break };
        kept.push(id);
    }
    assert!((16..200).contains(&kept.len()), "{}", kept.len());
    assert_eq!(server.process().ended(DEADLINE).await.code(), Some(74));
    assert_eq!(server.log().matches("the disk could not be synced").count(), 1);
    server.layer.mend("db-sync-fails");
    check(&server.data(), vault(), &kept, "after a failed sync of the database file").await;
}
