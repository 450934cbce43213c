//! Reading the body of a webhook: within a time, a size, and a bound on what all of them together
//! hold. Who cannot prove anything yet, and any one vendor, has a bounded share of that.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::error::ApiError;
use crate::domain::id::VendorId;

/// For the whole body.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of bodies held at once, apart for callers whose headers hold the secret and the others.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes held at once for one vendor.
const HELD_BYTES_PER_VENDOR_MAX: usize = 8 * 1024 * 1024;

/// Bounds on bodies in flight.
#[derive(Clone)]
pub(super) struct Bodies {
    proven: Pool,
    unproven: Pool,
    body_bytes_max: usize,
}

#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Shares>>);

#[derive(Default)]
struct Shares {
    n_bytes: usize,
    of_vendor: HashMap<VendorId, usize>,
}

/// A body, and its share of the bound until it is dropped.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _share: Share,
}

struct Share {
    pool: Pool,
    vendor: VendorId,
    n_bytes: usize,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Shares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    fn grow(&mut self, n_bytes: usize) -> Result<(), ApiError> {
        let mut shares = self.pool.lock();
        let of_vendor = shares.of_vendor.get(&self.vendor).copied().unwrap_or_default();
        if of_vendor + n_bytes > HELD_BYTES_PER_VENDOR_MAX
            || shares.n_bytes + n_bytes > HELD_BYTES_MAX
        {
            return Err(ApiError::Busy);
        }
        shares.n_bytes += n_bytes;
        *shares.of_vendor.entry(self.vendor.clone()).or_default() += n_bytes;
        self.n_bytes += n_bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.n_bytes == 0 {
            return;
        }
        let mut shares = self.pool.lock();
        shares.n_bytes -= self.n_bytes;
        if let Some(of_vendor) = shares.of_vendor.get_mut(&self.vendor) {
            *of_vendor -= self.n_bytes;
            if *of_vendor == 0 {
                shares.of_vendor.remove(&self.vendor);
            }
        }
    }
}

impl Bodies {
    pub(super) fn new(body_bytes_max: usize) -> Self {
        Self { proven: Pool::default(), unproven: Pool::default(), body_bytes_max }
    }

    /// Refuses a body by the length it announces.
    pub(super) fn check(&self, length: Option<usize>) -> Result<(), ApiError> {
        if length.is_some_and(|it| it > self.body_bytes_max) {
            return Err(ApiError::TooLarge);
        }
        Ok(())
    }

    /// Reads a body. What has not arrived holds nothing, so that slow callers cost nobody else.
    pub(super) async fn read(
        &self,
        vendor: &VendorId,
        is_proven: bool,
        body: Body,
    ) -> Result<Held, ApiError> {
        let pool = if is_proven { self.proven.clone() } else { self.unproven.clone() };
        let share = Share { pool, vendor: vendor.clone(), n_bytes: 0 };
        let read = tokio::time::timeout(BODY_TIMEOUT, self.read_slowly(body, share));
        read.await.map_err(|_| ApiError::TooSlow)?
    }

    async fn read_slowly(&self, mut body: Body, mut share: Share) -> Result<Held, ApiError> {
        let (mut first, mut rest) = (None::<Bytes>, BytesMut::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::Truncated)?;
            let Ok(data) = frame.into_data() else { continue };
            if share.n_bytes + data.len() > self.body_bytes_max {
                return Err(ApiError::TooLarge);
            }
            share.grow(data.len())?;
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

    fn vendor(n: usize) -> VendorId {
        VendorId::parse(&format!("v{n}")).unwrap()
    }

    #[tokio::test]
    async fn what_is_held_together_is_bounded_and_given_back() {
        let bodies = Bodies::new(HELD_BYTES_PER_VENDOR_MAX);
        let full = || Body::from(vec![0; HELD_BYTES_PER_VENDOR_MAX]);
        let mut held = Vec::new();
        for n in 0..HELD_BYTES_MAX / HELD_BYTES_PER_VENDOR_MAX {
            held.push(bodies.read(&vendor(n), false, full()).await.ok().unwrap());
            // One vendor's share is full, the others' are not.
            let more = bodies.read(&vendor(n), false, Body::from("a")).await;
            assert!(matches!(more, Err(ApiError::Busy)));
        }
        let other = bodies.read(&vendor(99), false, Body::from("a")).await;
        assert!(matches!(other, Err(ApiError::Busy)));
        // Strangers keep nobody out whose header holds the secret.
        assert!(bodies.read(&vendor(0), true, full()).await.is_ok());
        assert_eq!(held[0].bytes.len(), HELD_BYTES_PER_VENDOR_MAX);
        held.clear();
        assert!(bodies.read(&vendor(0), false, full()).await.is_ok());
        assert!(bodies.unproven.lock().of_vendor.is_empty());
    }
}
