//! A WABA instance written into its document: what differs and nothing else.

use firestore::gcloud_sdk::google::firestore::v1::{Document, Value, Write};

use super::{
    Fault, HEIR, Kept, Older, SECRETS, SESSION_KEY, accounts, contract_secret, is_same,
    kept_secrets, number, open_ours, place, secret, session_key, webhook_secrets,
};
use crate::{
    domain::{
        phone::PhoneNumber,
        secret::{ExposeSecret, SecretString},
        waba::{WabaInstance, WebhookSecret},
    },
    store::firestore::value::{
        Edit, Fields, created_at, flag, get_flag, get_integer, get_text, get_time, integer, ours,
        text, time, time_like, updated_at,
    },
    vault::Vault,
};

/// Where an instance is kept.
pub(in crate::store::firestore) struct Place<'a> {
    /// The document's name.
    pub(in crate::store::firestore) name: String,
    /// What is there.
    pub(in crate::store::firestore) before: Option<&'a Document>,
    /// Whether it has what only its vendor's configuration has, where that is to be said here.
    pub(in crate::store::firestore) is_heir: Option<bool>,
}

/// The write that makes of what is there what the instance is now; `None` when it is that.
pub(in crate::store::firestore) fn write(
    vault: &Vault,
    at: Place<'_>,
    older: &Older,
    it: &WabaInstance,
    business_name: Option<&str>,
) -> Result<Option<Write>, Fault> {
    let Place { name, before, is_heir } = at;
    let blank = Document { name: name.clone(), ..Document::default() };
    let was = before.unwrap_or(&blank);
    let mut edit = Edit::of(name, before.is_none());
    if let Some(it) = is_heir {
        edit.set_ours(HEIR, Some(flag(it)));
    }
    let mut keep = |field: &str, is_same: bool, new: Value| {
        if !is_same {
            edit.set(field, new);
        }
    };
    let fields = &was.fields;
    let has = |field: &str| get_text(fields, field);
    let vendor = it.vendor_id.as_str();
    keep("vendorId", has("vendorId").as_deref() == Some(vendor), text(vendor));
    keep("phoneNumber", number(was).as_ref() == Some(&it.phone_number), {
        text(it.phone_number.expose())
    });
    let is_same = has("provider").is_some() && accounts::provider(was) == Some(it.provider);
    keep("provider", is_same, text(it.provider.as_str()));
    if before.is_none() {
        keep("status", false, text(it.status.as_str()));
        if let Some(at) = it.last_sync {
            keep("lastSync", false, time(at));
        }
        if let Some(name) = business_name {
            keep("businessName", false, text(name));
        }
    }
    let bare = Older::default();
    // Under another provider the configuration may lend nothing: what it lent is the instance's own
    // from now on.
    let lent = if accounts::provider(was) == Some(it.provider) { older } else { &bare };
    set_session(&mut edit, was, it);
    set_session_key(vault, &mut edit, was, [older, lent], it)?;
    set_webhook_secrets(vault, &mut edit, was, [older, lent], it)?;
    set_ours(vault, &mut edit, was, it)?;
    accounts::set(vault, &mut edit, was, lent, it)?;
    let at = |field| fields.get(field);
    if before.is_none_or(|before| created_at(before) != it.created_at) {
        edit.set("createdAt", time_like(at("createdAt"), it.created_at));
    }
    if !edit.is_empty() || before.is_some_and(|before| updated_at(before) != it.updated_at) {
        edit.set("updatedAt", time_like(at("updatedAt"), it.updated_at));
    }
    Ok(edit.write())
}

/// The write that says of an instance whether it has what only its vendor's configuration has.
pub(in crate::store::firestore) fn heir_write(name: String, is_heir: bool) -> Option<Write> {
    let mut edit = Edit::of(name, false);
    edit.set_ours(HEIR, Some(flag(is_heir)));
    edit.write()
}

/// The write of another number into a document that a newer one hides, and goes on hiding.
pub(in crate::store::firestore) fn renumber(
    document: &Document,
    phone_number: &PhoneNumber,
) -> Option<Write> {
    let mut edit = Edit::of(document.name.clone(), false);
    edit.set("phoneNumber", text(phone_number.expose()));
    keep_age(&mut edit, document);
    edit.write()
}

/// Of documents with one number the newest counts; without `updatedAt` it is as old as its last
/// write, which an edit that changes nothing of it must not make.
pub(in crate::store::firestore) fn keep_age(edit: &mut Edit, document: &Document) {
    if get_time(&document.fields, "updatedAt").is_none() {
        edit.set("updatedAt", time(updated_at(document)));
    }
}

fn set_session(edit: &mut Edit, was: &Document, it: &WabaInstance) {
    const FIELD: &str = "wasenderInstanceId";
    let present = get_text(&was.fields, FIELD);
    match &it.wasender.instance_id {
        id if *id == present => {}
        None => edit.remove(FIELD),
        Some(id) => {
            // A number stays one.
            let is_number = present.is_some() && get_integer(&was.fields, FIELD).is_some();
            let as_number = id.parse().ok().filter(|_| is_number).map(integer);
            edit.set(FIELD, as_number.unwrap_or_else(|| text(id.clone())));
        }
    }
}

fn set_session_key(
    vault: &Vault,
    edit: &mut Edit,
    was: &Document,
    older: [&Older; 2],
    it: &WabaInstance,
) -> Result<(), Fault> {
    let new = it.wasender.session_key.as_ref();
    let [before, after] = older.map(|it| session_key(vault, was, it));
    if is_same(before?.as_deref(), new) && is_same(after?.as_deref(), new) {
        return Ok(());
    }
    match new {
        Some(new) => {
            let sealed = secret::seal(vault, &place(was, SESSION_KEY), new.expose_secret())?;
            edit.set(SESSION_KEY, text(sealed));
        }
        None => {
            edit.remove(SESSION_KEY);
            edit.set_ours("noSessionKey", Some(flag(true)));
        }
    }
    Ok(())
}

fn set_webhook_secrets(
    vault: &Vault,
    edit: &mut Edit,
    was: &Document,
    older: [&Older; 2],
    it: &WabaInstance,
) -> Result<(), Fault> {
    let new = &it.wasender.webhook_secrets;
    let [before, after] = older.map(|it| webhook_secrets(vault, was, it));
    if is_same_list(&before?, new) && is_same_list(&after?, new) {
        return Ok(());
    }
    let lent = older[1];
    // The one for good is in the contract's field, where the predecessor looks for it.
    let first = new.iter().position(|it| it.until.is_none());
    let kept = |(n, it): (usize, &WebhookSecret)| Kept {
        secret: (Some(n) != first).then(|| it.secret.expose_secret().to_owned()),
        until: it.until,
        is_sessions: it.is_sessions,
    };
    let list: Vec<Kept> = new.iter().enumerate().map(kept).collect();
    let spelled: Vec<&str> =
        SECRETS.into_iter().filter(|it| was.fields.contains_key(*it)).collect();
    match first.map(|it| &new[it].secret) {
        None => spelled.iter().for_each(|it| edit.remove(it)),
        Some(secret)
            if is_same(contract_secret(vault, was, Some(lent))?.as_deref(), Some(secret)) => {}
        Some(secret) => {
            let fields = if spelled.is_empty() { &SECRETS[..1] } else { &spelled[..] };
            for field in fields {
                let sealed = secret::seal(vault, &place(was, field), secret.expose_secret())?;
                edit.set(field, text(sealed));
            }
        }
    }
    let is_plain = |it: &Kept| it.secret.is_none() && !it.is_sessions;
    // One secret and nothing to say of it needs no list.
    let list = if matches!(&list[..], [one] if is_plain(one)) { None } else { Some(list) };
    match list {
        None if kept_secrets(vault, was)?.is_some() => edit.set_ours("webhookSecrets", None),
        None => {}
        Some(list) => {
            let list = serde_json::to_string(&list).map_err(|_| Fault::Sealed)?;
            let sealed = secret::seal(vault, &place(was, "webhookSecrets"), &list)?;
            edit.set_ours("webhookSecrets", Some(text(sealed)));
        }
    }
    Ok(())
}

fn set_ours(
    vault: &Vault,
    edit: &mut Edit,
    was: &Document,
    it: &WabaInstance,
) -> Result<(), Fault> {
    let empty = Fields::new();
    let known = ours(was).unwrap_or(&empty);
    for (field, default, new) in [
        ("acceptsHmac", true, it.schemes.hmac),
        ("acceptsSecret", true, it.schemes.secret),
        ("accountProtection", false, it.account_protection),
    ] {
        if get_flag(known, field).unwrap_or(default) != new {
            edit.set_ours(field, Some(flag(new)));
        }
    }
    let (token, new) = (open_ours(vault, was, "wasenderToken")?, it.wasender.token.as_ref());
    if !is_same(token.as_deref(), new) {
        let seal = |it: &SecretString| {
            secret::seal(vault, &place(was, "wasenderToken"), it.expose_secret()).map(text)
        };
        edit.set_ours("wasenderToken", new.map(seal).transpose()?);
    }
    Ok(())
}

fn is_same_list(left: &[WebhookSecret], right: &[WebhookSecret]) -> bool {
    let is_same = |(left, right): (&WebhookSecret, &WebhookSecret)| {
        (left.until, left.is_sessions) == (right.until, right.is_sessions)
            && is_same(Some(left.secret.expose_secret()), Some(&right.secret))
    };
    left.len() == right.len() && left.iter().zip(right).all(is_same)
}
