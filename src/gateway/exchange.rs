//! Vendors handed from one gateway to another: exported page by page, imported all or none as far as
//! the store can.

mod check;

use std::collections::{HashMap, HashSet};

use super::{AdminError, Gateway, signing_secret};
use crate::{
    domain::{
        clock::Millis,
        id::{InstanceId, VendorId},
        secret::SecretString,
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    store::{
        StoreError,
        exchange::{Document, Fault, VERSION, VendorExchange},
    },
};

/// The most vendors of one document.
pub const IMPORT_VENDORS_MAX: usize = 10_000;
/// Faults that are told; the rest is counted.
pub const IMPORT_FAULTS_MAX: usize = 1_000;
/// Vendors of an export that are held in memory.
const EXPORT_PAGE: usize = 200;

/// An export being written, piece by piece.
pub struct Export {
    gateway: Gateway,
    with_secrets: bool,
    stage: Stage,
    n_vendors: usize,
    unreadable: Vec<VendorId>,
}

enum Stage {
    Start,
    After(Option<VendorId>),
    End,
}

/// What an import did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Vendors that were not there.
    pub n_created: usize,
    /// Vendors that were.
    pub n_updated: usize,
    /// Instances, new and changed.
    pub n_instances: usize,
}

/// What is wrong with one vendor of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportFault {
    /// Its place in the document, from 0.
    pub index: usize,
    /// Its id, where that can be read.
    pub vendor: Option<VendorId>,
    /// Which field, like `instances[0].phoneNumber`.
    pub field: String,
    /// Why; it quotes no value.
    pub why: String,
}

/// Why not everything was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// What every admin request can meet; [`AdminError::Invalid`] when it is no such document.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Vendors are at fault.
    #[error("{n_faults} faults; nothing was changed")]
    Faults {
        /// How many faults there are.
        n_faults: usize,
        /// The first of them.
        faults: Vec<ImportFault>,
    },
    /// The store kept a part of it.
    #[error(transparent)]
    Partly(StoreError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Partly(_) => Self::Partly(error),
            error => Self::Admin(error.into()),
        }
    }
}

impl Export {
    /// The next piece of the document; `None` when it is whole.
    pub async fn next(&mut self) -> Result<Option<String>, AdminError> {
        let after = match &self.stage {
            Stage::Start => {
                self.stage = Stage::After(None);
                return Ok(Some(format!("{{\"version\":{VERSION},\"vendors\":[")));
            }
            Stage::End => return Ok(None),
            Stage::After(after) => after.clone(),
        };
        let page = self.gateway.vendors(after.as_ref(), EXPORT_PAGE).await?;
        self.unreadable.extend(page.unreadable);
        let mut text = String::new();
        for vendor in &page.vendors {
            let instances = match self.gateway.inner.store.instances(&vendor.id).await {
                Err(error) if error.is_unreadable() => {
                    self.unreadable.push(vendor.id.clone());
                    continue;
                }
                instances => instances?,
            };
            let vendor = VendorExchange::of(vendor, &instances, self.with_secrets);
            text.push_str(if self.n_vendors == 0 { "\n" } else { ",\n" });
            self.n_vendors += 1;
            text.push_str(&as_text(&vendor));
        }
        self.stage = if page.next.is_some() {
            Stage::After(page.next)
        } else {
            text.push_str("\n]");
            if !self.unreadable.is_empty() {
                self.unreadable.sort();
                text.push_str(",\"unreadable\":");
                text.push_str(&as_text(&self.unreadable));
            }
            text.push_str("}\n");
            Stage::End
        };
        Ok(Some(text))
    }

    /// The vendors so far that are not in the document, because they or their numbers cannot be
    /// read. At its end it names them.
    #[must_use]
    pub fn unreadable(&self) -> &[VendorId] {
        &self.unreadable
    }
}

fn as_text(it: &impl serde::Serialize) -> String {
    serde_json::to_string(it).expect("it has no key that is not text")
}

impl Gateway {
    /// All vendors with their instances, as one document.
    #[must_use]
    pub fn export_vendors(&self, with_secrets: bool) -> Export {
        let stage = Stage::Start;
        Export { gateway: self.clone(), with_secrets, stage, n_vendors: 0, unreadable: Vec::new() }
    }

    /// Makes or changes the vendors of a document, all or none; in a dry run, none.
    ///
    /// # Errors
    ///
    /// Nothing was changed, but with [`ImportError::Partly`].
    pub async fn import_vendors(
        &self,
        text: &[u8],
        is_dry_run: bool,
    ) -> Result<Imported, ImportError> {
        // Whoever changes a vendor meanwhile would change what has been checked.
        let mut turns = Vec::new();
        for turn in &self.inner.turns {
            turns.push(turn.lock().await);
        }
        let plan = self.plan(text).await?;
        if is_dry_run {
            return Ok(plan.imported);
        }
        let work = &self.inner.work;
        let stopped = plan.vendors.iter().filter(|it| it.paused && !work.is_paused(&it.id));
        let stopped: Vec<&VendorId> = stopped.map(|it| &it.id).collect();
        // Stopped before it is on disk, let go only after.
        stopped.iter().for_each(|it| work.pause(Some(it), true));
        let kept = self.inner.store.import(&plan.vendors, &plan.instances).await;
        // Also what failed may be kept: in part, or as a whole when the answer alone was lost.
        for instance in plan.former.iter().chain(&plan.instances) {
            self.inner.manager.forget_keys(instance);
        }
        for vendor in &plan.vendors {
            self.inner.manager.forget(&vendor.id);
            self.inner.forwarding.renew(&vendor.id, &self.inner.clock);
        }
        self.inner.manager.announce().await;
        if let Err(error) = kept {
            // Whose sends are stopped is looked at again.
            self.inner.pauses_due.notify_one();
            return Err(error.into());
        }
        plan.vendors.iter().for_each(|it| work.pause(Some(&it.id), it.paused));
        tracing::info!(n_vendors = plan.vendors.len(), "vendors were imported");
        Ok(plan.imported)
    }

    async fn plan(&self, text: &[u8]) -> Result<Plan, ImportError> {
        let document: Document<'_> = serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let why = format!("line {line}, column {column}: the document is not of the form {{\"version\":{VERSION},\"vendors\":[…]}}");
            AdminError::Invalid(why)
        })?;
        if document.version != VERSION {
            let why = format!("version: this program reads version {VERSION}");
            return Err(AdminError::Invalid(why).into());
        }
        if document.vendors.len() > IMPORT_VENDORS_MAX {
            let why = format!("vendors has more than {IMPORT_VENDORS_MAX} entries");
            return Err(AdminError::Invalid(why).into());
        }
        let (mut plan, mut told) = (Plan::default(), Told::default());
        let now = self.inner.clock.now();
        for (index, vendor) in document.vendors.iter().enumerate() {
            match VendorExchange::read(vendor) {
                Ok(it) => self.plan_one(&mut plan, &mut told, (index, &it), now).await?,
                Err(faults) => told.add(index, None, faults),
            }
        }
        if told.n_faults > 0 {
            return Err(ImportError::Faults { n_faults: told.n_faults, faults: told.faults });
        }
        Ok(plan)
    }

    async fn plan_one(
        &self,
        plan: &mut Plan,
        told: &mut Told,
        (index, it): (usize, &VendorExchange),
        now: Millis,
    ) -> Result<(), AdminError> {
        let id = match it.id() {
            Ok(id) => id,
            Err(fault) => {
                told.add(index, None, vec![fault]);
                return Ok(());
            }
        };
        let mut faults = Vec::new();
        if !plan.seen.insert(id.clone()) {
            faults.push(Fault::new("vendorId", "the document has this vendor twice"));
        }
        let store = &self.inner.store;
        let (known, present) = (store.vendor(&id).await?, store.instances(&id).await?);
        let is_new = known.is_none();
        let fresh = || Vendor::new(id.clone(), id.to_string(), signing_secret(), now);
        let mut vendor = known.unwrap_or_else(fresh);
        faults.extend(it.apply(&mut vendor, now).err().into_iter().flatten());
        faults.extend(check::vendor(&vendor));
        let mut instances = Vec::new();
        for (n, exchange) in it.instances.iter().enumerate() {
            let place = |fault: Fault| fault.of(&format!("instances[{n}]"));
            match exchange.read(&id, &present, now) {
                Ok(instance) => {
                    let found = self.claims(plan, &present, &instance).await?;
                    faults.extend(found.into_iter().map(place));
                    instances.push((n, instance));
                }
                Err(found) => faults.extend(found.into_iter().map(place)),
            }
        }
        faults.extend(check::together(&present, &instances));
        if is_new {
            plan.imported.n_created += 1;
        } else {
            plan.imported.n_updated += 1;
        }
        plan.imported.n_instances += instances.len();
        told.add(index, Some(&id), faults);
        plan.vendors.push(vendor);
        plan.former.extend(present);
        plan.instances.extend(instances.into_iter().map(|it| it.1));
        Ok(())
    }

    /// What of an instance belongs to somebody else, in the store or in the document.
    async fn claims(
        &self,
        plan: &mut Plan,
        present: &[WabaInstance],
        instance: &WabaInstance,
    ) -> Result<Vec<Fault>, AdminError> {
        let (store, mut faults) = (&self.inner.store, Vec::new());
        let is_its = present.iter().any(|it| it.id == instance.id);
        if !plan.ids.insert(instance.id.clone()) {
            faults.push(Fault::new("id", "the document has this instance twice"));
        } else if !is_its && store.has_instance(&instance.id).await? {
            faults.push(Fault::new("id", "another vendor has an instance of this id"));
        }
        for key in instance.keys() {
            let field = key.field();
            let is_taken = store.is_claimed_by_another(&key, &instance.vendor_id).await?;
            let holder = plan.keys.entry(key).or_insert_with(|| instance.vendor_id.clone());
            if is_taken || *holder != instance.vendor_id {
                faults.push(Fault::new(field, "another vendor has it"));
            }
        }
        Ok(faults)
    }
}

/// What is to be written, and what has been seen of the document.
#[derive(Default)]
struct Plan {
    imported: Imported,
    vendors: Vec<Vendor>,
    instances: Vec<WabaInstance>,
    /// Instances as they were, for what they were found by.
    former: Vec<WabaInstance>,
    seen: HashSet<VendorId>,
    ids: HashSet<InstanceId>,
    keys: HashMap<InstanceKey, VendorId>,
}

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

/// Whether two secrets are one.
fn is_same(left: &SecretString, right: &SecretString) -> bool {
    use crate::domain::secret::{ExposeSecret, same};
    same(left.expose_secret().as_bytes(), right.expose_secret().as_bytes())
}
