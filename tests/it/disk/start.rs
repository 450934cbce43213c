//! Started on a disk that takes no writes: it says so, does not panic, and is back when it does.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Server, check, vault};
use crate::support::DEADLINE;

/// It has ended with an error, or answers that it is not ready.
async fn is_told(server: &mut Server) -> bool {
    let started = Instant::now();
    loop {
        if let Some(end) = server.process().end() {
            assert!(!end.success(), "it did not start, and calls that a success");
            assert!(end.code().is_some(), "it was killed by a signal: {}", server.log());
            return false;
        }
        let url = format!("{}/ready", server.process().base);
        let answer = server.admin.try_raw("GET", &url, &[], Vec::new()).await;
        if let Some(answer) = answer {
            assert_ne!(answer.status, 200, "it is ready on a disk that takes nothing");
            return true;
        }
        assert!(started.elapsed() < DEADLINE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn starts_on(fault: &str) {
    let mut server = Server::start(json!([{ "kind": "rules", "otherwise": "merci" }])).await;
    let paused = server.admin.post("/api/admin/pause", json!({})).await;
    assert_eq!(paused.status, 200, "{}", paused.text);
    let mut kept = Vec::new();
    for n in 0..3 {
        kept.push(server.post(n).await.unwrap());
    }
    server.process().kill();
    server.layer.fail(fault);
    server.start_process();
    let is_running = is_told(&mut server).await;
    if is_running {
        assert!(server.post(3).await.is_err(), "what cannot be kept is not taken");
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert_eq!(server.twin.n_sends(), 0, "nothing leaves that could not be recorded");
    server.layer.mend(fault);
    // A disk whose sync failed is not trusted by a process that saw it.
    let ready = format!("{}/ready", server.process().base);
    let started = Instant::now();
    loop {
        let answer = server.admin.try_raw("GET", &ready, &[], Vec::new()).await;
        if answer.is_some_and(|it| it.status == 200) {
            break;
        }
        if server.process().end().is_some() {
            server.serve(true).await;
        }
        assert!(started.elapsed() < DEADLINE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    kept.push(server.post(4).await.unwrap());
    let resumed = server.admin.post("/api/admin/resume", json!({})).await;
    assert_eq!(resumed.status, 200, "{}", resumed.text);
    server.twin.wait_sends(4, DEADLINE).await;
    super::full::settled(&server).await;
    assert_eq!(server.twin.n_sends(), 4, "each is answered once");
    assert!(!server.log().contains("panicked"), "{}", server.log());
    server.process().kill();
    check(&server.data(), vault(), &kept, fault).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_on_a_full_disk_it_says_so_and_is_back_when_there_is_room() {
    starts_on("full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_on_a_disk_that_does_not_sync_it_says_so_and_is_back_when_it_does() {
    starts_on("wal-sync-fails").await;
}
