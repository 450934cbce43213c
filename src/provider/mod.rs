//! The services that carry messages. A provider translates between its wire and our words, and
//! nothing else: storing, answering, retrying and logging are the gateway's, the same for all.

mod bearer;
mod files;
mod hooks;
mod masked;
pub mod meta;
pub(crate) mod plain;
mod raw;
mod refused;
pub mod twilio;
pub mod unipile;
pub mod wasender;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use reqwest::StatusCode;

pub use self::{
    files::{FileWay, OpenedFile},
    hooks::{HookFault, HookSet, Hooks, NewHook},
    meta::Meta,
    refused::OF_COUNTRY,
    twilio::Twilio,
    unipile::Unipile,
    wasender::Wasender,
};
use crate::domain::{
    clock::Millis,
    contact::{Address, Lid},
    delivery::{Outcome, Reason, Refusal},
    event::{Connection, Event, Failure, Status},
    id::EntryId,
    message::{Content, Media, Text},
    phone::PhoneNumber,
    schedule::Limit,
    secret::SecretString,
    split::TextLimits,
    waba::{InstanceKey, ProviderKind, WabaInstance},
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

    /// How a file that we keep gets there.
    fn file_way(&self) -> FileWay {
        FileWay::Upload
    }

    /// Sends one message with its file, once. Only of providers whose way is
    /// [`FileWay::Attached`].
    async fn send_with(
        &self,
        instance: &WabaInstance,
        message: &Outgoing<'_>,
        _file: Upload,
    ) -> Attempt {
        self.send(instance, message).await
    }

    /// The length of the largest file of ours of this type that it takes, in bytes; `None`: it takes
    /// none of this type.
    fn file_bytes_max(&self, _mime_type: &str) -> Option<u64> {
        Some(u64::MAX)
    }

    /// Takes a file that is to be sent. Answers where the provider has it; the error is what an
    /// attempt to send it comes to, which is never unknown: nothing has been sent.
    async fn upload(&self, _instance: &WabaInstance, _file: Upload) -> Result<String, Attempt> {
        let refusal = Refusal::FailOver(Reason::Unsupported);
        Err(Attempt::of(Outcome::Refused(refusal), "no_files"))
    }

    /// Opens a file that a customer sent, where the provider has it.
    async fn open(&self, _instance: &WabaInstance, _file: &Media) -> Result<OpenedFile, OpenFault> {
        Err(OpenFault::Gone)
    }

    /// Asks what became of a message.
    async fn ask(&self, instance: &WabaInstance, question: &Question<'_>) -> Found;

    /// The phone number behind a hidden id, where the provider tells it.
    async fn phone_of(
        &self,
        _instance: &WabaInstance,
        _lid: &Lid,
    ) -> Result<Option<PhoneNumber>, NoAnswer> {
        Ok(None)
    }

    /// How the instance is at the provider now.
    async fn health(&self, instance: &WabaInstance) -> Result<Health, NoAnswer>;

    /// Gives the message with this number of the provider's another text.
    async fn edit(
        &self,
        _instance: &WabaInstance,
        _ticket: &str,
        _text: &Text,
    ) -> Result<(), ChangeFault> {
        Err(ChangeFault::NotThere)
    }

    /// Takes the message with this number of the provider's back from everybody.
    async fn delete(&self, _instance: &WabaInstance, _ticket: &str) -> Result<(), ChangeFault> {
        Err(ChangeFault::NotThere)
    }

    /// Shows a customer that their message was read.
    async fn mark_read(
        &self,
        instance: &WabaInstance,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer>;

    /// Shows a customer that an answer to this message is being written.
    async fn typing(
        &self,
        instance: &WabaInstance,
        to: &Address,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer>;
}

/// A message as a provider is to send it.
pub struct Outgoing<'a> {
    /// Our own id of it.
    pub id: EntryId,
    /// To whom: what is known of them. What it cannot reach it refuses with [`Reason::NoPhone`].
    pub to: &'a Address,
    /// What.
    pub content: &'a Content,
    /// The message it quotes, or reacts to.
    pub quotes: Option<Quoted<'a>>,
    /// Where the provider finds the content's file, instead of the address in the content.
    pub file: Option<&'a str>,
}

/// A message that is quoted, as the provider knows it.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a> {
    /// WhatsApp's id of it.
    pub id: Option<&'a str>,
    /// The provider's own number for it.
    pub ticket: Option<&'a str>,
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
#[derive(Clone, Copy)]
pub struct Received<'a> {
    /// WhatsApp's id of it; empty where nobody knows.
    pub id: &'a str,
    /// The provider's own id of the chat; empty where it has none.
    pub chat: &'a str,
}

/// A customer's file cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenFault {
    /// Nobody has it any more.
    #[error("the provider does not have the file")]
    Gone,
    /// It is somewhere that we do not go.
    #[error("the file is at an address that may not be reached")]
    Forbidden,
    /// Perhaps later.
    #[error("the provider does not answer")]
    NoAnswer,
}

/// How an instance is at a provider.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Its state, where the provider tells one.
    pub connection: Option<Connection>,
    /// Its number there.
    pub phone_number: Option<PhoneNumber>,
    /// What else the provider says of it, in its words: name and value.
    pub details: Vec<(&'static str, String)>,
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
    /// The provider cannot change what was sent.
    #[error("the provider cannot change what was sent")]
    NotThere,
    /// The provider is away, or wants no more requests now. Nobody knows whether it was changed.
    #[error("the provider does not answer")]
    NoAnswer,
}

/// A webhook in our words.
#[derive(Debug, Default)]
pub struct Parsed {
    /// What is of one number each.
    pub parts: Vec<Part>,
}

/// What a webhook says of one number.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// The number that the body names; without one it is that of the secret.
    pub names: Option<InstanceKey>,
    /// The account at Meta that it is about, where it is about none of its numbers alone.
    pub account: Option<String>,
    /// The messaging service at Twilio that it came to, which has numbers of its own.
    pub service: Option<String>,
    /// Its events.
    pub events: Vec<Event>,
    /// What the provider warns of: the number still sends, and may soon do so no more.
    pub warning: Option<&'static str>,
}

impl Parsed {
    /// Of the number whose secret proved it.
    #[must_use]
    pub fn of(events: Vec<Event>) -> Self {
        Self { parts: vec![Part { events, ..Part::default() }] }
    }
}

/// Updates of one webhook: Meta puts up to 1,000 into one (`docs/wire/meta-unipile-twilio.md` A3).
/// A body with more is kept as it came, for who put it together could make us work for minutes.
pub(crate) const UPDATES_MAX: usize = 2_000;

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
    pub to: &'a Address,
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
    /// Why it failed, where it did and the provider says why.
    pub failure: Option<Failure>,
    /// WhatsApp's id of it.
    pub provider_id: Option<String>,
    /// The provider's own number for it.
    pub ticket: Option<String>,
}

/// The provider could not be asked; it may know later.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the provider does not answer")]
pub struct NoAnswer;

/// Whether an answer with this status may be to a message that was sent: something behind who
/// answers broke, nobody knows when. 503 is said before anything is done.
pub(crate) fn is_ambiguous(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE
}

/// The providers of this process.
#[derive(Clone)]
pub struct Providers {
    wasender: Arc<Wasender>,
    meta: Arc<Meta>,
    unipile: Arc<Unipile>,
    twilio: Arc<Twilio>,
}

impl Providers {
    /// The list.
    #[must_use]
    pub fn new(wasender: Wasender, meta: Meta, unipile: Unipile, twilio: Twilio) -> Self {
        Self {
            wasender: Arc::new(wasender),
            meta: Arc::new(meta),
            unipile: Arc::new(unipile),
            twilio: Arc::new(twilio),
        }
    }

    /// The provider of this kind.
    #[must_use]
    pub fn of(&self, kind: ProviderKind) -> &dyn Provider {
        match kind {
            ProviderKind::Wasender => self.wasender.as_ref(),
            ProviderKind::Meta => self.meta.as_ref(),
            ProviderKind::Unipile => self.unipile.as_ref(),
            ProviderKind::Twilio => self.twilio.as_ref(),
        }
    }

    /// What sets webhooks up at this provider.
    #[must_use]
    pub fn hooks_of(&self, kind: ProviderKind) -> Option<&dyn Hooks> {
        match kind {
            ProviderKind::Wasender => None,
            ProviderKind::Meta => Some(self.meta.as_ref()),
            ProviderKind::Unipile => Some(self.unipile.as_ref()),
            ProviderKind::Twilio => Some(self.twilio.as_ref()),
        }
    }

    /// Meta, for asking which number has an id.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Wasender, for setting up what only it has.
    #[must_use]
    pub fn wasender(&self) -> &Wasender {
        &self.wasender
    }
}
