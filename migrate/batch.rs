//! `waba-migrate batch`: vendors from a CSV file.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use waba_gateway::{config::Config, domain::clock::Clock};

use waba_gateway::cli::progress::Progress;

use super::{
    EXIT_BAD_ROWS, LOG_FILE, LOG_HELP,
    data::Data,
    plan::{self, Action, Plan},
    record::{Log, Record, Report},
    report::{self, Source, Written},
    table, webhooks, write,
};

/// What `waba-migrate batch` is told.
#[derive(Args)]
pub struct Batch {
    /// The CSV file
    file: PathBuf,

    /// Check the file, also against the store, and tell what would be done; write nothing
    #[arg(long)]
    dry_run: bool,

    /// Write the good rows although others are bad
    #[arg(long)]
    keep_going: bool,

    /// Append what became of each row to this CSV file, as it is done
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    report: Option<PathBuf>,

    #[command(flatten)]
    webhooks: webhooks::Options,

    #[arg(long, value_name = "FILE", help = LOG_HELP)]
    log: Option<PathBuf>,
}

/// Reads, checks, and writes if it may.
pub async fn run(batch: &Batch) -> anyhow::Result<ExitCode> {
    let config = Config::from_environment()?;
    batch.webhooks.check(&config)?;
    let rows = table::read(&batch.file)?;
    let mut record = Record::default();
    if let Some(path) = &batch.report {
        record.report = Some(Report::open(path, &config.base_url)?);
    }
    let mut plan = check(&config, rows).await?;
    let may_write = plan.n_bad() == 0 || (batch.keep_going && plan.n_bad() < plan.rows.len());
    let written = if batch.dry_run {
        Written::DryRun
    } else if may_write {
        Written::Yes
    } else {
        Written::No
    };
    match written {
        Written::Yes if plan.changes_nothing() && !batch.webhooks.setup_webhooks => {
            record.rows(&plan.rows)?;
        }
        Written::Yes => write(batch, &config, &mut plan, &mut record).await?,
        Written::No => {
            let is_refused = |it: &&plan::Planned| matches!(it.action, Action::Refused(_));
            for planned in plan.rows.iter().filter(is_refused) {
                record.rows(std::slice::from_ref(planned))?;
            }
        }
        Written::DryRun => {}
    }
    let source = Source::File { with_webhooks: batch.webhooks.setup_webhooks };
    report::print(&plan, source, &written, &config.base_url);
    Ok(if plan.n_bad() == 0 { ExitCode::SUCCESS } else { EXIT_BAD_ROWS.into() })
}

/// Plans what to do. A file that cannot be written leaves no trace, not even an empty data
/// directory.
async fn check(config: &Config, rows: Vec<table::Row>) -> anyhow::Result<Plan> {
    let data = Data::open_to_read(config).await?;
    let store = data.as_ref().map(Data::store);
    let progress = Progress::of("checking", rows.len());
    let plan = plan::make(rows, store, Clock::System.now(), &progress).await;
    drop(progress);
    if let Some(data) = data {
        data.close();
    }
    Ok(plan?)
}

async fn write(
    batch: &Batch,
    config: &Config,
    plan: &mut Plan,
    record: &mut Record,
) -> anyhow::Result<()> {
    let mut data = Data::open_to_write(config).await?;
    let log = batch.log.clone().unwrap_or_else(|| config.data_dir.join(LOG_FILE));
    // Opened first: what could not be told is not done.
    record.log = Some(Log::open(&log)?);
    let progress = Progress::of("writing", plan.rows.len());
    let mut end = write::all(data.store(), plan, record, &progress).await;
    drop(progress);
    if end.is_ok() && batch.webhooks.setup_webhooks {
        // This may take hours.
        data.end_turn();
        let gateway = data.gateway(config)?;
        let progress = Progress::of("webhooks", plan.rows.len());
        end = batch.webhooks.set_up(&gateway, plan, record, &progress).await;
    }
    data.close();
    end
}
