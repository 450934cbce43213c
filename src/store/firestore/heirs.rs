//! Whose it is what only a vendor's configuration has: the instance's that the configuration names,
//! or that is the only one. It must not be lost to that one because there is another, and it must
//! go to nobody else when that one is deleted.

use std::collections::{BTreeSet, HashMap};

use firestore::gcloud_sdk::google::firestore::v1::{Document, Write};

use super::{
    Fault, bulk,
    find::{self, Config},
    instance,
    numbers::Numbers,
    session::Session,
    value::get_text,
    vendor::{self, Named},
};
use crate::domain::{
    id::{InstanceId, VendorId},
    vendor::Vendor,
    waba::WabaInstance,
};

/// Whether an instance that is served would need what only the configuration has.
pub(super) fn lacks(document: &Document) -> bool {
    instance::lacks_secrets(document) && !instance::is_foreign(document)
}

/// Which instance gets what only the configuration has: the one that it names, or else the only
/// number.
pub(super) fn heir<'a>(config: &Config, documents: &'a Numbers) -> Option<&'a Document> {
    if let Some(named) = get_text(&config.document.fields, "wabaInstanceId") {
        return documents.for_id(&named).filter(|it| lacks(it));
    }
    let mut numbers = documents.iter().filter(|it| instance::is_served(it));
    match (numbers.next(), numbers.next()) {
        (Some(only), None) => Some(only).filter(|it| documents.is_heir(it) != Some(false)),
        _ => documents.iter().find(|it| documents.is_heir(it) == Some(true) && lacks(it)),
    }
}

/// Which instances configurations are to name, and which are to say themselves that they have what a
/// configuration has.
#[derive(Default)]
pub(super) struct Naming {
    pub(super) named: HashMap<VendorId, Named>,
    heirs: Vec<(VendorId, String)>,
    /// Whose new instances are to say that they have nothing of it.
    bereft: BTreeSet<VendorId>,
    /// Of which new ones each is to say that it has all of it: nothing is written of their
    /// configurations.
    first: BTreeSet<InstanceId>,
}

impl Naming {
    /// What is to be said when these instances are kept, of which there are these documents.
    pub(super) async fn of(
        tx: &Session,
        configs: &HashMap<VendorId, Config>,
        instances: &[WabaInstance],
        before: &HashMap<String, Document>,
    ) -> Result<Self, Fault> {
        let mut naming = Self::default();
        let new = instances.iter().filter(|it| !before.contains_key(it.id.as_str()));
        let new: BTreeSet<&VendorId> = new.map(|it| &it.vendor_id).collect();
        let mut asked = Vec::new();
        for (id, config) in configs {
            match Named::of_config(&config.document) {
                Some(it) => drop(naming.named.insert(id.clone(), it)),
                None if new.contains(id) => asked.push(id.clone()),
                None => {}
            }
        }
        let (numbers, bereft) =
            tokio::try_join!(bulk::numbers(tx, &asked), bulk::bereft(tx, &asked))?;
        let none = Numbers::default();
        for id in &asked {
            let (config, numbers) = (&configs[id], numbers.get(id).unwrap_or(&none));
            match heir(config, numbers) {
                Some(heir) if instance::is_served(heir) => {
                    naming.named.insert(id.clone(), Named::of_document(heir));
                    if config.is_older && instance::is_heir(heir) != Some(true) {
                        naming.heirs.push((id.clone(), heir.name.clone()));
                    }
                }
                // What it has was a deleted number's.
                _ if bereft.contains(id) => drop(naming.bereft.insert(id.clone())),
                // Something that is no number has nothing of it.
                _ if !numbers.iter().any(instance::is_served) => {
                    naming.first(instances, id);
                    naming.only(instances, id);
                    let named = naming.named.get(id).filter(|_| config.is_older);
                    let named = named.and_then(|it| InstanceId::parse(it.id()).ok());
                    naming.first.extend(named);
                }
                // Which of them it is was never said.
                _ => {}
            }
        }
        let without = instances.iter().filter(|it| !configs.contains_key(&it.vendor_id));
        without.for_each(|it| naming.first(instances, &it.vendor_id));
        Ok(naming)
    }

    /// What a new instance is to say of itself.
    pub(super) fn is_heir(&self, it: &WabaInstance) -> Option<bool> {
        let is_first = self.first.contains(&it.id);
        is_first.then_some(true).or_else(|| self.bereft.contains(&it.vendor_id).then_some(false))
    }

    /// A vendor's first instance is named, where it is written.
    fn first(&mut self, instances: &[WabaInstance], vendor: &VendorId) {
        let first = InstanceId::nth(vendor, 1);
        if let Some(first) = instances.iter().find(|it| it.id == first) {
            self.named.insert(vendor.clone(), Named::of(first));
        }
    }

    /// Where none is named, the only one that is written: the vendor has no other number.
    fn only(&mut self, instances: &[WabaInstance], vendor: &VendorId) {
        let mut own = instances.iter().filter(|it| it.vendor_id == *vendor);
        if let (Some(only), None) = (own.next(), own.next()) {
            self.named.entry(vendor.clone()).or_insert_with(|| Named::of(only));
        }
    }

    /// The writes that name an instance where nothing else is written of its configuration. The
    /// collection of before is never written: its instance says so itself.
    pub(super) fn writes(
        &self,
        configs: &HashMap<VendorId, Config>,
        vendors: &[Vendor],
    ) -> Vec<Write> {
        let is_written = |id: &VendorId| vendors.iter().any(|it| it.id == *id);
        let of_now = configs.iter().filter(|it| !it.1.is_older && !is_written(it.0));
        let named = of_now
            .filter_map(|(id, config)| vendor::name_write(&config.document, self.named.get(id)?));
        let heirs = self.heirs.iter().filter(|it| !is_written(&it.0));
        named.chain(heirs.filter_map(|it| instance::heir_write(it.1.clone(), true))).collect()
    }
}

/// Of an instance that is deleted. What only the configuration has was this one's, as far as anybody
/// can tell: another that is left as the only one, or comes later, must not prove or send with it.
/// Whether it was.
pub(super) async fn disinherit(
    tx: &Session,
    vendor: &VendorId,
    numbers: &Numbers,
    document: &Document,
    writes: &mut Vec<Write>,
) -> Result<bool, Fault> {
    let Some(config) = find::config(tx, vendor).await? else { return Ok(false) };
    let is_named = Named::of_config(&config.document).is_some();
    let had = match heir(&config, numbers) {
        Some(heir) => heir.name == document.name,
        // Which of them it is was never said.
        None => !is_named && numbers.is_heir(document) != Some(false),
    };
    if !had || is_named {
        return Ok(had);
    }
    if config.is_older {
        let others = numbers.iter().filter(|it| it.name != document.name);
        writes.extend(others.filter_map(|it| instance::heir_write(it.name.clone(), false)));
    } else {
        writes.extend(vendor::name_write(&config.document, &Named::of_document(document)));
    }
    Ok(true)
}
