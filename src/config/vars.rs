//! Variables, read one by one; what is wrong is gathered and told at once.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use url::Url;

use crate::domain::secret::SecretString;

/// What was set, and what is wrong with it.
pub(super) struct Vars<'a, L> {
    pub(super) lookup: &'a L,
    pub(super) faults: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Vars<'_, L> {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|it| it.trim().to_owned()).filter(|it| !it.is_empty())
    }

    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, default: T) -> T {
        match self.text(name).map(|it| it.parse()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                self.faults.push(format!("{name} is malformed"));
                default
            }
        }
    }

    /// A number of which too small or too large ones would switch something off.
    pub(super) fn within<T>(&mut self, name: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + Ord + Display + Copy,
    {
        let value = self.parsed(name, default);
        if range.contains(&value) {
            return value;
        }
        self.faults.push(format!("{name} is not between {} and {}", range.start(), range.end()));
        default
    }

    pub(super) fn url(&mut self, name: &str) -> Option<Url> {
        let text = self.text(name)?;
        let url = Url::parse(&text)
            .ok()
            .filter(|it| matches!(it.scheme(), "http" | "https") && it.has_host());
        if url.is_none() {
            self.faults.push(format!("{name} is not an http or https URL"));
        }
        url
    }
}
