//! What was said in a conversation, however long ago.

use std::ops::ControlFlow;

use rusqlite::{Connection, params};

use super::{
    chains,
    entries::{DEAD, ECHO, INTENT},
    late::Chain,
    state::State,
};
use crate::{
    domain::{
        clock::Millis,
        id::{ContactId, EntryId},
    },
    sqlite::DbError,
};

/// Whether anything was ever sent to a contact, by the gateway or from the phone, or may yet be.
/// What was given up was not.
pub(super) fn by_vendor(
    connection: &Connection,
    last: EntryId,
    contact: ContactId,
) -> Result<bool, DbError> {
    let sql = "SELECT prev, contact, kind, account FROM entries WHERE id = ?1";
    let mut is_found = false;
    chains::walk(connection, last, (sql, 0), |row| {
        let (of, kind, account): (Option<i64>, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
        is_found = of == Some(contact.0) && matches!(kind, INTENT | ECHO) && account != DEAD;
        Ok(if is_found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(is_found)
}

/// Whether a text with this key was sent to a contact since this time, or may yet be.
pub(super) fn text(
    connection: &Connection,
    ends: &State,
    contact: ContactId,
    (text_key, since): (i64, Millis),
) -> Result<bool, DbError> {
    let sql = format!(
        "WITH RECURSIVE walk (id, prev) AS (
            SELECT id, prev FROM entries WHERE id = ?1 AND id >= ?3
            UNION ALL SELECT e.id, e.prev FROM walk CROSS JOIN entries e ON e.id = walk.prev
                WHERE e.id >= ?3)
        SELECT 1 FROM walk CROSS JOIN entries USING (id)
            WHERE contact = ?2 AND kind = {INTENT} AND account <> 4 AND text_key = ?4 LIMIT 1"
    );
    let last = ends.end(connection, contact, Chain::Turns)?;
    let values = params![last.0, contact.0, EntryId::at(since).0, text_key];
    Ok(connection.prepare_cached(&sql)?.exists(values)?)
}
