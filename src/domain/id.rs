//! Identifiers: each its own type, so that a vendor cannot stand where an instance belongs.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest vendor id, in characters.
const VENDOR_ID_CHARS_MAX: usize = 64;
/// The longest instance id, in characters: `waba_`, a vendor id and a number.
const INSTANCE_ID_CHARS_MAX: usize = 96;

/// Text that is not an id of the wanted kind. It does not quote the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadId(&'static str);

impl BadId {
    /// What [`super::media::MediaId::parse`] says.
    pub(super) const MEDIA: Self =
        Self("a file's id is msg_ and 16 hexadecimal digits, or med_ and 32");
    /// What [`super::bulk::BulkId`] says.
    pub(super) const BULK: Self = Self("a job's id is bulk_ and 16 hexadecimal digits");
}

/// A tenant: 1–64 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VendorId(Arc<str>);

impl VendorId {
    /// # Errors
    ///
    /// [`BadId`] when it is empty, longer than 64 characters or has another character.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        if is_word(text, VENDOR_ID_CHARS_MAX) {
            Ok(Self(text.into()))
        } else {
            Err(BadId("a vendor id is 1 to 64 of A-Z a-z 0-9 _ -"))
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One WhatsApp number of a vendor: `waba_<vendorId>`, then `waba_<vendorId>_2` and so on.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// # Errors
    ///
    /// [`BadId`] when it is empty, longer than 96 characters or has another character than a
    /// vendor id may have.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        if is_word(text, INSTANCE_ID_CHARS_MAX) {
            Ok(Self(text.into()))
        } else {
            Err(BadId("an instance id is 1 to 96 of A-Z a-z 0-9 _ -"))
        }
    }

    /// The id of a vendor's `n`th instance; `n` counts from 1.
    #[must_use]
    pub fn nth(vendor: &VendorId, n: usize) -> Self {
        if n <= 1 {
            Self(format!("waba_{}", vendor.as_str()).into())
        } else {
            Self(format!("waba_{}_{n}", vendor.as_str()).into())
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_word(text: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-')
}

macro_rules! text_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::parse(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
    };
}

text_id!(VendorId);
text_id!(InstanceId);

/// A journal entry: an event that came in or an intent to send. It never changes, however often
/// the entry is worked on. Ids grow in the order in which entries were committed; the upper 43 bits
/// are the milliseconds since the Unix epoch at which the id was given.
#[derive(Serialize, Deserialize, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub i64);

impl EntryId {
    const COUNTER_BITS: u32 = 20;

    /// The first id after `last` at `now_ms`.
    #[must_use]
    pub fn next(last: Self, now_ms: i64) -> Self {
        Self((now_ms << Self::COUNTER_BITS).max(last.0 + 1))
    }

    /// The smallest id that may have been given at this time.
    #[must_use]
    pub fn at(ms: i64) -> Self {
        Self(ms << Self::COUNTER_BITS)
    }

    /// When it was given, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn ms(self) -> i64 {
        self.0 >> Self::COUNTER_BITS
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "msg_{:016x}", self.0)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number after a prefix. A sign, which Rust would read, is no digit.
fn number(text: &str, prefix: &str) -> Option<i64> {
    let digits = text.strip_prefix(prefix)?;
    let are_digits = digits.len() == 16 && digits.bytes().all(|it| it.is_ascii_hexdigit());
    i64::from_str_radix(digits, 16).ok().filter(|_| are_digits)
}

impl FromStr for EntryId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = BadId("a message id is msg_ and 16 hexadecimal digits");
        number(text, "msg_").map(Self).ok_or(bad)
    }
}

/// An event on its way to a vendor's back end, the same however often it is sent; the receiver knows
/// it by `evt_` and 16 hexadecimal digits. Ids grow in the order in which events were committed; the
/// upper 43 bits are the milliseconds since the Unix epoch at which the id was given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ForwardId(pub i64);

impl ForwardId {
    /// The smallest id that may have been given at this time.
    #[must_use]
    pub fn at(ms: i64) -> Self {
        Self(EntryId::at(ms).0)
    }

    /// When it was given, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn ms(self) -> i64 {
        EntryId(self.0).ms()
    }
}

impl fmt::Display for ForwardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "evt_{:016x}", self.0)
    }
}

impl fmt::Debug for ForwardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ForwardId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = BadId("an event id is evt_ and 16 hexadecimal digits");
        number(text, "evt_").map(Self).ok_or(bad)
    }
}

/// A customer as one instance knows them; also names their conversation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContactId(pub i64);

impl fmt::Display for ContactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conv_{:016x}", self.0)
    }
}

impl fmt::Debug for ContactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContactId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = BadId("a conversation id is conv_ and 16 hexadecimal digits");
        number(text, "conv_").map(Self).ok_or(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_even_when_the_clock_goes_back() {
        let first = EntryId::next(EntryId(0), 1_000_000);
        let second = EntryId::next(first, 999_000);
        assert!(second > first);
        assert_eq!(second.to_string().parse(), Ok(second));
        assert_eq!(EntryId::next(second, 2_000_000).ms(), 2_000_000);
    }

    #[test]
    fn a_conversation_id_is_read_as_it_is_written() {
        assert_eq!(ContactId(255).to_string(), "conv_00000000000000ff");
        assert_eq!("conv_00000000000000ff".parse(), Ok(ContactId(255)));
        let signed = ["conv_+0000000000000ff", "conv_-0000000000000ff"];
        let others = ["", "conv_ff", "msg_00000000000000ff", "conv_00000000000000fg"];
        for bad in others.into_iter().chain(signed) {
            assert!(bad.parse::<ContactId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_vendor_id_has_only_its_characters() {
        for good in ["vendor_001", "A", "a-b_C9"] {
            assert!(VendorId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "é", "..", &"x".repeat(65)] {
            assert!(VendorId::parse(bad).is_err(), "{bad}");
        }
    }
}
