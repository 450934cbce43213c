//! What this process has read to remember it, and which of it others have changed since. Nothing is
//! kept of a document but whose it is and its mark: a hash of what matters in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use firestore::gcloud_sdk::google::firestore::v1::{Document, Value, value::ValueType};
use moka::sync::Cache;

use super::{
    instance::{self, INSTANCES},
    shared::{EVERYBODY, KEYS, PAUSES},
    value::{Fields, OURS, collection_of, id_of},
    vendor,
};
use crate::domain::id::VendorId;

/// Documents that are remembered; the least used go first.
const REMEMBERED_MAX: u64 = 400_000;
/// Changes that wait to be noticed.
const WAITING_MAX: usize = 200_000;
/// What changes by itself, and changes nothing for whoever remembers a vendor: of an instance, of a
/// configuration (whose `status` is the vendor's), and of our own map.
const INSTANCES_OF_NO_MATTER: [&str; 2] = ["status", "lastSync"];
const CONFIGS_OF_NO_MATTER: [&str; 2] = ["wabaStatus", "lastSync"];
const OURS_OF_NO_MATTER: [&str; 2] = ["lastError", "lastFailedAt"];

#[derive(Clone)]
pub(super) struct Changes {
    documents: Cache<String, (VendorId, u64)>,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    last: i64,
    changed: BTreeMap<i64, Heard>,
    /// How often the listening began with nothing known of what was before.
    n_begun: u64,
    /// Gateway keys that were deleted.
    n_deleted_keys: u64,
}

/// Whose documents something was heard of.
enum Heard {
    /// They were changed.
    Changed(VendorId),
    /// Nothing of this one was read here, so that only what is known of the vendor elsewhere says
    /// whether it was changed.
    First(VendorId, u64),
}

impl Changes {
    pub(super) fn new() -> Self {
        Self {
            documents: Cache::builder().max_capacity(REMEMBERED_MAX).build(),
            log: Arc::default(),
        }
    }

    /// Remembers what was read of a vendor by whoever remembers it too, and marks it.
    pub(super) fn read<'a>(
        &self,
        vendor: &VendorId,
        documents: impl IntoIterator<Item = &'a Document>,
    ) -> Box<[u64]> {
        let remember = |it: &Document| {
            let mark = mark(it);
            self.documents.insert(key(&it.name), (vendor.clone(), mark));
            mark
        };
        documents.into_iter().map(remember).collect()
    }

    /// A document was changed, by whomever.
    pub(super) fn changed(&self, document: &Document) {
        if collection_of(&document.name) == KEYS {
            // A key is made, or used: those that are known are as they were.
            return;
        }
        let now = owner(document);
        let mark = mark(document);
        let before = self.documents.get(&key(&document.name));
        if let Some(it) = &before
            && it.1 == mark
            && Some(&it.0) == now.as_ref()
        {
            return;
        }
        if let Some(now) = &now {
            self.documents.insert(key(&document.name), (now.clone(), mark));
        }
        // That a vendor's sends are stopped is read from no document of its own.
        let is_first = before.is_none() && collection_of(&document.name) != PAUSES;
        match now {
            // What is remembered may come from another node, or from the copy.
            Some(now) if is_first => {
                // Its name may say that it was another's.
                let former = told_by_name(&document.name).into_iter().filter(|it| *it != now);
                let former: Vec<Heard> = former.map(Heard::Changed).collect();
                self.notice(former.into_iter().chain([Heard::First(now, mark)]));
            }
            now => {
                // It may have been given to another vendor.
                let owners: BTreeSet<VendorId> =
                    before.map(|it| it.0).into_iter().chain(now).collect();
                self.notice(owners.into_iter().map(Heard::Changed));
            }
        }
        self.pause_of_everybody(&document.name);
    }

    /// It is nobody's, and concerns everybody.
    fn pause_of_everybody(&self, name: &str) {
        if collection_of(name) == PAUSES && id_of(name) == EVERYBODY {
            self.log().last += 1;
        }
    }

    /// A document was deleted.
    pub(super) fn deleted(&self, name: &str) {
        if collection_of(name) == KEYS {
            self.log().n_deleted_keys += 1;
            return;
        }
        let before = self.documents.remove(&key(name)).map(|it| it.0);
        let is_pause = collection_of(name) == PAUSES;
        if before.is_none() && !is_pause && is_made_up(id_of(name)) {
            // Whose it was nobody can say here: another node may have read it.
            self.begins();
        }
        let owners = before.map_or_else(|| told_by_name(name), |it| vec![it]);
        self.notice(owners.into_iter().map(Heard::Changed));
        self.pause_of_everybody(name);
    }

    /// It is listened to from now on, and nobody told what was changed before.
    pub(super) fn begins(&self) {
        self.log().n_begun += 1;
    }

    /// How often that was so.
    pub(super) fn n_begun(&self) -> u64 {
        self.log().n_begun
    }

    /// Gateway keys that were deleted, and how often some may have been unheard.
    pub(super) fn n_revoked(&self) -> u64 {
        let log = self.log();
        log.n_begun + log.n_deleted_keys
    }

    /// The number of the last change.
    pub(super) fn last(&self) -> i64 {
        self.log().last
    }

    /// The vendors that were changed after this one, and the last one's number.
    pub(super) fn after(&self, seq: i64) -> (Vec<VendorId>, i64) {
        let log = self.log();
        let changed = log.changed.range(seq + 1..).filter_map(|it| match it.1 {
            Heard::Changed(vendor) => Some(vendor),
            Heard::First(..) => None,
        });
        let changed: BTreeSet<&VendorId> = changed.collect();
        (changed.into_iter().cloned().collect(), log.last)
    }

    /// Vendors of which a document was heard of for the first time after this one, with its mark.
    pub(super) fn first_after(&self, seq: i64) -> Vec<(VendorId, u64)> {
        let log = self.log();
        let first = log.changed.range(seq + 1..).filter_map(|it| match it.1 {
            Heard::First(vendor, mark) => Some((vendor.clone(), *mark)),
            Heard::Changed(_) => None,
        });
        first.collect()
    }

    fn notice(&self, heard: impl IntoIterator<Item = Heard>) {
        let mut log = self.log();
        for it in heard {
            log.last += 1;
            let seq = log.last;
            log.changed.insert(seq, it);
            if log.changed.len() > WAITING_MAX {
                log.changed.pop_first();
            }
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Collection and id.
fn key(name: &str) -> String {
    format!("{}/{}", collection_of(name), id_of(name))
}

/// Whether an id is one that Firestore makes up, and so says of no vendor that it is its.
/// <https://firebase.google.com/docs/firestore/manage-data/add-data#add_a_document>
fn is_made_up(id: &str) -> bool {
    id.len() == 20 && id.bytes().all(|it| it.is_ascii_alphanumeric())
}

/// Whose a document may have been of which there is the name alone: an instance's may be one of
/// several.
fn told_by_name(name: &str) -> Vec<VendorId> {
    let document = Document { name: name.to_owned(), ..Document::default() };
    let id = id_of(name).strip_prefix("waba_").unwrap_or_default();
    let nth = id.rsplit_once('_').filter(|it| it.1.bytes().all(|it| it.is_ascii_digit()));
    let vendor = nth.and_then(|it| VendorId::parse(it.0).ok());
    let vendor = vendor.filter(|_| collection_of(name) == INSTANCES);
    owner(&document).into_iter().chain(vendor).collect()
}

fn owner(document: &Document) -> Option<VendorId> {
    match collection_of(&document.name) {
        INSTANCES => instance::vendor_of(document),
        PAUSES => VendorId::parse(id_of(&document.name)).ok(),
        _ => vendor::vendor_of(document),
    }
}

/// Of which document it is, and of what matters in it.
fn mark(document: &Document) -> u64 {
    let mut hasher = DefaultHasher::new();
    key(&document.name).hash(&mut hasher);
    let but = match collection_of(&document.name) {
        INSTANCES => INSTANCES_OF_NO_MATTER,
        _ => CONFIGS_OF_NO_MATTER,
    };
    hash_fields(&document.fields, &but, &mut hasher);
    hasher.finish()
}

fn hash_fields(fields: &Fields, but: &[&str], hasher: &mut DefaultHasher) {
    let ordered: BTreeMap<&String, &Value> = fields.iter().collect();
    for (field, value) in ordered.into_iter().filter(|it| !but.contains(&it.0.as_str())) {
        field.hash(hasher);
        let but = if field == OURS { &OURS_OF_NO_MATTER[..] } else { &[] };
        hash_value(value, but, hasher);
    }
}

fn hash_value(value: &Value, but: &[&str], hasher: &mut DefaultHasher) {
    match value.value_type.as_ref() {
        Some(ValueType::MapValue(it)) => hash_fields(&it.fields, but, hasher),
        Some(ValueType::ArrayValue(it)) => {
            it.values.len().hash(hasher);
            it.values.iter().for_each(|it| hash_value(it, &[], hasher));
        }
        // The other forms have no order of their own, so that their text is always the same.
        other => format!("{other:?}").hash(hasher),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::firestore::value::{integer, text};

    fn document(fields: &[(&str, Value)]) -> Document {
        let fields = fields.iter().map(|it| (it.0.to_owned(), it.1.clone())).collect();
        let name = "projects/p/databases/d/documents/waba_instances/waba_anna".to_owned();
        Document { name, fields, ..Document::default() }
    }

    #[test]
    fn a_change_is_one_of_what_matters() {
        let changes = Changes::new();
        let anna = VendorId::parse("anna").unwrap();
        let phone = ("phoneNumber", text("+221771234567"));
        let known = document(&[phone.clone(), ("status", text("pending"))]);
        changes.read(&anna, [&known]);
        changes.changed(&document(&[("lastSync", integer(5)), phone, ("status", text("error"))]));
        assert_eq!(changes.last(), 0);
        changes.changed(&document(&[("phoneNumber", text("+221771234568"))]));
        assert_eq!(changes.after(0), (vec![anna.clone()], 1));
        assert_eq!(changes.after(1), (vec![], 1));
        changes.deleted(&known.name);
        assert_eq!(changes.after(1), (vec![anna], 2));
    }

    #[test]
    fn of_a_document_that_was_never_read_its_name_says_whose_it_was() {
        let at = |path: &str| format!("projects/p/databases/d/documents/{path}");
        let changed = |path: &str| {
            let changes = Changes::new();
            changes.deleted(&at(path));
            let vendors = changes.after(0).0;
            (vendors.iter().map(ToString::to_string).collect::<Vec<_>>(), changes.n_begun())
        };
        let ids = |it: &[&str]| it.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(changed("waba_instances/waba_anna"), (ids(&["anna"]), 0));
        // Anna's second, or the first of somebody who is called so.
        assert_eq!(changed("waba_instances/waba_anna_2"), (ids(&["anna", "anna_2"]), 0));
        assert_eq!(changed("vendor_configs/anna_2"), (ids(&["anna_2"]), 0));
        let made_up = "aQ7hX2kL9mN4pR6sT8vW";
        assert_eq!(changed(&format!("waba_instances/{made_up}")).1, 1);
        assert_eq!(changed(&format!("gateway_pauses/{made_up}")), (ids(&[made_up]), 0));
    }

    #[test]
    fn of_what_was_not_read_who_knows_the_vendor_can_tell_whether_it_was_changed() {
        let (changes, elsewhere) = (Changes::new(), Changes::new());
        let anna = VendorId::parse("anna").unwrap();
        let mut known = document(&[("vendorId", text("anna")), ("lastSync", integer(4))]);
        let marks = elsewhere.read(&anna, [&known]);
        changes.changed(&document(&[("vendorId", text("anna")), ("lastSync", integer(5))]));
        assert_eq!(changes.after(0), (vec![], 1));
        assert_eq!(changes.first_after(0), [(anna.clone(), marks[0])]);
        changes.changed(&document(&[("vendorId", text("anna")), ("lastSync", integer(6))]));
        assert_eq!(changes.last(), 1);
        known.name.push('2');
        assert_ne!(changes.read(&anna, [&known]), marks, "it is another document's");
        // It was given away, and nobody here has read whose it was.
        let changes = Changes::new();
        changes.changed(&document(&[("vendorId", text("binta"))]));
        assert_eq!(changes.after(0).0, [anna]);
    }
}
