//! What the twin remembers: its sessions, and what was asked of it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    time::Instant,
};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    clock,
    deeds::{Deeds, Heard},
    kinds::Kind,
    misbehaviour::Moods,
    mmg::Files,
    session::{Line, Session},
    wire,
};

/// Sends that are remembered. Beyond it the oldest are forgotten.
const SENDS_MAX: usize = 200_000;

/// Requests that are remembered. Beyond it the oldest are forgotten.
const REQUESTS_MAX: usize = 200_000;

/// The id of the first send, as in the documents' example.
const FIRST_MSG_ID: u64 = 100_000;

/// A send that the twin took. It prints without numbers and text.
#[derive(Clone)]
pub struct Sent {
    /// Wasender's id of the session.
    pub session: u64,
    /// The session's number.
    pub from: String,
    /// The recipient as the caller wrote it.
    pub to: String,
    /// Text or caption; empty when there was none.
    pub text: String,
    /// The request's body as it came.
    pub body: Bytes,
    /// Wasender's own id, which the answer told (`docs/wire/wasender.md` §2.2).
    pub msg_id: u64,
    /// `WhatsApp`'s id, which webhooks tell.
    pub key_id: String,
    /// When it was taken.
    pub at: Instant,
}

impl Sent {
    /// `text`, `image`, `video`, `document`, `audio`, `sticker`, `contact`, `location` or `poll`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        Kind::of(&self.json()).map_or("text", |it| it.name)
    }

    /// The request's body.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("Sent");
        it.field("session", &self.session).field("msg_id", &self.msg_id).finish_non_exhaustive()
    }
}

/// Who a request said it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// It had no bearer token.
    None,
    /// Its bearer token opens nothing.
    Unknown,
    /// The account's personal access token.
    Pat,
    /// The API key of this session.
    Session(u64),
}

/// A request to the twin's API.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    /// In capitals.
    pub method: String,
    /// With `/api`, without the query.
    pub path: String,
    /// What it was answered; none when it was cut, hangs or is still being worked on.
    pub status: Option<u16>,
    /// Whose token it had.
    pub key: Key,
}

/// A send and what became of it.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) sent: Sent,
    pub(super) jid: String,
    pub(super) content: Value,
    pub(super) at_secs: i64,
    /// As in `messages.update`: 0 failed, 1 queued, 2 sent, 3 delivered, 4 read.
    pub(super) status: u8,
    pub(super) failure: Option<String>,
    /// What the logs show of it: nothing, the bare line, or its content too.
    pub(super) logged: Logged,
    /// Whether it can be asked about.
    pub(super) has_info: bool,
    /// For everyone.
    pub(super) deleted: bool,
}

/// How much of a send the message logs have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Logged {
    Not,
    Bare,
    WithContent,
}

/// All that the twin remembers.
#[derive(Default)]
pub(super) struct Book {
    pub(super) lines: BTreeMap<u64, Line>,
    pub(super) lids: Lids,
    pub(super) deeds: Deeds,
    pub(super) heard: Heard,
    pub(super) files: Files,
    keys: HashMap<String, u64>,
    entries: Roll<Entry>,
    requests: Roll<SeenRequest>,
    n_msg_ids: u64,
}

impl Book {
    /// Adds a session, or puts it in the place of the one with its id.
    pub(super) fn add(&mut self, session: Session) {
        self.remove(session.id);
        self.keys.insert(session.api_key.clone(), session.id);
        self.lines.insert(session.id, Line::new(session));
    }

    /// Forgets a session; its key dies with it (`docs/wire/wasender.md` §1.2).
    pub(super) fn remove(&mut self, id: u64) -> bool {
        self.keys.retain(|_, it| *it != id);
        self.lines.remove(&id).is_some()
    }

    /// Gives a session another key; the old one dies.
    pub(super) fn rekey(&mut self, id: u64, key: &str) -> bool {
        let Some(line) = self.lines.get_mut(&id) else { return false };
        self.keys.remove(&line.session.api_key);
        key.clone_into(&mut line.session.api_key);
        self.keys.insert(key.to_owned(), id);
        true
    }

    pub(super) fn session_of_key(&self, key: &str) -> Option<u64> {
        self.keys.get(key).copied()
    }

    /// Wasender's id for the next send: one series for the whole account.
    pub(super) fn next_msg_id(&mut self) -> u64 {
        self.n_msg_ids += 1;
        FIRST_MSG_ID + self.n_msg_ids - 1
    }

    pub(super) fn keep(&mut self, entry: Entry) {
        self.entries.push(entry, SENDS_MAX);
    }

    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.kept.iter()
    }

    /// A send by `WhatsApp`'s id.
    pub(super) fn entry_of_key(&self, session: u64, key_id: &str) -> Option<&Entry> {
        self.entries().rev().find(|it| it.sent.session == session && it.sent.key_id == key_id)
    }

    /// Entries are kept in the order of their ids.
    pub(super) fn entry(&mut self, msg_id: u64) -> Option<&mut Entry> {
        self.entries.get(msg_id.checked_sub(FIRST_MSG_ID)?)
    }

    /// Notes a request, and says under which number its answer is to be noted.
    pub(super) fn saw(&mut self, request: SeenRequest) -> u64 {
        self.requests.push(request, REQUESTS_MAX)
    }

    pub(super) fn answered(&mut self, request: u64, status: u16) {
        if let Some(it) = self.requests.get(request) {
            it.status = Some(status);
        }
    }

    pub(super) fn requests(&self) -> Vec<SeenRequest> {
        self.requests.kept.iter().cloned().collect()
    }
}

impl Entry {
    pub(super) fn new(sent: Sent, jid: String, content: Value) -> Self {
        let (at_secs, failure, logged) = (clock::now_secs(), None, Logged::WithContent);
        Self {
            sent,
            jid,
            content,
            at_secs,
            status: 1,
            failure,
            logged,
            has_info: true,
            deleted: false,
        }
    }

    /// What `GET /messages/{msgId}/info` says (`docs/wire/wasender.md` §2.3).
    pub(super) fn info(&self) -> Value {
        json!({
            "remoteJid": self.jid,
            "id": self.sent.key_id,
            "msgId": self.sent.msg_id,
            "key": { "id": self.sent.key_id, "fromMe": true, "remoteJid": self.jid },
            "message": self.content,
            "messageTimestamp": self.at_secs.to_string(),
            "status": self.status,
        })
    }

    /// Its line in the message logs (`docs/wire/wasender.md` §3).
    pub(super) fn log(&self) -> Value {
        let shown = self.logged == Logged::WithContent;
        let at = clock::iso(self.at_secs);
        json!({
            "id": self.sent.msg_id,
            "whatsapp_session_id": self.sent.session,
            "to": shown.then_some(&self.sent.to),
            "content": shown.then(|| String::from_utf8_lossy(&self.sent.body)),
            "status": self.log_status(),
            "failed_reason": self.failure,
            "created_at": at,
            "updated_at": at,
        })
    }

    pub(super) fn log_status(&self) -> &'static str {
        match self.status {
            0 => "failed",
            1 => "in_progress",
            _ => "sent",
        }
    }
}

/// Which LID is which phone. Both in digits.
#[derive(Default)]
pub(super) struct Lids {
    phones: HashMap<String, String>,
    lids: HashMap<String, String>,
}

impl Lids {
    pub(super) fn know(&mut self, lid: &str, phone: &str) {
        let (lid, phone) = (wire::digits(lid), wire::digits(phone));
        self.phones.insert(lid.clone(), phone.clone());
        self.lids.insert(phone, lid);
    }

    pub(super) fn phone(&self, lid: &str) -> Option<&str> {
        self.phones.get(&wire::digits(lid)).map(String::as_str)
    }

    pub(super) fn lid(&self, phone: &str) -> Option<&str> {
        self.lids.get(&wire::digits(phone)).map(String::as_str)
    }

    /// The LID of a phone, known from now on.
    pub(super) fn lid_or_new(&mut self, phone: &str) -> String {
        if let Some(lid) = self.lid(phone) {
            return lid.to_owned();
        }
        let lid = wire::lid_of(phone);
        self.know(&lid, phone);
        lid
    }
}

/// The latest of a series, numbered from 0.
pub(super) struct Roll<T> {
    pub(super) kept: VecDeque<T>,
    n_forgotten: u64,
}

impl<T> Default for Roll<T> {
    fn default() -> Self {
        Self { kept: VecDeque::new(), n_forgotten: 0 }
    }
}

impl<T> Roll<T> {
    pub(super) fn push(&mut self, item: T, max: usize) -> u64 {
        if self.kept.len() == max {
            self.kept.pop_front();
            self.n_forgotten += 1;
        }
        self.kept.push_back(item);
        self.n_forgotten + self.kept.len() as u64 - 1
    }

    pub(super) fn get(&mut self, number: u64) -> Option<&mut T> {
        let at = number.checked_sub(self.n_forgotten)?;
        self.kept.get_mut(usize::try_from(at).ok()?)
    }
}

impl Logged {
    pub(super) fn of(session: &Session, moods: &Moods) -> Self {
        match (moods.has(&super::Misbehaviour::NotInLogs), session.log_messages) {
            (true, _) => Self::Not,
            (false, true) => Self::WithContent,
            (false, false) => Self::Bare,
        }
    }
}
