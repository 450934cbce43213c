//! What is in hand at once: files and the like, and room on the disk for those that are coming.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::domain::{id::VendorId, media::MediaId};

/// How many files are in hand, together and of each vendor.
pub(in crate::gateway) struct Shares {
    held: Mutex<Vec<Held>>,
    max: usize,
    per_vendor_max: usize,
}

struct Held {
    n: u64,
    vendor: VendorId,
    /// Only one at a time may have this one.
    alone: Option<MediaId>,
}

/// A file that is in hand until this is dropped.
pub(in crate::gateway) struct Share {
    shares: Arc<Shares>,
    n: u64,
}

/// Room on the disk.
pub(super) struct Room {
    coming: Arc<AtomicU64>,
    n_bytes: u64,
}

impl Room {
    /// Counts so many bytes as coming. Also answers how many were before.
    pub(super) fn take(coming: &Arc<AtomicU64>, n_bytes: u64) -> (Self, u64) {
        let before = coming.fetch_add(n_bytes, Ordering::Relaxed);
        (Self { coming: Arc::clone(coming), n_bytes }, before)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.coming.fetch_sub(self.n_bytes, Ordering::Relaxed);
    }
}

impl Shares {
    pub(in crate::gateway) fn new(max: usize, per_vendor_max: usize) -> Arc<Self> {
        Arc::new(Self { held: Mutex::default(), max, per_vendor_max })
    }

    /// Takes a file in hand; `None` when too many are, or when somebody has this one `alone`.
    pub(in crate::gateway) fn take(
        self: &Arc<Self>,
        vendor: &VendorId,
        alone: Option<&MediaId>,
    ) -> Option<Share> {
        let mut held = self.lock();
        let of_vendor = held.iter().filter(|it| it.vendor == *vendor).count();
        let is_taken = alone.is_some() && held.iter().any(|it| it.alone.as_ref() == alone);
        if held.len() >= self.max || of_vendor >= self.per_vendor_max || is_taken {
            return None;
        }
        let n = held.last().map_or(0, |it| it.n + 1);
        held.push(Held { n, vendor: vendor.clone(), alone: alone.cloned() });
        Some(Share { shares: Arc::clone(self), n })
    }

    pub(super) fn has(&self, id: &MediaId) -> bool {
        self.lock().iter().any(|it| it.alone.as_ref() == Some(id))
    }

    /// What is in hand, and who has as much as they may.
    pub(super) fn full(&self) -> (Vec<MediaId>, Vec<VendorId>) {
        let held = self.lock();
        let n_of = |it: &VendorId| held.iter().filter(|other| other.vendor == *it).count();
        let vendors = held.iter().map(|it| &it.vendor).filter(|it| n_of(it) >= self.per_vendor_max);
        (held.iter().filter_map(|it| it.alone.clone()).collect(), vendors.cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.lock().retain(|it| it.n != self.n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_vendor_has_a_part_of_what_all_may_have() {
        let vendor = |it: &str| VendorId::parse(it).unwrap();
        let (a, b, c) = (vendor("a"), vendor("b"), vendor("c"));
        let id = MediaId::of_upload;
        let shares = Shares::new(3, 2);
        let one = shares.take(&a, Some(&id(1))).unwrap();
        assert!(shares.take(&a, Some(&id(1))).is_none(), "one at a time has this file");
        let two = shares.take(&a, Some(&id(2))).unwrap();
        assert!(shares.take(&a, Some(&id(3))).is_none(), "the vendor has its part");
        let (files, mut full) = shares.full();
        full.dedup();
        assert_eq!((files, full), (vec![id(1), id(2)], vec![a.clone()]));
        let three = shares.take(&b, None).unwrap();
        assert!(shares.take(&c, None).is_none(), "all is in hand");
        drop(one);
        assert!(!shares.has(&id(1)) && shares.has(&id(2)));
        let four = shares.take(&c, None).unwrap();
        drop((two, three));
        assert!(shares.take(&a, Some(&id(2))).is_some());
        drop(four);
        assert!(shares.full().0.is_empty());
    }
}
