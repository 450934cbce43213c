//! What a document of vendors makes of what is stored, or what is wrong with it.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{IMPORT_FAULTS_MAX, IMPORT_VENDORS_MAX, ImportError, ImportFault, Imported, check};
use crate::{
    domain::{
        clock::Millis,
        id::{InstanceId, VendorId},
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    gateway::{AdminError, signing_secret},
    store::{
        Looked, Planned, Store, Stored, Wanted,
        exchange::{Document, Fault, VERSION, VendorExchange},
    },
};

/// What is to be written.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) imported: Imported,
    pub(super) planned: Vec<Planned>,
}

/// A vendor of the document, as it will be.
struct Draft {
    vendor: Vendor,
    /// Its instances in the document.
    instances: Vec<Result<WabaInstance, Vec<Fault>>>,
    before: Stored,
    faults: Vec<Fault>,
}

/// Who of the document has what.
#[derive(Default)]
struct Taken {
    ids: HashSet<InstanceId>,
    keys: HashMap<InstanceKey, VendorId>,
}

/// Plans an import. The store is asked about all of its vendors together, and then about all of
/// their numbers.
pub(super) async fn plan(store: &dyn Store, text: &[u8], now: Millis) -> Result<Plan, ImportError> {
    let all = read(text)?;
    let ids: BTreeSet<VendorId> = all.iter().flatten().map(|it| it.0.clone()).collect();
    let wanted = Wanted { vendors: ids.into_iter().collect(), ..Wanted::default() };
    let stored = store.look(wanted).await?.vendors;
    let (mut drafts, mut seen) = (Vec::new(), HashSet::new());
    for it in all {
        drafts.push(match it {
            Ok((id, it)) => {
                let before = stored.get(&id).cloned().transpose()?.unwrap_or_default();
                let mut draft = Draft::of(&id, &it, before, now);
                if !seen.insert(id) {
                    let twice = Fault::new("vendorId", "the document has this vendor twice");
                    draft.faults.insert(0, twice);
                }
                Ok(draft)
            }
            Err(faults) => Err(faults),
        });
    }
    let instances = || drafts.iter().flatten().flat_map(|it| it.instances.iter().flatten());
    let keys: BTreeSet<InstanceKey> = instances().flat_map(WabaInstance::keys).collect();
    let ids: BTreeSet<InstanceId> = instances().map(|it| it.id.clone()).collect();
    let wanted = Wanted {
        keys: keys.into_iter().collect(),
        instances: ids.into_iter().collect(),
        ..Wanted::default()
    };
    let looked = store.look(wanted).await?;
    let (mut plan, mut told, mut taken) = (Plan::default(), Told::default(), Taken::default());
    for (index, draft) in drafts.into_iter().enumerate() {
        match draft {
            Ok(draft) => plan.add(index, draft, &looked, &mut taken, &mut told),
            Err(faults) => told.add(index, None, faults),
        }
    }
    if told.n_faults > 0 {
        return Err(ImportError::Faults { n_faults: told.n_faults, faults: told.faults });
    }
    Ok(plan)
}

type Read = Result<(VendorId, VendorExchange), Vec<Fault>>;

/// The document's vendors, each by itself.
fn read(text: &[u8]) -> Result<Vec<Read>, AdminError> {
    let document: Document<'_> = serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let why = format!("line {line}, column {column}: the document is not of the form {{\"version\":{VERSION},\"vendors\":[…]}}");
        AdminError::Invalid(why)
    })?;
    if document.version != VERSION {
        let why = format!("version: this program reads version {VERSION}");
        return Err(AdminError::Invalid(why));
    }
    if document.vendors.len() > IMPORT_VENDORS_MAX {
        let why = format!("vendors has more than {IMPORT_VENDORS_MAX} entries");
        return Err(AdminError::Invalid(why));
    }
    let vendor = |it| {
        let it = VendorExchange::read(it)?;
        let id = it.id().map_err(|fault| vec![fault])?;
        Ok((id, it))
    };
    Ok(document.vendors.into_iter().map(vendor).collect())
}

impl Draft {
    fn of(id: &VendorId, it: &VendorExchange, before: Stored, now: Millis) -> Self {
        let fresh = || Vendor::new(id.clone(), id.to_string(), signing_secret(), now);
        let mut vendor = before.vendor.clone().unwrap_or_else(fresh);
        let mut faults = it.apply(&mut vendor, now).err().unwrap_or_default();
        faults.extend(check::vendor(&vendor));
        let instances = it.instances.iter().map(|it| it.read(id, &before.instances, now));
        Self { vendor, instances: instances.collect(), before, faults }
    }
}

impl Plan {
    fn add(
        &mut self,
        index: usize,
        draft: Draft,
        looked: &Looked,
        taken: &mut Taken,
        told: &mut Told,
    ) {
        let Draft { vendor, instances: read, before, mut faults } = draft;
        let mut instances = Vec::new();
        for (n, it) in read.into_iter().enumerate() {
            let found = match &it {
                Ok(it) => taken.claims(it, &before.instances, looked),
                Err(found) => found.clone(),
            };
            let place = |it: Fault| it.of(&format!("instances[{n}]"));
            faults.extend(found.into_iter().map(place));
            instances.extend(it.ok().map(|it| (n, it)));
        }
        faults.extend(check::together(&before.instances, &instances));
        if before.vendor.is_none() {
            self.imported.n_created += 1;
        } else {
            self.imported.n_updated += 1;
        }
        self.imported.n_instances += instances.len();
        told.add(index, Some(&vendor.id), faults);
        let instances = instances.into_iter().map(|it| it.1).collect();
        self.planned.push(Planned { vendor, instances, before });
    }
}

impl Taken {
    /// What of an instance belongs to somebody else, in the store or in the document.
    fn claims(
        &mut self,
        instance: &WabaInstance,
        present: &[WabaInstance],
        looked: &Looked,
    ) -> Vec<Fault> {
        let (mut faults, vendor) = (Vec::new(), &instance.vendor_id);
        let is_its = present.iter().any(|it| it.id == instance.id);
        if !self.ids.insert(instance.id.clone()) {
            faults.push(Fault::new("id", "the document has this instance twice"));
        } else if !is_its && looked.instances.contains(&instance.id) {
            faults.push(Fault::new("id", "another vendor has an instance of this id"));
        }
        // What two have already hinders no import of either.
        let had = present.iter().find(|it| it.id == instance.id).map(WabaInstance::keys);
        let had = had.unwrap_or_default();
        for key in instance.keys() {
            let (field, is_kept) = (key.field(), had.contains(&key));
            let owners = looked.owners.get(&key);
            let is_taken = owners.is_some_and(|it| it.iter().any(|it| it != vendor));
            let holder = self.keys.entry(key).or_insert_with(|| vendor.clone());
            if !is_kept && (is_taken || holder != vendor) {
                faults.push(Fault::new(field, "another vendor has it"));
            }
        }
        faults
    }
}

/// Faults, as many as are told.
#[derive(Default)]
struct Told {
    n_faults: usize,
    faults: Vec<ImportFault>,
}

impl Told {
    fn add(&mut self, index: usize, vendor: Option<&VendorId>, faults: Vec<Fault>) {
        self.n_faults += faults.len();
        let room = IMPORT_FAULTS_MAX.saturating_sub(self.faults.len());
        let told = faults.into_iter().take(room).map(|Fault { field, why }| ImportFault {
            index,
            vendor: vendor.cloned(),
            field,
            why,
        });
        self.faults.extend(told);
    }
}
