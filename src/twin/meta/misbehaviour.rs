//! What a number at the simulated Meta can be told to get wrong.

use std::time::Duration;

use super::super::misbehaviour::Misbehaviours;

/// Something that Meta does and a caller must live with. Those that shape the answer to a send are
/// worked off one per send, in the order in which they were asked for; all others apply side by
/// side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaMisbehaviour {
    /// A send is answered this much later, and its statuses come that much later too.
    Slow(Duration),
    /// The connection of a send is closed without an answer. When `accepted`, the message is on
    /// its way and its statuses flow.
    Cut {
        /// Whether the message was taken first.
        accepted: bool,
    },
    /// A send is answered with this status and a proxy's page.
    Fail {
        /// The HTTP status.
        status: u16,
        /// Whether the message was taken first.
        accepted: bool,
    },
    /// A send is never answered; the connection stays open.
    Hang {
        /// Whether the message was taken first.
        accepted: bool,
    },
    /// A send is taken and answered 200 with half a JSON body.
    Garbled,
    /// A send is refused with this code of Graph's (`docs/wire/meta-unipile-twilio.md` B4, B5).
    Refuse(u32),
    /// A send is taken and answered well, and a `failed` status with this code follows (B3).
    FailsLater(u32),
    /// The statuses of a send come before its answer.
    EarlyStatuses,
    /// All statuses of a send come in one webhook.
    BatchedStatuses,
    /// *Read* comes before *sent* and *delivered* (A5).
    StatusesOutOfOrder,
    /// A send has no status.
    NoStatuses,
    /// Every webhook comes twice (A8: duplicates are normal).
    DuplicateHooks,
    /// Webhooks end in the middle of their body. The signature fits what is left.
    TruncatedHooks,
    /// Webhooks are signed with another secret.
    WrongSignature,
    /// Webhooks are signed as if nothing in them were escaped (A2).
    SignedUnescaped,
    /// The address of a file is not good any more when it is used (C: after five minutes).
    UrlExpired,
    /// What is downloaded is not what was announced.
    WrongBytes,
    /// A download breaks off in the middle.
    CutDownload,
    /// Whatever is no send is refused with this code.
    DeedFails(u32),
}

impl MetaMisbehaviour {
    fn shapes_the_answer(&self) -> bool {
        matches!(
            self,
            Self::Cut { .. }
                | Self::Fail { .. }
                | Self::Hang { .. }
                | Self::Garbled
                | Self::Refuse(_)
        )
    }

    fn follows_a_send(&self) -> bool {
        matches!(
            self,
            Self::FailsLater(_)
                | Self::EarlyStatuses
                | Self::BatchedStatuses
                | Self::StatusesOutOfOrder
                | Self::NoStatuses
        )
    }

    fn touches_webhooks(&self) -> bool {
        matches!(
            self,
            Self::DuplicateHooks
                | Self::TruncatedHooks
                | Self::WrongSignature
                | Self::SignedUnescaped
        )
    }
}

pub(super) type Wrongs = Misbehaviours<MetaMisbehaviour>;
pub(super) type Moods = super::super::misbehaviour::Moods<MetaMisbehaviour>;

impl Wrongs {
    /// How the next send is to be answered, if not well.
    pub(super) fn of_answer(&mut self) -> Option<MetaMisbehaviour> {
        self.take(MetaMisbehaviour::shapes_the_answer)
    }

    /// How much later the next send is answered.
    pub(super) fn lateness(&mut self) -> Duration {
        match self.take(|it| matches!(it, MetaMisbehaviour::Slow(_))) {
            Some(MetaMisbehaviour::Slow(late)) => late,
            _ => Duration::ZERO,
        }
    }

    /// The code that something which is no send is refused with.
    pub(super) fn of_deed(&mut self) -> Option<u32> {
        match self.take(|it| matches!(it, MetaMisbehaviour::DeedFails(_))) {
            Some(MetaMisbehaviour::DeedFails(code)) => Some(code),
            _ => None,
        }
    }

    /// What goes wrong after a send that was taken.
    pub(super) fn behind_send(&mut self) -> Moods {
        self.moods(|it| it.follows_a_send() || it.touches_webhooks())
    }

    /// What goes wrong with a webhook that follows no send.
    pub(super) fn of_hook(&mut self) -> Moods {
        self.moods(MetaMisbehaviour::touches_webhooks)
    }
}

impl Moods {
    /// The code that the send fails with after it was taken.
    pub(super) fn late_code(&self) -> Option<u32> {
        self.find(|it| match it {
            MetaMisbehaviour::FailsLater(code) => Some(*code),
            _ => None,
        })
    }
}
