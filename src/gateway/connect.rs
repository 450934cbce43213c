//! A number's ways out: their webhooks set up, and how each of them is now.

use std::time::Duration;

use url::Url;

use super::{
    AcceptError, AdminError, Gateway, SetUp, SetUpError, Settings, Shut, can_reach, random_key,
    webhook_url_at,
};
use crate::{
    domain::{
        event::Connection,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        route::ProviderKind,
        secret::{ExposeSecret, SecretString, same},
        waba::WabaInstance,
    },
    provider::NewHook,
    telemetry::Chain,
};

/// For a provider to say how a number is that moves to it.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// Webhooks come here now.
#[derive(Debug)]
pub struct HookDone {
    /// Whose.
    pub provider: ProviderKind,
    /// Where they go.
    pub webhook_url: String,
    /// What is left for a person to do.
    pub warnings: Vec<String>,
}

/// How a number is.
pub struct Connected {
    /// The number.
    pub instance: WabaInstance,
    /// Its ways out, in the order in which they are tried.
    pub ways: Vec<WayStatus>,
}

/// How one way out is.
pub struct WayStatus {
    /// Who carries messages.
    pub provider: ProviderKind,
    /// It has what it takes to send.
    pub can_send: bool,
    /// What the provider says now; `None`: it could not be asked.
    pub live: Option<Connection>,
    /// Its number there, where the provider tells it.
    pub phone_number: Option<String>,
    /// What else the provider says of it.
    pub details: Vec<(&'static str, String)>,
    /// It has failed too often, or wants no more.
    pub shut: Option<Shut>,
}

/// Where the provider's API is for this number.
fn api_of(settings: &Settings, instance: &WabaInstance, provider: ProviderKind) -> Url {
    let own = instance.unipile.as_ref().and_then(|it| it.base(&settings.apis.unipile));
    match provider {
        ProviderKind::Wasender => settings.wasender_url.clone(),
        ProviderKind::Meta => settings.apis.meta.clone(),
        ProviderKind::Unipile => own.unwrap_or_else(|| settings.apis.unipile.clone()),
        ProviderKind::Twilio => settings.apis.twilio.clone(),
    }
}

impl Gateway {
    /// Whether this is the token by which one of the vendor's numbers at Meta knows its callback
    /// (`docs/wire/meta-unipile-twilio.md` A1).
    ///
    /// # Errors
    ///
    /// As `knock`.
    pub async fn shake_hands(&self, vendor: &str, token: &str) -> Result<(), AcceptError> {
        let service = self.vendor_called(vendor).await?;
        let mut is_known = false;
        for account in service.instances().iter().filter_map(|it| it.meta.as_ref()) {
            let known = account.verify_token.as_ref().map(ExposeSecret::expose_secret);
            let known = known.filter(|it| !it.is_empty());
            is_known |= known.is_some_and(|it| same(it.as_bytes(), token.as_bytes()));
        }
        if is_known { Ok(()) } else { Err(self.not_proven(&service)) }
    }

    /// Lets the webhooks of a number's provider come here: its own one without a choice.
    pub async fn set_up_hook(
        &self,
        vendor: &VendorId,
        id: Option<&InstanceId>,
        by: Option<ProviderKind>,
        replace: bool,
    ) -> Result<HookDone, SetUpError> {
        let instance = self.chosen(vendor, id).await?;
        let provider = by.unwrap_or(instance.provider);
        let Some(hooks) = self.inner.providers.hooks_of(provider) else {
            let set_up = SetUp { instance: Some(instance.id), replace, ..SetUp::default() };
            let done = self.set_up_webhook(vendor, set_up).await?;
            let (webhook_url, warnings) = (done.webhook_url, done.warnings);
            return Ok(HookDone { provider, webhook_url, warnings });
        };
        if !instance.has(provider) {
            let why = format!("{provider}: the number has no account there");
            return Err(AdminError::Invalid(why).into());
        }
        let settings = &self.inner.settings;
        if !can_reach(&api_of(settings, &instance, provider), &settings.base_url) {
            return Err(SetUpError::BaseUrl(provider, settings.base_url.to_string()));
        }
        let (instance, is_kept) = self.with_proof(instance, provider).await?;
        let url = webhook_url_at(&settings.base_url, provider, vendor);
        let hook = NewHook { url: &url, replace };
        let set = hooks.set_webhook(&instance, &hook).await;
        let failed = |it: SetUpError| if is_kept { it.partly() } else { it };
        let mut set = set.map_err(|fault| failed(SetUpError::Hook(provider, fault)))?;
        if let Some(secret) = set.secret {
            // The provider's side is another by now.
            let kept = self.keep_proof(&instance, provider, secret).await;
            kept.map_err(|it| SetUpError::from(it).partly())?;
        }
        set.warnings.extend(hooks.remove_webhooks(&instance, &set.former).await);
        Ok(HookDone { provider, webhook_url: url.into(), warnings: set.warnings })
    }

    /// How a number's ways out are now, of one or of all of a vendor's numbers.
    pub async fn connected(
        &self,
        vendor: &VendorId,
        id: Option<&InstanceId>,
    ) -> Result<Vec<Connected>, AdminError> {
        let mut instances = self.instances(vendor).await?;
        if let Some(id) = id {
            instances.retain(|it| it.id == *id);
            if instances.is_empty() {
                return Err(AdminError::NoInstance);
            }
        }
        let all = instances.into_iter().map(async |mut instance| {
            let ways = instance.routes().iter().map(|it| self.way(&instance, it));
            let ways = futures_util::future::join_all(ways).await;
            let first = ways.iter().find(|it| it.provider == instance.provider);
            let live = first.and_then(|it| it.live).filter(|it| *it != instance.status);
            if let Some(live) = live {
                self.note_found(&instance, live).await;
                instance.status = live;
            }
            Connected { instance, ways }
        });
        Ok(futures_util::future::join_all(all).await)
    }

    /// The number that Meta knows by this id, where it tells it.
    pub async fn number_at_meta(&self, id: &str, token: &SecretString) -> Option<PhoneNumber> {
        self.inner.providers.meta().number_of(id, token).await.ok()
    }

    async fn way(&self, instance: &WabaInstance, provider: ProviderKind) -> WayStatus {
        let health = self.inner.providers.of(provider).health(instance).await.ok();
        let now = self.inner.clock.now();
        let live = health.as_ref().and_then(|it| it.connection);
        self.ask_circuit(instance, provider, live, now);
        let phone_number = health.as_ref().and_then(|it| it.phone_number.as_ref());
        WayStatus {
            provider,
            can_send: instance.can_send(provider),
            live,
            phone_number: phone_number.map(PhoneNumber::expose),
            shut: self.inner.send_circuits.shut(&instance.id, provider, now),
            details: health.map(|it| it.details).unwrap_or_default(),
        }
    }

    /// What was known of the number was the former provider's: the new one is asked how it is there,
    /// as far as it answers.
    pub(super) async fn ask_new_provider(&self, instance: &WabaInstance) {
        let state = self.state_there(instance).await.unwrap_or(Connection::Pending);
        self.note_found(instance, state).await;
    }

    /// Asks a number's provider how it is there, and keeps what it says.
    pub(super) async fn ask_state(&self, instance: &WabaInstance) {
        if let Some(state) = self.state_there(instance).await {
            self.note_found(instance, state).await;
        }
    }

    async fn state_there(&self, instance: &WabaInstance) -> Option<Connection> {
        let health = self.inner.providers.of(instance.provider).health(instance);
        tokio::time::timeout(ASK_WITHIN, health).await.ok()?.ok()?.connection
    }

    /// Keeps a state that was asked for beside something else, which must not fail for it.
    pub(super) async fn note_found(&self, instance: &WabaInstance, state: Connection) {
        let (vendor, id) = (&instance.vendor_id, &instance.id);
        if let Err(error) = self.note_state(vendor, id, Some(state)).await {
            tracing::warn!(vendor.id = %vendor, waba.id = %id, error = %Chain(&error), "the state of a number could not be kept");
        }
    }

    async fn chosen(
        &self,
        vendor: &VendorId,
        id: Option<&InstanceId>,
    ) -> Result<WabaInstance, AdminError> {
        match id {
            Some(id) => self.instance(vendor, id).await,
            None => {
                let mut all = self.instances(vendor).await?.into_iter();
                all.next().ok_or(AdminError::NoInstance)
            }
        }
    }

    /// What proves its webhooks is made where it is ours to choose, and on disk before the provider
    /// is told of it: one may come the moment after. What the provider chooses is kept before the
    /// former webhooks go. And whether it was made now.
    async fn with_proof(
        &self,
        instance: WabaInstance,
        provider: ProviderKind,
    ) -> Result<(WabaInstance, bool), AdminError> {
        let is_missing = match provider {
            ProviderKind::Meta => {
                instance.meta.as_ref().is_some_and(|it| it.verify_token.is_none())
            }
            ProviderKind::Unipile => {
                let account = instance.unipile.as_ref();
                let base = &self.inner.settings.apis.unipile;
                account.is_some_and(|it| it.webhook_secret.is_none() && !it.is_v2(base))
            }
            ProviderKind::Wasender | ProviderKind::Twilio => false,
        };
        if !is_missing {
            return Ok((instance, false));
        }
        Ok((self.keep_proof(&instance, provider, random_key()).await?, true))
    }

    async fn keep_proof(
        &self,
        instance: &WabaInstance,
        provider: ProviderKind,
        secret: SecretString,
    ) -> Result<WabaInstance, AdminError> {
        let _turn = self.turn_of(&instance.vendor_id).await;
        let before = self.instance(&instance.vendor_id, &instance.id).await?;
        let mut instance = before.clone();
        match provider {
            ProviderKind::Meta => {
                if let Some(account) = instance.meta.as_mut() {
                    account.verify_token = Some(secret);
                }
            }
            ProviderKind::Unipile => {
                if let Some(account) = instance.unipile.as_mut() {
                    account.webhook_secret = Some(secret);
                }
            }
            ProviderKind::Wasender | ProviderKind::Twilio => {}
        }
        instance.updated_at = self.inner.clock.now();
        self.keep(Some(&before), &instance).await?;
        Ok(instance)
    }
}
