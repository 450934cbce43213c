//! One message to many recipients: its variables, and the states of such a job. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde_json::Value;

use super::{
    clock::{MINUTE, Millis},
    id::{BadId, EntryId},
    message::Content,
};

/// The most recipients of one job.
pub const RECIPIENTS_MAX: usize = 100_000;
/// The fastest pace of its own that a job may have.
pub const PER_MINUTE_MAX: u32 = 6_000;
/// Jobs of one vendor that have not ended.
pub const JOBS_MAX: i64 = 20;
/// The most bytes that the texts of a message have together once its variables are filled in: a
/// variable may stand in a message thousands of times.
pub const FILLED_BYTES_MAX: usize = 512 * 1_024;
/// When so many in a row were parked or given up, a job waits for a person.
pub const FAILED_IN_A_ROW: i64 = 20;

/// A job: `bulk_` and 16 hexadecimal digits. Ids grow in the order in which jobs were taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BulkId(pub i64);

impl BulkId {
    /// The first id after `last` at this time.
    #[must_use]
    pub fn next(last: Self, now: Millis) -> Self {
        Self(EntryId::next(EntryId(last.0), now).0)
    }
}

impl fmt::Display for BulkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bulk_{:016x}", self.0)
    }
}

impl fmt::Debug for BulkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BulkId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let digits = text.strip_prefix("bulk_").filter(|it| it.len() == 16);
        let number = digits.filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
        let number = number.and_then(|it| i64::from_str_radix(it, 16).ok());
        number.map(Self).ok_or(BadId::BULK)
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkState {
    /// Its recipients come in; nobody is sent to.
    Taken,
    /// Recipients have their turn.
    Running,
    /// They wait for a person.
    Paused,
    /// Those who had not had their turn never will.
    Cancelled,
    /// All have had their turn.
    Done,
    /// It was not taken whole, and nobody sees it any more: its recipients are being removed.
    Dropped,
}

impl BulkState {
    const ALL: [Self; 6] =
        [Self::Taken, Self::Running, Self::Paused, Self::Cancelled, Self::Done, Self::Dropped];

    /// As it is stored. What callers may see is above zero.
    #[must_use]
    pub fn code(self) -> i64 {
        match self {
            Self::Taken => 0,
            Self::Running => 1,
            Self::Paused => 2,
            Self::Cancelled => 3,
            Self::Done => 4,
            Self::Dropped => -1,
        }
    }

    /// What is stored under this number.
    #[must_use]
    pub fn of_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.code() == code)
    }

    /// As callers read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::Dropped => "dropped",
        }
    }

    /// What it is after this; `None`: that is not possible any more.
    #[must_use]
    pub fn after(self, deed: BulkDeed) -> Option<Self> {
        match (self, deed) {
            (Self::Running | Self::Paused, BulkDeed::Pause) => Some(Self::Paused),
            (Self::Running | Self::Paused, BulkDeed::Resume) => Some(Self::Running),
            (Self::Running | Self::Paused | Self::Cancelled, BulkDeed::Cancel) => {
                Some(Self::Cancelled)
            }
            _ => None,
        }
    }
}

/// What is done with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkDeed {
    /// It waits for a person.
    Pause,
    /// It goes on.
    Resume,
    /// It ends here.
    Cancel,
}

/// How long so many more take at this pace.
#[must_use]
pub fn time_left(n_waiting: i64, per_minute: i64) -> Millis {
    n_waiting.saturating_mul(MINUTE) / per_minute.max(1)
}

/// What a recipient's line says besides the number.
pub type Columns = BTreeMap<String, String>;

/// A message with variables: `{{name}}` in any of its texts.
pub struct Pattern {
    content: Value,
    names: BTreeSet<String>,
}

/// Why a recipient's message cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFill {
    /// The line has no such column.
    #[error("{0}: is missing, and the message has it as a variable")]
    Missing(String),
    /// It grows too long.
    #[error("message: has more than {FILLED_BYTES_MAX} bytes once its variables are filled in")]
    TooLong,
    /// It is no message any more.
    #[error("message: cannot be read once its variables are filled in")]
    Unreadable,
}

impl Pattern {
    /// Reads the variables of a message.
    ///
    /// # Errors
    ///
    /// [`BadFill::Unreadable`]: it cannot be written down.
    pub fn of(content: &Content) -> Result<Self, BadFill> {
        let content = serde_json::to_value(content).map_err(|_| BadFill::Unreadable)?;
        let mut names = BTreeSet::new();
        collect(&content, &mut names);
        Ok(Self { content, names })
    }

    /// The variables' names.
    #[must_use]
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// The message with its variables filled in. What is filled in is not looked at for variables.
    ///
    /// # Errors
    ///
    /// [`BadFill`].
    pub fn fill(&self, columns: &Columns) -> Result<Content, BadFill> {
        let mut content = self.content.clone();
        if !self.names.is_empty() {
            let mut n_left = FILLED_BYTES_MAX;
            fill(&mut content, columns, &mut n_left)?;
        }
        serde_json::from_value(content).map_err(|_| BadFill::Unreadable)
    }
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let variables = Pieces(text).filter_map(|it| match it {
                Piece::Variable(name) => Some(name.to_owned()),
                Piece::Plain(_) => None,
            });
            names.extend(variables);
        }
        Value::Array(all) => all.iter().for_each(|it| collect(it, names)),
        Value::Object(all) => all.values().for_each(|it| collect(it, names)),
        _ => {}
    }
}

/// Of what may be written, `n_left` bytes are left.
fn fill(value: &mut Value, columns: &Columns, n_left: &mut usize) -> Result<(), BadFill> {
    match value {
        Value::String(text) if text.contains("{{") => {
            let mut filled = String::with_capacity(text.len());
            for piece in Pieces(text) {
                let it = match piece {
                    Piece::Plain(it) => it,
                    Piece::Variable(name) => columns
                        .get(name)
                        .map(String::as_str)
                        .ok_or_else(|| BadFill::Missing(name.to_owned()))?,
                };
                *n_left = n_left.checked_sub(it.len()).ok_or(BadFill::TooLong)?;
                filled.push_str(it);
            }
            *text = filled;
            Ok(())
        }
        Value::Array(all) => all.iter_mut().try_for_each(|it| fill(it, columns, n_left)),
        Value::Object(all) => all.values_mut().try_for_each(|it| fill(it, columns, n_left)),
        _ => Ok(()),
    }
}

/// The longest name of a variable, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A text in order: what stands as it is, and its variables.
struct Pieces<'a>(&'a str);

enum Piece<'a> {
    Plain(&'a str),
    Variable(&'a str),
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let text = self.0;
        if text.is_empty() {
            return None;
        }
        // Braces that are around no name stand as they are.
        let variable = text.match_indices('{').find_map(|(start, _)| {
            let inside = text[start..].strip_prefix("{{")?;
            // No further than a name goes: a text may have thousands of braces.
            let end = inside.find(|it: char| !is_of_name(it) && !it.is_whitespace())?;
            let name = inside[..end].trim();
            (inside[end..].starts_with("}}") && is_name(name)).then_some((
                start,
                name,
                start + end + 4,
            ))
        });
        match variable {
            Some((0, name, end)) => {
                self.0 = &text[end..];
                Some(Piece::Variable(name))
            }
            found => {
                let end = found.map_or(text.len(), |it| it.0);
                self.0 = &text[end..];
                Some(Piece::Plain(&text[..end]))
            }
        }
    }
}

/// Whether it may name a column: letters, digits, `_`, `-`, `.` and single words with spaces.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(is_of_name)
}

fn is_of_name(it: char) -> bool {
    it.is_alphanumeric() || matches!(it, '_' | '-' | '.' | ' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::message::{Choice, Choices, Text};

    fn columns(all: &[(&str, &str)]) -> Columns {
        all.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect()
    }

    #[test]
    fn variables_are_filled_in_wherever_a_message_has_text() {
        let option = Choice {
            id: "o{{n}}".to_owned(),
            title: Text("Commande {{ n }}".to_owned()),
            description: Text::default(),
        };
        let choices = Choices::new("Bonjour {{nom}}", vec![option], false);
        let pattern = Pattern::of(&Content::Choices(choices)).unwrap();
        assert_eq!(Vec::from_iter(pattern.names()), ["n", "nom"]);
        let given = columns(&[("nom", "{{n}} Awa"), ("n", "7")]);
        let Content::Choices(filled) = pattern.fill(&given).unwrap() else { panic!() };
        assert_eq!(filled.options[0].title.0, "Commande 7");
        assert_eq!(filled.options[0].id, "o7");
        assert!(filled.text.0.contains("Bonjour {{n}} Awa"), "what is filled in stands as it is");
        let missing = pattern.fill(&columns(&[("nom", "Awa")]));
        assert_eq!(missing.unwrap_err(), BadFill::Missing("n".to_owned()));
    }

    #[test]
    fn braces_around_no_name_stand_as_they_are() {
        for (text, want) in [
            ("{{}} {{a", "{{}} {{a"),
            ("{{ }}{{x}}", "{{ }}1"),
            ("{{{x}}}", "{1}"),
            ("}}{{x}}{{", "}}1{{"),
            ("{{é}} {{prénom x}}", "2 3"),
        ] {
            let pattern = Pattern::of(&Content::text(text)).unwrap();
            let given = columns(&[("x", "1"), ("é", "2"), ("prénom x", "3")]);
            assert_eq!(pattern.fill(&given).unwrap(), Content::text(want), "{text}");
        }
    }

    #[test]
    fn a_text_full_of_braces_names_nothing() {
        let text = "{{".repeat(500_000);
        assert!(Pattern::of(&Content::text(text)).unwrap().names().is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_kept_but_for_its_variables(parts in prop::collection::vec("[a-z{} ]{0,6}", 0..8)) {
            let text = parts.concat();
            let pattern = Pattern::of(&Content::text(text.clone())).unwrap();
            let same: Columns = pattern.names().iter().map(|it| (it.clone(), format!("<{it}>"))).collect();
            let filled = pattern.fill(&same).unwrap();
            let plain = |it: &str| it.replace(['{', '}', '<', '>', ' '], "");
            prop_assert_eq!(plain(filled.as_text()), plain(&text));
        }
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        assert_eq!(BulkId(255).to_string().parse(), Ok(BulkId(255)));
        for bad in ["", "bulk_", "bulk_+0000000000000ff", "msg_00000000000000ff"] {
            assert!(bad.parse::<BulkId>().is_err(), "{bad}");
        }
    }
}
