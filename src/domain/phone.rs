//! Phone numbers: as providers write them, and as people type them.

use std::fmt;

use phonenumber::country;
use serde::{Deserialize, Serialize};

/// A phone number in E.164 shape: 7 to 15 digits, the first not zero.
///
/// The upper bound is ITU-T E.164's; the lower bound is ours.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber(String);

/// Why a text is not a phone number we would dial. It quotes a number only where a person typed
/// it and must see our reading of it; it is an answer to that person and never logged.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPhoneNumber {
    /// Not 7 to 15 digits.
    #[error(
        "a phone number has 7 to 15 digits and starts with its country code, like +221771234567"
    )]
    Shape,
    /// A national number, and nothing tells the country.
    #[error("write the number with + and its country code")]
    NoCountry,
    /// It could be read in two ways, or in none that exists.
    #[error("the number is ambiguous: write it with + and its country code (did you mean {0}?)")]
    Ambiguous(String),
}

impl fmt::Debug for BadPhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shape => "Shape",
            Self::NoCountry => "NoCountry",
            Self::Ambiguous(_) => "Ambiguous",
        })
    }
}

impl PhoneNumber {
    /// Reads what a provider sent: digits, with or without `+`, or a JID of a phone
    /// (`221771234567:3@s.whatsapp.net`, `…@c.us`). Only the shape is asked for.
    ///
    /// # Errors
    ///
    /// [`BadPhoneNumber::Shape`] for anything else, a LID or a group included.
    pub fn from_wire(text: &str) -> Result<Self, BadPhoneNumber> {
        let (user, server) = text.split_once('@').unwrap_or((text, "s.whatsapp.net"));
        if !matches!(server, "s.whatsapp.net" | "c.us") {
            return Err(BadPhoneNumber::Shape);
        }
        let user = user.split_once(':').map_or(user, |it| it.0);
        Self::of_digits(user)
    }

    /// Reads what a person typed: spaces and punctuation, `+`, `00`, or a national number of the
    /// country of `home`, the vendor's own number.
    ///
    /// # Errors
    ///
    /// [`BadPhoneNumber`]; an ambiguous number names the reading we would have chosen.
    pub fn from_person(text: &str, home: Option<&Self>) -> Result<Self, BadPhoneNumber> {
        if text.chars().any(|it| !(it.is_ascii_digit() || " +-./()\u{a0}\u{202f}".contains(it))) {
            return Err(BadPhoneNumber::Shape);
        }
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        if text.trim_start().starts_with('+') {
            return Self::of_digits(&digits);
        }
        if let Some(rest) = digits.strip_prefix("00") {
            return Self::of_digits(rest);
        }
        let national = home.and_then(|it| it.national(&digits));
        let international = Self::of_digits(&digits).ok().filter(Self::exists);
        match (national, international) {
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (Some(one), Some(other)) if one == other => Ok(one),
            (Some(one), Some(_)) => Err(BadPhoneNumber::Ambiguous(one.expose())),
            (None, None) if home.is_none() => Err(BadPhoneNumber::NoCountry),
            (None, None) => {
                let guess = Self::of_digits(&digits)?;
                Err(BadPhoneNumber::Ambiguous(guess.expose()))
            }
        }
    }

    /// The whole number, with `+`. Never log it.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("+{}", self.0)
    }

    /// The digits without `+`. Never log them.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// The one form under which both forms of a number are known. Brazil added a 9 to its mobile
    /// numbers, Mexico dropped a 1 after the country code, Benin put 01 before every number; the
    /// old forms live on as WhatsApp ids.
    #[must_use]
    pub fn alias(&self) -> String {
        let digits = self.0.as_str();
        let split =
            |head: usize, skip: usize| format!("{}{}", &digits[..head], &digits[head + skip..]);
        match digits.len() {
            13 if digits.starts_with("55") && digits.as_bytes()[4] == b'9' => split(4, 1),
            13 if digits.starts_with("521") => split(2, 1),
            13 if digits.starts_with("22901") => split(3, 2),
            _ => digits.to_owned(),
        }
    }

    fn of_digits(text: &str) -> Result<Self, BadPhoneNumber> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let good = (7..=15).contains(&digits.len())
            && digits.bytes().all(|it| it.is_ascii_digit())
            && !digits.starts_with('0');
        if good { Ok(Self(digits.to_owned())) } else { Err(BadPhoneNumber::Shape) }
    }

    fn country(&self) -> Option<country::Id> {
        phonenumber::parse(None, self.expose()).ok()?.country().id()
    }

    fn national(&self, digits: &str) -> Option<Self> {
        let number = phonenumber::parse(Some(self.country()?), digits).ok()?;
        if !number.is_valid() {
            return None;
        }
        Self::of_digits(&number.format().mode(phonenumber::Mode::E164).to_string()).ok()
    }

    fn exists(&self) -> bool {
        phonenumber::parse(None, self.expose()).is_ok_and(|it| it.is_valid())
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}…{}", &self.0[..2], &self.0[self.0.len() - 2..])
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for PhoneNumber {
    type Error = BadPhoneNumber;
    fn try_from(text: String) -> Result<Self, BadPhoneNumber> {
        Self::of_digits(&text)
    }
}

impl From<PhoneNumber> for String {
    fn from(number: PhoneNumber) -> String {
        number.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn wire(text: &str, want: Option<&str>) {
        let got = PhoneNumber::from_wire(text).ok();
        assert_eq!(got.as_ref().map(PhoneNumber::digits), want, "{text:?}");
    }

    #[test]
    fn a_provider_writes_a_number_in_many_ways() {
        wire("221771234567", Some("221771234567"));
        wire("+221771234567", Some("221771234567"));
        wire("221771234567@s.whatsapp.net", Some("221771234567"));
        wire("221771234567:12@s.whatsapp.net", Some("221771234567"));
        wire("221771234567@c.us", Some("221771234567"));
        wire("22170111111", Some("22170111111"));
        for bad in
            ["", "12", "0712345678", "111122223333444@lid", "1203@g.us", "abc", "1234567890123456"]
        {
            wire(bad, None);
        }
    }

    #[track_caller]
    fn typed(text: &str, home: &str, want: Result<&str, &str>) {
        let home = PhoneNumber::from_wire(home).unwrap();
        let got = PhoneNumber::from_person(text, Some(&home)).map(|it| it.expose());
        let got = got.map_err(|it| format!("{it:?}"));
        assert_eq!(got.as_deref().map_err(String::as_str), want, "{text:?}");
    }

    #[test]
    fn a_person_types_a_number_as_at_home() {
        typed("77 123 45 67", "221771000000", Ok("+221771234567"));
        typed("+221 77 123-45-67", "221771000000", Ok("+221771234567"));
        typed("00221771234567", "221771000000", Ok("+221771234567"));
        typed("221771234567", "221771000000", Ok("+221771234567"));
        typed("07 07 12 34 56", "2250707000000", Ok("+2250707123456"));
        typed("+33 6 12 34 56 78", "221771000000", Ok("+33612345678"));
        typed("12345678", "221771000000", Err("Ambiguous"));
        typed("77 123 call me", "221771000000", Err("Shape"));
        typed("", "221771000000", Err("Shape"));
    }

    #[test]
    fn both_forms_of_a_number_are_one_contact() {
        for (one, other) in [
            ("5511987654321", "551187654321"),
            ("5215512345678", "525512345678"),
            ("2290197000000", "22997000000"),
        ] {
            let alias = |it| PhoneNumber::from_wire(it).unwrap().alias();
            assert_eq!(alias(one), alias(other));
        }
    }

    #[test]
    fn a_number_does_not_print() {
        let number = PhoneNumber::from_wire("221771234567").unwrap();
        assert_eq!(format!("{number} {number:?}"), "+22…67 +22…67");
    }
}
