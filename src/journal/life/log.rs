//! The steps of an entry's journey, as one text: a line for each, with the milliseconds since the one
//! before it and a word without white space. Rows are written at each step, and most of what they
//! would otherwise hold is times.

use std::fmt::{self, Write as _};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

use crate::domain::clock::Millis;

/// Steps that are kept; later ones replace the last.
const STEPS_MAX: usize = 48;

/// The steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::journal) struct Log(String);

impl Log {
    pub(in crate::journal) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each step and its time.
    pub(in crate::journal) fn steps(&self) -> impl Iterator<Item = (Millis, &str)> {
        let lines = self.0.lines().filter_map(|it| it.split_once(' '));
        lines.scan(0, |at: &mut Millis, (since, step)| {
            *at = at.saturating_add(since.parse().unwrap_or_default());
            Some((*at, step))
        })
    }

    /// The same, as callers have them.
    pub(in crate::journal) fn to_vec(&self) -> Vec<(Millis, String)> {
        self.steps().map(|(at, step)| (at, step.to_owned())).collect()
    }

    /// Adds a step, unless it is the last one again.
    pub(super) fn note(&mut self, at: Millis, step: &str) {
        if self.last() == Some(step) {
            return;
        }
        if self.0.lines().count() >= STEPS_MAX {
            let end = self.0.rfind('\n').unwrap_or_default();
            self.0.truncate(end);
        }
        self.push(at, step);
    }

    fn push(&mut self, at: Millis, step: &str) {
        let before = self.steps().last().map_or(0, |it| it.0);
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        // Writing to a text never fails.
        let _ = write!(self.0, "{} ", at.saturating_sub(before));
        self.0.extend(step.chars().map(|it| if it.is_whitespace() { '_' } else { it }));
    }

    /// Takes out the steps that are not to stay.
    pub(in crate::journal) fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        let mut kept = Self::default();
        for (at, step) in self.steps().filter(|it| stays(it.1)) {
            kept.push(at, step);
        }
        *self = kept;
    }

    fn last(&self) -> Option<&str> {
        self.0.lines().next_back()?.split_once(' ').map(|it| it.1)
    }
}

impl Serialize for Log {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Log {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Log;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("steps of a journey")
    }

    fn visit_str<E>(self, text: &str) -> Result<Log, E> {
        Ok(Log(text.to_owned()))
    }

    /// As it was before: pairs of time and word.
    fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Log, A::Error> {
        let mut log = Log::default();
        while let Some((at, step)) = pairs.next_element::<(Millis, String)>()? {
            log.push(at, &step);
        }
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is noted, it is told as it was, and read as it was written.
        #[test]
        fn a_journey_is_told_as_it_was(
            steps in proptest::collection::vec((any::<i32>(), "[a-z_]{1,4}"), 0..60),
        ) {
            let mut log = Log::default();
            let mut wanted: Vec<(Millis, String)> = Vec::new();
            for (at, step) in steps {
                let at = Millis::from(at);
                log.note(at, &step);
                if wanted.last().is_some_and(|it| it.1 == step) {
                    continue;
                }
                if wanted.len() == STEPS_MAX {
                    wanted.pop();
                }
                wanted.push((at, step));
            }
            prop_assert_eq!(log.to_vec(), wanted.clone());
            let text = serde_json::to_string(&log).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Log>(&text).unwrap(), &log);
            let before = serde_json::to_string(&wanted).unwrap();
            let read = serde_json::from_str::<Log>(&before).unwrap();
            prop_assert_eq!(read.to_vec(), wanted);
        }
    }
}
