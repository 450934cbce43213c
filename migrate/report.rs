//! What was done, for the person who asked. It never has a secret or a number.

use std::{
    fmt::{self, Write as _},
    io::Write,
};

use url::Url;
use waba_gateway::gateway::webhook_url;

use super::{
    plan::{Action, Plan, Planned, Webhook},
    table::{Fault, Row},
};

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
    File {
        /// Webhooks are set up too.
        with_webhooks: bool,
    },
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
    let (mut done, mut bad) = (Vec::new(), String::new());
    let mut counts = Counts::of(source);
    for planned in &plan.rows {
        counts.add(planned);
        if let Action::Refused(faults) = &planned.action {
            bad += &refusal(&planned.row, faults, source);
        } else if *written != Written::No
            && let Some(vendor) = &planned.row.vendor
        {
            let line = match source {
                Source::File { .. } => format!("line {}", planned.row.line),
                Source::Answers => String::new(),
            };
            let is_to_be = *written == Written::DryRun && planned.is_change();
            let would = if is_to_be { "would be " } else { "" };
            let result = format!("{would}{}", planned.action);
            let url = webhook_url(base_url, vendor).to_string();
            let webhook = match (&planned.webhook, source) {
                (Some(it), _) => it.to_string(),
                (None, Source::File { with_webhooks: true }) => {
                    "webhook would be set up".to_owned()
                }
                (None, _) => String::new(),
            };
            if let Some(Webhook::Failed(why)) = &planned.webhook {
                let line = planned.row.line;
                // Writing to a string cannot fail.
                let _ = writeln!(bad, "line {line} ({vendor}): webhook: {why}");
            }
            done.push([line, vendor.to_string(), result, webhook, url]);
        }
    }
    if !done.is_empty() && base_url.scheme() != "https" {
        let _ = writeln!(
            bad,
            "note: APP_BASE_URL is {base_url}; Wasender calls public https addresses only"
        );
    }
    let mut told = aligned(&done);
    let _ = match written {
        Written::Yes => writeln!(told, "{counts}"),
        Written::DryRun => writeln!(told, "{counts} (dry run: nothing was written)"),
        Written::No => writeln!(told, "{}", counts.unwritten()),
    };
    if !bad.is_empty() {
        complain(bad.trim_end());
    }
    // What is done is done, whether or not somebody reads it.
    let _ = std::io::stdout().write_all(told.as_bytes());
}

fn refusal(row: &Row, faults: &[Fault], source: Source) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let whose = match (&row.vendor, source) {
        (Some(vendor), Source::File { .. }) => format!("line {} ({vendor})", row.line),
        (None, Source::File { .. }) => format!("line {}", row.line),
        (Some(vendor), Source::Answers) => vendor.to_string(),
        (None, Source::Answers) => String::new(),
    };
    format!("{whose}: {}\n", faults.join("; "))
}

/// A table, its columns below each other.
pub fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |at: usize| rows.iter().map(|it| it[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).filter(|it| it.1 > 0);
        let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
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

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetUp(warnings) if warnings.is_empty() => f.write_str("webhook set up"),
            Self::SetUp(warnings) => write!(f, "webhook set up ({})", warnings.join("; ")),
            Self::WasSetUp => f.write_str("webhook already set up"),
            Self::Failed(_) => f.write_str("webhook failed"),
        }
    }
}

struct Counts {
    source: Source,
    created: usize,
    updated: usize,
    unchanged: usize,
    bad: usize,
    webhooks: usize,
    webhooks_failed: usize,
}

impl Counts {
    fn of(source: Source) -> Self {
        Self {
            source,
            created: 0,
            updated: 0,
            unchanged: 0,
            bad: 0,
            webhooks: 0,
            webhooks_failed: 0,
        }
    }

    fn add(&mut self, planned: &Planned) {
        match planned.webhook {
            None => {}
            Some(Webhook::Failed(_)) => self.webhooks_failed += 1,
            Some(Webhook::SetUp(_) | Webhook::WasSetUp) => self.webhooks += 1,
        }
        *match planned.action {
            Action::Created => &mut self.created,
            Action::Updated(_) => &mut self.updated,
            Action::Unchanged => &mut self.unchanged,
            Action::Refused(_) => &mut self.bad,
        } += 1;
    }

    /// The sums when nothing was written.
    fn unwritten(&self) -> String {
        let n_good = self.created + self.updated + self.unchanged;
        let hint = if n_good > 0 && self.source != Source::Answers {
            " (--keep-going writes the good ones)"
        } else {
            ""
        };
        format!("{}: {n_good} good, {} bad; nothing was written{hint}", self.n_rows(), self.bad)
    }

    fn n_rows(&self) -> String {
        let n_rows = self.created + self.updated + self.unchanged + self.bad;
        let row = if self.source == Source::Answers { "vendor" } else { "row" };
        if n_rows == 1 { format!("1 {row}") } else { format!("{n_rows} {row}s") }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { created, updated, unchanged, bad, webhooks, webhooks_failed, source: _ } = self;
        write!(f, "{}: ", self.n_rows())?;
        write!(f, "{created} created, {updated} updated, {unchanged} unchanged, {bad} bad")?;
        if webhooks + webhooks_failed > 0 {
            write!(f, "; webhooks: {webhooks} lead here, {webhooks_failed} could not be set up")?;
        }
        Ok(())
    }
}
