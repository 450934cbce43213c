//! Rows of the outbox: what each document says, read from its entry, and what became of it.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{CREATE, ERASE, OF_ESCALATION, OF_MESSAGE, WRITE};
use crate::{
    domain::{
        clock::Millis,
        contact::Address,
        event::{Chat, Event, What},
        id::EntryId,
        message::{Content, Text},
        record::{Escalation, MessageRecord, Record, Standing, is_final, wait},
    },
    journal::{
        DocumentEnd, Due, DueDocument, DueDocuments, OutboxLoad,
        sqlite::{
            contacts::{self, Doc},
            entries::{self, ECHO, EntryRow, INTENT, MESSAGE},
            intents::Outbound,
            show::{self, edited},
            state::Cx,
        },
    },
    sqlite::DbError,
    vault::Vault,
};

/// Sealed bodies in memory at once, in bytes; one more may exceed it.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) fn due(
    connection: &Connection,
    vault: &Vault,
    now: Millis,
    limit: usize,
) -> Result<DueDocuments, DbError> {
    // One moment for rows and entries: a row must not say «write» of what was erased meanwhile.
    let moment = connection.unchecked_transaction()?;
    let sql = "SELECT entry, what, deed, n, said, tries, due FROM outbox INDEXED BY outbox_due
        WHERE due IS NOT NULL ORDER BY due, entry LIMIT ?1";
    let mut statement = moment.prepare_cached(sql)?;
    let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut found = DueDocuments::default();
    let mut n_bytes = 0;
    while let Some(row) = rows.next()? {
        let due_at: Millis = row.get(6)?;
        if due_at > now {
            found.next = Some(due_at);
            break;
        }
        if n_bytes > BODY_BYTES_MAX {
            break;
        }
        let row = read(row)?;
        let due = match document(&moment, vault, &row, &mut n_bytes) {
            Err(DbError::Unreadable(what)) => Due::Unreadable(what),
            document => document?.map_or(Due::Nothing, Due::Record),
        };
        found.documents.push((row, due));
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> rusqlite::Result<DueDocument> {
    Ok(DueDocument {
        entry: EntryId(row.get(0)?),
        what: row.get(1)?,
        deed: row.get(2)?,
        n: row.get(3)?,
        said: Standing::of_code(row.get(4)?),
        tries: row.get(5)?,
    })
}

fn document(
    connection: &Connection,
    vault: &Vault,
    row: &DueDocument,
    n_bytes: &mut usize,
) -> Result<Option<Record>, DbError> {
    match (row.what, row.deed) {
        (OF_MESSAGE, ERASE) => return Ok(Some(Record::EraseMessage)),
        (OF_ESCALATION, ERASE) => return Ok(Some(Record::EraseEscalation)),
        _ => {}
    }
    let Some((entry, body)) = show::with_body(connection, row.entry)? else { return Ok(None) };
    if entry.is_erased() {
        return Ok(None);
    }
    *n_bytes += body.len();
    match (row.what, row.deed) {
        (OF_MESSAGE, WRITE) if row.n > 0 => {
            // A person may have started it again meanwhile; a document only moves up.
            let is = Some(entry.standing()).filter(|it| Some(*it) > row.said);
            Ok(is.map(Record::Standing))
        }
        (OF_MESSAGE, WRITE) => Ok(message(connection, vault, &entry, &body)?.map(Record::Message)),
        (OF_MESSAGE, CREATE) => {
            Ok(message(connection, vault, &entry, &body)?.map(Record::NewMessage))
        }
        (OF_ESCALATION, _) => {
            Ok(escalation(connection, vault, &entry, &body)?.map(Record::Escalation))
        }
        _ => Ok(None),
    }
}

fn message(
    connection: &Connection,
    vault: &Vault,
    entry: &EntryRow,
    body: &[u8],
) -> Result<Option<Box<MessageRecord>>, DbError> {
    let Some(said) = said(vault, entry, body)? else { return Ok(None) };
    let text = edited(connection, vault, entry)?;
    let customer = customer(connection, vault, entry, said.customer)?.address;
    Ok(Some(Box::new(MessageRecord {
        vendor: entry.vendor.clone(),
        instance: entry.instance.clone(),
        own: None,
        customer,
        is_inbound: entry.kind == MESSAGE,
        by_human: entry.kind == ECHO,
        is_group: said.is_group,
        text: text.unwrap_or_else(|| Text(said.content.as_text().to_owned())),
        kind: said.content.kind().to_owned(),
        message_id: said.message_id,
        at: said.at,
        created_at: entry.id.ms(),
        standing: entry.standing(),
    })))
}

fn escalation(
    connection: &Connection,
    vault: &Vault,
    entry: &EntryRow,
    body: &[u8],
) -> Result<Option<Box<Escalation>>, DbError> {
    let Some(said) = said(vault, entry, body)? else { return Ok(None) };
    let Doc { address, name } = customer(connection, vault, entry, said.customer)?;
    Ok(Some(Box::new(Escalation {
        vendor: entry.vendor.clone(),
        customer: address,
        name: said.name.or(name),
        text: Text(said.content.as_text().to_owned()),
        kind: said.content.kind().to_owned(),
        conversation: entry.contact,
        message_id: said.message_id,
        at: entry.id.ms(),
    })))
}

/// What was said, by whom or to whom.
struct Said {
    content: Content,
    customer: Address,
    name: Option<Text>,
    message_id: String,
    is_group: bool,
    at: Millis,
}

fn said(vault: &Vault, entry: &EntryRow, body: &[u8]) -> Result<Option<Said>, DbError> {
    if entry.kind == INTENT {
        let Outbound { to, content } = entries::open(vault, &entry.instance, body)?;
        return Ok(Some(Said {
            content,
            customer: to,
            name: None,
            message_id: entry.id.to_string(),
            is_group: false,
            at: entry.id.ms(),
        }));
    }
    let event: Event = entries::open(vault, &entry.instance, body)?;
    let (What::Message(content) | What::Echo(content)) = event.what else { return Ok(None) };
    Ok(Some(Said {
        content,
        customer: event.contact,
        name: event.name,
        message_id: event.provider_id.unwrap_or_else(|| entry.id.to_string()),
        is_group: event.chat == Chat::Group,
        at: event.at.unwrap_or(entry.id.ms()),
    }))
}

/// A customer, with what has become known of them later than the message.
fn customer(
    connection: &Connection,
    vault: &Vault,
    entry: &EntryRow,
    address: Address,
) -> Result<Doc, DbError> {
    let Some(contact) = entry.contact else { return Ok(Doc { address, name: None }) };
    let mut statement = connection.prepare_cached("SELECT doc FROM contacts WHERE id = ?1")?;
    let doc: Option<Vec<u8>> = statement.query_row([contact.0], |row| row.get(0)).optional()?;
    let open = |it: Vec<u8>| contacts::open(vault, entry.instance.as_str(), &it);
    let known = doc.map(open).transpose()?.unwrap_or_default();
    let address =
        if address.phone.is_some() || known.address.is_empty() { address } else { known.address };
    Ok(Doc { address, name: known.name })
}

/// Nothing is changed of a row of which something else is to be done by now.
pub(super) fn end(
    cx: &mut Cx<'_>,
    row: &DueDocument,
    end: DocumentEnd,
    now: Millis,
) -> Result<(), DbError> {
    match end {
        DocumentEnd::Gone if row.n > 0 && row.deed == WRITE => {
            let due = news(cx, row, row.n, row.said, now)?;
            let sql = "UPDATE outbox SET due = ?4, tries = 0, since = NULL
                WHERE entry = ?1 AND what = ?2 AND deed = ?3";
            let values = params![row.entry.0, row.what, row.deed, due];
            cx.connection.prepare_cached(sql)?.execute(values)?;
            Ok(())
        }
        DocumentEnd::Again { due, is_refused } => {
            let sql = "UPDATE outbox SET due = ?4, tries = tries + ?5, since = coalesce(since, due)
                WHERE entry = ?1 AND what = ?2 AND deed = ?3";
            let values = params![row.entry.0, row.what, row.deed, due, is_refused];
            cx.connection.prepare_cached(sql)?.execute(values)?;
            Ok(())
        }
        DocumentEnd::Written(None) if row.what == OF_ESCALATION && row.deed != ERASE => {
            // The row stays as long as the entry, to tell of it when the customer is erased.
            written(cx, row, -1, None)
        }
        DocumentEnd::Written(Some(said)) if row.deed == WRITE && !is_final(row.n + 1, said) => {
            let due = news(cx, row, row.n + 1, Some(said), now)?;
            written(cx, row, said.code(), due)
        }
        DocumentEnd::Gone | DocumentEnd::Written(_) => delete(cx, row),
    }
}

/// When a document is due that was written so often and says this: its message may have got further
/// while it was on its way.
fn news(
    cx: &Cx<'_>,
    row: &DueDocument,
    n_written: u8,
    said: Option<Standing>,
    now: Millis,
) -> Result<Option<Millis>, DbError> {
    let is = entries::load(cx, row.entry)?.map(|it| it.standing());
    let news = is.filter(|it| Some(*it) > said);
    Ok(news.and_then(|it| wait(n_written, it)).map(|it| now + it))
}

fn written(cx: &Cx<'_>, row: &DueDocument, said: i64, due: Option<Millis>) -> Result<(), DbError> {
    let sql = "UPDATE outbox SET n = n + 1, said = ?4, due = ?5, tries = 0, since = NULL
        WHERE entry = ?1 AND what = ?2 AND deed = ?3";
    let values = params![row.entry.0, row.what, row.deed, said, due];
    cx.connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn delete(cx: &Cx<'_>, row: &DueDocument) -> Result<(), DbError> {
    let sql = "DELETE FROM outbox WHERE entry = ?1 AND what = ?2 AND deed = ?3";
    cx.connection.prepare_cached(sql)?.execute(params![row.entry.0, row.what, row.deed])?;
    Ok(())
}

pub(super) fn load(connection: &Connection) -> Result<OutboxLoad, DbError> {
    let sql = "SELECT count(*), min(due), (SELECT min(since) FROM outbox WHERE since IS NOT NULL)
        FROM outbox INDEXED BY outbox_due WHERE due IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let load = statement.query_row((), |row| {
        let (n_waiting, first_due, tried_since) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(OutboxLoad { n_waiting, first_due, tried_since })
    })?;
    Ok(load)
}
