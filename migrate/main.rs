//! waba-migrate: brings vendors and their numbers from a CSV file into the gateway's store, beside
//! a running server or without one.

mod data;
mod plan;
mod report;
mod table;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use waba_gateway::{config::Config, domain::clock::Clock, store::Store, telemetry};

use self::{data::Data, plan::Plan, report::Written};

/// The log of what was done, in the data directory unless `--log` says otherwise.
const LOG_FILE: &str = "waba-migrate.log";
/// Some rows are bad.
const EXIT_BAD_ROWS: u8 = 1;
/// Nothing could be done.
const EXIT_FAILED: u8 = 2;

/// Brings vendors and their WhatsApp numbers into the gateway's store.
///
/// The columns of the file are in `waba-migrate batch --help`.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, verbatim_doc_comment, after_help = EXIT_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read vendors from a CSV file
    #[command(long_about = BATCH_HELP, after_help = EXIT_HELP)]
    Batch(Batch),
}

#[derive(Args)]
struct Batch {
    /// The CSV file
    file: PathBuf,

    /// Check the file, also against the store, and tell what would be done; write nothing
    #[arg(long)]
    dry_run: bool,

    /// Write the good rows although others are bad
    #[arg(long)]
    keep_going: bool,

    #[arg(long, value_name = "FILE", help = LOG_HELP)]
    log: Option<PathBuf>,
}

const LOG_HELP: &str = "Where to append what was done [default: waba-migrate.log in DATA_DIR]";

const BATCH_HELP: &str = "\
Read vendors from a CSV file.

Each row makes or updates a vendor and its instance waba_<vendorId> (provider wasender, status
pending), and tells the webhook URL to enter at Wasender. What is stored stays, except where the
row differs; a webhook secret that is replaced is accepted for another 24 hours. The same file
again changes nothing.

All rows are written together or, if any is bad, none (see --keep-going). Every bad row is told
with its line and all its faults. A running server need not be stopped: it notices at once.

Columns, separated by commas, in this order, with a header line:
  vendorId               1 to 64 of A-Z a-z 0-9 _ -
  businessName           quoted where it has a comma
  phoneNumber            with its country code: +221 77 123 45 67, 00221771234567, 221771234567
  wasenderInstanceId     the session's number at Wasender
  wasenderWebhookSecret  the session's webhook secret, at least 8 characters
  wasenderApiKey         the session's own API key; may be empty, and the column may be absent

The configuration is the server's: environment, .env, gateway.toml. DATA_DIR, APP_BASE_URL and
ENCRYPTION_KEY are used. No secret is printed or logged.";

const EXIT_HELP: &str = "\
Exit codes:
  0  all rows are good
  1  some rows are bad
  2  it could not run: no such file, wrong header, bad configuration, data that cannot be opened

Example:
  waba-migrate batch vendors.csv --dry-run && waba-migrate batch vendors.csv";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Command::Batch(batch) = Cli::parse().command;
    telemetry::start_logging();
    match run(&batch).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => EXIT_BAD_ROWS.into(),
        Err(error) => {
            report::complain(&format!("waba-migrate: {error:#}"));
            EXIT_FAILED.into()
        }
    }
}

/// Whether all rows are good.
async fn run(batch: &Batch) -> anyhow::Result<bool> {
    let config = Config::from_environment()?;
    let rows = table::read(&batch.file)?;
    let is_good = rows.iter().all(|it| it.faults.is_empty());
    let has_good = rows.iter().any(|it| it.faults.is_empty());
    let may_write = !batch.dry_run && has_good && (is_good || batch.keep_going);
    // A file that cannot be written leaves no trace, not even an empty data directory.
    let data = if may_write {
        Some(Data::open_to_write(&config).await?)
    } else {
        Data::open_to_read(&config).await?
    };
    let store = data.as_ref().map(|it| it.store() as &dyn Store);
    let plan = plan::make(rows, store, Clock::System.now()).await?;
    let may_write = may_write && (plan.n_bad() == 0 || batch.keep_going);
    let written = match &data {
        Some(data) if may_write => {
            write(batch, &config, data, &plan).await?;
            Written::Yes
        }
        _ if batch.dry_run => Written::DryRun,
        _ => Written::No,
    };
    if let Some(data) = data {
        data.close();
    }
    report::print(&plan, &written, &config.base_url);
    Ok(plan.n_bad() == 0)
}

async fn write(batch: &Batch, config: &Config, data: &Data, plan: &Plan) -> anyhow::Result<()> {
    if plan.changes_nothing() {
        return Ok(());
    }
    let log = batch.log.clone().unwrap_or_else(|| config.data_dir.join(LOG_FILE));
    // Opened first: what could not be told is not done.
    let log = report::Log::open(&log)?;
    data.put(plan).await?;
    log.append(plan, Clock::System.now())
}
