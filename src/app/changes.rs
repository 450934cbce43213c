//! Notices what other processes (`waba-migrate`, the command line, other nodes and programs on one
//! Firestore) change in the store, and forgets what is remembered of it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{gateway::Gateway, store::StoreError, telemetry::Chain};

/// How soon a change is noticed.
const EVERY: Duration = Duration::from_millis(200);

pub(super) async fn watch(gateway: Gateway, stop: CancellationToken) {
    let (mut seen_version, mut is_told) = (None, false);
    // What was changed before the start is read from the store anyway, unless Redis still has what
    // was there before: nobody may have been there to tell it.
    let (changed, mut seen) = gateway.store().changes_after(0).await.unwrap_or_default();
    changed.iter().for_each(|it| gateway.manager().forget(it));
    gateway.manager().announce().await;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        let Ok(version) = gateway.store().version().await else { continue };
        if seen_version == Some(version) {
            continue;
        }
        let noticed = async {
            let (vendors, last) = gateway.store().changes_after(seen).await?;
            gateway.notice(&vendors).await?;
            Ok::<_, StoreError>(last)
        };
        match noticed.await {
            Ok(last) => (seen, seen_version, is_told) = (last, Some(version), false),
            // Tried again at once; a store elsewhere may be away for long.
            Err(error) if !is_told => {
                is_told = true;
                tracing::warn!(error = %Chain(&error), "changes could not be taken over yet");
            }
            Err(_) => {}
        }
    }
}
