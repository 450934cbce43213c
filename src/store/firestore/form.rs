//! What documents say, and what is written into them, without a database: what fuzz targets look at.

pub use firestore::gcloud_sdk::{
    google::firestore::v1::{
        ArrayValue, Document, MapValue, Value, Write, value::ValueType, write::Operation,
    },
    prost_types::Timestamp,
};

use super::{
    Fault, audit,
    instance::{self, Older},
    shared, vendor,
};
use crate::{
    domain::{
        id::VendorId,
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    store::{ApiKey, Deed},
    vault::Vault,
};

/// The vendor in a document of `vendor_configs`.
pub fn vendor(vault: &Vault, id: &VendorId, document: &Document) -> Result<Vendor, Fault> {
    vendor::read(vault, id, document, false)
}

/// The write that makes of what is there what the vendor is now; `None` when it is that.
pub fn vendor_write(
    vault: &Vault,
    name: &str,
    before: Option<&Document>,
    vendor: &Vendor,
) -> Result<Option<Write>, Fault> {
    vendor::write(vault, name.to_owned(), before, vendor, None)
}

/// The number in a document of `waba_instances`, with what its vendor's configurations lend it.
pub fn instance(
    vault: &Vault,
    document: &Document,
    configs: &[Document],
) -> Result<Option<WabaInstance>, Fault> {
    instance::read(vault, document, &Older::of(vault, configs.iter())?)
}

/// The write that makes of what is there what the number is now; `None` when it is that.
pub fn instance_write(
    vault: &Vault,
    name: &str,
    before: Option<&Document>,
    configs: &[Document],
    instance: &WabaInstance,
) -> Result<Option<Write>, Fault> {
    let older = Older::of(vault, configs.iter())?;
    let place = instance::Place { name: name.to_owned(), before, is_heir: None };
    instance::write(vault, place, &older, instance, None)
}

/// What a document of `waba_instances` is found by, with what is lent to it.
#[must_use]
pub fn instance_keys(document: &Document, configs: &[Document]) -> Vec<InstanceKey> {
    instance::keys(document).into_iter().chain(instance::lent_key(document, configs)).collect()
}

/// The key in a document of `gateway_keys`.
pub fn key(document: &Document) -> Result<ApiKey, Fault> {
    shared::api_key(document)
}

/// The document of a key.
#[must_use]
pub fn key_document(key: &ApiKey) -> Document {
    let name = format!("{}/{}", shared::KEYS, hex::encode(key.hash));
    Document { name, fields: shared::key_fields(key), ..Document::default() }
}

/// The change in a document of `gateway_audit`, and its number.
pub fn deed(document: &Document) -> Result<(i64, Deed), Fault> {
    audit::deed(document)
}

/// The document of a change.
#[must_use]
pub fn deed_document(n: i64, deed: &Deed) -> Document {
    let name = format!("{}/{}", audit::AUDIT, audit::id(n));
    Document { name, fields: audit::fields(deed), ..Document::default() }
}
