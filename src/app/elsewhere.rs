//! Listens to what other gateways change, through Redis.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{cache::redis::Changes, gateway::Gateway};

/// Between two tries to listen.
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
    gateway.hear_all();
    while let Some(subjects) = changes.next().await {
        gateway.hear(&subjects);
    }
}
