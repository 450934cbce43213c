//! Linked accounts, and what they can get wrong.

use std::{fmt, time::Duration};

use crate::twin::faults::Faults;

/// Of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// `https://apiN.unipile.com:PORT/api/v1`
    V1,
    /// `https://api.unipile.com/v2`
    V2,
}

/// Something the twin does that a good provider would not. Those that shape the answer to a send
/// are worked off one per send; the others apply side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnipileFault {
    /// A send is answered this much later.
    Slow(Duration),
    /// The connection of a send is closed without an answer.
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
    /// A send is refused with this status and word, like `errors/disconnected_account`.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// The `type` of the error.
        slug: &'static str,
    },
    /// A send is answered 504 `errors/request_timeout`.
    TimesOut {
        /// Whether the message was taken first.
        accepted: bool,
    },
    /// A send is taken and answered 201 with half a JSON body.
    Garbled,
    /// A send is taken and answered without an id of the message.
    NullId,
    /// The webhooks of a send come before its answer.
    EarlyEcho,
    /// A send is not told to `message_received`.
    NoEcho,
    /// A send has neither `message_delivered` nor `message_read`.
    NoReceipts,
    /// Lists of messages are behind: they do not have the send.
    NotListed,
    /// Every webhook comes twice.
    DuplicateHooks,
    /// Webhooks carry another secret.
    WrongSecret,
    /// The customer's phone is `hidden`.
    HiddenPhone,
}

/// A linked account. It prints without its key and number.
#[derive(Clone)]
pub struct UnipileNumber {
    /// Its id.
    pub account_id: String,
    /// What calls are authenticated with.
    pub api_key: String,
    /// In international format.
    pub phone_number: String,
    /// `OK`, `CREDENTIALS`, `ERROR`, `STOPPED`, `CONNECTING`; only `OK` sends.
    pub status: String,
    /// Of the API that it belongs to.
    pub generation: Generation,
}

impl fmt::Debug for UnipileNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnipileNumber").field("status", &self.status).finish_non_exhaustive()
    }
}

/// An account with its faults.
pub(super) struct Line {
    pub(super) number: UnipileNumber,
    pub(super) faults: Faults<UnipileFault>,
}

/// What goes wrong with one send, and its webhooks.
#[derive(Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches, each on its own")]
pub(super) struct Moods {
    pub(super) is_early: bool,
    pub(super) has_no_echo: bool,
    pub(super) has_no_receipts: bool,
    pub(super) is_unlisted: bool,
    pub(super) is_twice: bool,
    pub(super) is_forged: bool,
    pub(super) is_hidden: bool,
}

impl Moods {
    pub(super) fn of_send(line: &mut Line) -> Self {
        let hook = Self::of_hook(line);
        let mut has = |fault: UnipileFault| line.faults.take(|it| *it == fault).is_some();
        Self {
            is_early: has(UnipileFault::EarlyEcho),
            has_no_echo: has(UnipileFault::NoEcho),
            has_no_receipts: has(UnipileFault::NoReceipts),
            is_unlisted: has(UnipileFault::NotListed),
            ..hook
        }
    }

    pub(super) fn of_hook(line: &mut Line) -> Self {
        let mut has = |fault: UnipileFault| line.faults.take(|it| *it == fault).is_some();
        Self {
            is_twice: has(UnipileFault::DuplicateHooks),
            is_forged: has(UnipileFault::WrongSecret),
            is_hidden: has(UnipileFault::HiddenPhone),
            ..Self::default()
        }
    }
}
