//! What was done, for the person who asked and for the log. Neither ever has a secret or a number.

use std::{
    fmt::{self, Write as _},
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use url::Url;
use waba_gateway::{
    domain::clock::{Millis, iso},
    gateway::webhook_url,
};

use super::plan::{Action, Plan};

/// Whether the plan was carried out.
#[derive(PartialEq)]
pub enum Written {
    /// Its good rows are on disk.
    Yes,
    /// Some rows are bad.
    No,
    /// Nobody wanted it.
    DryRun,
}

/// Where the rows are from.
#[derive(Clone, Copy, PartialEq)]
pub enum Source {
    /// A file, whose lines are told.
    File,
    /// A person's answers.
    Answers,
}

/// Tells on standard error what is wrong.
pub fn complain(text: &str) {
    // Nobody listens: there is no better place to say so.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Tells each row's lot, bad ones on standard error, and the sums.
pub fn print(plan: &Plan, source: Source, written: &Written, base_url: &Url) {
    let (mut done, mut bad) = (String::new(), String::new());
    let would = if *written == Written::DryRun { "would be " } else { "" };
    let mut counts = Counts::of(source);
    for row in &plan.rows {
        counts.add(&row.action);
        let line = match source {
            Source::File => format!("line {}", row.line),
            Source::Answers => String::new(),
        };
        // Writing to a string cannot fail.
        let _ = match (&row.action, &row.vendor) {
            (Action::Refused(faults), vendor) => {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                let vendor = match (vendor, source) {
                    (Some(it), Source::File) => format!(" ({it})"),
                    (Some(it), Source::Answers) => it.to_string(),
                    (None, _) => String::new(),
                };
                writeln!(bad, "{line}{vendor}: {}", faults.join("; "))
            }
            (action, Some(vendor)) if *written != Written::No => {
                let would = if matches!(action, Action::Unchanged) { "" } else { would };
                let url = webhook_url(base_url, vendor);
                let told = format!("{line}  {vendor}  {would}{action}  {url}");
                writeln!(done, "{}", told.trim_start())
            }
            _ => Ok(()),
        };
    }
    if !done.is_empty() && base_url.scheme() != "https" {
        let _ = writeln!(
            bad,
            "note: APP_BASE_URL is {base_url}; Wasender calls public https addresses only"
        );
    }
    let _ = match written {
        Written::Yes => writeln!(done, "{counts}"),
        Written::DryRun => writeln!(done, "{counts} (dry run: nothing was written)"),
        Written::No => writeln!(done, "{}", counts.unwritten()),
    };
    if !bad.is_empty() {
        complain(bad.trim_end());
    }
    // What is done is done, whether or not somebody reads it.
    let _ = std::io::stdout().write_all(done.as_bytes());
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Updated(columns) => write!(f, "updated ({})", columns.join(", ")),
            Self::Unchanged => f.write_str("unchanged"),
            Self::Refused(_) => f.write_str("refused"),
        }
    }
}

struct Counts {
    source: Source,
    created: usize,
    updated: usize,
    unchanged: usize,
    bad: usize,
}

impl Counts {
    fn of(source: Source) -> Self {
        Self { source, created: 0, updated: 0, unchanged: 0, bad: 0 }
    }

    fn add(&mut self, action: &Action) {
        *match action {
            Action::Created => &mut self.created,
            Action::Updated(_) => &mut self.updated,
            Action::Unchanged => &mut self.unchanged,
            Action::Refused(_) => &mut self.bad,
        } += 1;
    }

    /// The sums when nothing was written.
    fn unwritten(&self) -> String {
        let n_good = self.created + self.updated + self.unchanged;
        let hint = if n_good > 0 && self.source == Source::File {
            " (--keep-going writes the good ones)"
        } else {
            ""
        };
        format!("{}: {n_good} good, {} bad; nothing was written{hint}", self.n_rows(), self.bad)
    }

    fn n_rows(&self) -> String {
        let n_rows = self.created + self.updated + self.unchanged + self.bad;
        let row = if self.source == Source::File { "row" } else { "vendor" };
        if n_rows == 1 { format!("1 {row}") } else { format!("{n_rows} {row}s") }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { created, updated, unchanged, bad, source: _ } = self;
        write!(f, "{}: ", self.n_rows())?;
        write!(f, "{created} created, {updated} updated, {unchanged} unchanged, {bad} bad")
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

    /// Appends what was done.
    pub fn append(mut self, plan: &Plan, now: Millis) -> anyhow::Result<()> {
        let mut text = String::new();
        for row in &plan.rows {
            let (Action::Created | Action::Updated(_), Some(vendor)) = (&row.action, &row.vendor)
            else {
                continue;
            };
            writeln!(text, "{} {vendor} {}", iso(now), row.action)?;
        }
        let write = self.file.write_all(text.as_bytes());
        let path = self.path.display();
        write.with_context(|| format!("the rows are written, but not the log {path}"))
    }
}
