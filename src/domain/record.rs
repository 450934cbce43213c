//! What an application is told of messages, as documents in a store that is its own too: when each
//! is written, so that a message costs two writes at most however many statuses it gets.
//!
//! A message that came in is written once. One that goes out waits up to a minute for something
//! worth telling, and is written once more when there is more to tell; the journal has the rest.

use super::{
    clock::{HOUR, MINUTE, Millis},
    contact::Address,
    delivery::{Delivery, State},
    event::Status,
    id::{ContactId, EntryId, InstanceId, VendorId},
    message::Text,
    phone::PhoneNumber,
};

/// How often the document of one message is written.
pub const WRITES_MAX: u8 = 2;
/// A message that goes out is written after this time, wherever it stands by then.
pub const FIRST_WITHIN: Millis = MINUTE;
/// When it is known to have been delivered, it may be read within this time, and costs one write
/// less.
const READ_WITHIN: Millis = MINUTE;
/// The same for one that was written as queued and has left: what is delivered at all mostly is
/// within this time.
const DELIVERED_WITHIN: Millis = HOUR;

/// Where a message stands, as the application's documents have it. A document only moves up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It has not left, or nobody knows yet.
    Queued,
    /// Given up without knowing whether it arrived.
    Unknown,
    /// The provider has it.
    Sent,
    /// Given up, or refused later.
    Failed,
    /// The customer has it.
    Delivered,
    /// They have read it, or played it.
    Read,
    /// It came from the customer.
    Received,
}

impl Standing {
    const ALL: [Self; 7] = [
        Self::Queued,
        Self::Unknown,
        Self::Sent,
        Self::Failed,
        Self::Delivered,
        Self::Read,
        Self::Received,
    ];

    /// Where a message of ours stands.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Self {
        match delivery.state {
            State::Waiting { .. } | State::Begun | State::Fenced { .. } | State::Parked(_) => {
                Self::Queued
            }
            State::Unknown => Self::Unknown,
            State::Accepted { .. } => Self::Sent,
            State::Sent => Self::heard(delivery.status),
            State::Dead(_) => Self::Failed,
        }
    }

    /// Where a message stands that has left.
    #[must_use]
    pub fn heard(status: Option<Status>) -> Self {
        match status {
            None | Some(Status::Pending | Status::Sent) => Self::Sent,
            Some(Status::Failed) => Self::Failed,
            Some(Status::Delivered) => Self::Delivered,
            Some(Status::Read | Status::Played) => Self::Read,
        }
    }

    /// The word in the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Unknown => "unknown",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Received => "received",
        }
    }

    /// The number it is stored as.
    #[must_use]
    pub fn code(self) -> i64 {
        self as i64
    }

    /// The standing of this number.
    #[must_use]
    pub fn of_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.code() == code)
    }
}

/// How long after it has come to stand so a message is written that was written so often, if that
/// is news; `None`: not for that.
#[must_use]
pub fn wait(n_written: u8, is: Standing) -> Option<Millis> {
    match (n_written, is) {
        (WRITES_MAX.., _)
        | (_, Standing::Queued | Standing::Received)
        // The time of the first write is set already.
        | (0, Standing::Sent | Standing::Unknown) => None,
        // What failed may be sent again by a person or prove to have arrived, so it waits for
        // nothing and ends nothing.
        (_, Standing::Failed | Standing::Read) | (0, Standing::Delivered) => Some(0),
        (_, Standing::Sent | Standing::Unknown) => Some(DELIVERED_WITHIN),
        (_, Standing::Delivered) => Some(READ_WITHIN),
    }
}

/// Whether a document that says this is never written again.
#[must_use]
pub fn is_final(n_written: u8, said: Standing) -> bool {
    n_written >= WRITES_MAX || matches!(said, Standing::Read | Standing::Received)
}

/// Something to be written, about one entry of the journal.
#[derive(Clone, Debug)]
pub enum Record {
    /// A message, in place of what is there of ours.
    Message(Box<MessageRecord>),
    /// The same, unless something is there.
    NewMessage(Box<MessageRecord>),
    /// How far a message has got that was written before, if it is still there.
    Standing(Standing),
    /// A customer needs a person: a ticket and a notification, once.
    Escalation(Box<Escalation>),
    /// A message goes.
    EraseMessage,
    /// What tells of the customer in ticket and notification goes.
    EraseEscalation,
}

/// A message.
#[derive(Clone, Debug)]
pub struct MessageRecord {
    /// Whose.
    pub vendor: VendorId,
    /// To or from which of the vendor's numbers.
    pub instance: InstanceId,
    /// That number; `None` when it is not known.
    pub own: Option<PhoneNumber>,
    /// The customer.
    pub customer: Address,
    /// From the customer.
    pub is_inbound: bool,
    /// Typed on the vendor's phone.
    pub by_human: bool,
    /// In a group.
    pub is_group: bool,
    /// What it says.
    pub text: Text,
    /// Its kind.
    pub kind: String,
    /// `WhatsApp`'s id of it, or ours.
    pub message_id: String,
    /// When it was written, as the provider says.
    pub at: Millis,
    /// When we got it, or decided to send it.
    pub created_at: Millis,
    /// Where it stands.
    pub standing: Standing,
}

/// A customer needs a person.
#[derive(Clone, Debug)]
pub struct Escalation {
    /// Whose.
    pub vendor: VendorId,
    /// Who it is.
    pub customer: Address,
    /// The name they show.
    pub name: Option<Text>,
    /// What they wrote.
    pub text: Text,
    /// Its kind.
    pub kind: String,
    /// Their conversation.
    pub conversation: Option<ContactId>,
    /// `WhatsApp`'s id of what they wrote, or ours.
    pub message_id: String,
    /// When.
    pub at: Millis,
}

/// What is to be written of which entry.
#[derive(Clone, Debug)]
pub struct Document {
    /// The entry; its id is the document's.
    pub id: EntryId,
    /// What.
    pub record: Record,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there.
    Done,
    /// Not now.
    NotNow,
    /// Not as it is: the store says so, in a word.
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_standing_has_a_number_and_a_word() {
        let words: std::collections::BTreeSet<_> =
            Standing::ALL.iter().map(|it| it.as_str()).collect();
        assert_eq!(words.len(), Standing::ALL.len());
        for it in Standing::ALL {
            assert_eq!(Standing::of_code(it.code()), Some(it));
        }
        assert_eq!(Standing::of_code(-1), None);
    }

    #[test]
    fn after_two_writes_nothing_is_written() {
        for is in Standing::ALL {
            assert_eq!(wait(WRITES_MAX, is), None);
            assert!(is_final(WRITES_MAX, is));
        }
    }

    #[test]
    fn statuses_order_as_they_do_in_the_journal() {
        use Status::{Delivered, Failed, Pending, Played, Read, Sent};
        let all = [Pending, Sent, Failed, Delivered, Read, Played];
        for pair in all.windows(2) {
            assert!(Standing::heard(Some(pair[0])) <= Standing::heard(Some(pair[1])));
        }
    }
}
