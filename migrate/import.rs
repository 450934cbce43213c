//! `waba-migrate import`: numbers at Meta from what other systems export.

mod read;

use std::{collections::HashMap, path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::{Args, Subcommand};
use waba_gateway::{
    app,
    cli::progress::Progress,
    config::Config,
    domain::{clock::Clock, phone::PhoneNumber},
    provider::Meta,
};

use self::read::{
    Beside,
    accounts::{self, Accounts},
    hub::{self, Hub},
    sheet::{self, Sheet},
};
use super::{
    carry::{Carry, Load},
    plan::{self, Action, Planned},
    report::complain,
    table::{self, Row},
};

/// What `waba-migrate import` is told.
#[derive(Args)]
pub struct Import {
    #[command(subcommand)]
    from: From,
}

#[derive(Subcommand)]
enum From {
    /// Accounts, a number of a user or of a chatbot's client each, from one file
    #[command(long_about = ACCOUNTS_HELP, after_help = AFTER_HELP)]
    Accounts {
        /// The CSV file
        file: PathBuf,

        /// Ask Meta for the numbers that the file does not tell, with each row's own token
        #[arg(long)]
        ask_meta: bool,

        #[command(flatten)]
        options: Options,
    },

    /// A webhook hub: apps, numbers, projects and their mappings, a file each
    #[command(long_about = HUB_HELP, after_help = AFTER_HELP)]
    Hub {
        /// The CSV files, in any order
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,

        /// Of a number's several projects take the one of the highest priority
        #[arg(long)]
        first_project: bool,

        #[command(flatten)]
        options: Options,
    },
}

#[derive(Args)]
struct Options {
    /// Put this before the other system's ids to make vendor ids of them
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,

    #[command(flatten)]
    carry: Carry,
}

const ACCOUNTS_HELP: &str = "\
Read accounts from a CSV file: one Meta app with many users, or many chatbots' clients.

Each row makes a vendor, or is one more number of it, with its account at Meta. The vendor's id is
user_id, or chatbot_id where there is none, after --prefix. What is stored stays, except where the
row differs; the same file again changes nothing. A number that is here already, say at Wasender,
gets the account beside what it has, and keeps its provider. A suspended vendor stays suspended.

A row with chatbot_id is answered by the response API at RESPONSE_API_BASE_URL, with that chatbot and
the row's web_id. Calls of a vendor's own go to public addresses, and to those that ALLOW_TARGETS
names when the gateway runs.

Left out, and told row by row: several active accounts of one phone_number_id, since here a number
belongs to one vendor (none of them is taken: nobody can tell which one is meant); and a second
chatbot of one vendor. An account that is not active beside one that is, is not kept; a vendor all of
whose accounts are inactive comes as an inactive one.

Columns, separated by commas, in any order, with a header line; phoneNumberId is phone_number_id, too:
  user_id                the tenant: 1 to 64 of A-Z a-z 0-9 _ -
  chatbot_id             the chatbot that answers; one of the two must be there
  phone_number_id        the number's id at Meta
  display_phone_number   the number, with its country code; with --ask-meta it may be absent
  access_token           what sends from it
  app_secret             what its webhooks are signed with; WHATSAPP_APP_SECRET where it is empty
  verify_token           may be absent; WHATSAPP_VERIFY_TOKEN where it is
  business_account_id    its WhatsApp business account, may be absent
  business_name          may be absent; the vendor's id then
  status                 active, inactive or suspended; may be absent: active
  web_id                 the client's API key at the response API, may be absent
Others are named and left alone. webhook_url is the other system's own callback: it is not taken.";

const HUB_HELP: &str = "\
Read a webhook hub from CSV files, one for each of its tables; which one a file is, its header says.

Each phone number makes a vendor of its own, after --prefix called as the number's id at Meta, with
its app's secrets. Its one active project becomes the address that its events are forwarded to
(forwardUrl). Nobody else answers its customers: automatic replies are off. What is stored stays,
except where a row differs; the same files again change nothing.

Back ends get this gateway's events, signed with the vendor's signing secret, instead of Meta's JSON
with X-Webhook-Forward-Secret: see docs/API_WABA_ENDPOINTS.md. They must be changed for that.

Left out, and told row by row: a number with several active projects, with its mappings, because
here a vendor's events go to one address. With --first-project the one of the highest priority gets
them, and the other mappings are left out. Not kept: business accounts with their time zones,
descriptions, and what is switched off.

Tables, their columns separated by commas, in any order, with a header line:
  business accounts  business_id, name, timezone (the file may be absent)
  apps               id, business_id, name, verify_token, access_token, app_secret
  phone numbers      phone_number_id, app_id, phone_number, display_name
  projects           id, name, endpoint, description, is_active
  mappings           phone_number_id, project_id, priority, is_active
An app without app_secret has WHATSAPP_APP_SECRET. Without access_token, messages come and nothing can
be sent.";

const AFTER_HELP: &str = "\
Vendors' webhooks at Meta are proven by the app's secret. Enter the URL that is told as the app's
callback: for several vendors of one app that of any of them, since each part goes to the number that
it names.

If any row is bad, none is written (see --keep-going). With --report each row's end is appended to a
file as it is known, without secrets; a run that was cut off goes on with the same command.

Exit codes:
  0    every row is here, or need not be
  1    some rows are bad or left out
  2    it could not run or not go on: no such file, wrong header, bad configuration
  130  Ctrl-C; it goes on when it is run again

Examples:
  waba-migrate import accounts accounts.csv --dry-run
  waba-migrate import accounts accounts.csv --prefix crm_ --report done.csv
  waba-migrate import hub apps.csv numbers.csv projects.csv mappings.csv --dry-run";

/// Reads, checks, and writes if it may.
pub async fn run(import: &Import) -> anyhow::Result<ExitCode> {
    let config = Config::from_environment()?;
    let response_api = config.response_api.as_ref().map(|it| it.url.as_str());
    let beside = |options: &Options| {
        let (prefix, http) = (options.prefix.clone(), app::http(&config)?);
        let (meta, asked) = (&config.meta, HashMap::new());
        anyhow::Ok(Beside { prefix, meta, response_api, http, asked })
    };
    match &import.from {
        From::Accounts { file, ask_meta, options } => {
            let read = sheet::read(file, &accounts::FORMS)?;
            tell_unknown(&[&read]);
            let mut beside = beside(options)?;
            if *ask_meta {
                beside.asked = ask(&read, &config).await?;
            } else if accounts::has_no_numbers(&read) {
                bail!("{}: there are no numbers in it; --ask-meta asks Meta", file.display());
            }
            let Accounts { rows, others } = accounts::read(&read, &beside);
            let others = |_: &[Planned]| {
                let end = |it: &(Row, Action)| Planned::without_change(it.0.clone(), it.1.clone());
                others.iter().map(end).collect()
            };
            let load = Load { rows, others: &others, webhooks: None };
            options.carry.carry(&config, load).await
        }
        From::Hub { files, first_project, options } => {
            let read: anyhow::Result<Vec<_>> =
                files.iter().map(|it| sheet::read(it, &hub::FORMS)).collect();
            let read = read?;
            tell_unknown(&read.iter().collect::<Vec<_>>());
            let hub = Hub::read(&read, *first_project, &beside(options)?)?;
            let load = Load { rows: hub.numbers(), others: &|it| hub.others(it), webhooks: None };
            options.carry.carry(&config, load).await
        }
    }
}

/// Asks Meta for the numbers that the file does not tell, one after another; which of them it does
/// not tell either, the rows say.
async fn ask(read: &Sheet, config: &Config) -> anyhow::Result<HashMap<usize, PhoneNumber>> {
    let meta = Meta::new(app::http(config)?, config.apis.meta.clone(), Clock::System);
    let missing = accounts::missing_numbers(read);
    let progress = Progress::of("asking Meta", missing.len());
    let mut asked = HashMap::new();
    for (line, id, token) in missing {
        asked.extend(meta.number_of(&id, &token).await.ok().map(|it| (line, it)));
        progress.advance(1);
    }
    Ok(asked)
}

/// Columns that nothing is read from.
fn tell_unknown(read: &[&Sheet]) {
    for it in read.iter().filter(|it| !it.unknown.is_empty()) {
        let (file, columns) = (it.file.display(), it.unknown.join(", "));
        complain(&format!("note: {file}: these columns are not taken: {columns}"));
    }
}
