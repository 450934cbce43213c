//! Contacts: who an event is from, under whichever of their names it comes.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Params, params};
use serde::{Deserialize, Serialize};

use super::{bulk, chains, devices, erase, keys, media, state::Cx, windows};
use crate::{
    domain::{
        clock::Millis,
        contact::Address,
        event::{Event, What},
        id::{ContactId, InstanceId},
        message::Text,
    },
    journal::{Change, Pause},
    sqlite::DbError,
    vault::{Token, Vault},
};

/// What is sealed in a contact's row.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Doc {
    pub(super) address: Address,
    #[serde(default)]
    pub(super) name: Option<Text>,
}

pub(super) fn place(instance: &str) -> String {
    format!("contact:{instance}")
}

pub(super) fn open(vault: &Vault, instance: &str, sealed: &[u8]) -> Result<Doc, DbError> {
    let plain = vault.open(&place(instance), sealed).map_err(|_| DbError::Unreadable("contact"))?;
    serde_json::from_slice(&plain).map_err(|_| DbError::Unreadable("contact"))
}

/// The tokens a contact is found by.
pub(super) fn tokens(vault: &Vault, instance: &InstanceId, address: &Address) -> Vec<Token> {
    let token = |it: String| vault.token(&[b"alias", instance.as_str().as_bytes(), it.as_bytes()]);
    address.aliases().into_iter().map(token).collect()
}

/// The contact of whom an event tells.
pub(super) fn of_event(
    cx: &mut Cx<'_>,
    instance: &InstanceId,
    event: &Event,
    tokens: &[Token],
) -> Result<Option<ContactId>, DbError> {
    let name = event.name.as_ref().filter(|_| matches!(event.what, What::Message(_)));
    let Some(former) = &event.former else {
        return resolve(cx, instance, &event.contact, tokens, name);
    };
    // An id for the business is never somebody else's; a number may be.
    let former = Address { bsuid: former.bsuid.clone(), ..Address::default() };
    let former = self::tokens(cx.vault, instance, &former);
    let all: Vec<Token> = tokens.iter().copied().chain(former).collect();
    resolve(cx, instance, &event.contact, &all, name)
}

/// The contact of this address, made when there is none. When it names two contacts that we took
/// for different people, they become one.
pub(super) fn resolve(
    cx: &mut Cx<'_>,
    instance: &InstanceId,
    address: &Address,
    tokens: &[Token],
    name: Option<&Text>,
) -> Result<Option<ContactId>, DbError> {
    if tokens.is_empty() {
        return Ok(None);
    }
    let found: Vec<Option<ContactId>> =
        tokens.iter().map(|it| find(cx, it)).collect::<Result<_, _>>()?;
    let known: BTreeSet<ContactId> = found.iter().flatten().copied().collect();
    let Some(contact) = known.first().copied() else {
        return create(cx, instance, address, tokens, name).map(Some);
    };
    for other in known.into_iter().skip(1) {
        merge(cx, instance, other, contact)?;
    }
    if found.iter().any(Option::is_none) {
        add_aliases(cx, contact, tokens)?;
        update_doc(cx, instance, contact, address, name)?;
    }
    Ok(Some(contact))
}

/// Adds what was learnt of a contact from elsewhere.
pub(super) fn learn(
    cx: &mut Cx<'_>,
    instance: &InstanceId,
    contact: ContactId,
    address: &Address,
) -> Result<(), DbError> {
    // One that was erased meanwhile is not to be known again.
    let Some(known) = doc(cx, instance, contact)? else { return Ok(()) };
    let mut whole = address.clone();
    whole.phone = whole.phone.or(known.address.phone);
    whole.lid = whole.lid.or(known.address.lid);
    whole.bsuid = whole.bsuid.or(known.address.bsuid);
    let tokens = tokens(cx.vault, instance, &whole);
    resolve(cx, instance, &whole, &tokens, None).map(|_| ())
}

/// A customer who tells it has another number or id from now on: it is what is written to. Told
/// again, it may be the former one by then.
pub(super) fn moved(
    cx: &mut Cx<'_>,
    instance: &InstanceId,
    contact: Option<ContactId>,
    event: &Event,
) -> Result<(), DbError> {
    let Some(contact) = contact.filter(|_| event.former.is_some()) else { return Ok(()) };
    let Some(mut known) = doc(cx, instance, contact)? else { return Ok(()) };
    let now = &event.contact;
    known.address.phone = now.phone.clone().or(known.address.phone);
    known.address.bsuid = now.bsuid.clone().or(known.address.bsuid);
    write(cx, instance, contact, &known)
}

/// Pauses a conversation or lets it go on. A pause never shortens a longer one.
pub(super) fn pause(
    cx: &mut Cx<'_>,
    contact: ContactId,
    pause: Option<&Pause>,
) -> Result<(), DbError> {
    let Some(pause) = pause else {
        // It is remembered for longer than it lasts, which costs a look.
        let sql = "UPDATE contacts SET paused_until = NULL, pause_reason = NULL WHERE id = ?1";
        cx.connection.prepare_cached(sql)?.execute([contact.0])?;
        return Ok(());
    };
    let sql = "UPDATE contacts SET paused_until = max(coalesce(paused_until, 0), ?2),
        paused_at = ?4, pause_reason = ?3 WHERE id = ?1";
    let values = params![contact.0, pause.until, pause.reason, pause.at];
    cx.connection.prepare_cached(sql)?.execute(values)?;
    cx.memory.paused.paused(contact);
    Ok(())
}

/// Whether the bot is paused in this conversation.
pub(super) fn is_paused(cx: &mut Cx<'_>, contact: ContactId, now: Millis) -> Result<bool, DbError> {
    if !cx.memory.paused.may_be(cx.connection, contact, now)? {
        return Ok(false);
    }
    let sql = "SELECT 1 FROM contacts WHERE id = ?1 AND paused_until > ?2";
    Ok(cx.connection.prepare_cached(sql)?.exists(params![contact.0, now])?)
}

fn find(cx: &mut Cx<'_>, token: &Token) -> Result<Option<ContactId>, DbError> {
    if let Some(contact) = cx.memory.contacts.get(token) {
        return Ok(Some(*contact));
    }
    let mut statement =
        cx.connection.prepare_cached("SELECT contact FROM aliases WHERE key = ?1")?;
    let found = statement.query_row([token], |row| row.get(0).map(ContactId)).optional()?;
    if let Some(contact) = found {
        cx.memory.contacts.insert(*token, contact);
    }
    Ok(found)
}

/// Runs a statement that returns the names it changes: what was remembered of them is wrong.
pub(super) fn change_names(cx: &mut Cx<'_>, sql: &str, values: impl Params) -> Result<(), DbError> {
    let mut statement = cx.connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    while let Some(row) = rows.next()? {
        cx.memory.contacts.remove(&row.get::<_, Token>(0)?);
    }
    Ok(())
}

fn create(
    cx: &mut Cx<'_>,
    instance: &InstanceId,
    address: &Address,
    tokens: &[Token],
    name: Option<&Text>,
) -> Result<ContactId, DbError> {
    let doc = Doc { address: address.clone(), name: name.cloned() };
    let doc = seal(cx.vault, instance, &doc)?;
    let sql = "INSERT INTO contacts (instance, doc) VALUES (?1, ?2)";
    let id = cx.connection.prepare_cached(sql)?.insert(params![instance.as_str(), doc])?;
    cx.late()?.is_new(ContactId(id));
    add_aliases(cx, ContactId(id), tokens)?;
    erase::remember(cx, tokens, ContactId(id))?;
    Ok(ContactId(id))
}

fn add_aliases(cx: &mut Cx<'_>, contact: ContactId, tokens: &[Token]) -> Result<(), DbError> {
    for token in tokens {
        let sql = "INSERT OR REPLACE INTO aliases (key, contact) VALUES (?1, ?2)";
        cx.connection.prepare_cached(sql)?.execute(params![token, contact.0])?;
        cx.memory.contacts.insert(*token, contact);
    }
    Ok(())
}

fn merge(
    cx: &mut Cx<'_>,
    instance: &InstanceId,
    from: ContactId,
    into: ContactId,
) -> Result<(), DbError> {
    let old = doc(cx, instance, from)?.unwrap_or_default();
    update_doc(cx, instance, into, &old.address, old.name.as_ref())?;
    let sql = "UPDATE aliases SET contact = ?2 WHERE contact = ?1 RETURNING key";
    change_names(cx, sql, [from.0, into.0])?;
    let run = |sql: &str| cx.connection.prepare_cached(sql)?.execute([from.0, into.0]);
    run("UPDATE contacts SET
            paused_until = nullif(max(coalesce(paused_until, 0),
                coalesce((SELECT paused_until FROM contacts WHERE id = ?1), 0)), 0),
            paused_at = nullif(max(coalesce(paused_at, 0),
                coalesce((SELECT paused_at FROM contacts WHERE id = ?1), 0)), 0),
            pause_reason = coalesce(pause_reason, (SELECT pause_reason FROM contacts WHERE id = ?1))
        WHERE id = ?2")?;
    cx.memory.paused.paused(into);
    // Its number stays, so that it is not given to somebody else.
    let sql = "UPDATE contacts SET instance = '', doc = x'', paused_until = NULL,
        paused_at = NULL, pause_reason = NULL WHERE id = ?1";
    cx.connection.prepare_cached(sql)?.execute([from.0])?;
    chains::join(cx, from, into)?;
    keys::join(cx, from, into)?;
    media::merge(cx, from, into)?;
    windows::merge(cx, from, into)?;
    devices::merge(cx, from, into)?;
    bulk::merge(cx, from, into)?;
    cx.changes.push(Change::Merged { from, into });
    Ok(())
}

pub(super) fn doc(
    cx: &Cx<'_>,
    instance: &InstanceId,
    contact: ContactId,
) -> Result<Option<Doc>, DbError> {
    let mut statement = cx.connection.prepare_cached("SELECT doc FROM contacts WHERE id = ?1")?;
    let sealed: Option<Vec<u8>> = statement.query_row([contact.0], |row| row.get(0)).optional()?;
    let sealed = sealed.filter(|it| !it.is_empty());
    sealed.map(|it| open(cx.vault, instance.as_str(), &it)).transpose()
}

fn update_doc(
    cx: &mut Cx<'_>,
    instance: &InstanceId,
    contact: ContactId,
    address: &Address,
    name: Option<&Text>,
) -> Result<(), DbError> {
    let mut known = doc(cx, instance, contact)?.unwrap_or_default();
    // What was known first stays what we write to: the second form of a number is an alias.
    known.address.phone = known.address.phone.or_else(|| address.phone.clone());
    known.address.lid = known.address.lid.or_else(|| address.lid.clone());
    // A former one names nobody any more.
    known.address.bsuid = address.bsuid.clone().or(known.address.bsuid);
    known.name = name.cloned().or(known.name);
    write(cx, instance, contact, &known)
}

fn write(
    cx: &mut Cx<'_>,
    instance: &InstanceId,
    contact: ContactId,
    doc: &Doc,
) -> Result<(), DbError> {
    let sealed = seal(cx.vault, instance, doc)?;
    let sql = "UPDATE contacts SET doc = ?2 WHERE id = ?1";
    cx.connection.prepare_cached(sql)?.execute(params![contact.0, sealed])?;
    Ok(())
}

fn seal(vault: &Vault, instance: &InstanceId, doc: &Doc) -> Result<Vec<u8>, DbError> {
    let plain = serde_json::to_vec(doc).map_err(|_| DbError::Unreadable("contact"))?;
    vault.seal(&place(instance.as_str()), &plain).map_err(|_| DbError::Unreadable("contact"))
}
