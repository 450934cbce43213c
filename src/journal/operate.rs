//! What a person may do with single entries, and what the journal tells of itself. Nothing private
//! is in it.

use std::fmt;

use async_trait::async_trait;

use super::{Change, JournalError, Ledger, PartOf};
use crate::domain::{
    clock::{Millis, iso},
    id::{ContactId, EntryId, InstanceId, VendorId},
};

/// Entries that are let go on in one transaction, at most.
pub const RESUMED_AT_ONCE_MAX: usize = 100;

/// The part of the journal that a person operates.
#[async_trait]
pub trait Operate: Send + Sync {
    /// An entry, whatever it is.
    async fn entry(&self, id: EntryId) -> Result<Option<Entry>, JournalError>;

    /// Entries in a state, newest first.
    async fn entries(&self, listing: Listing) -> Result<Vec<Entry>, JournalError>;

    /// Lets entries go on, in one transaction, each at the tail of its lane: at most
    /// [`RESUMED_AT_ONCE_MAX`].
    async fn resume(&self, ids: Vec<EntryId>, resume: Resume) -> Result<Resumed, JournalError>;

    /// Puts a waiting message or intent aside until a person lets it go on.
    async fn put_aside(
        &self,
        id: EntryId,
        now: Millis,
    ) -> Result<Result<Vec<Change>, Refused>, JournalError>;

    /// A vendor's entries after one that a replay is for, oldest first.
    async fn replayable(
        &self,
        vendor: &VendorId,
        after: EntryId,
        which: Replayable,
        limit: usize,
    ) -> Result<Vec<EntryId>, JournalError>;

    /// How large the journal is.
    async fn volume(&self) -> Result<Volume, JournalError>;

    /// The ledger, and the same counted afresh from the entries, both as of one moment. Nobody
    /// else waits for it, however long it takes.
    async fn verify(&self, vendor: Option<&VendorId>) -> Result<(Ledger, Ledger), JournalError>;
}

/// The states by which entries are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Messages and sends that wait or are worked on.
    Waiting,
    /// Sends whose outcome is not known yet.
    Fenced,
    /// What waits for a person.
    Parked,
    /// What was given up.
    Dead,
    /// Sends given up without knowing.
    Unknown,
    /// A vendor's messages that got no answer.
    Unanswered,
    /// Everything that something is still to be done or waited for, signals too.
    Open,
}

impl Listed {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Fenced,
        Self::Parked,
        Self::Dead,
        Self::Unknown,
        Self::Unanswered,
        Self::Open,
    ];

    /// The word it is asked for by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Fenced => "fenced",
            Self::Parked => "parked",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
            Self::Unanswered => "unanswered",
            Self::Open => "open",
        }
    }

    /// The state of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// Which entries are listed.
#[derive(Clone, Debug)]
pub struct Listing {
    /// In this state.
    pub state: Listed,
    /// One vendor's; `None` is everybody's. [`Listed::Unanswered`] needs one.
    pub vendor: Option<VendorId>,
    /// Older than this one.
    pub before: Option<EntryId>,
    /// At most so many.
    pub limit: usize,
}

/// An entry without anything private.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// `message`, `signal`, `send` or `echo`.
    pub kind: &'static str,
    /// Whose.
    pub vendor: VendorId,
    /// The instance.
    pub instance: InstanceId,
    /// Its conversation.
    pub contact: Option<ContactId>,
    /// Where it stands, in one word.
    pub state: &'static str,
    /// Why.
    pub reason: Option<String>,
    /// Something is still to be done or waited for.
    pub is_open: bool,
    /// A responder decided it.
    pub is_automatic: bool,
    /// Requests that left for it.
    pub attempts: u32,
    /// Of a send that waits: not before this time.
    pub due: Option<Millis>,
    /// Of a send: after this it is not sent.
    pub expires: Option<Millis>,
    /// The entry it answers or speaks of.
    pub origin: Option<EntryId>,
    /// Its place in a group.
    pub part: Option<PartOf>,
    /// What happened to it, in order.
    pub steps: Vec<(Millis, String)>,
}

/// How entries are let go on.
#[derive(Clone, Copy, Debug)]
pub struct Resume {
    /// Parked ones only.
    pub only_parked: bool,
    /// Also what the customer may have already.
    pub again: bool,
    /// When.
    pub now: Millis,
    /// After this a reply is not sent any more.
    pub reply_expires: Millis,
    /// After this another send is not sent any more.
    pub send_expires: Millis,
}

/// What [`Operate::resume`] did.
#[derive(Debug, Default)]
pub struct Resumed {
    /// What became of each, in order.
    pub ends: Vec<Result<(), Refused>>,
    /// For the scheduler.
    pub changes: Vec<Change>,
}

/// Why an entry stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is none of this id, or no more.
    NoEntry,
    /// It is neither a message nor a send.
    NotWork,
    /// It waits or is worked on.
    InHand,
    /// The request may have left.
    Leaving,
    /// It is not parked.
    NotParked,
    /// It has ended, or is parked already.
    NotWaiting,
    /// The customer may have it, or its answer.
    MayHaveArrived,
    /// Its conversation is paused until then.
    Paused(Millis),
    /// It came from a group, a broadcast or a channel.
    NotPrivate,
    /// Its customer was erased.
    Erased,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoEntry => "there is no such entry",
            Self::NotWork => "it is neither a message nor a send, and nothing is to be done with it",
            Self::InHand => "it still waits or is being worked on: there is nothing to replay yet",
            Self::Leaving => {
                "its request may have left: wait until its outcome is known, at most some minutes"
            }
            Self::NotParked => "it is not parked; what has ended is replayed, not released",
            Self::NotWaiting => "it does not wait any more",
            Self::MayHaveArrived => {
                "the customer may have it already: to replay it may show it twice; ask for that with \"again\""
            }
            Self::NotPrivate => "it came from a group, a broadcast or a channel, which is never answered",
            Self::Erased => "its customer was erased",
            Self::Paused(until) => {
                return write!(
                    f,
                    "the bot is paused in its conversation until {}; resume that first",
                    iso(*until)
                );
            }
        })
    }
}

/// What a replay of a vendor's entries is for.
#[derive(Clone, Copy, Debug)]
pub struct Replayable {
    /// Messages too: the vendor has its automatic replies on.
    pub messages: bool,
    /// Also what the customer may have already.
    pub again: bool,
}

/// How large the journal is.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    /// Entries, by the ledger.
    pub n_entries: i64,
    /// Entries that were removed because they were old.
    pub n_removed: i64,
    /// When the oldest was committed.
    pub oldest: Option<Millis>,
    /// Signals that wait for their message.
    pub n_signals_open: i64,
    /// Keys by which repetitions are known.
    pub n_keys: i64,
    /// The file, in bytes.
    pub file_bytes: u64,
    /// Of it, free to be used again.
    pub free_bytes: u64,
    /// The write-ahead file beside it.
    pub wal_bytes: u64,
    /// Of this process: transactions that were synced, and writes in them.
    pub n_commits: u64,
    /// Writes in those.
    pub n_writes: u64,
}
