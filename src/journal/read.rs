//! What the journal shows.

use crate::domain::{
    clock::Millis,
    contact::Address,
    event::Votes,
    id::{ContactId, EntryId, InstanceId},
    message::{Content, Text},
    route::ProviderKind,
};

/// A vendor's messages, newest first.
#[derive(Debug)]
pub struct Page {
    /// The messages.
    pub rows: Vec<MessageRow>,
    /// Where the next page begins, if there is one.
    pub next: Option<EntryId>,
}

/// One message, in or out.
#[derive(Debug)]
pub struct MessageRow {
    /// Its id.
    pub id: EntryId,
    /// The instance.
    pub instance: InstanceId,
    /// Its conversation.
    pub contact: Option<ContactId>,
    /// From the customer.
    pub is_inbound: bool,
    /// Typed on the vendor's phone.
    pub by_human: bool,
    /// The customer.
    pub address: Address,
    /// Their name.
    pub name: Option<Text>,
    /// Its kind.
    pub kind: String,
    /// Its text, as it is by now.
    pub text: Text,
    /// Its content, as it came or was decided.
    pub content: Option<Content>,
    /// The message it quotes, where that is one we know.
    pub quoted: Option<EntryId>,
    /// Its place in a group.
    pub part: Option<PartOf>,
    /// Its text before it was changed.
    pub original: Option<Text>,
    /// It was taken back.
    pub is_deleted: bool,
    /// The latest reaction to it.
    pub reaction: Option<Text>,
    /// Of a poll: how the votes stand.
    pub votes: Vec<Votes>,
    /// Where it stands, in one word.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// The message it answers.
    pub origin: Option<EntryId>,
    /// What the provider says of when it happened.
    pub at: Option<Millis>,
}

/// The place of a message among those that leave one after another.
#[derive(Clone, Copy, Debug)]
pub struct PartOf {
    /// The first of them.
    pub group: EntryId,
    /// Which it is, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// All that is known of one message.
#[derive(Debug)]
pub struct Journey {
    /// The message.
    pub row: MessageRow,
    /// What happened to it, in order.
    pub steps: Vec<(Millis, String)>,
    /// Requests that left for it.
    pub attempts: u32,
    /// The provider that it came by, or that has it; `None`: it was never tried.
    pub via: Option<ProviderKind>,
    /// The messages that answer it.
    pub answers: Vec<MessageRow>,
}

/// One turn of a conversation.
#[derive(Clone, Debug)]
pub struct Turn {
    /// By the customer.
    pub is_user: bool,
    /// What was said.
    pub text: Text,
}

/// Cumulative counts. Events: accepted = waiting + done + parked + dead, duplicates beside.
/// Intents: created = waiting + sent + unknown + parked + dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Events kept.
    pub accepted: i64,
    /// Events that were there already.
    pub duplicates: i64,
    /// Events with work to do.
    pub events_waiting: i64,
    /// Events that have ended.
    pub events_done: i64,
    /// Events that wait for a person.
    pub events_parked: i64,
    /// Events given up.
    pub events_dead: i64,
    /// Intents made.
    pub created: i64,
    /// Intents not ended.
    pub intents_waiting: i64,
    /// Intents sent.
    pub intents_sent: i64,
    /// Intents given up without knowing.
    pub intents_unknown: i64,
    /// Intents that wait for a person.
    pub intents_parked: i64,
    /// Intents given up.
    pub intents_dead: i64,
}

impl Ledger {
    /// Whether both lines add up.
    #[must_use]
    pub fn balances(&self) -> bool {
        let events = self.events_waiting + self.events_done + self.events_parked + self.events_dead;
        let intents = self.intents_waiting
            + self.intents_sent
            + self.intents_unknown
            + self.intents_parked
            + self.intents_dead;
        self.accepted == events && self.created == intents
    }
}
