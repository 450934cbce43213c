//! Fetching a customer's file: encrypted from WhatsApp (`docs/wire/wasender.md` §5.1), or in clear
//! from the provider that has it.
//!
//! The address of an encrypted one is from a customer: it reaches WhatsApp's own hosts and what the
//! operator allows, and nothing it answers is believed before its MAC is checked. One in clear is
//! opened by its provider, and encrypted here before it touches the disk.

use std::{sync::Arc, time::Duration};

use metrics::counter;
use reqwest::{Method, StatusCode, header::HeaderMap};
use tracing::Instrument;
use url::Url;

use super::{FETCHES_MAX, Gateway, Share};
use crate::{
    domain::{
        clock::{HOUR, MINUTE, Millis, SECOND},
        event::{Event, What},
        message::{Content, Media},
        route::ProviderKind,
        secret::ExposeSecret,
    },
    http::{Download, HttpError, Request, Trust},
    journal::{JournalError, MediaDue, MediaEnd, MediaState, StoredMedia},
    media::{Expected, Fault, Incoming, Inflow, MediaKey, Sealing},
    provider::{OpenFault, OpenedFile},
    sqlite::is_of_disk,
    telemetry::{Chain, names},
};

/// For one file, from the connection to its last byte.
const FETCH_WITHIN: Duration = Duration::from_mins(5);
/// A file that could not be reached for this long is given up.
const TRY_FOR: Millis = 6 * HOUR;
/// Between two tries; the last one again and again.
const PAUSES: [Millis; 7] =
    [5 * SECOND, 15 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR];

/// Why a try came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotFetched {
    /// Another may do better.
    Now(&'static str),
    /// None will.
    Ever(&'static str),
}

impl Gateway {
    /// Starts to fetch what is due, as far as there is room. When more will be due.
    pub(super) async fn fetch_due(&self) -> Result<Option<Millis>, JournalError> {
        let (not, not_of) = self.inner.media.fetching.full();
        let limit = FETCHES_MAX.saturating_sub(not.len());
        if limit == 0 {
            return Ok(None);
        }
        let query = MediaDue { now: self.inner.clock.now(), not, not_of, limit };
        let (files, next) = self.inner.journal.media_due(query).await?;
        let mut is_left = false;
        for file in files {
            match self.inner.media.fetching.take(&file.vendor, Some(&file.id)) {
                Some(share) => self.start_fetch(file, share),
                None => is_left = true,
            }
        }
        // Each end of a fetch wakes us; another look is due when one vendor had more than its part.
        if is_left {
            self.inner.media.wake();
        }
        Ok(next)
    }

    /// Fetches a file that is in hand, in a task of its own: it goes on when a caller does not wait.
    pub(super) fn start_fetch(&self, file: StoredMedia, share: Share) {
        let (gateway, stopping) = (self.clone(), self.inner.media.stopping.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = gateway.fetch(file, share) => {}
                // Nothing of it is kept; it is fetched after the restart.
                () = stopping.cancelled() => {}
            }
        });
    }

    /// Fetches a file and records what came of it.
    async fn fetch(&self, file: StoredMedia, share: Share) {
        let span = tracing::info_span!("media", vendor.id = %file.vendor, media.id = %file.id);
        async {
            let end = self.fetched(&file).await;
            let recorded = self.inner.journal.end_media(&file.id, end).await;
            match recorded {
                Ok(true) => {}
                Ok(false) => {
                    // Erased meanwhile. Should this fail, the next start removes it.
                    let _ = self.inner.media.remove(&file.id).await;
                }
                Err(error) => {
                    if !is_of_disk(&error) {
                        tracing::error!(error = %Chain(&error), "what came of a file could not be recorded");
                    }
                    let at = self.inner.clock.now() + super::AGAIN_AFTER;
                    self.inner.clock.sleep_until(at).await;
                }
            }
        }
        .instrument(span)
        .await;
        drop(share);
        self.inner.media.ended.notify_waiters();
        self.inner.media.wake();
    }

    async fn fetched(&self, file: &StoredMedia) -> MediaEnd {
        let now = self.inner.clock.now();
        let (word, end) = match self.try_fetch(file).await {
            Ok(n_bytes) => ("kept", MediaEnd::Kept { n_bytes }),
            Err(NotFetched::Ever(word)) => {
                tracing::warn!(why = word, "a customer's file was given up");
                (word, MediaEnd::GivenUp(word))
            }
            Err(NotFetched::Now(word)) if now - file.made_at >= TRY_FOR => {
                tracing::warn!(why = word, "a customer's file could not be reached for hours");
                (word, MediaEnd::GivenUp("unreachable"))
            }
            Err(NotFetched::Now(word)) => {
                tracing::info!(why = word, "a customer's file is tried again");
                let n_tries = match file.state {
                    MediaState::ToFetch { n_tries, .. } => n_tries as usize,
                    _ => 0,
                };
                let pause = PAUSES[n_tries.min(PAUSES.len() - 1)];
                (word, MediaEnd::Again { due: self.inner.clock.now() + pause })
            }
        };
        counter!(names::MEDIA_FETCHES, "outcome" => word).increment(1);
        end
    }

    async fn try_fetch(&self, file: &StoredMedia) -> Result<u64, NotFetched> {
        let media = file.media.as_ref().ok_or(NotFetched::Ever("lost"))?;
        if let Some(kind) = media.source {
            return self.fetch_clear(file, media, kind).await;
        }
        let (url, expected) = expected(media)?;
        let sealed_max = expected.sealed_max();
        self.check_share(file, sealed_max).await?;
        let _room = self.room_for(sealed_max).ok_or(NotFetched::Now("disk_full"))?;
        let request = Request {
            method: Method::GET,
            url: &url,
            trust: Trust::Customer,
            headers: HeaderMap::new(),
            body: None,
            timeout: FETCH_WITHIN,
        };
        let download = self.inner.media.http.download(request).await.map_err(NotFetched::from)?;
        NotFetched::check(download.status())?;
        if download.n_bytes().is_some_and(|it| it > sealed_max) {
            return Err(NotFetched::Ever("too_large"));
        }
        let (files, id) = (Arc::clone(&self.inner.media.files), file.id.clone());
        let open = move || Ok(Incoming::new(files.create(&id)?, expected));
        keep(download, Inflow::start(open)).await
    }

    /// A file that its provider gives out in clear, kept under the key that it was given when its
    /// message came.
    async fn fetch_clear(
        &self,
        file: &StoredMedia,
        media: &Media,
        kind: ProviderKind,
    ) -> Result<u64, NotFetched> {
        let key = media.media_key.as_deref().and_then(MediaKey::parse);
        let key = key.ok_or(NotFetched::Ever("bad_key"))?;
        let n_bytes_max = media.kind.received_bytes_max();
        let n_bytes = media.bytes.unwrap_or(n_bytes_max);
        if n_bytes > n_bytes_max {
            return Err(NotFetched::Ever("too_large"));
        }
        self.check_share(file, n_bytes).await?;
        let _room = self.room_for(n_bytes).ok_or(NotFetched::Now("disk_full"))?;
        let service = self.inner.registry.get(&file.vendor).await;
        let service = service.map_err(|_| NotFetched::Now("store"))?;
        let service = service.ok_or(NotFetched::Ever("gone"))?;
        let instance = file.instance.as_ref().and_then(|it| service.instance(it));
        let instance = instance.ok_or(NotFetched::Ever("gone"))?;
        let OpenedFile { download, mut announced } =
            service.provider(kind).open(instance, media).await?;
        NotFetched::check(download.status())?;
        if download.n_bytes().is_some_and(|it| it > n_bytes_max) {
            return Err(NotFetched::Ever("too_large"));
        }
        let (files, id) = (Arc::clone(&self.inner.media.files), file.id.clone());
        let sort = media.kind;
        announced.sha256.extend(media.sha256.clone());
        let open = move || {
            let sealing = Sealing::new(files.create(&id)?, &key, sort, n_bytes_max);
            Ok(sealing.expecting(announced))
        };
        keep(download, Inflow::start(open)).await
    }

    /// Whether the vendor may keep so many bytes more.
    async fn check_share(&self, file: &StoredMedia, n_bytes: u64) -> Result<(), NotFetched> {
        let share = self.has_share(&file.vendor, n_bytes).await;
        if share.map_err(|_| NotFetched::Now("journal"))? {
            Ok(())
        } else {
            Err(NotFetched::Ever("quota"))
        }
    }
}

/// Gives a file that comes in clear the key under which it is kept. Without one it is not fetched.
pub(in crate::gateway) fn give_key(event: &mut Event) {
    if let What::Message(Content::Media(it)) | What::Echo(Content::Media(it)) = &mut event.what
        && it.source.is_some()
    {
        let key = MediaKey::random().ok();
        it.media_key = key.map(|it| it.to_text().expose_secret().to_owned());
    }
}

async fn keep(mut download: Download, inflow: Inflow) -> Result<u64, NotFetched> {
    while let Some(piece) = download.piece().await? {
        if !inflow.put(piece).await {
            break;
        }
    }
    inflow.finish().await.map_err(|fault| match fault {
        Fault::TooLarge => NotFetched::Ever("too_large"),
        Fault::Damaged(damage) => NotFetched::Ever(damage.as_str()),
        Fault::BadHash => NotFetched::Ever("bad_hash"),
        Fault::Disk(error) => {
            tracing::error!(error = %error, "a file could not be written");
            NotFetched::Now("disk")
        }
    })
}

/// What the message says of its file, read strictly.
fn expected(media: &Media) -> Result<(Url, Expected), NotFetched> {
    let url = media.url.as_deref().and_then(|it| Url::parse(it).ok());
    let url = url.filter(|it| matches!(it.scheme(), "http" | "https"));
    let key = media.media_key.as_deref().and_then(MediaKey::parse);
    let expected = Expected {
        key: key.ok_or(NotFetched::Ever("bad_key"))?,
        kind: media.kind,
        sha256: media.sha256.clone(),
        encrypted_sha256: media.encrypted_sha256.clone(),
        n_bytes: media.bytes,
        n_bytes_max: media.kind.received_bytes_max(),
    };
    if media.bytes.is_some_and(|it| it > expected.n_bytes_max) {
        return Err(NotFetched::Ever("too_large"));
    }
    Ok((url.ok_or(NotFetched::Ever("bad_url"))?, expected))
}

impl NotFetched {
    /// WhatsApp answers 403, 404 or 410 when an address is too old.
    fn check(status: StatusCode) -> Result<(), Self> {
        match status {
            StatusCode::OK => Ok(()),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(Self::Ever("gone"))
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(Self::Now("throttled"))
            }
            status if status.is_server_error() => Err(Self::Now("failed")),
            _ => Err(Self::Ever("refused")),
        }
    }
}

impl From<OpenFault> for NotFetched {
    fn from(fault: OpenFault) -> Self {
        match fault {
            OpenFault::Gone => Self::Ever("gone"),
            OpenFault::Forbidden => Self::Ever("bad_url"),
            OpenFault::NoAnswer => Self::Now("no_answer"),
        }
    }
}

impl From<HttpError> for NotFetched {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Forbidden => Self::Ever("bad_url"),
            HttpError::NoConnection => Self::Now("no_connection"),
            HttpError::NoAnswer | HttpError::BrokeOff | HttpError::TooLarge => {
                Self::Now("no_answer")
            }
        }
    }
}
