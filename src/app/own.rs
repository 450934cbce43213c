//! The vendor and number that the environment names: made once, and kept as its variables say.
//! What each of them was when it was last applied is remembered (as a keyed hash), so that only
//! what has changed there is changed here, and what a person has changed since stays.

mod fields;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    config::OwnNumber,
    domain::{
        id::InstanceId, phone::PhoneNumber, route::ProviderKind, vendor::VendorStatus,
        waba::WabaInstance,
    },
    gateway::{AccountsChange, AdminError, Gateway, InstanceChange, NewInstance, VendorChange},
    sqlite::Db,
    store::StoreError,
    telemetry::Chain,
    vault::Vault,
};

/// The row of table `meta` that has what was applied, with the vendor's id behind it.
const KEY: &str = "own_number:";
/// For the first try, which the start waits for.
const WITHIN: Duration = Duration::from_secs(5);
/// Between two tries: at first, and at most.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN_AFTER_MAX: Duration = Duration::from_mins(1);

/// What was applied: of each variable a hash, and which instance was made.
type Applied = BTreeMap<String, String>;

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    /// Meta has not told the number yet.
    NoNumber,
}

/// The number of the environment.
pub(super) struct Own {
    number: OwnNumber,
    gateway: Gateway,
    db: Db,
    vault: Arc<Vault>,
}

impl Own {
    pub(super) fn new(number: OwnNumber, gateway: Gateway, db: Db, vault: Arc<Vault>) -> Self {
        Self { number, gateway, db, vault }
    }

    /// Tries until it is done or `stop`; the start waits for the first try, not long: what is away
    /// does not keep the gateway from starting.
    pub(super) async fn start(self, stop: CancellationToken) -> JoinHandle<()> {
        if self.number.is_enabled
            && self.number.meta.as_ref().is_some_and(|it| it.app_secret.is_none())
        {
            tracing::warn!(
                "WHATSAPP_APP_SECRET is not set: unless the number has one, no webhook of Meta's is believed, and as far as is known here no customer has written: through Meta templates alone leave"
            );
        }
        let (tried, first) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = self.keep_on(tried) => {}
                () = stop.cancelled() => {}
            }
        });
        // Whatever it came to, it was told where it was found.
        let _ = tokio::time::timeout(WITHIN, first).await;
        task
    }

    async fn keep_on(&self, tried: oneshot::Sender<()>) {
        let (mut tried, mut wait) = (Some(tried), AGAIN_AFTER);
        while !self.is_over(&self.keep().await) {
            // Nobody may wait for it any more.
            let _ = tried.take().map(|it| it.send(()));
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(AGAIN_AFTER_MAX);
        }
    }

    fn is_over(&self, end: &Result<End, AdminError>) -> bool {
        let vendor = &self.number.vendor;
        match end {
            Ok(End::Done) => true,
            Ok(End::NoNumber) => {
                tracing::warn!(
                    vendor.id = %vendor,
                    "Meta does not tell the number of WHATSAPP_PHONE_NUMBER_ID: it is asked again; WHATSAPP_PHONE_NUMBER tells it, too"
                );
                false
            }
            Err(error @ (AdminError::Invalid(_) | AdminError::Conflict(_))) => {
                tracing::error!(
                    vendor.id = %vendor,
                    error = %Chain(error),
                    "the number of the environment cannot be used"
                );
                true
            }
            Err(error) => {
                tracing::warn!(
                    vendor.id = %vendor,
                    error = %Chain(error),
                    "the number of the environment is not ready yet"
                );
                false
            }
        }
    }

    async fn keep(&self) -> Result<End, AdminError> {
        let mut applied = self.applied().await?;
        let end = if self.number.is_enabled {
            self.keep_number(&mut applied).await
        } else {
            Ok(End::Done)
        };
        // Whether it is served comes last: until then there may be no vendor.
        if end.is_ok() && !applied.is_empty() {
            self.keep_switch(&mut applied).await?;
        }
        end
    }

    async fn keep_number(&self, applied: &mut Applied) -> Result<End, AdminError> {
        let vendor = &self.number.vendor;
        let instances = match self.gateway.instances(vendor).await {
            Ok(instances) => instances,
            Err(AdminError::NoVendor) => {
                self.gateway.put_vendor(vendor, VendorChange::default()).await?;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let made = applied.get("instance").cloned();
        match instances.iter().find(|it| made.as_deref() == Some(it.id.as_str())) {
            Some(instance) => self.change(instance, applied).await,
            None if instances.is_empty() && !self.is_applied(applied) => self.make(applied).await,
            None => {
                let own = instances.iter().find(|it| made.is_none() && self.is_of_these(it));
                if let Some(own) = own {
                    // Made of these, and not noted: the process ended, or others have the note.
                    return self.remember(applied, &own.id, true).await;
                }
                if made.is_none() {
                    tracing::warn!(
                        vendor.id = %vendor,
                        "the vendor has numbers that were not made of WHATSAPP_… and TWILIO_…: these variables change nothing"
                    );
                }
                Ok(End::Done)
            }
        }
    }

    async fn make(&self, applied: &mut Applied) -> Result<End, AdminError> {
        let told = self.number_at_meta().await;
        let from = self.number.twilio.as_ref().map(|it| it.from.clone());
        let Some(phone_number) = told.clone().or(from) else { return Ok(End::NoNumber) };
        let accounts = AccountsChange {
            meta: self.meta(&Applied::new(), told.as_ref()).map(Some),
            twilio: self.twilio(&Applied::new()).map(Some),
            ..self.order()
        };
        let new = NewInstance { accounts, ..NewInstance::at(phone_number) };
        let made = self.gateway.create_instance(&self.number.vendor, new).await?;
        tracing::info!(
            vendor.id = %made.vendor_id,
            waba.id = %made.id,
            provider = made.provider.as_str(),
            "made the number of the environment"
        );
        self.remember(applied, &made.id, told.is_some()).await
    }

    async fn change(
        &self,
        instance: &WabaInstance,
        applied: &mut Applied,
    ) -> Result<End, AdminError> {
        if self.is_applied(applied) {
            return Ok(End::Done);
        }
        let told = if self.is_changed(applied, "number", &self.number_id()) {
            self.number_at_meta().await
        } else {
            None
        };
        // What a person took away is whole again once something of it changes.
        let nothing = Applied::new();
        let of_meta = if instance.meta.is_some() { &*applied } else { &nothing };
        let of_twilio = if instance.twilio.is_some() { &*applied } else { &nothing };
        let mut accounts = AccountsChange::default();
        if self.meta_fields().iter().any(|it| self.is_changed(applied, it.0, it.1))
            || told.is_some()
        {
            accounts.meta = self.meta(of_meta, told.as_ref()).map(Some);
        }
        if self.twilio_fields().iter().any(|it| self.is_changed(applied, it.0, it.1)) {
            accounts.twilio = self.twilio(of_twilio).map(Some);
        }
        if self.is_changed(applied, "providers", &self.providers()) {
            let gone = |name: &str| applied.contains_key(name);
            let order = self.order();
            (accounts.provider, accounts.failover) = (order.provider, order.failover);
            if self.number.meta.is_none() && gone("WHATSAPP_PHONE_NUMBER_ID") {
                accounts.meta = Some(None);
            }
            if self.number.twilio.is_none() && gone("TWILIO_ACCOUNT_SID") {
                accounts.twilio = Some(None);
            }
        }
        let phone_number = self.new_number(instance, applied, told.as_ref());
        let phone_number = phone_number.map(|it| it.expose());
        let change = InstanceChange { phone_number, accounts, ..InstanceChange::default() };
        let vendor = &self.number.vendor;
        self.gateway.change_instance(vendor, &instance.id, change).await?;
        tracing::info!(vendor.id = %vendor, waba.id = %instance.id, "changed the number as the environment has changed");
        self.remember(applied, &instance.id, told.is_some()).await
    }

    /// The number that the instance itself is known by follows that of its first provider.
    fn new_number(
        &self,
        instance: &WabaInstance,
        applied: &Applied,
        told: Option<&PhoneNumber>,
    ) -> Option<PhoneNumber> {
        let twilio = self.number.twilio.as_ref().map(|it| &it.from);
        let is_alone = self.number.meta.is_none() || self.number.twilio.is_none();
        match instance.provider {
            ProviderKind::Meta if is_alone => told.cloned(),
            ProviderKind::Twilio if is_alone => twilio
                .filter(|it| self.is_changed(applied, "TWILIO_WHATSAPP_FROM", it.digits()))
                .cloned(),
            _ => None,
        }
    }

    async fn keep_switch(&self, applied: &mut Applied) -> Result<(), AdminError> {
        let enabled = self.number.is_enabled.to_string();
        if !self.is_changed(applied, "enabled", &enabled) {
            return Ok(());
        }
        let is_first = !applied.contains_key("enabled");
        if !is_first {
            let status =
                if self.number.is_enabled { VendorStatus::Active } else { VendorStatus::Inactive };
            let change = VendorChange { status: Some(status), ..VendorChange::default() };
            self.gateway.put_vendor(&self.number.vendor, change).await?;
        }
        applied.insert("enabled".to_owned(), self.hash("enabled", &enabled));
        self.write(applied).await
    }

    async fn number_at_meta(&self) -> Option<PhoneNumber> {
        let account = self.number.meta.as_ref()?;
        if let Some(given) = &self.number.phone_number {
            return Some(given.clone());
        }
        self.gateway.number_at_meta(&account.phone_number_id, &account.access_token).await
    }

    async fn remember(
        &self,
        applied: &mut Applied,
        instance: &InstanceId,
        is_told: bool,
    ) -> Result<End, AdminError> {
        let known = applied.remove("number");
        let enabled = applied.remove("enabled");
        applied.clear();
        for (name, value) in self.all() {
            applied.insert(name.to_owned(), self.hash(name, &value));
        }
        let is_open = known != applied.get("number").cloned() && !is_told;
        if is_open {
            // Asked again.
            applied.remove("number");
        }
        applied.extend(enabled.map(|it| ("enabled".to_owned(), it)));
        applied.insert("instance".to_owned(), instance.to_string());
        self.write(applied).await?;
        Ok(if is_open { End::NoNumber } else { End::Done })
    }

    fn key(&self) -> String {
        format!("{KEY}{}", self.number.vendor)
    }

    async fn applied(&self) -> Result<Applied, AdminError> {
        let key = self.key();
        let read = self.db.read(move |connection| {
            let mut found = connection.prepare("SELECT value FROM meta WHERE key = ?1")?;
            let mut rows = found.query([key])?;
            Ok(rows.next()?.map(|it| it.get::<_, Vec<u8>>(0)).transpose()?)
        });
        let found = read.await.map_err(StoreError::from)?;
        Ok(found.and_then(|it| serde_json::from_slice(&it).ok()).unwrap_or_default())
    }

    async fn write(&self, applied: &Applied) -> Result<(), AdminError> {
        let (key, value) = (self.key(), serde_json::to_vec(applied).unwrap_or_default());
        let write = self.db.write(move |connection| {
            let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
            connection.execute(sql, rusqlite::params![key, value])?;
            Ok(())
        });
        Ok(write.await.map_err(StoreError::from)?)
    }
}
