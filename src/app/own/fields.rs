//! What the variables say of the number, and which of it is not applied yet.

use super::{Applied, KEY, Own};
use crate::{
    domain::{
        phone::PhoneNumber,
        route::{ProviderKind, Routes},
        secret::{ExposeSecret, SecretString},
        waba::WabaInstance,
    },
    gateway::{AccountsChange, MetaChange, TwilioChange},
};

impl Own {
    /// Whether an instance has an account of these.
    pub(super) fn is_of_these(&self, instance: &WabaInstance) -> bool {
        let (meta, twilio) = (&self.number.meta, &self.number.twilio);
        let at_meta = meta.as_ref().zip(instance.meta.as_ref());
        let at_twilio = twilio.as_ref().zip(instance.twilio.as_ref());
        at_meta.is_some_and(|(own, it)| own.phone_number_id == it.phone_number_id)
            || at_twilio.is_some_and(|(own, it)| own.account_sid == it.account_sid)
    }

    /// What is to be told to Meta's account: what is not applied.
    pub(super) fn meta(&self, applied: &Applied, told: Option<&PhoneNumber>) -> Option<MetaChange> {
        let account = self.number.meta.as_ref()?;
        let secret = |name: &str, it: &SecretString| {
            self.is_changed(applied, name, it.expose_secret()).then(|| it.clone())
        };
        let id = &account.phone_number_id;
        let app_secret = account.app_secret.as_ref();
        let verify_token = account.verify_token.as_ref();
        Some(MetaChange {
            phone_number_id: self
                .is_changed(applied, "WHATSAPP_PHONE_NUMBER_ID", id)
                .then(|| id.clone()),
            waba_id: account
                .waba_id
                .clone()
                .filter(|it| self.is_changed(applied, "WHATSAPP_BUSINESS_ACCOUNT_ID", it)),
            access_token: secret("WHATSAPP_API_TOKEN", &account.access_token),
            app_secret: app_secret.and_then(|it| secret("WHATSAPP_APP_SECRET", it)),
            verify_token: verify_token.and_then(|it| secret("WHATSAPP_VERIFY_TOKEN", it)),
            phone_number: told.map(PhoneNumber::expose),
        })
    }

    /// The same for Twilio.
    pub(super) fn twilio(&self, applied: &Applied) -> Option<TwilioChange> {
        let account = self.number.twilio.as_ref()?;
        let changed = |name: &str, it: &str| self.is_changed(applied, name, it);
        let sid = &account.account_sid;
        let token = &account.auth_token;
        Some(TwilioChange {
            account_sid: changed("TWILIO_ACCOUNT_SID", sid).then(|| sid.clone()),
            auth_token: changed("TWILIO_AUTH_TOKEN", token.expose_secret()).then(|| token.clone()),
            from: changed("TWILIO_WHATSAPP_FROM", account.from.digits())
                .then(|| account.from.expose()),
            messaging_service_sid: None,
        })
    }

    /// Meta first where there are both.
    pub(super) fn order(&self) -> AccountsChange {
        let meta = self.number.meta.is_some().then_some(ProviderKind::Meta);
        let twilio = self.number.twilio.is_some().then_some(ProviderKind::Twilio);
        let mut kinds = meta.into_iter().chain(twilio);
        AccountsChange {
            provider: kinds.next(),
            failover: Some(kinds.collect::<Routes>()),
            ..AccountsChange::default()
        }
    }

    pub(super) fn providers(&self) -> String {
        let has = |it: bool| if it { "1" } else { "0" };
        has(self.number.meta.is_some()).to_owned() + has(self.number.twilio.is_some())
    }

    /// Under which id Meta's number is known, and what somebody says that it is.
    pub(super) fn number_id(&self) -> String {
        let id = self.number.meta.as_ref().map_or("", |it| it.phone_number_id.as_str());
        let given = self.number.phone_number.as_ref().map_or("", |it| it.digits());
        format!("{id} {given}")
    }

    pub(super) fn meta_fields(&self) -> Vec<(&'static str, &str)> {
        let Some(it) = &self.number.meta else { return Vec::new() };
        let optional =
            [("WHATSAPP_APP_SECRET", &it.app_secret), ("WHATSAPP_VERIFY_TOKEN", &it.verify_token)];
        let optional = optional.into_iter().filter_map(|(name, it)| Some((name, it.as_ref()?)));
        let mut all = vec![
            ("WHATSAPP_PHONE_NUMBER_ID", it.phone_number_id.as_str()),
            ("WHATSAPP_API_TOKEN", it.access_token.expose_secret()),
        ];
        all.extend(optional.map(|(name, it)| (name, it.expose_secret())));
        all.extend(it.waba_id.as_deref().map(|it| ("WHATSAPP_BUSINESS_ACCOUNT_ID", it)));
        all
    }

    pub(super) fn twilio_fields(&self) -> Vec<(&'static str, &str)> {
        let Some(it) = &self.number.twilio else { return Vec::new() };
        vec![
            ("TWILIO_ACCOUNT_SID", it.account_sid.as_str()),
            ("TWILIO_AUTH_TOKEN", it.auth_token.expose_secret()),
            ("TWILIO_WHATSAPP_FROM", it.from.digits()),
        ]
    }

    /// All of it, but for whether it is switched on.
    pub(super) fn all(&self) -> Vec<(&'static str, String)> {
        let fields = self.meta_fields().into_iter().chain(self.twilio_fields());
        let mut all: Vec<_> = fields.map(|it| (it.0, it.1.to_owned())).collect();
        all.push(("providers", self.providers()));
        if self.number.meta.is_some() {
            all.push(("number", self.number_id()));
        }
        all
    }

    pub(super) fn is_applied(&self, applied: &Applied) -> bool {
        !self.all().iter().any(|it| self.is_changed(applied, it.0, &it.1))
    }

    pub(super) fn is_changed(&self, applied: &Applied, name: &str, value: &str) -> bool {
        applied.get(name) != Some(&self.hash(name, value))
    }

    pub(super) fn hash(&self, name: &str, value: &str) -> String {
        hex::encode(self.vault.token(&[KEY.as_bytes(), name.as_bytes(), value.as_bytes()]))
    }
}
