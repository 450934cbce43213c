//! What is to be done: the rows beside what the store has.

// Named, because the fuzz targets have this file in another place.
#[path = "plan/good.rs"]
pub mod good;

use std::collections::{BTreeSet, HashMap};

use waba_gateway::{
    cli::progress::Progress,
    domain::{
        clock::Millis,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        vendor::Vendor,
        waba::{INSTANCES_PER_VENDOR_MAX, InstanceKey, WabaInstance},
    },
    store::{Looked, Store, StoreError, Stored, Wanted},
};

use self::good::{Good, is_same};
use super::{
    data::steadily,
    table::{Fault, META_ID, Row, VENDOR_ID, WASENDER_ID, WEBHOOK_SECRET},
};

/// Ids that are tried for a new instance; those of deleted ones are not given again.
const IDS_TRIED_MAX: usize = 1_000;

/// What is to be done, a lot for each row in the file's order.
#[derive(Default)]
pub struct Plan {
    pub rows: Vec<Planned>,
    /// Rows that make no number: of other tables, and those that have no place here.
    pub others: Vec<Planned>,
}

/// A row's lot.
pub struct Planned {
    /// The row.
    pub row: Row,
    /// What is done about it.
    pub action: Action,
    /// What is to be kept for that.
    pub change: Change,
    /// What became of the session's webhook, where it was to be set up.
    pub webhook: Option<Webhook>,
}

/// What is to be kept, new or changed.
#[derive(Default)]
pub struct Change {
    pub vendor: Option<Vendor>,
    pub instance: Option<WabaInstance>,
}

/// What is done about a row.
#[derive(Clone)]
pub enum Action {
    /// Its instance is new.
    Created,
    /// Its instance is new, and its vendor was there.
    Added,
    /// These columns differ from what is stored.
    Updated(Vec<&'static str>),
    /// Everything is stored as it says.
    Unchanged,
    /// Nothing, for these reasons.
    Refused(Vec<Fault>),
    /// It is in what was made of another table's rows.
    Taken(String),
    /// Nothing, and nothing that works in the other system is missing here.
    NotKept(String),
    /// Nothing: this gateway has no place for what it does in the other system.
    LeftOut(String),
}

/// What became of a session's webhook.
pub enum Webhook {
    /// It leads here now. With what there is to say about it.
    SetUp(Vec<String>),
    /// It led here already.
    WasSetUp,
    /// It does not, for this reason.
    Failed(String),
}

impl Plan {
    /// Rows that are refused, or whose webhook could not be set up.
    pub fn n_bad(&self) -> usize {
        self.all().filter(|it| it.is_refused() || it.has_no_webhook()).count()
    }

    /// Every row is here, or need not be.
    pub fn is_whole(&self) -> bool {
        self.n_bad() == 0 && !self.all().any(|it| matches!(it.action, Action::LeftOut(_)))
    }

    /// All rows, as they are in the file or files.
    pub fn all(&self) -> impl Iterator<Item = &Planned> {
        let mut all: Vec<&Planned> = self.rows.iter().chain(&self.others).collect();
        all.sort_by_key(|it| (it.row.table.place, it.row.line));
        all.into_iter()
    }

    /// Nothing is to be written.
    pub fn changes_nothing(&self) -> bool {
        !self.rows.iter().any(Planned::is_change)
    }
}

impl Planned {
    /// Nothing is done about it.
    pub fn is_refused(&self) -> bool {
        matches!(self.action, Action::Refused(_))
    }

    /// Something is to be kept.
    pub fn is_change(&self) -> bool {
        self.change.vendor.is_some() || self.change.instance.is_some()
    }

    fn has_no_webhook(&self) -> bool {
        matches!(self.webhook, Some(Webhook::Failed(_)))
    }

    /// A row of which nothing is to be kept.
    pub fn without_change(row: Row, action: Action) -> Self {
        Self { row, action, change: Change::default(), webhook: None }
    }
}

/// Plans what to do about the rows; without a store, all of them are new.
pub async fn make(
    rows: Vec<Row>,
    store: Option<&dyn Store>,
    now: Millis,
    progress: &Progress,
) -> Result<Plan, StoreError> {
    let mut plan = Plan::default();
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let some: Vec<Row> = rows.by_ref().take(at_once(store)).collect();
        let n_rows = some.len();
        plan.rows.extend(some_of(some, store, now).await?.rows);
        progress.advance(n_rows);
    }
    Ok(plan)
}

/// Rows that are looked at, and kept, together: each may need a vendor and an instance.
pub fn at_once(store: Option<&dyn Store>) -> usize {
    store.map_or(usize::MAX, |it| (it.batch_max() / 2).max(1))
}

/// What is to be done about some rows, and beside what it was planned.
pub struct Lots {
    pub rows: Vec<Planned>,
    /// What was stored of their vendors.
    pub before: HashMap<VendorId, Stored>,
}

/// Plans what to do about some rows, beside what the store has at this moment.
pub async fn some_of(
    rows: Vec<Row>,
    store: Option<&dyn Store>,
    now: Millis,
) -> Result<Lots, StoreError> {
    let mut looked = match store {
        Some(store) => steadily(async || store.look(wanted(&rows)).await).await?,
        None => Looked::default(),
    };
    let readable = |(id, it): (&VendorId, &Result<Stored, StoreError>)| {
        Some((id.clone(), it.as_ref().ok()?.clone()))
    };
    let before = looked.vendors.iter().filter_map(readable).collect();
    let mut lots = Vec::new();
    for row in rows {
        let fresh = fresh_id(&row, &looked, store).await?;
        let planned = planned(row, &looked, fresh, now);
        // The next row may be one of the same vendor.
        planned.change.fold_into(&mut looked);
        lots.push(planned);
    }
    Ok(Lots { rows: lots, before })
}

fn planned(row: Row, looked: &Looked, fresh: Option<InstanceId>, now: Millis) -> Planned {
    let Some(fresh) = fresh else {
        let faults = row.faults.clone();
        return Planned::without_change(row, Action::Refused(faults));
    };
    let (known, taken) = Known::of(&row, looked, &fresh);
    let mut judged = row.clone();
    // Rows of one vendor are its several numbers, where it has them already: as long as it has.
    if known.instance.as_ref().is_some_and(|it| is_of(&row, it)) {
        judged.faults.retain(|it| !matches!(it, Fault::Twice { column: VENDOR_ID, .. }));
    }
    let good = Good::of(judged, taken);
    match good.and_then(|it| it.decide(known, fresh, now).map_err(|it| vec![it])) {
        Ok((action, change)) => Planned { row, action, change, webhook: None },
        Err(faults) => Planned::without_change(row, Action::Refused(faults)),
    }
}

impl Change {
    fn fold_into(&self, looked: &mut Looked) {
        let Self { vendor, instance } = self;
        let of = vendor.as_ref().map(|it| &it.id).or(instance.as_ref().map(|it| &it.vendor_id));
        let Some(Ok(stored)) =
            of.map(|it| looked.vendors.entry(it.clone()).or_insert_with(|| Ok(Stored::default())))
        else {
            return;
        };
        if vendor.is_some() {
            stored.vendor.clone_from(vendor);
        }
        if let Some(instance) = instance {
            stored.instances.retain(|it| it.id != instance.id);
            stored.instances.push(instance.clone());
        }
    }
}

/// The id of the instance that the row would make; none without a vendor.
async fn fresh_id(
    row: &Row,
    looked: &Looked,
    store: Option<&dyn Store>,
) -> Result<Option<InstanceId>, StoreError> {
    let Some(vendor) = &row.vendor else { return Ok(None) };
    let first = InstanceId::nth(vendor, 1);
    if row.meta.is_none() && !looked.former.contains(&first) {
        return Ok(Some(first));
    }
    let stored = looked.vendors.get(vendor).and_then(|it| it.as_ref().ok());
    let present = stored.map(|it| &it.instances[..]).unwrap_or_default();
    if about(row, present).is_some() {
        return Ok(Some(first));
    }
    for id in (1..=IDS_TRIED_MAX).map(|n| InstanceId::nth(vendor, n)) {
        let is_free = match store {
            _ if present.iter().any(|it| it.id == id) => false,
            Some(store) => !steadily(async || store.had_instance(&id).await).await?,
            None => true,
        };
        if is_free {
            return Ok(Some(id));
        }
    }
    Ok(Some(first))
}

/// What must be known of the store to decide about these rows.
fn wanted(rows: &[Row]) -> Wanted {
    let vendors: BTreeSet<VendorId> = rows.iter().filter_map(|it| it.vendor.clone()).collect();
    let vendors: Vec<VendorId> = vendors.into_iter().collect();
    Wanted {
        keys: rows.iter().flat_map(keys).map(|it| it.1).collect(),
        instances: vendors.iter().map(|it| InstanceId::nth(it, 1)).collect(),
        vendors,
    }
}

/// What nobody else may have, and its column.
fn keys(row: &Row) -> impl Iterator<Item = (&'static str, InstanceKey)> {
    let phone = row.phone_number.as_ref().map(|it| InstanceKey::Phone(it.alias()));
    let session = row.wasender_id.clone().map(InstanceKey::Wasender);
    let at_meta = row.meta.as_ref().map(|it| InstanceKey::Meta(it.account.phone_number_id.clone()));
    let columns = [(row.table.phone_number, phone), (WASENDER_ID, session), (META_ID, at_meta)];
    columns.into_iter().filter_map(|(column, key)| Some((column, key?)))
}

/// What in the row belongs to somebody else, or has no room.
pub async fn taken(store: &dyn Store, row: &Row) -> Result<Vec<Fault>, StoreError> {
    let looked = store.look(wanted(std::slice::from_ref(row))).await?;
    let first = row.vendor.as_ref().map(|it| InstanceId::nth(it, 1));
    Ok(first.map(|it| Known::of(row, &looked, &it).1).unwrap_or_default())
}

/// What is stored of a vendor and of the instance that its row is about, as a row.
pub async fn stored(store: &dyn Store, vendor: &VendorId) -> Result<Row, StoreError> {
    let mut row = Row::blank(0);
    row.business_name = store.vendor(vendor).await?.map(|it| it.business_name);
    row.vendor = row.business_name.is_some().then(|| vendor.clone());
    let id = InstanceId::nth(vendor, 1);
    let instances = store.instances(vendor).await?;
    if let Some(instance) = instances.iter().find(|it| it.id == id) {
        row.vendor = Some(vendor.clone());
        row.take(instance);
    }
    Ok(row)
}

/// What the store has of a row's vendor.
#[derive(Default)]
struct Known {
    vendor: Option<Vendor>,
    /// The instance that the row is about.
    instance: Option<WabaInstance>,
}

impl Known {
    /// Also finds what in the row belongs to somebody else.
    fn of(row: &Row, looked: &Looked, fresh: &InstanceId) -> (Self, Vec<Fault>) {
        let Some(vendor) = &row.vendor else { return (Self::default(), Vec::new()) };
        let stored = match looked.vendors.get(vendor) {
            None => Stored::default(),
            Some(Ok(it)) => it.clone(),
            Some(Err(_)) => return (Self::default(), vec![Fault::Unreadable(vendor.clone())]),
        };
        let mut faults = Vec::new();
        for (column, key) in keys(row) {
            let Some(owners) = looked.owners.get(&key).filter(|it| !it.contains(vendor)) else {
                continue;
            };
            let others = owners.iter().cloned();
            faults.extend(others.map(|vendor| Fault::Taken { column, vendor }).take(1));
        }
        let Stored { vendor: known, instances } = stored;
        let id = about(row, &instances).map_or_else(|| fresh.clone(), |it| it.id.clone());
        if !instances.iter().any(|it| it.id == id) {
            if looked.instances.contains(&id) {
                faults.push(Fault::InstanceTaken(id.clone()));
            } else if instances.len() >= INSTANCES_PER_VENDOR_MAX {
                faults.push(Fault::Full);
            }
        }
        let others = instances.iter().filter(|it| it.id != id);
        faults.extend(others.flat_map(|it| shared(row, it)));
        let instance = instances.into_iter().find(|it| it.id == id);
        (Self { vendor: known, instance }, faults)
    }
}

/// The instance that the row is about, if it is not the fresh one: the one that has both its
/// number and its session, else the first, else where that was deleted the one that has either; at
/// Meta the one that has its account, else its number.
fn about<'a>(row: &Row, instances: &'a [WabaInstance]) -> Option<&'a WabaInstance> {
    if row.meta.is_none() {
        let first = row.vendor.as_ref().map(|it| InstanceId::nth(it, 1));
        let named = instances.iter().find(|it| is_of(row, it));
        let named = named.or_else(|| instances.iter().find(|it| Some(&it.id) == first.as_ref()));
        if named.is_some() {
            return named;
        }
    }
    let keys: Vec<InstanceKey> = keys(row).map(|it| it.1).collect();
    let has = |key: &InstanceKey| instances.iter().find(|it| it.keys().contains(key));
    keys.iter().rev().find_map(has)
}

fn is_of(row: &Row, instance: &WabaInstance) -> bool {
    let number = row.phone_number.as_ref().map(PhoneNumber::alias);
    number == Some(instance.phone_number.alias())
        && row.wasender_id.is_some()
        && row.wasender_id == instance.wasender.instance_id
}

/// What the row has in common with another instance of its vendor, which then could not be told
/// from it.
fn shared(row: &Row, other: &WabaInstance) -> Vec<Fault> {
    let its = other.keys();
    let mut secrets = other.wasender.webhook_secrets.iter();
    let secret = row.secret.as_ref().is_some_and(|it| secrets.any(|its| is_same(&its.secret, it)));
    let columns = keys(row).filter(|it| its.contains(&it.1)).map(|it| it.0);
    let columns = columns.chain(secret.then_some(WEBHOOK_SECRET));
    columns.map(|column| Fault::OwnTaken { column, instance: other.id.clone() }).collect()
}
