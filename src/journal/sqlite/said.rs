//! What was said in a conversation, however long ago.

use rusqlite::{Connection, params};

use super::entries::{ECHO, INTENT};
use crate::{
    domain::{
        clock::Millis,
        id::{ContactId, EntryId},
    },
    sqlite::DbError,
};

/// Whether anything was ever sent to a contact, by the gateway or from the phone, or may yet be.
/// What was given up was not.
pub(super) fn by_vendor(connection: &Connection, contact: ContactId) -> Result<bool, DbError> {
    let sql = format!(
        "SELECT 1 FROM entries WHERE contact = ?1 AND kind IN ({INTENT}, {ECHO}) AND account <> 4
            LIMIT 1"
    );
    Ok(connection.prepare_cached(&sql)?.exists([contact.0])?)
}

/// Whether a text with this key was sent to a contact since this time, or may yet be.
pub(super) fn text(
    connection: &Connection,
    contact: ContactId,
    text_key: i64,
    since: Millis,
) -> Result<bool, DbError> {
    let sql = format!(
        "SELECT 1 FROM entries WHERE contact = ?1 AND id >= ?2 AND kind = {INTENT}
            AND account <> 4 AND text_key = ?3 LIMIT 1"
    );
    let values = params![contact.0, EntryId::at(since).0, text_key];
    Ok(connection.prepare_cached(&sql)?.exists(values)?)
}
