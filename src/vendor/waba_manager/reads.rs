//! What is read when memory does not have it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::SemaphorePermit;
use zeroize::Zeroizing;

use super::{Inner, count};
use crate::{
    cache::{
        Owner, Subject,
        memory::Mark,
        redis::{Fetched, Lease},
    },
    domain::{id::VendorId, known::Known, waba::InstanceKey},
    sqlite::DbError,
    store::{StoreError, decode, encode},
    vault::Token,
};

/// Reads that wait for their turn; further ones cannot be told anything now.
const READS_WAITING_MAX: usize = 4_096;
/// How long an old copy is good, before the store is asked again.
const COPY_LASTS: Duration = Duration::from_secs(5);
/// The same, when only its turn to ask did not come.
const COPY_LASTS_WHEN_BUSY: Duration = Duration::from_secs(1);

impl Inner {
    pub(super) async fn read_vendor(&self, id: VendorId) -> Result<Option<Arc<Known>>, StoreError> {
        let subject = Subject::Vendor(id.clone());
        let (mark, since) = (self.memory.mark(&subject), Instant::now());
        let lease = match self.fetch(&subject).await {
            Fetched::Value(bytes, lasts) => match decode(&bytes) {
                Ok(known) if known.vendor.id == id => {
                    count("redis", "hit");
                    let known = Arc::new(known);
                    self.memory.put_vendor(mark, &known, lasts);
                    self.source.keep_behind(&known, self.keys_of(&known));
                    return Ok(Some(known));
                }
                // A newer version's, or an older one's.
                _ => None,
            },
            Fetched::Nothing(lease) => Some(lease),
            Fetched::Away => None,
        };
        let (permit, read) = match self.may_read().await {
            Ok(permit) => (Some(permit), self.source.vendor(&id).await),
            // Whose turn does not come is served as while the store is away.
            Err(why) => (None, self.source.kept_vendor(&id).await.ok_or(why)),
        };
        let read = read.inspect_err(|_| count("store", "error"))?;
        let found = read.found.map(|it| Arc::new(Known { is_copy: read.is_copy, ..it }));
        let Some(known) = found else {
            count("store", "unknown");
            self.source.keep_none(&id).await;
            self.remember_unknown(mark, &subject);
            return Ok(None);
        };
        if read.is_copy {
            count("copy", "hit");
            self.memory.put_vendor(mark, &known, copy_lasts(permit.is_some()));
            return Ok(Some(known));
        }
        count("store", "hit");
        // One that was changed meanwhile is read again, and kept then.
        if self.source.has_copy() {
            if self.memory.holds(mark, &subject) {
                self.source.keep(&known, self.keys_of(&known)).await;
            } else {
                self.changed.add(&id, false);
            }
        }
        self.memory.put_vendor(mark, &known, self.fresh_lasts(since));
        // What was heard of it meanwhile may be a change that nobody tells Redis any more.
        if self.memory.holds(mark, &subject) {
            self.put(&subject, lease, || encode(&known));
        }
        Ok(Some(known))
    }

    pub(super) async fn read_owner(
        &self,
        token: Token,
        key: InstanceKey,
    ) -> Result<Option<Arc<Owner>>, StoreError> {
        let subject = Subject::Key(token);
        let (mark, since) = (self.memory.mark(&subject), Instant::now());
        let lease = match self.fetch(&subject).await {
            Fetched::Value(bytes, lasts) => match serde_json::from_slice::<Owner>(&bytes) {
                Ok(owner) => {
                    count("redis", "hit");
                    let owner = Arc::new(owner);
                    self.memory.put_owner(mark, token, &owner, lasts);
                    return Ok(Some(owner));
                }
                Err(_) => None,
            },
            Fetched::Nothing(lease) => Some(lease),
            Fetched::Away => None,
        };
        let (permit, read) = match self.may_read().await {
            Ok(permit) => (Some(permit), self.source.owner(&key, token).await),
            Err(why) => (None, self.source.kept_owner(token).await.ok_or(why)),
        };
        let read = read.inspect_err(|_| count("store", "error"))?;
        let Some(owner) = read.found.map(Arc::new) else {
            count("store", "unknown");
            self.remember_unknown(mark, &subject);
            return Ok(None);
        };
        if read.is_copy {
            count("copy", "hit");
            self.memory.put_owner(mark, token, &owner, copy_lasts(permit.is_some()));
            return Ok(Some(owner));
        }
        count("store", "hit");
        self.memory.put_owner(mark, token, &owner, self.fresh_lasts(since));
        self.put(&subject, lease, || {
            let bytes = serde_json::to_vec(&*owner);
            Ok(Zeroizing::new(bytes.map_err(|_| DbError::Unreadable("an owner"))?))
        });
        Ok(Some(owner))
    }

    async fn fetch(&self, subject: &Subject) -> Fetched {
        let Some(redis) = &self.redis else { return Fetched::Away };
        let fetched = redis.get(subject).await;
        match fetched {
            Fetched::Value(..) => {}
            Fetched::Nothing(_) => count("redis", "miss"),
            Fetched::Away => count("redis", "away"),
        }
        fetched
    }

    fn put(
        &self,
        subject: &Subject,
        lease: Option<Lease>,
        value: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, StoreError>,
    ) {
        if let (Some(redis), Some(lease)) = (&self.redis, lease)
            && let Ok(value) = value()
        {
            redis.put(subject, lease, value);
        }
    }

    /// Not of the embedded store: it costs little to ask, and what another process writes there is
    /// known at once.
    fn remember_unknown(&self, mark: Mark, subject: &Subject) {
        if self.source.has_copy() {
            self.memory.put_unknown(mark, subject);
        }
    }

    /// Waits for its turn to read the store; too many who wait are told that nobody can say now, and
    /// so is who would wait while it is away.
    async fn may_read(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        if let Ok(permit) = self.reads.try_acquire() {
            return Ok(permit);
        }
        if self.source.is_away() {
            return Err(DbError::Away.into());
        }
        let _waits = Waits::new(&self.n_waiting).ok_or(DbError::Busy)?;
        Ok(self.reads.acquire().await.map_err(|_| DbError::Closed)?)
    }

    /// What is as old as its read is good for that much less.
    fn fresh_lasts(&self, since: Instant) -> Duration {
        self.memory.ttl().saturating_sub(since.elapsed())
    }
}

fn copy_lasts(may_read: bool) -> Duration {
    if may_read { COPY_LASTS } else { COPY_LASTS_WHEN_BUSY }
}

/// One that waits to read the store.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    /// `None`: too many do.
    fn new(n: &'a AtomicUsize) -> Option<Self> {
        let waits = Self(n);
        let n_before = n.fetch_add(1, Ordering::SeqCst);
        (n_before < READS_WAITING_MAX).then_some(waits)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
