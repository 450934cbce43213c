//! Where what is known of vendors comes from: the store, and while a store elsewhere is away, what
//! was last known of it.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use lru::LruCache;
use metrics::gauge;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    cache::Owner,
    domain::{
        id::{InstanceId, VendorId},
        known::Known,
        waba::{InstanceKey, WabaInstance},
    },
    sqlite::DbError,
    store::{ApiKey, LocalCopy, SharedStore, StoreError, VendorPage},
    telemetry::{Chain, names},
    vault::Token,
};

/// For one read of a store that has a copy here: a provider waits five seconds for all.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// So often a store that failed is asked although there is a copy.
const ASKED_AGAIN_EVERY: Duration = Duration::from_secs(1);
/// A gateway key that was found is not asked for again for so long: one that was revoked elsewhere
/// is good for nothing within a second.
const KEY_LASTS: Duration = Duration::from_millis(900);
const _: () = assert!(KEY_LASTS.as_millis() < 1_000, "docs/CONTRACT.md §1");
const KEYS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// Copies being made of what came from Redis; more are left out.
const KEEPING_MAX: usize = 64;

/// Where what is known of vendors comes from.
pub struct Source {
    store: SharedStore,
    copy: Option<Copies>,
}

struct Copies {
    local: LocalCopy,
    /// The store is away.
    is_away: AtomicBool,
    /// When it was last asked and failed.
    failed_at: Mutex<Option<Instant>>,
    keeping: Arc<Semaphore>,
    /// Gateway keys, by their hashes, and when each was asked for.
    keys: Mutex<LruCache<[u8; 32], (Instant, ApiKey)>>,
    /// How often all of them were forgotten.
    n_forgotten: Arc<AtomicU64>,
}

/// Whose sends are stopped.
pub struct Paused {
    /// These vendors', sorted.
    pub vendors: Vec<VendorId>,
    /// Everybody's.
    pub all: bool,
    /// The store is away, and this is what it said when it was there.
    pub is_copy: bool,
}

/// What was found, and where.
pub(super) struct Read<T> {
    pub found: Option<T>,
    /// The store is away, and this is what it said when it was there.
    pub is_copy: bool,
}

impl<T> Read<T> {
    fn of_store(found: Option<T>) -> Self {
        Self { found, is_copy: false }
    }
}

impl Source {
    /// A store that is there whenever we are: the embedded one.
    #[must_use]
    pub fn new(store: SharedStore) -> Self {
        Self { store, copy: None }
    }

    /// A store elsewhere, with what is known of it in this copy.
    #[must_use]
    pub fn elsewhere(store: SharedStore, local: LocalCopy) -> Self {
        let copy = Copies {
            local,
            is_away: AtomicBool::new(false),
            failed_at: Mutex::default(),
            keeping: Arc::new(Semaphore::new(KEEPING_MAX)),
            keys: Mutex::new(LruCache::new(KEYS_REMEMBERED)),
            n_forgotten: Arc::default(),
        };
        Self { store, copy: Some(copy) }
    }

    pub(super) async fn vendor(&self, id: &VendorId) -> Result<Read<Known>, StoreError> {
        let read = self.store.to_remember(id);
        let Some(copy) = &self.copy else { return read.await.map(Read::of_store) };
        copy.first(read, copy.local.vendor(id)).await
    }

    /// A vendor's instances, as they are in the store.
    pub(super) async fn instances(
        &self,
        id: &VendorId,
    ) -> Result<Vec<Arc<WabaInstance>>, StoreError> {
        Ok(self.store.instances(id).await?.into_iter().map(Arc::new).collect())
    }

    pub(super) async fn owner(
        &self,
        key: &InstanceKey,
        token: Token,
    ) -> Result<Read<Owner>, StoreError> {
        let owner = |(vendor, instance)| Owner { vendor, instance };
        let read = async { Ok(self.store.instance_by_key(key).await?.map(owner)) };
        let Some(copy) = &self.copy else { return read.await.map(Read::of_store) };
        copy.first(read, async { Ok(copy.local.owner(token).await?.map(owner)) }).await
    }

    /// Vendors that are known here, in order of their ids: those of a store elsewhere, which counts
    /// what it is asked, that are in the copy; all of the embedded one.
    pub(super) async fn vendors_here(
        &self,
        after: Option<&VendorId>,
        limit: usize,
    ) -> Result<VendorPage, StoreError> {
        match &self.copy {
            Some(copy) => copy.local.vendors(after, limit).await,
            None => self.store.vendors(after, limit).await,
        }
    }

    /// The gateway key with this hash.
    pub(super) async fn api_key(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        let Some(copy) = &self.copy else { return self.store.key_by_hash(hash).await };
        let (asked_at, n_forgotten) = (Instant::now(), copy.n_forgotten.load(Ordering::SeqCst));
        if let Some((at, key)) = copy.keys().get(hash)
            && at.elapsed() < KEY_LASTS
        {
            return Ok(Some(key.clone()));
        }
        let read = self.store.key_by_hash(hash);
        let Read { found, is_copy } = copy.first(read, copy.local.key(hash)).await?;
        match &found {
            _ if is_copy => {}
            None => told(copy.local.forget_key(hash).await),
            Some(key) => {
                copy.keys().put(*hash, (asked_at, key.clone()));
                // A key may have been revoked since this one was read. An admin's is good for nothing
                // without the store.
                if key.vendor.is_some() {
                    let all = Arc::clone(&copy.n_forgotten);
                    let still = move || all.load(Ordering::SeqCst) == n_forgotten;
                    told(copy.local.keep_key(key, still).await);
                }
            }
        }
        Ok(found)
    }

    /// Forgets what is kept of gateway keys: one of them was revoked, or may have been.
    pub(super) async fn forget_api_keys(&self) -> Result<(), StoreError> {
        match &self.copy {
            Some(copy) => {
                copy.n_forgotten.fetch_add(1, Ordering::SeqCst);
                copy.keys().clear();
                copy.local.forget_keys().await
            }
            None => Ok(()),
        }
    }

    /// What was last known of a vendor, for when the store is not to be asked.
    pub(super) async fn kept_vendor(&self, id: &VendorId) -> Option<Read<Known>> {
        as_kept(self.copy.as_ref()?.local.vendor(id)).await
    }

    /// Whom a key last led to; the same.
    pub(super) async fn kept_owner(&self, token: Token) -> Option<Read<Owner>> {
        let kept = self.copy.as_ref()?.local.owner(token);
        as_kept(async { Ok(kept.await?.map(|(vendor, instance)| Owner { vendor, instance })) })
            .await
    }

    /// Whose sends are stopped.
    pub(super) async fn paused(&self) -> Result<Paused, StoreError> {
        let Some(copy) = &self.copy else {
            let (vendors, all) = self.store.paused().await?;
            return Ok(Paused { vendors, all, is_copy: false });
        };
        let read = async { self.store.paused().await.map(Some) };
        let kept = async { copy.local.paused().await };
        let read = copy.first(read, kept).await?;
        let (mut vendors, all) = read.found.unwrap_or_default();
        vendors.sort();
        if !read.is_copy {
            told(copy.local.keep_paused(&vendors, all).await);
        }
        Ok(Paused { vendors, all, is_copy: read.is_copy })
    }

    /// Keeps a copy of what the store said.
    pub(super) async fn keep(&self, known: &Known, keys: Vec<(Token, InstanceId)>) {
        if let Some(copy) = &self.copy {
            told(copy.local.keep(known, keys).await);
        }
    }

    /// Keeps none of a vendor of whom the store said that there is none.
    pub(super) async fn keep_none(&self, id: &VendorId) {
        if let Some(copy) = &self.copy {
            told(copy.local.forget(id).await);
        }
    }

    /// Keeps a copy of what Redis said, in the background.
    pub(super) fn keep_behind(&self, known: &Arc<Known>, keys: Vec<(Token, InstanceId)>) {
        let Some(copy) = &self.copy else { return };
        let Ok(permit) = Arc::clone(&copy.keeping).try_acquire_owned() else { return };
        let (local, known) = (copy.local.clone(), Arc::clone(known));
        tokio::spawn(async move {
            told(local.keep(&known, keys).await);
            drop(permit);
        });
    }

    /// Whether changes are heard by listening, and may have been missed before that.
    pub(super) fn is_listened_to(&self) -> bool {
        self.store.n_begun().is_some()
    }

    pub(super) fn has_copy(&self) -> bool {
        self.copy.is_some()
    }

    pub(super) fn is_away(&self) -> bool {
        self.copy.as_ref().is_some_and(|it| it.is_away.load(Ordering::SeqCst))
    }

    pub(super) fn may_ask(&self) -> bool {
        self.copy.as_ref().is_none_or(Copies::may_ask)
    }

    /// Whether it answered, as somebody else has seen.
    pub(super) fn told(&self, has_answered: bool) {
        let tell = if has_answered { Copies::answered } else { Copies::failed };
        self.copy.iter().for_each(tell);
    }
}

impl Copies {
    fn keys(&self) -> MutexGuard<'_, LruCache<[u8; 32], (Instant, ApiKey)>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the store, and the copy when that cannot say. Right after a failure the copy goes
    /// first.
    async fn first<T>(
        &self,
        read: impl Future<Output = Result<Option<T>, StoreError>>,
        kept: impl Future<Output = Result<Option<T>, StoreError>>,
    ) -> Result<Read<T>, StoreError> {
        let kept = as_kept(kept);
        tokio::pin!(kept);
        let may_ask = self.may_ask();
        if !may_ask && let Some(kept) = kept.as_mut().await {
            return Ok(kept);
        }
        match timeout(READ_WITHIN, read).await.unwrap_or(Err(StoreError::from(DbError::Away))) {
            Ok(found) => {
                self.answered();
                Ok(Read::of_store(found))
            }
            // It is there: what is wrong is this vendor's document alone.
            Err(error) if !error.is_away() => {
                self.answered();
                Err(error)
            }
            Err(error) => {
                self.failed();
                // Without one, it has been asked for above.
                let kept = if may_ask { kept.await } else { None };
                kept.ok_or(error)
            }
        }
    }

    /// Whether the store is asked before the copy: it is there, or it is time to see.
    fn may_ask(&self) -> bool {
        let mut failed_at = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        let may = failed_at.is_none_or(|it| it.elapsed() >= ASKED_AGAIN_EVERY);
        if may && failed_at.is_some() {
            // One sees for all.
            *failed_at = Some(Instant::now());
        }
        may
    }

    fn answered(&self) {
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if self.is_away.swap(false, Ordering::SeqCst) {
            tracing::info!("the store answers again");
            gauge!(names::DEGRADED, "part" => "store").set(0.0);
        }
    }

    fn failed(&self) {
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if !self.is_away.swap(true, Ordering::SeqCst) {
            tracing::warn!(
                "the store is away: vendors that were known are served as they were, others are answered 503"
            );
            gauge!(names::DEGRADED, "part" => "store").set(1.0);
        }
    }
}

/// A copy that cannot be read is none; what the store says then counts.
async fn as_kept<T>(kept: impl Future<Output = Result<Option<T>, StoreError>>) -> Option<Read<T>> {
    let kept = kept.await.inspect_err(|it| told(Err(it.clone()))).ok().flatten();
    kept.map(|it| Read { found: Some(it), is_copy: true })
}

/// A copy that cannot be kept is no reason to fail.
fn told(kept: Result<(), StoreError>) {
    if let Err(error) = kept {
        tracing::debug!(error = %Chain(&error), "a vendor's copy could not be kept or read");
    }
}
