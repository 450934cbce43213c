//! Vendors, instances and keys.

mod accounts;
mod audit;
mod bulk;
mod census;
mod copy;
mod document;
pub mod exchange;
pub mod firestore;
mod keyed;
mod known;
mod planned;
mod put;
mod rows;
mod sqlite;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::{
    audit::{Audit, Deed},
    bulk::{Bulk, Looked, Stored, Wanted},
    census::{Census, Failure},
    copy::LocalCopy,
    firestore::FirestoreStore,
    keyed::{Keyed, check_key},
    known::{decode, encode},
    planned::Planned,
    sqlite::SqliteStore,
    watch::{Alert, Watch},
};
use crate::{
    domain::{
        clock::Millis,
        event::Connection,
        id::{InstanceId, VendorId},
        known::Known,
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    sqlite::DbError,
};

/// The store could not say, or could not keep it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The embedded database.
    #[error("store")]
    Embedded(#[from] DbError),
    /// Firestore.
    #[error("store")]
    Firestore(#[from] firestore::Fault),
    /// A number or session that is to be taken is another vendor's.
    #[error(
        "another vendor has this phone number, wasenderInstanceId, metaPhoneNumberId or Unipile account"
    )]
    Claimed,
    /// The same of the vendor itself.
    #[error(
        "another instance of this vendor has this phone number, wasenderInstanceId, metaPhoneNumberId or Unipile account"
    )]
    Twice,
    /// An instance is there, or was, where a new one was to be made.
    #[error("there is or was an instance of this id")]
    Taken,
    /// What is stored is not what the change was planned from.
    #[error("it was changed meanwhile; repeat")]
    Changed,
    /// Some of what was to be kept together was kept, the rest was not.
    #[error("{0}; a part of it was kept: do the same again")]
    Partly(#[source] Box<Self>),
}

impl StoreError {
    /// Whether the store is away, and the same may succeed when it is back.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Firestore(fault) => fault.is_away(),
            Self::Embedded(DbError::Away) => true,
            Self::Partly(error) => error.is_away(),
            Self::Embedded(_) | Self::Claimed | Self::Twice | Self::Taken | Self::Changed => false,
        }
    }

    /// Whether too many ask at this moment.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Embedded(DbError::Busy))
    }

    /// Whether what is stored is there, and no key of ours opens it, or it is damaged: the same
    /// fails until somebody mends it, and says nothing of what is stored beside it.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        match self {
            Self::Firestore(fault) => fault.is_unreadable(),
            Self::Embedded(DbError::Unreadable(_)) => true,
            Self::Partly(error) => error.is_unreadable(),
            Self::Embedded(_) | Self::Claimed | Self::Twice | Self::Taken | Self::Changed => false,
        }
    }
}

/// Some vendors, in order of their ids.
#[derive(Clone, Debug, Default)]
pub struct VendorPage {
    /// Those that can be read.
    pub vendors: Vec<Vendor>,
    /// Those that are there and cannot be read.
    pub unreadable: Vec<VendorId>,
    /// After whom the list goes on; `None` at its end.
    pub next: Option<VendorId>,
}

/// Vendors, instances and keys. `None` is "does not exist", an error is "could not find out".
#[async_trait]
pub trait Store: Watch + Audit + Bulk + Send + Sync {
    /// A vendor.
    async fn vendor(&self, id: &VendorId) -> Result<Option<Vendor>, StoreError>;

    /// A vendor with its instances, for whoever remembers them: what others change of it from now
    /// on is told by [`Self::changes_after`].
    async fn to_remember(&self, id: &VendorId) -> Result<Option<Known>, StoreError> {
        let Some(vendor) = self.vendor(id).await? else { return Ok(None) };
        Ok(Some(Known::new(vendor, self.instances(id).await?)))
    }

    /// Vendors in order of their ids, after one; at most so many. One that cannot be read hides no
    /// other.
    async fn vendors(
        &self,
        after: Option<&VendorId>,
        limit: usize,
    ) -> Result<VendorPage, StoreError>;

    /// Keeps a vendor, new or changed, whatever is stored. Whether it is paused is kept apart.
    async fn put_vendor(&self, vendor: &Vendor) -> Result<(), StoreError> {
        self.put_all(std::slice::from_ref(vendor), &[]).await
    }

    /// Keeps a new vendor where there is nothing `before`, else one in the place of that: decided
    /// in the transaction that writes it. [`StoreError::Changed`] when somebody else has made or
    /// changed it.
    async fn put_vendor_if(
        &self,
        before: Option<&Vendor>,
        after: &Vendor,
    ) -> Result<(), StoreError>;

    /// Stops a vendor's sends, or lets them go on; `None` is everybody.
    async fn pause(&self, vendor: Option<&VendorId>, is_paused: bool) -> Result<(), StoreError>;

    /// The vendors that are paused, and whether everybody is.
    async fn paused(&self) -> Result<(Vec<VendorId>, bool), StoreError>;

    /// A vendor's instances, oldest first.
    async fn instances(&self, vendor: &VendorId) -> Result<Vec<WabaInstance>, StoreError>;

    /// The instance with this id, or found by this key. A key claimed by two vendors finds none.
    async fn instance_by_key(
        &self,
        key: &InstanceKey,
    ) -> Result<Option<(VendorId, InstanceId)>, StoreError>;

    /// Whether another vendor's instance has this key.
    async fn is_claimed_by_another(
        &self,
        key: &InstanceKey,
        vendor: &VendorId,
    ) -> Result<bool, StoreError>;

    /// Keeps an instance, new or changed, whatever is stored. [`StoreError::Claimed`] when it takes
    /// what another vendor has.
    async fn put_instance(&self, instance: &WabaInstance) -> Result<(), StoreError> {
        self.put_all(&[], std::slice::from_ref(instance)).await
    }

    /// Keeps a new instance where there is nothing `before`, else one in the place of that: decided
    /// in the transaction that writes it. Besides [`StoreError::Claimed`], [`StoreError::Taken`]
    /// when the new one's id is or was somebody's, [`StoreError::Changed`] when somebody else has
    /// changed or deleted what it was planned from, and [`StoreError::Twice`] when it takes what
    /// another instance of the vendor has.
    async fn put_instance_if(
        &self,
        before: Option<&WabaInstance>,
        after: &WabaInstance,
    ) -> Result<(), StoreError>;

    /// Keeps vendors and instances together: all or none. More than a hundred may be kept in
    /// several steps where the store has no transaction that large; [`StoreError::Partly`] when a
    /// later one fails.
    async fn put_all(
        &self,
        vendors: &[Vendor],
        instances: &[WabaInstance],
    ) -> Result<(), StoreError>;

    /// What the provider says of the session. Touches nothing else of the instance. Whether the
    /// status is another than before.
    async fn set_status(
        &self,
        instance: &InstanceId,
        status: Option<Connection>,
        at: Millis,
    ) -> Result<bool, StoreError>;

    /// Keeps a key's hash.
    async fn put_key(&self, key: &ApiKey) -> Result<(), StoreError>;

    /// The key with this hash.
    async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError>;

    /// All keys.
    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError>;

    /// Keeps when keys were last used, by their ids.
    async fn set_keys_used(&self, used: &[(String, Millis)]) -> Result<(), StoreError>;

    /// Revokes a key. Whether there was one.
    async fn delete_key(&self, id: &str) -> Result<bool, StoreError>;

    /// Another number as soon as another process may have changed something. In the embedded
    /// database it is of one connection and changes when any other has committed.
    async fn version(&self) -> Result<i64, StoreError>;

    /// Vendors that changed after `seq`, by whichever process, and the last change's number.
    async fn changes_after(&self, seq: i64) -> Result<(Vec<VendorId>, i64), StoreError>;

    /// Vendors of which something was heard after `seq` that may be no change: it is none where
    /// what is known of the vendor has this mark.
    fn first_heard_after(&self, _seq: i64) -> Vec<(VendorId, u64)> {
        Vec::new()
    }

    /// How often it was begun to listen for changes, with nothing known of those before. `None`: no
    /// change is ever missed.
    fn n_begun(&self) -> Option<u64> {
        None
    }

    /// How many gateway keys were revoked elsewhere, as far as that was heard, and how often some may
    /// have been without it.
    fn n_revoked(&self) -> u64 {
        0
    }

    /// Removes an instance and what it is found by. Whether the vendor had it.
    async fn delete_instance(&self, vendor: &VendorId, id: &InstanceId)
    -> Result<bool, StoreError>;

    /// Whether an instance of this id exists or ever did, whoever's it is.
    async fn had_instance(&self, id: &InstanceId) -> Result<bool, StoreError>;

    /// Keeps why a send from this instance last failed; `error` is a word of ours.
    async fn set_failure(
        &self,
        instance: &InstanceId,
        error: &'static str,
        at: Millis,
    ) -> Result<(), StoreError>;

    /// As [`Self::put_all`], and whether the vendors are paused.
    async fn import(
        &self,
        vendors: &[Vendor],
        instances: &[WabaInstance],
    ) -> Result<(), StoreError>;

    /// As [`Self::import`]. [`StoreError::Changed`] when one of the vendors is not stored any more
    /// as it was when that was planned.
    async fn import_if(&self, planned: &[Planned]) -> Result<(), StoreError>;

    /// Vendors and instances counted, with the latest failures.
    async fn census(&self) -> Result<Census, StoreError>;
}

/// A gateway key. The key itself is shown once and never kept.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// By which it is listed and revoked.
    pub id: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// What it is for.
    pub name: String,
    /// The one vendor it may speak for; `None` is an admin's.
    pub vendor: Option<VendorId>,
    /// It may only look.
    pub read_only: bool,
    /// When it was made.
    pub created_at: Millis,
    /// From when on it is good for nothing.
    pub expires_at: Option<Millis>,
    /// When it was last used, to the minute.
    pub used_at: Option<Millis>,
}

/// A store, shared.
pub type SharedStore = Arc<dyn Store>;
