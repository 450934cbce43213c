//! What was done, for the person who asked. It never has a secret or a number.

use std::{
    fmt::{self, Write as _},
    io::Write,
};

use url::Url;
use waba_gateway::{domain::route::ProviderKind, gateway::webhook_url_at};

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
    for planned in plan.all() {
        counts.add(planned);
        let Row { vendor, notes, .. } = &planned.row;
        if let Action::Refused(faults) = &planned.action {
            bad += &refusal(&planned.row, faults, source);
        } else if *written != Written::No {
            let is_to_be = *written == Written::DryRun && planned.is_change();
            let would = if is_to_be { "would be " } else { "" };
            let mut result = vec![format!("{would}{}", planned.action)];
            result.extend(notes.iter().cloned());
            let webhook = match (&planned.webhook, source) {
                (Some(it), _) => it.to_string(),
                (None, Source::File { with_webhooks: true }) => {
                    "webhook would be set up".to_owned()
                }
                (None, _) => String::new(),
            };
            if let Some(Webhook::Failed(why)) = &planned.webhook {
                let whose = whose(&planned.row, source);
                // Writing to a string cannot fail.
                let _ = writeln!(bad, "{whose}: webhook: {why}");
            }
            let line = if source == Source::Answers { String::new() } else { place(&planned.row) };
            let vendor = vendor.as_ref().map(ToString::to_string).unwrap_or_default();
            let url = planned.webhook_url(base_url).unwrap_or_default();
            done.push([line, vendor, result.join("; "), webhook, url]);
        }
    }
    if !done.is_empty() && base_url.scheme() != "https" {
        let _ = writeln!(
            bad,
            "note: APP_BASE_URL is {base_url}; providers call public https addresses only"
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
    format!("{}: {}\n", whose(row, source), faults.join("; "))
}

fn whose(row: &Row, source: Source) -> String {
    match (&row.vendor, source) {
        (Some(vendor), Source::File { .. }) => format!("{} ({vendor})", place(row)),
        (None, Source::File { .. }) => place(row),
        (Some(vendor), Source::Answers) => vendor.to_string(),
        (None, Source::Answers) => String::new(),
    }
}

/// Where a row is: its line, and its table where there are several.
fn place(row: &Row) -> String {
    format!("{} line {}", row.table.name, row.line).trim_start().to_owned()
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

impl Planned {
    /// Where the provider of its number is to call, if there is one now.
    pub fn webhook_url(&self, base_url: &Url) -> Option<String> {
        let is_number = match self.action {
            Action::Created | Action::Added | Action::Updated(_) | Action::Unchanged => true,
            Action::Refused(_) | Action::Taken(_) | Action::NotKept(_) | Action::LeftOut(_) => {
                false
            }
        };
        let vendor = self.row.vendor.as_ref().filter(|_| is_number)?;
        let is_at_meta = self.row.meta.is_some();
        let provider = if is_at_meta { ProviderKind::Meta } else { ProviderKind::Wasender };
        Some(webhook_url_at(base_url, provider, vendor).into())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Added => f.write_str("created beside what its vendor has"),
            Self::Updated(columns) => write!(f, "updated ({})", columns.join(", ")),
            Self::Unchanged => f.write_str("unchanged"),
            Self::Refused(_) => f.write_str("refused"),
            Self::Taken(how) => write!(f, "taken: {how}"),
            Self::NotKept(why) => write!(f, "not kept: {why}"),
            Self::LeftOut(why) => write!(f, "left out: {why}"),
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
    taken: usize,
    not_kept: usize,
    left_out: usize,
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
            taken: 0,
            not_kept: 0,
            left_out: 0,
        }
    }

    fn add(&mut self, planned: &Planned) {
        match planned.webhook {
            None => {}
            Some(Webhook::Failed(_)) => self.webhooks_failed += 1,
            Some(Webhook::SetUp(_) | Webhook::WasSetUp) => self.webhooks += 1,
        }
        *match planned.action {
            Action::Created | Action::Added => &mut self.created,
            Action::Updated(_) => &mut self.updated,
            Action::Unchanged => &mut self.unchanged,
            Action::Refused(_) => &mut self.bad,
            Action::Taken(_) => &mut self.taken,
            Action::NotKept(_) => &mut self.not_kept,
            Action::LeftOut(_) => &mut self.left_out,
        } += 1;
    }

    /// The sums when nothing was written.
    fn unwritten(&self) -> String {
        let n_kept = self.created + self.updated + self.unchanged;
        let n_good = n_kept + self.taken + self.not_kept;
        let hint = if n_kept > 0 && self.source != Source::Answers {
            " (--keep-going writes the good ones)"
        } else {
            ""
        };
        let left_out = match self.left_out {
            0 => String::new(),
            n => format!(", {n} left out"),
        };
        let (n_rows, bad) = (self.n_rows(), self.bad);
        format!("{n_rows}: {n_good} good, {bad} bad{left_out}; nothing was written{hint}")
    }

    fn n_rows(&self) -> String {
        let n_kept = self.created + self.updated + self.unchanged;
        let n_rows = n_kept + self.bad + self.taken + self.not_kept + self.left_out;
        let row = if self.source == Source::Answers { "vendor" } else { "row" };
        if n_rows == 1 { format!("1 {row}") } else { format!("{n_rows} {row}s") }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { created, updated, unchanged, bad, webhooks, webhooks_failed, .. } = self;
        let Self { taken, not_kept, left_out, .. } = self;
        write!(f, "{}: ", self.n_rows())?;
        write!(f, "{created} created, {updated} updated, {unchanged} unchanged, {bad} bad")?;
        if taken + not_kept + left_out > 0 {
            write!(f, "; {taken} taken, {not_kept} not kept, {left_out} left out")?;
        }
        if webhooks + webhooks_failed > 0 {
            write!(f, "; webhooks: {webhooks} lead here, {webhooks_failed} could not be set up")?;
        }
        Ok(())
    }
}
