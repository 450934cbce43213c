//! The real store, which may be away for a moment, be late, or be the last that its process calls.

use async_trait::async_trait;
use waba_gateway::{
    domain::{
        alert::Vitals,
        clock::Millis,
        event::Connection,
        id::{InstanceId, VendorId},
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    store::{
        Alert, ApiKey, Audit, Bulk, Census, Deed, Looked, Planned, SqliteStore, Store, StoreError,
        VendorPage, Wanted, Watch,
    },
};

use super::{faults, world::Shared};

pub struct Flaky {
    pub inner: SqliteStore,
    pub world: Shared,
}

impl Flaky {
    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        faults::around(&self.world, call).await
    }
}

#[async_trait]
impl Store for Flaky {
    async fn vendor(&self, id: &VendorId) -> Result<Option<Vendor>, StoreError> {
        self.around(self.inner.vendor(id)).await
    }

    async fn vendors(
        &self,
        after: Option<&VendorId>,
        limit: usize,
    ) -> Result<VendorPage, StoreError> {
        self.around(self.inner.vendors(after, limit)).await
    }

    async fn put_vendor_if(
        &self,
        before: Option<&Vendor>,
        after: &Vendor,
    ) -> Result<(), StoreError> {
        self.around(self.inner.put_vendor_if(before, after)).await
    }

    async fn pause(&self, vendor: Option<&VendorId>, is_paused: bool) -> Result<(), StoreError> {
        self.around(self.inner.pause(vendor, is_paused)).await
    }

    async fn paused(&self) -> Result<(Vec<VendorId>, bool), StoreError> {
        self.around(self.inner.paused()).await
    }

    async fn instances(&self, vendor: &VendorId) -> Result<Vec<WabaInstance>, StoreError> {
        self.around(self.inner.instances(vendor)).await
    }

    async fn instance_by_key(
        &self,
        key: &InstanceKey,
    ) -> Result<Option<(VendorId, InstanceId)>, StoreError> {
        self.around(self.inner.instance_by_key(key)).await
    }

    async fn is_claimed_by_another(
        &self,
        key: &InstanceKey,
        vendor: &VendorId,
    ) -> Result<bool, StoreError> {
        self.around(self.inner.is_claimed_by_another(key, vendor)).await
    }

    async fn put_instance_if(
        &self,
        before: Option<&WabaInstance>,
        after: &WabaInstance,
    ) -> Result<(), StoreError> {
        self.around(self.inner.put_instance_if(before, after)).await
    }

    async fn put_all(
        &self,
        vendors: &[Vendor],
        instances: &[WabaInstance],
    ) -> Result<(), StoreError> {
        self.around(self.inner.put_all(vendors, instances)).await
    }

    async fn set_status(
        &self,
        instance: &InstanceId,
        status: Option<Connection>,
        at: Millis,
    ) -> Result<bool, StoreError> {
        self.around(self.inner.set_status(instance, status, at)).await
    }

    async fn put_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        self.around(self.inner.put_key(key)).await
    }

    async fn set_keys_used(&self, used: &[(String, Millis)]) -> Result<(), StoreError> {
        self.around(self.inner.set_keys_used(used)).await
    }

    async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        self.around(self.inner.key_by_hash(hash)).await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.around(self.inner.keys()).await
    }

    async fn delete_key(&self, id: &str) -> Result<bool, StoreError> {
        self.around(self.inner.delete_key(id)).await
    }

    async fn version(&self) -> Result<i64, StoreError> {
        self.around(self.inner.version()).await
    }

    async fn changes_after(&self, seq: i64) -> Result<(Vec<VendorId>, i64), StoreError> {
        self.around(self.inner.changes_after(seq)).await
    }

    async fn delete_instance(
        &self,
        vendor: &VendorId,
        id: &InstanceId,
    ) -> Result<bool, StoreError> {
        self.around(self.inner.delete_instance(vendor, id)).await
    }

    async fn had_instance(&self, id: &InstanceId) -> Result<bool, StoreError> {
        self.around(self.inner.had_instance(id)).await
    }

    async fn set_failure(
        &self,
        instance: &InstanceId,
        error: &'static str,
        at: Millis,
    ) -> Result<(), StoreError> {
        self.around(self.inner.set_failure(instance, error, at)).await
    }

    async fn import(
        &self,
        vendors: &[Vendor],
        instances: &[WabaInstance],
    ) -> Result<(), StoreError> {
        self.around(self.inner.import(vendors, instances)).await
    }

    async fn import_if(&self, planned: &[Planned]) -> Result<(), StoreError> {
        self.around(self.inner.import_if(planned)).await
    }

    async fn census(&self) -> Result<Census, StoreError> {
        self.around(self.inner.census()).await
    }
}

#[async_trait]
impl Audit for Flaky {
    async fn add_deed(&self, deed: &Deed) -> Result<(), StoreError> {
        self.around(self.inner.add_deed(deed)).await
    }

    async fn deeds(
        &self,
        vendor: Option<&VendorId>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(i64, Deed)>, StoreError> {
        self.around(self.inner.deeds(vendor, before, limit)).await
    }
}

#[async_trait]
impl Watch for Flaky {
    async fn vitals(&self, vendor: &VendorId) -> Result<Option<Vitals>, StoreError> {
        self.around(self.inner.vitals(vendor)).await
    }

    async fn refused(&self) -> Result<Vec<(VendorId, Vitals)>, StoreError> {
        self.around(self.inner.refused()).await
    }

    async fn vitals_of_all(&self) -> Result<Vitals, StoreError> {
        self.around(self.inner.vitals_of_all()).await
    }

    async fn add_vitals(&self, heard: &[(VendorId, Vitals)]) -> Result<(), StoreError> {
        self.around(self.inner.add_vitals(heard)).await
    }

    async fn disconnected(&self, vendors: &[VendorId]) -> Result<Vec<VendorId>, StoreError> {
        self.around(self.inner.disconnected(vendors)).await
    }

    async fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        self.around(self.inner.alerts()).await
    }

    async fn change_alerts(&self, raised: &[Alert], ended: &[Alert]) -> Result<(), StoreError> {
        self.around(self.inner.change_alerts(raised, ended)).await
    }
}

#[async_trait]
impl Bulk for Flaky {
    fn batch_max(&self) -> usize {
        self.inner.batch_max()
    }

    async fn look(&self, wanted: Wanted) -> Result<Looked, StoreError> {
        self.around(self.inner.look(wanted)).await
    }

    async fn former_instances(&self) -> Result<Vec<InstanceId>, StoreError> {
        self.around(self.inner.former_instances()).await
    }

    async fn put_former_instances(&self, ids: &[InstanceId]) -> Result<(), StoreError> {
        self.around(self.inner.put_former_instances(ids)).await
    }
}
