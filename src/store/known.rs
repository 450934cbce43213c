//! What is known of a vendor as bytes, for the places that keep a copy of it. They seal it: it has
//! secrets in clear.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    StoreError,
    document::{InstanceDocument, VendorDocument},
};
use crate::{
    domain::{
        clock::Millis,
        id::{InstanceId, VendorId},
        known::Known,
        waba::WabaInstance,
    },
    sqlite::DbError,
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KnownDocument {
    id: VendorId,
    paused: bool,
    vendor: VendorDocument,
    instances: Vec<KnownInstance>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    marks: Box<[u64]>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KnownInstance {
    id: InstanceId,
    status: String,
    last_sync: Option<Millis>,
    document: InstanceDocument,
}

/// What is known of a vendor, in clear.
pub fn encode(known: &Known) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let instance = |it: &Arc<WabaInstance>| KnownInstance {
        id: it.id.clone(),
        status: it.status.as_str().to_owned(),
        last_sync: it.last_sync,
        document: InstanceDocument::of(it),
    };
    let document = KnownDocument {
        id: known.vendor.id.clone(),
        paused: known.vendor.paused,
        vendor: VendorDocument::of(&known.vendor),
        instances: known.instances.iter().map(instance).collect(),
        marks: known.marks.clone(),
    };
    let bytes = serde_json::to_vec(&document).map_err(|_| unreadable())?;
    Ok(Zeroizing::new(bytes))
}

/// What [`encode`] wrote.
pub fn decode(bytes: &[u8]) -> Result<Known, StoreError> {
    let document: KnownDocument = serde_json::from_slice(bytes).map_err(|_| unreadable())?;
    let KnownDocument { id, paused, vendor, instances, marks } = document;
    let instance =
        |it: KnownInstance| it.document.instance(it.id, id.clone(), &it.status, it.last_sync);
    let instances = instances.into_iter().map(instance).collect();
    Ok(Known { marks, ..Known::new(vendor.vendor(id.clone(), paused), instances) })
}

fn unreadable() -> StoreError {
    StoreError::from(DbError::Unreadable("a remembered vendor"))
}
