//! Rows of the entries table.

use rusqlite::{OptionalExtension, Row, params};

use super::{hours, keys::KeyBytes, late::Chain, names, state::Cx};
use crate::{
    domain::{
        clock::Millis,
        id::{ContactId, EntryId, InstanceId, VendorId},
        message::{Content, with_link},
        schedule::{Job, Kind},
    },
    journal::life::Life,
    sqlite::DbError,
    vault::{Token, Vault},
};

pub(super) const MESSAGE: i64 = 0;
pub(super) const SIGNAL: i64 = 1;
pub(super) const INTENT: i64 = 2;
pub(super) const ECHO: i64 = 3;

pub(super) const WAITING: i64 = 0;
pub(super) const DONE: i64 = 1;
pub(super) const DEAD: i64 = 4;

/// The note of an entry whose customer was erased.
pub(super) const ERASED: &str = "erased";

/// A row to insert.
pub(super) struct NewRow<'a> {
    pub(super) id: EntryId,
    pub(super) kind: i64,
    pub(super) account: i64,
    pub(super) is_open: bool,
    pub(super) vendor: &'a VendorId,
    pub(super) instance: &'a InstanceId,
    pub(super) contact: Option<ContactId>,
    pub(super) pid: Option<Token>,
    pub(super) text_key: Option<i64>,
    pub(super) origin: Option<EntryId>,
    pub(super) status: Option<i64>,
    pub(super) note: Option<&'a str>,
    pub(super) body: &'a [u8],
    pub(super) life: &'a str,
    /// The key by which it is known again.
    pub(super) dedupe: Option<KeyBytes>,
}

pub(super) fn insert(cx: &mut Cx<'_>, row: &NewRow<'_>) -> Result<(), DbError> {
    let chain = Chain::of(row.kind);
    let (prev, prev_of_vendor) = link(cx, row, chain)?;
    let sql = "INSERT INTO entries (id, kind, account, is_open, vendor, instance, contact, pid,
            text_key, origin, status, note, body, life, prev, prev_of_vendor, dedupe)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
    cx.connection.prepare_cached(sql)?.execute(params![
        row.id.0,
        row.kind,
        row.account,
        row.is_open,
        row.vendor.as_str(),
        row.instance.as_str(),
        row.contact.map(|it| it.0),
        row.pid,
        row.text_key,
        row.origin.map(|it| it.0),
        row.status,
        row.note,
        row.body,
        row.life,
        prev,
        prev_of_vendor,
        row.dedupe,
    ])?;
    if let Some(pid) = row.pid {
        names::put(cx, pid, row.id)?;
    }
    let account = usize::try_from(row.account).unwrap_or_default();
    let delta = cx.delta(row.vendor);
    match row.kind {
        MESSAGE => delta.hours.inbound(row.id),
        ECHO => delta.hours.outbound(row.id, hours::echo_word(row.is_open, row.status), 1),
        _ => {}
    }
    if row.kind == INTENT {
        delta.created += 1;
        delta.intents[account] += 1;
    } else {
        delta.accepted += 1;
        delta.events[account] += 1;
    }
    Ok(())
}

/// The entries before a new one: in its conversation, and of its vendor's messages.
fn link(
    cx: &mut Cx<'_>,
    row: &NewRow<'_>,
    chain: Chain,
) -> Result<(Option<i64>, Option<i64>), DbError> {
    let connection = cx.connection;
    let late = cx.late()?;
    late.made(row.id);
    let prev = match row.contact {
        Some(contact) => late.link(connection, contact, chain, row.id)?,
        None => None,
    };
    let prev_of_vendor = match chain {
        Chain::Turns => {
            Some(late.link_vendor(connection, row.vendor, row.id)?.unwrap_or_default().0)
        }
        Chain::Signals => None,
    };
    Ok((prev.map(|it| it.0), prev_of_vendor))
}

/// A row, without its body.
#[derive(Clone)]
pub(super) struct EntryRow {
    pub(super) id: EntryId,
    pub(super) kind: i64,
    pub(super) account: i64,
    pub(super) is_open: bool,
    pub(super) vendor: VendorId,
    pub(super) instance: InstanceId,
    pub(super) contact: Option<ContactId>,
    pub(super) pid: Option<Token>,
    pub(super) text_key: Option<i64>,
    pub(super) begun_at: Option<Millis>,
    pub(super) origin: Option<EntryId>,
    pub(super) status: Option<i64>,
    pub(super) note: Option<String>,
    pub(super) life: Life,
    pub(super) tid: Option<Token>,
}

pub(super) const COLUMNS: &str = "id, kind, account, is_open, vendor, instance, contact, pid, \
    text_key, begun_at, origin, status, note, life, tid";

impl EntryRow {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let vendor: String = row.get(4)?;
        let instance: String = row.get(5)?;
        let life: String = row.get(13)?;
        let bad = |at| {
            rusqlite::Error::InvalidColumnType(at, "id".to_owned(), rusqlite::types::Type::Text)
        };
        Ok(Self {
            id: EntryId(row.get(0)?),
            kind: row.get(1)?,
            account: row.get(2)?,
            is_open: row.get(3)?,
            vendor: VendorId::parse(&vendor).map_err(|_| bad(4))?,
            instance: InstanceId::parse(&instance).map_err(|_| bad(5))?,
            contact: row.get::<_, Option<i64>>(6)?.map(ContactId),
            pid: row.get(7)?,
            text_key: row.get(8)?,
            begun_at: row.get(9)?,
            origin: row.get::<_, Option<i64>>(10)?.map(EntryId),
            status: row.get(11)?,
            note: row.get(12)?,
            life: Life::parse(&life),
            tid: row.get(14)?,
        })
    }

    /// What was just inserted.
    pub(super) fn made(new: &NewRow<'_>, life: Life) -> Self {
        Self {
            id: new.id,
            kind: new.kind,
            account: new.account,
            is_open: new.is_open,
            vendor: new.vendor.clone(),
            instance: new.instance.clone(),
            contact: new.contact,
            pid: new.pid,
            text_key: new.text_key,
            begun_at: None,
            origin: new.origin,
            status: new.status,
            note: new.note.map(str::to_owned),
            life,
            tid: None,
        }
    }

    /// The work it is, as far as the scheduler must know.
    pub(super) fn job(&self, kind: Kind, due: Millis) -> Job {
        Job {
            id: self.id,
            vendor: self.vendor.clone(),
            instance: self.instance.clone(),
            contact: self.contact,
            kind,
            due,
        }
    }
}

pub(super) fn load(cx: &Cx<'_>, id: EntryId) -> Result<Option<EntryRow>, DbError> {
    if let Some(found) = cx.memory.recent.get(id) {
        return Ok(Some(found));
    }
    let sql = format!("SELECT {COLUMNS} FROM entries WHERE id = ?1");
    Ok(cx.connection.prepare_cached(&sql)?.query_row([id.0], EntryRow::read).optional()?)
}

/// Writes what a step of an intent changes.
pub(super) fn write_intent(cx: &Cx<'_>, row: &EntryRow) -> Result<(), DbError> {
    let sql = "UPDATE entries SET account = ?2, is_open = ?3, pid = ?4, begun_at = ?5, status = ?6,
        note = ?7, life = ?8, tid = ?9 WHERE id = ?1";
    cx.connection.prepare_cached(sql)?.execute(params![
        row.id.0,
        row.account,
        row.is_open,
        row.pid,
        row.begun_at,
        row.status,
        row.note,
        row.life.text(),
        row.tid,
    ])?;
    cx.memory.recent.put(row.clone());
    Ok(())
}

pub(super) fn body(cx: &Cx<'_>, id: EntryId) -> Result<Vec<u8>, DbError> {
    let mut statement = cx.connection.prepare_cached("SELECT body FROM entries WHERE id = ?1")?;
    Ok(statement.query_row([id.0], |row| row.get(0))?)
}

/// Ends an event. `false`: it had ended before, and nothing was changed.
pub(super) fn end_event(
    cx: &mut Cx<'_>,
    row: &EntryRow,
    note: Option<&str>,
    origin: Option<EntryId>,
    step: &str,
    now: Millis,
) -> Result<bool, DbError> {
    let mut life = row.life.clone();
    life.note(now, step);
    let sql = "UPDATE entries SET account = 1, is_open = 0, note = ?2, life = ?3,
        origin = coalesce(?4, origin) WHERE id = ?1 AND is_open = 1";
    let values = params![row.id.0, note, life.text(), origin.map(|it| it.0)];
    if cx.connection.prepare_cached(sql)?.execute(values)? == 0 {
        return Ok(false);
    }
    if row.kind != MESSAGE {
        row.pid.into_iter().for_each(|it| cx.memory.orphans.ended(it));
    }
    let account = usize::try_from(row.account).unwrap_or_default();
    let delta = cx.delta(&row.vendor);
    delta.events[account] -= 1;
    delta.events[1] += 1;
    if row.kind == ECHO {
        let word = |is_open| hours::echo_word(is_open, row.status);
        delta.hours.moved(row.id, word(true), word(false));
    }
    Ok(true)
}

/// What the provider's message id is known by.
pub(super) fn pid(vault: &Vault, instance: &InstanceId, provider_id: &str) -> Token {
    vault.token(&[b"pid", instance.as_str().as_bytes(), provider_id.as_bytes()])
}

/// The words of a text. White space is WhatsApp's to change, so it does not count.
pub(super) fn words(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// What equal texts share: those that leave, and so come back as echoes.
pub(super) fn text_key(vault: &Vault, content: &Content) -> i64 {
    let said = match content {
        // Who knows it by its text alone has no button for it.
        Content::CtaUrl { text, label, url } => words(&with_link(text, label, url)),
        _ => words(content.as_text()),
    };
    let token = vault.token(&[b"text", said.as_bytes()]);
    i64::from_be_bytes([
        token[0], token[1], token[2], token[3], token[4], token[5], token[6], token[7],
    ])
}

/// The place a body is sealed for.
pub(super) fn place(instance: &str) -> String {
    format!("entry:{instance}")
}

pub(super) fn seal(vault: &Vault, instance: &InstanceId, plain: &[u8]) -> Result<Vec<u8>, DbError> {
    vault.seal(&place(instance.as_str()), plain).map_err(|_| DbError::Unreadable("body"))
}

pub(super) fn open<T: serde::de::DeserializeOwned>(
    vault: &Vault,
    instance: &InstanceId,
    sealed: &[u8],
) -> Result<T, DbError> {
    let plain =
        vault.open(&place(instance.as_str()), sealed).map_err(|_| DbError::Unreadable("body"))?;
    serde_json::from_slice(&plain).map_err(|_| DbError::Unreadable("body"))
}
