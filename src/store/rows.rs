//! Rows of the embedded database as what they stand for.

use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    ApiKey, VendorPage,
    document::{InstanceDocument, VendorDocument},
};
use crate::{
    domain::{
        clock::Millis,
        id::{InstanceId, VendorId},
        vendor::Vendor,
        waba::WabaInstance,
    },
    sqlite::DbError,
    vault::Vault,
};

pub(super) type RawVendor = (String, Vec<u8>, bool);

pub(super) fn raw_vendor(row: &Row<'_>) -> rusqlite::Result<RawVendor> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

pub(super) fn vendor(vault: &Vault, (id, doc, paused): RawVendor) -> Result<Vendor, DbError> {
    let document: VendorDocument = open(vault, &format!("vendor:{id}"), &doc)?;
    Ok(document.vendor(vendor_id(&id)?, paused))
}

/// A vendor.
pub(super) fn vendor_of(
    connection: &Connection,
    vault: &Vault,
    id: &VendorId,
) -> Result<Option<Vendor>, DbError> {
    let sql = "SELECT id, doc, paused FROM vendors WHERE id = ?1";
    let found = connection.prepare_cached(sql)?.query_row([id.as_str()], raw_vendor).optional()?;
    found.map(|it| vendor(vault, it)).transpose()
}

/// At most `limit` rows, in the order of their ids.
pub(super) fn vendor_page(
    vault: &Vault,
    rows: impl Iterator<Item = rusqlite::Result<RawVendor>>,
    limit: usize,
) -> Result<VendorPage, DbError> {
    let (mut page, mut n_rows) = (VendorPage::default(), 0);
    for row in rows {
        let row = row?;
        let id = vendor_id(&row.0)?;
        match vendor(vault, row) {
            Ok(vendor) => page.vendors.push(vendor),
            Err(DbError::Unreadable(_)) => page.unreadable.push(id.clone()),
            Err(error) => return Err(error),
        }
        n_rows += 1;
        page.next = (n_rows >= limit).then_some(id);
    }
    Ok(page)
}

pub(super) type RawInstance = (String, String, Vec<u8>, String, Option<Millis>);

pub(super) fn raw_instance(row: &Row<'_>) -> rusqlite::Result<RawInstance> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

pub(super) fn instance(vault: &Vault, raw: RawInstance) -> Result<WabaInstance, DbError> {
    let (id, vendor, doc, status, last_sync) = raw;
    let document: InstanceDocument = open(vault, &format!("instance:{vendor}:{id}"), &doc)?;
    Ok(document.instance(instance_id(&id)?, vendor_id(&vendor)?, &status, last_sync))
}

/// A vendor's instances, oldest first.
pub(super) fn instances_of(
    connection: &Connection,
    vault: &Vault,
    vendor: &VendorId,
) -> Result<Vec<WabaInstance>, DbError> {
    let sql = "SELECT id, vendor, doc, status, last_sync FROM instances WHERE vendor = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([vendor.as_str()], raw_instance)?;
    let mut found: Vec<WabaInstance> =
        rows.map(|it| instance(vault, it?)).collect::<Result<_, DbError>>()?;
    found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(found)
}

pub(super) const KEY_COLUMNS: &str =
    "id, hash, name, vendor, read_only, created_at, expires_at, used_at";

pub(super) fn api_key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let vendor: Option<String> = row.get(3)?;
    let bad =
        |_| rusqlite::Error::InvalidColumnType(3, "vendor".to_owned(), rusqlite::types::Type::Text);
    Ok(ApiKey {
        id: row.get(0)?,
        hash: row.get(1)?,
        name: row.get(2)?,
        vendor: vendor.map(|it| VendorId::parse(&it)).transpose().map_err(bad)?,
        read_only: row.get(4)?,
        created_at: row.get(5)?,
        expires_at: row.get(6)?,
        used_at: row.get(7)?,
    })
}

pub(super) fn vendor_id(text: &str) -> Result<VendorId, DbError> {
    VendorId::parse(text).map_err(|_| DbError::Unreadable("vendor id"))
}

pub(super) fn instance_id(text: &str) -> Result<InstanceId, DbError> {
    InstanceId::parse(text).map_err(|_| DbError::Unreadable("instance id"))
}

pub(super) fn seal(
    vault: &Vault,
    place: &str,
    document: &impl Serialize,
) -> Result<Vec<u8>, DbError> {
    let plain = serde_json::to_vec(document).map_err(|_| DbError::Unreadable("document"))?;
    vault.seal(place, &plain).map_err(|_| DbError::Unreadable("document"))
}

pub(super) fn open<T: DeserializeOwned>(
    vault: &Vault,
    place: &str,
    sealed: &[u8],
) -> Result<T, DbError> {
    let plain = vault.open(place, sealed).map_err(|_| DbError::Unreadable("a sealed document"))?;
    serde_json::from_slice(&plain).map_err(|_| DbError::Unreadable("a sealed document"))
}
