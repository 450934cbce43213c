//! Finds vendors and instances by any key: in process memory, then in Redis, then in the store.

mod again;
mod reads;
mod source;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use metrics::{Counter, counter};
use tokio::sync::Semaphore;

use self::again::Changed;
pub use self::source::{Paused, Source};
use crate::{
    cache::{
        Owner, Subject,
        flights::Flights,
        memory::{Looked, Memory},
        redis::{Changes, Rate, Redis, Trouble},
    },
    domain::{
        id::{InstanceId, VendorId},
        known::Known,
        waba::{InstanceKey, WabaInstance},
    },
    store::{ApiKey, StoreError, VendorPage},
    telemetry::names,
    vault::{Token, Vault},
};

/// Reads of the store at once.
const READS_MAX: usize = 64;

/// Finds vendors and instances by any of their keys. Clones share it.
#[derive(Clone)]
pub struct WabaManager(Arc<Inner>);

struct Inner {
    memory: Memory,
    redis: Option<Redis>,
    source: Source,
    vault: Arc<Vault>,
    vendors: Flights<VendorId, Result<Option<Arc<Known>>, StoreError>>,
    owners: Flights<Token, Result<Option<Arc<Owner>>, StoreError>>,
    reads: Semaphore,
    n_waiting: AtomicUsize,
    changed: Changed,
    /// Somebody looks after Redis: it is a server's, and not a command's.
    is_tended: AtomicBool,
    hits: Counter,
}

impl WabaManager {
    /// A manager over this memory, Redis where there is one, and store.
    #[must_use]
    pub fn new(ttl: Duration, redis: Option<Redis>, source: Source, vault: Arc<Vault>) -> Self {
        if source.is_listened_to() {
            redis.iter().for_each(Redis::believe_nothing);
        }
        Self(Arc::new(Inner {
            memory: Memory::new(ttl),
            redis,
            source,
            vault,
            vendors: Flights::default(),
            owners: Flights::default(),
            reads: Semaphore::new(READS_MAX),
            n_waiting: AtomicUsize::new(0),
            changed: Changed::default(),
            is_tended: AtomicBool::new(false),
            hits: counter!(names::CACHE_READS, "layer" => "memory", "end" => "hit"),
        }))
    }

    /// A vendor with its instances. `None` only when the store says that there is no such vendor.
    pub async fn known(&self, id: &VendorId) -> Result<Option<Arc<Known>>, StoreError> {
        match self.0.memory.vendor(id) {
            Looked::Found(known) => {
                self.0.hits.increment(1);
                return Ok(Some(known));
            }
            Looked::Unknown => {
                count("memory", "unknown");
                return Ok(None);
            }
            Looked::Nothing => count("memory", "miss"),
        }
        let (manager, wanted) = (self.clone(), id.clone());
        let read = || async move { manager.0.read_vendor(wanted).await };
        self.0.vendors.join(id, read).await
    }

    /// A vendor's instances; none of a vendor that does not exist.
    pub async fn of_vendor(&self, vendor: &VendorId) -> Result<Vec<Arc<WabaInstance>>, StoreError> {
        let known = self.known(vendor).await?;
        Ok(known.map(|it| it.instances.clone()).unwrap_or_default())
    }

    /// The instance with this key; `None` also when two vendors claim it.
    pub async fn by_key(&self, key: &InstanceKey) -> Result<Option<Arc<WabaInstance>>, StoreError> {
        let token = self.0.token(key);
        for _ in 0..2 {
            let Some(owner) = self.owner(token, key).await? else { return Ok(None) };
            let known = self.known(&owner.vendor).await?;
            let found = known.as_ref().and_then(|it| it.instance(&owner.instance));
            if let Some(found) = found.filter(|it| it.keys().contains(key)) {
                return Ok(Some(Arc::clone(found)));
            }
            // One of the two was remembered from before a change: the store says which.
            self.forget(&owner.vendor);
            self.forget_subject(&Subject::Key(token));
        }
        Ok(None)
    }

    async fn owner(
        &self,
        token: Token,
        key: &InstanceKey,
    ) -> Result<Option<Arc<Owner>>, StoreError> {
        match self.0.memory.owner(&token) {
            Looked::Found(owner) => {
                self.0.hits.increment(1);
                return Ok(Some(owner));
            }
            Looked::Unknown => {
                count("memory", "unknown");
                return Ok(None);
            }
            Looked::Nothing => count("memory", "miss"),
        }
        let (manager, key) = (self.clone(), key.clone());
        let read = || async move { manager.0.read_owner(token, key).await };
        self.0.owners.join(&token, read).await
    }

    /// Forgets what is remembered of a vendor, here at once, and elsewhere when
    /// [`Self::announce`] has told it.
    pub fn forget(&self, vendor: &VendorId) {
        self.forget_subject(&Subject::Vendor(vendor.clone()));
    }

    /// Forgets by whom this instance's keys are claimed; the same.
    pub fn forget_keys(&self, instance: &WabaInstance) {
        for key in instance.keys() {
            self.forget_subject(&Subject::Key(self.0.token(&key)));
        }
    }

    /// Others are to look again whose sends are stopped.
    pub fn pauses_changed(&self) {
        self.0.redis.iter().for_each(|it| it.note(Subject::Pauses));
    }

    fn forget_subject(&self, subject: &Subject) {
        self.0.forget_here(subject);
        self.0.redis.iter().for_each(|it| it.note(subject.clone()));
        self.renew_copy(subject);
    }

    fn renew_copy(&self, subject: &Subject) {
        if let Subject::Vendor(id) = subject
            && self.0.source.has_copy()
        {
            self.look_again_at(id, false);
        }
    }

    /// Tells Redis and the other gateways what was forgotten. What cannot be told now is told when
    /// Redis is back.
    pub async fn announce(&self) {
        let Some(redis) = &self.0.redis else { return };
        if !redis.has_untold() {
            return;
        }
        if !self.0.is_tended.load(Ordering::SeqCst) {
            redis.look().await;
        }
        for subject in redis.tell().await {
            // Between our forgetting and Redis's, its old value may have been read.
            self.0.forget_here(&subject);
            // A copy that was being renewed since is not kept.
            self.renew_copy(&subject);
        }
    }

    /// Another gateway says that these have changed.
    pub fn heard(&self, subjects: &[Subject]) {
        for subject in subjects {
            self.0.forget_here(subject);
            if let Subject::Vendor(id) = subject {
                self.look_again_at(id, false);
            }
        }
    }

    /// Whose sends are stopped: as the store says, or as it last did.
    pub async fn paused(&self) -> Result<Paused, StoreError> {
        self.0.source.paused().await
    }

    /// Vendors that are known here, in order of their ids, after one; at most so many. A store
    /// elsewhere is not asked.
    pub async fn vendors_here(
        &self,
        after: Option<&VendorId>,
        limit: usize,
    ) -> Result<VendorPage, StoreError> {
        self.0.source.vendors_here(after, limit).await
    }

    /// The gateway key with this hash: as the store says, or while it is away, as it last did.
    pub async fn api_key(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        self.0.source.api_key(hash).await
    }

    /// One of the gateway keys was revoked, or may have been: what is kept of them for when the store
    /// is away is forgotten.
    pub async fn forget_api_keys(&self) -> Result<(), StoreError> {
        self.0.source.forget_api_keys().await
    }

    /// The store is away, and there is a copy of what it said.
    #[must_use]
    pub fn is_store_away(&self) -> bool {
        self.0.source.is_away()
    }

    /// Whether the store is worth asking: it is not away, or it is time to see.
    #[must_use]
    pub fn may_ask_store(&self) -> bool {
        self.0.source.may_ask()
    }

    /// Whether the store answered, as somebody else has seen.
    pub fn store_answered(&self, has_answered: bool) {
        self.0.source.told(has_answered);
    }

    /// Whether the store is elsewhere: it may be slow, or away.
    #[must_use]
    pub fn is_store_elsewhere(&self) -> bool {
        self.0.source.has_copy()
    }

    /// Forgets everything: nobody knows what was missed.
    pub fn forget_all(&self) {
        self.0.memory.clear();
        self.0.vendors.leave_all();
        self.0.owners.leave_all();
    }

    /// It is listened for changes from now on: what was read before is forgotten, and what Redis has
    /// from before is not believed.
    pub fn listening_began(&self) {
        self.forget_all();
        self.0.redis.iter().for_each(Redis::listening_began);
    }

    /// Listens to the other gateways. `None`: there is no Redis, or not now.
    pub async fn listen(&self) -> Option<Changes> {
        self.0.redis.as_ref()?.listen().await
    }

    /// Whether there is a Redis.
    #[must_use]
    pub fn has_redis(&self) -> bool {
        self.0.redis.is_some()
    }

    /// Whether one more call of this kind is within the rate that all gateways together allow.
    pub async fn is_within(&self, rate: Rate, kind: &str, of: &str) -> bool {
        match &self.0.redis {
            Some(redis) => redis.is_within(rate, kind, of).await,
            None => true,
        }
    }

    /// Whether Redis is asked: it has answered, and nothing is wrong with it.
    #[must_use]
    pub fn uses_redis(&self) -> bool {
        self.0.redis.as_ref().is_some_and(Redis::is_used)
    }

    /// What is wrong with Redis.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.redis.as_ref()?.trouble()
    }

    /// Looks after Redis: whether it is there, and that it learns what it could not be told.
    pub async fn tend(&self) {
        let Some(redis) = &self.0.redis else { return };
        self.0.is_tended.store(true, Ordering::SeqCst);
        loop {
            redis.look().await;
            redis.tend_epoch().await;
            // While it refuses writes, what is told stays to be told again.
            if redis.trouble().is_none() {
                self.announce().await;
            }
            redis.rest().await;
        }
    }

    /// Looks whether Redis answers, now.
    pub async fn look_at_redis(&self) {
        if let Some(redis) = &self.0.redis {
            redis.look().await;
        }
    }

    /// Tries whether Redis takes writes.
    pub async fn try_redis(&self) {
        if let Some(redis) = &self.0.redis {
            redis.try_write().await;
        }
    }

    /// Vendors in memory.
    #[must_use]
    pub fn n_remembered(&self) -> usize {
        self.0.memory.n_vendors()
    }
}

impl Inner {
    fn forget_here(&self, subject: &Subject) {
        self.memory.forget(subject);
        match subject {
            Subject::Vendor(id) => self.vendors.leave(id),
            Subject::Key(token) => self.owners.leave(token),
            Subject::Pauses => {}
        }
    }

    fn keys_of(&self, known: &Known) -> Vec<(Token, InstanceId)> {
        let keys = |it: &Arc<WabaInstance>| {
            let id = it.id.clone();
            it.keys().into_iter().map(move |key| (key, id.clone()))
        };
        let keys = known.instances.iter().flat_map(keys);
        keys.map(|(key, id)| (self.token(&key), id)).collect()
    }

    fn token(&self, key: &InstanceKey) -> Token {
        let (kind, value) = key.parts();
        self.vault.token(&[b"instance key", kind.as_bytes(), value.as_bytes()])
    }
}

fn count(layer: &'static str, end: &'static str) {
    counter!(names::CACHE_READS, "layer" => layer, "end" => end).increment(1);
}
