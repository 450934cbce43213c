//! The gateway watches over its vendors: looks for alerts every minute of its clock, keeps what was
//! heard every few seconds, and asks about numbers in doubt every second.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::{domain::clock::MINUTE, gateway::Gateway, sqlite::is_of_disk, telemetry::Chain};

/// How often what was heard is written.
const KEEP_EVERY: Duration = Duration::from_secs(2);
/// How often providers are asked about numbers that may be up again.
const ASK_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn watch(gateway: Gateway, stop: CancellationToken) {
    let looks = async {
        loop {
            if let Err(error) = gateway.look().await {
                tracing::warn!(error = %Chain(&error), "alerts could not be looked for");
            }
            gateway.clock().sleep_until(gateway.clock().now() + MINUTE).await;
        }
    };
    tokio::select! {
        () = looks => {}
        () = keep(&gateway) => {}
        () = ask(&gateway) => {}
        () = stop.cancelled() => {}
    }
    keep_now(&gateway).await;
}

async fn keep(gateway: &Gateway) {
    loop {
        tokio::time::sleep(KEEP_EVERY).await;
        keep_now(gateway).await;
    }
}

async fn ask(gateway: &Gateway) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let ask = AssertUnwindSafe(gateway.ask_in_doubt()).catch_unwind();
        if ask.await.is_err() {
            tracing::error!("asking how numbers are panicked");
        }
    }
}

async fn keep_now(gateway: &Gateway) {
    if let Err(error) = gateway.keep_vitals().await
        && !is_of_disk(&error)
        // Told once, where it was found.
        && !gateway.manager().is_store_away()
    {
        tracing::warn!(error = %Chain(&error), "what was heard of vendors could not be written");
    }
    if let Err(error) = gateway.keep_keys_used().await
        && !is_of_disk(&error)
    {
        tracing::warn!(error = %Chain(&error), "when keys were last used could not be written");
    }
}
