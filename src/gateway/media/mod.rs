//! Files: fetched as soon as their message is kept, shown in clear to their vendor alone, uploaded
//! and sent, and removed after a time.

mod fetch;
mod send;
mod serve;
mod store;

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use lru::LruCache;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub(in crate::gateway) use self::send::FileToSend;
pub use self::{
    serve::MediaFile,
    store::{NewFile, StoredFile},
};
use super::Gateway;
use crate::{
    domain::{
        clock::{HOUR, Millis, SECOND},
        id::{ContactId, InstanceId, VendorId},
        media::MediaId,
    },
    http::Http,
    journal::JournalError,
    media::{Fault, Files},
    store::StoreError,
    telemetry::Chain,
};

/// Files older than this are removed, whoever sent them.
pub const MEDIA_KEPT: Millis = 30 * 24 * HOUR;
/// Between two looks for files that are old enough to be removed.
const REMOVE_EVERY: Millis = HOUR;
/// Files that are removed at once.
const REMOVE_PAGE: usize = 200;
/// When something is tried again that failed for a reason of ours.
const AGAIN_AFTER: Millis = 5 * SECOND;
/// Files fetched at once, of all vendors and of one.
const FETCHES_MAX: usize = 4;
const FETCHES_PER_VENDOR_MAX: usize = 2;
/// Files read or uploaded at once through the API, of all vendors and of one.
const CALLERS_MAX: usize = 32;
const CALLERS_PER_VENDOR_MAX: usize = 4;
/// Files whose MAC is checked at once before they are read: it is work for the processor.
const PROOFS_MAX: usize = 2;
/// Files are taken while so many times the space is free below which intake stops: they never stop
/// it.
const SPARE_DISK: u64 = 2;
/// Addresses at the provider that are remembered.
const PLACES_REMEMBERED: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// There is no such vendor.
    #[error("unknown vendor")]
    NoVendor,
    /// The vendor has none with this id.
    #[error("unknown file")]
    Unknown,
    /// It is still being fetched.
    #[error("the file is still being fetched")]
    NotYet,
    /// It cannot be had any more; the word says why.
    #[error("the file cannot be had: {0}")]
    GivenUp(String),
    /// Too many files are being read or written.
    #[error("too many files are being read or written")]
    Busy,
    /// The disk is nearly full.
    #[error("the disk is nearly full")]
    DiskFull,
    /// The file is larger than its kind may be; the text names the limit.
    #[error("{0}")]
    TooLarge(String),
    /// The type is none that the kind may have; the text names those.
    #[error("{0}")]
    WrongType(String),
    /// The file is not what was said of it.
    #[error("{0}")]
    Invalid(String),
    /// The file came too slowly.
    #[error("the file came too slowly")]
    TooSlow,
    /// The file ended early.
    #[error("the file ended early")]
    Truncated,
    /// The disk.
    #[error("the file cannot be kept or read")]
    Disk(#[source] std::io::Error),
    /// The store is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal is away.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

type Places = LruCache<(InstanceId, MediaId), (String, Millis)>;

/// What files need of the process.
pub struct MediaKeeper {
    files: Arc<Files>,
    http: Http,
    /// Something is to be fetched.
    wake: Notify,
    /// A try has ended.
    ended: Notify,
    fetching: Arc<Shares>,
    /// Nothing more is to be fetched by this process.
    stopping: CancellationToken,
    callers: Arc<Shares>,
    proofs: Semaphore,
    /// Bytes of files that are being written, at most.
    coming: Arc<AtomicU64>,
    /// Where the provider has a file, and until when that is believed.
    places: Mutex<Places>,
}

impl MediaKeeper {
    /// Opens the directory of files, or makes it.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn open(data_dir: &Path, http: Http) -> std::io::Result<Self> {
        Ok(Self {
            files: Arc::new(Files::open(data_dir)?),
            http,
            wake: Notify::new(),
            ended: Notify::new(),
            fetching: Shares::new(FETCHES_MAX, FETCHES_PER_VENDOR_MAX),
            stopping: CancellationToken::new(),
            callers: Shares::new(CALLERS_MAX, CALLERS_PER_VENDOR_MAX),
            proofs: Semaphore::new(PROOFS_MAX),
            coming: Arc::default(),
            places: Mutex::new(LruCache::new(PLACES_REMEMBERED)),
        })
    }

    /// Something is to be fetched.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a file from the disk. What is not there any more is removed.
    async fn remove(&self, id: &MediaId) -> std::io::Result<()> {
        let (files, id) = (Arc::clone(&self.files), id.clone());
        let removed = tokio::task::spawn_blocking(move || files.remove(&id)).await;
        removed.unwrap_or_else(|_| Err(std::io::Error::other("the removal panicked")))
    }
}

/// How many files are in hand, together and of each vendor.
struct Shares {
    held: Mutex<Vec<Held>>,
    max: usize,
    per_vendor_max: usize,
}

struct Held {
    n: u64,
    vendor: VendorId,
    /// Only one at a time may have this one.
    alone: Option<MediaId>,
}

/// A file that is in hand until this is dropped.
struct Share {
    shares: Arc<Shares>,
    n: u64,
}

/// Room on the disk.
struct Room {
    coming: Arc<AtomicU64>,
    n_bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.coming.fetch_sub(self.n_bytes, Ordering::Relaxed);
    }
}

impl Shares {
    fn new(max: usize, per_vendor_max: usize) -> Arc<Self> {
        Arc::new(Self { held: Mutex::default(), max, per_vendor_max })
    }

    /// Takes a file in hand; `None` when too many are, or when somebody has this one `alone`.
    fn take(self: &Arc<Self>, vendor: &VendorId, alone: Option<&MediaId>) -> Option<Share> {
        let mut held = self.lock();
        let of_vendor = held.iter().filter(|it| it.vendor == *vendor).count();
        let is_taken = alone.is_some() && held.iter().any(|it| it.alone.as_ref() == alone);
        if held.len() >= self.max || of_vendor >= self.per_vendor_max || is_taken {
            return None;
        }
        let n = held.last().map_or(0, |it| it.n + 1);
        held.push(Held { n, vendor: vendor.clone(), alone: alone.cloned() });
        Some(Share { shares: Arc::clone(self), n })
    }

    fn has(&self, id: &MediaId) -> bool {
        self.lock().iter().any(|it| it.alone.as_ref() == Some(id))
    }

    /// What is in hand, and who has as much as they may.
    fn full(&self) -> (Vec<MediaId>, Vec<VendorId>) {
        let held = self.lock();
        let n_of = |it: &VendorId| held.iter().filter(|other| other.vendor == *it).count();
        let vendors = held.iter().map(|it| &it.vendor).filter(|it| n_of(it) >= self.per_vendor_max);
        (held.iter().filter_map(|it| it.alone.clone()).collect(), vendors.cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.lock().retain(|it| it.n != self.n);
    }
}

impl Gateway {
    /// Fetches files as they are announced and removes them when they are old, until `stop`. What
    /// is being fetched then is fetched again after the restart.
    pub async fn tend_media(&self, stop: CancellationToken) {
        let tend = async {
            self.sweep_media().await;
            let mut remove_at = self.inner.clock.now();
            loop {
                if self.inner.clock.now() >= remove_at {
                    self.remove_old_media().await;
                    remove_at = self.inner.clock.now() + REMOVE_EVERY;
                }
                let next = self.fetch_due().await.unwrap_or_else(|error| {
                    tracing::error!(error = %Chain(&error), "files to be fetched could not be looked up");
                    Some(self.inner.clock.now() + AGAIN_AFTER)
                });
                let at = next.map_or(remove_at, |it| it.min(remove_at));
                tokio::select! {
                    () = self.inner.media.wake.notified() => {}
                    () = self.inner.clock.sleep_until(at) => {}
                }
            }
        };
        tokio::select! {
            () = tend => {}
            () = stop.cancelled() => self.inner.media.stopping.cancel(),
        }
    }

    /// Erases the files that came with the messages of a conversation, from the disk and from the
    /// record. Answers how many there were. Messages are not touched.
    ///
    /// # Errors
    ///
    /// Some are still there; asking again goes on.
    pub async fn erase_media(&self, contact: ContactId) -> Result<usize, MediaError> {
        let ids = self.inner.journal.media_of(contact).await?;
        let n_files = ids.len();
        self.erase_files(ids).await?;
        Ok(n_files)
    }

    /// The record goes last: a file is never forgotten while it is there. A fetch that ends
    /// meanwhile finds no record and removes what it wrote.
    async fn erase_files(&self, ids: Vec<MediaId>) -> Result<(), MediaError> {
        for id in &ids {
            self.inner.media.remove(id).await.map_err(MediaError::Disk)?;
        }
        self.inner.journal.forget_media(ids.clone()).await?;
        for id in &ids {
            self.inner.media.remove(id).await.map_err(MediaError::Disk)?;
        }
        Ok(())
    }

    /// Room on the disk for so many bytes, held until it is dropped; `None` when there is not
    /// enough.
    fn room_for(&self, n_bytes: u64) -> Option<Room> {
        let settings = &self.inner.settings;
        let free = rustix::fs::statvfs(&settings.data_dir)
            .map_or(u64::MAX, |it| it.f_bavail.saturating_mul(it.f_frsize));
        let spare = settings.min_free_disk_bytes.saturating_mul(SPARE_DISK);
        let coming = Arc::clone(&self.inner.media.coming);
        let before = coming.fetch_add(n_bytes, Ordering::Relaxed);
        let room = Room { coming, n_bytes };
        (free >= spare.saturating_add(before).saturating_add(n_bytes)).then_some(room)
    }

    async fn remove_old_media(&self) {
        let before = self.inner.clock.now() - MEDIA_KEPT;
        loop {
            let page = self.inner.journal.old_media(before, REMOVE_PAGE).await;
            let removed = match page.map_err(MediaError::from) {
                Ok(page) if page.is_empty() => return,
                Ok(page) => self.erase_files(page).await,
                Err(error) => Err(error),
            };
            if let Err(error) = removed {
                tracing::error!(error = %Chain(&error), "old files could not be removed");
                return;
            }
        }
    }

    /// Removes files that a crash left without a record.
    async fn sweep_media(&self) {
        for n in 0..=u8::MAX {
            let files = Arc::clone(&self.inner.media.files);
            let found = tokio::task::spawn_blocking(move || files.old(n)).await;
            let Ok(Ok(found)) = found else {
                tracing::error!("a directory of files could not be read");
                continue;
            };
            if found.is_empty() {
                continue;
            }
            let unknown = self.inner.journal.unknown_media(found).await;
            for id in unknown.unwrap_or_default() {
                tracing::info!(media.id = %id, "removed a file that nothing is known of");
                // Should it stay, the next start finds it again.
                let _ = self.inner.media.remove(&id).await;
            }
        }
    }
}

impl From<Fault> for MediaError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Disk(error) => Self::Disk(error),
            fault => Self::GivenUp(fault.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_vendor_has_a_part_of_what_all_may_have() {
        let vendor = |it: &str| VendorId::parse(it).unwrap();
        let (a, b, c) = (vendor("a"), vendor("b"), vendor("c"));
        let id = MediaId::of_upload;
        let shares = Shares::new(3, 2);
        let one = shares.take(&a, Some(&id(1))).unwrap();
        assert!(shares.take(&a, Some(&id(1))).is_none(), "one at a time has this file");
        let two = shares.take(&a, Some(&id(2))).unwrap();
        assert!(shares.take(&a, Some(&id(3))).is_none(), "the vendor has its part");
        let (files, mut full) = shares.full();
        full.dedup();
        assert_eq!((files, full), (vec![id(1), id(2)], vec![a.clone()]));
        let three = shares.take(&b, None).unwrap();
        assert!(shares.take(&c, None).is_none(), "all is in hand");
        drop(one);
        assert!(!shares.has(&id(1)) && shares.has(&id(2)));
        let four = shares.take(&c, None).unwrap();
        drop((two, three));
        assert!(shares.take(&a, Some(&id(2))).is_some());
        drop(four);
        assert!(shares.full().0.is_empty());
    }
}
