//! Seats for providers that fetch files from us. They have their own, beside those of vendors'
//! callers, and wait for one: what a provider could not fetch once it may not fetch again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::id::VendorId;

/// Files fetched at once by links, of all vendors and of one: as many as a few numbers at Twilio
/// send in a second, each of which may take some.
const SEATS_MAX: usize = 128;
const SEATS_PER_VENDOR_MAX: usize = 32;
/// How long one is waited for; well below what providers wait for an answer.
const SEAT_WITHIN: Duration = Duration::from_secs(8);

/// Who fetches a file by a link, in the order in which they came.
pub(super) struct Seats {
    all: Arc<Semaphore>,
    /// Of those only who have a seat or wait for one.
    of_vendors: Mutex<HashMap<VendorId, Weak<Semaphore>>>,
}

/// A place that is taken until this is dropped.
pub(super) struct Seat {
    _of_vendor: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Seats {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(SEATS_MAX)), of_vendors: Mutex::default() }
    }

    /// Waits for a seat; `None` when there was none in time.
    pub(super) async fn wait(&self, vendor: &VendorId) -> Option<Seat> {
        let (own, all) = (self.of_vendor(vendor), Arc::clone(&self.all));
        let seat = async {
            // A vendor's own first: who waits for that keeps no other vendor's waiting.
            let of_vendor = own.acquire_owned().await.ok()?;
            let of_all = all.acquire_owned().await.ok()?;
            Some(Seat { _of_vendor: of_vendor, _of_all: of_all })
        };
        tokio::time::timeout(SEAT_WITHIN, seat).await.ok().flatten()
    }

    fn of_vendor(&self, vendor: &VendorId) -> Arc<Semaphore> {
        let mut all = self.of_vendors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get(vendor).and_then(Weak::upgrade) {
            return own;
        }
        all.retain(|_, it| it.strong_count() > 0);
        let own = Arc::new(Semaphore::new(SEATS_PER_VENDOR_MAX));
        all.insert(vendor.clone(), Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_when_all_seats_are_taken_waits_for_one_and_only_for_its_vendors() {
        let [a, b] = ["a", "b"].map(|it| VendorId::parse(it).unwrap());
        let seats = Seats::new();
        let mut taken = Vec::new();
        for _ in 0..SEATS_PER_VENDOR_MAX {
            taken.push(seats.wait(&a).await.expect("a seat"));
        }
        let more = seats.wait(&a);
        tokio::pin!(more);
        let waits = tokio::time::timeout(Duration::from_millis(50), &mut more).await;
        assert!(waits.is_err(), "all seats are taken");
        assert!(seats.wait(&b).await.is_some(), "another vendor has its own");
        taken.pop();
        assert!(more.await.is_some());
    }
}
