//! Instances in this process's memory.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use crate::domain::{
    id::{InstanceId, VendorId},
    waba::{InstanceKey, WabaInstance},
};

/// Instances that are remembered; the least used go first.
const INSTANCES_MAX: u64 = 200_000;

/// One entry per instance, found by its id, its vendor or any of its keys.
#[derive(Clone)]
pub struct InstanceCache {
    entries: Cache<InstanceId, Arc<WabaInstance>>,
    of_vendor: Cache<VendorId, Arc<Vec<InstanceId>>>,
    by_key: Cache<InstanceKey, InstanceId>,
}

impl InstanceCache {
    /// Entries are forgotten after `ttl`.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self {
            entries: Cache::builder().max_capacity(INSTANCES_MAX).time_to_live(ttl).build(),
            of_vendor: Cache::builder().max_capacity(INSTANCES_MAX).time_to_live(ttl).build(),
            by_key: Cache::builder().max_capacity(2 * INSTANCES_MAX).time_to_live(ttl).build(),
        }
    }

    /// A vendor's instances, when all of them are remembered.
    #[must_use]
    pub fn of_vendor(&self, vendor: &VendorId) -> Option<Vec<Arc<WabaInstance>>> {
        self.of_vendor.get(vendor)?.iter().map(|it| self.entries.get(it)).collect()
    }

    /// The instance found by this key.
    #[must_use]
    pub fn by_key(&self, key: &InstanceKey) -> Option<Arc<WabaInstance>> {
        self.entries.get(&self.by_key.get(key)?)
    }

    /// Remembers a vendor's instances.
    pub fn put(&self, vendor: &VendorId, instances: &[Arc<WabaInstance>]) {
        for instance in instances {
            self.entries.insert(instance.id.clone(), Arc::clone(instance));
        }
        let ids = instances.iter().map(|it| it.id.clone()).collect();
        self.of_vendor.insert(vendor.clone(), Arc::new(ids));
    }

    /// Remembers by which key an instance was found. Only the store knows whether nobody else
    /// claims the key.
    pub fn put_key(&self, key: InstanceKey, id: InstanceId) {
        self.by_key.insert(key, id);
    }

    /// Forgets a vendor's instances.
    pub fn forget(&self, vendor: &VendorId) {
        for id in self.of_vendor.remove(vendor).iter().flat_map(|it| it.iter()) {
            for key in self.entries.remove(id).iter().flat_map(|it| it.keys()) {
                self.by_key.invalidate(&key);
            }
        }
    }

    /// Forgets by which key whom was found: another vendor may claim it now.
    pub fn forget_key(&self, key: &InstanceKey) {
        self.by_key.invalidate(key);
    }
}
