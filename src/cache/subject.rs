//! What is remembered under which name.

use serde::{Deserialize, Serialize};

use crate::{
    domain::id::{InstanceId, VendorId},
    vault::Token,
};

/// What something is remembered of, and what has changed when it is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A vendor with its instances.
    Vendor(VendorId),
    /// Whom a key of an instance (number, provider's id …) leads to. A keyed hash: neither Redis
    /// nor a message through it tells a number.
    Key(Token),
    /// Whose sends are stopped. Nothing is remembered of it; it is only told.
    Pauses,
}

/// Whom a key leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The vendor.
    pub vendor: VendorId,
    /// Its instance.
    pub instance: InstanceId,
}

impl Subject {
    /// The word it goes by in Redis.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Vendor(id) => format!("v:{id}"),
            Self::Key(token) => format!("k:{}", hex::encode(token)),
            Self::Pauses => "p".to_owned(),
        }
    }

    pub(super) fn of_word(word: &str) -> Option<Self> {
        match word.split_once(':') {
            Some(("v", id)) => VendorId::parse(id).ok().map(Self::Vendor),
            Some(("k", digits)) => {
                let mut token = Token::default();
                hex::decode_to_slice(digits, &mut token).ok()?;
                Some(Self::Key(token))
            }
            _ => (word == "p").then_some(Self::Pauses),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_what_it_was_written_for() {
        let vendor = Subject::Vendor(VendorId::parse("vendor_001").unwrap());
        for subject in [vendor, Subject::Key([7; 16]), Subject::Pauses] {
            assert_eq!(Subject::of_word(&subject.word()), Some(subject));
        }
        for bad in ["", "v:", "v:a b", "k:00", "x:1", "pp"] {
            assert_eq!(Subject::of_word(bad), None, "{bad}");
        }
    }
}
