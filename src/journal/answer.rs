//! What the gateway needs to answer a message, and how a message ends.

use super::{NewIntent, Pause, Turn};
use crate::domain::{
    answer::Unanswered,
    clock::Millis,
    contact::Address,
    event::Event,
    id::{ContactId, InstanceId, VendorId},
    message::Choice,
};

/// A message, and what is needed to answer it.
pub struct ToAnswer {
    /// Whose.
    pub vendor: VendorId,
    /// The instance it came to.
    pub instance: InstanceId,
    /// Its conversation.
    pub contact: ContactId,
    /// The customer, with all that is known of them.
    pub address: Address,
    /// The message.
    pub event: Event,
    /// Until when the conversation is paused.
    pub paused_until: Option<Millis>,
    /// The latest turns before it, oldest first.
    pub history: Vec<Turn>,
    /// Nobody on the vendor's side has ever said anything in it.
    pub is_new: bool,
    /// The latest automatic answers: when, and a key that equal texts share. Newest first. The
    /// messages of one answer are one; its key is that of its last message.
    pub answers: Vec<(Millis, i64)>,
    /// The option it chooses, where the message before it offered some.
    pub chosen: Option<Choice>,
    /// A person wants it answered, however old it is.
    pub is_replayed: bool,
}

/// How a message ends.
pub struct MessageEnd {
    /// The answers.
    pub intents: Vec<NewIntent>,
    /// Why there are none.
    pub unanswered: Option<Unanswered>,
    /// The conversation is paused.
    pub pause: Option<Pause>,
    /// The responder's word for what the customer wants, noted in the message's journey.
    pub intent: Option<String>,
    /// When.
    pub now: Millis,
}
