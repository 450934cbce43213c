//! How fast a send may leave beyond what the scheduler knows, which is the pace of a number's first
//! way: to one customer, where the provider limits that, and on each of a number's other ways.

use std::{
    hash::Hash,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lru::LruCache;

use super::Gateway;
use crate::domain::{
    clock::Millis,
    id::{ContactId, InstanceId},
    route::ProviderKind,
    schedule::{Limit, Pace},
};

/// Paces of either kind that are remembered; one that is not had a rest.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// What is remembered.
pub struct Paces {
    pairs: Kept<(InstanceId, ContactId)>,
    ways: Kept<(InstanceId, ProviderKind)>,
}

struct Kept<K: Hash + Eq>(Mutex<LruCache<K, Pace>>);

impl Default for Paces {
    fn default() -> Self {
        Self { pairs: Kept::new(), ways: Kept::new() }
    }
}

impl<K: Hash + Eq> Kept<K> {
    fn new() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }

    fn take(&self, key: K, limit: Limit, now: Millis) -> Result<(), Millis> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = kept.get_or_insert_mut(key, || Pace::rested(limit, now));
        pace.set_limit(limit);
        pace.take(1, now)
    }
}

impl Gateway {
    /// Takes a turn to write to this customer; the error is when there is one.
    pub(super) fn pair_turn(
        &self,
        instance: &InstanceId,
        contact: ContactId,
        via: ProviderKind,
    ) -> Result<(), Millis> {
        // `docs/wire/meta-unipile-twilio.md` B6.
        if via != ProviderKind::Meta {
            return Ok(());
        }
        let now = self.inner.clock.now();
        self.inner.paces.pairs.take((instance.clone(), contact), Limit::META_PAIR, now)
    }

    /// Takes a turn of a number on one of its ways; the error is when there is one. The scheduler
    /// has let it through by the pace of the `first` that is up: on that one it is only counted.
    pub(super) fn way_turn(
        &self,
        instance: &InstanceId,
        [first, via]: [ProviderKind; 2],
        limit: Limit,
    ) -> Result<(), Millis> {
        let turn =
            self.inner.paces.ways.take((instance.clone(), via), limit, self.inner.clock.now());
        if via == first { Ok(()) } else { turn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_a_pace_of_its_own_and_a_longer_wait_when_it_is_slower() {
        let (kept, id) = (Kept::new(), InstanceId::parse("n1").unwrap());
        let take = |via, limit: Limit, now| kept.take((id.clone(), via), limit, now);
        let n_at_once =
            (0..100).take_while(|_| take(ProviderKind::Unipile, Limit::UNIPILE, 0).is_ok()).count();
        assert!((1..100).contains(&n_at_once), "{n_at_once}");
        let until = take(ProviderKind::Unipile, Limit::UNIPILE, 0).unwrap_err();
        assert!(until > 0);
        assert_eq!(take(ProviderKind::Meta, Limit::META, 0), Ok(()));
        assert_eq!(take(ProviderKind::Unipile, Limit::UNIPILE, until), Ok(()));
    }
}
