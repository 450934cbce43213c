//! What the journal tells those who watch it. Nothing here is private, and nothing changes.

use async_trait::async_trait;

use super::JournalError;
use crate::domain::{
    clock::Millis,
    id::{ContactId, EntryId, VendorId},
};

/// What watching needs of a journal.
#[async_trait]
pub trait Watch: Send + Sync {
    /// Whose entry this is.
    async fn vendor_of(&self, id: EntryId) -> Result<Option<VendorId>, JournalError>;

    /// Until when a conversation is paused, and why; `None` when it never was.
    async fn pause_of(&self, contact: ContactId) -> Result<Option<(Millis, String)>, JournalError>;

    /// When the newest entry was given its id.
    async fn newest(&self) -> Result<Option<Millis>, JournalError>;

    /// What is left to do, or to be looked at by a person; `None` is all vendors together.
    async fn backlog(
        &self,
        vendor: Option<&VendorId>,
        now: Millis,
    ) -> Result<Backlog, JournalError>;

    /// What tells how these vendors are, in their order. Counts of messages begin at `from_hour`.
    async fn signs(&self, vendors: &[VendorId], from_hour: i64)
    -> Result<Vec<Signs>, JournalError>;

    /// Asked before work whose end could not be kept would be done in vain, again and again: an
    /// error when the disk did not take the last write, and does not take another now.
    async fn can_keep(&self) -> Result<(), JournalError> {
        Ok(())
    }
}

/// What is left to do, or to be looked at by a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages and sends that wait or are worked on.
    pub n_waiting: i64,
    /// When the oldest of them was committed.
    pub oldest_waiting: Option<Millis>,
    /// Sends whose outcome is not known yet.
    pub n_fenced: i64,
    /// Sends given up without knowing.
    pub n_unknown: i64,
    /// What waits for a person, by reason.
    pub parked: Vec<(String, i64)>,
    /// What was given up, by reason.
    pub dead: Vec<(String, i64)>,
    /// Conversations in which the bot is quiet; of all vendors only.
    pub n_paused: i64,
    /// Events on their way to back ends.
    pub n_forwards_waiting: i64,
    /// Events that could not be forwarded.
    pub n_forwards_dead: i64,
}

impl Backlog {
    /// What waits for a person.
    #[must_use]
    pub fn n_parked(&self) -> i64 {
        self.parked.iter().map(|it| it.1).sum()
    }

    /// What was given up.
    #[must_use]
    pub fn n_dead(&self) -> i64 {
        self.dead.iter().map(|it| it.1).sum()
    }
}

/// What tells how a vendor is.
#[derive(Clone, Debug, Default)]
pub struct Signs {
    /// Messages that came, by hours since the Unix epoch; an hour may be there more than once.
    pub hours: Vec<(i64, i64)>,
    /// Events that could not be forwarded.
    pub n_forwards_dead: i64,
}
