//! Messages counted by the hour, for analytics and for knowing a number's habit.

use std::{collections::BTreeMap, ops::Range};

use async_trait::async_trait;

use super::JournalError;
use crate::domain::{clock::Millis, id::VendorId};

/// The part of the journal that counts.
#[async_trait]
pub trait Counters {
    /// A vendor's messages of these hours since the Unix epoch, by counters.
    async fn hours(&self, vendor: &VendorId, hours: Range<i64>) -> Result<Tally, JournalError>;

    /// The same, counted afresh from the entries.
    async fn count_hours(
        &self,
        vendor: &VendorId,
        hours: Range<i64>,
    ) -> Result<Tally, JournalError>;

    /// Whether a message from a vendor's number can have this status.
    fn is_status(&self, word: &str) -> bool;
}

/// A vendor's messages of some hours, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// From customers.
    pub inbound: i64,
    /// From the vendor's number, those typed on its phone included.
    pub outbound: i64,
    /// Those from the vendor's number by where they stand now.
    pub by_status: BTreeMap<String, i64>,
    /// Messages that had an answer accepted by the provider.
    pub answered: i64,
    /// How long they waited for it together.
    pub answer_ms: Millis,
}
