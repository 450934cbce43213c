//! What of a vendor is in the other store already.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};
use waba_gateway::{
    domain::{
        id::{InstanceId, VendorId},
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    store::{Looked, Stored, exchange::VendorExchange},
};

/// A vendor's lot.
#[derive(Debug, PartialEq)]
pub enum Lot {
    /// It is to be written.
    Missing,
    /// It is there.
    Same,
    /// Something else is there under its id.
    Differs {
        /// Its instances that the source does not have.
        extra: Vec<InstanceId>,
        /// In what.
        fields: Vec<String>,
    },
}

/// All vendors' lots.
#[derive(Default)]
pub struct Compared {
    pub lots: BTreeMap<VendorId, Lot>,
    /// What is in the way, in words, and the vendor of the target that has it.
    taken: Vec<(String, Option<VendorId>)>,
    /// Vendors that have what another one of the two is to get: they can be written together only.
    entangled: BTreeSet<VendorId>,
    n_instances: usize,
    /// Who had a key first, in the source itself.
    seen: HashMap<InstanceKey, VendorId>,
}

/// Everything that matters of a vendor with its numbers, secrets too. What a provider last said of
/// a session is not in it: it changes by itself.
#[derive(PartialEq)]
pub struct State(Option<Value>);

impl From<(&Vendor, &[WabaInstance])> for State {
    fn from((vendor, instances): (&Vendor, &[WabaInstance])) -> Self {
        let mut all = serde_json::to_value(VendorExchange::of(vendor, instances, true)).ok();
        let list = all.as_mut().and_then(|it| it.get_mut("instances"));
        for it in list.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(it) = it.as_object_mut() {
                it.remove("status");
                it.remove("lastSync");
            }
        }
        if let Some(all) = &mut all {
            // Nothing but blanks is nothing in Firestore.
            let is_blank = |it: &Value| it.as_str().is_some_and(|it| it.trim().is_empty());
            if is_blank(&all["welcomeMessage"]) {
                all["welcomeMessage"] = Value::Null;
            }
            if is_blank(&all["businessName"]) {
                all["businessName"] = vendor.id.as_str().into();
            }
        }
        Self(all)
    }
}

impl State {
    /// The names of what is not the same in both.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let (Self(Some(left)), Self(Some(right))) = (self, other) else { return Vec::new() };
        let mut names = fields(left, right, "");
        let list = |it: &Value| it["instances"].as_array().cloned().unwrap_or_default();
        let (left, right) = (list(left), list(right));
        if left.len() == right.len() && names.iter().any(|it| it == "instances") {
            names.retain(|it| it != "instances");
            let pairs = left.iter().zip(&right);
            names.extend(pairs.flat_map(|(left, right)| {
                fields(left, right, &format!("{}.", left["id"].as_str().unwrap_or_default()))
            }));
        }
        names
    }
}

/// The names of the fields that differ; their values may be secrets.
fn fields(left: &Value, right: &Value, place: &str) -> Vec<String> {
    let empty = Map::new();
    let (left, right) = (left.as_object().unwrap_or(&empty), right.as_object().unwrap_or(&empty));
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let differing = names.into_iter().filter(|it| left.get(*it) != right.get(*it));
    differing.map(|it| format!("{place}{it}")).collect()
}

/// The same of what is stored; none without a vendor.
pub fn state_of(stored: &Stored) -> Option<State> {
    Some((stored.vendor.as_ref()?, stored.instances.as_slice()).into())
}

impl Compared {
    /// Compares a vendor with what the other store has.
    pub fn add(&mut self, vendor: &Vendor, instances: &[WabaInstance], present: &Looked) {
        let id = vendor.id.clone();
        self.n_instances += instances.len();
        for instance in instances {
            self.find_taken(&id, instance, present);
        }
        let lot = match present.vendors.get(&id) {
            None => Lot::Missing,
            Some(Err(_)) => {
                self.taken.push((format!("{id}: what is stored of it there cannot be read"), None));
                return;
            }
            Some(Ok(there)) => {
                let (its, theirs) = (State::from((vendor, instances)), state_of(there));
                let is_extra = |it: &&WabaInstance| !instances.iter().any(|of| of.id == it.id);
                let extra = there.instances.iter().filter(is_extra).map(|it| it.id.clone());
                match theirs {
                    Some(theirs) if theirs == its => Lot::Same,
                    theirs => Lot::Differs {
                        extra: extra.collect(),
                        fields: theirs.map(|it| its.differing(&it)).unwrap_or_default(),
                    },
                }
            }
        };
        self.lots.insert(id, lot);
    }

    fn find_taken(&mut self, id: &VendorId, instance: &WabaInstance, present: &Looked) {
        for key in instance.keys() {
            let what = match &key {
                InstanceKey::Phone(_) => "phone number",
                key => key.field(),
            };
            let owners = present.owners.get(&key).into_iter().flatten();
            if let Some(other) = owners.into_iter().find(|it| *it != id) {
                let text = format!("{}: vendor {other} has its {what} there", instance.id);
                self.taken.push((text, Some(other.clone())));
                self.entangled.extend([id.clone(), other.clone()]);
            }
            match self.seen.insert(key, id.clone()) {
                Some(other) if other != *id => {
                    let text = format!(
                        "{}: vendor {other} has its {what} too in the store to move from; \
                         `waba-gateway doctor` lists such",
                        instance.id
                    );
                    self.taken.push((text, None));
                }
                _ => {}
            }
        }
        let its = present.vendors.get(id).and_then(|it| it.as_ref().ok());
        let is_its = its.is_some_and(|it| it.instances.iter().any(|of| of.id == instance.id));
        if present.instances.contains(&instance.id) && !is_its {
            self.taken.push((format!("{}: another vendor has this id there", instance.id), None));
        }
    }

    /// What is in the way. When the source wins, a vendor that it has too gives up what it has.
    pub fn in_the_way(&self, source_wins: bool) -> Vec<String> {
        let gives_up = |it: &VendorId| source_wins && self.lots.contains_key(it);
        let taken = self.taken.iter().filter(|it| !it.1.as_ref().is_some_and(gives_up));
        taken.map(|it| it.0.clone()).collect()
    }

    /// Those to be written in one step, before all others.
    pub fn entangled(&self) -> &BTreeSet<VendorId> {
        &self.entangled
    }

    /// Vendors of which something else is there.
    pub fn differing(&self) -> impl Iterator<Item = String> {
        self.lots.iter().filter_map(|(id, lot)| match lot {
            Lot::Differs { fields, .. } => Some(format!("vendor {id}: {}", fields.join(", "))),
            _ => None,
        })
    }

    /// What was done, or would be.
    pub fn text(&self, would_be: &str) -> String {
        let n = |lot: &Lot| self.lots.values().filter(|it| *it == lot).count();
        let (missing, same) = (n(&Lot::Missing), n(&Lot::Same));
        let differing = self.lots.len() - missing - same;
        format!(
            "{} vendors with {} numbers: {missing} {would_be}moved, {same} were there, {differing} \
             differed\n",
            self.lots.len(),
            self.n_instances
        )
    }
}
