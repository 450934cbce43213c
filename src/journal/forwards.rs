//! Events on their way to vendors' own back ends.
//!
//! A row is made in the transaction that keeps what it tells of, so none is missed and none comes
//! twice; the text is not copied into it but read when the event is sent.

use async_trait::async_trait;

use super::JournalError;
use crate::domain::{
    clock::Millis,
    contact::Address,
    event::Event,
    forward::Topic,
    id::{ContactId, EntryId, ForwardId, InstanceId, VendorId},
    message::Content,
};

/// The events that wait for vendors' back ends.
#[async_trait]
pub trait Forwards: Send + Sync {
    /// Waits until events were added, and answers whose.
    async fn forwarded(&self) -> Vec<VendorId>;

    /// Vendors that have events waiting.
    async fn forwarding(&self) -> Result<Vec<VendorId>, JournalError>;

    /// A vendor's waiting event that is due first, or the one after `skips` others, due or not.
    async fn next_forward(
        &self,
        vendor: &VendorId,
        skips: usize,
    ) -> Result<Option<ToForward>, JournalError>;

    /// Keeps what became of an event.
    async fn end_forward(&self, id: ForwardId, end: ForwardEnd) -> Result<(), JournalError>;

    /// Gives up the oldest events of a vendor until so many wait, at most 1,000 at once. Whether
    /// there may be more of them.
    async fn give_up_forwards(
        &self,
        vendor: &VendorId,
        keep: i64,
        why: &'static str,
    ) -> Result<bool, JournalError>;

    /// Gives up what nobody took in time, forgets what was given up long ago, and counts the rest.
    async fn tidy_forwards(&self, now: Millis) -> Result<ForwardsLoad, JournalError>;

    /// How much waits and how much was given up.
    async fn forwards_load(&self) -> Result<ForwardsLoad, JournalError>;

    /// A vendor's events, newest first.
    async fn forwards(
        &self,
        vendor: &VendorId,
        is_dead: bool,
        before: Option<ForwardId>,
        limit: usize,
    ) -> Result<Vec<Forward>, JournalError>;

    /// Lets events that were given up wait again until `expires`, at most 1,000 at once. How many,
    /// and the last of them.
    async fn replay_forwards(
        &self,
        vendor: &VendorId,
        which: Replay,
        expires: Millis,
    ) -> Result<(usize, Option<ForwardId>), JournalError>;

    /// Forgets one of a vendor's events. Whether there was one.
    async fn drop_forward(&self, vendor: &VendorId, id: ForwardId) -> Result<bool, JournalError>;
}

/// An event that waits or was given up.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Its id.
    pub id: ForwardId,
    /// What it tells.
    pub topic: Topic,
    /// The message it speaks of, where it is known.
    pub message: Option<EntryId>,
    /// The status it tells.
    pub status: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// It was given up.
    pub is_dead: bool,
    /// When it may be tried.
    pub due: Millis,
    /// When it is given up.
    pub expires: Millis,
    /// How often it was tried.
    pub tries: u32,
    /// What the last try came to, or why it was given up.
    pub note: Option<String>,
}

/// An event to send.
pub struct ToForward {
    /// Its row.
    pub row: Forward,
    /// What it tells of.
    pub telling: Telling,
}

/// What there is to tell.
pub enum Telling {
    /// This.
    Told(Box<Told>),
    /// Nothing any more: it was erased.
    Erased,
    /// Something that no key opens, or that is damaged.
    Unreadable,
}

/// What an event tells of.
pub struct Told {
    /// The instance.
    pub instance: InstanceId,
    /// The conversation.
    pub contact: Option<ContactId>,
    /// The customer, with all that is known of them.
    pub address: Address,
    /// The message it answers.
    pub origin: Option<EntryId>,
    /// What was kept.
    pub what: Kept,
}

/// What was kept.
pub enum Kept {
    /// Something a provider told.
    Event(Box<Event>),
    /// A message of ours.
    Intent(Box<Content>),
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardEnd {
    /// It is done, or there is nothing to tell any more.
    Gone,
    /// It was tried in vain, and is tried again.
    Again {
        /// When; `None` leaves it in its place.
        due: Option<Millis>,
        /// What the try came to.
        note: String,
    },
    /// It is given up.
    Dead {
        /// Why.
        why: &'static str,
        /// What the last try came to.
        note: Option<String>,
    },
}

/// Which of the events that were given up are replayed.
#[derive(Clone, Debug)]
pub enum Replay {
    /// These.
    Ids(Vec<ForwardId>),
    /// Those with an id above.
    After(ForwardId),
}

/// How much waits and how much was given up.
#[derive(Clone, Debug, Default)]
pub struct ForwardsLoad {
    /// Events that wait.
    pub n_waiting: i64,
    /// Events that were given up and can be replayed.
    pub n_dead: i64,
    /// When the oldest that waits happened.
    pub oldest: Option<Millis>,
    /// Vendors with more than this many waiting or given up.
    pub crowded: Vec<VendorId>,
}
