//! What was made or stepped lately, as the writer knows it: an intent is asked for several times
//! within a second or two, by its id and by what the provider calls it, and its body once; a message
//! once, when it is answered.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;
use rusqlite::{Connection, hooks::Action};

use super::entries::EntryRow;
use crate::{domain::id::EntryId, sqlite::DbError, vault::Token};

/// About 4 MB of them.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// The longest body that is remembered.
const BODY_BYTES_MAX: usize = 1_024;

/// The entries that are remembered. Clones share them.
#[derive(Clone)]
pub(super) struct Recent(Arc<Mutex<Rows>>);

struct Rows {
    known: LruCache<EntryId, EntryRow>,
    /// Apart, so that a burst of messages does not put intents out.
    messages: LruCache<EntryId, EntryRow>,
    bodies: LruCache<EntryId, Vec<u8>>,
    /// By the WhatsApp id and by the provider's own number; what is no longer so is found out when
    /// it is looked up.
    by_pid: HashMap<Token, EntryId>,
    by_tid: HashMap<Token, EntryId>,
}

impl Default for Recent {
    fn default() -> Self {
        let (by_pid, by_tid) = (HashMap::new(), HashMap::new());
        let (known, messages) = (LruCache::new(REMEMBERED), LruCache::new(REMEMBERED));
        let bodies = LruCache::new(REMEMBERED);
        Self(Arc::new(Mutex::new(Rows { known, messages, bodies, by_pid, by_tid })))
    }
}

impl Recent {
    /// Forgets from now on what this connection changes, whichever statement does.
    pub(super) fn watch(&self, connection: &mut Connection) -> Result<(), DbError> {
        let recent = self.clone();
        let changed = move |action: Action, _: &str, table: &str, id: i64| {
            if table == "entries" && action != Action::SQLITE_INSERT {
                recent.lock().forget(EntryId(id));
            }
        };
        Ok(connection.update_hook(Some(changed))?)
    }

    /// To be told after the row was written.
    pub(super) fn put(&self, row: EntryRow) {
        let mut rows = self.lock();
        rows.by_pid.extend(row.pid.map(|it| (it, row.id)));
        rows.by_tid.extend(row.tid.map(|it| (it, row.id)));
        if let Some((id, old)) = rows.known.push(row.id, row)
            && !rows.known.contains(&id)
        {
            rows.unlink(&old);
        }
    }

    /// The same for a message that waits for its answer.
    pub(super) fn put_message(&self, row: EntryRow) {
        self.lock().messages.put(row.id, row);
    }

    /// The sealed body of an intent that waits to be sent.
    pub(super) fn put_body(&self, id: EntryId, body: Vec<u8>) {
        if body.len() <= BODY_BYTES_MAX {
            self.lock().bodies.put(id, body);
        }
    }

    /// The body, which is asked for once.
    pub(super) fn take_body(&self, id: EntryId) -> Option<Vec<u8>> {
        self.lock().bodies.pop(&id)
    }

    pub(super) fn get(&self, id: EntryId) -> Option<EntryRow> {
        let mut rows = self.lock();
        let Rows { known, messages, .. } = &mut *rows;
        known.get(&id).or_else(|| messages.get(&id)).cloned()
    }

    pub(super) fn by_pid(&self, pid: Token) -> Option<EntryRow> {
        let mut rows = self.lock();
        let id = *rows.by_pid.get(&pid)?;
        rows.known.get(&id).filter(|it| it.pid == Some(pid)).cloned()
    }

    pub(super) fn by_tid(&self, tid: Token) -> Option<EntryRow> {
        let mut rows = self.lock();
        let id = *rows.by_tid.get(&tid)?;
        rows.known.get(&id).filter(|it| it.tid == Some(tid)).cloned()
    }

    pub(super) fn clear(&self) {
        let mut rows = self.lock();
        rows.known.clear();
        rows.messages.clear();
        rows.bodies.clear();
        rows.by_pid.clear();
        rows.by_tid.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn forget(&mut self, id: EntryId) {
        self.messages.pop(&id);
        self.bodies.pop(&id);
        if let Some(row) = self.known.pop(&id) {
            self.unlink(&row);
        }
    }

    fn unlink(&mut self, row: &EntryRow) {
        if let Some(pid) = row.pid.filter(|it| self.by_pid.get(it) == Some(&row.id)) {
            self.by_pid.remove(&pid);
        }
        if let Some(tid) = row.tid.filter(|it| self.by_tid.get(it) == Some(&row.id)) {
            self.by_tid.remove(&tid);
        }
    }
}
