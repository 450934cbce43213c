//! A vendor as its webhooks and sends need it: all that is remembered of one.

use std::sync::Arc;

use super::{id::InstanceId, vendor::Vendor, waba::WabaInstance};

/// A vendor and its instances, read together.
#[derive(Clone, Debug)]
pub struct Known {
    /// The vendor.
    pub vendor: Vendor,
    /// Its instances, oldest first.
    pub instances: Vec<Arc<WabaInstance>>,
    /// The store is away, and this is what it last said: it may have changed since.
    pub is_copy: bool,
    /// Of each document that it was read from a hash of what matters, in a store that tells of
    /// changes by documents.
    pub marks: Box<[u64]>,
}

impl Known {
    /// Packed, because very many are kept: they share the vendor's id, and have no room to spare.
    #[must_use]
    pub fn new(mut vendor: Vendor, instances: Vec<WabaInstance>) -> Self {
        vendor.responders.shrink_to_fit();
        let pack = |mut it: WabaInstance| {
            it.vendor_id = vendor.id.clone();
            it.wasender.webhook_secrets.shrink_to_fit();
            Arc::new(it)
        };
        let instances: Box<[Arc<WabaInstance>]> = instances.into_iter().map(pack).collect();
        Self { vendor, instances: instances.into_vec(), is_copy: false, marks: Box::default() }
    }

    /// One of its instances.
    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> Option<&Arc<WabaInstance>> {
        self.instances.iter().find(|it| it.id == *id)
    }
}
