//! Who has a number or a session. What this gateway writes is claimed by a document under a keyed
//! hash, decided in a transaction; documents of other programs count by what is in them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use firestore::gcloud_sdk::google::firestore::v1::{Document, Write};

use super::{
    BATCH_MAX, Fault, FirestoreStore, bulk,
    find::spellings,
    instance::{self, INSTANCES},
    session::Session,
    value::{Fields, delete, get_text, id_of, text, whole},
    vendor::{self, CONFIGS, OLDER_CONFIGS},
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
/// Configurations with one number at Meta that are looked at, of each collection.
const LENDERS_MAX: u32 = 50;

/// The id of a key's claim.
fn claim_id(vault: &Vault, key: &InstanceKey) -> String {
    hex::encode(token(vault, key))
}

/// A document of an instance, and what it has of its vendor's configuration and is found by, too.
struct Holder {
    document: Document,
    lent: Option<InstanceKey>,
}

impl Holder {
    fn has(&self, key: &InstanceKey) -> bool {
        self.lent.as_ref() == Some(key) || instance::keys(&self.document).contains(key)
    }

    fn keys(self) -> impl Iterator<Item = InstanceKey> {
        instance::keys(&self.document).into_iter().chain(self.lent)
    }
}

/// Everybody who has one of these keys.
struct Holders {
    claims: HashMap<String, Document>,
    found: Vec<Holder>,
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
        let mut claims = HashMap::new();
        for ids in ids.chunks(BATCH_MAX) {
            claims.extend(session.get(CLAIMS, ids).await?);
        }
        let mut own = Vec::new();
        for (field, values) in values {
            own.extend(session.find(INSTANCES, field, values).await?);
        }
        // A claim also holds what a query does not find, as long as its instance is as it says.
        let named = claims.values().filter_map(|it| get_text(&it.fields, "instanceId"));
        let present: HashSet<&str> = own.iter().map(|it| id_of(&it.name)).collect();
        let named: Vec<String> = named.filter(|it| !present.contains(it.as_str())).collect();
        for named in named.chunks(BATCH_MAX) {
            own.extend(session.get(INSTANCES, named).await?.into_values());
        }
        let mut found = lent(session, keys, &own).await?;
        let lent: HashSet<String> = found.iter().map(|it| it.document.name.clone()).collect();
        let own = own.into_iter().filter(|it| !lent.contains(&it.name));
        found.extend(own.map(|document| Holder { document, lent: None }));
        Ok(Self { claims, found })
    }

    /// Whether an instance of another vendor that is not written now has this key.
    fn has_other(&self, key: &InstanceKey, vendor: &VendorId, written: &[&str]) -> bool {
        self.found.iter().any(|it| {
            !written.contains(&id_of(&it.document.name))
                && instance::vendor_of(&it.document).as_ref() != Some(vendor)
                && it.has(key)
        })
    }

    /// Whether this claim is another vendor's whose instance still has the key.
    fn is_anothers(&self, claim: &Document, key: &InstanceKey, vendor: &VendorId) -> bool {
        let instance = get_text(&claim.fields, "instanceId").unwrap_or_default();
        self.found.iter().any(|it| {
            id_of(&it.document.name) == instance
                && instance::vendor_of(&it.document).as_ref() != Some(vendor)
                && it.has(key)
        })
    }

    /// What this instance has of its vendor's configuration.
    fn lent(&self, instance: &WabaInstance) -> Option<InstanceKey> {
        let mut its =
            self.found.iter().filter(|it| id_of(&it.document.name) == instance.id.as_str());
        its.find_map(|it| it.lent.clone())
    }
}

/// Who has one of these numbers at Meta of its vendor's configuration, which no field of an instance
/// shows. Of very many configurations with one number only [`LENDERS_MAX`] are looked at.
async fn lent(
    session: &Session,
    keys: &BTreeSet<InstanceKey>,
    own: &[Document],
) -> Result<Vec<Holder>, Fault> {
    let at_meta = keys.iter().filter(|it| matches!(it, InstanceKey::Meta(_)));
    let values: Vec<_> = at_meta.flat_map(|it| spellings(it).1).collect();
    if values.is_empty() {
        return Ok(Vec::new());
    }
    // Those that a claim names may have it in a spelling that no query finds.
    let mut lenders: BTreeSet<VendorId> =
        own.iter().filter(|it| instance::may_be_lent(it)).filter_map(instance::vendor_of).collect();
    for collection in [CONFIGS, OLDER_CONFIGS] {
        let configs = session
            .find_some(collection, instance::LENT_META_ID, values.clone(), LENDERS_MAX)
            .await?;
        lenders.extend(configs.iter().filter_map(vendor::vendor_of));
    }
    let lenders: Vec<VendorId> = lenders.into_iter().collect();
    let lent = bulk::lent(session, &lenders).await?;
    Ok(lent.into_iter().map(|(document, it)| Holder { document, lent: Some(it) }).collect())
}

/// The documents that have this key: those that a query finds, and the one that its claim names,
/// since a number at another provider is in no field that is asked for.
pub(super) async fn having(
    session: &Session,
    vault: &Vault,
    key: &InstanceKey,
) -> Result<Vec<Document>, Fault> {
    let found = Holders::of(session, vault, &BTreeSet::from([key.clone()])).await?.found;
    Ok(found.into_iter().filter(|it| it.has(key)).map(|it| it.document).collect())
}

/// Who has these keys, each as [`having`] finds it.
pub(super) async fn owners(
    session: &Session,
    vault: &Vault,
    keys: &BTreeSet<InstanceKey>,
) -> Result<HashMap<InstanceKey, BTreeSet<VendorId>>, Fault> {
    let mut owners: HashMap<InstanceKey, BTreeSet<VendorId>> = HashMap::new();
    for holder in Holders::of(session, vault, keys).await?.found {
        let Some(vendor) = instance::vendor_of(&holder.document) else { continue };
        for key in holder.keys().filter(|it| keys.contains(it)) {
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
    let mut owners: HashMap<InstanceKey, (&WabaInstance, bool)> = HashMap::new();
    for it in instances {
        let mut had = had(it);
        had.extend(holders.lent(it));
        for key in it.keys() {
            // What two have already hinders no other change of either.
            let is_kept = had.contains(&key);
            let is_taken = !is_kept && holders.has_other(&key, &it.vendor_id, &written);
            let other = owners.insert(key, (it, is_kept));
            let is_twice = other.is_some_and(|(other, was_kept)| {
                other.vendor_id != it.vendor_id && !(is_kept && was_kept)
            });
            if is_taken || is_twice {
                return Err(StoreError::Claimed);
            }
        }
    }
    let mut writes = Vec::new();
    for (key, (it, is_kept)) in &owners {
        let id = claim_id(vault, key);
        let present = holders.claims.get(&id);
        let is = |field: &str, it: &str| {
            present.and_then(|claim| get_text(&claim.fields, field)).as_deref() == Some(it)
        };
        if is("vendorId", it.vendor_id.as_str()) && is("instanceId", it.id.as_str()) {
            continue;
        }
        // Of a key that two have the first one to claim it keeps its claim.
        let is_anothers = |claim| holders.is_anothers(claim, key, &it.vendor_id);
        if *is_kept && present.is_some_and(is_anothers) {
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
