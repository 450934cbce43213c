//! Who writes the answer. A responder answers one message; trying the next one, time budgets and
//! sending are the gateway's.

mod bot;
mod circuits;
mod conversation;
mod response_api;
mod rules;
mod sign;

use async_trait::async_trait;

pub use self::{
    circuits::Circuits,
    response_api::{Means, ResponseApiResponder, read_answer},
    rules::RulesResponder,
    sign::SigningKey,
};
use crate::domain::{
    clock::Millis,
    id::{ContactId, EntryId, InstanceId, VendorId},
    message::{Choice, Content, Text},
    phone::PhoneNumber,
};

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
    /// The instance they wrote to.
    pub instance: InstanceId,
    /// Their conversation.
    pub conversation: ContactId,
    /// The customer's number, where it is known.
    pub from: Option<PhoneNumber>,
    /// The name they show.
    pub name: Option<Text>,
    /// What they sent.
    pub content: Content,
    /// The option it chooses, where the message before it offered some.
    pub option: Option<Choice>,
    /// The event: the same however often it is asked about.
    pub id: EntryId,
    /// When they wrote it.
    pub at: Millis,
    /// The turns before it, oldest first: by the customer or not, and what was said.
    pub history: Vec<(bool, Text)>,
    /// The vendor is open now.
    pub is_open: bool,
}

impl Question {
    /// What they mean: the title of the option they chose, else what they wrote.
    #[must_use]
    pub fn text(&self) -> &str {
        self.option.as_ref().map_or_else(|| self.content.as_text(), |it| &it.title.0)
    }
}

/// What a responder decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Send this.
    Reply(Reply),
    /// Say nothing; nobody else is asked.
    Silence,
    /// This responder has nothing to say; the next one may.
    Pass,
}

/// A reply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// What to send, in order, as one group; empty when only a human is asked for.
    pub contents: Vec<Content>,
    /// The bot steps back: a human takes the conversation over.
    pub requires_human: bool,
    /// The bot's word for what the customer wants: at most [`INTENT_CHARS_MAX`] of `a-z0-9_.-`.
    pub intent: Option<String>,
}

/// The longest word for what a customer wants, in characters.
pub const INTENT_CHARS_MAX: usize = 64;

impl Reply {
    /// A reply of plain text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { contents: vec![Content::text(text)], ..Self::default() }
    }
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
    /// Its answer is of the documented form, and cannot be sent.
    #[error("the responder's answer cannot be sent: {0}")]
    Unusable(&'static str),
    /// It says itself that it failed.
    #[error("the responder says that it failed")]
    Failed,
    /// It has failed too often and is left alone for a while; it was not asked.
    #[error("the responder failed too often and is not asked for a while")]
    CircuitOpen,
    /// Its configuration is unusable.
    #[error("the responder is not configured properly: {0}")]
    Misconfigured(&'static str),
}

impl ResponderError {
    /// Whether it says something of the service, and not only of the message it was asked about.
    #[must_use]
    pub fn is_of_service(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Failed => true,
            Self::Status(status) => *status >= 500 || matches!(status, 401 | 403 | 404 | 408 | 429),
            Self::Garbled | Self::Unusable(_) | Self::CircuitOpen | Self::Misconfigured(_) => false,
        }
    }

    /// The word it is counted as.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit_open",
            Self::Misconfigured(_) => "misconfigured",
            Self::Unreachable(_)
            | Self::Status(_)
            | Self::Garbled
            | Self::Unusable(_)
            | Self::Failed => "failed",
        }
    }
}
