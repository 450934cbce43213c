//! Many vendors at once: for whoever brings them in, or moves them to another store.

use std::collections::{BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use rusqlite::{Connection as Sqlite, params};

use super::{
    SqliteStore, StoreError,
    put::token,
    rows::{instance_id, instances_of, vendor_id, vendor_of},
};
use crate::{
    domain::{
        id::{InstanceId, VendorId},
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    sqlite::DbError,
    vault::Vault,
};

/// What is asked of many vendors at once.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What is stored of these.
    pub vendors: Vec<VendorId>,
    /// Who has these.
    pub keys: Vec<InstanceKey>,
    /// Which of these exist, and which were deleted.
    pub instances: Vec<InstanceId>,
}

/// The answer to [`Wanted`]. Who is not in it is not in the store.
#[derive(Debug, Default)]
pub struct Looked {
    /// Vendors; one that cannot be read is that one's trouble alone.
    pub vendors: HashMap<VendorId, Result<Stored, StoreError>>,
    /// Who has a key; several when other programs gave it to several.
    pub owners: HashMap<InstanceKey, BTreeSet<VendorId>>,
    /// Instances that exist, whoever's they are.
    pub instances: HashSet<InstanceId>,
    /// Those that were deleted, whose ids are not given again.
    pub former: HashSet<InstanceId>,
}

/// What is stored of a vendor.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The vendor. Its instances may be there without it.
    pub vendor: Option<Vendor>,
    /// Its instances, oldest first.
    pub instances: Vec<WabaInstance>,
}

/// What is done with many vendors at once.
#[async_trait]
pub trait Bulk: Send + Sync {
    /// Vendors and instances that [`put_all`](super::Store::put_all) keeps in one transaction.
    fn batch_max(&self) -> usize;

    /// What is stored of many vendors, in few steps.
    async fn look(&self, wanted: Wanted) -> Result<Looked, StoreError>;

    /// The ids of instances that were deleted, which are not given again.
    async fn former_instances(&self) -> Result<Vec<InstanceId>, StoreError>;

    /// Keeps such ids; those that are kept already stay.
    async fn put_former_instances(&self, ids: &[InstanceId]) -> Result<(), StoreError>;
}

/// A server must get its turn at the file in between.
const BATCH_MAX: usize = 500;

#[async_trait]
impl Bulk for SqliteStore {
    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    async fn look(&self, wanted: Wanted) -> Result<Looked, StoreError> {
        self.read(move |connection, vault| {
            let mut looked = Looked::default();
            for id in wanted.vendors {
                match stored(connection, vault, &id) {
                    Ok(None) => {}
                    Ok(Some(it)) => drop(looked.vendors.insert(id, Ok(it))),
                    Err(error @ DbError::Unreadable(_)) => {
                        looked.vendors.insert(id, Err(error.into()));
                    }
                    Err(error) => return Err(error),
                }
            }
            for key in wanted.keys {
                let owners = owners(connection, vault, &key)?;
                if !owners.is_empty() {
                    looked.owners.insert(key, owners);
                }
            }
            let is = "SELECT 1 FROM instances WHERE id = ?1";
            let was = "SELECT 1 FROM former_instances WHERE id = ?1";
            let (mut is, mut was) =
                (connection.prepare_cached(is)?, connection.prepare_cached(was)?);
            for id in wanted.instances {
                if is.exists([id.as_str()])? {
                    looked.instances.insert(id);
                } else if was.exists([id.as_str()])? {
                    looked.former.insert(id);
                }
            }
            Ok(looked)
        })
        .await
    }

    async fn former_instances(&self) -> Result<Vec<InstanceId>, StoreError> {
        self.read(|connection, _| {
            let mut statement =
                connection.prepare_cached("SELECT id FROM former_instances ORDER BY id")?;
            let ids = statement.query_map((), |row| row.get::<_, String>(0))?;
            ids.map(|it| instance_id(&it?)).collect()
        })
        .await
    }

    async fn put_former_instances(&self, ids: &[InstanceId]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.write(move |connection, _| {
            let sql = "INSERT OR IGNORE INTO former_instances (id) VALUES (?1)";
            let mut statement = connection.prepare_cached(sql)?;
            ids.iter().try_for_each(|it| statement.execute([it.as_str()]).map(|_| ()))?;
            Ok(())
        })
        .await
    }
}

/// What is stored of a vendor in the embedded database.
pub(super) fn stored(
    connection: &Sqlite,
    vault: &Vault,
    id: &VendorId,
) -> Result<Option<Stored>, DbError> {
    let vendor = vendor_of(connection, vault, id)?;
    let instances = instances_of(connection, vault, id)?;
    let is_there = vendor.is_some() || !instances.is_empty();
    Ok(is_there.then_some(Stored { vendor, instances }))
}

fn owners(
    connection: &Sqlite,
    vault: &Vault,
    key: &InstanceKey,
) -> Result<BTreeSet<VendorId>, DbError> {
    let sql = "SELECT instances.vendor FROM instance_keys
        JOIN instances ON instances.id = instance_keys.instance WHERE instance_keys.key = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![token(vault, key)], |row| row.get::<_, String>(0))?;
    rows.map(|it| vendor_id(&it?)).collect()
}
