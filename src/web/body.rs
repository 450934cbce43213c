//! Reading the body of a webhook that has not proven itself: within a time, a size, and a bound on
//! what all of them together hold.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// For the whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of unproven bodies held at once.
const UNPROVEN_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A bound on unproven bytes in flight.
#[derive(Clone)]
pub(super) struct UnprovenBytes {
    free: Arc<Semaphore>,
    body_bytes_max: usize,
}

/// A body, and its share of the bound until it is dropped.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _share: Vec<OwnedSemaphorePermit>,
}

impl UnprovenBytes {
    pub(super) fn new(body_bytes_max: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(UNPROVEN_BYTES_MAX.max(body_bytes_max))),
            body_bytes_max,
        }
    }

    /// Reads a body. What has not arrived holds nothing, so that slow callers cost nobody else.
    pub(super) async fn read(&self, length: Option<usize>, body: Body) -> Result<Held, ApiError> {
        if length.is_some_and(|it| it > self.body_bytes_max) {
            return Err(ApiError::TooLarge);
        }
        let read = tokio::time::timeout(BODY_TIMEOUT, self.read_slowly(body));
        read.await.map_err(|_| ApiError::TooSlow)?
    }

    async fn read_slowly(&self, mut body: Body) -> Result<Held, ApiError> {
        let (mut first, mut rest) = (None::<Bytes>, BytesMut::new());
        let mut share = Vec::new();
        let mut n_bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::Truncated)?;
            let Ok(data) = frame.into_data() else { continue };
            n_bytes += data.len();
            if n_bytes > self.body_bytes_max {
                return Err(ApiError::TooLarge);
            }
            let n = u32::try_from(data.len()).unwrap_or(u32::MAX);
            let permit = Arc::clone(&self.free).try_acquire_many_owned(n);
            share.push(permit.map_err(|_| ApiError::Busy)?);
            // Most bodies are one frame, which then is not copied.
            match first.take() {
                None if rest.is_empty() => first = Some(data),
                None => rest.extend_from_slice(&data),
                Some(before) => {
                    rest.extend_from_slice(&before);
                    rest.extend_from_slice(&data);
                }
            }
        }
        Ok(Held { bytes: first.unwrap_or_else(|| rest.freeze()), _share: share })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_together_is_bounded_and_given_back() {
        let bound = UnprovenBytes::new(UNPROVEN_BYTES_MAX);
        let most = vec![0; UNPROVEN_BYTES_MAX - 1];
        let held = bound.read(None, Body::from(most)).await.ok().unwrap();
        assert!(matches!(bound.read(None, Body::from("ab")).await, Err(ApiError::Busy)));
        assert!(bound.read(None, Body::from("a")).await.is_ok());
        assert_eq!(held.bytes.len(), UNPROVEN_BYTES_MAX - 1);
        drop(held);
        assert!(bound.read(None, Body::from("ab")).await.is_ok());
        let too_large = Some(UNPROVEN_BYTES_MAX + 1);
        assert!(matches!(bound.read(too_large, Body::empty()).await, Err(ApiError::TooLarge)));
    }
}
