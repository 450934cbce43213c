//! What all requests to one twin share.

use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{
    book::{Book, Entry, Key, Logged, Sent},
    deeds::{Deeds, Upload},
    follow::Passage,
    hooks::Hooks,
    misbehaviour::Misbehaviour,
    order::Order,
    session::{NewSession, Session},
    wire,
};

/// Called with the text of every send that was taken, before it is answered.
pub type OnSend = Box<dyn Fn(&str) + Send + Sync>;

/// The id of the first session that is not given one.
const FIRST_SESSION: u64 = 1_001;

/// What is kept of the sends and requests.
pub(super) enum Keeping {
    All,
    /// Only how many sends there were.
    Count(Option<OnSend>),
}

pub(super) struct World {
    /// The account's personal access token.
    pub(super) pat: String,
    pub(super) hooks: Hooks,
    /// How many sends were taken.
    pub(super) n_sends: watch::Sender<usize>,
    /// How many deeds were noted.
    pub(super) n_deeds: watch::Sender<usize>,
    address: SocketAddr,
    keeping: Keeping,
    book: Mutex<Book>,
    names: Names,
}

impl World {
    pub(super) fn new(keeping: Keeping, address: SocketAddr) -> anyhow::Result<Arc<Self>> {
        let names = Names::default();
        Ok(Arc::new(Self {
            pat: format!("1|{}", names.token(48)),
            hooks: Hooks::new()?,
            n_sends: watch::Sender::new(0),
            n_deeds: watch::Sender::new(0),
            address,
            keeping,
            book: Mutex::default(),
            names,
        }))
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it counts only.
    pub(super) fn counts(&self) -> bool {
        matches!(self.keeping, Keeping::Count(_))
    }

    /// Adds a session, with a name, a key and a secret of our own where it has none.
    pub(super) fn add_session(&self, new: NewSession) -> Session {
        let mut book = self.book();
        let last = book.lines.last_key_value().map_or(0, |it| *it.0);
        let id = new.id.unwrap_or_else(|| FIRST_SESSION.max(last + 1));
        let session = Session {
            id,
            name: format!("Session {id}"),
            phone_number: new.phone_number,
            api_key: new.api_key.unwrap_or_else(|| self.names.token(64)),
            webhook_secret: new.webhook_secret.unwrap_or_else(|| self.names.token(32)),
            status: new.status,
            dialect: new.dialect,
            webhook_url: None,
            webhook_enabled: false,
            webhook_events: Vec::new(),
            account_protection: new.account_protection,
            log_messages: new.log_messages,
            statuses: new.statuses,
            echoes: new.echoes,
            paced: new.paced,
            hooks_after: new.hooks_after,
        };
        book.add(session.clone());
        session
    }

    pub(super) fn session(&self, id: u64) -> Option<Session> {
        self.book().lines.get(&id).map(|it| it.session.clone())
    }

    /// Whose token this is.
    pub(super) fn key(&self, bearer: Option<&str>) -> Key {
        match bearer {
            None => Key::None,
            Some(token) if token == self.pat => Key::Pat,
            Some(token) => self.book().session_of_key(token).map_or(Key::Unknown, Key::Session),
        }
    }

    /// A new session key.
    pub(super) fn new_key(&self) -> String {
        self.names.token(64)
    }

    /// The raw text of a QR code (`docs/wire/wasender.md` §3.3).
    pub(super) fn new_qr(&self) -> String {
        format!("2@{}", self.names.token(64))
    }

    /// A `key.id` as `WhatsApp` makes them.
    pub(super) fn new_key_id(&self) -> String {
        self.names.key_id()
    }

    /// The key of a file.
    pub(super) fn new_media_key(&self) -> [u8; 32] {
        Sha256::digest(self.names.token(64)).into()
    }

    /// The name of an uploaded file, as `8-4-4-4-12` hexadecimal characters.
    pub(super) fn new_uuid(&self) -> String {
        let mut name = self.names.token(32);
        for at in [20, 16, 12, 8] {
            name.insert(at, '-');
        }
        name
    }

    /// Where files are: `http://127.0.0.1:PORT`.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Notes what was done beside sends, unless it counts only.
    pub(super) fn note_deed(&self, note: impl FnOnce(&mut Deeds)) {
        if !self.counts() {
            note(&mut self.book().deeds);
            self.n_deeds.send_modify(|it| *it += 1);
        }
    }

    /// An upload is kept in any case: a send will ask for it.
    pub(super) fn keep_upload(&self, upload: Upload) {
        self.book().deeds.uploads.keep(upload);
        self.n_deeds.send_modify(|it| *it += 1);
    }

    /// Takes a send. None: the session is gone.
    pub(super) fn accept(&self, session: u64, order: Order, body: Bytes) -> Option<Passage> {
        let now = Instant::now();
        if let Keeping::Count(Some(on_send)) = &self.keeping {
            on_send(&order.text);
        }
        let passage = {
            let mut book = self.book();
            let Book { lines, lids, .. } = &mut *book;
            let line = lines.get_mut(&session)?;
            line.pace.take(now);
            let (session, moods) = (line.session.clone(), line.misbehaviours.after_send());
            let phone = order.jid.strip_suffix("@s.whatsapp.net");
            let jid = match phone {
                Some(phone) if moods.has(&Misbehaviour::LidOnly) => {
                    wire::lid_jid(&lids.lid_or_new(phone))
                }
                _ => order.jid,
            };
            let (msg_id, key_id) = (book.next_msg_id(), self.names.key_id());
            let (text, content) = (order.text, order.content);
            let passage = Passage { session, moods, msg_id, key_id, jid, text, content };
            if !self.counts() {
                book.keep(entry(&passage, order.to, body, now));
            }
            passage
        };
        self.n_sends.send_modify(|it| *it += 1);
        Some(passage)
    }

    /// Moves a send on; a status never goes back.
    pub(super) fn progress(&self, msg_id: u64, status: u8) {
        if let Some(it) = self.book().entry(msg_id) {
            it.status = it.status.max(status);
        }
    }

    /// Ends a send.
    pub(super) fn fail(&self, msg_id: u64, reason: &str) {
        if let Some(it) = self.book().entry(msg_id) {
            (it.status, it.failure) = (0, Some(reason.to_owned()));
        }
    }
}

fn entry(passage: &Passage, to: String, body: Bytes, at: Instant) -> Entry {
    let session = &passage.session;
    let sent = Sent {
        session: session.id,
        from: session.phone_number.clone(),
        to,
        text: passage.text.clone(),
        body,
        msg_id: passage.msg_id,
        key_id: passage.key_id.clone(),
        at,
    };
    let mut entry = Entry::new(sent, passage.jid.clone(), passage.content.clone());
    entry.logged = Logged::of(session, &passage.moods);
    entry.has_info = !passage.moods.has(&Misbehaviour::NoInfo);
    entry
}

/// Makes keys and ids that no other twin makes.
#[derive(Default)]
pub(super) struct Names {
    seed: RandomState,
    n_made: AtomicU64,
}

impl Names {
    /// This many hexadecimal characters, 64 at most.
    pub(super) fn token(&self, n_chars: usize) -> String {
        let n = self.n_made.fetch_add(1, Ordering::Relaxed);
        let seed = [self.seed.hash_one(n), n].map(u64::to_be_bytes).concat();
        let mut token = hex::encode(Sha256::digest(seed));
        token.truncate(n_chars);
        token
    }

    /// The number in it makes it one of its own here, the hash among all twins.
    fn key_id(&self) -> String {
        let n = self.n_made.fetch_add(1, Ordering::Relaxed);
        let hash = self.seed.hash_one(n) >> 32;
        format!("3EB0{n:08X}{hash:08X}")
    }
}
