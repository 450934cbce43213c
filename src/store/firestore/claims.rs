//! Who has a number or a session. What this gateway writes is claimed by a document under a keyed
//! hash, decided in a transaction; documents of other programs count by what is in them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use firestore::gcloud_sdk::google::firestore::v1::{Document, Write};

use super::{
    BATCH_MAX, Fault, FirestoreStore,
    find::spellings,
    instance::{self, INSTANCES},
    session::Session,
    value::{Fields, delete, get_text, id_of, text, whole},
};
use crate::{
    domain::{
        id::VendorId,
        waba::{InstanceKey, WabaInstance},
    },
    store::{StoreError, put::token},
    vault::Vault,
};

/// The collection.
pub(super) const CLAIMS: &str = "gateway_claims";

/// The id of a key's claim.
fn claim_id(vault: &Vault, key: &InstanceKey) -> String {
    hex::encode(token(vault, key))
}

/// Everybody besides those who are written now who has one of these keys.
struct Holders {
    claims: HashMap<String, Document>,
    found: Vec<Document>,
}

impl Holders {
    async fn of(
        session: &Session,
        vault: &Vault,
        keys: &BTreeSet<InstanceKey>,
    ) -> Result<Self, Fault> {
        let mut values: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for key in keys {
            let (field, spelled) = spellings(key);
            values.entry(field).or_default().extend(spelled);
        }
        let ids: Vec<String> = keys.iter().map(|it| claim_id(vault, it)).collect();
        let (mut claims, mut found) = (HashMap::new(), Vec::new());
        for ids in ids.chunks(BATCH_MAX) {
            claims.extend(session.get(CLAIMS, ids).await?);
        }
        for (field, values) in values {
            found.extend(session.find(INSTANCES, field, values).await?);
        }
        // A claim also holds what a query does not find, as long as its instance is as it says.
        let named = claims.values().filter_map(|it| get_text(&it.fields, "instanceId"));
        let present: HashSet<&str> = found.iter().map(|it| id_of(&it.name)).collect();
        let named: Vec<String> = named.filter(|it| !present.contains(it.as_str())).collect();
        for named in named.chunks(BATCH_MAX) {
            found.extend(session.get(INSTANCES, named).await?.into_values());
        }
        Ok(Self { claims, found })
    }

    /// Whether an instance of another vendor that is not written now has this key.
    fn has_other(&self, key: &InstanceKey, vendor: &VendorId, written: &[&str]) -> bool {
        self.found.iter().any(|it| {
            !written.contains(&id_of(&it.name))
                && instance::vendor_of(it).as_ref() != Some(vendor)
                && instance::keys(it).contains(key)
        })
    }
}

/// The documents that may have this key: what a query finds, and what its claim names, since a
/// number at another provider is in no field that is asked for.
pub(super) async fn having(
    session: &Session,
    vault: &Vault,
    key: &InstanceKey,
) -> Result<Vec<Document>, Fault> {
    let found = Holders::of(session, vault, &BTreeSet::from([key.clone()])).await?.found;
    Ok(found.into_iter().filter(|it| instance::keys(it).contains(key)).collect())
}

/// Who has these keys, each as [`having`] finds it.
pub(super) async fn owners(
    session: &Session,
    vault: &Vault,
    keys: &BTreeSet<InstanceKey>,
) -> Result<HashMap<InstanceKey, BTreeSet<VendorId>>, Fault> {
    let mut owners: HashMap<InstanceKey, BTreeSet<VendorId>> = HashMap::new();
    for document in Holders::of(session, vault, keys).await?.found {
        let Some(vendor) = instance::vendor_of(&document) else { continue };
        for key in instance::keys(&document).into_iter().filter(|it| keys.contains(it)) {
            owners.entry(key).or_default().insert(vendor.clone());
        }
    }
    Ok(owners)
}

/// What is to be written so that these instances have their keys and no longer those they had
/// before.
///
/// # Errors
///
/// [`StoreError::Claimed`] when another vendor has a key that an instance did not have before.
pub(super) async fn take(
    session: &Session,
    vault: &Vault,
    instances: &[WabaInstance],
    before: &HashMap<String, Document>,
) -> Result<Vec<Write>, StoreError> {
    let had =
        |it: &WabaInstance| before.get(it.id.as_str()).map(instance::keys).unwrap_or_default();
    let all = instances.iter().flat_map(|it| it.keys().into_iter().chain(had(it)));
    let holders = Holders::of(session, vault, &all.collect()).await?;
    let written: Vec<&str> = instances.iter().map(|it| it.id.as_str()).collect();
    let mut owners: HashMap<InstanceKey, &WabaInstance> = HashMap::new();
    for it in instances {
        let had = had(it);
        for key in it.keys() {
            let is_taken = !had.contains(&key) && holders.has_other(&key, &it.vendor_id, &written);
            let other = owners.insert(key, it);
            if is_taken || other.is_some_and(|other| other.vendor_id != it.vendor_id) {
                return Err(StoreError::Claimed);
            }
        }
    }
    let mut writes = Vec::new();
    for (key, it) in &owners {
        let id = claim_id(vault, key);
        let present = holders.claims.get(&id);
        let is = |field: &str, it: &str| {
            present.and_then(|claim| get_text(&claim.fields, field)).as_deref() == Some(it)
        };
        if is("vendorId", it.vendor_id.as_str()) && is("instanceId", it.id.as_str()) {
            continue;
        }
        let fields = Fields::from([
            ("vendorId".to_owned(), text(it.vendor_id.as_str())),
            ("instanceId".to_owned(), text(it.id.as_str())),
        ]);
        writes.push(whole(session.name(CLAIMS, &id), fields, present));
    }
    let given_up = instances.iter().flat_map(|it| had(it).into_iter().map(move |key| (it, key)));
    let given_up: BTreeMap<String, &WabaInstance> = given_up
        .filter(|it| !owners.contains_key(&it.1))
        .map(|it| (claim_id(vault, &it.1), it.0))
        .collect();
    writes.extend(given_up.into_iter().filter_map(|(id, it)| {
        holders.claims.get(&id).and_then(|claim| release(claim, it.id.as_str()))
    }));
    Ok(writes)
}

/// The writes that give up what a deleted instance had.
pub(super) async fn give_up(
    session: &Session,
    vault: &Vault,
    document: &Document,
) -> Result<Vec<Write>, Fault> {
    let ids: Vec<String> = instance::keys(document).iter().map(|it| claim_id(vault, it)).collect();
    let claims = session.get(CLAIMS, &ids).await?;
    Ok(claims.values().filter_map(|it| release(it, id_of(&document.name))).collect())
}

/// Gives a claim up if it is this instance's.
fn release(claim: &Document, instance: &str) -> Option<Write> {
    let is_its = get_text(&claim.fields, "instanceId").as_deref() == Some(instance);
    is_its.then(|| delete(claim.name.clone()))
}

impl FirestoreStore {
    pub(super) async fn has_another(
        &self,
        key: &InstanceKey,
        vendor: &VendorId,
    ) -> Result<bool, StoreError> {
        let keys = BTreeSet::from([key.clone()]);
        let holders = Holders::of(&self.session()?, &self.vault, &keys).await?;
        Ok(holders.has_other(key, vendor, &[]))
    }
}
