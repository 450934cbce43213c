//! Echoes of what the latest attempt of a send does not explain: two providers that are linked devices
//! of one phone are each told of what leaves through the other, and what left twice is told twice.

use super::{
    super::{
        chains::CONVERSATION,
        entries::{COLUMNS, EntryRow, INTENT},
        state::Cx,
    },
    Question, failed_late,
};
use crate::{
    domain::{
        clock::{MINUTE, Millis},
        route::ProviderKind,
    },
    journal::ECHO_WINDOW,
    sqlite::DbError,
};

/// Entries of the conversation that are looked at; in a busy one as many as have come within
/// [`QUEUED_FOR`].
const STEPS: usize = 16;
const STEPS_MAX: usize = 512;
/// What left within the window may have waited for its turn before.
const QUEUED_FOR: Millis = 10 * MINUTE;

/// The same text to this contact, within the window, through another provider than tells of it now,
/// or more than once: a linked device is told of what leaves through another, under an id that we
/// cannot know. One that does not say what was sent may mean any of them.
pub(super) fn by_another(cx: &mut Cx<'_>, it: &Question<'_>) -> Result<Option<EntryRow>, DbError> {
    let Some(contact) = it.contact else { return Ok(None) };
    let [last, _] = cx.ends(contact)?;
    // Steps back from the latest: no index is by contact.
    let sql = format!(
        "{CONVERSATION} SELECT {COLUMNS} FROM walk CROSS JOIN entries USING (id) LIMIT {STEPS_MAX}"
    );
    let (by, since) = (it.by.unwrap_or(ProviderKind::Wasender), it.at - ECHO_WINDOW);
    let mut statement = cx.connection.prepare_cached(&sql)?;
    for (n, row) in statement.query_map([last.0], EntryRow::read)?.enumerate() {
        let row = row?;
        if n >= STEPS && row.id.ms() < since - QUEUED_FOR {
            break;
        }
        let via = row.life.delivery.as_ref().and_then(|it| it.via);
        let is_it = row.kind == INTENT
            && row.pid.is_some()
            && (row.text_key == Some(it.text_key) || !it.has_text)
            && row.begun_at.is_some_and(|it| it > since);
        if is_it && (via.is_some_and(|via| via != by) || left_twice(&row)) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Whether it left once more: through any of its providers the first time, and that has an echo, too.
fn left_twice(row: &EntryRow) -> bool {
    failed_late(row) || row.life.delivery.as_ref().is_some_and(|it| it.is_risked)
}
