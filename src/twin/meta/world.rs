//! What all requests to one simulated Meta share.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    super::{book::Roll, hooks::Hooks, world::Names},
    error::GraphError,
    media::Shelf,
    misbehaviour::Wrongs,
    number::{MetaNumber, NewMetaNumber},
};

/// Phone number ids and account ids of numbers that are not given any begin here.
const FIRST_NUMBER: u64 = 106_540_352_242_922;
const FIRST_WABA: u64 = 102_290_129_340_398;
/// Sends and requests that are remembered. Beyond it the oldest are forgotten.
pub(super) const KEPT_MAX: usize = 200_000;

/// A send that was taken. It prints without numbers and text.
#[derive(Clone)]
pub struct MetaSent {
    /// The phone number id it left from.
    pub number: String,
    /// The recipient as the caller wrote it: a phone number, or a scoped id.
    pub to: String,
    /// The type: `text`, `image`, `interactive`, `template` …
    pub kind: String,
    /// What a customer reads first: text, caption, the body of what is interactive.
    pub text: String,
    /// The request's body as it came.
    pub body: Bytes,
    /// WhatsApp's id, which the answer told.
    pub wamid: String,
    /// When it was taken.
    pub at: Instant,
}

impl MetaSent {
    /// The request's body.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl fmt::Debug for MetaSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("MetaSent");
        it.field("number", &self.number).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A customer's message that was marked as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaRead {
    /// The phone number id.
    pub number: String,
    /// The message.
    pub wamid: String,
    /// Whether the customer is shown that an answer is being written.
    pub is_typing: bool,
}

/// A request to the API.
#[derive(Clone, Debug)]
pub struct MetaRequest {
    /// In capitals.
    pub method: String,
    /// With the version, without the query.
    pub path: String,
    /// What it was answered; none when it was cut, hangs or is still being worked on.
    pub status: Option<u16>,
}

pub(super) struct World {
    pub(super) hooks: Hooks,
    pub(super) n_sends: watch::Sender<usize>,
    pub(super) n_deeds: watch::Sender<usize>,
    address: SocketAddr,
    book: Mutex<Book>,
    names: Names,
}

/// All that is remembered.
#[derive(Default)]
pub(super) struct Book {
    /// By phone number id.
    pub(super) lines: BTreeMap<String, Line>,
    pub(super) wabas: HashMap<String, Waba>,
    pub(super) sends: Roll<MetaSent>,
    pub(super) requests: Roll<MetaRequest>,
    pub(super) reads: Vec<MetaRead>,
    pub(super) shelf: Shelf,
    /// Ids of customers' messages, by the number they came to.
    pub(super) heard: HashSet<(String, String)>,
}

pub(super) struct Line {
    pub(super) number: MetaNumber,
    pub(super) wrongs: Wrongs,
}

/// A WhatsApp Business account.
#[derive(Default)]
pub(super) struct Waba {
    pub(super) is_subscribed: bool,
    pub(super) override_callback: Option<String>,
}

impl World {
    pub(super) fn new(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            hooks: Hooks::new()?,
            n_sends: watch::Sender::new(0),
            n_deeds: watch::Sender::new(0),
            address,
            book: Mutex::default(),
            names: Names::default(),
        })
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Hexadecimal characters, 64 at most.
    pub(super) fn token(&self, n_chars: usize) -> String {
        self.names.token(n_chars)
    }

    pub(super) fn new_wamid(&self) -> String {
        format!("wamid.{}", STANDARD.encode(self.names.token(32)))
    }

    pub(super) fn add_number(&self, new: NewMetaNumber) -> MetaNumber {
        let mut book = self.book();
        let n = book.lines.len() as u64;
        let or_token = |it: Option<String>, n: usize| it.unwrap_or_else(|| self.names.token(n));
        let number = MetaNumber {
            id: new.id.unwrap_or_else(|| (FIRST_NUMBER + n).to_string()),
            waba_id: new.waba_id.unwrap_or_else(|| (FIRST_WABA + n).to_string()),
            phone_number: new.phone_number,
            access_token: or_token(new.access_token, 48),
            app_secret: or_token(new.app_secret, 32),
            verify_token: or_token(new.verify_token, 24),
            callback: None,
            override_callback: None,
            status: "CONNECTED".to_owned(),
            quality_rating: "GREEN".to_owned(),
            throughput: "STANDARD".to_owned(),
            has_other_app: false,
            tells_app: true,
            statuses: new.statuses,
            hooks_after: new.hooks_after,
            retry_after: new.retry_after,
        };
        book.wabas.entry(number.waba_id.clone()).or_default();
        let line = Line { number: number.clone(), wrongs: Wrongs::default() };
        book.lines.insert(number.id.clone(), line);
        number
    }

    pub(super) fn number(&self, id: &str) -> Option<MetaNumber> {
        self.book().lines.get(id).map(|it| it.number.clone())
    }

    /// The number with this id, as far as the token may use it.
    pub(super) fn own(&self, id: &str, token: Option<&str>) -> Result<MetaNumber, GraphError> {
        let book = self.book();
        let token = token.ok_or_else(GraphError::bad_token)?;
        if !book.lines.values().any(|it| it.number.access_token == token) {
            return Err(GraphError::bad_token());
        }
        let line = book.lines.get(id).filter(|it| it.number.access_token == token);
        line.map(|it| it.number.clone()).ok_or_else(|| GraphError::no_such(id))
    }

    /// A number of the account with this id, as far as the token may use it.
    pub(super) fn own_waba(&self, id: &str, token: Option<&str>) -> Result<MetaNumber, GraphError> {
        let of_waba = |book: &Book| {
            let mut lines = book.lines.values();
            lines.find(|it| it.number.waba_id == id).map(|it| it.number.id.clone())
        };
        let number = of_waba(&self.book()).unwrap_or_else(|| id.to_owned());
        self.own(&number, token)
    }

    /// Refuses something that is no send, where it was asked for.
    pub(super) fn may_do(&self, id: &str) -> Result<(), GraphError> {
        let mut book = self.book();
        let code = book.lines.get_mut(id).and_then(|it| it.wrongs.of_deed());
        code.map_or(Ok(()), |it| Err(GraphError::new(it, "It was asked for")))
    }

    pub(super) fn keep_send(&self, sent: MetaSent) {
        self.book().sends.push(sent, KEPT_MAX);
        self.n_sends.send_modify(|it| *it += 1);
    }

    pub(super) fn note_deed(&self, note: impl FnOnce(&mut Book)) {
        note(&mut self.book());
        self.n_deeds.send_modify(|it| *it += 1);
    }
}
