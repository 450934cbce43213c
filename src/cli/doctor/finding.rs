//! One thing the doctor found.

use serde_json::{Value, json};

use crate::{
    domain::id::VendorId,
    lang::{Language, Words},
};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// It is as it should be.
    Ok,
    /// Somebody should look at it.
    Warning,
    /// Something does not work.
    Fault,
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }

    pub(super) fn words(self) -> Words {
        match self {
            Self::Ok => Words::same("ok"),
            Self::Warning => Words::new("warning", "attention"),
            Self::Fault => Words::new("FAULT", "DÉFAUT"),
        }
    }
}

/// One thing the doctor found, and what to do next.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at; scripts know it by this.
    pub(super) check: &'static str,
    pub(super) vendor: Option<VendorId>,
    pub(super) what: Words,
    pub(super) next: Vec<Words>,
}

impl Finding {
    fn new(level: Level, check: &'static str, en: String, fr: String) -> Self {
        Self { level, check, vendor: None, what: Words::new(en, fr), next: Vec::new() }
    }

    pub(super) fn ok(check: &'static str, en: impl Into<String>, fr: impl Into<String>) -> Self {
        Self::new(Level::Ok, check, en.into(), fr.into())
    }

    pub(super) fn warning(
        check: &'static str,
        en: impl Into<String>,
        fr: impl Into<String>,
    ) -> Self {
        Self::new(Level::Warning, check, en.into(), fr.into())
    }

    pub(super) fn fault(check: &'static str, en: impl Into<String>, fr: impl Into<String>) -> Self {
        Self::new(Level::Fault, check, en.into(), fr.into())
    }

    /// What to do next.
    pub(super) fn then(mut self, en: impl Into<String>, fr: impl Into<String>) -> Self {
        self.next.push(Words::new(en, fr));
        self
    }

    /// The command to run next.
    pub(super) fn command(mut self, command: String) -> Self {
        self.next.push(Words::same(command));
        self
    }

    pub(super) fn of(mut self, vendor: &VendorId) -> Self {
        self.vendor = Some(vendor.clone());
        self
    }

    pub(super) fn document(&self, language: Language) -> Value {
        let next: Vec<&str> = self.next.iter().map(|it| it.of(language)).collect();
        json!({
            "level": self.level.as_str(),
            "check": self.check,
            "vendorId": self.vendor,
            "message": self.what.of(language),
            "next": next,
        })
    }

    pub(super) fn lines(&self, language: Language) -> Vec<String> {
        let level = self.level.words();
        let level = level.of(language);
        let pad = " ".repeat(9_usize.saturating_sub(level.chars().count()));
        let what = format!("  {level}{pad}  {}", self.what.of(language));
        let next = self.next.iter().map(|it| format!("             → {}", it.of(language)));
        std::iter::once(what).chain(next).collect()
    }
}
