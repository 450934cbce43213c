//! A document of `vendor_configs` as a vendor, and back (`docs/CONTRACT.md` §1).

use base64::{Engine, engine::general_purpose::STANDARD};
use firestore::gcloud_sdk::google::firestore::v1::{Document, Write};
use serde_json::{Map, Value as Json};

use super::{
    Fault, secret,
    value::{
        Edit, Fields, created_at, flag, from_json, get_flag, get_text, get_words, id_of, ours,
        text, time_like, to_json, updated_at,
    },
};
use crate::{
    domain::{
        id::VendorId,
        secret::{ExposeSecret, SecretString},
        vendor::{Vendor, VendorStatus},
        waba::WabaInstance,
    },
    store::document::VendorDocument,
    vault::Vault,
};

/// The collection, and its older spelling, which is read and never written.
pub(super) const CONFIGS: &str = "vendor_configs";
pub(super) const OLDER_CONFIGS: &str = "vendorConfigs";
/// Of the map of ours, what may hold a secret.
const SEALED: [&str; 4] = ["responders", "hours", "signingSecret", "forwardUrl"];
/// What has a field of the contract instead.
const CONTRACT: [&str; 6] =
    ["businessName", "status", "autoReplyEnabled", "welcomeMessage", "createdAt", "updatedAt"];

/// Whose a document is: its field says so, else its id.
pub(super) fn vendor_of(document: &Document) -> Option<VendorId> {
    let told = get_text(&document.fields, "vendorId");
    VendorId::parse(told.as_deref().unwrap_or_else(|| id_of(&document.name))).ok()
}

fn place(document: &Document, field: &str) -> String {
    format!("{CONFIGS}/{}/{field}", id_of(&document.name))
}

/// What calls of a vendor's responders are signed with, until it gets a secret of its own: the
/// same on every node, and nobody's guess.
fn derived_secret(vault: &Vault, id: &VendorId) -> SecretString {
    let half = |n: &[u8]| vault.token(&[b"signing secret", n, id.as_str().as_bytes()]);
    let bytes = [half(b"1"), half(b"2")].concat();
    format!("whsec_{}", STANDARD.encode(bytes)).into()
}

/// Reads a document; `paused` is kept apart.
pub(super) fn read(
    vault: &Vault,
    id: &VendorId,
    document: &Document,
    paused: bool,
) -> Result<Vendor, Fault> {
    let bad =
        |what| Fault::Unreadable { document: format!("{CONFIGS}/{}", id_of(&document.name)), what };
    let fields = &document.fields;
    let mut all = known(vault, document)?;
    let name = get_words(fields, "businessName").unwrap_or_else(|| id.to_string());
    all.insert("businessName".to_owned(), name.into());
    all.insert("status".to_owned(), status(fields).as_str().into());
    all.insert("autoReplyEnabled".to_owned(), auto_reply(fields).into());
    all.insert("welcomeMessage".to_owned(), get_words(fields, "welcomeMessage").into());
    all.insert("createdAt".to_owned(), created_at(document).into());
    all.insert("updatedAt".to_owned(), updated_at(document).into());
    let read: VendorDocument =
        serde_json::from_value(Json::Object(all)).map_err(|_| bad("gateway"))?;
    let mut vendor = read.vendor(id.clone(), paused);
    if vendor.signing_secret.expose_secret().is_empty() {
        vendor.signing_secret = derived_secret(vault, id);
    }
    Ok(vendor)
}

/// A vendor that has numbers and no configuration: its messages are recorded, never answered.
pub(super) fn without_config(vault: &Vault, id: &VendorId, paused: bool) -> Vendor {
    let mut vendor = Vendor::new(id.clone(), id.to_string(), derived_secret(vault, id), 0);
    (vendor.auto_reply, vendor.paused) = (false, paused);
    vendor
}

fn status(fields: &Fields) -> VendorStatus {
    match get_text(fields, "status") {
        None => VendorStatus::Active,
        // An unknown word must not start answering anybody's customers.
        Some(it) => VendorStatus::parse(&it.to_lowercase()).unwrap_or(VendorStatus::Suspended),
    }
}

fn auto_reply(fields: &Fields) -> bool {
    get_flag(fields, "autoReplyEnabled").unwrap_or(!fields.contains_key("autoReplyEnabled"))
}

/// What is in the map of ours, opened.
fn known(vault: &Vault, document: &Document) -> Result<Map<String, Json>, Fault> {
    let mut all = Map::new();
    for (field, stored) in ours(document).into_iter().flatten() {
        let stored = match stored {
            it if SEALED.contains(&field.as_str()) => {
                let Json::String(sealed) = to_json(it) else { continue };
                let plain = secret::open(vault, &place(document, field), sealed)?;
                serde_json::from_str(&plain).map_err(|_| Fault::Sealed)?
            }
            it => to_json(it),
        };
        all.insert(field.clone(), stored);
    }
    Ok(all)
}

/// The write that makes of what is there what the vendor is now; `None` when it is that. An
/// instance is named where none is.
pub(super) fn write(
    vault: &Vault,
    name: String,
    before: Option<&Document>,
    vendor: &Vendor,
    named: Option<&Named>,
) -> Result<Option<Write>, Fault> {
    let blank = Document { name: name.clone(), ..Document::default() };
    let was = before.unwrap_or(&blank);
    let fields = &was.fields;
    let mut edit = Edit::of(name, before.is_none());
    if let Some(named) = named {
        self::name(&mut edit, fields, named);
    }
    let mut keep = |field: &str, is_same: bool, new| {
        if !is_same {
            edit.set(field, new);
        }
    };
    let (id, new) = (vendor.id.as_str(), vendor.status);
    let has = |field: &str| get_text(fields, field);
    keep("vendorId", has("vendorId").as_deref() == Some(id), text(id));
    let business_name = &vendor.business_name;
    let is_named = get_words(fields, "businessName").as_ref() == Some(business_name);
    keep("businessName", is_named, text(business_name.clone()));
    keep("status", before.is_some() && status(fields) == new, text(new.as_str()));
    let is_same = before.is_some() && auto_reply(fields) == vendor.auto_reply;
    keep("autoReplyEnabled", is_same, flag(vendor.auto_reply));
    match &vendor.welcome_message {
        it if *it == get_words(fields, "welcomeMessage") => {}
        Some(it) => edit.set("welcomeMessage", text(it.clone())),
        None => edit.remove("welcomeMessage"),
    }
    set_ours(vault, &mut edit, was, vendor)?;
    if before.is_none_or(|before| created_at(before) != vendor.created_at) {
        edit.set("createdAt", time_like(fields.get("createdAt"), vendor.created_at));
    }
    // One that is not named by its vendor's id counts because it is the newest.
    let present = before.map(updated_at);
    let least = present.filter(|_| id_of(&was.name) != vendor.id.as_str());
    let updated_at = vendor.updated_at.max(least.unwrap_or_default());
    if !edit.is_empty() || present.is_some_and(|it| it != updated_at) {
        edit.set("updatedAt", time_like(fields.get("updatedAt"), updated_at));
    }
    Ok(edit.write())
}

/// The instance that a configuration names.
pub(super) struct Named {
    id: String,
    provider: Option<String>,
}

impl Named {
    /// The one that this configuration names.
    pub(super) fn of_config(config: &Document) -> Option<Self> {
        let id = get_text(&config.fields, "wabaInstanceId")?;
        Some(Self { id, provider: get_text(&config.fields, "wabaProvider") })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// One that is written now.
    pub(super) fn of(it: &WabaInstance) -> Self {
        Self { id: it.id.to_string(), provider: Some(it.provider.as_str().to_owned()) }
    }

    /// One that is there.
    pub(super) fn of_document(it: &Document) -> Self {
        Self { id: id_of(&it.name).to_owned(), provider: get_text(&it.fields, "provider") }
    }
}

/// The write that names an instance in a configuration, where none is named.
pub(super) fn name_write(before: &Document, named: &Named) -> Option<Write> {
    let mut edit = Edit::of(before.name.clone(), false);
    name(&mut edit, &before.fields, named);
    edit.write()
}

fn name(edit: &mut Edit, fields: &Fields, named: &Named) {
    if get_text(fields, "wabaInstanceId").is_none() {
        edit.set("wabaInstanceId", text(named.id.as_str()));
        if let Some(provider) = &named.provider {
            edit.set("wabaProvider", text(provider.as_str()));
        }
    }
}

fn set_ours(vault: &Vault, edit: &mut Edit, was: &Document, vendor: &Vendor) -> Result<(), Fault> {
    let object = |it: &VendorDocument| match serde_json::to_value(it) {
        Ok(Json::Object(it)) => Ok(it),
        _ => Err(Fault::Sealed),
    };
    let mut new = object(&VendorDocument::of(vendor))?;
    let mut defaults = object(&VendorDocument::default())?;
    let derived = derived_secret(vault, &vendor.id);
    defaults.insert("signingSecret".to_owned(), derived.expose_secret().into());
    new.retain(|field, _| !CONTRACT.contains(&field.as_str()));
    let before = known(vault, was)?;
    for (field, new) in new {
        let default = defaults.get(&field);
        if before.get(&field).or(default) == Some(&new) {
            continue;
        }
        let stored = if Some(&new) == default {
            None
        } else if SEALED.contains(&field.as_str()) {
            Some(text(secret::seal(vault, &place(was, &field), &new.to_string())?))
        } else {
            Some(from_json(&new))
        };
        edit.set_ours(&field, stored);
    }
    Ok(())
}
