//! The lazily filled map from vendor to service.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;

use super::{Parts, VendorService, WabaManager};
use crate::{
    domain::id::VendorId,
    store::{SharedStore, StoreError},
};

/// Vendors whose services are kept; the least used go first.
const VENDORS_MAX: u64 = 100_000;

/// `VendorId` → [`VendorService`]. An entry is made on first use, once however many ask, and dropped
/// when the vendor or one of its instances changes.
#[derive(Clone)]
pub struct VendorRegistry {
    services: Cache<VendorId, Arc<VendorService>>,
    store: SharedStore,
    manager: WabaManager,
    parts: Parts,
}

impl VendorRegistry {
    /// An empty registry.
    #[must_use]
    pub fn new(store: SharedStore, manager: WabaManager, parts: Parts, ttl: Duration) -> Self {
        let services = Cache::builder().max_capacity(VENDORS_MAX).time_to_live(ttl).build();
        Self { services, store, manager, parts }
    }

    /// The vendor's service. `None` only when the store says that there is no such vendor.
    pub async fn get(&self, id: &VendorId) -> Result<Option<Arc<VendorService>>, StoreError> {
        if let Some(service) = self.services.get(id).await {
            return Ok(Some(service));
        }
        let made = self.services.try_get_with(id.clone(), self.make(id)).await;
        match made {
            Ok(service) => Ok(Some(service)),
            Err(error) => error.as_ref().clone().map_or(Ok(None), Err),
        }
    }

    /// `Err(None)`: there is no such vendor, which is not remembered.
    async fn make(&self, id: &VendorId) -> Result<Arc<VendorService>, Option<StoreError>> {
        let vendor = self.store.vendor(id).await.map_err(Some)?.ok_or(None)?;
        let instances = self.manager.of_vendor(id).await.map_err(Some)?;
        Ok(Arc::new(VendorService::new(vendor, instances, &self.parts)))
    }

    /// Drops what is remembered of a vendor.
    pub async fn forget(&self, id: &VendorId) {
        self.manager.forget(id);
        self.services.invalidate(id).await;
    }
}
