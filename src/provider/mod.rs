//! The services that carry messages. A provider translates between its wire and our words, and
//! nothing else: storing, answering, retrying and logging are the gateway's, the same for all.

pub mod wasender;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use self::wasender::Wasender;
use crate::domain::{
    clock::Millis,
    contact::Lid,
    delivery::Outcome,
    event::{Connection, Event, Status},
    message::{Content, Text},
    phone::PhoneNumber,
    schedule::Limit,
    secret::SecretString,
    split::TextLimits,
    waba::{ProviderKind, WabaInstance},
    webhook::{Proof, Verified, Webhook},
};

/// A service that carries messages.
#[async_trait]
pub trait Provider: Send + Sync {
    /// How this instance's webhooks may prove themselves now.
    fn proofs<'a>(&self, instance: &'a WabaInstance, now: Millis) -> Vec<Proof<'a>>;

    /// Puts a webhook into our words. What we have no words for is kept raw, `secrets` masked.
    fn parse(
        &self,
        hook: &Webhook<Verified>,
        secrets: &[&SecretString],
    ) -> Result<Parsed, Unreadable>;

    /// How fast this instance may send.
    fn limit(&self, instance: &WabaInstance) -> Limit;

    /// How long texts may be; longer ones are sent in parts.
    fn text_limits(&self) -> TextLimits;

    /// Whether it could send such content, as far as can be told before it is kept.
    fn check(&self, content: &Content) -> Result<(), Unsendable>;

    /// Sends one message, once.
    async fn send(&self, instance: &WabaInstance, message: &Outgoing<'_>) -> Attempt;

    /// Takes a file that is to be sent. Answers where the provider has it; the error is what an
    /// attempt to send it comes to, which is never unknown: nothing has been sent.
    async fn upload(&self, instance: &WabaInstance, file: Upload) -> Result<String, Attempt>;

    /// Asks what became of a message.
    async fn ask(&self, instance: &WabaInstance, question: &Question<'_>) -> Found;

    /// The phone number behind a hidden id, where the provider tells it.
    async fn phone_of(
        &self,
        instance: &WabaInstance,
        lid: &Lid,
    ) -> Result<Option<PhoneNumber>, NoAnswer>;

    /// The state of the instance's session now.
    async fn connection(&self, instance: &WabaInstance) -> Option<Connection>;

    /// Gives the message with this number of the provider's another text.
    async fn edit(
        &self,
        instance: &WabaInstance,
        ticket: &str,
        text: &Text,
    ) -> Result<(), ChangeFault>;

    /// Takes the message with this number of the provider's back from everybody.
    async fn delete(&self, instance: &WabaInstance, ticket: &str) -> Result<(), ChangeFault>;

    /// Shows a customer that their message was read.
    async fn mark_read(
        &self,
        instance: &WabaInstance,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer>;

    /// Shows a customer that an answer is being written.
    async fn typing(&self, instance: &WabaInstance, to: &PhoneNumber) -> Result<(), NoAnswer>;
}

/// A message as a provider is to send it.
pub struct Outgoing<'a> {
    /// To whom.
    pub to: &'a PhoneNumber,
    /// What.
    pub content: &'a Content,
    /// The provider's own number of the message it quotes.
    pub quotes: Option<&'a str>,
    /// Where the provider finds the content's file, instead of the address in the content.
    pub file: Option<&'a str>,
}

/// A file for the provider.
pub struct Upload {
    /// Its type.
    pub mime_type: String,
    /// Its length, in bytes.
    pub n_bytes: u64,
    /// Its bytes.
    pub pieces: BoxStream<'static, std::io::Result<Bytes>>,
}

/// Content that the provider cannot send: the field, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsendable(pub String);

/// A customer's message, as the provider knows it.
pub struct Received<'a> {
    /// WhatsApp's id of it.
    pub id: &'a str,
    /// The provider's own id of the chat.
    pub chat: &'a str,
}

/// A message that was sent could not be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeFault {
    /// The instance has no key of its own.
    #[error("the instance has no session key")]
    NoSessionKey,
    /// The provider says no: too late, for one.
    #[error("the provider refuses to change the message; it allows that for a short time only")]
    Refused,
    /// The provider is away, or wants no more requests now. Nobody knows whether it was changed.
    #[error("the provider does not answer")]
    NoAnswer,
}

/// A webhook in our words.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The instance id that the body names.
    pub instance: Option<String>,
    /// Its events.
    pub events: Vec<Event>,
}

/// A proven webhook that is not of the provider's form. It does not quote it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("not of the provider's form at line {line}, column {column}")]
pub struct Unreadable {
    /// Where, from 1.
    pub line: usize,
    /// Where, from 1.
    pub column: usize,
}

/// What one attempt to send came to.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Sent, refused or unknown.
    pub outcome: Outcome,
    /// WhatsApp's id of the message, where the answer tells it.
    pub provider_id: Option<String>,
    /// The provider's own number for it.
    pub ticket: Option<String>,
    /// The provider wants nothing from this instance before then.
    pub blocked_until: Option<Millis>,
    /// A word for the log and the metrics.
    pub word: &'static str,
}

impl Attempt {
    /// An attempt that taught nothing but its outcome.
    #[must_use]
    pub fn of(outcome: Outcome, word: &'static str) -> Self {
        Self { outcome, provider_id: None, ticket: None, blocked_until: None, word }
    }
}

/// What is asked about a message.
pub struct Question<'a> {
    /// To whom it was sent.
    pub to: &'a PhoneNumber,
    /// What was sent.
    pub content: &'a Content,
    /// When its request left, or may have.
    pub begun_at: Millis,
    /// The provider's own number for it, once known.
    pub ticket: Option<&'a str>,
}

/// What the provider says of a message.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// How far it has got; `None` when the provider could not say.
    pub status: Option<Status>,
    /// WhatsApp's id of it.
    pub provider_id: Option<String>,
    /// The provider's own number for it.
    pub ticket: Option<String>,
}

/// The provider could not be asked; it may know later.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the provider does not answer")]
pub struct NoAnswer;

/// The providers of this process.
#[derive(Clone)]
pub struct Providers {
    wasender: Arc<Wasender>,
}

impl Providers {
    /// The list.
    #[must_use]
    pub fn new(wasender: Wasender) -> Self {
        Self { wasender: Arc::new(wasender) }
    }

    /// The provider of this kind.
    #[must_use]
    pub fn of(&self, kind: ProviderKind) -> &dyn Provider {
        match kind {
            ProviderKind::Wasender => self.wasender.as_ref(),
        }
    }

    /// Wasender, for setting up what only it has.
    #[must_use]
    pub fn wasender(&self) -> &Wasender {
        &self.wasender
    }
}
