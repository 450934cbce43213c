//! Documents that are due in a store elsewhere, which is not waited for.
//!
//! A row is made in the transaction that keeps what the document tells of, so none is missed; the
//! text is not copied into it but read when it is written. Writing one again does no harm.

use async_trait::async_trait;

use super::JournalError;
use crate::domain::{
    clock::Millis,
    id::EntryId,
    record::{Record, Standing},
};

/// The documents that wait to be written.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Waits until a document was added, or became due earlier, that is due before `until`.
    async fn outbox_changed(&self, until: Millis);

    /// The documents that are due, the one that is due first coming first: at most `limit`, and
    /// fewer when they are large.
    async fn due_documents(&self, now: Millis, limit: usize) -> Result<DueDocuments, JournalError>;

    /// Keeps what became of documents.
    async fn end_documents(
        &self,
        ends: Vec<(DueDocument, DocumentEnd)>,
        now: Millis,
    ) -> Result<(), JournalError>;

    /// How much waits.
    async fn outbox_load(&self) -> Result<OutboxLoad, JournalError>;
}

/// Documents to write.
#[derive(Debug, Default)]
pub struct DueDocuments {
    /// These, each with what it says.
    pub documents: Vec<(DueDocument, Due)>,
    /// When the next one is due, where none is now.
    pub next: Option<Millis>,
}

/// The row of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueDocument {
    /// The entry it tells of.
    pub entry: EntryId,
    /// What it is, by number.
    pub(super) what: i64,
    /// What is to be done with it, by number.
    pub(super) deed: i64,
    /// How often it was written.
    pub(super) n: u8,
    /// Where it says that its message stands.
    pub(super) said: Option<Standing>,
    /// How often it was refused.
    pub tries: u32,
}

/// What is to be written.
#[derive(Debug)]
pub enum Due {
    /// This.
    Record(Record),
    /// Nothing: its entry is gone, or it says all there is.
    Nothing,
    /// Its entry cannot be read.
    Unreadable(&'static str),
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentEnd {
    /// It was written, and says this of a message.
    Written(Option<Standing>),
    /// There is nothing to write.
    Gone,
    /// It is tried again then.
    Again {
        /// When.
        due: Millis,
        /// It was refused, and counted as that.
        is_refused: bool,
    },
}

/// How much waits to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxLoad {
    /// Documents that wait, those of which the time has not come included.
    pub n_waiting: i64,
    /// When the first of them is to be written.
    pub first_due: Option<Millis>,
    /// When the first of those was due that were tried in vain.
    pub tried_since: Option<Millis>,
}

impl OutboxLoad {
    /// For how long the one is late that is late for longest.
    #[must_use]
    pub fn late_by(&self, now: Millis) -> Millis {
        let since = [self.first_due, self.tried_since].into_iter().flatten().min();
        since.map_or(0, |it| (now - it).max(0))
    }
}
