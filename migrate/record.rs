//! What was done, kept in files as it is done: the log, and the report that `--report` asks for.
//! Neither ever has a secret or a number.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{Read, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use url::Url;
use waba_gateway::domain::clock::{Clock, Millis, iso};

use super::plan::{Action, Planned, Webhook};

const HEADER: [&str; 7] = ["time", "line", "vendorId", "step", "result", "detail", "webhookUrl"];
/// The steps of a row.
const ROW: &str = "row";
const WEBHOOK: &str = "webhook";
/// Results of what was done by an earlier run.
const UNCHANGED: &str = "unchanged";
const WAS_SET_UP: &str = "already set up";
/// Results of rows of which nothing is kept by themselves.
const TAKEN: &str = "taken";
const NOT_KEPT: &str = "not kept";
const LEFT_OUT: &str = "left out";

/// The files that are kept.
#[derive(Default)]
pub struct Record {
    pub log: Option<Log>,
    pub report: Option<Report>,
}

impl Record {
    /// Keeps what became of these rows.
    pub fn rows(&mut self, some: &[Planned]) -> anyhow::Result<()> {
        let now = Clock::System.now();
        self.log.as_mut().map_or(Ok(()), |it| it.append(some, now))?;
        self.report.as_mut().map_or(Ok(()), |it| it.rows(some, now))
    }

    /// Keeps what became of this row's webhook.
    pub fn webhook(&mut self, planned: &Planned) -> anyhow::Result<()> {
        let now = Clock::System.now();
        self.report.as_mut().map_or(Ok(()), |it| it.webhook(planned, now))
    }
}

/// The log of what was done.
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens it, or makes it for its owner's eyes only.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("open the log {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn append(&mut self, some: &[Planned], now: Millis) -> anyhow::Result<()> {
        let mut text = Vec::new();
        for planned in some {
            if let Action::Created | Action::Added | Action::Updated(_) = planned.action
                && let Some(vendor) = &planned.row.vendor
            {
                writeln!(text, "{} {vendor} {}", iso(now), planned.action)?;
            }
        }
        let write = self.file.write_all(&text);
        let path = self.path.display();
        write.with_context(|| format!("the rows are written, but not the log {path}"))
    }
}

/// What a report tells: result and detail, by line, vendor and step.
type Done = HashMap<(String, String, String), (String, String)>;

/// A CSV file with a line for each step of a row. Lines are only added, each whole: a run that was
/// cut off leaves a file that can be read and that the next run goes on with.
pub struct Report {
    path: PathBuf,
    file: File,
    base_url: Url,
    /// What it tells of already.
    done: Done,
}

impl Report {
    /// Opens it, or makes it for its owner's eyes only.
    pub fn open(path: &Path, base_url: &Url) -> anyhow::Result<Self> {
        let name = path.display();
        let open = || -> std::io::Result<(File, Vec<u8>)> {
            let mut options = OpenOptions::new();
            options.create(true).read(true).append(true).mode(0o600);
            let mut file = options.open(path)?;
            let mut present = Vec::new();
            file.read_to_end(&mut present)?;
            Ok((file, present))
        };
        let (file, mut present) = open().with_context(|| format!("open the report {name}"))?;
        let header = header();
        if !present.starts_with(&header) && !header.starts_with(&present) {
            bail!("{name} is there already and is no report of waba-migrate's");
        }
        // A line without its end was cut off.
        present.truncate(present.iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1));
        let cut = file.set_len(present.len() as u64);
        cut.with_context(|| format!("open the report {name}"))?;
        let is_new = present.is_empty();
        let done = done(&present);
        let mut report = Self { path: path.to_owned(), file, base_url: base_url.clone(), done };
        if is_new {
            report.append(&header)?;
        }
        Ok(report)
    }

    fn rows(&mut self, some: &[Planned], now: Millis) -> anyhow::Result<()> {
        let mut text = csv::Writer::from_writer(Vec::new());
        for planned in some {
            let (result, detail) = match &planned.action {
                Action::Created | Action::Added => ("created", String::new()),
                Action::Updated(columns) => ("updated", columns.join(", ")),
                Action::Unchanged => (UNCHANGED, String::new()),
                Action::Refused(faults) => {
                    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                    ("refused", faults.join("; "))
                }
                Action::Taken(how) => (TAKEN, how.clone()),
                Action::NotKept(why) => (NOT_KEPT, why.clone()),
                Action::LeftOut(why) => (LEFT_OUT, why.clone()),
            };
            let details = std::iter::once(&detail).chain(&planned.row.notes);
            let details: Vec<&str> =
                details.map(String::as_str).filter(|it| !it.is_empty()).collect();
            let detail = details.join("; ");
            let table = planned.row.table.name;
            let step = if table.is_empty() { ROW } else { table };
            self.line(&mut text, planned, now, [step, result, &detail])?;
        }
        self.append(&text.into_inner()?)
    }

    fn webhook(&mut self, planned: &Planned, now: Millis) -> anyhow::Result<()> {
        let mut text = csv::Writer::from_writer(Vec::new());
        let (result, detail) = match &planned.webhook {
            None => return Ok(()),
            Some(Webhook::SetUp(warnings)) => ("set up", warnings.join("; ")),
            Some(Webhook::WasSetUp) => (WAS_SET_UP, String::new()),
            Some(Webhook::Failed(why)) => ("failed", why.clone()),
        };
        self.line(&mut text, planned, now, [WEBHOOK, result, &detail])?;
        self.append(&text.into_inner()?)
    }

    fn line(
        &self,
        text: &mut csv::Writer<Vec<u8>>,
        planned: &Planned,
        now: Millis,
        [step, result, detail]: [&str; 3],
    ) -> anyhow::Result<()> {
        let line = planned.row.line.to_string();
        let vendor = planned.row.vendor.as_ref().map(ToString::to_string).unwrap_or_default();
        // A line of the file is one line of the report.
        let detail = detail.replace(['\r', '\n'], " ");
        let key = (line, vendor, step.to_owned());
        let told = self.done.get(&key).map(|it| (it.0.as_str(), it.1.as_str()));
        let is_told = match result {
            // An earlier run did it, and said so.
            UNCHANGED | WAS_SET_UP => told.is_some_and(|it| !is_aside(it.0)),
            it => is_aside(it) && told == Some((it, &detail)),
        };
        if is_told {
            return Ok(());
        }
        let (line, vendor, _) = key;
        let url = planned.webhook_url(&self.base_url).unwrap_or_default();
        text.write_record([&iso(now), &line, &vendor, step, result, &detail, &url])?;
        Ok(())
    }

    fn append(&mut self, text: &[u8]) -> anyhow::Result<()> {
        let write = self.file.write_all(text).and_then(|()| self.file.sync_data());
        let path = self.path.display();
        write.with_context(|| format!("the rows are written, but not the report {path}"))
    }
}

fn header() -> Vec<u8> {
    format!("{}\n", HEADER.join(",")).into_bytes()
}

/// Whether this is the result of a row of which nothing is kept by itself.
fn is_aside(result: &str) -> bool {
    matches!(result, TAKEN | NOT_KEPT | LEFT_OUT)
}

/// What a report says was done.
fn done(text: &[u8]) -> Done {
    let mut done = Done::new();
    for record in csv::ReaderBuilder::new().flexible(true).from_reader(text).records().flatten() {
        let cell = |n: usize| record.get(n).unwrap_or_default().to_owned();
        match record.get(4) {
            // The last line counts.
            Some("refused" | "failed") => {
                done.remove(&(cell(1), cell(2), cell(3)));
            }
            None => {}
            Some(_) => {
                done.insert((cell(1), cell(2), cell(3)), (cell(4), cell(5)));
            }
        }
    }
    done
}
