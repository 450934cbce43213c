//! How documents are found, whoever has written them.

use std::collections::BTreeMap;

use firestore::gcloud_sdk::google::firestore::v1::{Document, Value};

use super::{
    Fault, FirestoreStore, claims, heirs,
    instance::{self, INSTANCES, Older},
    numbers::{Numbers, age},
    session::{Session, is, query},
    shared::PAUSES,
    value::{id_of, integer, text},
    vendor::{self, CONFIGS, OLDER_CONFIGS},
};
use crate::{
    domain::{
        id::{InstanceId, VendorId},
        known::Known,
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    store::StoreError,
    vault::Vault,
};

/// A vendor's configuration, in the collection of now or of before.
pub(super) struct Config {
    pub(super) document: Document,
    /// It is in the older collection, which is never written.
    pub(super) is_older: bool,
}

/// A vendor's configuration: the document of its id, else the newest that names it.
pub(super) async fn config(session: &Session, id: &VendorId) -> Result<Option<Config>, Fault> {
    for (collection, is_older) in [(CONFIGS, false), (OLDER_CONFIGS, true)] {
        if let Some(document) = config_in(session, collection, id).await? {
            return Ok(Some(Config { document, is_older }));
        }
    }
    Ok(None)
}

async fn config_in(
    session: &Session,
    collection: &str,
    id: &VendorId,
) -> Result<Option<Document>, Fault> {
    let named = session.get_one(collection, id.as_str()).await?;
    if let Some(found) = named.filter(|it| vendor::vendor_of(it).as_ref() == Some(id)) {
        return Ok(Some(found));
    }
    let found = session.query(query(collection, is("vendorId", text(id.as_str())))).await?;
    Ok(found.into_iter().max_by_key(age))
}

/// What a vendor's configurations have of an instance that lacks its own.
pub(super) async fn older(
    session: &Session,
    vault: &Vault,
    id: &VendorId,
    known: Option<&Config>,
) -> Result<Older, Fault> {
    Older::of(vault, older_configs(session, id, known).await?.iter())
}

async fn older_configs(
    session: &Session,
    id: &VendorId,
    known: Option<&Config>,
) -> Result<Vec<Document>, Fault> {
    let mut all = Vec::new();
    match known {
        Some(known) => all.push(known.document.clone()),
        None => all.extend(config(session, id).await?.map(|it| it.document)),
    }
    // The collection of now goes first; what it lacks may still be in the one of before.
    if known.is_none_or(|it| !it.is_older) {
        all.extend(config_in(session, OLDER_CONFIGS, id).await?);
    }
    Ok(all)
}

/// All documents of a vendor's instances.
pub(super) async fn instances_of(session: &Session, id: &VendorId) -> Result<Numbers, Fault> {
    let ids = [format!("waba_{id}"), id.to_string()];
    let of_vendor = query(INSTANCES, is("vendorId", text(id.as_str())));
    let (named, found) = tokio::try_join!(session.get(INSTANCES, &ids), session.query(of_vendor))?;
    let all: BTreeMap<String, Document> =
        named.into_values().chain(found).map(|it| (it.name.clone(), it)).collect();
    let all = all.into_values().filter(|it| instance::vendor_of(it).as_ref() == Some(id));
    Ok(Numbers::of(all))
}

/// The instances among a vendor's documents. What only the configuration has goes to the one that
/// it names, or that is the only one.
pub(super) async fn read_instances(
    session: &Session,
    vault: &Vault,
    id: &VendorId,
    documents: &Numbers,
) -> Result<Vec<WabaInstance>, Fault> {
    if !documents.iter().any(heirs::lacks) {
        return instances_in(vault, documents, None, &[]);
    }
    let config = config(session, id).await?;
    let older = lenders(session, id, config.as_ref(), documents).await?;
    instances_in(vault, documents, config.as_ref(), &older)
}

/// The configurations that have what an instance lacks, the one that counts in front; none where
/// none lacks anything, or it is nobody's.
async fn lenders(
    session: &Session,
    id: &VendorId,
    config: Option<&Config>,
    documents: &Numbers,
) -> Result<Vec<Document>, Fault> {
    match config {
        Some(it) if documents.iter().any(heirs::lacks) && heirs::heir(it, documents).is_some() => {
            older_configs(session, id, Some(it)).await
        }
        _ => Ok(Vec::new()),
    }
}

/// The same, of what was found already.
pub(super) fn instances_in(
    vault: &Vault,
    documents: &Numbers,
    config: Option<&Config>,
    older: &[Document],
) -> Result<Vec<WabaInstance>, Fault> {
    let heir = config.and_then(|it| heirs::heir(it, documents));
    let heir = heir.filter(|it| heirs::lacks(it)).map(|it| &it.name);
    let (of_heir, none) = match heir {
        Some(_) => (Older::of(vault, older.iter())?, Older::default()),
        None => (Older::default(), Older::default()),
    };
    let mut instances = Vec::new();
    for document in documents.iter() {
        let older = if heir == Some(&document.name) { &of_heir } else { &none };
        instances.extend(instance::read(vault, document, older)?);
    }
    Ok(instances)
}

/// The values that a key may have in a document: with and without `+`, as text and as a number.
pub(super) fn spellings(key: &InstanceKey) -> (&'static str, Vec<Value>) {
    let both = |it: &String| {
        let number = it.parse().ok().filter(|n: &i64| n.to_string() == *it).map(integer);
        std::iter::once(text(it.clone())).chain(number).collect::<Vec<_>>()
    };
    match key {
        InstanceKey::Phone(alias) => {
            let all = forms(alias);
            let with_plus = all.iter().map(|it| text(format!("+{it}")));
            ("phoneNumber", with_plus.chain(all.iter().flat_map(both)).collect())
        }
        InstanceKey::Wasender(id) => ("wasenderInstanceId", both(id)),
        InstanceKey::Meta(id) => ("metaPhoneNumberId", both(id)),
        InstanceKey::Unipile(id) => ("unipileInstanceId", both(id)),
    }
}

/// The digits of all numbers that are known by this alias
/// ([`PhoneNumber::alias`](crate::domain::phone::PhoneNumber::alias)).
fn forms(alias: &str) -> Vec<String> {
    let insert =
        |head: usize, digits: &str| format!("{}{digits}{}", &alias[..head], &alias[head..]);
    let other = match alias.len() {
        12 if alias.starts_with("55") => Some(insert(4, "9")),
        12 if alias.starts_with("52") => Some(insert(2, "1")),
        11 if alias.starts_with("229") => Some(insert(3, "01")),
        _ => None,
    };
    std::iter::once(alias.to_owned()).chain(other).collect()
}

/// A vendor, whatever its numbers are like.
pub(super) async fn vendor_in(
    session: &Session,
    vault: &Vault,
    id: &VendorId,
) -> Result<Option<Vendor>, Fault> {
    let pause = session.get_one(PAUSES, id.as_str());
    let (config, pause) = tokio::try_join!(config(session, id), pause)?;
    if let Some(config) = config {
        return Ok(Some(vendor::read(vault, id, &config.document, pause.is_some())?));
    }
    let has_numbers = !instances_of(session, id).await?.is_empty();
    Ok(has_numbers.then(|| vendor::without_config(vault, id, pause.is_some())))
}

impl FirestoreStore {
    pub(super) async fn find_vendor(&self, id: &VendorId) -> Result<Option<Vendor>, StoreError> {
        Ok(vendor_in(&self.session()?, &self.vault, id).await?)
    }

    pub(super) async fn find_instances(
        &self,
        id: &VendorId,
    ) -> Result<Vec<WabaInstance>, StoreError> {
        let session = self.session()?;
        let documents = instances_of(&session, id).await?;
        Ok(read_instances(&session, &self.vault, id, &documents).await?)
    }

    /// Only here is it noted what was read: an edit that somebody else has read is news to whoever
    /// remembers what was there before.
    pub(super) async fn find_to_remember(
        &self,
        id: &VendorId,
    ) -> Result<Option<Known>, StoreError> {
        let session = self.session()?;
        let pause = session.get_one(PAUSES, id.as_str());
        let numbers = instances_of(&session, id);
        let (config, pause, numbers) = tokio::try_join!(config(&session, id), pause, numbers)?;
        let older = lenders(&session, id, config.as_ref(), &numbers).await?;
        // The first of them is the configuration itself.
        let of_config = older.iter().skip(1).chain(config.iter().map(|it| &it.document));
        let marks = self.changes.read(id, of_config.chain(numbers.iter()));
        let vendor = match &config {
            Some(it) => vendor::read(&self.vault, id, &it.document, pause.is_some())?,
            None if numbers.is_empty() => return Ok(None),
            None => vendor::without_config(&self.vault, id, pause.is_some()),
        };
        let instances = instances_in(&self.vault, &numbers, config.as_ref(), &older)?;
        Ok(Some(Known { marks, ..Known::new(vendor, instances) }))
    }

    pub(super) async fn find_by_key(
        &self,
        key: &InstanceKey,
    ) -> Result<Option<(VendorId, InstanceId)>, StoreError> {
        let found = claims::having(&self.session()?, &self.vault, key).await?;
        let Some(vendor) = found.first().and_then(instance::vendor_of) else { return Ok(None) };
        // Claimed by two, it routes for neither.
        if found.iter().any(|it| instance::vendor_of(it).as_ref() != Some(&vendor)) {
            return Ok(None);
        }
        let served = found.iter().filter(|it| !instance::is_foreign(it));
        let newest = served.max_by_key(|it| age(it));
        let id = newest.and_then(|it| InstanceId::parse(id_of(&it.name)).ok());
        Ok(id.map(|id| (vendor, id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::phone::PhoneNumber;

    #[test]
    fn every_form_of_a_number_has_its_alias() {
        for digits in ["5511987654321", "5215512345678", "2290197123456", "221771234567"] {
            let alias = PhoneNumber::from_wire(digits).unwrap().alias();
            let forms = forms(&alias);
            assert!(forms.iter().any(|it| it == digits), "{forms:?}");
            for form in forms {
                assert_eq!(PhoneNumber::from_wire(&form).unwrap().alias(), alias);
            }
        }
    }
}
