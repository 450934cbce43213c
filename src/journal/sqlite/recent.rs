//! Intents that were made or stepped lately, as the writer knows them: each is asked for several
//! times within a second or two, by its id and by what the provider calls it.

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

/// The intents that are remembered. Clones share them.
#[derive(Clone)]
pub(super) struct Recent(Arc<Mutex<Rows>>);

struct Rows {
    known: LruCache<EntryId, EntryRow>,
    /// By the WhatsApp id and by the provider's own number; what is no longer so is found out when
    /// it is looked up.
    by_pid: HashMap<Token, EntryId>,
    by_tid: HashMap<Token, EntryId>,
}

impl Default for Recent {
    fn default() -> Self {
        let known = LruCache::new(REMEMBERED);
        let (by_pid, by_tid) = (HashMap::new(), HashMap::new());
        Self(Arc::new(Mutex::new(Rows { known, by_pid, by_tid })))
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

    pub(super) fn get(&self, id: EntryId) -> Option<EntryRow> {
        self.lock().known.get(&id).cloned()
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
        rows.by_pid.clear();
        rows.by_tid.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn forget(&mut self, id: EntryId) {
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
