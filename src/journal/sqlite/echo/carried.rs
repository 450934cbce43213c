//! Two providers that are linked devices of one phone: each is told of what leaves through the other.

use rusqlite::params;

use super::{
    super::{
        entries::{COLUMNS, EntryRow, INTENT},
        state::Cx,
    },
    Question,
};
use crate::{domain::route::ProviderKind, journal::ECHO_WINDOW, sqlite::DbError};

/// The same text to this contact, within the window, through another provider than tells of it now:
/// a linked device is told of what leaves through another, under an id that we cannot know.
pub(super) fn by_another(cx: &Cx<'_>, it: &Question<'_>) -> Result<Option<EntryRow>, DbError> {
    let Some(contact) = it.contact.filter(|_| it.has_text) else { return Ok(None) };
    let sql = format!(
        "SELECT {COLUMNS} FROM entries
         WHERE contact = ?1 AND kind = {INTENT} AND pid IS NOT NULL AND text_key = ?2
           AND begun_at > ?3 ORDER BY id DESC LIMIT 8"
    );
    let by = it.by.unwrap_or(ProviderKind::Wasender);
    let mut statement = cx.connection.prepare_cached(&sql)?;
    let values = params![contact.0, it.text_key, it.at - ECHO_WINDOW];
    for row in statement.query_map(values, EntryRow::read)? {
        let row = row?;
        let via = row.life.delivery.as_ref().and_then(|it| it.via);
        if via.is_some_and(|via| via != by) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}
