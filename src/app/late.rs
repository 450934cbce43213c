//! What the start needs of the store: the admin key, and whose sends are stopped. With a store that
//! is away the gateway starts all the same, holds every send, and asks on.

use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{bootstrap, hold_paused, take_up_entries};
use crate::{
    config::Config, domain::secret::SecretString, gateway::Gateway, store::StoreError,
    telemetry::Chain,
};

/// Between two times that the store is asked.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// The same, when a person must do something first.
const AGAIN_AFTER_FAULT: Duration = Duration::from_secs(30);

/// What is still to be asked.
pub(super) struct Late {
    config: Config,
}

/// Takes up the work, and answers the admin key if one was made.
pub(super) async fn start(
    config: &Config,
    gateway: &Gateway,
) -> anyhow::Result<(Option<SecretString>, Option<Late>)> {
    let asked = ask(config, gateway).await;
    let (new_key, late) = match asked {
        Err(error) if store_is_away(&error) => {
            tracing::warn!(
                error = %Chain(error.as_ref()),
                "the store is away: nothing is sent until it is known whose sends are stopped"
            );
            gateway.work().pause(None, true);
            (None, Some(Late { config: config.clone() }))
        }
        asked => (asked?, None),
    };
    take_up_entries(gateway).await.context("take up unfinished work")?;
    Ok((new_key, late))
}

async fn ask(config: &Config, gateway: &Gateway) -> anyhow::Result<Option<SecretString>> {
    let new_key = bootstrap::admin_key(config, gateway).await?;
    hold_paused(gateway).await.context("whose sends are stopped")?;
    Ok(new_key)
}

/// Whether the store is away, and nothing else is wrong.
#[must_use]
pub fn store_is_away(error: &anyhow::Error) -> bool {
    error.chain().any(|it| it.downcast_ref::<StoreError>().is_some_and(StoreError::is_away))
}

impl Late {
    /// Asks until the store is back, or `stop`.
    pub(super) fn spawn(self, gateway: Gateway, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(async move {
            tokio::select! {
                () = self.ask_on(&gateway) => {}
                () = stop.cancelled() => {}
            }
        })
    }

    async fn ask_on(&self, gateway: &Gateway) {
        loop {
            tokio::time::sleep(AGAIN_AFTER).await;
            match ask(&self.config, gateway).await {
                Ok(_) => {
                    tracing::info!("the store is back; sends go on");
                    return;
                }
                Err(error) if store_is_away(&error) => {}
                Err(error) => {
                    tracing::error!(
                        error = %Chain(error.as_ref()),
                        "the store is back and cannot be used: nothing is sent"
                    );
                    tokio::time::sleep(AGAIN_AFTER_FAULT).await;
                }
            }
        }
    }
}
