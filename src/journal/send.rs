//! What the journal says before a request leaves.

use super::Stepped;
use crate::domain::{
    clock::Millis,
    contact::Address,
    id::{ContactId, EntryId, InstanceId, VendorId},
    message::Content,
    route::{ProviderKind, ProviderSet, Routes},
};

/// What [`Journal::begin`](super::Journal::begin) says.
pub enum Begun {
    /// The request may leave now.
    Go(Box<ToSend>),
    /// It may not.
    No(Stepped),
}

/// The ways that an intent may go now.
#[derive(Clone, Copy, Debug)]
pub struct Ways {
    /// The providers of its instance, in order.
    pub routes: Routes,
    /// Those that are known to be down.
    pub down: ProviderSet,
    /// When one of these is tried again.
    pub up_at: Millis,
}

impl Ways {
    /// These, none of which is down.
    #[must_use]
    pub fn of(routes: Routes) -> Self {
        Self { routes, down: ProviderSet::NONE, up_at: 0 }
    }
}

/// An intent whose request may leave.
pub struct ToSend {
    /// Whose.
    pub vendor: VendorId,
    /// From whose number.
    pub instance: InstanceId,
    /// In whose conversation.
    pub contact: Option<ContactId>,
    /// To whom.
    pub to: Address,
    /// What.
    pub content: Content,
    /// Through whom.
    pub via: ProviderKind,
    /// When the customer last wrote through them, where that counts.
    pub wrote_at: Option<Millis>,
    /// Their window there is closed, and they wrote last, within a day, another way that it may go.
    pub wrote_elsewhere: bool,
    /// The message it quotes.
    pub quotes: Option<QuotedMessage>,
    /// When the message it answers was accepted, for measuring.
    pub origin: Option<EntryId>,
    /// The attempt, counted from 1.
    pub attempt: u32,
}

/// A message that is quoted.
#[derive(Clone, Debug)]
pub struct QuotedMessage {
    /// WhatsApp's id of it, where it is a customer's.
    pub id: Option<String>,
    /// The provider's own number for it, where we sent it.
    pub ticket: Option<String>,
}
