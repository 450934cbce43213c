//! A change of a vendor or an instance is made as it was planned, or not at all.

use rusqlite::Connection as Sqlite;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    StoreError, Stored, bulk, census,
    document::{InstanceDocument, VendorDocument},
    put, rows,
};
use crate::{
    domain::{
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    sqlite::DbError,
    vault::Vault,
};

/// A vendor with instances as they are to be kept.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The vendor, and whether it is paused.
    pub vendor: Vendor,
    /// Those of its instances that are kept.
    pub instances: Vec<WabaInstance>,
    /// What was stored when it was planned.
    pub before: Stored,
}

impl Planned {
    /// All that is to be kept. A vendor that is as it was is not written.
    pub(super) fn all(planned: &[Self]) -> (Vec<Vendor>, Vec<WabaInstance>) {
        let is_change = |it: &&Self| {
            let before = it.before.vendor.as_ref();
            before.is_none_or(|before| {
                before.paused != it.vendor.paused || !is_same_vendor(before, &it.vendor)
            })
        };
        let vendors = planned.iter().filter(is_change).map(|it| it.vendor.clone()).collect();
        (vendors, planned.iter().flat_map(|it| it.instances.iter().cloned()).collect())
    }

    /// Asked in the transaction that keeps it, of what is stored of the vendor then.
    pub(super) fn check(&self, stored: &Stored) -> Result<(), StoreError> {
        let is_paused = |it: &Stored| it.vendor.as_ref().is_some_and(|it| it.paused);
        let (before, now) = (&self.before.instances, &stored.instances);
        let is_as_it_was = before.len() == now.len()
            && before.iter().zip(now).all(|(before, now)| is_same(before, now))
            && is_paused(&self.before) == is_paused(stored);
        if !is_as_it_was {
            return Err(StoreError::Changed);
        }
        check_vendor(self.before.vendor.as_ref(), stored.vendor.as_ref())
    }
}

/// Asked in the transaction that keeps a vendor in the place of `before`.
pub(super) fn check_vendor(
    before: Option<&Vendor>,
    stored: Option<&Vendor>,
) -> Result<(), StoreError> {
    match (before, stored) {
        (None, None) => Ok(()),
        (Some(before), Some(stored)) if is_same_vendor(before, stored) => Ok(()),
        _ => Err(StoreError::Changed),
    }
}

/// Asked in the transaction that keeps `after`, of what is stored of the vendor then.
pub(super) fn check(
    present: &[WabaInstance],
    before: Option<&WabaInstance>,
    after: &WabaInstance,
) -> Result<(), StoreError> {
    match (before, present.iter().find(|it| it.id == after.id)) {
        (None, None) => {}
        (None, Some(_)) => return Err(StoreError::Taken),
        (Some(before), Some(stored)) if is_same(before, stored) => {}
        (Some(_), _) => return Err(StoreError::Changed),
    }
    // What other programs gave to two stays so.
    let had = before.map(WabaInstance::keys).unwrap_or_default();
    let others = present.iter().filter(|it| it.id != after.id);
    let others: Vec<InstanceKey> = others.flat_map(WabaInstance::keys).collect();
    if after.keys().iter().any(|it| !had.contains(it) && others.contains(it)) {
        return Err(StoreError::Twice);
    }
    Ok(())
}

/// Whether two are the same but for when they were changed, and for what a provider last said.
fn is_same(left: &WabaInstance, right: &WabaInstance) -> bool {
    let document =
        |it: &WabaInstance| InstanceDocument::of(&WabaInstance { updated_at: 0, ..it.clone() });
    left.id == right.id && are_same(&document(left), &document(right))
}

/// Whether two are the same but for when they were changed, and whether they are paused.
fn is_same_vendor(left: &Vendor, right: &Vendor) -> bool {
    let document = |it: &Vendor| VendorDocument::of(&Vendor { updated_at: 0, ..it.clone() });
    are_same(&document(left), &document(right))
}

fn are_same<T: Serialize>(left: &T, right: &T) -> bool {
    let plain = |it: &T| serde_json::to_vec(it).map(Zeroizing::new);
    matches!((plain(left), plain(right)), (Ok(left), Ok(right)) if left == right)
}

/// Keeps a vendor in the place of `before` in the embedded database.
pub(super) fn put_vendor(
    connection: &Sqlite,
    vault: &Vault,
    before: Option<&Vendor>,
    after: &Vendor,
) -> Result<Result<(), StoreError>, DbError> {
    let stored = rows::vendor_of(connection, vault, &after.id)?;
    if let Err(refused) = check_vendor(before, stored.as_ref()) {
        return Ok(Err(refused));
    }
    put::vendor(connection, vault, after).map(Ok)
}

/// Keeps all of them in the embedded database, or none.
pub(super) fn import(
    connection: &Sqlite,
    vault: &Vault,
    planned: &[Planned],
) -> Result<Result<(), StoreError>, DbError> {
    for it in planned {
        let stored = bulk::stored(connection, vault, &it.vendor.id)?.unwrap_or_default();
        if let Err(refused) = it.check(&stored) {
            return Ok(Err(refused));
        }
    }
    let (vendors, instances) = Planned::all(planned);
    let is_kept = put::import(connection, vault, &vendors, &instances)?;
    Ok(if is_kept { Ok(()) } else { Err(StoreError::Claimed) })
}

/// Keeps `after` in the place of `before` in the embedded database.
pub(super) fn put(
    connection: &Sqlite,
    vault: &Vault,
    before: Option<&WabaInstance>,
    after: &WabaInstance,
) -> Result<Result<(), StoreError>, DbError> {
    if before.is_none() && census::had(connection, &after.id)? {
        return Ok(Err(StoreError::Taken));
    }
    let present = rows::instances_of(connection, vault, &after.vendor_id)?;
    if let Err(refused) = check(&present, before, after) {
        return Ok(Err(refused));
    }
    if put::takes_anothers(connection, vault, std::slice::from_ref(after))? {
        return Ok(Err(StoreError::Claimed));
    }
    put::instance(connection, vault, after).map(Ok)
}
