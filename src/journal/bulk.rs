//! One message to many recipients: who has had their turn is in the journal, so that nobody has it
//! twice, whenever the process ends.

use async_trait::async_trait;

use super::{Change, Idempotency, JournalError, NewIntent};
use crate::domain::{
    bulk::{BulkDeed, BulkId, BulkState, Columns},
    clock::Millis,
    contact::Address,
    id::{EntryId, InstanceId, VendorId},
    message::Content,
};

/// The part of the journal that knows jobs and their recipients.
#[async_trait]
pub trait Bulk: Send + Sync {
    /// Begins to take a job. Until it is kept nobody is sent to, and a start forgets it. `None`:
    /// too many of the vendor's have not ended, and it is none of them.
    async fn open_job(&self, job: NewJob) -> Result<Option<BulkId>, JournalError>;

    /// Adds recipients to a job that is being taken. How many of them it had already.
    async fn add_recipients(
        &self,
        job: BulkId,
        recipients: Vec<NewRecipient>,
    ) -> Result<usize, JournalError>;

    /// Keeps a job that was taken whole; it runs from now on.
    async fn keep_job(
        &self,
        job: BulkId,
        idempotency: Option<Idempotency>,
    ) -> Result<KeptJob, JournalError>;

    /// Forgets a job, some recipients at a time. Whether there is more.
    async fn drop_job(&self, job: BulkId) -> Result<bool, JournalError>;

    /// A vendor's jobs, the newest first.
    async fn jobs(
        &self,
        vendor: &VendorId,
        before: Option<BulkId>,
        limit: usize,
    ) -> Result<Vec<BulkJob>, JournalError>;

    /// One of a vendor's jobs, and how far it is.
    async fn job(
        &self,
        vendor: &VendorId,
        id: BulkId,
    ) -> Result<Option<(BulkJob, BulkProgress)>, JournalError>;

    /// Pauses a job, lets it go on or ends it. Why it is paused may be said.
    async fn change_job(
        &self,
        vendor: &VendorId,
        id: BulkId,
        deed: BulkDeed,
        note: Option<&'static str>,
        now: Millis,
    ) -> Result<BulkChanged, JournalError>;

    /// The jobs that run, the oldest first.
    async fn running_jobs(&self) -> Result<Vec<BulkJob>, JournalError>;

    /// The message of a running job, and the recipients whose turn is next, so many at most. With
    /// none left the job is done.
    async fn next_recipients(
        &self,
        job: BulkId,
        limit: usize,
        now: Millis,
    ) -> Result<Option<(Content, Vec<Recipient>)>, JournalError>;

    /// Makes recipients intents, together with the mark that they are; nothing is done for who has
    /// had their turn, under whichever name, or when the job does not run.
    async fn hand_over(
        &self,
        job: BulkId,
        turns: Vec<(Recipient, NewIntent)>,
    ) -> Result<Handed, JournalError>;

    /// Whether the messages of those who had their turn just before this one, so many, were all
    /// parked or given up. The second number is of those who are looked at: the newest are on their
    /// way still.
    async fn all_fail(
        &self,
        job: BulkId,
        before: &Recipient,
        of_last: (i64, i64),
    ) -> Result<bool, JournalError>;

    /// A job to forget: it ended before this time, has been paused since, or was not taken whole.
    async fn old_job(&self, before: Millis) -> Result<Option<BulkId>, JournalError>;
}

/// A job to take.
#[derive(Clone)]
pub struct NewJob {
    /// Whose.
    pub vendor: VendorId,
    /// From whose number.
    pub instance: InstanceId,
    /// What, with its variables.
    pub content: Content,
    /// Its own pace.
    pub per_minute: Option<u32>,
    /// The caller's own id for it.
    pub key: Option<String>,
    /// When.
    pub now: Millis,
}

/// A recipient of a job that is being taken.
#[derive(Clone)]
pub struct NewRecipient {
    /// Who.
    pub to: Address,
    /// What fills the message's variables.
    pub columns: Columns,
}

/// What [`Bulk::keep_job`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptJob {
    /// It runs.
    New,
    /// It was asked before, as this job.
    Same(BulkId),
    /// Something else was asked under the same key.
    Conflict,
    /// It was forgotten meanwhile.
    Gone,
}

/// A job.
#[derive(Clone, Debug)]
pub struct BulkJob {
    /// Its id.
    pub id: BulkId,
    /// Whose.
    pub vendor: VendorId,
    /// From whose number.
    pub instance: InstanceId,
    /// Where it stands. [`BulkState::Done`]: everybody had their turn; sends may still be on their
    /// way.
    pub state: BulkState,
    /// Why it is paused.
    pub note: Option<String>,
    /// Its own pace.
    pub per_minute: Option<u32>,
    /// Recipients.
    pub n_total: i64,
    /// Recipients that were given again.
    pub n_same: i64,
    /// Recipients who have become intents.
    pub n_made: i64,
    /// Of them, those since it last began to run.
    pub n_made_since: i64,
    /// When it was taken.
    pub made_at: Millis,
    /// When it ended.
    pub ended_at: Option<Millis>,
}

/// How far a job is, in recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkProgress {
    /// They have not had their turn.
    pub n_waiting: i64,
    /// Their message is on its way.
    pub n_on_their_way: i64,
    /// The provider has it.
    pub n_sent: i64,
    /// It was given up.
    pub n_failed: i64,
    /// It waits for a person.
    pub n_parked: i64,
    /// Nobody can tell whether it was sent.
    pub n_unknown: i64,
    /// They were erased before their turn.
    pub n_erased: i64,
}

/// What [`Bulk::change_job`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkChanged {
    /// It is as was asked.
    Is,
    /// It stands where that is not possible.
    Not(BulkState),
    /// The vendor has no such job.
    Unknown,
}

/// A recipient whose turn it is.
#[derive(Clone)]
pub struct Recipient {
    /// Their row.
    pub(super) id: i64,
    /// Who.
    pub to: Address,
    /// What fills the message's variables.
    pub columns: Columns,
}

/// What [`Bulk::hand_over`] did.
#[derive(Debug)]
pub struct Handed {
    /// The intents that recipients became.
    pub made: Vec<EntryId>,
    /// For the scheduler.
    pub changes: Vec<Change>,
}
