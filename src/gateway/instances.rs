//! WABA instances: made and listed.

use super::{AccountsChange, AdminError, Gateway, waba::refuse_own};
use crate::{
    domain::{
        clock::Millis,
        event::Connection,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        secret::{ExposeSecret, SecretString, same},
        waba::{
            INSTANCES_PER_VENDOR_MAX, ProviderKind, Routes, SignatureSchemes, WabaInstance,
            WasenderAccount, WebhookSecret,
        },
    },
    store::StoreError,
};

/// The shortest webhook secret.
pub const WEBHOOK_SECRET_CHARS_MIN: usize = 8;
/// Ids that are tried for a new instance; those of deleted ones are not given again.
const IDS_TRIED_MAX: usize = 1_000;
/// How often one is made anew of which somebody else has just taken the id.
const CREATE_TRIES_MAX: usize = 8;

/// An instance to make.
pub struct NewInstance {
    /// The number messages leave from.
    pub phone_number: PhoneNumber,
    /// The session's number at Wasender.
    pub wasender_instance_id: Option<String>,
    /// The session's own API key.
    pub session_key: Option<SecretString>,
    /// What its webhooks are proven by.
    pub webhook_secret: Option<SecretString>,
    /// A personal access token of the vendor's own account.
    pub token: Option<SecretString>,
    /// The provider throttles it.
    pub account_protection: bool,
    /// How its webhooks may prove themselves.
    pub schemes: SignatureSchemes,
    /// Its other accounts, and the order of its ways out.
    pub accounts: AccountsChange,
}

impl NewInstance {
    /// A number of which nothing else is known.
    #[must_use]
    pub fn at(phone_number: PhoneNumber) -> Self {
        Self {
            phone_number,
            wasender_instance_id: None,
            session_key: None,
            webhook_secret: None,
            token: None,
            account_protection: false,
            schemes: SignatureSchemes::default(),
            accounts: AccountsChange::default(),
        }
    }

    /// The instance, with this id, as it is at Wasender.
    #[must_use]
    pub fn instance(self, id: InstanceId, vendor_id: VendorId, now: Millis) -> WabaInstance {
        let secrets = self.webhook_secret.into_iter();
        WabaInstance {
            id,
            vendor_id,
            phone_number: self.phone_number,
            provider: ProviderKind::Wasender,
            failover: Routes::default(),
            status: Connection::Pending,
            schemes: self.schemes,
            account_protection: self.account_protection,
            wasender: WasenderAccount {
                instance_id: self.wasender_instance_id,
                session_key: self.session_key,
                webhook_secrets: secrets
                    .map(|secret| WebhookSecret { secret, until: None, is_sessions: false })
                    .collect(),
                token: self.token,
            },
            meta: None,
            unipile: None,
            twilio: None,
            created_at: now,
            updated_at: now,
            last_sync: None,
        }
    }
}

impl Gateway {
    /// A vendor's instances, oldest first, as they are on disk.
    pub async fn instances(&self, vendor: &VendorId) -> Result<Vec<WabaInstance>, AdminError> {
        self.vendor(vendor).await?;
        Ok(self.inner.store.instances(vendor).await?)
    }

    /// One instance of a vendor.
    pub async fn instance(
        &self,
        vendor: &VendorId,
        id: &InstanceId,
    ) -> Result<WabaInstance, AdminError> {
        let mut instances = self.instances(vendor).await?;
        let at = instances.iter().position(|it| it.id == *id).ok_or(AdminError::NoInstance)?;
        Ok(instances.swap_remove(at))
    }

    /// Makes an instance.
    pub async fn create_instance(
        &self,
        vendor: &VendorId,
        mut new: NewInstance,
    ) -> Result<WabaInstance, AdminError> {
        let _turn = self.turn_of(vendor).await;
        refuse_no_scheme(new.schemes)?;
        if let Some(secret) = &new.webhook_secret {
            refuse_short_secret(secret)?;
        }
        let (secret, accounts) = (new.webhook_secret.clone(), std::mem::take(&mut new.accounts));
        let first = InstanceId::nth(vendor, 1);
        let mut instance = new.instance(first, vendor.clone(), self.inner.clock.now());
        accounts.apply(&mut instance)?;
        // Another process may make one at the same moment.
        for _ in 0..CREATE_TRIES_MAX {
            let present = self.instances(vendor).await?;
            refuse_one_more(&present, &instance)?;
            if let Some(secret) = &secret {
                refuse_shared_secret(&present, None, secret)?;
            }
            instance.id = self.free_id(vendor).await?;
            refuse_own(&present, &instance)?;
            self.refuse_claimed(None, &instance).await?;
            match self.keep(None, &instance).await {
                Err(AdminError::Store(StoreError::Taken)) => {}
                kept => return kept.map(|()| instance),
            }
        }
        Err(AdminError::Conflict("others make instances of this vendor; repeat".to_owned()))
    }

    /// A number or session of another vendor would make its customers this vendor's. One that both
    /// had `before` already routes for neither, and hinders no other change.
    pub(super) async fn refuse_claimed(
        &self,
        before: Option<&WabaInstance>,
        instance: &WabaInstance,
    ) -> Result<(), AdminError> {
        let had = before.map(WabaInstance::keys).unwrap_or_default();
        for key in instance.keys().into_iter().filter(|it| !had.contains(it)) {
            if self.inner.store.is_claimed_by_another(&key, &instance.vendor_id).await? {
                let why = format!("another vendor has this {}", key.field());
                return Err(AdminError::Conflict(why));
            }
        }
        Ok(())
    }

    /// Keeps a new instance, or one in the place of what it was `before`: what somebody else has
    /// made of that since must not be undone.
    pub(super) async fn keep(
        &self,
        before: Option<&WabaInstance>,
        instance: &WabaInstance,
    ) -> Result<(), AdminError> {
        self.inner.store.put_instance_if(before, instance).await?;
        self.inner.manager.forget_keys(instance);
        self.inner.registry.forget(&instance.vendor_id).await;
        Ok(())
    }

    /// The first id of this vendor that is nobody's and never was: the second instance of `a` and the first of
    /// `a_2` would have the same one.
    async fn free_id(&self, vendor: &VendorId) -> Result<InstanceId, AdminError> {
        for n in 1..=IDS_TRIED_MAX {
            let id = InstanceId::nth(vendor, n);
            if !self.inner.store.had_instance(&id).await? {
                return Ok(id);
            }
        }
        Err(AdminError::Conflict("no instance id is free for this vendor".to_owned()))
    }
}

fn refuse_one_more(present: &[WabaInstance], new: &WabaInstance) -> Result<(), AdminError> {
    if present.len() >= INSTANCES_PER_VENDOR_MAX {
        return Err(AdminError::Conflict(format!(
            "the vendor has {INSTANCES_PER_VENDOR_MAX} instances, and may not have more"
        )));
    }
    if present.iter().any(|it| it.phone_number.alias() == new.phone_number.alias()) {
        return Err(AdminError::Conflict("the vendor has an instance of this number".to_owned()));
    }
    Ok(())
}

/// Nothing could be proven then.
pub(super) fn refuse_no_scheme(schemes: SignatureSchemes) -> Result<(), AdminError> {
    if schemes.hmac || schemes.secret {
        return Ok(());
    }
    Err(AdminError::Invalid("signatureSchemes has at least one of hmac and secret".to_owned()))
}

/// Anyone could find a short one.
pub(super) fn refuse_short_secret(secret: &SecretString) -> Result<(), AdminError> {
    if secret.expose_secret().chars().count() >= WEBHOOK_SECRET_CHARS_MIN {
        return Ok(());
    }
    let why = format!("wasenderWebhookSecret has fewer than {WEBHOOK_SECRET_CHARS_MIN} characters");
    Err(AdminError::Invalid(why))
}

/// Two instances of a vendor with one secret could not be told apart.
pub(super) fn refuse_shared_secret(
    present: &[WabaInstance],
    but: Option<&InstanceId>,
    secret: &SecretString,
) -> Result<(), AdminError> {
    let secret = secret.expose_secret().as_bytes();
    let others = present.iter().filter(|it| Some(&it.id) != but);
    let mut secrets = others.flat_map(|it| &it.wasender.webhook_secrets);
    if secrets.any(|it| same(it.secret.expose_secret().as_bytes(), secret)) {
        let why = "another instance of this vendor has the same webhook secret";
        return Err(AdminError::Conflict(why.to_owned()));
    }
    Ok(())
}
