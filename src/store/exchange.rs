//! Vendors as they are handed from one gateway to another: one JSON document, exact both ways.
//!
//! A field that is absent stays as it is, or at its default; null takes away what may be missing.
//! Secrets are in it only when they were asked for.

mod accounts;
mod instance;
mod responders;

use secrecy::ExposeSecret;
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::{Map, Value, value::RawValue};

pub use self::instance::InstanceExchange;
use self::responders::{HoursExchange, ResponderExchange, TemplateExchange};
use crate::domain::{
    clock::{Millis, from_iso, iso},
    id::VendorId,
    secret::SecretString,
    vendor::{OnUnknown, Vendor, VendorStatus},
    waba::WabaInstance,
};

/// The version of the document that is written.
pub const VERSION: u32 = 1;

/// The document, its vendors unread: what is wrong with one shall not hide the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document<'a> {
    /// 1.
    pub version: u32,
    /// Vendors with their instances.
    #[serde(borrow)]
    pub vendors: Vec<&'a RawValue>,
    /// Whom an export had to leave out; who imports it leaves them as they are.
    #[serde(default)]
    pub unreadable: IgnoredAny,
}

/// What is wrong with a vendor of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which field; `instances[2].phoneNumber` for one of an instance's.
    pub field: String,
    /// Why. It quotes no value: it may be a secret.
    pub why: String,
}

impl Fault {
    /// A fault of a field.
    #[must_use]
    pub fn new(field: &str, why: impl Into<String>) -> Self {
        Self { field: field.to_owned(), why: why.into() }
    }

    /// The same, of what is at this place.
    #[must_use]
    pub fn of(self, place: &str) -> Self {
        let Self { field, why } = self;
        let field = if field.is_empty() { place.to_owned() } else { format!("{place}.{field}") };
        Self { field, why }
    }
}

/// A vendor of a document.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VendorExchange {
    /// Its id.
    pub vendor_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_reply_enabled: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    welcome_message: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    apology: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silence_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    responders: Option<Vec<ResponderExchange>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    signing_secret: Option<SecretString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_unknown: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_deadline_ms: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    max_answer_age_ms: Option<Option<Millis>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    intent_ttl_ms: Option<Option<Millis>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark_as_read: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    typing: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    business_hours: Option<Option<HoursExchange>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    forward_url: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    fallback_template: Option<Option<TemplateExchange>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    /// Its instances; those of the vendor that are not named stay.
    #[serde(default)]
    pub instances: Vec<InstanceExchange>,
}

impl VendorExchange {
    /// A vendor with its instances, with its secrets or without.
    #[must_use]
    pub fn of(vendor: &Vendor, instances: &[WabaInstance], with_secrets: bool) -> Self {
        // Taken apart, so that a field that is added is not forgotten here.
        let Vendor {
            id,
            business_name,
            status,
            auto_reply,
            welcome_message,
            apology,
            silence,
            responders,
            signing_secret,
            on_unknown,
            unknown_deadline,
            max_answer_age,
            intent_ttl,
            mark_as_read,
            typing,
            hours,
            forward_url,
            fallback_template,
            paused,
            created_at,
            updated_at,
        } = vendor;
        let responder = |it| ResponderExchange::of(it, with_secrets);
        let instance = |it| InstanceExchange::of(it, with_secrets);
        Self {
            vendor_id: id.to_string(),
            business_name: Some(business_name.clone()),
            status: Some(status.as_str().to_owned()),
            auto_reply_enabled: Some(*auto_reply),
            welcome_message: Some(welcome_message.clone()),
            apology: Some(apology.clone()),
            silence_ms: Some(*silence),
            responders: Some(responders.iter().map(responder).collect()),
            signing_secret: with_secrets.then(|| signing_secret.clone()),
            on_unknown: Some(on_unknown.as_str().to_owned()),
            unknown_deadline_ms: Some(*unknown_deadline),
            max_answer_age_ms: Some(*max_answer_age),
            intent_ttl_ms: Some(*intent_ttl),
            mark_as_read: Some(*mark_as_read),
            typing: Some(*typing),
            business_hours: Some(hours.as_ref().map(|it| HoursExchange::of(it, with_secrets))),
            forward_url: Some(forward_url.clone()),
            fallback_template: Some(fallback_template.as_deref().map(TemplateExchange::of)),
            paused: Some(*paused),
            created_at: Some(iso(*created_at)),
            updated_at: Some(iso(*updated_at)),
            instances: instances.iter().map(instance).collect(),
        }
    }

    /// Reads one vendor of a document.
    pub fn read(text: &RawValue) -> Result<Self, Vec<Fault>> {
        serde_json::from_str(text.get()).map_err(|error| faults_of(text.get(), &error))
    }

    /// Puts what the document says onto a vendor, the one known or a new one.
    pub fn apply(&self, vendor: &mut Vendor, now: Millis) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        let known = vendor.responders.clone();
        set(&mut vendor.business_name, self.business_name.clone());
        match self.status.as_deref().map(VendorStatus::parse) {
            Some(None) => {
                faults.push(Fault::new("status", "status is active, inactive or suspended"));
            }
            status => set(&mut vendor.status, status.flatten()),
        }
        set(&mut vendor.auto_reply, self.auto_reply_enabled);
        set(&mut vendor.welcome_message, self.welcome_message.clone());
        set(&mut vendor.apology, self.apology.clone());
        set(&mut vendor.silence, self.silence_ms);
        if let Some(list) = &self.responders {
            let read = responders::read_all(list, &known, "responders");
            set(&mut vendor.responders, keep(read, &mut faults));
        }
        set(&mut vendor.signing_secret, self.signing_secret.clone());
        match self.on_unknown.as_deref() {
            Some("give_up") => vendor.on_unknown = OnUnknown::GiveUp,
            Some("retry") => vendor.on_unknown = OnUnknown::Retry,
            Some(_) => faults.push(Fault::new("onUnknown", "onUnknown is give_up or retry")),
            None => {}
        }
        set(&mut vendor.unknown_deadline, self.unknown_deadline_ms);
        set(&mut vendor.max_answer_age, self.max_answer_age_ms);
        set(&mut vendor.intent_ttl, self.intent_ttl_ms);
        set(&mut vendor.mark_as_read, self.mark_as_read);
        set(&mut vendor.typing, self.typing);
        if let Some(template) = &self.fallback_template {
            vendor.fallback_template = template.as_ref().map(|it| Box::new(it.read()));
        }
        if let Some(hours) = &self.business_hours {
            let known = vendor.hours.as_ref().map_or(&[][..], |it| it.out_of_hours.as_slice());
            let read = hours.as_ref().map(|it| it.read(known)).transpose();
            set(&mut vendor.hours, keep(read, &mut faults));
        }
        set(&mut vendor.forward_url, self.forward_url.clone());
        set(&mut vendor.paused, self.paused);
        let times = (&self.created_at, &self.updated_at);
        faults.extend(stamp(times, (&mut vendor.created_at, &mut vendor.updated_at), now));
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Whose it is.
    pub fn id(&self) -> Result<VendorId, Fault> {
        VendorId::parse(&self.vendor_id).map_err(|it| Fault::new("vendorId", it.to_string()))
    }
}

/// Which fields cannot be read. Serde tells the first fault, and may quote a value: the fields are
/// tried one by one instead.
fn faults_of(text: &str, error: &serde_json::Error) -> Vec<Fault> {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        return vec![Fault::new("", "a vendor is an object")];
    };
    let mut faults = Vec::new();
    let minimum = [("vendorId".to_owned(), Value::from("x"))];
    for (name, value) in fields {
        let is_list = name == "instances" && value.is_array();
        if is_list {
            let list = value.as_array().into_iter().flatten().enumerate();
            faults.extend(list.flat_map(|(n, it)| instance::faults_of(n, it)));
            continue;
        }
        let mut one: Map<String, Value> = minimum.clone().into_iter().collect();
        one.insert(name.clone(), value);
        faults.extend(fault_of::<VendorExchange>(&name, one));
    }
    if faults.is_empty() {
        // Nothing but what is missing can be wrong then, and its name is no secret.
        let why = error.to_string();
        let why = why.split(" at line").next().unwrap_or_default().to_owned();
        let is_harmless = why.starts_with("missing field") || why.starts_with("duplicate field");
        let why = if is_harmless { why } else { "the vendor cannot be read".to_owned() };
        faults.push(Fault::new("", why));
    }
    faults
}

/// What is wrong with a field, tried in an object that is fine without it.
fn fault_of<T: for<'de> Deserialize<'de>>(name: &str, object: Map<String, Value>) -> Option<Fault> {
    let error = serde_json::from_value::<T>(Value::Object(object)).err()?;
    let why = if error.to_string().starts_with("unknown field") {
        "there is no such field"
    } else {
        "it has the wrong type, or a field of it is unknown or missing"
    };
    // What is no field of ours may be anything.
    let name: String = name.chars().take(64).filter(|it| !it.is_control()).collect();
    Some(Fault::new(&name, why))
}

/// When it was made and changed: as the document says, else as known, changed now.
fn stamp(
    (created, updated): (&Option<String>, &Option<String>),
    (created_at, updated_at): (&mut Millis, &mut Millis),
    now: Millis,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut time = |text: &Option<String>, name| {
        let text = text.as_ref()?;
        let at = from_iso(text);
        if at.is_none() {
            faults.push(Fault::new(name, "a time is like 2026-01-31T18:00:00.000Z"));
        }
        at
    };
    set(created_at, time(created, "createdAt"));
    *updated_at = time(updated, "updatedAt").unwrap_or(now);
    faults
}

fn keep<T>(read: Result<T, Vec<Fault>>, faults: &mut Vec<Fault>) -> Option<T> {
    read.map_err(|found| faults.extend(found)).ok()
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

/// Tells a field that is null from one that is absent.
fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// A secret that was asked for.
#[expect(clippy::ref_option, reason = "serde passes references")]
fn shown<S: serde::Serializer>(it: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
    it.as_ref().map(ExposeSecret::expose_secret).serialize(to)
}

/// The same, where it may also be none.
#[expect(clippy::ref_option, reason = "serde passes references")]
fn shown_or_null<S: serde::Serializer>(
    it: &Option<Option<SecretString>>,
    to: S,
) -> Result<S::Ok, S::Error> {
    it.as_ref().map(|it| it.as_ref().map(ExposeSecret::expose_secret)).serialize(to)
}
