//! waba-migrate: brings vendors and their numbers into the gateway's store, from a CSV file or from
//! a person's answers, beside a running server or without one.

mod data;
mod interactive;
mod interview;
mod person;
mod plan;
mod report;
mod table;
mod words;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use waba_gateway::{config::Config, domain::clock::Clock, telemetry};

use self::{
    data::Data,
    interactive::Interactive,
    plan::Plan,
    report::{Source, Written},
};

/// The log of what was done, in the data directory unless `--log` says otherwise.
const LOG_FILE: &str = "waba-migrate.log";
/// Some rows are bad.
const EXIT_BAD_ROWS: u8 = 1;
/// Nothing could be done.
const EXIT_FAILED: u8 = 2;

#[derive(Parser)]
#[command(
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = EXIT_HELP,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    interactive: Interactive,
}

#[derive(Subcommand)]
enum Command {
    /// Read vendors from a CSV file
    #[command(long_about = BATCH_HELP, after_help = EXIT_HELP)]
    Batch(Batch),

    /// Ask for one vendor after another (what happens without a command)
    #[command(long_about = INTERACTIVE_HELP, after_help = EXIT_HELP)]
    Interactive(Interactive),
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

const ABOUT: &str = "Brings vendors and their WhatsApp numbers into the gateway's store";

const LONG_ABOUT: &str = "\
Brings vendors and their WhatsApp numbers into the gateway's store.

Without a command it asks for one vendor after another, and writes when you have confirmed what it
shows: see `waba-migrate interactive --help`. The columns of a CSV file are in
`waba-migrate batch --help`.";

const INTERACTIVE_HELP: &str = "\
Ask for one vendor after another.

For each vendor: vendorId, businessName, phoneNumber, wasenderInstanceId, wasenderWebhookSecret and
wasenderApiKey (may be empty), as in `waba-migrate batch --help`. A bad answer is told with its
reason and asked for again. Secrets are not shown while they are typed. Of a vendor that is stored
already, Enter keeps what it has. The same vendorId again corrects what was answered before.

An empty vendorId ends the list. Then a summary is shown, secrets masked, and nothing is written
before you say yes. All vendors are written together, or none, as by a batch: same checks, same
log, same webhook URLs at the end. Ctrl-C before that leaves everything as it was.

Answers can come through a pipe, one a line in the same order; a line after a bad answer is the next
try. Questions go to standard error, results to standard output.

The configuration is the server's: environment, .env, gateway.toml. DATA_DIR, APP_BASE_URL and
ENCRYPTION_KEY are used. No secret is printed or logged.";

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
  0    all rows are good (and you may have decided to write none)
  1    some rows are bad
  2    it could not run: no such file, wrong header, bad configuration, data that cannot be opened,
       answers that end before the list is confirmed
  130  Ctrl-C, before anything was written

Examples:
  waba-migrate
  waba-migrate --lang fr
  waba-migrate --yes < answers.txt
  waba-migrate batch vendors.csv --dry-run && waba-migrate batch vendors.csv";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start_logging();
    let end = match cli.command.unwrap_or(Command::Interactive(cli.interactive)) {
        Command::Batch(batch) => run(&batch).await,
        Command::Interactive(options) => interactive::run(&options).await,
    };
    end.unwrap_or_else(|error| {
        report::complain(&format!("waba-migrate: {error:#}"));
        EXIT_FAILED.into()
    })
}

async fn run(batch: &Batch) -> anyhow::Result<ExitCode> {
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
    let store = data.as_ref().map(Data::store);
    let plan = plan::make(rows, store, Clock::System.now()).await?;
    let may_write = may_write && (plan.n_bad() == 0 || batch.keep_going);
    let written = match &data {
        Some(data) if may_write => {
            write(batch.log.as_deref(), &config, data, &plan).await?;
            Written::Yes
        }
        _ if batch.dry_run => Written::DryRun,
        _ => Written::No,
    };
    if let Some(data) = data {
        data.close();
    }
    report::print(&plan, Source::File, &written, &config.base_url);
    Ok(if plan.n_bad() == 0 { ExitCode::SUCCESS } else { EXIT_BAD_ROWS.into() })
}

/// Keeps what is planned, and says so in the log.
async fn write(
    log: Option<&Path>,
    config: &Config,
    data: &Data,
    plan: &Plan,
) -> anyhow::Result<()> {
    if plan.changes_nothing() {
        return Ok(());
    }
    let log = log.map_or_else(|| config.data_dir.join(LOG_FILE), Path::to_owned);
    // Opened first: what could not be told is not done.
    let log = report::Log::open(&log)?;
    data.put(plan).await?;
    log.append(plan, Clock::System.now())
}
