//! Documents that are due in a store elsewhere, one row each until that has them.
//!
//! With the embedded store there is none, and nothing here runs a statement: the entries are the
//! record.

mod rows;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use rusqlite::params;
use tokio::sync::Notify;

use super::{
    SqliteJournal,
    entries::{ECHO, EntryRow, INTENT, MESSAGE, SIGNAL},
    state::Cx,
};
use crate::{
    domain::{
        clock::Millis,
        event::{Chat, Event, What},
        id::EntryId,
        record::{FIRST_WITHIN, Standing, wait},
    },
    journal::{DocumentEnd, DueDocument, DueDocuments, JournalError, Outbox, OutboxLoad},
    sqlite::DbError,
};

const OF_MESSAGE: i64 = 0;
const OF_ESCALATION: i64 = 1;

const WRITE: i64 = 0;
const CREATE: i64 = 1;
const ERASE: i64 = 2;

const NEVER: Millis = Millis::MAX;

/// When documents that were added are due, known as soon as they are on disk.
#[derive(Clone)]
pub(super) struct Added(Arc<Inner>);

struct Inner {
    soonest: AtomicI64,
    told: Notify,
}

impl Default for Added {
    fn default() -> Self {
        Self(Arc::new(Inner { soonest: AtomicI64::new(NEVER), told: Notify::new() }))
    }
}

impl Added {
    pub(super) fn tell(&self, due: Option<Millis>) {
        if let Some(due) = due {
            self.0.soonest.fetch_min(due, Ordering::SeqCst);
            self.0.told.notify_one();
        }
    }

    async fn wait(&self, until: Millis) {
        while self.0.soonest.swap(NEVER, Ordering::SeqCst) >= until {
            self.0.told.notified().await;
        }
    }
}

impl SqliteJournal {
    /// From now on what happens is to be told to a store elsewhere, too.
    pub fn keep_outbox(&self) {
        self.state.lock().keeps_outbox = true;
    }
}

/// An event was kept. Whether an echo is a message shows later.
pub(super) fn kept(
    cx: &mut Cx<'_>,
    event: &Event,
    id: EntryId,
    now: Millis,
) -> Result<(), DbError> {
    match event.what {
        What::Message(_) if is_told(event.chat) => insert(cx, id, OF_MESSAGE, now),
        _ => Ok(()),
    }
}

/// Posts of channels and of people's status are nothing that was said to the vendor.
fn is_told(chat: Chat) -> bool {
    matches!(chat, Chat::Private | Chat::Group)
}

/// A message goes out.
pub(super) fn decided(cx: &mut Cx<'_>, id: EntryId, now: Millis) -> Result<(), DbError> {
    insert(cx, id, OF_MESSAGE, now + FIRST_WITHIN)
}

/// A human has typed a message on the phone.
pub(super) fn typed(cx: &mut Cx<'_>, id: EntryId, chat: Chat, now: Millis) -> Result<(), DbError> {
    if is_told(chat) { insert(cx, id, OF_MESSAGE, now + FIRST_WITHIN) } else { Ok(()) }
}

/// A customer needs a person.
pub(super) fn escalated(cx: &mut Cx<'_>, id: EntryId, now: Millis) -> Result<(), DbError> {
    insert(cx, id, OF_ESCALATION, now)
}

/// What is there already was told already.
fn insert(cx: &mut Cx<'_>, id: EntryId, what: i64, due: Millis) -> Result<(), DbError> {
    if !cx.memory.keeps_outbox {
        return Ok(());
    }
    let sql = "INSERT INTO outbox (entry, what, due) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    cx.connection.prepare_cached(sql)?.execute(params![id.0, what, due])?;
    note(cx, due);
    Ok(())
}

fn note(cx: &mut Cx<'_>, due: Millis) {
    let soonest = cx.memory.outbox_due.map_or(due, |it| it.min(due));
    cx.memory.outbox_due = Some(soonest);
}

/// A message of the vendor's has got further.
pub(super) fn moved(
    cx: &mut Cx<'_>,
    id: EntryId,
    before: Standing,
    is: Standing,
    now: Millis,
) -> Result<(), DbError> {
    if !cx.memory.keeps_outbox || is <= before {
        return Ok(());
    }
    let [first, again] = [0, 1].map(|n| wait(n, is).map_or(NEVER, |it| now + it));
    // What was not written yet says where it stands when it is.
    let since_made = now - id.ms();
    if first == NEVER && (0..FIRST_WITHIN).contains(&since_made) {
        return Ok(());
    }
    let sql = "UPDATE outbox
        SET due = nullif(min(coalesce(due, ?5), CASE n WHEN 0 THEN ?3 ELSE ?4 END), ?5)
        WHERE entry = ?1 AND what = 0 AND deed = 0 AND said < ?2";
    let values = params![id.0, is.code(), first, again, NEVER];
    if cx.connection.prepare_cached(sql)?.execute(values)? > 0 {
        note(cx, first.min(again));
    }
    Ok(())
}

/// The customer of an entry was erased: what was written of it goes, and what was not is not.
pub(super) fn erased(cx: &mut Cx<'_>, row: &EntryRow, now: Millis) -> Result<(), DbError> {
    if !cx.memory.keeps_outbox || row.kind == SIGNAL {
        return Ok(());
    }
    // The row of what was written last may be gone.
    let sql = "INSERT INTO outbox (entry, what, deed, due) VALUES (?1, 0, 2, ?2)
        ON CONFLICT DO UPDATE SET deed = 2, due = ?2, tries = 0, since = NULL";
    cx.connection.prepare_cached(sql)?.execute(params![row.id.0, now])?;
    if row.kind == MESSAGE {
        let sql = "UPDATE outbox SET deed = 2, due = ?2, tries = 0, since = NULL WHERE entry = ?1 AND what = 1";
        cx.connection.prepare_cached(sql)?.execute(params![row.id.0, now])?;
    }
    note(cx, now);
    Ok(())
}

/// The entries after one, through another, that had ended, were removed: nothing more can be told
/// of them.
pub(super) fn removed(cx: &Cx<'_>, after: EntryId, through: EntryId) -> Result<(), DbError> {
    if !cx.memory.keeps_outbox {
        return Ok(());
    }
    let sql = "DELETE FROM outbox WHERE entry > ?1 AND entry <= ?2 AND deed <> 2
        AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.id = outbox.entry)";
    cx.connection.prepare_cached(sql)?.execute([after.0, through.0])?;
    Ok(())
}

/// The data come from a backup: what was written since it was made may say more.
pub(super) fn restored(cx: &Cx<'_>) -> Result<(), DbError> {
    let sql = "UPDATE outbox SET deed = 1 WHERE deed = 0 AND n = 0";
    cx.connection.execute(sql, ())?;
    cx.connection.execute("DELETE FROM outbox WHERE what = 0 AND deed = 0", ())?;
    Ok(())
}

impl EntryRow {
    /// Where its message stands.
    fn standing(&self) -> Standing {
        match self.kind {
            INTENT => self.life.delivery.as_ref().map_or(Standing::Queued, Standing::of),
            ECHO => Standing::heard(self.status.and_then(crate::domain::event::Status::of_code)),
            _ => Standing::Received,
        }
    }
}

#[async_trait]
impl Outbox for SqliteJournal {
    async fn outbox_changed(&self, until: Millis) {
        self.state.added.wait(until).await;
    }

    async fn due_documents(&self, now: Millis, limit: usize) -> Result<DueDocuments, JournalError> {
        self.read(move |connection, vault| rows::due(connection, vault, now, limit)).await
    }

    async fn end_documents(
        &self,
        ends: Vec<(DueDocument, DocumentEnd)>,
        now: Millis,
    ) -> Result<(), JournalError> {
        self.write_behind(move |cx| {
            for (row, end) in &ends {
                rows::end(cx, row, *end, now)?;
            }
            Ok(())
        })
        .await
    }

    async fn outbox_load(&self) -> Result<OutboxLoad, JournalError> {
        self.read(|connection, _| rows::load(connection)).await
    }
}
