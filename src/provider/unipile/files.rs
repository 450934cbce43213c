//! Files: those that go with a message and are somewhere else today, and those of customers
//! (`docs/wire/meta-unipile-twilio.md` D1, D3).

use std::{io, time::Duration};

use futures_util::{StreamExt, stream};
use reqwest::{Method, StatusCode, header::HeaderMap};
use url::Url;

use super::{Generation, Unipile};
use crate::{
    domain::{
        delivery::{Reason, Refusal},
        media::{base_of, extension},
        message::Media,
        waba::WabaInstance,
    },
    http::{Download, HttpError, Request, Trust},
    provider::{Attempt, OpenFault, Upload, refused::refused},
};

/// For one file, from the connection to its last byte.
const FETCH_WITHIN: Duration = Duration::from_mins(5);
/// Of all files of a message: what Unipile's own client takes, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 26_214_400;
/// A file of which nobody says what it is.
const BYTES: &str = "application/octet-stream";

impl Unipile {
    /// A file at an address of the vendor's: Unipile takes no links, so it goes through us.
    pub(super) async fn linked(&self, media: &Media) -> Result<Upload, Attempt> {
        let unsupported = |word| refused(Refusal::FailOver(Reason::Unsupported), word);
        let url = media.url.as_deref().and_then(|it| Url::parse(it).ok());
        let url = url.ok_or_else(|| unsupported("no_file"))?;
        let request = Request {
            method: Method::GET,
            url: &url,
            trust: Trust::Vendor,
            headers: HeaderMap::new(),
            body: None,
            timeout: FETCH_WITHIN,
        };
        let retry = Refusal::Retry { not_before: None };
        let download = self.http.download(request).await.map_err(|error| match error {
            HttpError::Forbidden => unsupported("no_file"),
            _ => refused(retry, "file_away"),
        })?;
        match download.status() {
            it if it.is_success() => {}
            it if it.is_server_error() => return Err(refused(retry, "file_away")),
            _ => return Err(unsupported("no_file")),
        }
        // Its length is told before the file; one that does not tell its own cannot go through.
        let n_bytes = download.n_bytes().filter(|it| *it <= FILE_BYTES_MAX);
        let n_bytes = n_bytes.ok_or_else(|| unsupported("file_too_large"))?;
        let told = download.header("content-type").map(str::to_owned);
        let mime_type = media.mime_type.clone().or(told);
        Ok(Upload {
            mime_type: mime_type.unwrap_or_else(|| BYTES.to_owned()),
            n_bytes,
            pieces: stream::unfold(Some(download), pieces).boxed(),
        })
    }

    /// A customer's file.
    pub(super) async fn open_file(
        &self,
        instance: &WabaInstance,
        file: &Media,
    ) -> Result<Download, OpenFault> {
        let account = self.account(instance).ok_or(OpenFault::NoAnswer)?;
        let mut place = file.id.as_deref().unwrap_or_default().split('/');
        let (Some(chat), Some(message), Some(id), None) =
            (place.next(), place.next(), place.next(), place.next())
        else {
            return Err(OpenFault::Gone);
        };
        let url = match account.generation {
            Generation::V1 => account.url(&["messages", message, "attachments", id]),
            Generation::V2 => account.chat_url(chat, &["messages", message, "attachments", id]),
        };
        let headers = account.headers().map_err(|_| OpenFault::NoAnswer)?;
        let request = Request {
            method: Method::GET,
            url: &url,
            trust: account.trust,
            headers,
            body: None,
            timeout: FETCH_WITHIN,
        };
        let download = self.http.download(request).await.map_err(|error| match error {
            HttpError::Forbidden => OpenFault::Forbidden,
            _ => OpenFault::NoAnswer,
        })?;
        match download.status() {
            it if it.is_success() => Ok(download),
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(OpenFault::Gone)
            }
            _ => Err(OpenFault::NoAnswer),
        }
    }
}

/// A name for a file that has none.
pub(super) fn name(media: &Media, file: &Upload) -> String {
    let mime_type = base_of(&file.mime_type);
    format!("{}{}", media.kind.as_str(), extension(Some(&mime_type)))
}

/// Piece by piece; an error is the last.
async fn pieces(
    download: Option<Download>,
) -> Option<(io::Result<bytes::Bytes>, Option<Download>)> {
    let mut download = download?;
    match download.piece().await {
        Ok(Some(piece)) => Some((Ok(piece), Some(download))),
        Ok(None) => None,
        Err(error) => Some((Err(io::Error::other(error)), None)),
    }
}
