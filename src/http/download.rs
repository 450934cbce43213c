//! A file that comes back piece by piece.

use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;

use super::HttpError;

/// Until a file's first byte, and between two pieces of it.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A file that comes back piece by piece.
pub struct Download(reqwest::Response);

impl Download {
    pub(super) fn new(answer: reqwest::Response) -> Self {
        Self(answer)
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The bytes it announces.
    #[must_use]
    pub fn n_bytes(&self) -> Option<u64> {
        self.0.content_length()
    }

    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name)?.to_str().ok()
    }

    /// The next piece; `None` is the end of a body that came whole.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, HttpError> {
        let piece = tokio::time::timeout(PAUSE_MAX, self.0.chunk()).await;
        piece.map_err(|_| HttpError::NoAnswer)?.map_err(|_| HttpError::NoAnswer)
    }
}
