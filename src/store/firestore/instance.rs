//! A document of `waba_instances` as a WABA instance, and back (`docs/CONTRACT.md` §1).

mod accounts;
mod write;

use firestore::gcloud_sdk::google::firestore::v1::Document;
use serde::{Deserialize, Serialize};

pub(super) use self::{
    accounts::provider,
    write::{Place, heir_write, keep_age, renumber, write},
};
use super::{
    Fault, secret,
    value::{
        Fields, collection_of, created_at, get_flag, get_text, get_time, id_of, ours, updated_at,
    },
};
use crate::{
    domain::{
        clock::Millis,
        event::Connection,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        secret::{ExposeSecret, SecretString, same},
        waba::{
            InstanceKey, ProviderKind, SignatureSchemes, WabaInstance, WasenderAccount,
            WebhookSecret,
        },
    },
    vault::Vault,
};

/// The collection.
pub(super) const INSTANCES: &str = "waba_instances";
/// Both spellings of the webhook secret, the one that is read first in front.
const SECRETS: [&str; 2] = ["wasenderWebhookSecret", "webhookSecret"];
const SESSION_KEY: &str = "wasenderApiKey";
/// In the map of ours: [`is_heir`].
const HEIR: &str = "hasConfigs";
/// Where a configuration has a number at Meta.
pub(super) const LENT_META_ID: &str = "whatsappPhoneNumberId";

/// What the vendor's configuration has of an instance that lacks its own.
#[derive(Default)]
pub(super) struct Older {
    webhook_secret: Option<String>,
    session_key: Option<String>,
    meta_id: Option<String>,
    meta_token: Option<String>,
    meta_verify_token: Option<String>,
}

impl Older {
    /// Of these documents the first that has it.
    pub(super) fn of<'a>(
        vault: &Vault,
        configs: impl Iterator<Item = &'a Document>,
    ) -> Result<Self, Fault> {
        let mut older = Self::default();
        for config in configs {
            let get = |field| open(vault, config, field);
            if older.webhook_secret.is_none() {
                older.webhook_secret = get(SECRETS[0])?;
            }
            for (field, value) in [
                ("wasenderAccessToken", &mut older.session_key),
                ("whatsappAccessToken", &mut older.meta_token),
                ("whatsappVerifyToken", &mut older.meta_verify_token),
            ] {
                if value.is_none() {
                    *value = get(field)?;
                }
            }
            if older.meta_id.is_none() {
                older.meta_id = get_text(&config.fields, LENT_META_ID);
            }
        }
        Ok(older)
    }
}

/// A webhook secret beside or in place of the one of the contract's field.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    /// `None` is the contract's field.
    secret: Option<String>,
    until: Option<Millis>,
    #[serde(default)]
    is_sessions: bool,
}

/// Where a secret of a document belongs: moved elsewhere it stays shut.
fn place(document: &Document, field: &str) -> String {
    format!("{}/{}/{field}", collection_of(&document.name), id_of(&document.name))
}

fn open(vault: &Vault, document: &Document, field: &str) -> Result<Option<String>, Fault> {
    let stored = get_text(&document.fields, field);
    stored.map(|it| secret::open(vault, &place(document, field), it)).transpose()
}

fn open_ours(vault: &Vault, document: &Document, field: &str) -> Result<Option<String>, Fault> {
    let stored = ours(document).and_then(|it| get_text(it, field));
    stored.map(|it| secret::open(vault, &place(document, field), it)).transpose()
}

/// Whose a document is: its field says so, else its id.
pub(super) fn vendor_of(document: &Document) -> Option<VendorId> {
    let id = id_of(&document.name);
    match get_text(&document.fields, "vendorId") {
        Some(it) => VendorId::parse(&it).ok(),
        None => VendorId::parse(id.strip_prefix("waba_").unwrap_or(id)).ok(),
    }
}

/// Whether it is carried by a provider that this version does not know.
pub(super) fn is_foreign(document: &Document) -> bool {
    provider(document).is_none()
}

/// Whether the instance would need what only the vendor's configuration has.
pub(super) fn lacks_secrets(document: &Document) -> bool {
    let has = |field: &&str| get_text(&document.fields, field).is_some();
    match provider(document) {
        // A linked device may be its other way.
        Some(ProviderKind::Meta) => {
            let all = [accounts::META_ID, accounts::META_TOKEN, SESSION_KEY];
            !all.iter().all(has)
                || !SECRETS.iter().any(has)
                || !accounts::has_verify_token(document)
        }
        Some(ProviderKind::Unipile | ProviderKind::Twilio) => false,
        Some(ProviderKind::Wasender) | None => !SECRETS.iter().any(has) || !has(&SESSION_KEY),
    }
}

/// Whether a webhook could be proven or a message sent with what the document itself has.
fn is_usable(document: &Document) -> bool {
    let fields = SECRETS.iter().chain(&[SESSION_KEY, accounts::META_ID, accounts::UNIPILE_ID]);
    fields.into_iter().any(|it| get_text(&document.fields, it).is_some())
}

pub(super) fn number(document: &Document) -> Option<PhoneNumber> {
    let typed = get_text(&document.fields, "phoneNumber")?;
    let plain: String = typed.chars().filter(|it| !" -./()\u{a0}\u{202f}".contains(*it)).collect();
    let plain = plain.strip_prefix("00").unwrap_or(&plain);
    PhoneNumber::from_wire(plain).ok()
}

/// What an instance is found by, read from its document alone.
pub(super) fn keys(document: &Document) -> Vec<InstanceKey> {
    let phone = number(document).map(|it| InstanceKey::Phone(it.alias()));
    let session = get_text(&document.fields, "wasenderInstanceId").map(InstanceKey::Wasender);
    let mut keys: Vec<InstanceKey> = phone.into_iter().chain(session).collect();
    for key in accounts::keys(document) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// What it is found by and has of its vendor's configurations, the first that has it.
pub(super) fn lent_key(document: &Document, configs: &[Document]) -> Option<InstanceKey> {
    let mut ids = configs.iter().filter_map(|it| get_text(&it.fields, LENT_META_ID));
    ids.next().filter(|_| may_be_lent(document)).map(InstanceKey::Meta)
}

/// Whether there is a number in it, and a provider that this version knows.
pub(super) fn is_served(document: &Document) -> bool {
    !is_foreign(document) && number(document).is_some()
}

/// Whether it has what only its vendor's configuration has, where that names none and it was said
/// here.
pub(super) fn is_heir(document: &Document) -> Option<bool> {
    ours(document).and_then(|it| get_flag(it, HEIR))
}

/// Whether its number at Meta is the one of its vendor's configuration, where that has one.
pub(super) fn may_be_lent(document: &Document) -> bool {
    let has_own = get_text(&document.fields, accounts::META_ID).is_some();
    provider(document) == Some(ProviderKind::Meta) && !has_own
}

/// Reads a document. `None`: there is nothing to serve in it.
pub(super) fn read(
    vault: &Vault,
    document: &Document,
    older: &Older,
) -> Result<Option<WabaInstance>, Fault> {
    let bad = |what| Fault::Unreadable {
        document: format!("{INSTANCES}/{}", id_of(&document.name)),
        what,
    };
    let Some(provider) = provider(document) else { return Ok(None) };
    let Some(phone_number) = number(document) else {
        return if is_usable(document) { Err(bad("phoneNumber")) } else { Ok(None) };
    };
    let fields = &document.fields;
    let empty = Fields::new();
    let known = ours(document).unwrap_or(&empty);
    let schemes = SignatureSchemes {
        hmac: get_flag(known, "acceptsHmac").unwrap_or(true),
        secret: get_flag(known, "acceptsSecret").unwrap_or(true),
    };
    Ok(Some(WabaInstance {
        id: InstanceId::parse(id_of(&document.name)).map_err(|_| bad("its id"))?,
        vendor_id: vendor_of(document).ok_or_else(|| bad("vendorId"))?,
        phone_number,
        provider,
        failover: accounts::failover(document),
        status: connection(get_text(fields, "status").as_deref()),
        schemes,
        account_protection: get_flag(known, "accountProtection").unwrap_or(false),
        wasender: WasenderAccount {
            instance_id: get_text(fields, "wasenderInstanceId"),
            session_key: session_key(vault, document, older)?.map(SecretString::from),
            webhook_secrets: webhook_secrets(vault, document, older)?,
            token: open_ours(vault, document, "wasenderToken")?.map(SecretString::from),
        },
        meta: accounts::meta(vault, document, older)?,
        unipile: accounts::unipile(vault, document)?,
        twilio: accounts::twilio(vault, document)?,
        created_at: created_at(document),
        updated_at: updated_at(document),
        last_sync: get_time(fields, "lastSync"),
    }))
}

/// The session's own key: the document's, else the configuration's, unless it was taken away here.
fn session_key(vault: &Vault, document: &Document, older: &Older) -> Result<Option<String>, Fault> {
    let own = open(vault, document, SESSION_KEY)?;
    let is_taken = ours(document).and_then(|it| get_flag(it, "noSessionKey")).unwrap_or(false);
    Ok(own.or_else(|| older.session_key.clone().filter(|_| !is_taken)))
}

/// The secret of the contract's field, in either spelling, else the configuration's.
fn contract_secret(
    vault: &Vault,
    document: &Document,
    older: Option<&Older>,
) -> Result<Option<String>, Fault> {
    for field in SECRETS {
        if let Some(found) = open(vault, document, field)? {
            return Ok(Some(found));
        }
    }
    Ok(older.and_then(|it| it.webhook_secret.clone()))
}

fn kept_secrets(vault: &Vault, document: &Document) -> Result<Option<Vec<Kept>>, Fault> {
    let kept = open_ours(vault, document, "webhookSecrets")?;
    kept.map(|it| serde_json::from_str(&it).map_err(|_| Fault::Sealed)).transpose()
}

fn webhook_secrets(
    vault: &Vault,
    document: &Document,
    older: &Older,
) -> Result<Vec<WebhookSecret>, Fault> {
    let plain =
        |secret: String| WebhookSecret { secret: secret.into(), until: None, is_sessions: false };
    let Some(kept) = kept_secrets(vault, document)? else {
        return Ok(contract_secret(vault, document, Some(older))?.map(plain).into_iter().collect());
    };
    // One that was taken away must not come back from the configuration.
    let names_contract = kept.iter().any(|it| it.secret.is_none());
    let contract = contract_secret(vault, document, Some(older).filter(|_| names_contract))?;
    let mut secrets = Vec::new();
    // Another program has set one since.
    if !names_contract {
        secrets.extend(contract.clone().map(plain));
    }
    for Kept { secret, until, is_sessions } in kept {
        let Some(secret) = secret.or_else(|| contract.clone()) else { continue };
        secrets.push(WebhookSecret { secret: secret.into(), until, is_sessions });
    }
    Ok(secrets)
}

fn is_same(left: Option<&str>, right: Option<&SecretString>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => same(left.as_bytes(), right.expose_secret().as_bytes()),
        _ => false,
    }
}

/// What other programs call the states of a session.
pub(super) fn connection(word: Option<&str>) -> Connection {
    match word.map(str::to_ascii_lowercase).as_deref() {
        Some("connected" | "active") => Connection::Connected,
        Some("disconnected" | "inactive") => Connection::Disconnected,
        None | Some("pending") => Connection::Pending,
        Some(_) => Connection::Error,
    }
}
