//! What is stored of vendors and instances.

use std::collections::HashMap;

use rusqlite::{Connection as Sqlite, params};

use super::{
    document::{InstanceDocument, VendorDocument},
    rows::seal,
};
use crate::{
    domain::{
        id::VendorId,
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    sqlite::DbError,
    vault::{Token, Vault},
};

/// Keeps all of them, or none when one takes what another vendor has. Whether they are kept.
pub(super) fn import(
    connection: &Sqlite,
    vault: &Vault,
    vendors: &[Vendor],
    instances: &[WabaInstance],
) -> Result<bool, DbError> {
    if takes_anothers(connection, vault, instances)? {
        return Ok(false);
    }
    vendors.iter().try_for_each(|it| vendor_as_it_is(connection, vault, it))?;
    instances.iter().try_for_each(|it| instance(connection, vault, it))?;
    Ok(true)
}

/// Whether it is paused included, which otherwise is kept apart.
fn vendor_as_it_is(connection: &Sqlite, vault: &Vault, it: &Vendor) -> Result<(), DbError> {
    vendor(connection, vault, it)?;
    let sql = "UPDATE vendors SET paused = ?2 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![it.id.as_str(), it.paused])?;
    Ok(())
}

pub(super) fn vendor(connection: &Sqlite, vault: &Vault, vendor: &Vendor) -> Result<(), DbError> {
    let place = format!("vendor:{}", vendor.id);
    let doc = seal(vault, &place, &VendorDocument::of(vendor))?;
    let sql = "INSERT INTO vendors (id, doc) VALUES (?1, ?2)
        ON CONFLICT (id) DO UPDATE SET doc = ?2";
    connection.prepare_cached(sql)?.execute(params![vendor.id.as_str(), doc])?;
    changed(connection, &vendor.id)
}

pub(super) fn instance(
    connection: &Sqlite,
    vault: &Vault,
    it: &WabaInstance,
) -> Result<(), DbError> {
    let place = format!("instance:{}:{}", it.vendor_id, it.id);
    let doc = seal(vault, &place, &InstanceDocument::of(it))?;
    // Status and lastSync are written by `set_status` alone once the instance is there.
    let sql = "INSERT INTO instances (id, vendor, doc, status, last_sync, provider)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (id) DO UPDATE SET doc = ?3, provider = ?6 WHERE vendor = ?2";
    let (id, vendor) = (it.id.as_str(), it.vendor_id.as_str());
    let values = params![id, vendor, doc, it.status.as_str(), it.last_sync, it.provider.as_str()];
    if connection.prepare_cached(sql)?.execute(values)? == 0 {
        return Err(DbError::Unreadable("the instance id belongs to another vendor"));
    }
    connection.prepare_cached("DELETE FROM instance_keys WHERE instance = ?1")?.execute([id])?;
    for key in it.keys() {
        let sql = "INSERT OR IGNORE INTO instance_keys (key, instance) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute(params![token(vault, &key), id])?;
    }
    changed(connection, &it.vendor_id)
}

/// Whether one of these instances takes a key that it did not have and that another vendor has,
/// as it will be when all of them are written.
pub(super) fn takes_anothers(
    connection: &Sqlite,
    vault: &Vault,
    instances: &[WabaInstance],
) -> Result<bool, DbError> {
    let sql = "SELECT instance_keys.instance, instances.vendor FROM instance_keys
        JOIN instances ON instances.id = instance_keys.instance WHERE instance_keys.key = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut owners: HashMap<InstanceKey, &VendorId> = HashMap::new();
    for it in instances {
        for key in it.keys() {
            let rows = statement.query_map([token(vault, &key)], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            let holders: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
            let had_it = holders.iter().any(|holder| holder.0 == it.id.as_str());
            let is_anothers = holders.iter().any(|(id, vendor)| {
                vendor != it.vendor_id.as_str()
                    && !instances.iter().any(|written| written.id.as_str() == id)
            });
            let other = owners.insert(key, &it.vendor_id);
            if (is_anothers && !had_it) || other.is_some_and(|other| *other != it.vendor_id) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

pub(super) fn changed(connection: &Sqlite, vendor: &VendorId) -> Result<(), DbError> {
    let sql = "INSERT INTO changes (vendor) VALUES (?1)";
    connection.prepare_cached(sql)?.execute([vendor.as_str()])?;
    // Only what a running server has not seen yet is of use.
    let sql = "DELETE FROM changes WHERE seq < (SELECT max(seq) FROM changes) - 200000";
    connection.prepare_cached(sql)?.execute(())?;
    Ok(())
}

pub(in crate::store) fn token(vault: &Vault, key: &InstanceKey) -> Token {
    match key {
        InstanceKey::Phone(it) => vault.token(&[b"instance phone", it.as_bytes()]),
        InstanceKey::Wasender(it) => vault.token(&[b"instance wasender", it.as_bytes()]),
        InstanceKey::Meta(it) => vault.token(&[b"instance meta", it.as_bytes()]),
        InstanceKey::Unipile(it) => vault.token(&[b"instance unipile", it.as_bytes()]),
    }
}
