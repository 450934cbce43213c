//! What admins changed, and who: kept beside what they changed.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::{SqliteStore, StoreError, rows::vendor_id};
use crate::domain::{
    clock::{HOUR, Millis},
    id::VendorId,
};

/// How long a change is on record.
pub(super) const KEPT_FOR: Millis = 400 * 24 * HOUR;
/// Old ones removed with each new one.
const REMOVED_AT_ONCE: i64 = 10;

/// A change that was made. Holds no value of what was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// When.
    pub at: Millis,
    /// The id of the key it was made with, or `cli`.
    pub by: String,
    /// The operation's id, as in `/openapi.json`.
    pub what: String,
    /// Whom it concerns.
    pub vendor: Option<VendorId>,
    /// The id of what was changed, where the vendor is not all.
    pub about: Option<String>,
}

/// What the record of changes needs of a store.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Keeps a change on record.
    async fn add_deed(&self, deed: &Deed) -> Result<(), StoreError>;

    /// Changes before the one of this number, newest first, with their numbers.
    async fn deeds(
        &self,
        vendor: Option<&VendorId>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(i64, Deed)>, StoreError>;
}

#[async_trait]
impl Audit for SqliteStore {
    async fn add_deed(&self, deed: &Deed) -> Result<(), StoreError> {
        let deed = deed.clone();
        self.write(move |connection, _| {
            let sql = "INSERT INTO audit (at, by, what, vendor, about) VALUES (?1, ?2, ?3, ?4, ?5)";
            let Deed { at, by, what, vendor, about } = &deed;
            let vendor = vendor.as_ref().map(VendorId::as_str);
            connection.prepare_cached(sql)?.execute(params![at, by, what, vendor, about])?;
            let sql = "DELETE FROM audit WHERE id IN
                (SELECT id FROM audit ORDER BY id LIMIT ?2) AND at < ?1";
            let values = params![at - KEPT_FOR, REMOVED_AT_ONCE];
            connection.prepare_cached(sql)?.execute(values)?;
            Ok(())
        })
        .await
    }

    async fn deeds(
        &self,
        vendor: Option<&VendorId>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(i64, Deed)>, StoreError> {
        let vendor = vendor.cloned();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |connection, _| {
            let which = if vendor.is_some() { "vendor = ?1" } else { "?1 IS NULL" };
            let sql = format!(
                "SELECT id, at, by, what, vendor, about FROM audit
                    WHERE {which} AND id < ?2 ORDER BY id DESC LIMIT ?3"
            );
            let vendor = vendor.as_ref().map(VendorId::as_str);
            let mut statement = connection.prepare_cached(&sql)?;
            let values = params![vendor, before.unwrap_or(i64::MAX), limit];
            let rows = statement.query_map(values, row)?;
            rows.map(|it| {
                let (id, vendor, deed) = it?;
                let vendor = vendor.map(|it| vendor_id(&it)).transpose()?;
                Ok((id, Deed { vendor, ..deed }))
            })
            .collect()
        })
        .await
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<(i64, Option<String>, Deed)> {
    let (by, what, about) = (row.get(2)?, row.get(3)?, row.get(5)?);
    let deed = Deed { at: row.get(1)?, by, what, vendor: None, about };
    Ok((row.get(0)?, row.get(4)?, deed))
}
