//! Files: shown in clear, and uploaded.

use std::{fmt::Write, time::Duration};

use axum::{
    Json as Answer,
    body::{Body, BodyDataStream},
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
            CONTENT_TYPE, EXPECT, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Web,
    auth::ForVendor,
    error::ApiError,
    extract::{Path, Query},
};
use crate::{
    domain::{media::MediaId, message::MediaKind},
    gateway::{MediaError, MediaFile, NewFile, StoredFile},
};

/// A longer name is cut when it is shown, in characters.
const NAME_SHOWN_MAX: usize = 150;

/// Of a refused upload, read before it is answered.
const DRAINED_MAX: usize = 16 * 1024 * 1024;
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// A file in the path.
#[derive(Deserialize, IntoParams)]
pub(super) struct MediaPath {
    /// `msg_…`, a customer's file by its message, or `med_…`, an uploaded one.
    #[param(example = "med_01JD8Q5W7M0000000000000000")]
    media_id: String,
}

/// What is said of a file beside its type.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UploadQuery {
    /// What it is to be sent as: `image`, `video`, `audio`, `document` or `sticker`. Without it,
    /// what its type says.
    kind: Option<String>,
    /// Its name, at most 255 characters.
    file_name: Option<String>,
}

/// A file that was taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MediaView {
    /// What a message names it by. The file is kept for 30 days.
    media_id: String,
    /// What it may be sent as; any file may be sent as a document.
    kind: &'static str,
    /// Its type.
    mime_type: String,
    /// Its length.
    bytes: u64,
}

impl From<&StoredFile> for MediaView {
    fn from(it: &StoredFile) -> Self {
        Self {
            media_id: it.id.to_string(),
            kind: it.kind.as_str(),
            mime_type: it.mime_type.clone(),
            bytes: it.n_bytes,
        }
    }
}

/// Fetch a file in clear
///
/// A type that a browser could run is told as `application/octet-stream`.
#[utoipa::path(get, path = "/media/{media_id}", tag = "Media", operation_id = "getMedia",
    params(MediaPath),
    responses(
        (status = 200, description = "the file",
            content_type = "application/octet-stream", body = Vec<u8>),
        (status = 404, description = "the vendor has no such file, or it is older than 30 days"),
        (status = 410, description = "it cannot be had: `reason` is gone, too_large, quota, \
            bad_mac, bad_hash, bad_padding, truncated, bad_url, bad_key, refused, unreachable, \
            unreadable, damaged or lost"),
        (status = 503, description = "it is still being fetched, or too many files are being \
            read; try again after `retry-after`"),
    ))]
pub(super) async fn get(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<MediaPath>,
) -> Result<Response, ApiError> {
    let id = MediaId::parse(&path.media_id).map_err(|_| MediaError::Unknown)?;
    Ok(shown(web.gateway.media(&vendor, &id).await?))
}

fn shown(file: MediaFile) -> Response {
    let MediaFile { mime_type, file_name, n_bytes, pieces } = file;
    let fixed: [(HeaderName, &'static str); 4] = [
        (CONTENT_TYPE, mime_type),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "private, no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    ];
    let mut answer = (fixed, Body::from_stream(pieces)).into_response();
    answer.headers_mut().insert(CONTENT_LENGTH, n_bytes.into());
    answer.headers_mut().insert(CONTENT_DISPOSITION, disposition(&file_name));
    answer
}

/// A link to a file in the path.
#[derive(Deserialize, IntoParams)]
pub(super) struct LinkPath {
    /// What a provider was given with a message.
    token: String,
}

/// Fetch a file by a link that a provider was given
///
/// Good for a day. Only the gateway makes such links, for files that providers fetch when they send
/// them.
#[utoipa::path(get, path = "/media/{token}", tag = "Media", operation_id = "getLinkedMedia",
    security(()), params(LinkPath),
    responses(
        (status = 200, description = "the file",
            content_type = "application/octet-stream", body = Vec<u8>),
        (status = 404, description = "no such link, or it is too old"),
        (status = 410, description = "the file cannot be had any more"),
        (status = 503, description = "for seconds too many files were being read; try again after \
            `retry-after`"),
    ))]
pub(super) async fn get_linked(
    State(web): State<Web>,
    Path(path): Path<LinkPath>,
) -> Result<Response, ApiError> {
    Ok(shown(web.gateway.linked_media(&path.token).await?))
}

/// Upload a file, to be sent by its id
///
/// The body is the file, `Content-Type` its type.
#[utoipa::path(post, path = "/media", tag = "Media", operation_id = "uploadMedia",
    params(UploadQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream",
        description = "the file"),
    responses(
        (status = 201, description = "on disk, encrypted", body = MediaView),
        (status = 408, description = "the file came too slowly"),
        (status = 413, description = "larger than its kind may be: image 5 MB, video 50 MB, \
            document 100 MB, audio 16 MB, sticker 100 KB"),
        (status = 415, description = "the type is none that the kind may have"),
        (status = 422, description = "it is empty, or does not begin as its type does"),
        (status = 503, description = "too many files are being read or written, or the disk is \
            nearly full"),
    ))]
pub(super) async fn upload(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Answer<MediaView>), ApiError> {
    let kind = query.kind.as_deref().map(|it| {
        MediaKind::of_word(it).ok_or_else(|| {
            let why = "kind is one of image, video, audio, document, sticker";
            MediaError::Invalid(why.to_owned())
        })
    });
    let text = |name| headers.get(name).and_then(|it: &HeaderValue| it.to_str().ok());
    let new = NewFile {
        mime_type: text(CONTENT_TYPE).map(str::to_owned),
        kind: kind.transpose()?,
        file_name: query.file_name,
        n_bytes: text(CONTENT_LENGTH).and_then(|it| it.parse().ok()),
    };
    let mut body = body.into_data_stream();
    match web.gateway.store_media(&vendor, new, &mut body).await {
        Ok(stored) => Ok((StatusCode::CREATED, Answer(MediaView::from(&stored)))),
        Err(error) => {
            // Who asks first whether to send it has not sent it.
            if !headers.contains_key(EXPECT) {
                drain(body).await;
            }
            Err(error.into())
        }
    }
}

/// Reads some of what is still on its way: many clients look at an answer only when they have sent
/// everything, and a connection that is closed before that hides it from them.
pub(super) async fn drain(mut body: BodyDataStream) {
    let read = async {
        let mut n_left = DRAINED_MAX;
        while let Some(Ok(piece)) = body.next().await {
            let Some(left) = n_left.checked_sub(piece.len()) else { return };
            n_left = left;
        }
    };
    // Too slow or too much, the connection is closed.
    let _ = tokio::time::timeout(DRAIN_WITHIN, read).await;
}

/// A file to be kept, not shown, under this name (RFC 6266): once in ASCII for old clients, once as
/// it is.
fn disposition(name: &str) -> HeaderValue {
    let is_path = |it: char| matches!(it, '/' | '\\' | ':') || it.is_control();
    let name: String =
        name.chars().take(NAME_SHOWN_MAX).map(|it| if is_path(it) { '_' } else { it }).collect();
    let is_plain = |it: char| (it.is_ascii_graphic() || it == ' ') && !matches!(it, '"' | '%');
    let plain: String = name.chars().map(|it| if is_plain(it) { it } else { '_' }).collect();
    let mut exact = String::with_capacity(name.len() * 3);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            exact.push(char::from(byte));
        } else {
            let _ = write!(exact, "%{byte:02X}");
        }
    }
    let value = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}");
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_breaks_out_of_its_header_or_directory() {
        #[track_caller]
        fn check(name: &str, want: &str) {
            assert_eq!(disposition(name).to_str().unwrap(), format!("attachment; {want}"));
        }
        check("a.pdf", "filename=\"a.pdf\"; filename*=UTF-8''a.pdf");
        check("reçu 1.pdf", "filename=\"re_u 1.pdf\"; filename*=UTF-8''re%C3%A7u%201.pdf");
        check("../a\"\r\n: b", "filename=\".._a____ b\"; filename*=UTF-8''.._a%22___%20b");
        assert!(disposition(&"é".repeat(5_000)).len() < 1_200);
    }
}
