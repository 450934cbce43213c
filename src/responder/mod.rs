//! Who writes the answer. A responder answers one message; trying the next one, time budgets and
//! sending are the gateway's.

mod response_api;
mod rules;
mod sign;

use async_trait::async_trait;

pub use self::{response_api::ResponseApiResponder, rules::RulesResponder, sign::SigningKey};
use crate::domain::{clock::Millis, id::EntryId, id::VendorId, message::Text, phone::PhoneNumber};

/// One way to answer.
#[async_trait]
pub trait Responder: Send + Sync {
    /// Answers one message, or is silent about it.
    async fn answer(&self, question: &Question) -> Result<Answer, ResponderError>;
}

/// A customer's message, as a responder gets it.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whose customer.
    pub vendor: VendorId,
    /// The customer's number, where it is known.
    pub from: Option<PhoneNumber>,
    /// The name they show.
    pub name: Option<Text>,
    /// What they wrote.
    pub text: Text,
    /// Its kind, like `text` or `image`.
    pub kind: String,
    /// The event: the same however often it is asked about.
    pub id: EntryId,
    /// When they wrote it.
    pub at: Millis,
    /// The turns before it, oldest first: by the customer or not, and what was said.
    pub history: Vec<(bool, Text)>,
}

/// What a responder decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send this.
    Reply(Reply),
    /// Say nothing; nobody else is asked.
    Silence,
    /// This responder has nothing to say; the next one may.
    Pass,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its text; empty when only a human is asked for.
    pub text: Text,
    /// The bot steps back: a human takes the conversation over.
    pub requires_human: bool,
}

/// No answer came. None of these holds anything private.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponderError {
    /// The address cannot be reached, or may not be.
    #[error("the responder could not be reached: {0}")]
    Unreachable(crate::http::HttpError),
    /// It answered with this status.
    #[error("the responder answered with status {0}")]
    Status(u16),
    /// Its answer is not of the documented form.
    #[error("the responder's answer is not of the documented form")]
    Garbled,
    /// Its configuration is unusable.
    #[error("the responder is not configured properly: {0}")]
    Misconfigured(&'static str),
}
