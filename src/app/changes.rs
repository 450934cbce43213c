//! Notices what other processes (`waba-migrate`, the command line, other nodes and programs on one
//! Firestore) change in the store, and forgets what is remembered of it.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;

/// How soon a change is noticed.
const EVERY: Duration = Duration::from_millis(200);

/// Notices changes, and does what is to be done about them, until `stop`.
pub(super) async fn spawn(gateway: &Gateway, stop: &CancellationToken) -> [JoinHandle<()>; 2] {
    // What was changed before the start is read from the store anyway, unless Redis still has what
    // was there before: nobody may have been there to tell it.
    let (changed, seen) = gateway.store().changes_after(0).await.unwrap_or_default();
    changed.iter().for_each(|it| gateway.manager().forget(it));
    gateway.manager().announce().await;
    [
        tokio::spawn(watch(gateway.clone(), seen, stop.clone())),
        tokio::spawn(tend(gateway.clone(), stop.clone())),
    ]
}

async fn watch(gateway: Gateway, mut seen: i64, stop: CancellationToken) {
    let (mut seen_version, mut n_begun, mut n_revoked) = (None, None, 0);
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        let begun = gateway.store().n_begun().filter(|it| *it > 0);
        if begun != n_begun {
            n_begun = begun;
            gateway.listening_began();
        }
        let revoked = gateway.store().n_revoked();
        if revoked != n_revoked && gateway.manager().forget_api_keys().await.is_ok() {
            n_revoked = revoked;
        }
        let Ok(version) = gateway.store().version().await else { continue };
        if seen_version == Some(version) {
            continue;
        }
        // Tried again at once; a store elsewhere may be away for long.
        let Ok((vendors, last)) = gateway.store().changes_after(seen).await else { continue };
        let first_heard = gateway.store().first_heard_after(seen);
        gateway.notice(&vendors).await;
        gateway.notice_first_heard(&first_heard).await;
        (seen, seen_version) = (last, Some(version));
    }
}

/// Does what more there is to do about them.
async fn tend(gateway: Gateway, stop: CancellationToken) {
    tokio::select! {
        () = gateway.tend_changes() => {}
        () = stop.cancelled() => {}
    }
}
