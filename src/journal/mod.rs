//! The durable record of work: events and intents, their lanes, due times and ends.
//!
//! Everything here is one transaction, on disk when the call returns. What it decides for other
//! entries (a status that settles a fenced send, two contacts that turn out to be one) comes back
//! as [`Change`]s for the scheduler.

mod answer;
mod bulk;
mod counters;
pub mod forwards;
mod keep;
pub mod life;
pub mod media;
mod operate;
mod outbox;
mod pause;
mod people;
pub mod read;
mod send;
mod sqlite;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::{
    answer::{MessageEnd, ToAnswer},
    bulk::{
        Bulk, BulkChanged, BulkJob, BulkProgress, Handed, KeptJob, NewJob, NewRecipient, Recipient,
    },
    counters::{Counters, Tally},
    forwards::{
        Forward, ForwardEnd, Forwards, ForwardsLoad, Kept, Replay, Telling, ToForward, Told,
    },
    keep::Keep,
    media::{MediaDue, MediaEnd, MediaJournal, MediaState, NewUpload, StoredMedia},
    operate::{
        Entry, Listed, Listing, Operate, RESUMED_AT_ONCE_MAX, Refused, Replayable, Resume, Resumed,
        Volume,
    },
    outbox::{DocumentEnd, Due, DueDocument, DueDocuments, Outbox, OutboxLoad},
    pause::Pause,
    people::{Conversation, Conversations, EraseFrom, Erased, People, Record, Span},
    read::{Journey, Ledger, MessageRow, Page, PartOf, Turn},
    send::{Begun, QuotedMessage, ToSend, Ways},
    sqlite::SqliteJournal,
    watch::{Backlog, Signs, Watch},
};
use crate::{
    domain::{
        answer::Unanswered,
        clock::Millis,
        contact::Address,
        delivery::{Delivery, Input, Policy, Reason},
        event::Event,
        id::{ContactId, EntryId, InstanceId, VendorId},
        message::{Content, Text},
        route::{ProviderKind, Routes},
        schedule::{Job, Next},
    },
    sqlite::DbError,
};

/// How long a signal waits for the message it speaks of.
pub const ORPHAN_WAIT: Millis = 10 * 60 * 1_000;
/// How long an echo waits for a send in flight before it counts as typed by a human.
pub const ECHO_WAIT: Millis = 10 * 1_000;
/// An echo is ours when the same text was sent to the same contact within this time.
pub const ECHO_WINDOW: Millis = 2 * 60 * 1_000;
/// A body without an id is known again for this long.
pub const RAW_DEDUPE: Millis = 60 * 1_000;
/// An `Idempotency-Key`, and every dedupe key, is known for at least this long.
pub const KEYS_KEPT_DAYS: i64 = 8;

/// The journal could not do it, and nothing of it is kept.
#[derive(Debug, Clone, thiserror::Error)]
#[error("journal")]
pub struct JournalError(#[from] DbError);

impl JournalError {
    /// Whether it is what was stored that is wrong, and not the place where it is.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self.0, DbError::Unreadable(_))
    }
}

/// The durable record of work.
#[async_trait]
pub trait Journal:
    Bulk + Counters + People + Forwards + Outbox + Keep + MediaJournal + Operate + Watch + Send + Sync
{
    /// Keeps the events of one webhook. Duplicates are decided in the same transaction; signals
    /// are applied at once.
    async fn append(&self, batch: NewEvents) -> Result<Appended, JournalError>;

    /// Keeps a decision to send that came from outside.
    async fn submit(&self, intent: NewIntent) -> Result<Submitted, JournalError>;

    /// What [`Self::submit`] was asked before under this key.
    async fn asked_before(
        &self,
        vendor: &VendorId,
        what: &Idempotency,
    ) -> Result<Option<Asked>, JournalError>;

    /// What is needed to answer a message, with the turns before it where they are wanted. `None`:
    /// it has ended, or is none.
    async fn message(
        &self,
        id: EntryId,
        with_history: bool,
    ) -> Result<Option<ToAnswer>, JournalError>;

    /// Ends a message, together with the intents that answer it.
    async fn settle(&self, id: EntryId, end: MessageEnd) -> Result<Vec<Change>, JournalError>;

    /// Marks an attempt as begun. Only when this has returned [`Begun::Go`] may the request leave.
    async fn begin(&self, id: EntryId, ways: Ways, now: Millis) -> Result<Begun, JournalError>;

    /// Tells an intent what happened.
    async fn step(&self, id: EntryId, step: Step, now: Millis) -> Result<Stepped, JournalError>;

    /// What is needed to ask the provider about an intent.
    async fn intent(&self, id: EntryId) -> Result<Option<ToFollow>, JournalError>;

    /// Looks again at a signal that waited for its message.
    async fn recheck(&self, id: EntryId, now: Millis) -> Result<Rechecked, JournalError>;

    /// Adds what was learnt of a contact.
    async fn learn(
        &self,
        instance: &InstanceId,
        contact: ContactId,
        address: Address,
    ) -> Result<Vec<Change>, JournalError>;

    /// Everything unfinished with an id above `after`, oldest first. Attempts that a crash cut off
    /// are fenced before the first page is read.
    async fn waiting(&self, after: EntryId, limit: usize) -> Result<Vec<Change>, JournalError>;

    /// Pauses the bot in a conversation, or lets it go on (`None`).
    async fn pause(&self, contact: ContactId, pause: Option<Pause>) -> Result<(), JournalError>;

    /// A vendor's messages, newest first.
    async fn messages(
        &self,
        vendor: &VendorId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, JournalError>;

    /// All that is known of one of a vendor's messages.
    async fn journey(
        &self,
        vendor: &VendorId,
        id: EntryId,
    ) -> Result<Option<Journey>, JournalError>;

    /// A vendor's line of the ledger; `None` is the sum of all.
    async fn ledger(&self, vendor: Option<&VendorId>) -> Result<Ledger, JournalError>;

    /// The same, counted afresh from the entries.
    async fn count(&self, vendor: Option<&VendorId>) -> Result<Ledger, JournalError>;

    /// A key that equal texts share, white space aside.
    fn text_key(&self, content: &Content) -> i64;

    /// Whether it could keep something now.
    async fn ready(&self) -> Result<(), JournalError>;

    /// Whether a text with this key was sent to a contact, or may yet be, since this time.
    async fn has_said(
        &self,
        contact: ContactId,
        text_key: i64,
        since: Millis,
    ) -> Result<bool, JournalError>;

    /// Messages and intents of an instance that have not ended.
    async fn in_flight(&self, instance: &InstanceId) -> Result<i64, JournalError>;

    /// Notes that the provider has changed a message because we asked it to.
    async fn changed(&self, id: EntryId, change: Changed, now: Millis) -> Result<(), JournalError>;
}

/// What was done to a message that had been sent.
#[derive(Clone, Debug)]
pub enum Changed {
    /// It has another text.
    Edited(Text),
    /// It was taken back from everybody.
    Deleted,
}

/// The events of one webhook.
pub struct NewEvents {
    /// Whose.
    pub vendor: VendorId,
    /// The instance that was proven.
    pub instance: InstanceId,
    /// How long a human on the phone keeps the bot quiet.
    pub silence: Millis,
    /// The vendor's back end gets its events.
    pub forward: bool,
    /// Another linked device of the same phone tells of it all, too.
    pub is_told_twice: bool,
    /// When they came.
    pub now: Millis,
    /// The raw body, by which events without an id are known again.
    pub raw: bytes::Bytes,
    /// The events.
    pub events: Vec<NewEvent>,
}

/// One event, and why it needs no work, if so.
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// For messages: why it will not be answered.
    pub unanswered: Option<Unanswered>,
}

/// What [`Journal::append`] did.
#[derive(Debug, Default)]
pub struct Appended {
    /// One for each event, in order.
    pub entries: Vec<Recorded>,
    /// For the scheduler.
    pub changes: Vec<Change>,
    /// Conversations in which a human took over.
    pub n_humans: usize,
    /// Files that are to be fetched.
    pub n_files: usize,
}

/// One event's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is new.
    New(EntryId),
    /// It was there already, as this entry.
    Duplicate(EntryId),
}

/// A decision to send one message.
#[derive(Clone)]
pub struct NewIntent {
    /// Whose.
    pub vendor: VendorId,
    /// From whose number.
    pub instance: InstanceId,
    /// The conversation; found by `to` when it is not known.
    pub contact: Option<ContactId>,
    /// To whom.
    pub to: Address,
    /// What.
    pub content: Content,
    /// What follows it as one group: a part leaves only when the one before it has been sent.
    pub more: Vec<Content>,
    /// The message it quotes.
    pub reply_to: Option<EntryId>,
    /// The vendor's back end is told what becomes of it.
    pub forward: bool,
    /// Decided by a responder: a human in the conversation stops it.
    pub is_automatic: bool,
    /// The message it answers.
    pub origin: Option<EntryId>,
    /// When it was decided; it may be sent from then on.
    pub now: Millis,
    /// When it shall leave, where that is later.
    pub send_at: Option<Millis>,
    /// The only provider that it may go through.
    pub only: Option<ProviderKind>,
    /// After this it is not sent.
    pub expires: Millis,
    /// What its vendor has chosen.
    pub policy: Policy,
    /// It must wait for a person first.
    pub parked: Option<Reason>,
    /// The caller's own id for it.
    pub idempotency: Option<Idempotency>,
}

/// A caller's own id for a request, so that asking twice sends once.
#[derive(Clone)]
pub struct Idempotency {
    /// The `Idempotency-Key`.
    pub key: String,
    /// What was asked, to tell a repetition from another request under the same key.
    pub request: Vec<u8>,
}

/// What was asked before under an `Idempotency-Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The same, which is kept as this entry.
    Same(EntryId),
    /// Something else.
    Other,
}

/// What [`Journal::submit`] did.
#[derive(Debug)]
pub enum Submitted {
    /// It is kept.
    New(EntryId, Vec<Change>),
    /// It was asked before, as this entry.
    Same(EntryId, Vec<Change>),
    /// Something else was asked under the same key.
    Conflict,
}

/// What happened to an intent, and what was learnt of its ids.
#[derive(Clone, Debug)]
pub struct Step {
    /// What happened.
    pub input: Input,
    /// WhatsApp's id of it, once known.
    pub provider_id: Option<String>,
    /// The provider's own number for it.
    pub ticket: Option<String>,
    /// The ways of its number where they may have changed since it was begun.
    pub routes: Option<Routes>,
}

impl Step {
    /// A step that teaches no ids.
    #[must_use]
    pub fn of(input: Input) -> Self {
        Self { input, provider_id: None, ticket: None, routes: None }
    }
}

/// What the scheduler must do with an entry that was stepped, and with others.
pub struct Stepped {
    /// The entry itself.
    pub next: Next,
    /// Where it stands; `None` when it is not there.
    pub delivery: Option<Delivery>,
    /// Others.
    pub changes: Vec<Change>,
}

/// An intent, and what is needed to ask the provider about it.
pub struct ToFollow {
    /// Whose.
    pub vendor: VendorId,
    /// From whose number.
    pub instance: InstanceId,
    /// To whom.
    pub to: Address,
    /// What.
    pub content: Content,
    /// Where it stands.
    pub delivery: Delivery,
    /// When its attempt began.
    pub begun_at: Option<Millis>,
    /// The provider's own number for it.
    pub ticket: Option<String>,
    /// What is to be done with it, by what is on disk.
    pub next: Next,
}

/// What [`Journal::recheck`] found.
pub struct Rechecked {
    /// The signal itself.
    pub next: Next,
    /// Others.
    pub changes: Vec<Change>,
    /// A human was typing.
    pub is_human: bool,
}

/// Something the scheduler must know.
#[derive(Clone, Debug)]
pub enum Change {
    /// New work.
    New(Job),
    /// Something was decided about work.
    Decided(Job, Next),
    /// Work has another place in its lane than its id says. Comes before the work itself.
    Placed {
        /// The work.
        id: EntryId,
        /// Its place.
        place: EntryId,
    },
    /// Two contacts are one person.
    Merged {
        /// This one is gone.
        from: ContactId,
        /// This one has its lanes.
        into: ContactId,
    },
}

/// A journal, shared.
pub type SharedJournal = Arc<dyn Journal>;
