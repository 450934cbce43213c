//! A WABA instance of a document.

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Fault,
    accounts::{Account, MetaExchange, TwilioExchange, UnipileExchange},
    fault_of, present, set, shown_or_null, stamp,
};
use crate::domain::{
    account::AccountsChange,
    clock::{Millis, from_iso, iso},
    event::Connection,
    id::{InstanceId, VendorId},
    phone::PhoneNumber,
    secret::{SecretString, unless_blank},
    waba::{ProviderKind, Routes, SignatureSchemes, WabaInstance, WasenderAccount, WebhookSecret},
};

/// An instance of a document.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstanceExchange {
    /// Its id.
    pub id: String,
    /// In E.164 form, with `+`.
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// Taken for a new instance alone; the provider says how an existing one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature_schemes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_protection: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    wasender_instance_id: Option<Option<String>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present",
        serialize_with = "shown_or_null"
    )]
    wasender_api_key: Option<Option<SecretString>>,
    /// The newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    wasender_webhook_secrets: Option<Vec<SecretExchange>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present",
        serialize_with = "shown_or_null"
    )]
    wasender_token: Option<Option<SecretString>>,
    /// The providers that are tried after `provider`.
    #[serde(skip_serializing_if = "Option::is_none")]
    failover: Option<Routes>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    meta: Option<Option<MetaExchange>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    unipile: Option<Option<UnipileExchange>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    twilio: Option<Option<TwilioExchange>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    /// Taken for a new instance alone.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    last_sync: Option<Option<String>>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SecretExchange {
    #[serde(serialize_with = "clear")]
    secret: SecretString,
    /// Until when it is accepted.
    #[serde(default)]
    until: Option<String>,
    /// The session's own, as Wasender told it.
    #[serde(default)]
    is_sessions: bool,
}

fn clear<S: serde::Serializer>(it: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(it.expose_secret())
}

impl InstanceExchange {
    pub(super) fn of(instance: &WabaInstance, with_secrets: bool) -> Self {
        // Taken apart, so that a field that is added is not forgotten here.
        let WabaInstance {
            id,
            vendor_id: _,
            phone_number,
            provider,
            failover,
            status,
            schemes: SignatureSchemes { hmac, secret },
            account_protection,
            wasender: WasenderAccount { instance_id, session_key, webhook_secrets, token },
            meta,
            unipile,
            twilio,
            created_at,
            updated_at,
            last_sync,
        } = instance;
        let schemes = [("hmac", *hmac), ("secret", *secret)].into_iter().filter(|it| it.1);
        let webhook_secret = |it: &WebhookSecret| SecretExchange {
            secret: it.secret.clone(),
            until: it.until.map(iso),
            is_sessions: it.is_sessions,
        };
        Self {
            id: id.to_string(),
            phone_number: Some(phone_number.expose()),
            provider: Some(provider.as_str().to_owned()),
            status: Some(status.as_str().to_owned()),
            signature_schemes: Some(schemes.map(|it| it.0.to_owned()).collect()),
            account_protection: Some(*account_protection),
            wasender_instance_id: Some(instance_id.clone()),
            wasender_api_key: with_secrets.then(|| session_key.clone()),
            wasender_webhook_secrets: with_secrets
                .then(|| webhook_secrets.iter().map(webhook_secret).collect()),
            wasender_token: with_secrets.then(|| token.clone()),
            failover: Some(*failover),
            meta: Some(meta.as_deref().map(|it| MetaExchange::of(it, with_secrets))),
            unipile: Some(unipile.as_deref().map(|it| UnipileExchange::of(it, with_secrets))),
            twilio: Some(twilio.as_deref().map(|it| TwilioExchange::of(it, with_secrets))),
            created_at: Some(iso(*created_at)),
            updated_at: Some(iso(*updated_at)),
            last_sync: Some(last_sync.map(iso)),
        }
    }

    /// The instance that it describes: the vendor's known one changed, or a new one.
    pub fn read(
        &self,
        vendor: &VendorId,
        known: &[WabaInstance],
        now: Millis,
    ) -> Result<WabaInstance, Vec<Fault>> {
        let id = InstanceId::parse(&self.id);
        let id = id.map_err(|it| vec![Fault::new("id", it.to_string())])?;
        let known = known.iter().find(|it| it.id == id);
        let mut faults = Vec::new();
        let number = self.phone_number.as_deref().map(PhoneNumber::from_wire);
        let number = match (number, known) {
            (Some(Ok(number)), _) => Some(number),
            (None, Some(known)) => Some(known.phone_number.clone()),
            (Some(Err(_)), _) => {
                faults.push(Fault::new("phoneNumber", "a number has 7 to 15 digits and a +"));
                None
            }
            (None, None) => {
                faults.push(Fault::new("phoneNumber", "a new instance has a phoneNumber"));
                None
            }
        };
        let Some(number) = number else { return Err(faults) };
        let mut instance = known.cloned().unwrap_or_else(|| blank(id, vendor, number.clone(), now));
        instance.renumber(number);
        if known.is_none() {
            self.read_state(&mut instance, &mut faults);
        }
        self.read_session(&mut instance, &mut faults);
        self.read_ways(&mut instance, &mut faults);
        let times = (&self.created_at, &self.updated_at);
        let stamps = (&mut instance.created_at, &mut instance.updated_at);
        faults.extend(stamp(times, stamps, now));
        if faults.is_empty() { Ok(instance) } else { Err(faults) }
    }

    fn read_state(&self, instance: &mut WabaInstance, faults: &mut Vec<Fault>) {
        let states = [
            Connection::Connected,
            Connection::Pending,
            Connection::Disconnected,
            Connection::Error,
        ];
        if let Some(word) = &self.status {
            match states.into_iter().find(|it| it.as_str() == word) {
                Some(state) => instance.status = state,
                None => faults.push(Fault::new(
                    "status",
                    "status is connected, pending, disconnected or error",
                )),
            }
        }
        instance.last_sync =
            time(self.last_sync.as_ref().and_then(Option::as_ref), "lastSync", faults);
    }

    fn read_session(&self, instance: &mut WabaInstance, faults: &mut Vec<Fault>) {
        if let Some(schemes) = &self.signature_schemes {
            let has = |word: &str| schemes.iter().any(|it| it == word);
            instance.schemes = SignatureSchemes { hmac: has("hmac"), secret: has("secret") };
            if !schemes.iter().all(|it| matches!(it.as_str(), "hmac" | "secret")) {
                faults.push(Fault::new("signatureSchemes", "it has hmac, secret or both"));
            }
        }
        set(&mut instance.account_protection, self.account_protection);
        let account = &mut instance.wasender;
        let id = |it: &String| Some(it.trim().to_owned()).filter(|it| !it.is_empty());
        let id = self.wasender_instance_id.as_ref().map(|it| it.as_ref().and_then(id));
        set(&mut account.instance_id, id);
        let secret = |it: &Option<SecretString>| it.clone().and_then(unless_blank);
        set(&mut account.session_key, self.wasender_api_key.as_ref().map(secret));
        set(&mut account.token, self.wasender_token.as_ref().map(secret));
        if let Some(secrets) = &self.wasender_webhook_secrets {
            let secret = |it: &SecretExchange| WebhookSecret {
                secret: it.secret.clone(),
                until: time(it.until.as_ref(), "wasenderWebhookSecrets", faults),
                is_sessions: it.is_sessions,
            };
            account.webhook_secrets = secrets.iter().map(secret).collect();
        }
    }

    /// As the administration would change them, by the same rules.
    fn read_ways(&self, instance: &mut WabaInstance, faults: &mut Vec<Fault>) {
        let provider = self.provider.as_deref().map(ProviderKind::parse);
        if provider == Some(None) {
            let why = "provider is wasender, meta, unipile or twilio";
            faults.push(Fault::new("provider", why));
        }
        let change = AccountsChange {
            provider: provider.flatten(),
            failover: self.failover,
            meta: change_of(self.meta.as_ref(), &mut instance.meta),
            unipile: change_of(self.unipile.as_ref(), &mut instance.unipile),
            twilio: change_of(self.twilio.as_ref(), &mut instance.twilio),
        };
        faults.extend(change.apply(instance).err().map(|it| Fault::new(it.field, it.why)));
    }
}

fn blank(id: InstanceId, vendor: &VendorId, number: PhoneNumber, now: Millis) -> WabaInstance {
    WabaInstance {
        id,
        vendor_id: vendor.clone(),
        phone_number: number,
        provider: ProviderKind::Wasender,
        failover: Routes::default(),
        status: Connection::Pending,
        schemes: SignatureSchemes::default(),
        account_protection: false,
        wasender: WasenderAccount::default(),
        meta: None,
        unipile: None,
        twilio: None,
        created_at: now,
        updated_at: now,
        last_sync: None,
    }
}

fn change_of<D: Account + Clone>(
    new: Option<&Option<D>>,
    known: &mut Option<Box<D::Of>>,
) -> Option<Option<D::Change>> {
    new.map(|it| it.clone().map(|it| it.change(known.as_deref_mut())))
}

fn time(text: Option<&String>, name: &str, faults: &mut Vec<Fault>) -> Option<Millis> {
    let at = from_iso(text?);
    if at.is_none() {
        faults.push(Fault::new(name, "a time is like 2026-01-31T18:00:00.000Z"));
    }
    at
}

/// Which fields of the `n`th instance cannot be read.
pub(super) fn faults_of(n: usize, instance: &Value) -> Vec<Fault> {
    let place = format!("instances[{n}]");
    let Value::Object(fields) = instance else {
        return vec![Fault::new(&place, "an instance is an object")];
    };
    if !fields.contains_key("id") {
        return vec![Fault::new(&place, "missing field `id`")];
    }
    let one = |(name, value): (&String, &Value)| match (name.as_str(), value) {
        ("meta", Value::Object(it)) => of_account::<MetaExchange>(name, it),
        ("unipile", Value::Object(it)) => of_account::<UnipileExchange>(name, it),
        ("twilio", Value::Object(it)) => of_account::<TwilioExchange>(name, it),
        _ => {
            let id = ("id".to_owned(), Value::from("x"));
            let one = Map::from_iter([id, (name.clone(), value.clone())]);
            fault_of::<InstanceExchange>(name, one).into_iter().collect()
        }
    };
    fields.iter().flat_map(one).map(|it| it.of(&place)).collect()
}

fn of_account<T: for<'de> Deserialize<'de>>(
    place: &str,
    fields: &Map<String, Value>,
) -> Vec<Fault> {
    let one = |(name, value): (&String, &Value)| {
        fault_of::<T>(name, Map::from_iter([(name.clone(), value.clone())]))
    };
    fields.iter().filter_map(one).map(|it| it.of(place)).collect()
}
