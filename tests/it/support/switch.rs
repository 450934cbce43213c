//! A store that several gateways share, which can be switched off and held up.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::watch;
use waba_gateway::{
    domain::{
        alert::Vitals,
        clock::Millis,
        event::Connection,
        id::{InstanceId, VendorId},
        secret::SecretString,
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    journal::SqliteJournal,
    sqlite::DbError,
    store::{
        Alert, ApiKey, Audit, Bulk, Census, Deed, Looked, Planned, SqliteStore, Store, StoreError,
        VendorPage, Wanted, Watch,
    },
    vault::Vault,
};

/// Stands for a store on another machine.
pub struct Switch {
    path: PathBuf,
    inner: SqliteStore,
    is_off: AtomicBool,
    is_held: watch::Sender<bool>,
    held: watch::Sender<HashSet<VendorId>>,
    are_puts_held: watch::Sender<bool>,
    pub n_puts: AtomicUsize,
    n_told: AtomicI64,
    pub n_vendor_reads: AtomicUsize,
    pub n_key_reads: AtomicUsize,
    /// How often a gateway looked at what was changed.
    pub n_looks: AtomicUsize,
}

impl Switch {
    pub fn open(directory: &Path, key: &SecretString) -> Arc<Self> {
        let vault = Arc::new(Vault::new(key, &[]).unwrap());
        let path = directory.join("elsewhere.db");
        let journal = SqliteJournal::open(&path, Arc::clone(&vault)).unwrap();
        Arc::new(Self {
            path,
            inner: SqliteStore::new(journal.db().clone(), vault),
            is_off: AtomicBool::new(false),
            is_held: watch::Sender::new(false),
            held: watch::Sender::default(),
            are_puts_held: watch::Sender::new(false),
            n_puts: AtomicUsize::new(0),
            n_told: AtomicI64::new(0),
            n_vendor_reads: AtomicUsize::new(0),
            n_key_reads: AtomicUsize::new(0),
            n_looks: AtomicUsize::new(0),
        })
    }

    /// What one instance is found by leads to another as well, as another program may have it.
    pub fn claim_too(&self, of: &InstanceId, by: &InstanceId) {
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        let sql = "INSERT INTO instance_keys (key, instance)
            SELECT key, ?2 FROM instance_keys WHERE instance = ?1";
        let n = connection.execute(sql, [of.as_str(), by.as_str()]).unwrap();
        assert!(n > 0, "it is found by nothing");
    }

    /// Everything fails until it is switched on.
    pub fn switch(&self, is_on: bool) {
        self.is_off.store(!is_on, Ordering::SeqCst);
    }

    /// Nothing is answered until it is let go.
    pub fn hold(&self, is_held: bool) {
        self.is_held.send_replace(is_held);
    }

    /// Nothing is answered of these vendors, and of all others it is.
    pub fn hold_only(&self, vendors: impl IntoIterator<Item = VendorId>) {
        self.held.send_replace(vendors.into_iter().collect());
    }

    /// No gateway gets an instance in until it is let go.
    pub fn hold_puts(&self, are_held: bool) {
        self.are_puts_held.send_replace(are_held);
    }

    /// Gateways notice what was changed by whoever changed it.
    pub fn tell(&self) {
        self.n_told.fetch_add(1, Ordering::SeqCst);
    }

    async fn reached_of(&self, vendor: &VendorId) -> Result<&SqliteStore, StoreError> {
        let mut held = self.held.subscribe();
        held.wait_for(|it| !it.contains(vendor)).await.unwrap();
        self.reached().await
    }

    /// When nothing is held that is kept only as it was planned.
    async fn to_put(&self) -> Result<&SqliteStore, StoreError> {
        self.n_puts.fetch_add(1, Ordering::SeqCst);
        let mut are_held = self.are_puts_held.subscribe();
        are_held.wait_for(|it| !it).await.unwrap();
        self.reached().await
    }

    async fn reached(&self) -> Result<&SqliteStore, StoreError> {
        let mut held = self.is_held.subscribe();
        held.wait_for(|it| !it).await.unwrap();
        if self.is_off.load(Ordering::SeqCst) {
            return Err(StoreError::from(DbError::Away));
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl Store for Switch {
    async fn vendor(&self, id: &VendorId) -> Result<Option<Vendor>, StoreError> {
        self.n_vendor_reads.fetch_add(1, Ordering::SeqCst);
        self.reached_of(id).await?.vendor(id).await
    }

    async fn vendors(
        &self,
        after: Option<&VendorId>,
        limit: usize,
    ) -> Result<VendorPage, StoreError> {
        self.reached().await?.vendors(after, limit).await
    }

    async fn put_vendor_if(
        &self,
        before: Option<&Vendor>,
        after: &Vendor,
    ) -> Result<(), StoreError> {
        self.to_put().await?.put_vendor_if(before, after).await
    }

    async fn pause(&self, vendor: Option<&VendorId>, is_paused: bool) -> Result<(), StoreError> {
        self.reached().await?.pause(vendor, is_paused).await
    }

    async fn paused(&self) -> Result<(Vec<VendorId>, bool), StoreError> {
        self.reached().await?.paused().await
    }

    async fn instances(&self, vendor: &VendorId) -> Result<Vec<WabaInstance>, StoreError> {
        self.reached_of(vendor).await?.instances(vendor).await
    }

    async fn instance_by_key(
        &self,
        key: &InstanceKey,
    ) -> Result<Option<(VendorId, InstanceId)>, StoreError> {
        self.n_key_reads.fetch_add(1, Ordering::SeqCst);
        self.reached().await?.instance_by_key(key).await
    }

    async fn is_claimed_by_another(
        &self,
        key: &InstanceKey,
        vendor: &VendorId,
    ) -> Result<bool, StoreError> {
        self.reached().await?.is_claimed_by_another(key, vendor).await
    }

    async fn put_instance_if(
        &self,
        before: Option<&WabaInstance>,
        after: &WabaInstance,
    ) -> Result<(), StoreError> {
        self.to_put().await?.put_instance_if(before, after).await
    }

    async fn put_all(
        &self,
        vendors: &[Vendor],
        instances: &[WabaInstance],
    ) -> Result<(), StoreError> {
        self.reached().await?.put_all(vendors, instances).await
    }

    async fn set_status(
        &self,
        instance: &InstanceId,
        status: Option<Connection>,
        at: Millis,
    ) -> Result<bool, StoreError> {
        self.reached().await?.set_status(instance, status, at).await
    }

    async fn put_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        self.reached().await?.put_key(key).await
    }

    async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        self.reached().await?.key_by_hash(hash).await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.reached().await?.keys().await
    }

    async fn delete_key(&self, id: &str) -> Result<bool, StoreError> {
        self.reached().await?.delete_key(id).await
    }

    /// Another one only when it is told: what gateways change on it they hear of through Redis.
    async fn version(&self) -> Result<i64, StoreError> {
        Ok(self.n_told.load(Ordering::SeqCst))
    }

    async fn set_keys_used(&self, used: &[(String, Millis)]) -> Result<(), StoreError> {
        self.reached().await?.set_keys_used(used).await
    }

    async fn changes_after(&self, seq: i64) -> Result<(Vec<VendorId>, i64), StoreError> {
        let changes = match self.reached().await {
            Ok(store) => store.changes_after(seq).await,
            Err(away) => Err(away),
        };
        self.n_looks.fetch_add(1, Ordering::SeqCst);
        changes
    }

    async fn delete_instance(
        &self,
        vendor: &VendorId,
        id: &InstanceId,
    ) -> Result<bool, StoreError> {
        self.reached().await?.delete_instance(vendor, id).await
    }

    async fn had_instance(&self, id: &InstanceId) -> Result<bool, StoreError> {
        self.reached().await?.had_instance(id).await
    }

    async fn set_failure(
        &self,
        instance: &InstanceId,
        error: &'static str,
        at: Millis,
    ) -> Result<(), StoreError> {
        self.reached().await?.set_failure(instance, error, at).await
    }

    async fn import(
        &self,
        vendors: &[Vendor],
        instances: &[WabaInstance],
    ) -> Result<(), StoreError> {
        self.reached().await?.import(vendors, instances).await
    }

    async fn import_if(&self, planned: &[Planned]) -> Result<(), StoreError> {
        self.to_put().await?.import_if(planned).await
    }

    async fn census(&self) -> Result<Census, StoreError> {
        self.reached().await?.census().await
    }
}

#[async_trait]
impl Audit for Switch {
    async fn add_deed(&self, deed: &Deed) -> Result<(), StoreError> {
        self.reached().await?.add_deed(deed).await
    }

    async fn deeds(
        &self,
        vendor: Option<&VendorId>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(i64, Deed)>, StoreError> {
        self.reached().await?.deeds(vendor, before, limit).await
    }
}

#[async_trait]
impl Watch for Switch {
    async fn vitals(&self, vendor: &VendorId) -> Result<Option<Vitals>, StoreError> {
        self.reached().await?.vitals(vendor).await
    }

    async fn refused(&self) -> Result<Vec<(VendorId, Vitals)>, StoreError> {
        self.reached().await?.refused().await
    }

    async fn vitals_of_all(&self) -> Result<Vitals, StoreError> {
        self.reached().await?.vitals_of_all().await
    }

    async fn add_vitals(&self, heard: &[(VendorId, Vitals)]) -> Result<(), StoreError> {
        self.reached().await?.add_vitals(heard).await
    }

    async fn disconnected(&self, vendors: &[VendorId]) -> Result<Vec<VendorId>, StoreError> {
        self.reached().await?.disconnected(vendors).await
    }

    async fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        self.reached().await?.alerts().await
    }

    async fn change_alerts(&self, raised: &[Alert], ended: &[Alert]) -> Result<(), StoreError> {
        self.reached().await?.change_alerts(raised, ended).await
    }
}

#[async_trait]
impl Bulk for Switch {
    fn batch_max(&self) -> usize {
        self.inner.batch_max()
    }

    async fn look(&self, wanted: Wanted) -> Result<Looked, StoreError> {
        self.reached().await?.look(wanted).await
    }

    async fn former_instances(&self) -> Result<Vec<InstanceId>, StoreError> {
        self.reached().await?.former_instances().await
    }

    async fn put_former_instances(&self, ids: &[InstanceId]) -> Result<(), StoreError> {
        self.reached().await?.put_former_instances(ids).await
    }
}
