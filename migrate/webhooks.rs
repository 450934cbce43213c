//! `--setup-webhooks`: points each row's session at this gateway, as the administration does it.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio::time::{MissedTickBehavior, interval};
use waba_gateway::{
    cli::progress::Progress,
    config::Config,
    domain::{id::VendorId, route::ProviderKind},
    gateway::{AdminError, BY_CLI, Gateway, SetUp, SetUpDone, SetUpError, can_reach},
    provider::wasender::SessionFault,
    telemetry::Chain,
};

use super::{
    plan::{Plan, Planned, Webhook},
    record::Record,
};

/// How often a row is tried for which Wasender has no time now.
const TRIES_MAX: u32 = 3;
/// Wasender counts by the minute.
const BETWEEN_TRIES: Duration = Duration::from_mins(1);
/// Wasender's statuses that say: later.
const LATER: [u16; 2] = [429, 503];

const SETUP_HELP: &str =
    "Then point each row's session at Wasender to this gateway (needs WASENDER_API_KEY)";

/// What is told of webhooks.
#[derive(Args)]
pub struct Options {
    #[arg(long, help = SETUP_HELP)]
    pub setup_webhooks: bool,

    /// Take sessions over whose webhooks lead to another system today
    #[arg(long, requires = "setup_webhooks")]
    replace_webhooks: bool,

    /// Sessions set up in a minute; each is up to three calls
    #[arg(long, value_name = "N", default_value_t = 60, requires = "setup_webhooks",
        value_parser = clap::value_parser!(u32).range(1..=600))]
    webhooks_per_minute: u32,
}

impl Options {
    /// Refuses what cannot succeed for any row, before anything is done.
    pub fn check(&self, config: &Config) -> anyhow::Result<()> {
        if !self.setup_webhooks {
            return Ok(());
        }
        if !can_reach(&config.wasender_url, &config.base_url) {
            return Err(
                SetUpError::BaseUrl(ProviderKind::Wasender, config.base_url.to_string()).into()
            );
        }
        if config.wasender_token.is_none() {
            bail!(
                "--setup-webhooks needs WASENDER_API_KEY, the account's personal access token \
                 (Wasender dashboard, Settings)"
            );
        }
        Ok(())
    }

    /// Sets up every row that is stored. One that fails is on record and stops no other.
    pub async fn set_up(
        &self,
        gateway: &Gateway,
        plan: &mut Plan,
        record: &mut Record,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let mut pace = interval(Duration::from_mins(1) / self.webhooks_per_minute);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for planned in &mut plan.rows {
            if !planned.is_refused()
                && let Some(vendor) = planned.row.vendor.clone()
            {
                pace.tick().await;
                let end = self.one(gateway, &vendor, planned).await;
                let is_kept = match &end {
                    Ok(done) => done.is_kept,
                    Err(error) => matches!(error, SetUpError::Partly(_)),
                };
                planned.webhook = Some(match end {
                    Ok(SetUpDone { was_done: true, .. }) => Webhook::WasSetUp,
                    Ok(done) => Webhook::SetUp(done.warnings),
                    Err(error) => Webhook::Failed(Chain(&error).to_string()),
                });
                record.webhook(planned)?;
                if is_kept {
                    let what = "setUpWebhook";
                    let kept = gateway.put_on_record(BY_CLI, what, Some(&vendor), None).await;
                    kept.context("a set-up could not be put on record")?;
                }
            }
            progress.advance(1);
        }
        Ok(())
    }

    async fn one(
        &self,
        gateway: &Gateway,
        vendor: &VendorId,
        planned: &Planned,
    ) -> Result<SetUpDone, SetUpError> {
        let mut n_tries = 0;
        loop {
            let set_up = SetUp {
                wasender_instance_id: planned.row.wasender_id.clone(),
                replace: self.replace_webhooks,
                beside_server: true,
                ..SetUp::default()
            };
            n_tries += 1;
            match gateway.set_up_webhook(vendor, set_up).await {
                Err(error) if n_tries < TRIES_MAX && is_for_later(&error) => {
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                end => return end,
            }
        }
    }
}

fn is_for_later(error: &SetUpError) -> bool {
    match error {
        SetUpError::Session(SessionFault::Garbled(status)) => LATER.contains(status),
        SetUpError::Admin(AdminError::Store(error)) => error.is_away(),
        _ => false,
    }
}
