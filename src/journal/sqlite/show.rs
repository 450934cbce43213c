//! Reading the journal.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    chains::{self, ANSWERS, OF_VENDOR},
    contacts,
    entries::{self, COLUMNS, ECHO, ERASED, EntryRow, INTENT, MESSAGE},
    hours,
    intents::Outbound,
    late::Chain,
    operate::PARKED,
    state::State,
};
use crate::{
    domain::{
        bulk::BulkState,
        clock::Millis,
        contact::Address,
        event::{Event, What},
        id::{EntryId, InstanceId, VendorId},
        message::{Content, Text},
        route::ProviderKind,
        schedule::{Kind, Next},
    },
    journal::{Change, Journey, MessageRow, ORPHAN_WAIT, Page, PartOf, ToFollow, life},
    sqlite::DbError,
    vault::Vault,
};

/// Answers of one message that a journey shows.
const ANSWERS_SHOWN_MAX: usize = 50;

pub(super) fn to_follow(
    connection: &Connection,
    vault: &Vault,
    id: EntryId,
) -> Result<Option<ToFollow>, DbError> {
    let Some((row, body)) = with_body(connection, id)? else { return Ok(None) };
    let Some(delivery) = row.life.delivery else { return Ok(None) };
    let Outbound { to, content } = entries::open(vault, &row.instance, &body)?;
    let next = life::next_of(&delivery, &row.life.policy.into()).unwrap_or(Next::Gone);
    Ok(Some(ToFollow {
        next,
        vendor: row.vendor,
        instance: row.instance,
        to,
        content,
        delivery,
        begun_at: row.begun_at,
        ticket: row.life.ticket,
    }))
}

pub(super) fn waiting(
    connection: &Connection,
    after: EntryId,
    limit: usize,
) -> Result<Vec<Change>, DbError> {
    let sql =
        format!("SELECT {COLUMNS} FROM entries WHERE is_open = 1 AND id > ?1 ORDER BY id LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![after.0, limit], EntryRow::read)?;
    let mut changes = Vec::new();
    for row in rows {
        let row = row?;
        let place = row.life.place.map(EntryId);
        changes.extend(place.map(|place| Change::Placed { id: row.id, place }));
        changes.push(unfinished(&row));
    }
    Ok(changes)
}

fn unfinished(row: &EntryRow) -> Change {
    let due = row.id.ms();
    match (row.kind, &row.life.delivery) {
        // Not the time of its id: the clock may have been set back since.
        (MESSAGE, _) => Change::New(row.job(Kind::Message, 0)),
        (INTENT, Some(delivery)) => match life::next_of(delivery, &row.life.policy.into()) {
            // A fence's hold belongs to its lane, which is only opened by deciding about it.
            Some(next @ Next::Again { kind: Kind::Follow, due, .. }) => {
                Change::Decided(row.job(Kind::Follow, due), next)
            }
            Some(Next::Again { kind, due, .. }) => Change::New(row.job(kind, due)),
            Some(Next::Gone) | None => Change::Decided(row.job(Kind::Follow, due), Next::Gone),
        },
        (ECHO, _) => Change::New(row.job(Kind::Signal, due + crate::journal::ECHO_WAIT)),
        _ => Change::New(row.job(Kind::Signal, due + ORPHAN_WAIT)),
    }
}

/// Only what is open is read, and who waits for their turn in a job.
pub(super) fn in_flight(connection: &Connection, instance: &InstanceId) -> Result<i64, DbError> {
    let sql = "SELECT (SELECT count(*) FROM entries INDEXED BY entries_open
            WHERE is_open = 1 AND instance = ?1 AND kind IN (0, 2))
        + (SELECT count(*) FROM bulk_jobs j CROSS JOIN bulk_recipients r ON r.job = j.id
            WHERE j.instance = ?1 AND j.state IN (?2, ?3) AND r.entry IS NULL AND r.note IS NULL)";
    let mut statement = connection.prepare_cached(sql)?;
    let [running, paused] = [BulkState::Running, BulkState::Paused].map(BulkState::code);
    let values = params![instance.as_str(), running, paused];
    Ok(statement.query_row(values, |row| row.get(0))?)
}

pub(super) fn messages(
    connection: &Connection,
    vault: &Vault,
    ends: &State,
    (vendor, before, limit): (&VendorId, Option<EntryId>, usize),
) -> Result<Page, DbError> {
    let sql = format!(
        "{OF_VENDOR} SELECT {COLUMNS}, body FROM walk CROSS JOIN entries USING (id)
            WHERE id < ?2 AND kind IN (0, 2, 3) LIMIT ?3"
    );
    let start = chains::start_of_vendor(connection, ends, vendor, before)?;
    let mut statement = connection.prepare_cached(&sql)?;
    let before = before.map_or(i64::MAX, |it| it.0);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX - 1);
    let mut rows = statement.query(params![start.0, before, limit + 1])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get("body")?;
        found.push(message_row(connection, vault, &EntryRow::read(row)?, &body)?);
    }
    let has_more = found.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if has_more {
        found.pop();
    }
    let next = found.last().map(|it| it.id).filter(|_| has_more);
    Ok(Page { rows: found, next })
}

pub(super) fn journey(
    connection: &Connection,
    vault: &Vault,
    ends: &State,
    (vendor, id): (&VendorId, EntryId),
) -> Result<Option<Journey>, DbError> {
    let Some((row, body)) = with_body(connection, id)?.filter(|it| it.0.vendor == *vendor) else {
        return Ok(None);
    };
    let first = if row.kind == INTENT { None } else { Some((id.ms(), "received".to_owned())) };
    let steps = first.into_iter().chain(row.life.log.to_vec()).collect();
    let delivery = row.life.delivery.as_ref();
    let (attempts, mut via) =
        (delivery.map_or(0, |it| it.attempts), delivery.and_then(|it| it.via));
    if row.kind == MESSAGE && !row.is_erased() {
        let event: Event = entries::open(vault, &row.instance, &body)?;
        // Before there were others, all came that way.
        via = Some(event.via.unwrap_or(ProviderKind::Wasender));
    }
    let mut answers = Vec::new();
    if let Some(contact) = row.contact.filter(|_| row.kind == MESSAGE) {
        let sql = format!(
            "{ANSWERS} SELECT {COLUMNS}, body FROM walk CROSS JOIN entries USING (id)
                WHERE kind = 2 AND origin = ?2 ORDER BY id LIMIT {ANSWERS_SHOWN_MAX}"
        );
        let last = ends.end(connection, contact, Chain::Turns)?;
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![last.0, id.0])?;
        while let Some(found) = rows.next()? {
            let body: Vec<u8> = found.get("body")?;
            answers.push(message_row(connection, vault, &EntryRow::read(found)?, &body)?);
        }
    }
    let row = message_row(connection, vault, &row, &body)?;
    Ok(Some(Journey { row, steps, attempts, via, answers }))
}

pub(super) fn with_body(
    connection: &Connection,
    id: EntryId,
) -> Result<Option<(EntryRow, Vec<u8>)>, DbError> {
    let sql = format!("SELECT {COLUMNS}, body FROM entries WHERE id = ?1");
    let read = |row: &Row<'_>| Ok((EntryRow::read(row)?, row.get("body")?));
    Ok(connection.prepare_cached(&sql)?.query_row([id.0], read).optional()?)
}

/// The text that a message has by now, where it was changed.
pub(super) fn edited(
    connection: &Connection,
    vault: &Vault,
    row: &EntryRow,
) -> Result<Option<Text>, DbError> {
    Ok(match told_by(connection, vault, row.life.marks.edit)? {
        Some(What::Edit { text, .. }) => Some(text),
        _ => None,
    })
}

/// What the entry with this id tells of a message.
fn told_by(
    connection: &Connection,
    vault: &Vault,
    id: Option<i64>,
) -> Result<Option<What>, DbError> {
    let Some(id) = id else { return Ok(None) };
    // It may have been erased.
    let Some((row, body)) = with_body(connection, EntryId(id))? else { return Ok(None) };
    Ok(Some(entries::open::<Event>(vault, &row.instance, &body)?.what))
}

pub(super) struct Said {
    address: Address,
    name: Option<Text>,
    at: Option<Millis>,
    other: Option<String>,
}

pub(super) fn said(
    vault: &Vault,
    row: &EntryRow,
    body: &[u8],
) -> Result<(Said, Option<Content>), DbError> {
    if row.kind == INTENT {
        let Outbound { to, content } = entries::open(vault, &row.instance, body)?;
        return Ok((Said { address: to, name: None, at: None, other: None }, Some(content)));
    }
    let event: Event = entries::open(vault, &row.instance, body)?;
    let (content, other) = match event.what {
        What::Message(content) | What::Echo(content) => (Some(content), None),
        What::Edit { .. } => (None, Some("edit")),
        What::Revoke { .. } => (None, Some("revoke")),
        What::Reaction { .. } => (None, Some("reaction")),
        What::Votes { .. } => (None, Some("votes")),
        What::Status { .. } => (None, Some("status")),
        What::SendFailed { .. } => (None, Some("send_failed")),
        What::Connection(_) => (None, Some("connection")),
        What::Other { .. } => (None, Some("other")),
    };
    let other = other.map(str::to_owned);
    Ok((Said { address: event.contact, name: event.name, at: event.at, other }, content))
}

pub(super) fn message_row(
    connection: &Connection,
    vault: &Vault,
    row: &EntryRow,
    body: &[u8],
) -> Result<MessageRow, DbError> {
    let (mut said, content) = said(vault, row, body)?;
    if let (None, Some(contact)) = (&said.address.phone, row.contact) {
        // The number may have become known later than the message.
        let sql = "SELECT doc FROM contacts WHERE id = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let doc: Option<Vec<u8>> = statement.query_row([contact.0], |row| row.get(0)).optional()?;
        if let Some(doc) = doc {
            said.address = contacts::open(vault, row.instance.as_str(), &doc)?.address;
        }
    }
    let kind = content.as_ref().map(|it| it.kind().to_owned()).or(said.other);
    let kind = if row.is_erased() { Some(ERASED.to_owned()) } else { kind };
    let said_text = content.as_ref().map(|it| Text(it.as_text().to_owned()));
    let said_text = said_text.unwrap_or_default();
    let (text, original) = match edited(connection, vault, row)? {
        Some(text) => (text, Some(said_text)),
        None => (said_text, None),
    };
    let reaction = match told_by(connection, vault, row.life.marks.reaction)? {
        // Without an emoji it was taken back.
        Some(What::Reaction { text, .. }) => Some(text).filter(|it| !it.0.is_empty()),
        _ => None,
    };
    let votes = match told_by(connection, vault, row.life.marks.votes)? {
        Some(What::Votes { results, .. }) => results,
        _ => Vec::new(),
    };
    let part =
        row.life.part.map(|it| PartOf { group: EntryId(it.group), number: it.number, of: it.of });
    Ok(MessageRow {
        id: row.id,
        instance: row.instance.clone(),
        contact: row.contact,
        is_inbound: row.kind == MESSAGE,
        by_human: row.kind == ECHO,
        address: said.address,
        name: said.name,
        kind: kind.unwrap_or_default(),
        text,
        content,
        quoted: row.life.quotes.map(EntryId),
        part,
        original,
        is_deleted: row.life.marks.is_deleted,
        reaction,
        votes,
        status: status_word(row).to_owned(),
        reason: row.note.clone().filter(|_| !row.is_open || row.account != entries::WAITING),
        origin: row.origin,
        at: said.at,
    })
}

fn status_word(row: &EntryRow) -> &'static str {
    match (row.kind, row.is_open) {
        (INTENT, _) => life::status_word(row.life.delivery.as_ref()),
        (ECHO, is_open) => hours::echo_word(is_open, row.status),
        (_, true) => "waiting",
        (_, false) if row.account == PARKED => "parked",
        (_, false) => "received",
    }
}
