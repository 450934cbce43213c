//! From vendor to service.

use std::sync::Arc;

use super::{Parts, VendorService, WabaManager};
use crate::{domain::id::VendorId, store::StoreError};

/// `VendorId` → [`VendorService`]. A service is put together whenever it is asked for: what is
/// remembered is what the manager knows of the vendor, which is much smaller.
#[derive(Clone)]
pub struct VendorRegistry {
    manager: WabaManager,
    parts: Arc<Parts>,
}

impl VendorRegistry {
    /// Services of what this manager finds.
    #[must_use]
    pub fn new(manager: WabaManager, parts: Parts) -> Self {
        Self { manager, parts: Arc::new(parts) }
    }

    /// The vendor's service. `None` only when the store says that there is no such vendor.
    pub async fn get(&self, id: &VendorId) -> Result<Option<Arc<VendorService>>, StoreError> {
        let known = self.manager.known(id).await?;
        Ok(known.map(|it| Arc::new(VendorService::new(it, Arc::clone(&self.parts)))))
    }

    /// Drops what is remembered of a vendor, because it has changed, and tells the other gateways.
    pub async fn forget(&self, id: &VendorId) {
        self.manager.forget(id);
        self.manager.announce().await;
    }
}
