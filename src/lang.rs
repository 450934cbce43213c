//! The languages the command line speaks. A sentence is written in both where it is written at
//! all, so that none can be missing.

use std::str::FromStr;

/// A language of the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// French.
    Fr,
}

/// Neither `en` nor `fr`, in any of the forms a locale may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the languages are en and fr")]
pub struct UnknownLanguage;

impl FromStr for Language {
    type Err = UnknownLanguage;

    /// Reads `fr`, and locales like `fr_FR.UTF-8` or `fr-SN`.
    fn from_str(text: &str) -> Result<Self, UnknownLanguage> {
        let word = text.split(['_', '-', '.', '@']).next().unwrap_or_default();
        match word.to_ascii_lowercase().as_str() {
            "en" => Ok(Self::En),
            "fr" => Ok(Self::Fr),
            _ => Err(UnknownLanguage),
        }
    }
}

impl Language {
    /// The language a POSIX environment asks for: the first of `LC_ALL`, `LC_MESSAGES` and `LANG`
    /// that is set and not empty decides; what we do not speak is English.
    #[must_use]
    pub fn of_locale(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let names = ["LC_ALL", "LC_MESSAGES", "LANG"];
        let locale = names.iter().find_map(|it| lookup(it).filter(|text| !text.is_empty()));
        locale.and_then(|it| it.parse().ok()).unwrap_or_default()
    }
}

/// One sentence in every language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    en: String,
    fr: String,
}

impl Words {
    /// A sentence. The French one is written with plain spaces before `:`, `;`, `!`, `?` and within
    /// `« »`; they become no-break spaces here.
    #[must_use]
    pub fn new(en: impl Into<String>, fr: impl Into<String>) -> Self {
        Self { en: en.into(), fr: typeset(&fr.into()) }
    }

    /// What is the same in every language, like a command.
    #[must_use]
    pub fn same(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { fr: text.clone(), en: text }
    }

    /// The sentence as part of another.
    #[must_use]
    pub fn with(&self, en: impl FnOnce(&str) -> String, fr: impl FnOnce(&str) -> String) -> Self {
        Self::new(en(&self.en), fr(&self.fr))
    }

    /// The sentence in this language.
    #[must_use]
    pub fn of(&self, language: Language) -> &str {
        match language {
            Language::En => &self.en,
            Language::Fr => &self.fr,
        }
    }
}

/// A number of things, in the form that the number asks for: English has one for 1 alone, French
/// for 0 and 1.
#[must_use]
pub fn count(n: i64, en: [&str; 2], fr: [&str; 2]) -> Words {
    let (en, fr) = (en[usize::from(n != 1)], fr[usize::from(n.abs() > 1)]);
    Words::new(format!("{n} {en}"), format!("{n} {fr}"))
}

/// Puts no-break spaces where French has them. Commands have none of these marks behind a space.
fn typeset(text: &str) -> String {
    let mut text = text.replace("« ", "«\u{a0}").replace(" »", "\u{a0}»");
    for mark in [':', ';', '!', '?'] {
        text = text.replace(&format!(" {mark}"), &format!("\u{a0}{mark}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], want: Language) {
        let lookup =
            |name: &str| variables.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());
        assert_eq!(Language::of_locale(lookup), want, "{variables:?}");
    }

    #[test]
    fn the_environment_chooses_the_language() {
        check(&[], Language::En);
        check(&[("LANG", "fr_FR.UTF-8")], Language::Fr);
        check(&[("LANG", "fr")], Language::Fr);
        check(&[("LANG", "FR-sn")], Language::Fr);
        check(&[("LANG", "fr_FR@euro")], Language::Fr);
        check(&[("LANG", "fr_FR.UTF-8"), ("LC_MESSAGES", "en_GB.UTF-8")], Language::En);
        check(&[("LANG", "en_GB.UTF-8"), ("LC_ALL", "fr_CI.UTF-8")], Language::Fr);
        check(&[("LANG", "fr_FR.UTF-8"), ("LC_ALL", "")], Language::Fr);
        check(&[("LANG", "fr_FR.UTF-8"), ("LC_ALL", "C")], Language::En);
        check(&[("LANG", "friulian")], Language::En);
    }

    #[test]
    fn numbers_choose_the_form() {
        let faults = |n| count(n, ["fault", "faults"], ["défaut", "défauts"]);
        for (n, en, fr) in
            [(0, "0 faults", "0 défaut"), (1, "1 fault", "1 défaut"), (2, "2 faults", "2 défauts")]
        {
            assert_eq!((faults(n).of(Language::En), faults(n).of(Language::Fr)), (en, fr));
        }
    }

    #[test]
    fn french_has_no_break_spaces() {
        let words =
            Words::new("x", "Attention : « oui » ou « non » ? Vite ! Bien ; sans https://a:1");
        assert_eq!(
            words.of(Language::Fr),
            "Attention\u{a0}: «\u{a0}oui\u{a0}» ou «\u{a0}non\u{a0}»\u{a0}? Vite\u{a0}! Bien\u{a0}; sans https://a:1"
        );
    }
}
