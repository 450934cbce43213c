//! What was last known of the vendors of a store elsewhere, kept in the embedded database: with it
//! they are served while that store is away, a restart included.

mod keys;

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    StoreError, VendorPage,
    known::{decode, encode},
    rows::{instance_id, vendor_id},
};
use crate::{
    domain::{
        id::{InstanceId, VendorId},
        known::Known,
    },
    sqlite::{Db, DbError},
    vault::{Token, Vault},
};

/// Stands for everybody; no vendor's id has a star.
const EVERYBODY: &str = "*";
/// That it is known whose sends are stopped, should they be nobody's.
const KNOWN: &str = "";

/// What was last known of vendors. Clones share it.
#[derive(Clone)]
pub struct LocalCopy {
    db: Db,
    vault: Arc<Vault>,
}

impl LocalCopy {
    /// The copy in this database.
    #[must_use]
    pub fn new(db: Db, vault: Arc<Vault>) -> Self {
        Self { db, vault }
    }

    /// What was last known of a vendor.
    pub async fn vendor(&self, id: &VendorId) -> Result<Option<Known>, StoreError> {
        let (id, vault) = (id.clone(), Arc::clone(&self.vault));
        let sealed =
            self.db.read(move |connection| sealed(connection, id.as_str()).map(|it| (it, id)));
        let (sealed, id) = sealed.await?;
        let Some(sealed) = sealed else { return Ok(None) };
        let plain = vault.open(&place(id.as_str()), &sealed).map_err(|_| unreadable())?;
        decode(&plain).map(Some)
    }

    /// Vendors in order of their ids, after one; at most so many. One whose copy cannot be opened is
    /// left out: the store may have it.
    pub async fn vendors(
        &self,
        after: Option<&VendorId>,
        limit: usize,
    ) -> Result<VendorPage, StoreError> {
        let after = after.map(|it| it.as_str().to_owned()).unwrap_or_default();
        let vault = Arc::clone(&self.vault);
        let run = move |connection: &Connection| {
            let sql = "SELECT vendor, doc FROM known
                WHERE vendor > ?1 AND NOT (vendor >= 'key:' AND vendor < 'key;')
                ORDER BY vendor LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut rows = statement.query(params![after, limit_rows])?;
            let (mut page, mut n_rows) = (VendorPage::default(), 0);
            while let Some(row) = rows.next()? {
                let (name, sealed): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
                n_rows += 1;
                page.next = (n_rows >= limit).then_some(vendor_id(&name)?);
                let plain = vault.open(&place(&name), &sealed).ok();
                let known = plain.and_then(|it| decode(&it).ok());
                page.vendors.extend(known.map(|it| it.vendor));
            }
            Ok(page)
        };
        Ok(self.db.read_apart(run).await?)
    }

    /// Whom a key led to. `None` also when it was claimed by two.
    pub async fn owner(&self, key: Token) -> Result<Option<(VendorId, InstanceId)>, StoreError> {
        let run = move |connection: &Connection| {
            let sql = "SELECT vendor, instance FROM known_keys WHERE key = ?1 LIMIT 2";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let found: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
            match found.as_slice() {
                [(vendor, instance)] => Ok(Some((vendor_id(vendor)?, instance_id(instance)?))),
                _ => Ok(None),
            }
        };
        Ok(self.db.read(run).await?)
    }

    /// Keeps what is known of a vendor and what its instances are found by; what is kept already
    /// costs no write.
    pub async fn keep(
        &self,
        known: &Known,
        keys: Vec<(Token, InstanceId)>,
    ) -> Result<(), StoreError> {
        let (id, plain) = (known.vendor.id.clone(), encode(known)?);
        let present = {
            let (id, vault) = (id.clone(), Arc::clone(&self.vault));
            let open = move |connection: &Connection| {
                let sealed = sealed(connection, id.as_str())?;
                Ok(sealed.and_then(|it| vault.open(&place(id.as_str()), &it).ok()))
            };
            self.db.read(open).await?
        };
        if present.is_some_and(|it| *it == *plain) {
            return Ok(());
        }
        let sealed = self.vault.seal(&place(id.as_str()), &plain).map_err(|_| unreadable())?;
        let write = move |connection: &Connection| {
            remove(connection, &id)?;
            let sql = "INSERT INTO known (vendor, doc) VALUES (?1, ?2)";
            connection.prepare_cached(sql)?.execute(params![id.as_str(), sealed])?;
            let sql =
                "INSERT OR IGNORE INTO known_keys (key, vendor, instance) VALUES (?1, ?2, ?3)";
            let mut statement = connection.prepare_cached(sql)?;
            for (key, instance) in &keys {
                statement.execute(params![key, id.as_str(), instance.as_str()])?;
            }
            Ok(())
        };
        Ok(self.db.write_behind(write).await?)
    }

    /// Forgets a vendor that does not exist any more.
    pub async fn forget(&self, id: &VendorId) -> Result<(), StoreError> {
        let looked_for = id.clone();
        let is_there =
            move |connection: &Connection| Ok(sealed(connection, looked_for.as_str())?.is_some());
        // Strangers must not be able to make us write.
        if self.db.read(is_there).await? {
            let id = id.clone();
            self.db.write_behind(move |connection| remove(connection, &id)).await?;
        }
        Ok(())
    }

    /// Keeps whose sends are stopped, and whether everybody's are.
    pub async fn keep_paused(&self, vendors: &[VendorId], all: bool) -> Result<(), StoreError> {
        if self.paused().await? == Some((vendors.to_vec(), all)) {
            return Ok(());
        }
        let mut words: Vec<String> = vendors.iter().map(ToString::to_string).collect();
        words.extend(all.then(|| EVERYBODY.to_owned()));
        words.push(KNOWN.to_owned());
        let write = move |connection: &Connection| {
            connection.execute("DELETE FROM known_paused", ())?;
            let sql = "INSERT OR IGNORE INTO known_paused (vendor) VALUES (?1)";
            let mut statement = connection.prepare_cached(sql)?;
            words.iter().try_for_each(|it| statement.execute([it]).map(|_| ()))?;
            Ok(())
        };
        Ok(self.db.write_behind(write).await?)
    }

    /// Whose sends were stopped, in order of their ids, and whether everybody's were; `None` where
    /// that was never known.
    pub async fn paused(&self) -> Result<Option<(Vec<VendorId>, bool)>, StoreError> {
        let run = |connection: &Connection| {
            let mut statement =
                connection.prepare_cached("SELECT vendor FROM known_paused ORDER BY vendor")?;
            let words = statement.query_map((), |row| row.get(0))?;
            let words: Vec<String> = words.collect::<Result<_, _>>()?;
            let is_vendor = |it: &&String| *it != EVERYBODY && *it != KNOWN;
            let vendors = words.iter().filter(is_vendor).map(|it| vendor_id(it));
            let vendors = vendors.collect::<Result<_, DbError>>()?;
            let all = words.iter().any(|it| it == EVERYBODY);
            Ok((!words.is_empty()).then_some((vendors, all)))
        };
        Ok(self.db.read(run).await?)
    }
}

fn sealed(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, DbError> {
    let mut statement = connection.prepare_cached("SELECT doc FROM known WHERE vendor = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

fn remove(connection: &Connection, id: &VendorId) -> Result<(), DbError> {
    for sql in ["DELETE FROM known WHERE vendor = ?1", "DELETE FROM known_keys WHERE vendor = ?1"] {
        connection.prepare_cached(sql)?.execute([id.as_str()])?;
    }
    Ok(())
}

fn place(name: &str) -> String {
    format!("known:{name}")
}

fn unreadable() -> StoreError {
    StoreError::from(DbError::Unreadable("a vendor's copy"))
}
