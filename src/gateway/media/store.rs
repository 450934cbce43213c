//! A file is taken from a vendor, to be sent later: encrypted on its way to the disk.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

use super::{Gateway, MediaError, VENDOR_BYTES_MAX};
use crate::{
    domain::{
        clock::Millis,
        id::VendorId,
        media::{HEAD_BYTES, MediaId, base_of, begins_like, size_word},
        message::{Content, Media, MediaKind},
        route::ProviderKind,
        waba::WabaInstance,
    },
    gateway::AdminError,
    journal::{MediaState, NewUpload, StoredMedia},
    media::{Fault, Inflow, MediaKey, Sealing},
    vendor::VendorService,
};

/// For a whole upload.
const UPLOAD_WITHIN: Duration = Duration::from_mins(15);
/// Between two pieces of it.
const PIECE_WITHIN: Duration = Duration::from_secs(20);
/// The longest name of a file, in characters.
const FILE_NAME_CHARS_MAX: usize = 255;
/// The longest type, in characters.
const TYPE_CHARS_MAX: usize = 127;
/// What forms and careless clients say, and no file is.
const NO_FILE_TYPES: [&str; 2] = ["application/x-www-form-urlencoded", "multipart/form-data"];

/// A file that a vendor uploads.
pub struct NewFile {
    /// What it says of its type.
    pub mime_type: Option<String>,
    /// What it is to be sent as; follows from its type without it.
    pub kind: Option<MediaKind>,
    /// Its name.
    pub file_name: Option<String>,
    /// The length it announces, in bytes.
    pub n_bytes: Option<u64>,
}

/// A file that was taken.
#[derive(Debug)]
pub struct StoredFile {
    /// Its id.
    pub id: MediaId,
    /// What it may be sent as.
    pub kind: MediaKind,
    /// Its type.
    pub mime_type: String,
    /// Its length, in bytes.
    pub n_bytes: u64,
}

impl Gateway {
    /// Takes a file to be sent later; it is on disk, encrypted, when this returns.
    ///
    /// # Errors
    ///
    /// Nothing of it is kept. Limits of size and type are those of `docs/wire/wasender.md` §2.1.
    pub async fn store_media<E>(
        &self,
        vendor: &VendorId,
        new: NewFile,
        body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    ) -> Result<StoredFile, MediaError> {
        if self.inner.registry.get(vendor).await?.is_none() {
            return Err(MediaError::NoVendor);
        }
        let (kind, mime_type) = kind_of(&new)?;
        let too_large = || {
            let max = size_word(kind.sent_bytes_max());
            MediaError::TooLarge(format!("a file of kind {} has at most {max}", kind.as_str()))
        };
        if new.n_bytes.is_some_and(|it| it > kind.sent_bytes_max()) {
            return Err(too_large());
        }
        let _share = self.inner.media.callers.take(vendor, None).ok_or(MediaError::Busy)?;
        let n_coming = new.n_bytes.unwrap_or_else(|| kind.sent_bytes_max());
        if !self.has_share(vendor, n_coming).await? {
            let max = size_word(VENDOR_BYTES_MAX);
            let why = format!("the vendor's files have at most {max} together, for 30 days each");
            return Err(MediaError::TooLarge(why));
        }
        let _room = self.room_for(n_coming).ok_or(MediaError::DiskFull)?;
        let mut random = [0; 16];
        let no_random = |_| MediaError::Disk(std::io::Error::other("no random numbers"));
        getrandom::fill(&mut random).map_err(no_random)?;
        let id = MediaId::of_upload(u128::from_be_bytes(random));
        let key = MediaKey::random().map_err(no_random)?;
        let text = key.to_text();
        let (files, file) = (Arc::clone(&self.inner.media.files), id.clone());
        let open =
            move || Ok(Sealing::new(files.create(&file)?, &key, kind, kind.sent_bytes_max()));
        let kept = tokio::time::timeout(UPLOAD_WITHIN, keep(&mime_type, open, body)).await;
        let n_bytes = match kept.map_err(|_| MediaError::TooSlow)? {
            Err(MediaError::GivenUp(_)) => return Err(too_large()),
            kept => kept?,
        };
        let upload = NewUpload {
            id: id.clone(),
            vendor: vendor.clone(),
            kind,
            mime_type: mime_type.clone(),
            file_name: new.file_name.filter(|it| !it.is_empty()),
            key: text,
            n_bytes,
            now: self.inner.clock.now(),
        };
        if let Err(error) = self.inner.journal.add_media(upload).await {
            // Should it stay, the next start removes it.
            let _ = self.inner.media.remove(&id).await;
            return Err(error.into());
        }
        Ok(StoredFile { id, kind, mime_type, n_bytes })
    }

    /// An uploaded file is still there when the message that has it leaves.
    pub(in crate::gateway) async fn check_file_is_kept(
        &self,
        vendor: &VendorId,
        content: &Content,
        until: Millis,
    ) -> Result<(), AdminError> {
        let Content::Media(Media { kind, upload: Some(id), .. }) = content else { return Ok(()) };
        let Ok(id) = MediaId::parse(id) else { return Ok(()) };
        let file = self.inner.journal.media(vendor, &id).await?;
        let kept_until = file.map(|it| it.made_at + self.media_kept());
        if kept_until.is_some_and(|it| it < until) {
            let why = "the file is kept until a time before sendAt; upload it again later";
            return Err(AdminError::Invalid(format!("{}.mediaId: {why}", kind.as_str())));
        }
        Ok(())
    }

    /// Checks a file that a message names before the message is kept, and completes what is said
    /// of it: its type, name and length.
    ///
    /// # Errors
    ///
    /// [`AdminError::Invalid`] when the vendor has no such file, or it cannot be sent as that.
    pub(in crate::gateway) async fn with_file(
        &self,
        vendor: &VendorId,
        content: Content,
    ) -> Result<Content, AdminError> {
        let Content::Media(mut media) = content else { return Ok(content) };
        let Some(id) = &media.upload else { return Ok(Content::Media(media)) };
        let field = media.kind.as_str();
        let invalid = |why: String| AdminError::Invalid(format!("{field}.mediaId: {why}"));
        let unknown = || invalid("there is no such file".to_owned());
        let id = MediaId::parse(id).map_err(|_| unknown())?;
        let file = self.inner.journal.media(vendor, &id).await?.ok_or_else(unknown)?;
        let StoredMedia { state, media: Some(of), .. } = file else { return Err(unknown()) };
        let n_bytes = match state {
            MediaState::Kept { n_bytes } => n_bytes,
            MediaState::ToFetch { .. } => return Err(invalid("it is still being fetched".into())),
            MediaState::GivenUp(word) => {
                return Err(invalid(format!("the file cannot be had: {word}")));
            }
        };
        let kind = media.kind;
        let mime_type = of.mime_type.unwrap_or_else(|| "application/octet-stream".to_owned());
        if !kind.takes(&mime_type) {
            let (is, wanted) = (base_of(&mime_type), kind.as_str());
            return Err(invalid(format!("a file of type {is} cannot be sent as {wanted}")));
        }
        if n_bytes > kind.sent_bytes_max() {
            let max = size_word(kind.sent_bytes_max());
            return Err(invalid(format!("a file of kind {} has at most {max}", kind.as_str())));
        }
        media.mime_type = Some(mime_type);
        media.file_name = media.file_name.take().or(of.file_name);
        media.bytes = Some(n_bytes);
        Ok(Content::Media(media))
    }

    /// A file of ours is one that a way out takes.
    pub(in crate::gateway) fn check_file(
        service: &VendorService,
        instance: &WabaInstance,
        content: &Content,
        only: Option<ProviderKind>,
    ) -> Result<(), AdminError> {
        let Content::Media(Media { kind, upload: Some(_), mime_type: Some(of), bytes, .. }) =
            content
        else {
            return Ok(());
        };
        let ways = instance.routes();
        let ways = ways.iter().filter(|it| only.is_none_or(|only| only == *it));
        let most = ways.filter_map(|it| service.provider(it).file_bytes_max(of)).max();
        let (field, of) = (kind.as_str(), base_of(of));
        let why = match most {
            None => format!("no provider of the number takes a file of type {of}"),
            Some(most) if bytes.is_some_and(|it| it > most) => {
                format!("a file of type {of} has at most {} there", size_word(most))
            }
            Some(_) => return Ok(()),
        };
        Err(AdminError::Invalid(format!("{field}.mediaId: {why}")))
    }
}

/// What the file is to be sent as, and its type.
fn kind_of(new: &NewFile) -> Result<(MediaKind, String), MediaError> {
    let mime_type = new.mime_type.as_deref().map(str::trim).unwrap_or_default();
    let (base, is_short) = (base_of(mime_type), mime_type.len() <= TYPE_CHARS_MAX);
    if !is_short || !base.contains('/') || NO_FILE_TYPES.contains(&base.as_str()) {
        let why = "Content-Type is the type of the file, like image/jpeg; the body is the file";
        return Err(MediaError::WrongType(why.to_owned()));
    }
    let kind = new.kind.unwrap_or_else(|| MediaKind::of_type(mime_type));
    if let Some(types) = kind.types().filter(|_| !kind.takes(mime_type)) {
        let types = types.join(", ");
        let why = format!("Content-Type of kind {} is one of {types}", kind.as_str());
        return Err(MediaError::WrongType(why));
    }
    let name = new.file_name.as_deref().unwrap_or_default();
    if name.chars().count() > FILE_NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let why = format!("fileName has at most {FILE_NAME_CHARS_MAX} characters, none of control");
        return Err(MediaError::Invalid(why));
    }
    Ok((kind, mime_type.to_owned()))
}

async fn keep<E>(
    mime_type: &str,
    open: impl FnOnce() -> Result<Sealing, Fault> + Send + 'static,
    mut body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
) -> Result<u64, MediaError> {
    let mut next = async || {
        let piece = tokio::time::timeout(PIECE_WITHIN, body.next()).await;
        piece.map_err(|_| MediaError::TooSlow)?.transpose().map_err(|_| MediaError::Truncated)
    };
    // The first bytes tell whether it is what it says, before the disk is asked for anything.
    let mut head = BytesMut::new();
    while head.len() < HEAD_BYTES
        && let Some(piece) = next().await?
    {
        head.extend_from_slice(&piece);
    }
    if head.is_empty() {
        return Err(MediaError::Invalid("the file is empty".to_owned()));
    }
    if !begins_like(mime_type, &head) {
        let base = base_of(mime_type);
        return Err(MediaError::Invalid(format!("the file does not begin as {base} does")));
    }
    let inflow = Inflow::start(open);
    let mut is_taken = inflow.put(head.freeze()).await;
    while is_taken && let Some(piece) = next().await? {
        is_taken = inflow.put(piece).await;
    }
    Ok(inflow.finish().await?)
}
