//! Rows of the forwards table.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    domain::{
        clock::Millis,
        contact::Address,
        event::Event,
        forward::{DEAD_LASTS, DEAD_PER_VENDOR_MAX, LASTS, Topic, WAITING_PER_VENDOR_MAX},
        id::{ContactId, EntryId, ForwardId, VendorId},
    },
    journal::{
        Forward, ForwardEnd, ForwardsLoad, Kept, Replay, Telling, ToForward, Told,
        sqlite::{
            contacts,
            entries::{self, COLUMNS, EntryRow, INTENT, SIGNAL},
            intents::Outbound,
            state::Cx,
        },
    },
    sqlite::DbError,
    vault::Vault,
};

const WAITING: i64 = 0;
const DEAD: i64 = 1;
/// Rows changed in one transaction, so that nobody else waits long for the writer.
const AT_ONCE: i64 = 1_000;

pub(super) fn vendors(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<VendorId>, DbError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(values, |row| row.get::<_, String>(0))?;
    let found: Vec<String> = rows.collect::<Result<_, _>>()?;
    found.iter().map(|it| VendorId::parse(it).map_err(|_| DbError::Unreadable("vendor"))).collect()
}

/// The message an event speaks of: of a signal, what it is about.
const FIELDS: &str = "f.id, f.what, CASE e.kind WHEN 1 THEN e.origin ELSE e.id END, f.word, \
    f.reason, f.state, f.due, f.expires, f.tries, f.note";

fn read(row: &Row<'_>) -> rusqlite::Result<Option<Forward>> {
    let what: String = row.get(1)?;
    // A later version may have had other topics.
    let Some(topic) = Topic::parse(&what) else { return Ok(None) };
    Ok(Some(Forward {
        id: ForwardId(row.get(0)?),
        topic,
        message: row.get::<_, Option<i64>>(2)?.map(EntryId),
        status: row.get(3)?,
        reason: row.get(4)?,
        is_dead: row.get::<_, i64>(5)? == DEAD,
        due: row.get(6)?,
        expires: row.get(7)?,
        tries: row.get(8)?,
        note: row.get(9)?,
    }))
}

pub(super) fn next(
    connection: &Connection,
    vault: &Vault,
    vendor: &VendorId,
    skips: usize,
) -> Result<Option<ToForward>, DbError> {
    let sql = format!(
        "SELECT {FIELDS}, f.entry FROM forwards f LEFT JOIN entries e ON e.id = f.entry
         WHERE f.vendor = ?1 AND f.state = 0 ORDER BY f.due, f.id LIMIT 1 OFFSET ?2"
    );
    let skips = i64::try_from(skips).unwrap_or_default();
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement
        .query_row(params![vendor.as_str(), skips], |row| Ok((read(row)?, row.get(10)?)))
        .optional()?;
    let Some((row, entry)) = found else { return Ok(None) };
    let row = row.ok_or(DbError::Unreadable("forward"))?;
    let telling = match told(connection, vault, EntryId(entry)) {
        // As an error it would hold up all that comes after it.
        Err(DbError::Unreadable(_)) => Telling::Unreadable,
        told => told?.map_or(Telling::Erased, |it| Telling::Told(Box::new(it))),
    };
    Ok(Some(ToForward { row, telling }))
}

fn told(connection: &Connection, vault: &Vault, id: EntryId) -> Result<Option<Told>, DbError> {
    let sql = format!("SELECT {COLUMNS}, body FROM entries WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_row([id.0], |row| Ok((EntryRow::read(row)?, row.get("body")?)));
    let Some((row, body)) = found.optional()? else { return Ok(None) };
    let body: Vec<u8> = body;
    let (what, mut address) = if row.kind == INTENT {
        let Outbound { to, content, .. } = entries::open(vault, &row.instance, &body)?;
        (Kept::Intent(Box::new(content)), to)
    } else {
        let event: Event = entries::open(vault, &row.instance, &body)?;
        let address = event.contact.clone();
        (Kept::Event(Box::new(event)), address)
    };
    if let (None, Some(contact)) = (&address.phone, row.contact) {
        address = known(connection, vault, &row, contact)?.unwrap_or(address);
    }
    let origin = row.origin.filter(|_| row.kind != SIGNAL);
    Ok(Some(Told { instance: row.instance, contact: row.contact, address, origin, what }))
}

/// The number may have become known later than the message.
fn known(
    connection: &Connection,
    vault: &Vault,
    row: &EntryRow,
    contact: ContactId,
) -> Result<Option<Address>, DbError> {
    let mut statement = connection.prepare_cached("SELECT doc FROM contacts WHERE id = ?1")?;
    let doc: Option<Vec<u8>> = statement.query_row([contact.0], |row| row.get(0)).optional()?;
    let open = |it: Vec<u8>| contacts::open(vault, row.instance.as_str(), &it);
    Ok(doc.map(open).transpose()?.map(|it| it.address))
}

pub(super) fn ended(cx: &Cx<'_>, id: ForwardId, end: &ForwardEnd) -> Result<(), DbError> {
    match end {
        ForwardEnd::Gone => {
            let sql = "DELETE FROM forwards WHERE id = ?1";
            cx.connection.prepare_cached(sql)?.execute([id.0])?;
        }
        ForwardEnd::Again { due, note } => {
            let sql = "UPDATE forwards SET due = coalesce(?2, due), note = ?3, tries = tries + 1
                WHERE id = ?1 AND state = 0";
            cx.connection.prepare_cached(sql)?.execute(params![id.0, due, note])?;
        }
        ForwardEnd::Dead { why, note } => {
            let tries = i64::from(note.is_some());
            let note = note.as_ref().map_or((*why).to_owned(), |it| format!("{why}, {it}"));
            let sql = "UPDATE forwards SET state = 1, note = ?2, tries = tries + ?3 WHERE id = ?1";
            cx.connection.prepare_cached(sql)?.execute(params![id.0, note, tries])?;
        }
    }
    Ok(())
}

/// Gives up the oldest until so many wait; whether there may be more to do.
pub(super) fn give_up(
    cx: &Cx<'_>,
    vendor: &VendorId,
    keep: i64,
    why: &str,
) -> Result<bool, DbError> {
    let n = surplus(cx, vendor, WAITING, keep)?;
    let sql = "UPDATE forwards SET state = 1, note = ?2 WHERE id IN (SELECT id FROM forwards
        WHERE vendor = ?1 AND state = 0 ORDER BY id LIMIT ?3)";
    if n > 0 {
        cx.connection.prepare_cached(sql)?.execute(params![vendor.as_str(), why, n])?;
    }
    Ok(n == AT_ONCE)
}

fn surplus(cx: &Cx<'_>, vendor: &VendorId, state: i64, keep: i64) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM forwards WHERE vendor = ?1 AND state = ?2";
    let mut statement = cx.connection.prepare_cached(sql)?;
    let n: i64 = statement.query_row(params![vendor.as_str(), state], |row| row.get(0))?;
    Ok((n - keep).clamp(0, AT_ONCE))
}

pub(super) fn is_untidy(connection: &Connection, now: Millis) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM forwards WHERE state = 0 AND expires <= ?1)
        OR EXISTS (SELECT 1 FROM forwards WHERE state = 1 AND expires <= ?2)";
    let forgotten = now - DEAD_LASTS;
    Ok(connection.prepare_cached(sql)?.query_row([now, forgotten], |row| row.get(0))?)
}

/// Whether there may be more to do.
pub(super) fn tidy(cx: &Cx<'_>, now: Millis) -> Result<bool, DbError> {
    let sql = "UPDATE forwards SET state = 1,
            note = CASE WHEN note IS NULL THEN 'expired' ELSE 'expired, ' || note END
        WHERE id IN (SELECT id FROM forwards WHERE state = 0 AND expires <= ?1 LIMIT ?2)";
    let n_expired = cx.connection.prepare_cached(sql)?.execute([now, AT_ONCE])?;
    let sql = "DELETE FROM forwards
        WHERE id IN (SELECT id FROM forwards WHERE state = 1 AND expires <= ?1 LIMIT ?2)";
    let n_forgotten = cx.connection.prepare_cached(sql)?.execute([now - DEAD_LASTS, AT_ONCE])?;
    Ok(i64::try_from(n_expired.max(n_forgotten)) == Ok(AT_ONCE))
}

/// Keeps one vendor's share of the disk bounded; whether there may be more to do.
pub(super) fn trim(
    vendor: &VendorId,
) -> impl FnMut(&mut Cx<'_>) -> Result<bool, DbError> + Send + use<> {
    let vendor = vendor.clone();
    move |cx| {
        let has_more = give_up(cx, &vendor, WAITING_PER_VENDOR_MAX, "overflow")?;
        let n = surplus(cx, &vendor, DEAD, DEAD_PER_VENDOR_MAX)?;
        let sql = "DELETE FROM forwards WHERE id IN (SELECT id FROM forwards
            WHERE vendor = ?1 AND state = 1 ORDER BY id LIMIT ?2)";
        if n > 0 {
            cx.connection.prepare_cached(sql)?.execute(params![vendor.as_str(), n])?;
        }
        Ok(has_more || n == AT_ONCE)
    }
}

pub(super) fn load(connection: &Connection) -> Result<ForwardsLoad, DbError> {
    let sql = "SELECT state, count(*), min(id) FROM forwards GROUP BY vendor, state";
    let mut found = ForwardsLoad::default();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let (state, n, oldest): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if state == WAITING {
            found.n_waiting += n;
            let oldest = ForwardId(oldest).ms();
            found.oldest = Some(found.oldest.map_or(oldest, |it| it.min(oldest)));
        } else {
            found.n_dead += n;
        }
    }
    let sql = "SELECT DISTINCT vendor FROM (SELECT vendor FROM forwards GROUP BY vendor, state
        HAVING count(*) > CASE state WHEN 0 THEN ?1 ELSE ?2 END)";
    found.crowded = vendors(connection, sql, [WAITING_PER_VENDOR_MAX, DEAD_PER_VENDOR_MAX])?;
    Ok(found)
}

pub(super) fn list(
    connection: &Connection,
    vendor: &VendorId,
    is_dead: bool,
    before: Option<ForwardId>,
    limit: usize,
) -> Result<Vec<Forward>, DbError> {
    let sql = format!(
        "SELECT {FIELDS} FROM forwards f LEFT JOIN entries e ON e.id = f.entry
         WHERE f.vendor = ?1 AND f.state = ?2 AND f.id < ?3 ORDER BY f.id DESC LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let before = before.map_or(i64::MAX, |it| it.0);
    let values = params![vendor.as_str(), i64::from(is_dead), before, limit];
    let rows = statement.query_map(values, read)?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

pub(super) fn replay(
    cx: &mut Cx<'_>,
    vendor: &VendorId,
    which: &Replay,
    expires: Millis,
) -> Result<(usize, Option<ForwardId>), DbError> {
    let sql = "UPDATE forwards SET state = 0, due = min(id >> 20, ?3 - ?4), expires = ?3,
        tries = 0, note = NULL WHERE vendor = ?1 AND state = 1 AND id = ?2";
    let ids = match which {
        Replay::Ids(ids) => ids.clone(),
        Replay::After(after) => {
            let sql = "SELECT id FROM forwards WHERE vendor = ?1 AND state = 1 AND id > ?2
                ORDER BY id LIMIT ?3";
            let mut statement = cx.connection.prepare_cached(sql)?;
            let values = params![vendor.as_str(), after.0, AT_ONCE];
            let found = statement.query_map(values, |row| row.get(0).map(ForwardId))?;
            found.collect::<Result<Vec<_>, _>>()?
        }
    };
    let mut n = 0;
    for id in &ids {
        let values = params![vendor.as_str(), id.0, expires, LASTS];
        n += cx.connection.prepare_cached(sql)?.execute(values)?;
    }
    if n > 0 {
        cx.memory.forwarded.insert(vendor.clone());
    }
    Ok((n, ids.last().copied()))
}
