//! waba-migrate: brings vendors and their numbers into the gateway's store, from a CSV file or from
//! a person's answers, beside a running server or without one.

mod batch;
mod carry;
mod data;
mod export;
mod import;
mod interactive;
mod interview;
mod person;
mod plan;
mod record;
mod relocate;
mod report;
mod table;
mod webhooks;
mod words;
mod write;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use waba_gateway::telemetry;

use self::{
    batch::Batch, export::Export, import::Import, interactive::Interactive, relocate::Move,
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

    /// Read numbers at Meta from what other systems export
    Import(Import),

    /// Ask for one vendor after another (what happens without a command)
    #[command(long_about = INTERACTIVE_HELP, after_help = EXIT_HELP)]
    Interactive(Interactive),

    /// Write all numbers into a CSV file that batch reads
    #[command(long_about = EXPORT_HELP, after_help = EXPORT_AFTER)]
    Export(Export),

    /// Move everything from SQLite to Firestore, or back
    #[command(long_about = MOVE_HELP, after_help = MOVE_AFTER)]
    Move(Move),
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
before you say yes. They are checked together and written, or none is, as by a batch: same
checks, same log, same webhook URLs at the end. Ctrl-C before that leaves everything as it was.

Answers can come through a pipe, one a line in the same order; a line after a bad answer is the next
try. Questions go to standard error, results to standard output.

The configuration is the server's: environment, .env, gateway.toml. DATA_DIR, APP_BASE_URL,
ENCRYPTION_KEY and, for the store, STORE with its variables are used. No secret is printed or logged.";

const LOG_HELP: &str = "Where to append what was done [default: waba-migrate.log in DATA_DIR]";

const BATCH_HELP: &str = "\
Read vendors from a CSV file.

Each row makes or updates a vendor and its instance waba_<vendorId> (provider wasender, status
pending), and tells the webhook URL to enter at Wasender. What is stored stays, except where the
row differs; a webhook secret that is replaced is accepted for another 24 hours. The same file
again changes nothing.

If any row is bad, none is written (see --keep-going). Every bad row is told with its line and all
its faults. Good ones are written some at a time, 250 with SQLite and 50 with Firestore; should this
be cut off, the same command goes on from there. A running server need not be stopped: it notices
at once.

With --setup-webhooks each row's session is then pointed at this gateway, as the administration's
route setup-wasender-webhook does it, one after another. One that fails stops no other; what leads
here already is left alone. A session whose webhooks lead to another system is taken over only with
--replace-webhooks. Wasender publishes no limit for this; 60 a minute is far below those it has.

--report appends a line for each row, and one for its webhook, as they are done: time, line,
vendorId, step (row or webhook), result, detail, webhookUrl. After a run that was cut off the same
report goes on; of a row with several lines the last one counts.

Columns, separated by commas, in this order, with a header line:
  vendorId               1 to 64 of A-Z a-z 0-9 _ -
  businessName           quoted where it has a comma
  phoneNumber            with its country code: +221 77 123 45 67, 00221771234567, 221771234567
  wasenderInstanceId     the session's number at Wasender
  wasenderWebhookSecret  the session's webhook secret, at least 8 characters
  wasenderApiKey         the session's own API key; may be empty, and the column may be absent

The configuration is the server's: environment, .env, gateway.toml. DATA_DIR, APP_BASE_URL and
ENCRYPTION_KEY are used. No secret is printed or logged.";

const EXPORT_HELP: &str = "\
Write all numbers into a CSV file, in the columns that `waba-migrate batch --help` tells, one line for
each number. The file is for its owner's eyes only, and one that is there is not overwritten.

Without --with-secrets the columns wasenderWebhookSecret and wasenderApiKey are empty. With it,
`waba-migrate batch` finds nothing to change in the file; what it would not read again as it is, is
told.

A CSV file cannot carry everything: of a vendor's numbers after the first, `batch` takes only those
that are stored already, and responders, hours, pauses, states and settings are not in it. For all of
that there is `waba-gateway vendor export`.";

const MOVE_HELP: &str = "\
Move everything from one store to the other: vendors with their responders and hours, their numbers
with all secrets, API keys (their hashes), pauses, and the ids of numbers that were deleted, which are
not given again. The store that things come from is left as it was. The journal stays where it is,
and so do the record of who changed what and why sends last failed: they can be looked at in the
store they are in.

Both stores are configured by the server's variables, whatever STORE says: DATA_DIR, and
FIREBASE_PROJECT_ID with its credentials or FIRESTORE_EMULATOR_HOST. Both are sealed with one
ENCRYPTION_KEY (or DATA_DIR's encryption.key).

Stop every gateway first. This refuses to start while one runs on DATA_DIR; it cannot see those of
other machines.

What the other store has already is compared before anything is written. What is the same stays:
after a run that was cut off the same command goes on. If a vendor, a number or an API key is there
that differs, nothing is done and all of them are listed; --on-conflict says which store's is to be
kept. With source, numbers and API keys that only the other store has of such are removed, and numbers
that were given to other vendors since move with them. At the end everything is read from both stores
and compared, secrets too.";

const EXIT_HELP: &str = "\
Exit codes:
  0    all rows are good (and you may have decided to write none)
  1    some rows are bad, or their webhooks could not be set up
  2    it could not run or not go on: no such file, wrong header, bad configuration, data that
       cannot be opened, answers that end before the list is confirmed
  130  Ctrl-C; while it asks, nothing is written; a batch goes on when it is run again

Examples:
  waba-migrate
  waba-migrate --lang fr
  waba-migrate --yes < answers.txt
  waba-migrate batch vendors.csv --dry-run && waba-migrate batch vendors.csv
  waba-migrate batch vendors.csv --setup-webhooks --report done.csv";

const EXPORT_AFTER: &str = "\
Exit codes:
  0  all numbers are in the file
  1  they are, and some of them `batch` would not read again as they are
  2  it could not run: the file is there already, no data, bad configuration

Examples:
  waba-migrate export numbers.csv
  waba-migrate export numbers.csv --with-secrets";

const MOVE_AFTER: &str = "\
Exit codes:
  0  everything is in the other store, or would be
  1  something is there that differs or is in the way; nothing was written
  2  it could not run or not go on: a gateway runs, a store cannot be opened, or afterwards the
     stores are not the same

Examples:
  waba-migrate move --to firestore --dry-run
  waba-migrate move --to sqlite --on-conflict source";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start_logging();
    let end = match cli.command.unwrap_or(Command::Interactive(cli.interactive)) {
        Command::Batch(options) => batch::run(&options).await,
        Command::Import(options) => import::run(&options).await,
        Command::Interactive(options) => interactive::run(&options).await,
        Command::Export(options) => export::run(&options).await,
        Command::Move(options) => relocate::run(&options).await,
    };
    end.unwrap_or_else(|error| {
        report::complain(&format!("waba-migrate: {error:#}"));
        EXIT_FAILED.into()
    })
}
