//! What was done beside sends, as tests see it.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::Value;

use super::{wasender::Twin, wire};

/// Of each sort that are remembered. Beyond it the oldest are forgotten.
const DEEDS_MAX: usize = 100_000;

/// Of uploads that are remembered, in bytes together. Beyond it the oldest are gone.
const UPLOAD_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Customers' messages whose keys are remembered. Beyond it the oldest are forgotten.
const HEARD_MAX: usize = 100_000;

/// A send whose text was changed. It prints without the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Edit {
    /// Wasender's id of the session.
    pub session: u64,
    /// Wasender's own id of the send.
    pub msg_id: u64,
    /// The text from then on.
    pub text: String,
    /// When.
    pub at: Instant,
}

/// A send that was deleted for everyone, or sent again after it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// Wasender's id of the session.
    pub session: u64,
    /// Wasender's own id of the send.
    pub msg_id: u64,
    /// When.
    pub at: Instant,
}

/// A customer's message that was marked as read. It prints without the chat.
#[derive(Clone, PartialEq, Eq)]
pub struct Read {
    /// Wasender's id of the session.
    pub session: u64,
    /// `WhatsApp`'s id of the message.
    pub key_id: String,
    /// The chat, as its webhook had it.
    pub remote_jid: String,
    /// When.
    pub at: Instant,
}

/// A change of presence. It prints without the chat.
#[derive(Clone, PartialEq, Eq)]
pub struct Presence {
    /// Wasender's id of the session.
    pub session: u64,
    /// The chat, or the session's own number.
    pub jid: String,
    /// `composing`, `recording`, `available`, `unavailable` or `paused`.
    pub kind: String,
    /// Milliseconds.
    pub delay_ms: Option<u64>,
    /// When.
    pub at: Instant,
}

/// A file that was uploaded. It prints without its bytes and place.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    /// Wasender's id of the session.
    pub session: u64,
    /// Where it is, on the twin's loopback address.
    pub url: String,
    /// As the caller named it.
    pub mime_type: String,
    /// The file.
    pub bytes: Bytes,
    /// When.
    pub at: Instant,
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit").field("msg_id", &self.msg_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("Upload");
        it.field("mime_type", &self.mime_type).field("n_bytes", &self.bytes.len());
        it.finish_non_exhaustive()
    }
}

/// The latest of a sort, oldest first.
#[derive(Clone)]
pub(super) struct Latest<T>(VecDeque<T>);

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Clone> Latest<T> {
    pub(super) fn push(&mut self, deed: T) {
        if self.0.len() == DEEDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(deed);
    }

    pub(super) fn find(&self, wanted: impl Fn(&T) -> bool) -> Option<&T> {
        self.0.iter().rev().find(|it| wanted(it))
    }

    fn all(&self) -> Vec<T> {
        self.0.iter().cloned().collect()
    }
}

impl Latest<Upload> {
    pub(super) fn keep(&mut self, upload: Upload) {
        self.push(upload);
        while self.0.iter().map(|it| it.bytes.len()).sum::<usize>() > UPLOAD_BYTES_MAX {
            self.0.pop_front();
        }
    }
}

/// All that was done beside sends.
#[derive(Default)]
pub(super) struct Deeds {
    pub(super) edits: Latest<Edit>,
    pub(super) deletions: Latest<Deed>,
    pub(super) resends: Latest<Deed>,
    pub(super) reads: Latest<Read>,
    pub(super) presences: Latest<Presence>,
    pub(super) uploads: Latest<Upload>,
}

/// The keys of customers' messages: by session and `key.id`, the chat.
#[derive(Default)]
pub(super) struct Heard {
    jids: HashMap<(u64, String), String>,
    order: VecDeque<(u64, String)>,
}

impl Heard {
    /// Remembers the key that a webhook tells, if it tells a customer's.
    pub(super) fn webhook(&mut self, session: u64, body: &Value) {
        let places = ["/data/messages/key", "/data/messages/0/key", "/data/key"];
        if let Some(key) = places.iter().find_map(|it| body.pointer(it)) {
            if key["fromMe"] == false
                && let (Some(id), Some(jid)) = (key["id"].as_str(), key["remoteJid"].as_str())
            {
                self.know(session, id, jid);
            }
        } else if let (Some(id), Some(from)) =
            (body["data"]["id"].as_str(), body["data"]["from"].as_str())
        {
            self.know(session, id, &wire::phone_jid(from));
        }
    }

    pub(super) fn know(&mut self, session: u64, id: &str, jid: &str) {
        let key = (session, id.to_owned());
        if self.jids.insert(key.clone(), jid.to_owned()).is_some() {
            return;
        }
        if self.order.len() == HEARD_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.jids.remove(&oldest);
        }
        self.order.push_back(key);
    }

    pub(super) fn jid(&self, session: u64, id: &str) -> Option<&str> {
        self.jids.get(&(session, id.to_owned())).map(String::as_str)
    }
}

/// What was done beside sends, oldest first; of each sort the latest 100,000 (of uploads 1 GiB), and
/// but for uploads nothing when [counting](Twin::counting). The `wait_…` return what there is as
/// soon as there are this many, or when the time is up.
impl Twin {
    /// Sends whose text was changed.
    #[must_use]
    pub fn edits(&self) -> Vec<Edit> {
        self.deeds(|it| &it.edits)
    }

    /// See [`Self::edits`].
    pub async fn wait_edits(&self, n: usize, deadline: Duration) -> Vec<Edit> {
        self.wait_deeds(n, deadline, |it| &it.edits).await
    }

    /// Sends that were deleted for everyone.
    #[must_use]
    pub fn deletions(&self) -> Vec<Deed> {
        self.deeds(|it| &it.deletions)
    }

    /// See [`Self::deletions`].
    pub async fn wait_deletions(&self, n: usize, deadline: Duration) -> Vec<Deed> {
        self.wait_deeds(n, deadline, |it| &it.deletions).await
    }

    /// Failed sends that were sent again.
    #[must_use]
    pub fn resends(&self) -> Vec<Deed> {
        self.deeds(|it| &it.resends)
    }

    /// Customers' messages that were marked as read.
    #[must_use]
    pub fn reads(&self) -> Vec<Read> {
        self.deeds(|it| &it.reads)
    }

    /// See [`Self::reads`].
    pub async fn wait_reads(&self, n: usize, deadline: Duration) -> Vec<Read> {
        self.wait_deeds(n, deadline, |it| &it.reads).await
    }

    /// Changes of presence.
    #[must_use]
    pub fn presences(&self) -> Vec<Presence> {
        self.deeds(|it| &it.presences)
    }

    /// See [`Self::presences`].
    pub async fn wait_presences(&self, n: usize, deadline: Duration) -> Vec<Presence> {
        self.wait_deeds(n, deadline, |it| &it.presences).await
    }

    /// Files that were uploaded.
    #[must_use]
    pub fn uploads(&self) -> Vec<Upload> {
        self.deeds(|it| &it.uploads)
    }

    /// See [`Self::uploads`].
    pub async fn wait_uploads(&self, n: usize, deadline: Duration) -> Vec<Upload> {
        self.wait_deeds(n, deadline, |it| &it.uploads).await
    }

    /// The file that was uploaded to this URL: what a send with it brings to the customer.
    #[must_use]
    pub fn uploaded(&self, url: &str) -> Option<Upload> {
        self.world.book().deeds.uploads.find(|it| it.url == url).cloned()
    }

    fn deeds<T: Clone>(&self, which: impl Fn(&Deeds) -> &Latest<T>) -> Vec<T> {
        which(&self.world.book().deeds).all()
    }

    async fn wait_deeds<T: Clone>(
        &self,
        n: usize,
        deadline: Duration,
        which: impl Fn(&Deeds) -> &Latest<T>,
    ) -> Vec<T> {
        let mut n_deeds = self.world.n_deeds.subscribe();
        let enough = n_deeds.wait_for(|_| which(&self.world.book().deeds).0.len() >= n);
        // Whether it is too late is for the caller to see from the number.
        let _ = tokio::time::timeout(deadline, enough).await;
        self.deeds(which)
    }
}
