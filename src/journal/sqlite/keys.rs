//! Dedupe keys: by which an event that comes twice becomes one.
//!
//! A key is the contact it came from and a keyed hash of what it is. The contact comes first, so
//! that the keys of two contacts who turn out to be one person can be joined. There is a table for
//! each day, dropped whole when it is old: one big index would halve the speed.

use rusqlite::{Connection, OptionalExtension, params};

use super::{erase, state::Cx};
use crate::{
    domain::{
        clock::{HOUR, Millis},
        event::{Event, What},
        id::{ContactId, EntryId, InstanceId},
    },
    journal::{KEYS_KEPT_DAYS, RAW_DEDUPE},
    sqlite::DbError,
    vault::{Token, Vault},
};

const DAY: Millis = 24 * HOUR;

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
            (What::Status { target, status, participant }, _) => {
                let who = participant.as_ref().map_or(&b""[..], |it| it.0.as_bytes());
                forever(&[b"status", target.as_bytes(), status.as_str().as_bytes(), who], false)
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
    let key = bytes(&Key { token, by_contact: true, lasts: None }, Some(contact));
    for day in known_days(cx)?.into_iter().rev() {
        if let Some(found) = lookup(cx.connection, day, &key)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The entry that has this key already, or `None`, and then it is `id`'s from now on.
pub(super) fn claim(
    cx: &mut Cx<'_>,
    key: Key,
    contact: Option<ContactId>,
    id: EntryId,
    now: Millis,
) -> Result<Option<EntryId>, DbError> {
    let today = now.div_euclid(DAY);
    let days = days(cx, today)?;
    let bytes = bytes(&key, contact);
    for day in days.iter().filter(|it| **it != today) {
        let found = lookup(cx.connection, *day, &bytes)?;
        if let Some(found) = found.filter(|it| is_live(&key, *it, now)) {
            return Ok(Some(found));
        }
    }
    let sql =
        format!("INSERT INTO keys_{today} (key, entry) VALUES (?1, ?2) ON CONFLICT DO NOTHING");
    if cx.connection.prepare_cached(&sql)?.execute(params![bytes, id.0])? == 1 {
        return Ok(None);
    }
    let found = lookup(cx.connection, today, &bytes)?;
    if let Some(found) = found.filter(|it| is_live(&key, *it, now)) {
        return Ok(Some(found));
    }
    let sql = format!("UPDATE keys_{today} SET entry = ?2 WHERE key = ?1");
    cx.connection.prepare_cached(&sql)?.execute(params![bytes, id.0])?;
    Ok(None)
}

/// The entries that are known by a contact.
pub(super) fn entries_of(cx: &mut Cx<'_>, contact: ContactId) -> Result<Vec<EntryId>, DbError> {
    let (first, after) = (contact.0.to_be_bytes(), (contact.0 + 1).to_be_bytes());
    let mut found = Vec::new();
    for day in known_days(cx)? {
        let sql = format!("SELECT entry FROM keys_{day} WHERE key >= ?1 AND key < ?2");
        let mut statement = cx.connection.prepare_cached(&sql)?;
        let ids = statement.query_map(params![first, after], |row| row.get(0).map(EntryId))?;
        for id in ids {
            found.push(id?);
        }
    }
    Ok(found)
}

/// What was known of `from` is known of `into`.
pub(super) fn join(cx: &mut Cx<'_>, from: ContactId, into: ContactId) -> Result<(), DbError> {
    let days = known_days(cx)?;
    for day in days {
        let sql = format!(
            "INSERT OR IGNORE INTO keys_{day} (key, entry)
             SELECT CAST(?3 || substr(key, 9) AS BLOB), entry FROM keys_{day}
             WHERE key >= ?1 AND key < ?2"
        );
        let (first, after) = (from.0.to_be_bytes(), (from.0 + 1).to_be_bytes());
        let into = into.0.to_be_bytes();
        cx.connection.prepare_cached(&sql)?.execute(params![first, after, into])?;
    }
    Ok(())
}

fn bytes(key: &Key, contact: Option<ContactId>) -> [u8; 24] {
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

fn lookup(connection: &Connection, day: i64, key: &[u8; 24]) -> Result<Option<EntryId>, DbError> {
    let sql = format!("SELECT entry FROM keys_{day} WHERE key = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row([key], |row| row.get(0).map(EntryId)).optional()?)
}

/// The days with a table; today's is made, and the ones that are too old are dropped.
fn days(cx: &mut Cx<'_>, today: i64) -> Result<Vec<i64>, DbError> {
    let days = known_days(cx)?;
    if days.contains(&today) {
        return Ok(days);
    }
    cx.connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS keys_{today} (key BLOB PRIMARY KEY, entry INTEGER NOT NULL) WITHOUT ROWID"
    ))?;
    // A clock that stands far ahead would otherwise drop keys that are still needed: they go only
    // when a day as old as theirs has really been seen twice over.
    let n_kept = usize::try_from(KEYS_KEPT_DAYS + 1).unwrap_or(usize::MAX);
    let mut days = days;
    days.push(today);
    days.sort_unstable();
    while days.len() > n_kept && days[0] < today - KEYS_KEPT_DAYS {
        cx.connection.execute_batch(&format!("DROP TABLE keys_{}", days[0]))?;
        days.remove(0);
    }
    cx.connection
        .prepare_cached("DELETE FROM idempotency WHERE entry < ?1")?
        .execute([EntryId::at(days[0] * DAY).0])?;
    erase::forget(cx, days[0] * DAY)?;
    cx.memory.key_days = Some(days.clone());
    Ok(days)
}

fn known_days(cx: &mut Cx<'_>) -> Result<Vec<i64>, DbError> {
    if let Some(days) = &cx.memory.key_days {
        return Ok(days.clone());
    }
    let sql = "SELECT CAST(substr(name, 6) AS INTEGER) FROM sqlite_schema
        WHERE type = 'table' AND name GLOB 'keys_[0-9]*' ORDER BY 1";
    let mut statement = cx.connection.prepare(sql)?;
    let days: Vec<i64> = statement.query_map((), |row| row.get(0))?.collect::<Result<_, _>>()?;
    cx.memory.key_days = Some(days.clone());
    Ok(days)
}
