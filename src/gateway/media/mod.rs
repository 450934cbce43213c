//! Files: fetched as soon as their message is kept, shown in clear to their vendor alone, uploaded
//! and sent, and removed after a time.

mod fetch;
mod link;
mod seats;
mod send;
mod serve;
mod shares;
mod store;

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use lru::LruCache;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub(in crate::gateway) use self::{
    fetch::give_key,
    send::FileToSend,
    shares::{Share, Shares},
};
use self::{seats::Seats, shares::Room};
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
        route::ProviderKind,
    },
    http::Http,
    journal::JournalError,
    media::{Fault, Files},
    store::StoreError,
    telemetry::Chain,
    vault::Vault,
};

/// Bytes of one vendor's files, together: one vendor must not fill the disk that all live on.
const VENDOR_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
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

type Places = LruCache<(Account, MediaId), (String, Millis)>;

/// An account of a number at a provider.
type Account = (InstanceId, ProviderKind, String);

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
    linked: Seats,
    proofs: Semaphore,
    /// Bytes of files that are being written, at most.
    coming: Arc<AtomicU64>,
    /// Where the provider has a file, and until when that is believed.
    places: Mutex<Places>,
    /// Seals links.
    vault: Arc<Vault>,
}

impl MediaKeeper {
    /// Opens the directory of files, or makes it.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn open(data_dir: &Path, http: Http, vault: Arc<Vault>) -> std::io::Result<Self> {
        Ok(Self {
            files: Arc::new(Files::open(data_dir)?),
            http,
            wake: Notify::new(),
            ended: Notify::new(),
            fetching: Shares::new(FETCHES_MAX, FETCHES_PER_VENDOR_MAX),
            stopping: CancellationToken::new(),
            callers: Shares::new(CALLERS_MAX, CALLERS_PER_VENDOR_MAX),
            linked: Seats::new(),
            proofs: Semaphore::new(PROOFS_MAX),
            coming: Arc::default(),
            places: Mutex::new(LruCache::new(PLACES_REMEMBERED)),
            vault,
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

    /// Whether so many bytes more are within a vendor's share of the disk.
    async fn has_share(&self, vendor: &VendorId, n_bytes: u64) -> Result<bool, JournalError> {
        let kept = self.inner.journal.media_bytes(vendor).await?;
        Ok(kept.saturating_add(n_bytes) <= VENDOR_BYTES_MAX)
    }

    /// Room on the disk for so many bytes, held until it is dropped; `None` when there is not
    /// enough.
    fn room_for(&self, n_bytes: u64) -> Option<Room> {
        let settings = &self.inner.settings;
        let free = rustix::fs::statvfs(&settings.data_dir)
            .map_or(u64::MAX, |it| it.f_bavail.saturating_mul(it.f_frsize));
        let spare = settings.min_free_disk_bytes.saturating_mul(SPARE_DISK);
        let (room, before) = Room::take(&self.inner.media.coming, n_bytes);
        (free >= spare.saturating_add(before).saturating_add(n_bytes)).then_some(room)
    }

    /// How long files are kept: no longer than what they came with.
    fn media_kept(&self) -> Millis {
        MEDIA_KEPT.min(self.inner.settings.retention)
    }

    async fn remove_old_media(&self) {
        let before = self.inner.clock.now() - self.media_kept();
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
