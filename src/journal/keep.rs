//! How long things are kept, and how what is old is removed: a little at a time.

use async_trait::async_trait;

use super::JournalError;
use crate::domain::{
    clock::Millis,
    id::{ContactId, EntryId},
    retention::ClockMark,
};

/// The part of the journal that forgets.
#[async_trait]
pub trait Keep: Send + Sync {
    /// What is remembered of the clock.
    async fn clock_mark(&self) -> Result<Option<ClockMark>, JournalError>;

    /// Remembers it.
    async fn keep_clock_mark(&self, mark: ClockMark) -> Result<(), JournalError>;

    /// The last of the next `limit` entries after one and before another.
    async fn end_of_page(
        &self,
        after: EntryId,
        before: EntryId,
        limit: usize,
    ) -> Result<Option<EntryId>, JournalError>;

    /// Removes the entries after one, through another, that have ended, with what speaks of them.
    /// What is open or parked stays. How many were removed.
    async fn remove_ended(&self, after: EntryId, through: EntryId) -> Result<usize, JournalError>;

    /// Contacts after one of whom nothing is kept any more, and where to go on; at most `limit` are
    /// looked at.
    async fn idle_contacts(
        &self,
        after: ContactId,
        limit: usize,
        now: Millis,
    ) -> Result<(Vec<ContactId>, Option<ContactId>), JournalError>;

    /// Forgets those of these contacts of whom really nothing is kept. How many.
    async fn forget_contacts(
        &self,
        contacts: Vec<ContactId>,
        now: Millis,
    ) -> Result<usize, JournalError>;

    /// Forgets some of what was counted before an hour. Whether there may be more.
    async fn forget_hours(&self, before: i64) -> Result<bool, JournalError>;
}
