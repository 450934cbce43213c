//! What all requests to one twin share.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::watch;

use super::form::Form;
use crate::twin::{faults::Faults, hooks::Hooks, port};

/// Something the twin does that a good provider would not. Those that shape the answer to a send
/// are worked off one per send; the others apply side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TwilioFault {
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
    /// A send is taken and answered 201 with half a JSON body.
    Garbled,
    /// A send is refused with this code: 20429, 20003, 21610, 63016 …
    Refuse {
        /// The HTTP status.
        status: u16,
        /// Twilio's.
        code: u32,
    },
    /// A send is taken, and its status becomes `undelivered` with this code.
    FailsLater(u32),
    /// The status callbacks of a send come before its answer.
    EarlyStatus,
    /// `delivered` comes before `sent`.
    OutOfOrder,
    /// A send has no status callbacks.
    NoStatuses,
    /// Every webhook comes twice.
    DuplicateHooks,
    /// Webhooks are signed with another token.
    WrongSignature,
    /// Messages cannot be asked about.
    NotListed,
    /// The messaging service sends from another of its numbers.
    FromAnother,
}

/// An account with one WhatsApp number. It prints without its token and number.
#[derive(Clone)]
pub struct TwilioNumber {
    /// `AC…`
    pub account_sid: String,
    /// What calls are authenticated with, and webhooks signed.
    pub auth_token: String,
    /// `+14155238886`
    pub phone_number: String,
    /// `XE…`, of the number as a sender.
    pub sender_sid: String,
    /// `MG…`, which sends from the number too.
    pub messaging_service_sid: String,
    /// Where customers' messages go.
    pub webhook_url: Option<String>,
    /// `active`, `suspended` or `closed`.
    pub status: String,
    /// Of the sender: `ONLINE`, `OFFLINE` …
    pub sender_status: String,
    /// Whether the Senders API knows the number. That of the sandbox it does not.
    pub is_sender: bool,
}

impl fmt::Debug for TwilioNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwilioNumber").field("status", &self.status).finish_non_exhaustive()
    }
}

/// A send that the twin took. It prints without numbers and text.
#[derive(Clone)]
pub struct TwilioSent {
    /// Whose.
    pub account_sid: String,
    /// `SM…` or `MM…`
    pub sid: String,
    /// The recipient as the caller wrote it, like `whatsapp:+221705555555`.
    pub to: String,
    /// The sender's number.
    pub from: String,
    /// Text or caption; empty when there was none.
    pub text: String,
    /// The request's parameters.
    pub form: Form,
    /// The file, fetched from `MediaUrl` as Twilio does, with its type.
    pub file: Option<(String, Bytes)>,
    /// When it was taken.
    pub at: Instant,
}

impl fmt::Debug for TwilioSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwilioSent").field("sid", &self.sid).finish_non_exhaustive()
    }
}

/// A request to the twin's API.
#[derive(Clone, Debug)]
pub struct TwilioRequest {
    /// In capitals.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// What it was answered; none while it is being worked on, or cut.
    pub status: Option<u16>,
}

pub(super) struct World {
    pub(super) hooks: Hooks,
    pub(super) n_sends: watch::Sender<usize>,
    address: SocketAddr,
    book: Mutex<Book>,
    n_made: AtomicU64,
}

/// All that the twin remembers.
#[derive(Default)]
pub(super) struct Book {
    pub(super) lines: BTreeMap<String, Line>,
    pub(super) entries: Vec<Entry>,
    pub(super) typings: Vec<String>,
    pub(super) requests: Vec<TwilioRequest>,
    /// By its path: whose, its type, its bytes.
    pub(super) files: BTreeMap<String, (String, String, Bytes)>,
}

pub(super) struct Line {
    pub(super) number: TwilioNumber,
    pub(super) faults: Faults<TwilioFault>,
}

/// A send and what became of it.
pub(super) struct Entry {
    pub(super) sent: TwilioSent,
    pub(super) status: &'static str,
    pub(super) code: Option<u32>,
    /// Whether it can be asked about.
    pub(super) is_listed: bool,
    /// Seconds since the Unix epoch.
    pub(super) at_secs: i64,
}

impl World {
    pub(super) fn new(address: SocketAddr) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            hooks: Hooks::new()?,
            n_sends: watch::Sender::new(0),
            address,
            book: Mutex::default(),
            n_made: AtomicU64::new(0),
        }))
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A new id: two letters and 32 hexadecimal characters.
    pub(super) fn sid(&self, prefix: &str) -> String {
        let n = self.n_made.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}{}", port::token(&self.origin(), n, 32))
    }

    pub(super) fn add_number(&self, phone_number: &str) -> TwilioNumber {
        let number = TwilioNumber {
            account_sid: self.sid("AC"),
            auth_token: self.sid(""),
            phone_number: phone_number.to_owned(),
            sender_sid: self.sid("XE"),
            messaging_service_sid: self.sid("MG"),
            webhook_url: None,
            status: "active".to_owned(),
            sender_status: "ONLINE".to_owned(),
            is_sender: true,
        };
        let line = Line { number: number.clone(), faults: Faults::default() };
        self.book().lines.insert(number.account_sid.clone(), line);
        number
    }

    /// Keeps a customer's file and answers its address.
    pub(super) fn keep_file(
        &self,
        account: &str,
        sid: &str,
        mime_type: &str,
        file: Bytes,
    ) -> String {
        let media = self.sid("ME");
        let path = format!("/2010-04-01/Accounts/{account}/Messages/{sid}/Media/{media}");
        let file = (account.to_owned(), mime_type.to_owned(), file);
        self.book().files.insert(path.clone(), file);
        format!("{}{path}", self.origin())
    }

    /// Notes how far a send has got.
    pub(super) fn progress(&self, sid: &str, status: &'static str, code: Option<u32>) {
        if let Some(it) = self.book().entries.iter_mut().find(|it| it.sent.sid == sid) {
            (it.status, it.code) = (status, code);
        }
    }
}
