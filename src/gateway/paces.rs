//! How fast one customer may be written to, where the provider limits that.

use std::{
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

/// Conversations whose pace is remembered; one that is not had a rest.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// The pace of each pair of number and customer.
pub struct Pairs(Mutex<LruCache<(InstanceId, ContactId), Pace>>);

impl Default for Pairs {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
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
        let mut pairs = self.inner.pairs.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = pairs
            .get_or_insert_mut((instance.clone(), contact), || Pace::rested(Limit::META_PAIR, now));
        pace.take(1, now)
    }
}
