//! Vendors that have changed and are looked at again, each once however often it changed: what is
//! kept of them is renewed, and others may have had the keys that their numbers have now. However
//! many they are, they take no turns from those whose webhooks wait.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::WabaManager;
use crate::{
    cache::{Subject, memory::Looked, redis::Fetched},
    domain::{id::VendorId, known::Known},
    sqlite::DbError,
    store::{StoreError, decode},
};

/// How often and after how long Redis is asked again that is in doubt.
const DOUBTED_MAX: usize = 5;
const DOUBTED_FOR: Duration = Duration::from_millis(50);

/// Vendors that wait to be looked at again, in the order in which they changed first.
#[derive(Default)]
pub(super) struct Changed {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    order: VecDeque<VendorId>,
    /// Whether others may have had their keys.
    of_keys: HashMap<VendorId, bool>,
}

impl Changed {
    pub(super) fn add(&self, vendor: &VendorId, of_keys: bool) {
        let mut waiting = self.lock();
        match waiting.of_keys.get_mut(vendor) {
            Some(present) => *present |= of_keys,
            None => {
                waiting.of_keys.insert(vendor.clone(), of_keys);
                waiting.order.push_back(vendor.clone());
            }
        }
        drop(waiting);
        self.wake.notify_one();
    }

    fn next(&self) -> Option<(VendorId, bool)> {
        let mut waiting = self.lock();
        let vendor = waiting.order.pop_front()?;
        let of_keys = waiting.of_keys.remove(&vendor).unwrap_or_default();
        Some((vendor, of_keys))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WabaManager {
    /// Somebody else changed this vendor: it is forgotten, and looked at again with its keys.
    pub fn changed(&self, vendor: &VendorId) {
        self.forget(vendor);
        self.look_again_at(vendor, true);
    }

    /// Whether something that was heard of a vendor is a change: what is known of it here, by other
    /// gateways, or was known before, was not read from a document of this mark. Of a vendor that
    /// nobody knows everything is.
    pub async fn is_news(&self, vendor: &VendorId, mark: u64) -> bool {
        let has = |known: &Known| known.marks.contains(&mark);
        if let Looked::Found(known) = self.0.memory.vendor(vendor) {
            return !has(&known);
        }
        let subject = Subject::Vendor(vendor.clone());
        // A read that is under way may have begun before the change.
        self.0.forget_here(&subject);
        if let Some(redis) = &self.0.redis {
            let mut fetched = redis.get(&subject).await;
            // Nobody waits for this, and it is soon known.
            for _ in 0..DOUBTED_MAX {
                if !(matches!(fetched, Fetched::Away) && redis.is_doubted()) {
                    break;
                }
                tokio::time::sleep(DOUBTED_FOR).await;
                fetched = redis.get(&subject).await;
            }
            match fetched {
                Fetched::Value(bytes, _) => return !decode(&bytes).is_ok_and(|it| has(&it)),
                Fetched::Away if redis.trouble().is_some() => redis.note(subject),
                Fetched::Nothing(_) | Fetched::Away => {}
            }
        }
        let kept = self.0.source.kept_vendor(vendor).await.and_then(|it| it.found);
        !kept.is_some_and(|it| has(&it))
    }

    /// It waits to be looked at again.
    pub fn look_again_at(&self, vendor: &VendorId, of_keys: bool) {
        self.0.changed.add(vendor, of_keys);
    }

    /// The next one to be looked at again, and whether with its keys; waits until there is one.
    pub async fn next_changed(&self) -> (VendorId, bool) {
        loop {
            if let Some(next) = self.0.changed.next() {
                return next;
            }
            self.0.changed.wake.notified().await;
        }
    }

    /// Renews the copy of a vendor that has changed, so that it is not from before that should the
    /// store go away now, and forgets by whom its keys were claimed.
    pub async fn look_again(&self, vendor: &VendorId, of_keys: bool) -> Result<(), StoreError> {
        let source = &self.0.source;
        if !source.has_copy() && !of_keys {
            return Ok(());
        }
        // Without a copy nothing is to be renewed, and nobody may ever ask for it.
        let instances = if source.has_copy() {
            match self.known(vendor).await? {
                Some(known) if known.is_copy => return Err(DbError::Away.into()),
                Some(known) => known.instances.clone(),
                None => Vec::new(),
            }
        } else {
            source.instances(vendor).await?
        };
        if of_keys {
            instances.iter().for_each(|it| self.forget_keys(it));
            self.announce().await;
        }
        Ok(())
    }
}
