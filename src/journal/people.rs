//! Conversations: listed, read, exported, erased.

use async_trait::async_trait;

use super::{Change, JournalError, MessageRow, Page};
use crate::domain::{
    clock::Millis,
    contact::Address,
    event::Event,
    id::{ContactId, EntryId, InstanceId, VendorId},
    message::Text,
    route::ProviderKind,
};

/// The part of the journal that knows whom a vendor talks to. A conversation of another vendor is
/// as one that does not exist.
#[async_trait]
pub trait People {
    /// A vendor's conversations by their latest message, newest first. A page may be short, or
    /// empty, although there are more.
    async fn conversations(
        &self,
        vendor: &VendorId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Conversations, JournalError>;

    /// One conversation.
    async fn conversation(
        &self,
        vendor: &VendorId,
        contact: ContactId,
    ) -> Result<Option<Conversation>, JournalError>;

    /// When the customer of this address last wrote through this provider, where that counts.
    async fn wrote_at(
        &self,
        instance: &InstanceId,
        address: &Address,
        via: ProviderKind,
    ) -> Result<Option<Millis>, JournalError>;

    /// By which way the customer of this address wrote last, where that was within a day.
    async fn wrote_by(
        &self,
        instance: &InstanceId,
        address: &Address,
        now: Millis,
    ) -> Result<Option<ProviderKind>, JournalError>;

    /// The messages of a conversation.
    async fn messages_of(
        &self,
        vendor: &VendorId,
        contact: ContactId,
        span: Span,
    ) -> Result<Page, JournalError>;

    /// Everything that is kept of a conversation, oldest first.
    async fn records(
        &self,
        vendor: &VendorId,
        contact: ContactId,
        after: EntryId,
        limit: usize,
    ) -> Result<Vec<Record>, JournalError>;

    /// Erases a part of what is kept of a customer: at most `limit` entries, and two more at the
    /// end. It goes on where the part before it has ended, or anew. From the first part on whatever
    /// comes from them is a new conversation.
    async fn erase(
        &self,
        vendor: &VendorId,
        contact: ContactId,
        (from, limit): (Option<EraseFrom>, usize),
        now: Millis,
    ) -> Result<Erased, JournalError>;
}

/// Some of a vendor's conversations.
#[derive(Debug, Default)]
pub struct Conversations {
    /// The conversations.
    pub rows: Vec<Conversation>,
    /// Where the next page begins, if there is one.
    pub next: Option<EntryId>,
}

/// A conversation with one customer.
#[derive(Debug)]
pub struct Conversation {
    /// Its id.
    pub id: ContactId,
    /// With which of the vendor's numbers.
    pub instance: InstanceId,
    /// All names the customer is known by.
    pub address: Address,
    /// The name they show.
    pub name: Option<Text>,
    /// Until when the bot is quiet.
    pub paused_until: Option<Millis>,
    /// Why.
    pub pause_reason: Option<String>,
    /// The latest message.
    pub last: Option<MessageRow>,
}

/// Which messages of a conversation, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Where the last page ended.
    pub cursor: Option<EntryId>,
    /// At most so many.
    pub limit: usize,
    /// The oldest first.
    pub is_ascending: bool,
}

/// One entry of a conversation.
#[derive(Debug)]
pub struct Record {
    /// The entry.
    pub row: MessageRow,
    /// What happened to it, in order.
    pub steps: Vec<(Millis, String)>,
    /// Requests that left for it.
    pub attempts: u32,
    /// It is no message but tells something of one.
    pub signal: Option<Box<Event>>,
}

/// What [`People::erase`] did.
#[derive(Debug, Default)]
pub struct Erased {
    /// The vendor has no such conversation.
    pub is_unknown: bool,
    /// Where it goes on; `None` when nothing is left.
    pub next: Option<EraseFrom>,
    /// For the scheduler.
    pub changes: Vec<Change>,
}

/// How far a conversation is erased, of what was said in it and of what was told about that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EraseFrom {
    /// Where it ended when this was begun.
    pub ends: [EntryId; 2],
    /// The next to be erased, from the ends backwards.
    pub next: [Option<EntryId>; 2],
}
