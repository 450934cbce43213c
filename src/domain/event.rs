//! Something a provider told us, in our words.
//!
//! These types are also the journal's stored form (sealed), which is why they carry `serde`: a
//! second set of the same structs would only be copied to and fro. New fields need a default.

use serde::{Deserialize, Serialize};

use super::{
    clock::Millis,
    contact::Address,
    delivery::{Late, Refusal},
    id::EntryId,
    message::{Content, Text},
    route::ProviderKind,
};

/// One event. A webhook holds none, one or many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// What happened.
    pub what: What,
    /// Where it happened.
    pub chat: Chat,
    /// The customer of a private chat; who wrote, in a group. May be empty.
    pub contact: Address,
    /// What they were known by until now, where the provider tells that they have another number or
    /// id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Address>,
    /// The name the sender shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text>,
    /// The provider's id of the message it is or speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// The provider's own id of the chat, for telling it that a message was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<Text>,
    /// The provider's id of the message that this one quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted: Option<String>,
    /// An edit, deletion or reaction was made from the vendor's number.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_me: bool,
    /// When the provider says it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Millis>,
    /// The send of ours that a status speaks of, where the provider gives back what it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<EntryId>,
    /// Who told it; `None` is Wasender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<ProviderKind>,
}

impl Event {
    /// An event of which nothing else is known.
    #[must_use]
    pub fn new(what: What, chat: Chat, contact: Address) -> Self {
        Self {
            what,
            chat,
            contact,
            former: None,
            name: None,
            provider_id: None,
            chat_id: None,
            quoted: None,
            from_me: false,
            at: None,
            reference: None,
            via: None,
        }
    }
}

/// Kinds of chat. Only private ones are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Chat {
    /// One person.
    Private,
    /// Several people.
    Group,
    /// Status updates and broadcast lists.
    Broadcast,
    /// A channel (newsletter).
    Channel,
    /// The event belongs to no chat, or does not say.
    None,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    /// A customer wrote.
    Message(Content),
    /// A message that left from the vendor's number: ours, or typed on the phone.
    Echo(Content),
    /// A message was changed; `provider_id` is the edit's own id.
    Edit {
        /// The changed message.
        target: String,
        /// Its new text.
        text: Text,
    },
    /// A message was taken back.
    Revoke {
        /// The message.
        target: String,
    },
    /// Somebody reacted to a message; empty text takes the reaction back.
    Reaction {
        /// The message.
        target: String,
        /// The emoji.
        text: Text,
    },
    /// How the votes on a poll stand.
    Votes {
        /// The message with the poll.
        target: String,
        /// Its options with the ids of who chose them.
        results: Vec<Votes>,
    },
    /// How far a message has got.
    Status {
        /// The message.
        target: String,
        /// How far.
        status: Status,
        /// One member of a group, where the receipt is theirs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        participant: Option<Text>,
        /// Why it failed, where the provider says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// A send failed; the provider does not say which.
    SendFailed {
        /// Its words, secrets and numbers removed.
        error: Text,
    },
    /// The state of the vendor's session.
    Connection(Connection),
    /// Anything else, kept as it came.
    Other {
        /// The provider's name of the event.
        name: String,
        /// The body, known secrets masked.
        raw: Text,
    },
}

/// Why a message that a provider had accepted failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The provider's code.
    pub code: String,
    /// What it means.
    pub refusal: Refusal,
}

impl Failure {
    /// What may be done now.
    #[must_use]
    pub fn late(&self) -> Late {
        self.refusal.into()
    }
}

/// Who chose an option of a poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Votes {
    /// The option.
    pub option: Text,
    /// The provider's ids of those who chose it.
    pub voters: Vec<Text>,
}

impl What {
    /// The provider's id of the message it speaks of, where it speaks of another one.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Edit { target, .. }
            | Self::Revoke { target }
            | Self::Reaction { target, .. }
            | Self::Votes { target, .. }
            | Self::Status { target, .. } => Some(target),
            Self::Message(_)
            | Self::Echo(_)
            | Self::SendFailed { .. }
            | Self::Connection(_)
            | Self::Other { .. } => None,
        }
    }
}

/// How far a sent message has got. It only grows, whatever order the provider tells it in: proof
/// that the customer has it outweighs a failure, a failure outweighs being on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Queued at the provider.
    Pending,
    /// On WhatsApp's server.
    Sent,
    /// Failed.
    Failed,
    /// On the customer's device.
    Delivered,
    /// Seen.
    Read,
    /// Voice or film played.
    Played,
}

impl Status {
    /// The status after `self` when the provider now says `next`.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        self.max(next)
    }

    /// The word callers know it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed => "failed",
        }
    }

    /// The number it is stored as.
    #[must_use]
    pub fn code(self) -> i64 {
        self as i64
    }

    /// The status stored as this number.
    #[must_use]
    pub fn of_code(code: i64) -> Option<Self> {
        let all =
            [Self::Pending, Self::Sent, Self::Failed, Self::Delivered, Self::Read, Self::Played];
        all.into_iter().find(|it| it.code() == code)
    }
}

/// The state of a session, in our words (`docs/wire/wasender.md` §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Connection {
    /// May send and receive.
    Connected,
    /// On its way there.
    Pending,
    /// Needs a person: scan a code, confirm a passkey, link again.
    Disconnected,
    /// The provider says that something is wrong.
    Error,
}

impl Connection {
    /// The word callers know it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Pending => "pending",
            Self::Disconnected => "disconnected",
            Self::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Status::{self, Delivered, Failed, Pending, Played, Read, Sent};

    #[test]
    fn events_that_were_stored_before_are_still_read() {
        let old = r#"{"what":{"message":{"type":"contact","vcard":"BEGIN:VCARD"}},"chat":"private",
            "contact":{"phone":"+221705550001"},"providerId":"3EB0","at":5}"#;
        let event: super::Event = serde_json::from_str(old).unwrap();
        assert_eq!((event.quoted.as_ref(), event.from_me), (None, false));
        let super::What::Message(content) = &event.what else { panic!("{event:?}") };
        assert_eq!((content.kind(), content.as_text()), ("contact", ""));
        let plain = super::Event::new(event.what, event.chat, event.contact);
        let text = serde_json::to_string(&plain).unwrap();
        assert!(!text.contains("fromMe") && !text.contains("quoted"), "{text}");
    }

    #[test]
    fn a_status_never_moves_backwards_in_any_order() {
        let all = [Pending, Sent, Failed, Delivered, Read, Played];
        for now in all {
            assert_eq!(Status::of_code(now.code()), Some(now));
            for next in all {
                assert!(now.then(next) >= now);
                assert_eq!(now.then(next), next.then(now));
            }
        }
        assert_eq!(Sent.then(Failed), Failed);
        assert_eq!(Read.then(Failed), Read);
    }
}
