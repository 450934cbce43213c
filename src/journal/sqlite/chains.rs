//! Reading a conversation, or a vendor's messages, from the latest entry backwards: each names the
//! one before it.

use std::{collections::BTreeMap, ops::ControlFlow};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    late::Chain,
    state::{Cx, State},
};
use crate::{
    domain::id::{ContactId, EntryId, VendorId},
    sqlite::DbError,
};

/// The ids of a conversation's entries from `?1` backwards, latest first, as the table `walk`. An
/// entry that is gone ends it.
pub(super) const CONVERSATION: &str = "WITH RECURSIVE walk (id, prev) AS (
        SELECT id, prev FROM entries WHERE id = ?1
        UNION ALL SELECT e.id, e.prev FROM walk CROSS JOIN entries e ON e.id = walk.prev)";

/// Looks at the entries of a conversation from this one backwards, until `look` has seen enough or
/// there is none before; as of one moment. `sql` reads one entry by its id, with the one before it
/// as column number `prev_at`. For who looks at a few only: a query that walks by itself sets up
/// tables first, which costs more than some steps.
pub(super) fn walk(
    connection: &Connection,
    last: EntryId,
    (sql, prev_at): (&str, usize),
    mut look: impl FnMut(&Row<'_>) -> Result<ControlFlow<()>, DbError>,
) -> Result<(), DbError> {
    let mut steps = || {
        let mut statement = connection.prepare_cached(sql)?;
        let mut next = Some(last.0);
        while let Some(id) = next {
            let mut rows = statement.query([id])?;
            let Some(row) = rows.next()? else { break };
            next = row.get(prev_at)?;
            if look(row)?.is_break() {
                break;
            }
        }
        Ok(())
    };
    connection.prepare_cached("BEGIN")?.execute(())?;
    let end = steps();
    connection.prepare_cached("COMMIT")?.execute(())?;
    end
}

/// The same as [`CONVERSATION`], down to the entry after `?2`: the answers to that one are among them.
pub(super) const ANSWERS: &str = "WITH RECURSIVE walk (id, prev) AS (
        SELECT id, prev FROM entries WHERE id = ?1 AND id > ?2
        UNION ALL SELECT e.id, e.prev FROM walk CROSS JOIN entries e ON e.id = walk.prev
            WHERE e.id > ?2)";

/// The same of a vendor's messages.
pub(super) const OF_VENDOR: &str = "WITH RECURSIVE walk (id, prev) AS (
        SELECT id, prev_of_vendor FROM entries WHERE id = ?1
        UNION ALL SELECT e.id, e.prev_of_vendor FROM walk
            CROSS JOIN entries e ON e.id = walk.prev)";

/// The ids of a conversation's entries from `?1` and `?2`, the ends of its chains, backwards.
pub(super) const BOTH: &str = "WITH RECURSIVE walk (id, prev) AS (
        SELECT id, prev FROM entries WHERE id IN (?1, ?2)
        UNION ALL SELECT e.id, e.prev FROM walk CROSS JOIN entries e ON e.id = walk.prev)";

/// Where to walk from for a vendor's messages before this one.
pub(super) fn start_of_vendor(
    connection: &Connection,
    ends: &State,
    vendor: &VendorId,
    before: Option<EntryId>,
) -> Result<EntryId, DbError> {
    let last = ends.end_of_vendor(connection, vendor)?;
    let Some(before) = before.filter(|it| *it <= last) else { return Ok(last) };
    let sql = "SELECT prev_of_vendor FROM entries WHERE id = ?1 AND vendor = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let values = params![before.0, vendor.as_str()];
    let found: Option<Option<i64>> = statement.query_row(values, |row| row.get(0)).optional()?;
    // One that is gone, or no message, says nothing: it is found by passing over the later ones.
    Ok(found.flatten().map_or(last, EntryId))
}

/// Both ends of a conversation.
pub(super) fn both(
    connection: &Connection,
    ends: &State,
    contact: ContactId,
) -> Result<[EntryId; 2], DbError> {
    Ok([
        ends.end(connection, contact, Chain::Turns)?,
        ends.end(connection, contact, Chain::Signals)?,
    ])
}

/// The entries of `from` become those of `into`, in their order.
pub(super) fn join(cx: &mut Cx<'_>, from: ContactId, into: ContactId) -> Result<(), DbError> {
    let (of_from, of_into) = (cx.ends(from)?, cx.ends(into)?);
    for (n, chain) in [Chain::Turns, Chain::Signals].into_iter().enumerate() {
        let mut links = links(cx, of_from[n], from)?;
        if links.is_empty() {
            continue;
        }
        links.extend(self::links(cx, of_into[n], into)?);
        links.sort_unstable();
        let mut prev = None;
        for Link { id, before, contact } in &links {
            if *before != prev || *contact != into.0 {
                let sql = "UPDATE entries SET contact = ?2, prev = ?3 WHERE id = ?1";
                cx.connection.prepare_cached(sql)?.execute(params![id, into.0, prev])?;
            }
            prev = Some(*id);
        }
        ends_with(cx, into, chain, EntryId(prev.unwrap_or_default()))?;
    }
    Ok(())
}

/// An entry that stays where others of its conversation are removed.
pub(super) struct Kept {
    pub(super) chain: Chain,
    pub(super) id: i64,
    pub(super) prev: Option<i64>,
}

/// What of a conversation is about to be removed, up to `through`, is passed over by the links of
/// what stays. Of that, `kept` is linked whether or not a link leads there now.
pub(super) fn pass_over(
    cx: &mut Cx<'_>,
    contact: ContactId,
    (through, is_removed): (EntryId, &str),
    kept: &[Kept],
) -> Result<(), DbError> {
    let ends = cx.ends(contact)?;
    for (last, chain) in ends.into_iter().zip([Chain::Turns, Chain::Signals]) {
        let sql = format!(
            "{CONVERSATION} SELECT id, entries.prev FROM walk CROSS JOIN entries USING (id)
                WHERE contact = ?2 AND NOT (id <= ?3 AND {is_removed})"
        );
        let mut statement = cx.connection.prepare_cached(&sql)?;
        let values = [last.0, contact.0, through.0];
        let rows = statement.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut stay: BTreeMap<i64, Option<i64>> = rows.collect::<Result<_, _>>()?;
        stay.extend(kept.iter().filter(|it| it.chain == chain).map(|it| (it.id, it.prev)));
        let mut prev = None;
        for (id, before) in stay {
            if before != prev {
                let sql = "UPDATE entries SET prev = ?2 WHERE id = ?1";
                cx.connection.prepare_cached(sql)?.execute(params![id, prev])?;
            }
            prev = Some(id);
        }
        if let Some(left) = prev.map(EntryId).filter(|it| *it != last) {
            ends_with(cx, contact, chain, left)?;
        }
    }
    Ok(())
}

/// A conversation ends with another entry than it did.
fn ends_with(
    cx: &mut Cx<'_>,
    contact: ContactId,
    chain: Chain,
    last: EntryId,
) -> Result<(), DbError> {
    cx.late()?.joined(contact, chain, last);
    // It may be older than what is still written late.
    let sql = match chain {
        Chain::Turns => "UPDATE contacts SET last_turn = ?2 WHERE id = ?1",
        Chain::Signals => "UPDATE contacts SET last_signal = ?2 WHERE id = ?1",
    };
    cx.connection.prepare_cached(sql)?.execute([contact.0, last.0])?;
    Ok(())
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Link {
    id: i64,
    before: Option<i64>,
    contact: i64,
}

fn links(cx: &Cx<'_>, last: EntryId, contact: ContactId) -> Result<Vec<Link>, DbError> {
    let sql = format!(
        "{CONVERSATION} SELECT id, entries.prev FROM walk CROSS JOIN entries USING (id)
            WHERE contact = ?2"
    );
    let mut statement = cx.connection.prepare_cached(&sql)?;
    let rows = statement.query_map([last.0, contact.0], |row| {
        Ok(Link { id: row.get(0)?, before: row.get(1)?, contact: contact.0 })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::SCRIPTS;

    #[test]
    fn what_was_kept_before_there_were_links_gets_them() {
        let connection = Connection::open_in_memory().unwrap();
        SCRIPTS[..2].iter().for_each(|it| connection.execute_batch(it).unwrap());
        for contact in 1..=3 {
            let sql = "INSERT INTO contacts (id, instance, doc) VALUES (?1, 'waba_a', x'')";
            connection.execute(sql, [contact]).unwrap();
        }
        // Two vendors, two contacts, a group's message, turns and signals in turns.
        let rows = [(1, 0, 1), (2, 1, 1), (3, 0, 2), (4, 2, 1), (5, 0, 0), (6, 1, 1), (7, 3, 1)];
        for (id, kind, contact) in rows {
            let vendor = if contact == 2 { "b" } else { "a" };
            let sql = "INSERT INTO entries
                (id, kind, account, is_open, vendor, instance, contact, body, life)
                VALUES (?1, ?2, 1, 0, ?3, 'waba', nullif(?4, 0), x'', '')";
            connection.execute(sql, params![id, kind, vendor, contact]).unwrap();
        }
        connection.execute_batch(SCRIPTS[2]).unwrap();
        let ids = |sql: &str, from: i64| -> Vec<i64> {
            let sql = format!("{sql} SELECT id FROM walk");
            let mut statement = connection.prepare(&sql).unwrap();
            statement.query_map([from], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let state = State::default();
        let end = |contact, chain| state.end(&connection, ContactId(contact), chain).unwrap().0;
        assert_eq!(ids(CONVERSATION, end(1, Chain::Turns)), [7, 4, 1]);
        assert_eq!(ids(CONVERSATION, end(1, Chain::Signals)), [6, 2]);
        assert_eq!(ids(CONVERSATION, end(2, Chain::Turns)), [3]);
        assert_eq!((end(2, Chain::Signals), end(3, Chain::Turns)), (0, 0));
        for (vendor, want) in [("a", vec![7, 5, 4, 1]), ("b", vec![3]), ("c", vec![])] {
            let vendor = VendorId::parse(vendor).unwrap();
            let last = state.end_of_vendor(&connection, &vendor).unwrap().0;
            assert_eq!(ids(OF_VENDOR, last), want);
        }
    }
}
