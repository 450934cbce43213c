//! Events on their way to vendors' own back ends, one row each until they are taken.

mod rows;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use rusqlite::params;
use tokio::sync::Notify;

use super::{SqliteJournal, append::Prepared, state::Cx};
use crate::{
    domain::{
        clock::Millis,
        event::{Chat, Connection, Event, What},
        forward::{LASTS, Topic},
        id::{EntryId, ForwardId, InstanceId, VendorId},
    },
    journal::{Forward, ForwardEnd, Forwards, ForwardsLoad, JournalError, Replay, ToForward},
    sqlite::DbError,
};

/// Whose back ends have news, known as soon as these are on disk.
#[derive(Clone, Default)]
pub(super) struct News(Arc<Inner>);

#[derive(Default)]
struct Inner {
    vendors: Mutex<HashSet<VendorId>>,
    told: Notify,
}

impl News {
    pub(super) fn tell(&self, vendors: HashSet<VendorId>) {
        if !vendors.is_empty() {
            self.0.vendors.lock().unwrap_or_else(PoisonError::into_inner).extend(vendors);
            self.0.told.notify_one();
        }
    }

    async fn wait(&self) -> Vec<VendorId> {
        loop {
            let told = {
                let mut vendors = self.0.vendors.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *vendors)
            };
            if !told.is_empty() {
                return told.into_iter().collect();
            }
            self.0.told.notified().await;
        }
    }
}

/// What a back end is told of an event the moment it is kept. Of an echo it is told when it is
/// clear that a human wrote it, and of a status when it is news.
fn topic(event: &Event) -> Option<Topic> {
    if matches!(event.chat, Chat::Broadcast | Chat::Channel) {
        return None;
    }
    match event.what {
        What::Message(_) => Some(Topic::Received),
        What::Edit { .. } => Some(Topic::Edited),
        What::Revoke { .. } => Some(Topic::Deleted),
        What::Reaction { .. } => Some(Topic::Reaction),
        What::Votes { .. } => Some(Topic::Votes),
        What::Connection(_) => Some(Topic::Connection),
        What::Echo(_) | What::Status { .. } | What::SendFailed { .. } | What::Other { .. } => None,
    }
}

/// An event was kept.
pub(super) fn kept(
    cx: &mut Cx<'_>,
    batch: &Prepared,
    event: &Event,
    id: EntryId,
) -> Result<(), DbError> {
    let Some(topic) = topic(event) else { return Ok(()) };
    let word = match event.what {
        What::Connection(state) if !is_news(cx, &batch.instance, state)? => return Ok(()),
        What::Connection(state) => Some(state.as_str()),
        _ => None,
    };
    insert(cx, &batch.vendor, id, topic, (word, None), batch.now)
}

/// Whether a back end was last told something else of this session: a change may be told to us
/// twice before we know that it is none.
fn is_news(cx: &Cx<'_>, instance: &InstanceId, state: Connection) -> Result<bool, DbError> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2)
        ON CONFLICT (key) DO UPDATE SET value = ?2 WHERE value <> ?2";
    let key = format!("connection_told:{instance}");
    Ok(cx.connection.prepare_cached(sql)?.execute(params![key, state.as_str().as_bytes()])? > 0)
}

/// A status or the like, and why.
type Words<'a> = (Option<&'a str>, Option<&'a str>);

pub(super) fn insert(
    cx: &mut Cx<'_>,
    vendor: &VendorId,
    entry: EntryId,
    topic: Topic,
    (word, reason): Words<'_>,
    now: Millis,
) -> Result<(), DbError> {
    let sql = "INSERT INTO forwards (id, vendor, entry, what, word, reason, due, expires)
        VALUES (max(?1, 1 + coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'forwards'), 0)),
            ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    cx.connection.prepare_cached(sql)?.execute(params![
        ForwardId::at(now).0,
        vendor.as_str(),
        entry.0,
        topic.as_str(),
        word,
        reason,
        now,
        now + LASTS,
    ])?;
    cx.memory.forwarded.insert(vendor.clone());
    Ok(())
}

/// Forgets what an entry had to tell.
pub(super) fn drop_of(cx: &Cx<'_>, entry: EntryId) -> Result<(), DbError> {
    let sql = "DELETE FROM forwards WHERE entry = ?1";
    cx.connection.prepare_cached(sql)?.execute([entry.0])?;
    Ok(())
}

#[async_trait]
impl Forwards for SqliteJournal {
    async fn forwarded(&self) -> Vec<VendorId> {
        self.state.news.wait().await
    }

    async fn forwarding(&self) -> Result<Vec<VendorId>, JournalError> {
        self.read(|connection, _| {
            let sql = "SELECT DISTINCT vendor FROM forwards WHERE state = 0";
            rows::vendors(connection, sql, ())
        })
        .await
    }

    async fn next_forward(
        &self,
        vendor: &VendorId,
        skips: usize,
    ) -> Result<Option<ToForward>, JournalError> {
        let vendor = vendor.clone();
        self.read_behind(|connection, vault| rows::next(connection, vault, &vendor, skips))
    }

    async fn end_forward(&self, id: ForwardId, end: ForwardEnd) -> Result<(), JournalError> {
        self.write_behind(move |cx| rows::ended(cx, id, &end)).await
    }

    async fn give_up_forwards(
        &self,
        vendor: &VendorId,
        keep: i64,
        why: &'static str,
    ) -> Result<bool, JournalError> {
        let vendor = vendor.clone();
        self.write(move |cx| rows::give_up(cx, &vendor, keep, why)).await
    }

    async fn tidy_forwards(&self, now: Millis) -> Result<ForwardsLoad, JournalError> {
        // Asked first: with nothing to do the writer is left alone.
        if self.read(move |connection, _| rows::is_untidy(connection, now)).await? {
            while self.write(move |cx| rows::tidy(cx, now)).await? {}
        }
        let load = self.read(|connection, _| rows::load(connection)).await?;
        for vendor in load.crowded.clone() {
            while self.write(rows::trim(&vendor)).await? {}
        }
        Ok(load)
    }

    async fn forwards_load(&self) -> Result<ForwardsLoad, JournalError> {
        self.read(|connection, _| rows::load(connection)).await
    }

    async fn forwards(
        &self,
        vendor: &VendorId,
        is_dead: bool,
        before: Option<ForwardId>,
        limit: usize,
    ) -> Result<Vec<Forward>, JournalError> {
        let vendor = vendor.clone();
        self.read(move |connection, _| rows::list(connection, &vendor, is_dead, before, limit))
            .await
    }

    async fn replay_forwards(
        &self,
        vendor: &VendorId,
        which: Replay,
        expires: Millis,
    ) -> Result<(usize, Option<ForwardId>), JournalError> {
        let vendor = vendor.clone();
        self.write(move |cx| rows::replay(cx, &vendor, &which, expires)).await
    }

    async fn drop_forward(&self, vendor: &VendorId, id: ForwardId) -> Result<bool, JournalError> {
        let vendor = vendor.clone();
        self.write(move |cx| {
            let sql = "DELETE FROM forwards WHERE id = ?1 AND vendor = ?2";
            let values = params![id.0, vendor.as_str()];
            Ok(cx.connection.prepare_cached(sql)?.execute(values)? > 0)
        })
        .await
    }
}
