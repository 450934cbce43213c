//! Listens to what other gateways change, through Redis.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{cache::redis::Changes, gateway::Gateway, telemetry::Chain};

/// Between two tries to listen, or to read again what could not be read.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

pub(super) async fn listen(gateway: Gateway, stop: CancellationToken) {
    let listen = async {
        loop {
            if let Some(changes) = gateway.manager().listen().await {
                hear(&gateway, changes).await;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    };
    tokio::select! {
        () = listen => {}
        () = gateway.manager().tend() => {}
        () = stop.cancelled() => {}
    }
    // What was changed last.
    gateway.manager().announce().await;
}

/// Until the connection is gone.
async fn hear(gateway: &Gateway, mut changes: Changes) {
    let mut missed = gateway.hear_all().await.inspect_err(told).is_err();
    loop {
        tokio::select! {
            subjects = changes.next() => {
                let Some(subjects) = subjects else { return };
                // What is remembered is dropped in any case; pauses are read again when they can be.
                missed |= gateway.hear(&subjects).await.inspect_err(told).is_err();
            }
            () = tokio::time::sleep(AGAIN_AFTER), if missed => {
                missed = gateway.take_over_all_pauses().await.is_err();
            }
        }
    }
}

fn told(error: &crate::store::StoreError) {
    tracing::warn!(error = %Chain(error), "changes of other gateways could not be taken over");
}
