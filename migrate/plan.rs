//! What is to be done: the rows beside what the store has.

use waba_gateway::{
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
    gateway::{NewInstance, signing_secret},
    store::{Store, StoreError},
};

use super::table::{API_KEY, BUSINESS_NAME, Fault, PHONE_NUMBER, Row, WASENDER_ID, WEBHOOK_SECRET};

/// What is to be done.
#[derive(Default)]
pub struct Plan {
    /// Each row's lot, in the file's order.
    pub rows: Vec<Planned>,
    /// Vendors to keep, new or changed.
    pub vendors: Vec<Vendor>,
    /// Instances to keep, new or changed.
    pub instances: Vec<WabaInstance>,
}

/// A row's lot.
pub struct Planned {
    /// Where the row begins.
    pub line: usize,
    /// Whose it is, where that can be read.
    pub vendor: Option<VendorId>,
    /// What is done about it.
    pub action: Action,
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

impl Plan {
    /// Rows that are refused.
    pub fn n_bad(&self) -> usize {
        self.rows.iter().filter(|it| matches!(it.action, Action::Refused(_))).count()
    }

    /// Nothing is to be written.
    pub fn changes_nothing(&self) -> bool {
        self.vendors.is_empty() && self.instances.is_empty()
    }

    fn take(&mut self, row: Good, known: Known, now: Millis) -> Action {
        let mut changed = Vec::new();
        match known.vendor {
            Some(vendor) if vendor.business_name == row.business_name => {}
            Some(vendor) => {
                let business_name = row.business_name.clone();
                self.vendors.push(Vendor { business_name, updated_at: now, ..vendor });
                changed.push(BUSINESS_NAME);
            }
            None => {
                let (id, name) = (row.vendor.clone(), row.business_name.clone());
                self.vendors.push(Vendor::new(id, name, signing_secret(), now));
                changed.push(BUSINESS_NAME);
            }
        }
        let id = InstanceId::nth(&row.vendor, 1);
        let Some(mut instance) = known.instances.into_iter().find(|it| it.id == id) else {
            self.instances.push(row.instance(id, now));
            return Action::Created;
        };
        let differing = row.update(&mut instance, now);
        if !differing.is_empty() {
            instance.updated_at = now;
            self.instances.push(instance);
        }
        changed.extend(differing);
        if changed.is_empty() { Action::Unchanged } else { Action::Updated(changed) }
    }
}

/// Plans what to do about the rows; without a store, all of them are new.
pub async fn make(
    rows: Vec<Row>,
    store: Option<&dyn Store>,
    now: Millis,
) -> Result<Plan, StoreError> {
    let mut plan = Plan::default();
    for row in rows {
        let (line, vendor) = (row.line, row.vendor.clone());
        let (known, taken) = match store {
            Some(store) => Known::read(store, &row).await?,
            None => (Known::default(), Vec::new()),
        };
        let action = match good(row, taken) {
            Ok(row) => plan.take(row, known, now),
            Err(faults) => Action::Refused(faults),
        };
        plan.rows.push(Planned { line, vendor, action });
    }
    Ok(plan)
}

/// What in the row belongs to somebody else, or has no room.
pub async fn taken(store: &dyn Store, row: &Row) -> Result<Vec<Fault>, StoreError> {
    Ok(Known::read(store, row).await?.1)
}

/// What is stored of a vendor and of the instance that its row is about, as a row.
pub async fn stored(store: &dyn Store, vendor: &VendorId) -> Result<Row, StoreError> {
    let mut row = Row::blank(0);
    row.business_name = store.vendor(vendor).await?.map(|it| it.business_name);
    row.vendor = row.business_name.is_some().then(|| vendor.clone());
    let id = InstanceId::nth(vendor, 1);
    let instances = store.instances(vendor).await?;
    if let Some(instance) = instances.into_iter().find(|it| it.id == id) {
        row.vendor = Some(vendor.clone());
        row.phone_number = Some(instance.phone_number);
        row.wasender_id = instance.wasender.instance_id;
        row.api_key = instance.wasender.session_key;
        // The first is the one for good, unless it is on its way out.
        let secret = instance.wasender.webhook_secrets.into_iter().next();
        row.secret = secret.filter(|it| it.until.is_none()).map(|it| it.secret);
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
    instances: Vec<WabaInstance>,
}

impl Known {
    /// Also finds what in the row belongs to somebody else.
    async fn read(store: &dyn Store, row: &Row) -> Result<(Self, Vec<Fault>), StoreError> {
        let mut faults = Vec::new();
        let Some(vendor) = &row.vendor else { return Ok((Self::default(), faults)) };
        let known =
            Self { vendor: store.vendor(vendor).await?, instances: store.instances(vendor).await? };
        let phone = row.phone_number.as_ref().map(|it| InstanceKey::Phone(it.alias()));
        let session = row.wasender_id.clone().map(InstanceKey::Wasender);
        for (column, key) in [(PHONE_NUMBER, phone), (WASENDER_ID, session)] {
            let Some(key) = key else { continue };
            match store.instance_by_key(&key).await? {
                Some((owner, _)) if owner != *vendor => {
                    faults.push(Fault::Taken { column, vendor: owner });
                }
                _ => {}
            }
        }
        let id = InstanceId::nth(vendor, 1);
        if !known.instances.iter().any(|it| it.id == id) {
            if store.has_instance(&id).await? {
                faults.push(Fault::InstanceTaken(id.clone()));
            } else if known.instances.len() >= INSTANCES_PER_VENDOR_MAX {
                faults.push(Fault::Full);
            }
        }
        let others = known.instances.iter().filter(|it| it.id != id);
        faults.extend(others.flat_map(|it| shared(row, it)));
        Ok((known, faults))
    }
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
