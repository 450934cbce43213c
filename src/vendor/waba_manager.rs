//! Finds instances: process memory, then the store.

use std::sync::Arc;

use crate::{
    cache::memory::InstanceCache,
    domain::{
        id::VendorId,
        waba::{InstanceKey, WabaInstance},
    },
    store::{SharedStore, StoreError},
};

/// Finds instances by vendor, number or the provider's id.
#[derive(Clone)]
pub struct WabaManager {
    cache: InstanceCache,
    store: SharedStore,
}

impl WabaManager {
    /// A manager over this memory and store.
    #[must_use]
    pub fn new(cache: InstanceCache, store: SharedStore) -> Self {
        Self { cache, store }
    }

    /// A vendor's instances.
    pub async fn of_vendor(&self, vendor: &VendorId) -> Result<Vec<Arc<WabaInstance>>, StoreError> {
        if let Some(found) = self.cache.of_vendor(vendor) {
            return Ok(found);
        }
        let found: Vec<Arc<WabaInstance>> =
            self.store.instances(vendor).await?.into_iter().map(Arc::new).collect();
        self.cache.put(vendor, &found);
        Ok(found)
    }

    /// The instance with this key; `None` also when two vendors claim it.
    pub async fn by_key(&self, key: &InstanceKey) -> Result<Option<Arc<WabaInstance>>, StoreError> {
        if let Some(found) = self.cache.by_key(key) {
            return Ok(Some(found));
        }
        let Some((vendor, id)) = self.store.instance_by_key(key).await? else { return Ok(None) };
        let found = self.of_vendor(&vendor).await?.into_iter().find(|it| it.id == id);
        if found.is_some() {
            self.cache.put_key(key.clone(), id);
        }
        Ok(found)
    }

    /// Forgets what is remembered of a vendor.
    pub fn forget(&self, vendor: &VendorId) {
        self.cache.forget(vendor);
    }

    /// Forgets by whom this instance's keys are claimed.
    pub fn forget_keys(&self, instance: &WabaInstance) {
        instance.keys().iter().for_each(|it| self.cache.forget_key(it));
    }
}
