//! What the journal knows of files. The files themselves are in `media/` of the data directory.

use async_trait::async_trait;

use super::JournalError;
use crate::domain::{
    clock::Millis,
    id::{ContactId, InstanceId, VendorId},
    media::MediaId,
    message::{Media, MediaKind},
    secret::SecretString,
};

/// The part of the journal that knows which files there are.
#[async_trait]
pub trait MediaJournal {
    /// One of a vendor's files.
    async fn media(
        &self,
        vendor: &VendorId,
        id: &MediaId,
    ) -> Result<Option<StoredMedia>, JournalError>;

    /// Files that are to be fetched now, and when the next one will be.
    async fn media_due(
        &self,
        query: MediaDue,
    ) -> Result<(Vec<StoredMedia>, Option<Millis>), JournalError>;

    /// Keeps what is known of an uploaded file.
    async fn add_media(&self, upload: NewUpload) -> Result<(), JournalError>;

    /// Records what came of a try to fetch a file. `false`: the file was erased meanwhile.
    async fn end_media(&self, id: &MediaId, end: MediaEnd) -> Result<bool, JournalError>;

    /// Files of before this time, oldest first.
    async fn old_media(&self, before: Millis, limit: usize) -> Result<Vec<MediaId>, JournalError>;

    /// The files that came with the messages of a conversation.
    async fn media_of(&self, contact: ContactId) -> Result<Vec<MediaId>, JournalError>;

    /// Those of these files that nothing is known of.
    async fn unknown_media(&self, ids: Vec<MediaId>) -> Result<Vec<MediaId>, JournalError>;

    /// Bytes of a vendor's files that are kept.
    async fn media_bytes(&self, vendor: &VendorId) -> Result<u64, JournalError>;

    /// Forgets files.
    async fn forget_media(&self, ids: Vec<MediaId>) -> Result<(), JournalError>;
}

/// A file that a vendor uploaded, encrypted and on disk.
pub struct NewUpload {
    /// Its id.
    pub id: MediaId,
    /// Whose.
    pub vendor: VendorId,
    /// What it may be sent as.
    pub kind: MediaKind,
    /// Its type, like `image/jpeg`.
    pub mime_type: String,
    /// Its name.
    pub file_name: Option<String>,
    /// The key it is encrypted with, base64.
    pub key: SecretString,
    /// Bytes of the clear file.
    pub n_bytes: u64,
    /// When.
    pub now: Millis,
}

/// A file.
pub struct StoredMedia {
    /// Its id.
    pub id: MediaId,
    /// Whose.
    pub vendor: VendorId,
    /// Where it stands.
    pub state: MediaState,
    /// When it was announced or uploaded.
    pub made_at: Millis,
    /// The number that its message came to; none for an upload.
    pub instance: Option<InstanceId>,
    /// What it is and how it is opened; `None` when the message it came with is gone.
    pub media: Option<Media>,
}

/// Where a file stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaState {
    /// It is to be fetched.
    ToFetch {
        /// Not before then.
        due: Millis,
        /// Tries so far.
        n_tries: u32,
    },
    /// It is on disk.
    Kept {
        /// Bytes of the clear file.
        n_bytes: u64,
    },
    /// It will not be fetched.
    GivenUp(String),
}

/// Which files are asked for to be fetched.
pub struct MediaDue {
    /// Those due now or before.
    pub now: Millis,
    /// None of these, which are being fetched.
    pub not: Vec<MediaId>,
    /// None of these vendors', who have enough being fetched.
    pub not_of: Vec<VendorId>,
    /// At most so many.
    pub limit: usize,
}

/// What came of a try to fetch a file.
pub enum MediaEnd {
    /// It is on disk.
    Kept {
        /// Bytes of the clear file.
        n_bytes: u64,
    },
    /// It is to be tried again.
    Again {
        /// When.
        due: Millis,
    },
    /// It never will be, or is not there any more.
    GivenUp(&'static str),
}
