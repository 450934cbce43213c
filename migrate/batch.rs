//! `waba-migrate batch`: vendors from a CSV file.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use waba_gateway::config::Config;

use super::{
    carry::{Carry, Load},
    table, webhooks,
};

/// What `waba-migrate batch` is told.
#[derive(Args)]
pub struct Batch {
    /// The CSV file
    file: PathBuf,

    #[command(flatten)]
    carry: Carry,

    #[command(flatten)]
    webhooks: webhooks::Options,
}

/// Reads, checks, and writes if it may.
pub async fn run(batch: &Batch) -> anyhow::Result<ExitCode> {
    let config = Config::from_environment()?;
    batch.webhooks.check(&config)?;
    let rows = table::read(&batch.file)?;
    let webhooks = Some(&batch.webhooks).filter(|it| it.setup_webhooks);
    let load = Load { rows, others: &|_| Vec::new(), webhooks };
    batch.carry.carry(&config, load).await
}
