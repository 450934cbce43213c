//! Many vendors at once, in few requests: documents by name a hundred at a time, and queries of
//! thirty values each.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use firestore::gcloud_sdk::google::firestore::v1::Document;

use super::{
    BATCH_MAX, Fault, FirestoreStore, claims,
    find::{self, Config},
    heirs,
    instance::{self, INSTANCES},
    numbers::{Numbers, age},
    session::{Session, all_of},
    shared::{FORMER, HAD_CONFIGS, PAUSES},
    value::{Fields, get_flag, get_text, id_of, text, whole},
    vendor::{self, CONFIGS, OLDER_CONFIGS},
};
use crate::{
    domain::{
        id::{InstanceId, VendorId},
        waba::InstanceKey,
    },
    store::{Bulk, Looked, StoreError, Stored, Wanted},
    vault::Vault,
};

#[async_trait]
impl Bulk for FirestoreStore {
    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    async fn look(&self, wanted: Wanted) -> Result<Looked, StoreError> {
        let session = self.session()?;
        let mut looked = Looked::default();
        for ids in wanted.vendors.chunks(BATCH_MAX) {
            looked.vendors.extend(stored(&session, &self.vault, ids).await?);
        }
        for ids in wanted.instances.chunks(BATCH_MAX) {
            let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let (found, former) =
                tokio::try_join!(session.get(INSTANCES, &names), session.get(FORMER, &names))?;
            for id in ids {
                if found.contains_key(id.as_str()) {
                    looked.instances.insert(id.clone());
                } else if former.contains_key(id.as_str()) {
                    looked.former.insert(id.clone());
                }
            }
        }
        let keys: BTreeSet<InstanceKey> = wanted.keys.into_iter().collect();
        looked.owners = claims::owners(&session, &self.vault, &keys).await?;
        Ok(looked)
    }

    async fn former_instances(&self) -> Result<Vec<InstanceId>, StoreError> {
        let found = self.session()?.query(all_of(FORMER)).await?;
        let mut ids: Vec<InstanceId> =
            found.iter().filter_map(|it| InstanceId::parse(id_of(&it.name)).ok()).collect();
        ids.sort();
        Ok(ids)
    }

    async fn put_former_instances(&self, ids: &[InstanceId]) -> Result<(), StoreError> {
        let session = self.session()?;
        for ids in ids.chunks(BATCH_MAX) {
            let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let present = session.get(FORMER, &names).await?;
            let missing = names.iter().filter(|it| !present.contains_key(*it));
            let writes: Vec<_> =
                missing.map(|it| whole(session.name(FORMER, it), Fields::new(), None)).collect();
            if !writes.is_empty() {
                session.commit(writes).await?;
            }
        }
        Ok(())
    }
}

/// What is stored of many vendors; one that cannot be read hides no other.
pub(super) async fn stored(
    session: &Session,
    vault: &Vault,
    ids: &[VendorId],
) -> Result<HashMap<VendorId, Result<Stored, StoreError>>, Fault> {
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let (all, pauses) = tokio::try_join!(documents(session, ids), session.get(PAUSES, &names))?;
    let read = |id: &VendorId, it: &Documents| {
        let is_paused = pauses.contains_key(id.as_str());
        let vendor = match &it.config {
            Some(it) => vendor::read(vault, id, &it.document, is_paused)?,
            None => vendor::without_config(vault, id, is_paused),
        };
        let (config, older) = (it.config.as_ref(), it.lenders());
        let instances = find::instances_in(vault, &it.numbers, config, &older)?;
        Ok(Stored { vendor: Some(vendor), instances })
    };
    let mut stored = HashMap::new();
    for (id, it) in all {
        let read = read(&id, &it).map_err(|it: Fault| it.into());
        stored.insert(id, read);
    }
    Ok(stored)
}

/// The instances of these vendors that have a number at Meta of their configuration, each with it.
pub(super) async fn lent(
    session: &Session,
    ids: &[VendorId],
) -> Result<Vec<(Document, InstanceKey)>, Fault> {
    let mut lent = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        for it in documents(session, ids).await?.into_values() {
            let heir = it.config.as_ref().and_then(|config| heirs::heir(config, &it.numbers));
            let key = heir.and_then(|heir| instance::lent_key(heir, &it.lenders()));
            lent.extend(heir.cloned().zip(key));
        }
    }
    Ok(lent)
}

/// A vendor's documents.
struct Documents {
    config: Option<Config>,
    /// Of the collection of before, where an instance may lack what is in it.
    before: Option<Document>,
    numbers: Numbers,
}

impl Documents {
    /// Where what an instance lacks may be.
    fn lenders(&self) -> Vec<Document> {
        let config = self.config.iter().map(|it| &it.document);
        config.chain(&self.before).cloned().collect()
    }
}

/// Those of many vendors, of which there are any.
async fn documents(
    session: &Session,
    ids: &[VendorId],
) -> Result<HashMap<VendorId, Documents>, Fault> {
    let (mut configs, mut numbers) =
        tokio::try_join!(configs(session, ids), numbers(session, ids))?;
    let lacks = |it: &&VendorId| {
        let of_now = configs.get(*it).is_some_and(|it| !it.is_older);
        of_now && numbers.get(*it).is_some_and(|it| it.iter().any(instance::lacks_secrets))
    };
    let lacking: Vec<VendorId> = ids.iter().filter(lacks).cloned().collect();
    let mut before = configs_in(session, OLDER_CONFIGS, &lacking).await?;
    let mut all = HashMap::new();
    for id in ids {
        let numbers = numbers.remove(id).unwrap_or_default();
        let it = Documents { config: configs.remove(id), before: before.remove(id), numbers };
        if it.config.is_some() || !it.numbers.is_empty() {
            all.insert(id.clone(), it);
        }
    }
    Ok(all)
}

/// Many vendors' configurations, each as [`find::config`] finds it.
pub(super) async fn configs(
    session: &Session,
    ids: &[VendorId],
) -> Result<HashMap<VendorId, Config>, Fault> {
    let mut all = HashMap::new();
    for (collection, is_older) in [(CONFIGS, false), (OLDER_CONFIGS, true)] {
        let missing: Vec<VendorId> =
            ids.iter().filter(|it| !all.contains_key(*it)).cloned().collect();
        let found = configs_in(session, collection, &missing).await?;
        all.extend(found.into_iter().map(|(id, document)| (id, Config { document, is_older })));
    }
    Ok(all)
}

/// Of one collection: the document of a vendor's id, else the newest that names it.
async fn configs_in(
    session: &Session,
    collection: &str,
    ids: &[VendorId],
) -> Result<HashMap<VendorId, Document>, Fault> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let values = names.iter().cloned().map(text).collect();
    let (named, found) = tokio::try_join!(
        session.get(collection, &names),
        session.find(collection, "vendorId", values)
    )?;
    let mut all: HashMap<VendorId, Document> = HashMap::new();
    for document in found {
        let Some(id) = vendor::vendor_of(&document) else { continue };
        if all.get(&id).is_none_or(|other| age(other) < age(&document)) {
            all.insert(id, document);
        }
    }
    for (name, document) in named {
        if let Some(id) = vendor::vendor_of(&document).filter(|it| it.as_str() == name) {
            all.insert(id, document);
        }
    }
    Ok(all)
}

/// Many vendors' documents of instances, each as [`find::instances_of`] finds them.
pub(super) async fn numbers(
    session: &Session,
    ids: &[VendorId],
) -> Result<HashMap<VendorId, Numbers>, Fault> {
    let names: Vec<String> =
        ids.iter().flat_map(|it| [format!("waba_{it}"), it.to_string()]).collect();
    let values = ids.iter().map(|it| text(it.as_str())).collect();
    let (named, found) = tokio::try_join!(
        session.get(INSTANCES, &names),
        session.find(INSTANCES, "vendorId", values)
    )?;
    let all: BTreeMap<String, Document> =
        named.into_values().chain(found).map(|it| (it.name.clone(), it)).collect();
    let mut by_vendor: HashMap<VendorId, Vec<Document>> = HashMap::new();
    let wanted: HashSet<&VendorId> = ids.iter().collect();
    for document in all.into_values() {
        if let Some(id) = instance::vendor_of(&document).filter(|it| wanted.contains(it)) {
            by_vendor.entry(id).or_default().push(document);
        }
    }
    Ok(by_vendor.into_iter().map(|(id, it)| (id, Numbers::of(it))).collect())
}

/// The vendors of whose deleted instances one had what only their configuration has.
pub(super) async fn bereft(
    session: &Session,
    ids: &[VendorId],
) -> Result<HashSet<VendorId>, Fault> {
    let values = ids.iter().map(|it| text(it.as_str())).collect();
    let found = session.find(FORMER, "vendorId", values).await?;
    let had = found.iter().filter(|it| get_flag(&it.fields, HAD_CONFIGS) == Some(true));
    let vendor = |it: &Document| VendorId::parse(&get_text(&it.fields, "vendorId")?).ok();
    Ok(had.filter_map(vendor).collect())
}
