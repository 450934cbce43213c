//! Conversations are the contacts of a vendor's entries: there is no other list of them.

use std::collections::HashSet;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    SqliteJournal,
    chains::{self, BOTH, CONVERSATION, OF_VENDOR},
    contacts,
    entries::{self, COLUMNS, EntryRow, INTENT, SIGNAL},
    erase,
    late::Chain,
    show,
    state::State,
    windows,
};
use crate::{
    domain::{
        clock::Millis,
        contact::Address,
        id::{ContactId, EntryId, InstanceId, VendorId},
        route::ProviderKind,
    },
    journal::{
        Conversation, Conversations, EraseFrom, Erased, JournalError, MessageRow, Page, People,
        Record, Span,
    },
    sqlite::DbError,
    vault::Vault,
};

/// Entries looked at for one page of conversations.
const LOOKED_AT_MAX: usize = 2_000;
/// Kinds of entries that are messages.
const MESSAGES: &str = "kind IN (0, 2, 3)";

#[async_trait]
impl People for SqliteJournal {
    async fn conversations(
        &self,
        vendor: &VendorId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Conversations, JournalError> {
        let vendor = vendor.clone();
        self.read_chains(move |connection, vault, ends| {
            list(connection, vault, ends, (&vendor, before, limit))
        })
        .await
    }

    async fn conversation(
        &self,
        vendor: &VendorId,
        contact: ContactId,
    ) -> Result<Option<Conversation>, JournalError> {
        let vendor = vendor.clone();
        self.read_chains(move |connection, vault, ends| {
            if !is_its(connection, chains::both(connection, ends, contact)?, &vendor)? {
                return Ok(None);
            }
            let last = latest(connection, ends, contact)?;
            one(connection, vault, contact, last)
        })
        .await
    }

    async fn wrote_at(
        &self,
        instance: &InstanceId,
        address: &Address,
        via: ProviderKind,
    ) -> Result<Option<Millis>, JournalError> {
        let (instance, address) = (instance.clone(), address.clone());
        self.read_chains(move |connection, vault, _| {
            windows::of_address(connection, vault, &instance, &address, via)
        })
        .await
    }

    async fn wrote_by(
        &self,
        instance: &InstanceId,
        address: &Address,
        now: Millis,
    ) -> Result<Option<ProviderKind>, JournalError> {
        let (instance, address) = (instance.clone(), address.clone());
        self.read_chains(move |connection, vault, ends| {
            windows::of_address_by((connection, vault, ends), &instance, &address, now)
        })
        .await
    }

    async fn messages_of(
        &self,
        vendor: &VendorId,
        contact: ContactId,
        span: Span,
    ) -> Result<Page, JournalError> {
        let vendor = vendor.clone();
        self.read_chains(move |connection, vault, ends| {
            if is_its(connection, chains::both(connection, ends, contact)?, &vendor)? {
                messages(connection, vault, ends, (contact, span))
            } else {
                Ok(Page { rows: Vec::new(), next: None })
            }
        })
        .await
    }

    async fn records(
        &self,
        vendor: &VendorId,
        contact: ContactId,
        after: EntryId,
        limit: usize,
    ) -> Result<Vec<Record>, JournalError> {
        let vendor = vendor.clone();
        self.read_chains(move |connection, vault, ends| {
            let ends = chains::both(connection, ends, contact)?;
            records(connection, vault, ends, (&vendor, after, limit))
        })
        .await
    }

    async fn erase(
        &self,
        vendor: &VendorId,
        contact: ContactId,
        part: (Option<EraseFrom>, usize),
        now: Millis,
    ) -> Result<Erased, JournalError> {
        let vendor = vendor.clone();
        self.write(move |cx| erase::some(cx, &vendor, contact, part, now)).await
    }
}

/// Whether it is a conversation of this vendor's. Nothing of another's is read.
pub(super) fn is_its(
    connection: &Connection,
    ends: [EntryId; 2],
    vendor: &VendorId,
) -> Result<bool, DbError> {
    let sql = "SELECT vendor FROM entries WHERE id IN (?1, ?2) AND contact IS NOT NULL LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let found: Option<String> =
        statement.query_row(ends.map(|it| it.0), |row| row.get(0)).optional()?;
    Ok(found.is_some_and(|it| it == vendor.as_str()))
}

fn list(
    connection: &Connection,
    vault: &Vault,
    ends: &State,
    (vendor, before, limit): (&VendorId, Option<EntryId>, usize),
) -> Result<Conversations, DbError> {
    let sql = format!(
        "{OF_VENDOR} SELECT id, contact, kind FROM walk CROSS JOIN entries USING (id)
            WHERE id < ?2 LIMIT {LOOKED_AT_MAX}"
    );
    let start = chains::start_of_vendor(connection, ends, vendor, before)?;
    let before = before.map_or(i64::MAX, |it| it.0);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([start.0, before])?;
    let (mut page, mut seen) = (Conversations::default(), HashSet::new());
    let (mut last, mut n_seen) = (None, 0);
    while let Some(row) = found.next()? {
        let id = EntryId(row.get(0)?);
        (last, n_seen) = (Some(id), n_seen + 1);
        let contact: Option<i64> = row.get(1)?;
        let is_message = row.get::<_, i64>(2)? != SIGNAL;
        let Some(contact) = contact.map(ContactId).filter(|it| is_message && seen.insert(*it))
        else {
            continue;
        };
        // One whose latest message is newer was on a page before.
        if latest(connection, ends, contact)? == Some(id) {
            page.rows.extend(one(connection, vault, contact, Some(id))?);
        }
        if page.rows.len() >= limit {
            break;
        }
    }
    let has_more = page.rows.len() >= limit || n_seen >= LOOKED_AT_MAX;
    page.next = last.filter(|_| has_more);
    Ok(page)
}

fn latest(
    connection: &Connection,
    ends: &State,
    contact: ContactId,
) -> Result<Option<EntryId>, DbError> {
    let sql = format!(
        "{CONVERSATION} SELECT id FROM walk CROSS JOIN entries USING (id)
            WHERE contact = ?2 AND {MESSAGES} LIMIT 1"
    );
    let last = ends.end(connection, contact, Chain::Turns)?;
    let mut statement = connection.prepare_cached(&sql)?;
    let values = [last.0, contact.0];
    Ok(statement.query_row(values, |row| row.get(0).map(EntryId)).optional()?)
}

fn one(
    connection: &Connection,
    vault: &Vault,
    contact: ContactId,
    last: Option<EntryId>,
) -> Result<Option<Conversation>, DbError> {
    let sql = "SELECT instance, doc, paused_until, pause_reason FROM contacts WHERE id = ?1";
    let read = |row: &Row<'_>| {
        let instance: String = row.get(0)?;
        Ok((instance, row.get::<_, Vec<u8>>(1)?, row.get(2)?, row.get(3)?))
    };
    let found = connection.prepare_cached(sql)?.query_row([contact.0], read).optional()?;
    let Some((instance, doc, paused_until, pause_reason)) = found else { return Ok(None) };
    let contacts::Doc { address, name } = contacts::open(vault, &instance, &doc)?;
    let last = match last {
        Some(last) => show::with_body(connection, last)?,
        None => None,
    };
    let last = last.map(|(row, body)| show::message_row(connection, vault, &row, &body));
    Ok(Some(Conversation {
        id: contact,
        instance: InstanceId::parse(&instance).map_err(|_| DbError::Unreadable("contact"))?,
        address,
        name,
        paused_until,
        pause_reason,
        last: last.transpose()?,
    }))
}

fn messages(
    connection: &Connection,
    vault: &Vault,
    ends: &State,
    (contact, span): (ContactId, Span),
) -> Result<Page, DbError> {
    let (order, compare, first) =
        if span.is_ascending { ("", ">", i64::MIN) } else { ("DESC", "<", i64::MAX) };
    let sql = format!(
        "{CONVERSATION} SELECT {COLUMNS}, body FROM walk CROSS JOIN entries USING (id)
            WHERE contact = ?2 AND id {compare} ?3 AND {MESSAGES} ORDER BY id {order} LIMIT ?4"
    );
    let last = ends.end(connection, contact, Chain::Turns)?;
    let cursor = span.cursor.map_or(first, |it| it.0);
    let limit = i64::try_from(span.limit).unwrap_or(i64::MAX - 1);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([last.0, contact.0, cursor, limit + 1])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push(shown(connection, vault, row)?.1);
    }
    let has_more = rows.len() > span.limit;
    rows.truncate(span.limit);
    let next = rows.last().map(|it| it.id).filter(|_| has_more);
    Ok(Page { rows, next })
}

fn records(
    connection: &Connection,
    vault: &Vault,
    [last_turn, last_signal]: [EntryId; 2],
    (vendor, after, limit): (&VendorId, EntryId, usize),
) -> Result<Vec<Record>, DbError> {
    let sql = format!(
        "{BOTH} SELECT {COLUMNS}, body FROM walk CROSS JOIN entries USING (id)
            WHERE contact IS NOT NULL AND vendor = ?3 AND id > ?4 ORDER BY id LIMIT ?5"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found =
        statement.query(params![last_turn.0, last_signal.0, vendor.as_str(), after.0, limit])?;
    let mut records = Vec::new();
    while let Some(row) = found.next()? {
        let (entry, shown) = shown(connection, vault, row)?;
        let signal = match entry.kind {
            SIGNAL => {
                let body: Vec<u8> = row.get("body")?;
                Some(Box::new(entries::open(vault, &entry.instance, &body)?))
            }
            _ => None,
        };
        let attempts = entry.life.delivery.as_ref().map_or(0, |it| it.attempts);
        let received = (entry.kind != INTENT).then(|| (entry.id.ms(), "received".to_owned()));
        let steps = received.into_iter().chain(entry.life.log.to_vec()).collect();
        records.push(Record { row: shown, steps, attempts, signal });
    }
    Ok(records)
}

fn shown(
    connection: &Connection,
    vault: &Vault,
    row: &Row<'_>,
) -> Result<(EntryRow, MessageRow), DbError> {
    let body: Vec<u8> = row.get("body")?;
    let entry = EntryRow::read(row)?;
    let shown = show::message_row(connection, vault, &entry, &body)?;
    Ok((entry, shown))
}
