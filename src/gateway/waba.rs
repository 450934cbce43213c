//! WABA instances: changed, deleted, moved to another account.

use super::{
    AccountsChange, AdminError, Gateway, SetUpError,
    instances::{refuse_no_scheme, refuse_shared_secret, refuse_short_secret},
    webhook_url, webhook_url_at,
};
use crate::{
    domain::{
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        secret::{SecretString, unless_blank},
        waba::{OLD_SECRET_LASTS, ProviderKind, SignatureSchemes, WabaInstance},
    },
    provider::wasender::SessionFault,
};

/// What to change of an instance. `None` leaves it as it is; `Some(None)` takes it away, or back
/// to its default.
#[derive(Default)]
pub struct InstanceChange {
    /// The number messages leave from, as somebody typed it.
    pub phone_number: Option<String>,
    /// The session's number at Wasender.
    pub wasender_instance_id: Option<Option<String>>,
    /// The session's own API key.
    pub session_key: Option<Option<SecretString>>,
    /// What its webhooks are proven by; a replaced one is good for 24 hours more, one that is taken
    /// away is not.
    pub webhook_secret: Option<Option<SecretString>>,
    /// A personal access token of the vendor's own account.
    pub token: Option<Option<SecretString>>,
    /// The provider throttles it.
    pub account_protection: Option<Option<bool>>,
    /// How its webhooks may prove themselves.
    pub schemes: Option<Option<SignatureSchemes>>,
    /// Its other accounts, and the order of its ways out.
    pub accounts: AccountsChange,
}

/// An instance was deleted.
#[derive(Debug)]
pub struct Deleted {
    /// Messages that were in flight and will end as dead `gone`.
    pub n_in_flight: i64,
    /// What is left for a person to do.
    pub warnings: Vec<String>,
}

impl Gateway {
    /// Changes an instance. What there is to say about it comes back.
    pub async fn change_instance(
        &self,
        vendor: &VendorId,
        id: &InstanceId,
        change: InstanceChange,
    ) -> Result<Vec<String>, AdminError> {
        let _turn = self.turn_of(vendor).await;
        let present = self.instances(vendor).await?;
        let before = present.iter().find(|it| it.id == *id).ok_or(AdminError::NoInstance)?;
        self.apply_change(before, &present, change).await
    }

    /// Moves an instance, by default the vendor's first, to this account; its conversations and
    /// what is in flight go with it.
    pub async fn switch_account(
        &self,
        vendor: &VendorId,
        id: Option<&InstanceId>,
        change: InstanceChange,
    ) -> Result<(String, Vec<String>), AdminError> {
        let _turn = self.turn_of(vendor).await;
        let present = self.instances(vendor).await?;
        let instance = match id {
            Some(id) => present.iter().find(|it| it.id == *id).ok_or(AdminError::NoInstance)?,
            None => present.first().ok_or_else(|| {
                let why = "the vendor has no WABA instance: create one with POST …/waba-instances";
                AdminError::Invalid(why.to_owned())
            })?,
        };
        let remarks = self.apply_change(instance, &present, change).await?;
        let kind = self.instance(vendor, &instance.id).await?.provider;
        Ok((webhook_url_at(&self.inner.settings.base_url, kind, vendor).into(), remarks))
    }

    /// Deletes an instance: its session's webhooks are switched off where they come to us, and what
    /// is proven by its secrets is 401 from then on. Its messages stay on record.
    pub async fn delete_instance(
        &self,
        vendor: &VendorId,
        id: &InstanceId,
        force: bool,
    ) -> Result<Deleted, SetUpError> {
        let _turn = self.turn_of(vendor).await;
        let instance = self.instance(vendor, id).await?;
        let n_in_flight = self.inner.journal.in_flight(id).await.map_err(AdminError::from)?;
        if n_in_flight > 0 && !force {
            let why = format!(
                "{n_in_flight} messages of this instance are in flight or wait in a bulk job: wait for them, or repeat with ?force=true, and they end unsent"
            );
            return Err(AdminError::Conflict(why).into());
        }
        let mut warnings = Vec::new();
        match self.switch_off(&instance).await {
            Ok(()) => {}
            // Without a token it was never ours to switch off.
            Err(fault @ (SessionFault::NoToken | SessionFault::SessionToken)) => {
                warnings.push(still_on(fault));
            }
            Err(fault) if force => warnings.push(still_on(fault)),
            Err(fault) => return Err(SetUpError::StillOn(fault)),
        }
        warnings.extend(still_calling(&instance));
        self.inner.store.delete_instance(vendor, id).await.map_err(AdminError::from)?;
        self.inner.manager.forget_keys(&instance);
        self.inner.registry.forget(vendor).await;
        self.inner.synced.lock().await.remove(id);
        Ok(Deleted { n_in_flight, warnings })
    }

    async fn apply_change(
        &self,
        before: &WabaInstance,
        present: &[WabaInstance],
        change: InstanceChange,
    ) -> Result<Vec<String>, AdminError> {
        let now = self.inner.clock.now();
        let mut after = before.clone();
        let has_new_key = matches!(change.session_key, Some(Some(_)));
        let (secret, accounts) = change.apply(&mut after)?;
        match secret {
            None => {}
            Some(None) => after.wasender.webhook_secrets.clear(),
            Some(Some(secret)) => {
                refuse_short_secret(&secret)?;
                refuse_shared_secret(present, Some(&after.id), &secret)?;
                after.wasender.adopt_secret(secret, now + OLD_SECRET_LASTS);
            }
        }
        accounts.apply(&mut after)?;
        refuse_own(present, &after)?;
        self.refuse_claimed(Some(before), &after).await?;
        after.updated_at = now;
        // Found by its former keys no longer, and by the new ones from now on.
        self.inner.manager.forget_keys(before);
        self.keep(Some(before), &after).await?;
        if after.provider != before.provider {
            self.ask_new_provider(&after).await;
        }
        let is_other = after.wasender.instance_id != before.wasender.instance_id;
        let mut remarks = Vec::new();
        for kind in after.routes().iter().filter(|it| !after.can_send(*it)) {
            if kind != ProviderKind::Wasender {
                remarks.push(format!("without credentials nothing leaves through {kind}"));
            }
        }
        if is_other && !has_new_key && after.wasender.session_key.is_some() {
            remarks.push("the session's API key is still the former session's: set wasenderApiKey, or run setup-wasender-webhook".to_owned());
        }
        if after.provider == ProviderKind::Wasender && after.wasender.session_key.is_none() {
            remarks.push("without wasenderApiKey its messages are parked".to_owned());
        }
        Ok(remarks)
    }

    async fn switch_off(&self, instance: &WabaInstance) -> Result<(), SessionFault> {
        let wasender = self.inner.providers.wasender();
        let session = match wasender.session(instance).await {
            // Nothing there could call us.
            Err(SessionFault::NoSessionId | SessionFault::NotFound) => return Ok(()),
            session => session?,
        };
        let url = webhook_url(&self.inner.settings.base_url, &instance.vendor_id);
        let is_ours = session.webhook_url.as_deref() == Some(url.as_str());
        if is_ours && session.webhook_enabled {
            wasender.silence_webhook(instance).await?;
        }
        Ok(())
    }
}

impl InstanceChange {
    /// Applies everything but the webhook secret and the other accounts, which are answered.
    fn apply(
        self,
        instance: &mut WabaInstance,
    ) -> Result<(Option<Option<SecretString>>, AccountsChange), AdminError> {
        if let Some(number) = &self.phone_number {
            let number = PhoneNumber::from_person(number, Some(&instance.phone_number));
            let number = number.map_err(|it| AdminError::Invalid(format!("phoneNumber: {it}")))?;
            instance.renumber(number);
        }
        if let Some(schemes) = self.schemes {
            let schemes = schemes.unwrap_or_default();
            refuse_no_scheme(schemes)?;
            instance.schemes = schemes;
        }
        let account = &mut instance.wasender;
        if let Some(id) = self.wasender_instance_id {
            account.instance_id = id;
        }
        if let Some(key) = self.session_key {
            account.session_key = key.and_then(unless_blank);
        }
        if let Some(token) = self.token {
            account.token = token.and_then(unless_blank);
        }
        if let Some(is_protected) = self.account_protection {
            instance.account_protection = is_protected.unwrap_or_default();
        }
        Ok((self.webhook_secret, self.accounts))
    }
}

/// Two instances of a vendor with one number or session could not be told apart.
pub(super) fn refuse_own(present: &[WabaInstance], after: &WabaInstance) -> Result<(), AdminError> {
    let others: Vec<_> =
        present.iter().filter(|it| it.id != after.id).flat_map(WabaInstance::keys).collect();
    match after.keys().iter().find(|it| others.contains(it)) {
        None => Ok(()),
        Some(key) => {
            let why = format!("another instance of this vendor has this {}", key.field());
            Err(AdminError::Conflict(why))
        }
    }
}

fn still_on(fault: SessionFault) -> String {
    format!(
        "the session's webhook was not switched off ({fault}): switch it off in the Wasender dashboard"
    )
}

/// Other providers' webhooks are not ours to take away: some are for more than this number.
fn still_calling(instance: &WabaInstance) -> impl Iterator<Item = String> {
    let others = [ProviderKind::Meta, ProviderKind::Unipile, ProviderKind::Twilio];
    others.into_iter().filter(|it| instance.has(*it)).map(|it| {
        format!("{it} goes on calling for this number and is refused: remove its webhook there")
    })
}
