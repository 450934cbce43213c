//! The store in the embedded database.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use rusqlite::{Connection as Sqlite, OptionalExtension, params};

use super::{
    ApiKey, Census, Keyed, Planned, Store, StoreError, VendorPage, census, check_key, planned, put,
    rows::{
        self, KEY_COLUMNS, api_key, instance_id, raw_vendor, vendor_id, vendor_of, vendor_page,
    },
};
use crate::{
    domain::{
        clock::Millis,
        event::Connection,
        id::{InstanceId, VendorId},
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    sqlite::{Db, DbError},
    vault::Vault,
};

/// The name under which a pause of everybody is kept; no vendor's id has a star.
const EVERYBODY: &str = "paused:*";

/// The store in the embedded database.
#[derive(Clone)]
pub struct SqliteStore {
    db: Db,
    vault: Arc<Vault>,
}

impl SqliteStore {
    /// A store in this database.
    #[must_use]
    pub fn new(db: Db, vault: Arc<Vault>) -> Self {
        Self { db, vault }
    }

    /// Sees whether the database was sealed with this vault's key; a new one is marked with it.
    pub async fn check_key(&self) -> Result<(), StoreError> {
        let vault = Arc::clone(&self.vault);
        let run = move |connection: &Sqlite| check_key(connection, &vault);
        Ok(self.db.write(run).await?)
    }

    /// What the database keeps of the keys it is used with.
    #[must_use]
    pub fn keyed(&self) -> Keyed {
        Keyed::new(self.db.clone(), Arc::clone(&self.vault))
    }

    pub(super) async fn write<T, F>(&self, mut f: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Sqlite, &Vault) -> Result<T, DbError> + Send + 'static,
    {
        let vault = Arc::clone(&self.vault);
        Ok(self.db.write(move |connection| f(connection, &vault)).await?)
    }

    pub(super) async fn read<T, F>(&self, f: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Sqlite, &Vault) -> Result<T, DbError> + Send + 'static,
    {
        let vault = Arc::clone(&self.vault);
        Ok(self.db.read(move |connection| f(connection, &vault)).await?)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn vendor(&self, id: &VendorId) -> Result<Option<Vendor>, StoreError> {
        let id = id.clone();
        self.read(move |connection, vault| vendor_of(connection, vault, &id)).await
    }

    async fn vendors(
        &self,
        after: Option<&VendorId>,
        limit: usize,
    ) -> Result<VendorPage, StoreError> {
        let after = after.map(|it| it.as_str().to_owned()).unwrap_or_default();
        self.read(move |connection, vault| {
            let sql = "SELECT id, doc, paused FROM vendors WHERE id > ?1 ORDER BY id LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let n_rows = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![after, n_rows], raw_vendor)?;
            vendor_page(vault, rows, limit)
        })
        .await
    }

    async fn put_vendor_if(
        &self,
        before: Option<&Vendor>,
        after: &Vendor,
    ) -> Result<(), StoreError> {
        let (before, after) = (before.cloned(), after.clone());
        self.write(move |connection, vault| {
            planned::put_vendor(connection, vault, before.as_ref(), &after)
        })
        .await?
    }

    async fn pause(&self, vendor: Option<&VendorId>, is_paused: bool) -> Result<(), StoreError> {
        let vendor = vendor.cloned();
        self.write(move |connection, _| {
            match &vendor {
                Some(vendor) => {
                    let sql = "UPDATE vendors SET paused = ?2 WHERE id = ?1";
                    connection.execute(sql, params![vendor.as_str(), is_paused])?;
                    put::changed(connection, vendor)?;
                }
                None if is_paused => {
                    let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, x'01')";
                    connection.execute(sql, [EVERYBODY])?;
                }
                None => {
                    connection.execute("DELETE FROM meta WHERE key = ?1", [EVERYBODY])?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn paused(&self) -> Result<(Vec<VendorId>, bool), StoreError> {
        self.read(|connection, _| {
            let mut statement = connection.prepare("SELECT id FROM vendors WHERE paused = 1")?;
            let ids = statement.query_map((), |row| row.get::<_, String>(0))?;
            let ids: Vec<VendorId> = ids.map(|it| vendor_id(&it?)).collect::<Result<_, _>>()?;
            let mut all = connection.prepare("SELECT 1 FROM meta WHERE key = ?1")?;
            Ok((ids, all.exists([EVERYBODY])?))
        })
        .await
    }

    async fn instances(&self, vendor: &VendorId) -> Result<Vec<WabaInstance>, StoreError> {
        let vendor = vendor.clone();
        self.read(move |connection, vault| rows::instances_of(connection, vault, &vendor)).await
    }

    async fn instance_by_key(
        &self,
        key: &InstanceKey,
    ) -> Result<Option<(VendorId, InstanceId)>, StoreError> {
        let key = key.clone();
        self.read(move |connection, vault| {
            let sql = "SELECT instances.vendor, instances.id FROM instance_keys
                JOIN instances ON instances.id = instance_keys.instance
                WHERE instance_keys.key = ?1 ORDER BY instances.id";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([put::token(vault, &key)], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            let found: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
            let vendors: BTreeSet<&String> = found.iter().map(|it| &it.0).collect();
            match found.first().filter(|_| vendors.len() == 1) {
                Some((vendor, id)) => Ok(Some((vendor_id(vendor)?, instance_id(id)?))),
                None => Ok(None),
            }
        })
        .await
    }

    async fn put_instance_if(
        &self,
        before: Option<&WabaInstance>,
        after: &WabaInstance,
    ) -> Result<(), StoreError> {
        let (before, after) = (before.cloned(), after.clone());
        let kept = self.write(move |connection, vault| {
            planned::put(connection, vault, before.as_ref(), &after)
        });
        kept.await?
    }

    async fn put_all(
        &self,
        vendors: &[Vendor],
        instances: &[WabaInstance],
    ) -> Result<(), StoreError> {
        let (vendors, instances) = (vendors.to_vec(), instances.to_vec());
        let kept = self.write(move |connection, vault| {
            if put::takes_anothers(connection, vault, &instances)? {
                return Ok(false);
            }
            vendors.iter().try_for_each(|it| put::vendor(connection, vault, it))?;
            instances.iter().try_for_each(|it| put::instance(connection, vault, it))?;
            Ok(true)
        });
        if kept.await? { Ok(()) } else { Err(StoreError::Claimed) }
    }

    async fn set_status(
        &self,
        instance: &InstanceId,
        status: Option<Connection>,
        at: Millis,
    ) -> Result<bool, StoreError> {
        let instance = instance.clone();
        self.write(move |connection, _| {
            let id = instance.as_str();
            let sql = "UPDATE instances SET last_sync = ?2 WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![id, at])?;
            let Some(status) = status.map(Connection::as_str) else { return Ok(false) };
            let sql = "UPDATE instances SET status = ?2 WHERE id = ?1 AND status <> ?2";
            Ok(connection.prepare_cached(sql)?.execute(params![id, status])? > 0)
        })
        .await
    }

    async fn is_claimed_by_another(
        &self,
        key: &InstanceKey,
        vendor: &VendorId,
    ) -> Result<bool, StoreError> {
        let (key, vendor) = (key.clone(), vendor.clone());
        self.read(move |connection, vault| {
            let sql = "SELECT 1 FROM instance_keys
                JOIN instances ON instances.id = instance_keys.instance
                WHERE instance_keys.key = ?1 AND instances.vendor <> ?2";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.exists(params![put::token(vault, &key), vendor.as_str()])?)
        })
        .await
    }

    async fn put_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        let key = key.clone();
        self.write(move |connection, _| {
            let sql = "INSERT INTO api_keys
                (id, hash, name, vendor, read_only, created_at, expires_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
            let vendor = key.vendor.as_ref().map(VendorId::as_str);
            connection.execute(
                sql,
                params![
                    key.id,
                    key.hash,
                    key.name,
                    vendor,
                    key.read_only,
                    key.created_at,
                    key.expires_at
                ],
            )?;
            Ok(())
        })
        .await
    }

    async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        let hash = *hash;
        self.read(move |connection, _| {
            let sql = format!("SELECT {KEY_COLUMNS} FROM api_keys WHERE hash = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            Ok(statement.query_row([hash], api_key).optional()?)
        })
        .await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.read(|connection, _| {
            let sql = format!("SELECT {KEY_COLUMNS} FROM api_keys ORDER BY created_at, id");
            let mut statement = connection.prepare(&sql)?;
            let rows = statement.query_map((), api_key)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn set_keys_used(&self, used: &[(String, Millis)]) -> Result<(), StoreError> {
        let used = used.to_vec();
        self.write(move |connection, _| {
            let sql = "UPDATE api_keys SET used_at = ?2 WHERE id = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            for (id, at) in &used {
                statement.execute(params![id, at])?;
            }
            Ok(())
        })
        .await
    }

    async fn delete_key(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.write(move |connection, _| {
            Ok(connection.execute("DELETE FROM api_keys WHERE id = ?1", [&id])? > 0)
        })
        .await
    }

    async fn version(&self) -> Result<i64, StoreError> {
        Ok(self.db.version().await?)
    }

    async fn changes_after(&self, seq: i64) -> Result<(Vec<VendorId>, i64), StoreError> {
        self.read(move |connection, _| {
            let sql = "SELECT seq, vendor FROM changes WHERE seq > ?1 ORDER BY seq";
            let mut statement = connection.prepare_cached(sql)?;
            let (mut vendors, mut last) = (BTreeSet::new(), seq);
            let mut rows = statement.query([seq])?;
            while let Some(row) = rows.next()? {
                last = row.get(0)?;
                vendors.insert(vendor_id(&row.get::<_, String>(1)?)?);
            }
            Ok((vendors.into_iter().collect(), last))
        })
        .await
    }

    async fn delete_instance(
        &self,
        vendor: &VendorId,
        id: &InstanceId,
    ) -> Result<bool, StoreError> {
        let (vendor, id) = (vendor.clone(), id.clone());
        self.write(move |connection, _| {
            let is_its = census::remove(connection, &vendor, &id)?;
            if is_its {
                put::changed(connection, &vendor)?;
            }
            Ok(is_its)
        })
        .await
    }

    async fn had_instance(&self, id: &InstanceId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.read(move |connection, _| census::had(connection, &id)).await
    }

    async fn set_failure(
        &self,
        instance: &InstanceId,
        error: &'static str,
        at: Millis,
    ) -> Result<(), StoreError> {
        let instance = instance.clone();
        self.write(move |connection, _| census::failed(connection, &instance, error, at)).await
    }

    async fn import(
        &self,
        vendors: &[Vendor],
        instances: &[WabaInstance],
    ) -> Result<(), StoreError> {
        let (vendors, instances) = (vendors.to_vec(), instances.to_vec());
        let kept = self
            .write(move |connection, vault| put::import(connection, vault, &vendors, &instances));
        if kept.await? { Ok(()) } else { Err(StoreError::Claimed) }
    }

    async fn import_if(&self, planned: &[Planned]) -> Result<(), StoreError> {
        let all = planned.to_vec();
        self.write(move |connection, vault| planned::import(connection, vault, &all)).await?
    }

    async fn census(&self) -> Result<Census, StoreError> {
        self.read(census::take).await
    }
}
