//! Dedupe keys: by which an event that comes twice becomes one.
//!
//! A key is the contact it came from and a keyed hash of what it is. The contact comes first, so
//! that the keys of two contacts who turn out to be one person can be joined. New keys are in
//! memory first (`late.rs`) and then in a table for each day (`keys/days.rs`).

mod days;

use rusqlite::params;

pub(super) use self::days::{Days, Filters, insert_pairs};
use super::{devices, erase, state::Cx};
use crate::{
    domain::{
        clock::{HOUR, Millis},
        contact::Address,
        event::{Event, What},
        id::{ContactId, EntryId, InstanceId},
    },
    journal::RAW_DEDUPE,
    sqlite::DbError,
    vault::{Token, Vault},
};

const DAY: Millis = 24 * HOUR;

/// A contact, or none, and a token.
pub(super) type KeyBytes = [u8; 24];

/// How an event is known again.
#[derive(Clone, Copy)]
pub(super) struct Key {
    token: Token,
    /// The sender is part of it: message ids are chosen by the sending phone.
    by_contact: bool,
    /// How long it is known; `None` as long as keys are kept.
    lasts: Option<Millis>,
}

impl Key {
    /// The key of the `n`th event of a webhook; `None` for events that are never the same.
    pub(super) fn of(
        vault: &Vault,
        instance: &InstanceId,
        event: &Event,
        raw: &[u8],
        n: usize,
    ) -> Option<Self> {
        let instance_id = instance;
        let instance = instance.as_str().as_bytes();
        let own_id = event.provider_id.as_deref().map(str::as_bytes);
        let forever = |parts: &[&[u8]], by_contact| {
            let parts: Vec<&[u8]> =
                std::iter::once(instance).chain(parts.iter().copied()).collect();
            Some(Self { token: vault.token(&parts), by_contact, lasts: None })
        };
        let by_raw = || {
            let token = vault.token(&[instance, b"raw", raw, &n.to_le_bytes()]);
            Some(Self { token, by_contact: false, lasts: Some(RAW_DEDUPE) })
        };
        match (&event.what, own_id) {
            (What::Connection(_), _) => None,
            (What::Message(_), Some(_)) => {
                let id = event.provider_id.as_deref().unwrap_or_default();
                let token = message_token(vault, instance_id, id);
                Some(Self { token, by_contact: true, lasts: None })
            }
            (What::Echo(_), Some(id)) => forever(&[b"echo", id], false),
            (What::Edit { .. }, Some(id)) => forever(&[b"edit", id], true),
            (What::Reaction { .. }, Some(id)) => forever(&[b"reaction", id], true),
            (What::Revoke { target }, _) => forever(&[b"revoke", target.as_bytes()], false),
            (What::Status { target, status, participant, .. }, _) => {
                let who = participant.as_ref().map_or(&b""[..], |it| it.0.as_bytes());
                forever(&[b"status", target.as_bytes(), status.as_str().as_bytes(), who], false)
            }
            // Told once more much later, it may be the former one by then.
            (What::Other { .. }, Some(id)) if event.former.is_some() => {
                forever(&[b"moved", id], false)
            }
            (What::Other { .. }, None) if event.former.is_some() => {
                let aliases = |it: &Address| it.aliases().concat();
                let [before, now] = [event.former.as_ref(), Some(&event.contact)]
                    .map(|it| it.map(aliases).unwrap_or_default());
                let at = event.at.unwrap_or_default().to_le_bytes();
                forever(&[b"moved", before.as_bytes(), now.as_bytes(), &at], false)
            }
            (_, None | Some(_)) => by_raw(),
        }
    }
}

/// The token by which the message with this id is known.
pub(super) fn message_token(vault: &Vault, instance: &InstanceId, id: &str) -> Token {
    vault.token(&[instance.as_str().as_bytes(), b"message", id.as_bytes()])
}

/// A customer's message by its id, which is only theirs.
pub(super) fn find_message(
    cx: &mut Cx<'_>,
    token: Token,
    contact: ContactId,
) -> Result<Option<EntryId>, DbError> {
    find(cx, &bytes(&Key { token, by_contact: true, lasts: None }, Some(contact)))
}

/// What became of a claim.
pub(super) enum Claimed {
    /// The key is the entry's from now on.
    New(KeyBytes),
    /// It is this one's already.
    Known(EntryId),
}

/// Claims a key for `id`.
pub(super) fn claim(
    cx: &mut Cx<'_>,
    key: Key,
    contact: Option<ContactId>,
    id: EntryId,
    now: Millis,
) -> Result<Claimed, DbError> {
    let connection = cx.connection;
    if let Some(oldest) = cx.days()?.turn(connection, now.div_euclid(DAY))? {
        erase::forget(cx, oldest * DAY)?;
        devices::forget_before(cx, now - devices::WAITS)?;
    }
    let bytes = bytes(&key, contact);
    if let Some(found) = find(cx, &bytes)?.filter(|it| is_live(&key, *it, now)) {
        return Ok(Claimed::Known(found));
    }
    cx.late()?.put_key(bytes, id);
    Ok(Claimed::New(bytes))
}

/// The entries that are known by a contact.
pub(super) fn entries_of(cx: &mut Cx<'_>, contact: ContactId) -> Result<Vec<EntryId>, DbError> {
    let (first, after) = range(contact);
    let late = cx.late()?.keys(first, after);
    let days = cx.days()?;
    // What is too old goes from memory only when it is written elsewhere.
    let mut found: Vec<EntryId> =
        late.iter().map(|it| it.1).filter(|it| !days.is_past(*it)).collect();
    found.extend(stored(cx, first, after)?.into_iter().map(|it| it.1));
    Ok(found)
}

/// What was known of `from` is known of `into`.
pub(super) fn join(cx: &mut Cx<'_>, from: ContactId, into: ContactId) -> Result<(), DbError> {
    let (first, after) = range(from);
    let renamed = |mut key: KeyBytes| {
        key[..8].copy_from_slice(&into.0.to_be_bytes());
        key
    };
    let mut known = stored(cx, first, after)?;
    known.extend(cx.late()?.keys(first, after));
    for (key, id) in known {
        let key = renamed(key);
        if find(cx, &key)?.is_none() {
            lead(cx, key, id)?;
        }
    }
    Ok(())
}

/// A key leads to an entry that has another one. At once in the tables, too: what is written late
/// is known again after a restart by its entry, and that one has its own.
pub(super) fn lead(cx: &mut Cx<'_>, key: KeyBytes, id: EntryId) -> Result<(), DbError> {
    let connection = cx.connection;
    cx.days()?.put(connection, &key, id)?;
    cx.late()?.put_key(key, id);
    Ok(())
}

fn range(contact: ContactId) -> (KeyBytes, KeyBytes) {
    let bound = |contact: i64| {
        let mut key = [0; 24];
        key[..8].copy_from_slice(&contact.to_be_bytes());
        key
    };
    (bound(contact.0), bound(contact.0 + 1))
}

/// Keys in the tables.
fn stored(
    cx: &mut Cx<'_>,
    first: KeyBytes,
    after: KeyBytes,
) -> Result<Vec<(KeyBytes, EntryId)>, DbError> {
    let mut found = Vec::new();
    for day in cx.days()?.live().to_vec() {
        let sql = format!("SELECT key, entry FROM keys_{day} WHERE key >= ?1 AND key < ?2");
        let mut statement = cx.connection.prepare_cached(&sql)?;
        let rows = statement
            .query_map(params![first, after], |row| Ok((row.get(0)?, EntryId(row.get(1)?))))?;
        for row in rows {
            found.push(row?);
        }
    }
    Ok(found)
}

fn bytes(key: &Key, contact: Option<ContactId>) -> KeyBytes {
    let contact = contact.filter(|_| key.by_contact).map_or(0, |it| it.0);
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&contact.to_be_bytes());
    bytes[8..].copy_from_slice(&key.token);
    bytes
}

fn is_live(key: &Key, entry: EntryId, now: Millis) -> bool {
    // A clock that was set back makes an entry look young for as long; that is no repetition.
    key.lasts.is_none_or(|lasts| (now - entry.ms()).abs() < lasts)
}

/// The latest entry with this key.
fn find(cx: &mut Cx<'_>, key: &KeyBytes) -> Result<Option<EntryId>, DbError> {
    let connection = cx.connection;
    if let Some(found) = cx.late()?.key(key) {
        return Ok((!cx.days()?.is_past(found)).then_some(found));
    }
    cx.days()?.find(connection, key)
}
