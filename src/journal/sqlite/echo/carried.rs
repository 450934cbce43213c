//! Two providers that are linked devices of one phone: each is told of what leaves through the other.

use super::{
    super::{
        chains::CONVERSATION,
        entries::{COLUMNS, EntryRow, INTENT},
        state::Cx,
    },
    Question,
};
use crate::{domain::route::ProviderKind, journal::ECHO_WINDOW, sqlite::DbError};

/// Entries of the conversation that are looked at.
const STEPS_MAX: usize = 16;

/// The same text to this contact, within the window, through another provider than tells of it now:
/// a linked device is told of what leaves through another, under an id that we cannot know. One that
/// does not say what was sent may mean any of them.
pub(super) fn by_another(cx: &mut Cx<'_>, it: &Question<'_>) -> Result<Option<EntryRow>, DbError> {
    let Some(contact) = it.contact else { return Ok(None) };
    let [last, _] = cx.ends(contact)?;
    // Steps back from the latest: no index is by contact.
    let sql = format!(
        "{CONVERSATION} SELECT {COLUMNS} FROM walk CROSS JOIN entries USING (id) LIMIT {STEPS_MAX}"
    );
    let (by, since) = (it.by.unwrap_or(ProviderKind::Wasender), it.at - ECHO_WINDOW);
    let mut statement = cx.connection.prepare_cached(&sql)?;
    for row in statement.query_map([last.0], EntryRow::read)? {
        let row = row?;
        let via = row.life.delivery.as_ref().and_then(|it| it.via);
        let is_it = row.kind == INTENT
            && row.pid.is_some()
            && (row.text_key == Some(it.text_key) || !it.has_text)
            && row.begun_at.is_some_and(|it| it > since);
        if is_it && via.is_some_and(|via| via != by) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}
