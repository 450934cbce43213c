//! A change of an instance is made as it was planned, or not at all.

use rusqlite::Connection as Sqlite;
use zeroize::Zeroizing;

use super::{StoreError, census, document::InstanceDocument, put, rows};
use crate::{
    domain::waba::{InstanceKey, WabaInstance},
    sqlite::DbError,
    vault::Vault,
};

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
    let plain = |it: &WabaInstance| {
        let it = WabaInstance { updated_at: 0, ..it.clone() };
        serde_json::to_vec(&InstanceDocument::of(&it)).map(Zeroizing::new)
    };
    matches!((plain(left), plain(right)), (Ok(left), Ok(right)) if left == right)
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
