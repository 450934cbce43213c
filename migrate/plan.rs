//! What is to be done: the rows beside what the store has.

use std::collections::BTreeSet;

use waba_gateway::{
    cli::progress::Progress,
    domain::{
        clock::Millis,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        secret::{ExposeSecret, SecretString, same},
        vendor::Vendor,
        waba::{
            INSTANCES_PER_VENDOR_MAX, InstanceKey, OLD_SECRET_LASTS, SignatureSchemes, WabaInstance,
        },
    },
    gateway::{AccountsChange, NewInstance, signing_secret},
    store::{Looked, Store, StoreError, Stored, Wanted},
};

use super::{
    data::steadily,
    table::{
        API_KEY, BUSINESS_NAME, Fault, PHONE_NUMBER, Row, VENDOR_ID, WASENDER_ID, WEBHOOK_SECRET,
    },
};

/// What is to be done, a lot for each row in the file's order.
#[derive(Default)]
pub struct Plan {
    pub rows: Vec<Planned>,
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
pub enum Action {
    /// Its instance is new.
    Created,
    /// These columns differ from what is stored.
    Updated(Vec<&'static str>),
    /// Everything is stored as it says.
    Unchanged,
    /// Nothing, for these reasons.
    Refused(Vec<Fault>),
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
        self.rows.iter().filter(|it| it.is_refused() || it.has_no_webhook()).count()
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

    fn refused(row: Row, faults: Vec<Fault>) -> Self {
        let (action, change) = (Action::Refused(faults), Change::default());
        Self { row, action, change, webhook: None }
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
        plan.rows.extend(some_of(some, store, now).await?);
        progress.advance(n_rows);
    }
    Ok(plan)
}

/// Rows that are looked at, and kept, together: each may need a vendor and an instance.
pub fn at_once(store: Option<&dyn Store>) -> usize {
    store.map_or(usize::MAX, |it| (it.batch_max() / 2).max(1))
}

/// Plans what to do about some rows, beside what the store has at this moment.
pub async fn some_of(
    rows: Vec<Row>,
    store: Option<&dyn Store>,
    now: Millis,
) -> Result<Vec<Planned>, StoreError> {
    let looked = match store {
        Some(store) => steadily(async || store.look(wanted(&rows)).await).await?,
        None => Looked::default(),
    };
    Ok(rows.into_iter().map(|row| planned(row, &looked, now)).collect())
}

fn planned(mut row: Row, looked: &Looked, now: Millis) -> Planned {
    let (known, taken) = Known::of(&row, looked);
    // Rows of one vendor are its several numbers, where it has them already.
    if known.instance.as_ref().is_some_and(|it| is_of(&row, it)) {
        row.faults.retain(|it| !matches!(it, Fault::Twice { column: VENDOR_ID, .. }));
    }
    match good(row.clone(), taken) {
        Ok(good) => {
            let (action, change) = decide(good, known, now);
            Planned { row, action, change, webhook: None }
        }
        Err(faults) => Planned::refused(row, faults),
    }
}

fn decide(row: Good, known: Known, now: Millis) -> (Action, Change) {
    let mut changed = Vec::new();
    let mut change = Change::default();
    match known.vendor {
        Some(vendor) if vendor.business_name == row.business_name => {}
        Some(vendor) => {
            let business_name = row.business_name.clone();
            change.vendor = Some(Vendor { business_name, updated_at: now, ..vendor });
            changed.push(BUSINESS_NAME);
        }
        None => {
            let (id, name) = (row.vendor.clone(), row.business_name.clone());
            change.vendor = Some(Vendor::new(id, name, signing_secret(), now));
            changed.push(BUSINESS_NAME);
        }
    }
    let Some(mut instance) = known.instance else {
        let id = InstanceId::nth(&row.vendor, 1);
        change.instance = Some(row.instance(id, now));
        return (Action::Created, change);
    };
    let differing = row.update(&mut instance, now);
    if !differing.is_empty() {
        instance.updated_at = now;
        change.instance = Some(instance);
    }
    changed.extend(differing);
    let action = if changed.is_empty() { Action::Unchanged } else { Action::Updated(changed) };
    (action, change)
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
    let columns = [(PHONE_NUMBER, phone), (WASENDER_ID, session)];
    columns.into_iter().filter_map(|(column, key)| Some((column, key?)))
}

/// What in the row belongs to somebody else, or has no room.
pub async fn taken(store: &dyn Store, row: &Row) -> Result<Vec<Fault>, StoreError> {
    let looked = store.look(wanted(std::slice::from_ref(row))).await?;
    Ok(Known::of(row, &looked).1)
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

/// A row without faults.
struct Good {
    vendor: VendorId,
    business_name: String,
    phone_number: PhoneNumber,
    wasender_id: String,
    secret: SecretString,
    api_key: Option<SecretString>,
}

fn good(mut row: Row, taken: Vec<Fault>) -> Result<Good, Vec<Fault>> {
    row.faults.extend(taken);
    match row {
        Row {
            vendor: Some(vendor),
            business_name: Some(business_name),
            phone_number: Some(phone_number),
            wasender_id: Some(wasender_id),
            secret: Some(secret),
            api_key,
            faults,
            line: _,
        } if faults.is_empty() => {
            Ok(Good { vendor, business_name, phone_number, wasender_id, secret, api_key })
        }
        row => Err(row.faults),
    }
}

impl Good {
    fn instance(self, id: InstanceId, now: Millis) -> WabaInstance {
        let new = NewInstance {
            phone_number: self.phone_number,
            wasender_instance_id: Some(self.wasender_id),
            session_key: self.api_key,
            webhook_secret: Some(self.secret),
            token: None,
            account_protection: false,
            schemes: SignatureSchemes::default(),
            accounts: AccountsChange::default(),
        };
        new.instance(id, self.vendor, now)
    }

    /// Brings the instance to what the row says. The columns that differed.
    fn update(self, instance: &mut WabaInstance, now: Millis) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if instance.phone_number != self.phone_number {
            instance.phone_number = self.phone_number;
            changed.push(PHONE_NUMBER);
        }
        let account = &mut instance.wasender;
        if account.instance_id.as_ref() != Some(&self.wasender_id) {
            account.instance_id = Some(self.wasender_id);
            changed.push(WASENDER_ID);
        }
        if account.adopt_secret(self.secret, now + OLD_SECRET_LASTS) {
            changed.push(WEBHOOK_SECRET);
        }
        let known = account.session_key.as_ref();
        let key = self.api_key.filter(|key| known.is_none_or(|it| !is_same(it, key)));
        if key.is_some() {
            account.session_key = key;
            changed.push(API_KEY);
        }
        changed
    }
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
    fn of(row: &Row, looked: &Looked) -> (Self, Vec<Fault>) {
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
        let id = about(row, vendor, &instances);
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

/// The instance that the row is about: the one that has both its number and its session, else the
/// vendor's first.
fn about(row: &Row, vendor: &VendorId, instances: &[WabaInstance]) -> InstanceId {
    let named = instances.iter().find(|it| is_of(row, it));
    named.map_or_else(|| InstanceId::nth(vendor, 1), |it| it.id.clone())
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
    let number =
        row.phone_number.as_ref().is_some_and(|it| it.alias() == other.phone_number.alias());
    let session = row.wasender_id.is_some() && row.wasender_id == other.wasender.instance_id;
    let mut secrets = other.wasender.webhook_secrets.iter();
    let secret = row.secret.as_ref().is_some_and(|it| secrets.any(|its| is_same(&its.secret, it)));
    let columns = [(PHONE_NUMBER, number), (WASENDER_ID, session), (WEBHOOK_SECRET, secret)];
    let shared = columns.into_iter().filter(|it| it.1);
    shared.map(|it| Fault::OwnTaken { column: it.0, instance: other.id.clone() }).collect()
}

fn is_same(left: &SecretString, right: &SecretString) -> bool {
    same(left.expose_secret().as_bytes(), right.expose_secret().as_bytes())
}
