//! The store in Firestore: the collections and fields of `docs/CONTRACT.md` §1, which other programs
//! read and write too. Only fields that differ are written; all others stay as they are.

mod audit;
mod bulk;
mod census;
mod changes;
mod claims;
mod client;
#[cfg(test)]
mod client_tests;
mod fault;
mod find;
pub mod form;
mod heirs;
mod instance;
mod list;
mod listen;
mod numbers;
mod put;
mod records;
mod reseal;
mod secret;
mod session;
mod shared;
mod value;
mod vendor;
mod watch;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use firestore::gcloud_sdk::google::firestore::v1::Value;
use moka::sync::Cache;

use self::{
    changes::Changes,
    client::{Client, Mark},
    instance::INSTANCES,
    put::{ImportIf, Put, PutIf, PutVendorIf, Remove, SetStatus},
    session::Session,
};
pub use self::{
    fault::Fault,
    reseal::{SECRETS, Turn, Turned},
};
use super::{ApiKey, Census, Planned, SqliteStore, Store, StoreError, VendorPage};
use crate::{
    config::FirestoreConfig,
    domain::{
        clock::{MINUTE, Millis},
        event::Connection,
        id::{InstanceId, VendorId},
        known::Known,
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    vault::Vault,
};

/// `lastSync` of one instance is written at most this often.
const SYNC_EVERY: Millis = MINUTE;
/// Instances of which that is known.
const SYNCED_MAX: u64 = 200_000;
/// Vendors and instances written in one transaction, at most. Each batch is kept or not as a whole.
const BATCH_MAX: usize = 100;

/// When `lastSync` of an instance was last written, and in which form it is there.
#[derive(Clone)]
struct Synced {
    at: Millis,
    /// `None`: its document was not read, or not to the end.
    form: Option<Form>,
}

/// The time that was there, or none.
type Form = Option<Value>;

/// The store in Firestore, with what is only for watching in the embedded database.
#[derive(Clone)]
pub struct FirestoreStore {
    client: Client,
    vault: Arc<Vault>,
    local: SqliteStore,
    changes: Changes,
    synced: Cache<InstanceId, Synced>,
}

impl FirestoreStore {
    /// A store that may be away for now.
    ///
    /// # Errors
    ///
    /// The credentials cannot be used, or the data was sealed with another key.
    pub async fn start(
        config: &FirestoreConfig,
        vault: Arc<Vault>,
        local: SqliteStore,
    ) -> Result<Self, StoreError> {
        Self::with(config, vault, local, Mark::Make).await
    }

    /// The same, to be looked at only: a database that was never used is not marked as ours.
    pub async fn start_to_read(
        config: &FirestoreConfig,
        vault: Arc<Vault>,
        local: SqliteStore,
    ) -> Result<Self, StoreError> {
        Self::with(config, vault, local, Mark::Leave).await
    }

    async fn with(
        config: &FirestoreConfig,
        vault: Arc<Vault>,
        local: SqliteStore,
        mark: Mark,
    ) -> Result<Self, StoreError> {
        // Its hashes are keyed with a key of its own: every node's are.
        let vault = Arc::new(vault.for_other_data().map_err(|_| Fault::Sealed)?);
        let keyed = local.keyed();
        // One that cannot be opened is told by Firestore's own.
        if let Some(key) = keyed.shared_hash_key().await.unwrap_or_default() {
            vault.use_hash_key(key);
        }
        let client = Client::start(config, Arc::clone(&vault), keyed, mark).await?;
        let synced =
            Cache::builder().max_capacity(SYNCED_MAX).time_to_live(Duration::from_mins(10)).build();
        Ok(Self { client, vault, local, changes: Changes::new(), synced })
    }

    /// What seals in it, and keys its hashes.
    #[must_use]
    pub fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault)
    }

    /// Whether Firestore has been reached.
    pub fn is_reached(&self) -> Result<(), StoreError> {
        self.session().map(|_| ())
    }

    fn session(&self) -> Result<Session, StoreError> {
        Ok(self.client.session()?)
    }

    async fn put(
        &self,
        vendors: &[Vendor],
        instances: &[WabaInstance],
        with_pauses: bool,
    ) -> Result<(), StoreError> {
        let session = self.session()?;
        let vault = self.vault.as_ref();
        let put = |vendors, instances| Put { vault, vendors, instances, with_pauses };
        if vendors.len() + instances.len() <= BATCH_MAX {
            return session.run(&put(vendors, instances)).await;
        }
        let of_vendors = vendors.chunks(BATCH_MAX).map(|it| (it, &[][..]));
        let of_instances = instances.chunks(BATCH_MAX).map(|it| (&[][..], it));
        for (n, (vendors, instances)) in of_vendors.chain(of_instances).enumerate() {
            let kept = session.run(&put(vendors, instances)).await;
            kept.map_err(|it| later(n, it))?;
        }
        Ok(())
    }

    /// That an instance was heard of. Its document is read once, for the form of the time in it.
    async fn sync(&self, id: &InstanceId, at: Millis) -> Result<(), StoreError> {
        let before = self.synced.get(id);
        if before.as_ref().is_some_and(|it| at - it.at < SYNC_EVERY) {
            return Ok(());
        }
        let Some(form) = before.and_then(|it| it.form) else {
            return self.sync_with(id, None, at).await.map(|_| ());
        };
        let session = self.session()?;
        self.synced.insert(id.clone(), Synced { at, form: Some(form.clone()) });
        let name = session.name(INSTANCES, id.as_str());
        if let Some(write) = put::last_sync(name, form.as_ref(), at) {
            // One that was deleted has none.
            session.commit_if(vec![write]).await?;
        }
        Ok(())
    }

    /// The same with what is said of its session. Whether that is news.
    async fn sync_with(
        &self,
        id: &InstanceId,
        status: Option<Connection>,
        at: Millis,
    ) -> Result<bool, StoreError> {
        let session = self.session()?;
        let before = self.synced.get(id).filter(|it| at - it.at < SYNC_EVERY);
        let last_sync = before.is_none().then_some(at);
        let at = before.map_or(at, |it| it.at);
        // Others who come meanwhile leave it to this one.
        self.synced.insert(id.clone(), Synced { at, form: None });
        let done = session.run(&SetStatus { id, status, last_sync }).await;
        let (is_news, form) = done.inspect_err(|_| self.synced.invalidate(id))?;
        self.synced.insert(id.clone(), Synced { at, form: Some(form) });
        Ok(is_news)
    }
}

#[async_trait]
impl Store for FirestoreStore {
    async fn vendor(&self, id: &VendorId) -> Result<Option<Vendor>, StoreError> {
        self.find_vendor(id).await
    }

    async fn to_remember(&self, id: &VendorId) -> Result<Option<Known>, StoreError> {
        // The library's futures are large.
        Box::pin(self.find_to_remember(id)).await
    }

    async fn vendors(
        &self,
        after: Option<&VendorId>,
        limit: usize,
    ) -> Result<VendorPage, StoreError> {
        self.list_vendors(after, limit).await
    }

    async fn put_vendor_if(
        &self,
        before: Option<&Vendor>,
        after: &Vendor,
    ) -> Result<(), StoreError> {
        self.session()?.run(&PutVendorIf { vault: &self.vault, before, after }).await
    }

    async fn pause(&self, vendor: Option<&VendorId>, is_paused: bool) -> Result<(), StoreError> {
        self.set_pause(vendor, is_paused).await
    }

    async fn paused(&self) -> Result<(Vec<VendorId>, bool), StoreError> {
        self.read_pauses().await
    }

    async fn instances(&self, vendor: &VendorId) -> Result<Vec<WabaInstance>, StoreError> {
        self.find_instances(vendor).await
    }

    async fn instance_by_key(
        &self,
        key: &InstanceKey,
    ) -> Result<Option<(VendorId, InstanceId)>, StoreError> {
        self.find_by_key(key).await
    }

    async fn is_claimed_by_another(
        &self,
        key: &InstanceKey,
        vendor: &VendorId,
    ) -> Result<bool, StoreError> {
        self.has_another(key, vendor).await
    }

    async fn put_instance_if(
        &self,
        before: Option<&WabaInstance>,
        after: &WabaInstance,
    ) -> Result<(), StoreError> {
        self.session()?.run(&PutIf { vault: &self.vault, before, after }).await
    }

    async fn put_all(
        &self,
        vendors: &[Vendor],
        instances: &[WabaInstance],
    ) -> Result<(), StoreError> {
        self.put(vendors, instances, false).await
    }

    async fn set_status(
        &self,
        instance: &InstanceId,
        status: Option<Connection>,
        at: Millis,
    ) -> Result<bool, StoreError> {
        if status.is_some() {
            return self.sync_with(instance, status, at).await;
        }
        self.sync(instance, at).await.map(|()| false)
    }

    async fn put_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        self.keep_key(key).await
    }

    async fn set_keys_used(&self, used: &[(String, Millis)]) -> Result<(), StoreError> {
        self.note_keys_used(used).await
    }

    async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        self.find_key(hash).await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.all_keys().await
    }

    async fn delete_key(&self, id: &str) -> Result<bool, StoreError> {
        self.remove_key(id).await
    }

    async fn version(&self) -> Result<i64, StoreError> {
        Ok(self.changes.last())
    }

    async fn changes_after(&self, seq: i64) -> Result<(Vec<VendorId>, i64), StoreError> {
        Ok(self.changes.after(seq))
    }

    fn first_heard_after(&self, seq: i64) -> Vec<(VendorId, u64)> {
        self.changes.first_after(seq)
    }

    fn n_begun(&self) -> Option<u64> {
        Some(self.changes.n_begun())
    }

    fn n_revoked(&self) -> u64 {
        self.changes.n_revoked()
    }

    async fn delete_instance(
        &self,
        vendor: &VendorId,
        id: &InstanceId,
    ) -> Result<bool, StoreError> {
        self.session()?.run(&Remove { vault: &self.vault, vendor, id }).await
    }

    async fn had_instance(&self, id: &InstanceId) -> Result<bool, StoreError> {
        let is_there = self.session()?.get_one(INSTANCES, id.as_str()).await?.is_some();
        Ok(is_there || self.was_instance(id).await?)
    }

    async fn set_failure(
        &self,
        instance: &InstanceId,
        error: &'static str,
        at: Millis,
    ) -> Result<(), StoreError> {
        let session = self.session()?;
        let name = session.name(INSTANCES, instance.as_str());
        if let Some(write) = put::failure(name, error, at) {
            session.commit_if(vec![write]).await?;
        }
        Ok(())
    }

    async fn import(
        &self,
        vendors: &[Vendor],
        instances: &[WabaInstance],
    ) -> Result<(), StoreError> {
        self.put(vendors, instances, true).await
    }

    async fn import_if(&self, planned: &[Planned]) -> Result<(), StoreError> {
        let session = self.session()?;
        for (n, planned) in put::batches(planned).enumerate() {
            let kept = session.run(&ImportIf { vault: &self.vault, planned }).await;
            kept.map_err(|it| later(n, it))?;
        }
        Ok(())
    }

    async fn census(&self) -> Result<Census, StoreError> {
        self.take_census().await
    }
}

/// Why the `n`th of several batches was not kept.
fn later(n: usize, why: StoreError) -> StoreError {
    if n == 0 { why } else { StoreError::Partly(Box::new(why)) }
}
