//! A file is shown in clear to its vendor.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};

use super::{Gateway, MediaError};
use crate::{
    domain::{
        id::VendorId,
        media::{MediaId, extension, served_type},
        message::Media,
    },
    journal::{MediaEnd, MediaState, StoredMedia},
    media::{Clear, Fault, MediaKey, outflow},
};

/// How long a caller waits for a file that is not here yet.
const WAIT: Duration = Duration::from_secs(8);

/// A file in clear.
pub struct MediaFile {
    /// Its type, one that no browser runs.
    pub mime_type: &'static str,
    /// Its name: the sender's, else its id and what its type ends with.
    pub file_name: String,
    /// Its length, in bytes.
    pub n_bytes: u64,
    /// Its bytes.
    pub pieces: BoxStream<'static, io::Result<Bytes>>,
}

impl Gateway {
    /// One of a vendor's files, in clear. One that is not fetched yet is waited for.
    ///
    /// # Errors
    ///
    /// [`MediaError::NotYet`] when it is still not there after 8 seconds.
    pub async fn media(&self, vendor: &VendorId, id: &MediaId) -> Result<MediaFile, MediaError> {
        let share = self.inner.media.callers.take(vendor, None).ok_or(MediaError::Busy)?;
        self.file_in_clear(vendor, id, share).await
    }

    /// `held` is kept until the end of the file.
    pub(super) async fn file_in_clear(
        &self,
        vendor: &VendorId,
        id: &MediaId,
        held: impl Send + 'static,
    ) -> Result<MediaFile, MediaError> {
        let file = self.kept_file(vendor, id).await?;
        let media = file.media.as_ref().ok_or(MediaError::Unknown)?;
        let clear = self.open_file(&file, media).await?;
        Ok(MediaFile {
            mime_type: served_type(media.mime_type.as_deref()),
            file_name: file_name(media, id),
            n_bytes: clear.n_bytes(),
            pieces: outflow(clear, held).boxed(),
        })
    }

    /// The record of a file that is on disk, fetched now if need be.
    async fn kept_file(&self, vendor: &VendorId, id: &MediaId) -> Result<StoredMedia, MediaError> {
        let (fetching, mut is_tried) = (&self.inner.media.fetching, false);
        let wait = async {
            loop {
                // Before it is looked up: an end in between must wake us.
                let ended = self.inner.media.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                let file = self.inner.journal.media(vendor, id).await?;
                let file = file.ok_or(MediaError::Unknown)?;
                match &file.state {
                    MediaState::Kept { .. } => return Ok(file),
                    MediaState::GivenUp(word) => return Err(MediaError::GivenUp(word.clone())),
                    MediaState::ToFetch { .. } => {}
                }
                // One try for one caller, its own or the one that is under way.
                if is_tried && !fetching.has(id) {
                    return Err(MediaError::NotYet);
                }
                if let Some(share) = fetching.take(vendor, Some(id)) {
                    self.start_fetch(file, share);
                }
                is_tried |= fetching.has(id);
                ended.await;
            }
        };
        tokio::time::timeout(WAIT, wait).await.map_err(|_| MediaError::NotYet)?
    }

    /// Opens a file on disk, its MAC checked. One that is damaged or missing is recorded as such.
    pub(super) async fn open_file(
        &self,
        file: &StoredMedia,
        media: &Media,
    ) -> Result<Clear, MediaError> {
        let key = media.media_key.as_deref().and_then(MediaKey::parse);
        let key = key.ok_or_else(|| MediaError::GivenUp("bad_key".to_owned()))?;
        let (files, id, kind) = (Arc::clone(&self.inner.media.files), file.id.clone(), media.kind);
        let open = move || Clear::open(&files, &id, &key, kind);
        // Never closed; without its turn it is only less well spread.
        let turn = self.inner.media.proofs.acquire().await;
        let opened = tokio::task::spawn_blocking(open).await;
        drop(turn);
        let opened = opened.unwrap_or_else(|_| Err(io::Error::other("panicked").into()));
        let word = match opened {
            Ok(clear) => return Ok(clear),
            Err(Fault::Disk(error)) if error.kind() != io::ErrorKind::NotFound => {
                return Err(MediaError::Disk(error));
            }
            Err(Fault::Disk(_)) => "lost",
            Err(_) => "damaged",
        };
        if !self.inner.journal.end_media(&file.id, MediaEnd::GivenUp(word)).await? {
            return Err(MediaError::Unknown);
        }
        tracing::error!(media.id = %file.id, why = word, "a file that was kept cannot be read");
        Err(MediaError::GivenUp(word.to_owned()))
    }
}

fn file_name(media: &Media, id: &MediaId) -> String {
    let own = media.file_name.clone().filter(|it| !it.trim().is_empty());
    own.unwrap_or_else(|| format!("{id}{}", extension(media.mime_type.as_deref())))
}
