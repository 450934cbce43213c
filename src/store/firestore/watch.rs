//! What is only for watching this machine stays in the embedded database beside the store.

use async_trait::async_trait;
use firestore::gcloud_sdk::google::firestore::v1::Document;

use super::{
    FirestoreStore,
    instance::{self, INSTANCES},
    session::IN_MAX,
    value::{get_text, text},
};
use crate::{
    domain::{alert::Vitals, event::Connection, id::VendorId},
    store::{Alert, StoreError, Watch},
};

#[async_trait]
impl Watch for FirestoreStore {
    async fn vitals(&self, vendor: &VendorId) -> Result<Option<Vitals>, StoreError> {
        self.local.vitals(vendor).await
    }

    async fn refused(&self) -> Result<Vec<(VendorId, Vitals)>, StoreError> {
        self.local.refused().await
    }

    async fn vitals_of_all(&self) -> Result<Vitals, StoreError> {
        self.local.vitals_of_all().await
    }

    async fn add_vitals(&self, heard: &[(VendorId, Vitals)]) -> Result<(), StoreError> {
        self.local.add_vitals(heard).await
    }

    async fn disconnected(&self, vendors: &[VendorId]) -> Result<Vec<VendorId>, StoreError> {
        let session = self.session()?;
        let mut found: Vec<Document> = Vec::new();
        for some in vendors.chunks(IN_MAX) {
            let ids = some.iter().map(|it| text(it.as_str())).collect();
            found.extend(session.find(INSTANCES, "vendorId", ids).await?);
        }
        let is_off = |it: &Document| {
            let state = instance::connection(get_text(&it.fields, "status").as_deref());
            matches!(state, Connection::Disconnected | Connection::Error)
        };
        let off: Vec<VendorId> =
            found.iter().filter(|it| is_off(it)).filter_map(instance::vendor_of).collect();
        Ok(vendors.iter().filter(|it| off.contains(it)).cloned().collect())
    }

    async fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        self.local.alerts().await
    }

    async fn change_alerts(&self, raised: &[Alert], ended: &[Alert]) -> Result<(), StoreError> {
        self.local.change_alerts(raised, ended).await
    }
}
