//! How rows become vendors, for every command that reads them from files: checked, then written
//! if they may be, and told of.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use waba_gateway::{cli::progress::Progress, config::Config, domain::clock::Clock};

use super::{
    EXIT_BAD_ROWS, LOG_FILE, LOG_HELP,
    data::Data,
    plan::{self, Plan, Planned},
    record::{Log, Record, Report},
    report::{self, Source, Written},
    table::Row,
    webhooks, write,
};

/// What is told of writing.
#[derive(Args)]
pub struct Carry {
    /// Check the rows, also against the store, and tell what would be done; write nothing
    #[arg(long)]
    dry_run: bool,

    /// Write the good rows although others are bad
    #[arg(long)]
    keep_going: bool,

    /// Append what became of each row to this CSV file, as it is done
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    report: Option<PathBuf>,

    #[arg(long, value_name = "FILE", help = LOG_HELP)]
    log: Option<PathBuf>,
}

/// What is to be carried.
pub struct Load<'a> {
    /// Rows that make numbers.
    pub rows: Vec<Row>,
    /// What becomes of the rows that make none, when those that do have come to this.
    pub others: &'a dyn Fn(&[Planned]) -> Vec<Planned>,
    /// Webhooks are set up, too.
    pub webhooks: Option<&'a webhooks::Options>,
}

impl Carry {
    /// Checks, and writes if it may.
    pub async fn carry(&self, config: &Config, load: Load<'_>) -> anyhow::Result<ExitCode> {
        let mut record = Record::default();
        if let Some(path) = &self.report {
            record.report = Some(Report::open(path, &config.base_url)?);
        }
        let mut plan = check(config, load.rows).await?;
        plan.others = (load.others)(&plan.rows);
        let is_good = |it: &Planned| !it.is_refused();
        let may_write = plan.n_bad() == 0 || (self.keep_going && plan.rows.iter().any(is_good));
        let written = if self.dry_run {
            Written::DryRun
        } else if may_write {
            Written::Yes
        } else {
            Written::No
        };
        match written {
            Written::Yes => {
                if plan.changes_nothing() && load.webhooks.is_none() {
                    record.rows(&plan.rows)?;
                } else {
                    self.write(config, load.webhooks, &mut plan, &mut record).await?;
                    plan.others = (load.others)(&plan.rows);
                }
                record.rows(&plan.others)?;
            }
            Written::No => {
                for planned in plan.all().filter(|it| it.is_refused()) {
                    record.rows(std::slice::from_ref(planned))?;
                }
            }
            Written::DryRun => {}
        }
        let source = Source::File { with_webhooks: load.webhooks.is_some() };
        report::print(&plan, source, &written, &config.base_url);
        Ok(if plan.is_whole() { ExitCode::SUCCESS } else { EXIT_BAD_ROWS.into() })
    }

    async fn write(
        &self,
        config: &Config,
        webhooks: Option<&webhooks::Options>,
        plan: &mut Plan,
        record: &mut Record,
    ) -> anyhow::Result<()> {
        let mut data = Data::open_to_write(config).await?;
        let log = self.log.clone().unwrap_or_else(|| config.data_dir.join(LOG_FILE));
        // Opened first: what could not be told is not done.
        record.log = Some(Log::open(&log)?);
        let progress = Progress::of("writing", plan.rows.len());
        let mut end = write::all(data.store(), plan, record, &progress).await;
        drop(progress);
        if let Some(webhooks) = webhooks.filter(|_| end.is_ok()) {
            // This may take hours.
            data.end_turn();
            let gateway = data.gateway(config)?;
            let progress = Progress::of("webhooks", plan.rows.len());
            end = webhooks.set_up(&gateway, plan, record, &progress).await;
        }
        data.close();
        end
    }
}

/// Plans what to do. Rows that cannot be written leave no trace, not even an empty data directory.
async fn check(config: &Config, rows: Vec<Row>) -> anyhow::Result<Plan> {
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
