//! What the start needs of the store: the admin key, who is refused, and whose sends are stopped.
//! With a store elsewhere that is away the gateway starts all the same and asks on. Where not even
//! a copy tells whose sends are stopped, every send is held until the store does.

use std::time::Duration;

use anyhow::Context;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{WAITING_PAGE, bootstrap, hold_paused, take_up_entries};
use crate::{
    config::Config, domain::secret::SecretString, gateway::Gateway, sqlite::DbError,
    store::StoreError, telemetry::Chain,
};

/// For a store elsewhere, which may be there and answer nothing.
const WITHIN: Duration = Duration::from_secs(5);
/// Between two times that the store is asked.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// The same, when a person must do something first.
const AGAIN_AFTER_FAULT: Duration = Duration::from_secs(30);

/// What is still to be asked.
pub(super) struct Late {
    config: Config,
    /// Nobody could tell whose sends are stopped.
    holds_sends: bool,
}

/// Takes up the work, and answers the admin key if one was made.
pub(super) async fn start(
    config: &Config,
    gateway: &Gateway,
) -> anyhow::Result<(Option<SecretString>, Option<Late>)> {
    let holds_sends = match hold_paused(gateway).await {
        Ok(()) => false,
        Err(error) if error.is_away() => {
            tracing::warn!(
                error = %Chain(&error),
                "the store is away: nothing is sent until it is known whose sends are stopped"
            );
            gateway.work().pause(None, true);
            true
        }
        Err(error) => return Err(error).context("whose sends are stopped"),
    };
    let (new_key, is_away) = match ask(config, gateway).await {
        Err(error) if store_is_away(&error) => {
            gateway.manager().store_answered(false);
            (None, true)
        }
        asked => (asked?, false),
    };
    let late = Late { config: config.clone(), holds_sends };
    take_up_entries(gateway, WAITING_PAGE).await.context("take up unfinished work")?;
    Ok((new_key, (holds_sends || is_away).then_some(late)))
}

async fn ask(config: &Config, gateway: &Gateway) -> anyhow::Result<Option<SecretString>> {
    let ask = async {
        let new_key = bootstrap::admin_key(config, gateway).await?;
        gateway.load_vitals().await.context("take up who is refused")?;
        Ok(new_key)
    };
    if !gateway.manager().is_store_elsewhere() {
        return ask.await;
    }
    timeout(WITHIN, ask).await.unwrap_or_else(|_| Err(StoreError::from(DbError::Away).into()))
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
            match self.ask_again(gateway).await {
                Ok(true) => {
                    tracing::info!("the store is back; sends go on");
                    return;
                }
                // Somebody is changing a vendor at this moment.
                Ok(false) => {}
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

    /// Whether everything is known by now.
    async fn ask_again(&self, gateway: &Gateway) -> anyhow::Result<bool> {
        ask(&self.config, gateway).await?;
        if !self.holds_sends {
            return Ok(true);
        }
        gateway.take_over_pauses().await.context("whose sends are stopped")
    }
}
