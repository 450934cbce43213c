//! Vendors and instances written: what differs and nothing else, together with the claims.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use firestore::gcloud_sdk::google::firestore::v1::{Document, Value, Write};

use super::{
    BATCH_MAX, Fault, bulk, claims,
    find::{self, Config},
    heirs::{self, Naming},
    instance::{self, INSTANCES, Older, Place},
    session::{Deed, Session},
    shared::{FORMER, HAD_CONFIGS, PAUSES, pause_write},
    value::{Edit, delete, flag, get_time, id_of, text, time_like, updated_at},
    vendor::{self, CONFIGS, Named},
};
use crate::{
    domain::{
        clock::Millis,
        event::Connection,
        id::{InstanceId, VendorId},
        vendor::Vendor,
        waba::WabaInstance,
    },
    store::{Planned, StoreError, planned},
    vault::Vault,
};

/// Vendors and instances to be kept.
pub(super) struct Put<'a> {
    pub(super) vault: &'a Vault,
    pub(super) vendors: &'a [Vendor],
    pub(super) instances: &'a [WabaInstance],
    /// Whether vendors are paused is kept too.
    pub(super) with_pauses: bool,
}

#[async_trait]
impl Deed for Put<'_> {
    type Done = ();

    async fn plan(&self, tx: &Session) -> Result<((), Vec<Write>), StoreError> {
        let ids: Vec<String> = self.instances.iter().map(|it| it.id.to_string()).collect();
        let before = tx.get(INSTANCES, &ids).await?;
        for it in self.instances {
            let present = before.get(it.id.as_str()).and_then(instance::vendor_of);
            if present.is_some_and(|present| present != it.vendor_id) {
                let document = format!("{INSTANCES}/{}", it.id);
                let what = "the instance id belongs to another vendor";
                return Err(Fault::Unreadable { document, what }.into());
            }
        }
        let mut writes = claims::take(tx, self.vault, self.instances, &before).await?;
        let configs = self.configs(tx).await?;
        self.check_ids(tx, &configs).await?;
        // Of the others nothing is hidden.
        let present = self.instances.iter().filter(|it| before.contains_key(it.id.as_str()));
        let present: BTreeSet<VendorId> = present.map(|it| it.vendor_id.clone()).collect();
        let numbers = bulk::numbers(tx, &Vec::from_iter(present)).await?;
        let naming = Naming::of(tx, &configs, self.instances, &before).await?;
        for vendor in self.vendors {
            writes.extend(self.vendor(tx, &configs, &naming.named, vendor)?);
            if self.with_pauses {
                writes.push(pause_write(tx.name(PAUSES, vendor.id.as_str()), vendor.paused));
            }
        }
        for it in self.instances {
            let config = configs.get(&it.vendor_id);
            let document = before.get(it.id.as_str());
            let older = self.older(tx, document, config, it).await?;
            let name = self.business_name(config, it);
            let at = tx.name(INSTANCES, it.id.as_str());
            let is_heir = naming.is_heir(it).filter(|_| document.is_none());
            let place = Place { name: at, before: document, is_heir };
            let hidden = document.zip(numbers.get(&it.vendor_id));
            let hidden: Vec<&Document> =
                hidden.into_iter().flat_map(|(it, all)| all.hidden_by(it)).collect();
            let newest = hidden.iter().map(|it| updated_at(it)).max();
            let updated_at = newest.map_or(it.updated_at, |hidden| it.updated_at.max(hidden + 1));
            let it = &WabaInstance { updated_at, ..it.clone() };
            writes.extend(instance::write(self.vault, place, &older, it, name.as_deref())?);
            let is_other = document.is_some_and(|document| {
                instance::number(document).map(|it| it.alias()) != Some(it.phone_number.alias())
            });
            writes.extend(self.renumbered(&hidden, it).filter(|_| is_other));
        }
        writes.extend(naming.writes(&configs, self.vendors));
        Ok(((), writes))
    }
}

impl Put<'_> {
    async fn configs(&self, tx: &Session) -> Result<HashMap<VendorId, Config>, Fault> {
        let of_instances = self.instances.iter().map(|it| &it.vendor_id);
        let all: BTreeSet<&VendorId> =
            self.vendors.iter().map(|it| &it.id).chain(of_instances).collect();
        let all: Vec<VendorId> = all.into_iter().cloned().collect();
        bulk::configs(tx, &all).await
    }

    /// A document of a new vendor's id may be there already and name another.
    async fn check_ids(
        &self,
        tx: &Session,
        configs: &HashMap<VendorId, Config>,
    ) -> Result<(), Fault> {
        let is_there = |id: &VendorId| configs.get(id).is_some_and(|it| !it.is_older);
        let new = self.vendors.iter().map(|it| &it.id).filter(|it| !is_there(it));
        let new: Vec<String> = new.map(ToString::to_string).collect();
        match tx.get(CONFIGS, &new).await?.keys().next() {
            Some(id) => {
                let document = format!("{CONFIGS}/{id}");
                let what = "the document of this vendor's id names another";
                Err(Fault::Unreadable { document, what })
            }
            None => Ok(()),
        }
    }

    fn vendor(
        &self,
        tx: &Session,
        configs: &HashMap<VendorId, Config>,
        named: &HashMap<VendorId, Named>,
        vendor: &Vendor,
    ) -> Result<Option<Write>, Fault> {
        let config = configs.get(&vendor.id).filter(|it| !it.is_older);
        let before = config.map(|it| &it.document);
        let name = || tx.name(CONFIGS, vendor.id.as_str());
        let name = before.map_or_else(name, |it| it.name.clone());
        vendor::write(self.vault, name, before, vendor, named.get(&vendor.id))
    }

    /// The writes of those that a document hides, which would come up as a number of their own if
    /// they kept the one that it has no more.
    fn renumbered<'b>(
        &'b self,
        hidden: &'b [&Document],
        it: &'b WabaInstance,
    ) -> impl Iterator<Item = Write> {
        let is_written = |hidden: &&&Document| {
            self.instances.iter().any(|it| it.id.as_str() == id_of(&hidden.name))
        };
        let hidden = hidden.iter().filter(move |it| !is_written(it));
        hidden.filter_map(|hidden| instance::renumber(hidden, &it.phone_number))
    }

    /// What the instance has from the vendor's configuration now, and need not be written.
    async fn older(
        &self,
        tx: &Session,
        document: Option<&Document>,
        config: Option<&Config>,
        it: &WabaInstance,
    ) -> Result<Older, Fault> {
        let (Some(document), Some(config)) = (document, config) else {
            return Ok(Older::default());
        };
        if !instance::lacks_secrets(document) {
            return Ok(Older::default());
        }
        let all = find::instances_of(tx, &it.vendor_id).await?;
        let heir = heirs::heir(config, &all);
        if heir.is_none_or(|heir| heir.name != document.name) {
            return Ok(Older::default());
        }
        find::older(tx, self.vault, &it.vendor_id, Some(config)).await
    }

    fn business_name(&self, config: Option<&Config>, it: &WabaInstance) -> Option<String> {
        let new = self.vendors.iter().find(|vendor| vendor.id == it.vendor_id);
        new.map(|it| it.business_name.clone())
            .or_else(|| super::value::get_text(&config?.document.fields, "businessName"))
    }
}

/// A vendor to be kept as it was planned, or not at all.
pub(super) struct PutVendorIf<'a> {
    pub(super) vault: &'a Vault,
    pub(super) before: Option<&'a Vendor>,
    pub(super) after: &'a Vendor,
}

#[async_trait]
impl Deed for PutVendorIf<'_> {
    type Done = ();

    async fn plan(&self, tx: &Session) -> Result<((), Vec<Write>), StoreError> {
        let stored = find::vendor_in(tx, self.vault, &self.after.id).await?;
        planned::check_vendor(self.before, stored.as_ref())?;
        let vendors = std::slice::from_ref(self.after);
        Put { vault: self.vault, vendors, instances: &[], with_pauses: false }.plan(tx).await
    }
}

/// Vendors with their instances to be kept as they were planned, or not at all.
pub(super) struct ImportIf<'a> {
    pub(super) vault: &'a Vault,
    pub(super) planned: &'a [Planned],
}

#[async_trait]
impl Deed for ImportIf<'_> {
    type Done = ();

    async fn plan(&self, tx: &Session) -> Result<((), Vec<Write>), StoreError> {
        let (vendors, instances) = Planned::all(self.planned);
        let ids: Vec<VendorId> = self.planned.iter().map(|it| it.vendor.id.clone()).collect();
        let mut stored = bulk::stored(tx, self.vault, &ids).await?;
        for it in self.planned {
            let stored = stored.remove(&it.vendor.id).transpose()?.unwrap_or_default();
            it.check(&stored)?;
        }
        let (vendors, instances) = (&vendors[..], &instances[..]);
        Put { vault: self.vault, vendors, instances, with_pauses: true }.plan(tx).await
    }
}

/// As many vendors at once as fit into one transaction, each with all of its instances.
pub(super) fn batches(mut left: &[Planned]) -> impl Iterator<Item = &[Planned]> {
    std::iter::from_fn(move || {
        let mut n_documents = 0;
        let fits = |it: &&Planned| {
            n_documents += 1 + it.instances.len();
            n_documents <= BATCH_MAX
        };
        let n = left.iter().take_while(fits).count().max(1);
        let (batch, rest) = left.split_at_checked(n)?;
        left = rest;
        Some(batch)
    })
}

/// An instance to be kept as it was planned, or not at all.
pub(super) struct PutIf<'a> {
    pub(super) vault: &'a Vault,
    pub(super) before: Option<&'a WabaInstance>,
    pub(super) after: &'a WabaInstance,
}

#[async_trait]
impl Deed for PutIf<'_> {
    type Done = ();

    async fn plan(&self, tx: &Session) -> Result<((), Vec<Write>), StoreError> {
        let (id, vendor) = (self.after.id.as_str(), &self.after.vendor_id);
        if self.before.is_none() {
            let has = tx.get_one(INSTANCES, id).await?.is_some();
            if has || tx.get_one(FORMER, id).await?.is_some() {
                return Err(StoreError::Taken);
            }
        }
        let documents = find::instances_of(tx, vendor).await?;
        let present = find::read_instances(tx, self.vault, vendor, &documents).await?;
        planned::check(&present, self.before, self.after)?;
        let instances = std::slice::from_ref(self.after);
        Put { vault: self.vault, vendors: &[], instances, with_pauses: false }.plan(tx).await
    }
}

/// An instance to be removed. Whether the vendor had it.
pub(super) struct Remove<'a> {
    pub(super) vault: &'a Vault,
    pub(super) vendor: &'a VendorId,
    pub(super) id: &'a InstanceId,
}

#[async_trait]
impl Deed for Remove<'_> {
    type Done = bool;

    async fn plan(&self, tx: &Session) -> Result<(bool, Vec<Write>), StoreError> {
        let found = tx.get_one(INSTANCES, self.id.as_str()).await?;
        let found = found.filter(|it| instance::vendor_of(it).as_ref() == Some(self.vendor));
        let Some(document) = found else { return Ok((false, Vec::new())) };
        let mut writes = Vec::new();
        let numbers = find::instances_of(tx, self.vendor).await?;
        if numbers.hides(&document) {
            // By one that was written since this one was looked at.
            return Err(StoreError::Changed);
        }
        let had_configs =
            heirs::disinherit(tx, self.vendor, &numbers, &document, &mut writes).await?;
        // With them, or the number would go on as one of those.
        for hidden in numbers.hidden_by(&document) {
            writes.extend(self.of_one(tx, hidden, false).await?);
        }
        writes.extend(self.of_one(tx, &document, had_configs).await?);
        Ok((true, writes))
    }
}

impl Remove<'_> {
    /// The writes that delete a document.
    async fn of_one(
        &self,
        tx: &Session,
        document: &Document,
        had_configs: bool,
    ) -> Result<Vec<Write>, Fault> {
        let id = id_of(&document.name);
        let former = tx.get_one(FORMER, id).await?;
        let mut writes = claims::give_up(tx, self.vault, document).await?;
        let mut note = Edit::of(tx.name(FORMER, id), former.is_none());
        if former.is_none() || had_configs {
            note.set("vendorId", text(self.vendor.as_str()));
        }
        if had_configs {
            note.set(HAD_CONFIGS, flag(true));
        }
        writes.extend(note.write());
        writes.push(delete(document.name.clone()));
        Ok(writes)
    }
}

/// What the provider says of a session. Whether it is another state than before, and in which form
/// `lastSync` is there.
pub(super) struct SetStatus<'a> {
    pub(super) id: &'a InstanceId,
    /// `None`: nothing of it, but that it was heard of.
    pub(super) status: Option<Connection>,
    /// `None`: it was written less than a minute ago.
    pub(super) last_sync: Option<Millis>,
}

#[async_trait]
impl Deed for SetStatus<'_> {
    type Done = (bool, Option<Value>);

    async fn plan(&self, tx: &Session) -> Result<(Self::Done, Vec<Write>), StoreError> {
        let Some(found) = tx.get_one(INSTANCES, self.id.as_str()).await? else {
            return Ok(((false, None), Vec::new()));
        };
        let present = super::value::get_text(&found.fields, "status");
        let news = self.status.filter(|it| instance::connection(present.as_deref()) != *it);
        let mut edit = Edit::of(found.name.clone(), false);
        if let Some(status) = news {
            edit.set("status", text(status.as_str()));
        }
        let form = found.fields.get("lastSync");
        if let Some(at) = self.last_sync
            && get_time(&found.fields, "lastSync").is_none_or(|it| it < at)
        {
            edit.set("lastSync", time_like(form, at));
        }
        let done = (news.is_some(), form.cloned());
        Ok((done, edit.write().into_iter().collect()))
    }
}

/// The write of `lastSync` alone, in this form.
pub(super) fn last_sync(name: String, form: Option<&Value>, at: Millis) -> Option<Write> {
    let mut edit = Edit::of(name, false);
    edit.set("lastSync", time_like(form, at));
    edit.write()
}

/// The write of why a send last failed.
pub(super) fn failure(name: String, error: &str, at: Millis) -> Option<Write> {
    let mut edit = Edit::of(name, false);
    edit.set_ours("lastError", Some(text(error)));
    edit.set_ours("lastFailedAt", Some(super::value::integer(at)));
    edit.write()
}
