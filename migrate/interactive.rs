//! `waba-migrate interactive`: vendors as a person answers for them, a summary, and then what the
//! batch does.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use waba_gateway::{
    cli::progress::Progress,
    config::{self, Config},
    domain::{
        clock::Clock,
        phone::PhoneNumber,
        secret::{SecretString, masked},
    },
    lang::Language,
};

use super::{
    EXIT_BAD_ROWS, EXIT_FAILED, LOG_FILE, LOG_HELP,
    data::Data,
    interview::{self, Interview},
    person::{NoAnswer, Person},
    plan::{self, Plan},
    record::{Log, Record},
    report::{self, Source, Written, complain},
    table::{API_KEY, BUSINESS_NAME, PHONE_NUMBER, Row, VENDOR_ID, WASENDER_ID, WEBHOOK_SECRET},
    words, write,
};

/// As the shell says it of a program that Ctrl-C ended.
const EXIT_INTERRUPTED: u8 = 130;

const LANG_HELP: &str =
    "Language of the questions, en or fr [default: that of LC_ALL, LC_MESSAGES or LANG]";

#[derive(Args)]
pub struct Interactive {
    /// Write without asking
    #[arg(long)]
    yes: bool,

    #[arg(long, value_name = "LANGUAGE", help = LANG_HELP)]
    lang: Option<Language>,

    #[arg(long, value_name = "FILE", help = LOG_HELP)]
    log: Option<PathBuf>,
}

/// Asks, shows, asks once more and writes. Nothing is written before.
pub async fn run(options: &Interactive) -> anyhow::Result<ExitCode> {
    let config = Config::from_environment()?;
    let language = options.lang.unwrap_or_else(config::language);
    let mut person = Person::here()?;
    let rows = match ask(&config, &mut person, language).await {
        Ok(rows) => rows,
        Err(error) => match interview::no_answer(&error) {
            Some(NoAnswer::Ended) => return Ok(stop(words::ended_in_list().of(language))),
            Some(NoAnswer::Interrupted) => return Ok(interrupted(language)),
            Some(NoAnswer::Unreadable(_)) | None => return Err(error),
        },
    };
    if rows.is_empty() {
        complain(words::no_vendors().of(language));
        return Ok(ExitCode::SUCCESS);
    }
    let plan = preview(&config, rows.clone()).await?;
    summary(&rows, &plan, language);
    if plan.n_bad() > 0 || plan.changes_nothing() {
        return Ok(end(&plan, &config, plan.n_bad() == 0));
    }
    if !options.yes {
        let answer = match person.line(words::question(rows.len()).of(language)).await {
            Ok(answer) => answer,
            Err(NoAnswer::Ended) => return Ok(stop(words::ended_at_question().of(language))),
            Err(NoAnswer::Interrupted) => return Ok(interrupted(language)),
            Err(error) => return Err(error.into()),
        };
        if !words::is_yes(&answer) {
            complain(words::declined().of(language));
            return Ok(ExitCode::SUCCESS);
        }
    }
    let data = Data::open_to_write(&config).await?;
    // Others may have written since.
    let none = Progress::none();
    let mut plan = plan::make(rows, Some(data.store()), Clock::System.now(), &none).await?;
    let may_write = plan.n_bad() == 0;
    if may_write && !plan.changes_nothing() {
        let log = options.log.clone().unwrap_or_else(|| config.data_dir.join(LOG_FILE));
        // Opened first: what could not be told is not done.
        let mut record = Record { log: Some(Log::open(&log)?), report: None };
        write::all(data.store(), &mut plan, &mut record, &none).await?;
    }
    data.close();
    Ok(end(&plan, &config, may_write))
}

async fn ask(config: &Config, person: &mut Person, language: Language) -> anyhow::Result<Vec<Row>> {
    let data = Data::open_to_read(config).await?;
    let store = data.as_ref().map(Data::store);
    let rows = Interview { person, language, store, rows: Vec::new() }.all().await;
    if let Some(data) = data {
        data.close();
    }
    rows
}

async fn preview(config: &Config, rows: Vec<Row>) -> anyhow::Result<Plan> {
    let data = Data::open_to_read(config).await?;
    let store = data.as_ref().map(Data::store);
    let plan = plan::make(rows, store, Clock::System.now(), &Progress::none()).await;
    if let Some(data) = data {
        data.close();
    }
    Ok(plan?)
}

/// Tells what was done.
fn end(plan: &Plan, config: &Config, is_written: bool) -> ExitCode {
    let written = if is_written { Written::Yes } else { Written::No };
    report::print(plan, Source::Answers, &written, &config.base_url);
    if plan.n_bad() == 0 { ExitCode::SUCCESS } else { EXIT_BAD_ROWS.into() }
}

fn stop(why: &str) -> ExitCode {
    complain(&format!("waba-migrate: {why}"));
    EXIT_FAILED.into()
}

fn interrupted(language: Language) -> ExitCode {
    complain("");
    complain(&format!("waba-migrate: {}", words::interrupted().of(language)));
    EXIT_INTERRUPTED.into()
}

/// Shows what is about to be written, secrets masked.
fn summary(rows: &[Row], plan: &Plan, language: Language) {
    let secret = |it: &Option<SecretString>| it.as_ref().map_or("-".to_owned(), masked);
    let head = [VENDOR_ID, BUSINESS_NAME, PHONE_NUMBER, WASENDER_ID, WEBHOOK_SECRET, API_KEY, ""];
    let mut table = vec![head.map(str::to_owned)];
    for (row, planned) in rows.iter().zip(&plan.rows) {
        table.push([
            row.vendor.as_ref().map(ToString::to_string).unwrap_or_default(),
            row.business_name.clone().unwrap_or_default(),
            row.phone_number.as_ref().map(PhoneNumber::expose).unwrap_or_default(),
            row.wasender_id.clone().unwrap_or_default(),
            secret(&row.secret),
            secret(&row.api_key),
            words::outcome(&planned.action).of(language).to_owned(),
        ]);
    }
    complain("");
    complain(&report::aligned(&table));
}
