//! What all requests to one twin share.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    account::{Generation, Line, UnipileNumber},
    hooks::UnipileHook,
};
use crate::twin::{Customer, clock, faults::Faults, hooks::Hooks, port, wire};

/// A file in a message. It prints without its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct UnipileFile {
    /// Its type.
    pub mime_type: String,
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: Bytes,
}

impl fmt::Debug for UnipileFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnipileFile({} bytes)", self.bytes.len())
    }
}

/// A send that the twin took. It prints without numbers and text.
#[derive(Clone)]
pub struct UnipileSent {
    /// Whose.
    pub account_id: String,
    /// Unipile's id of it.
    pub message_id: String,
    /// Unipile's id of the chat.
    pub chat_id: String,
    /// WhatsApp's id of the customer, like `221705555555@s.whatsapp.net`.
    pub to: String,
    /// The account's number.
    pub from: String,
    /// Text or caption; empty when there was none.
    pub text: String,
    /// Unipile's id of the message that it quotes.
    pub quotes: Option<String>,
    /// Its files.
    pub files: Vec<UnipileFile>,
    /// When it was taken.
    pub at: Instant,
}

impl fmt::Debug for UnipileSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("UnipileSent");
        it.field("message_id", &self.message_id).finish_non_exhaustive()
    }
}

/// A request to the twin's API.
#[derive(Clone, Debug)]
pub struct UnipileRequest {
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
    pub(super) chats: Vec<Chat>,
    pub(super) messages: Vec<Message>,
    pub(super) hooks: Vec<UnipileHook>,
    pub(super) shown: Vec<(&'static str, String)>,
    pub(super) requests: Vec<UnipileRequest>,
}

/// A private chat.
#[derive(Clone)]
pub(super) struct Chat {
    pub(super) id: String,
    pub(super) account_id: String,
    /// WhatsApp's id of the customer: by phone or by LID.
    pub(super) jid: String,
    /// The customer's phone number, where it is known.
    pub(super) phone: Option<String>,
    pub(super) name: Option<String>,
}

/// A message in a chat, whoever wrote it.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are states, each on its own")]
pub(super) struct Message {
    pub(super) sent: UnipileSent,
    /// WhatsApp's id of it.
    pub(super) key_id: String,
    pub(super) by_api: bool,
    /// It left from the account's number.
    pub(super) is_own: bool,
    pub(super) is_listed: bool,
    pub(super) is_delivered: bool,
    pub(super) is_seen: bool,
    /// Milliseconds since the Unix epoch.
    pub(super) at_ms: i64,
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

    /// A new id after this prefix.
    pub(super) fn id(&self, prefix: &str) -> String {
        let n = self.n_made.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}{}", port::token(&self.address.to_string(), n, 22))
    }

    pub(super) fn add_number(&self, phone_number: &str, generation: Generation) -> UnipileNumber {
        let prefix = if generation == Generation::V1 { "" } else { "acc_" };
        let number = UnipileNumber {
            account_id: self.id(prefix),
            api_key: self.id("key."),
            phone_number: phone_number.to_owned(),
            status: "OK".to_owned(),
            generation,
        };
        let line = Line { number: number.clone(), faults: Faults::default() };
        self.book().lines.insert(number.account_id.clone(), line);
        number
    }

    /// The chat with a customer; an existing one is used again.
    pub(super) fn chat(&self, account_id: &str, customer: &Customer) -> Chat {
        let jid = match (&customer.lid, &customer.phone) {
            (Some(lid), _) => wire::lid_jid(lid),
            (None, Some(phone)) => wire::phone_jid(phone),
            (None, None) => String::new(),
        };
        let id = self.id("");
        let mut book = self.book();
        let found = book.chats.iter_mut().find(|it| it.account_id == account_id && it.jid == jid);
        if let Some(chat) = found {
            chat.name = customer.name.clone().or(chat.name.take());
            return chat.clone();
        }
        let (phone, name) = (customer.phone.clone(), customer.name.clone());
        let chat = Chat { id, account_id: account_id.to_owned(), jid, phone, name };
        book.chats.push(chat.clone());
        chat
    }

    /// A message in a chat, remembered from now on.
    pub(super) fn keep(
        &self,
        number: &UnipileNumber,
        chat: &Chat,
        text: &str,
        files: Vec<UnipileFile>,
        change: impl FnOnce(&mut Message),
    ) -> Message {
        let sent = UnipileSent {
            account_id: number.account_id.clone(),
            message_id: self.id(""),
            chat_id: chat.id.clone(),
            to: chat.jid.clone(),
            from: number.phone_number.clone(),
            text: text.to_owned(),
            quotes: None,
            files,
            at: Instant::now(),
        };
        let mut message = Message {
            sent,
            key_id: self.id("3EB0").to_uppercase(),
            by_api: false,
            is_own: false,
            is_listed: true,
            is_delivered: false,
            is_seen: false,
            at_ms: clock::now_ms(),
        };
        change(&mut message);
        self.book().messages.push(message.clone());
        if message.by_api {
            self.n_sends.send_modify(|it| *it += 1);
        }
        message
    }
}

impl Book {
    pub(super) fn message(&mut self, id: &str) -> Option<&mut Message> {
        self.messages.iter_mut().find(|it| it.sent.message_id == id)
    }
}
