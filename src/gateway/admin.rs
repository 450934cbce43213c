//! Vendors: made, changed, paused.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Gateway, content};
use crate::{
    domain::{
        account::AccountFault,
        clock::Millis,
        hours::Zone,
        id::VendorId,
        message::Template,
        secret::SecretString,
        vendor::{BusinessHours, OnUnknown, ResponderConfig, Vendor, VendorStatus},
    },
    journal::JournalError,
    store::{StoreError, VendorPage},
};

/// Random bytes of a signing secret; Standard Webhooks asks for 24 to 64.
const SIGNING_BYTES: usize = 32;
/// How often a vendor is changed anew because somebody else changes it.
const CHANGES_TRIED_MAX: usize = 5;

/// Why an admin's request was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no such vendor.
    #[error("unknown vendor")]
    NoVendor,
    /// There is no such instance.
    #[error("unknown WABA instance")]
    NoInstance,
    /// There is no such message.
    #[error("unknown message")]
    NoMessage,
    /// There is no such forwarded event.
    #[error("unknown event")]
    NoForward,
    /// There is no such conversation, or it is another vendor's.
    #[error("unknown conversation")]
    NoConversation,
    /// There is no such job, or it is another vendor's.
    #[error("unknown job")]
    NoJob,
    /// What was asked for is not possible; the text says why.
    #[error("{0}")]
    Invalid(String),
    /// It contradicts what is there; the text says how.
    #[error("{0}")]
    Conflict(String),
    /// The store is away.
    #[error(transparent)]
    Store(StoreError),
    /// The journal is away.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl AdminError {
    /// Whether what is stored is there and cannot be read.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_unreadable())
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        match error {
            // Somebody else was faster than the look before.
            StoreError::Claimed | StoreError::Twice | StoreError::Changed => {
                Self::Conflict(error.to_string())
            }
            error => Self::Store(error),
        }
    }
}

impl From<AccountFault> for AdminError {
    fn from(fault: AccountFault) -> Self {
        Self::Invalid(fault.to_string())
    }
}

/// What to change of a vendor; `None` leaves it as it is, or at its default.
#[derive(Clone, Default)]
pub struct VendorChange {
    /// The name.
    pub business_name: Option<String>,
    /// Whether it is served.
    pub status: Option<VendorStatus>,
    /// Whether its customers are answered automatically.
    pub auto_reply: Option<bool>,
    /// Sent first; `Some(None)` takes it away.
    pub welcome_message: Option<Option<String>>,
    /// Sent when nobody could answer.
    pub apology: Option<Option<String>>,
    /// How long a human keeps the bot quiet.
    pub silence: Option<Millis>,
    /// Who answers.
    pub responders: Option<Vec<ResponderConfig>>,
    /// What to do when an outcome stays unknown.
    pub on_unknown: Option<OnUnknown>,
    /// After how long.
    pub unknown_deadline: Option<Millis>,
    /// Older messages are not answered.
    pub max_answer_age: Option<Option<Millis>>,
    /// How long a message is worth sending.
    pub intent_ttl: Option<Option<Millis>>,
    /// Whether customers see that their messages were read.
    pub mark_as_read: Option<bool>,
    /// Whether customers see that an answer is being written.
    pub typing: Option<bool>,
    /// When the vendor is open.
    pub hours: Option<Option<BusinessHours>>,
    /// Where its back end gets its events.
    pub forward_url: Option<Option<String>>,
    /// What is sent in place of a text that comes too late for free text.
    pub fallback_template: Option<Option<Template>>,
}

impl Gateway {
    /// A vendor.
    pub async fn vendor(&self, id: &VendorId) -> Result<Vendor, AdminError> {
        self.inner.store.vendor(id).await?.ok_or(AdminError::NoVendor)
    }

    /// Vendors in order of their ids.
    pub async fn vendors(
        &self,
        after: Option<&VendorId>,
        limit: usize,
    ) -> Result<VendorPage, AdminError> {
        Ok(self.inner.store.vendors(after, limit).await?)
    }

    /// What a vendor's business hours are meant in, where it has any: its choice, else the zone of
    /// its first number.
    pub async fn time_zone(&self, vendor: &Vendor) -> Result<Option<Zone>, AdminError> {
        let Some(hours) = &vendor.hours else { return Ok(None) };
        if hours.time_zone.is_some() {
            return Ok(Some(hours.zone(None)));
        }
        let instances = self.inner.manager.of_vendor(&vendor.id).await?;
        Ok(Some(hours.zone(instances.first().map(|it| &it.phone_number))))
    }

    /// Makes or changes a vendor. A new one's signing secret is answered this once.
    pub async fn put_vendor(
        &self,
        id: &VendorId,
        change: VendorChange,
    ) -> Result<(Vendor, Option<SecretString>), AdminError> {
        if let Some(Some(url)) = &change.forward_url {
            self.check_forward_url(url)?;
        }
        if let Some(Some(template)) = &change.fallback_template {
            content::new_fallback_template(template).map_err(AdminError::Invalid)?;
        }
        let is_moved = change.forward_url.is_some();
        let _turn = self.turn_of(id).await;
        let (before, vendor) = self.put_changed(id, true, |it| change.clone().apply(it)).await?;
        if is_moved {
            self.inner.forwarding.renew(id, &self.inner.clock);
        }
        let fresh = before.is_none().then(|| vendor.signing_secret.clone());
        Ok((vendor, fresh))
    }

    /// Changes a vendor, what others changed of it meanwhile included. As it was and as it is.
    async fn put_changed(
        &self,
        id: &VendorId,
        is_made: bool,
        change: impl Fn(&mut Vendor) + Send + Sync,
    ) -> Result<(Option<Vendor>, Vendor), AdminError> {
        for _ in 0..CHANGES_TRIED_MAX {
            let now = self.inner.clock.now();
            let before = self.inner.store.vendor(id).await?;
            if before.is_none() && !is_made {
                return Err(AdminError::NoVendor);
            }
            let new = || Vendor::new(id.clone(), id.to_string(), signing_secret(), now);
            let mut vendor = before.clone().unwrap_or_else(new);
            change(&mut vendor);
            vendor.updated_at = now;
            match self.inner.store.put_vendor_if(before.as_ref(), &vendor).await {
                Err(StoreError::Changed) => {}
                end => {
                    end?;
                    self.inner.registry.forget(id).await;
                    return Ok((before, vendor));
                }
            }
        }
        Err(StoreError::Changed.into())
    }

    /// Replaces the secret that calls of the vendor's responders are signed with. It is answered
    /// this once.
    pub async fn renew_signing_secret(&self, id: &VendorId) -> Result<SecretString, AdminError> {
        let _turn = self.turn_of(id).await;
        let renew = |it: &mut Vendor| it.signing_secret = signing_secret();
        Ok(self.put_changed(id, false, renew).await?.1.signing_secret)
    }

    /// Stops a vendor's sends durably, or lets them go on; `None` is everybody. Intake goes on.
    pub async fn pause(&self, id: Option<&VendorId>, is_paused: bool) -> Result<(), AdminError> {
        if let Some(id) = id {
            self.vendor(id).await?;
        }
        // Stopped before it is on disk and whoever changes the vendor is done, let go only after.
        if is_paused {
            self.inner.work.pause(id, true);
        }
        let _turn = match id {
            Some(id) => self.turn_of(id).await,
            None => self.inner.turn_of_all.lock().await,
        };
        if is_paused {
            // An import may have let it go meanwhile.
            self.inner.work.pause(id, true);
        }
        if let Err(error) = self.inner.store.pause(id, is_paused).await {
            // It may be kept or not: whose sends are stopped is looked at again.
            self.inner.pauses_due.notify_one();
            return Err(error.into());
        }
        self.inner.work.pause(id, is_paused);
        match id {
            Some(id) => self.inner.manager.forget(id),
            None => self.inner.manager.pauses_changed(),
        }
        self.inner.manager.announce().await;
        if self.inner.manager.is_store_elsewhere() {
            // A copy of whose sends are stopped is kept with it.
            self.inner.manager.paused().await?;
        }
        Ok(())
    }
}

impl VendorChange {
    fn apply(self, vendor: &mut Vendor) {
        fn set<T>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        set(&mut vendor.business_name, self.business_name);
        set(&mut vendor.status, self.status);
        set(&mut vendor.auto_reply, self.auto_reply);
        set(&mut vendor.welcome_message, self.welcome_message);
        set(&mut vendor.apology, self.apology);
        set(&mut vendor.silence, self.silence);
        set(&mut vendor.responders, self.responders);
        set(&mut vendor.on_unknown, self.on_unknown);
        set(&mut vendor.unknown_deadline, self.unknown_deadline);
        set(&mut vendor.max_answer_age, self.max_answer_age);
        set(&mut vendor.intent_ttl, self.intent_ttl);
        set(&mut vendor.mark_as_read, self.mark_as_read);
        set(&mut vendor.typing, self.typing);
        set(&mut vendor.hours, self.hours);
        set(&mut vendor.forward_url, self.forward_url);
        set(&mut vendor.fallback_template, self.fallback_template.map(|it| it.map(Box::new)));
    }
}

/// A fresh secret for Standard Webhooks signatures.
#[must_use]
pub fn signing_secret() -> SecretString {
    let mut bytes = [0_u8; SIGNING_BYTES];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    format!("whsec_{}", STANDARD.encode(bytes)).into()
}
