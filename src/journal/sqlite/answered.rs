//! How long customers wait for an answer.

use rusqlite::params;

use super::{chains::ANSWERS, entries::EntryRow, state::Cx};
use crate::{
    domain::{
        clock::Millis,
        delivery::{Account, Delivery},
        id::EntryId,
    },
    journal::life::Life,
    sqlite::DbError,
};

/// How long the customer waited, when this is the first answer to their message that the provider
/// accepts.
pub(super) fn after(
    cx: &mut Cx<'_>,
    row: &EntryRow,
    delivery: &Delivery,
    now: Millis,
) -> Result<Option<Millis>, DbError> {
    let is_accepted = delivery.account() == Account::Sent && row.life.answered_after.is_none();
    let Some(origin) = row.origin.filter(|_| is_accepted) else { return Ok(None) };
    if row.life.is_one_of_several {
        let last = match row.contact {
            Some(contact) => cx.last_turn(contact)?,
            None => EntryId(0),
        };
        let sql = format!(
            "{ANSWERS} SELECT life FROM walk CROSS JOIN entries USING (id)
                WHERE kind = 2 AND origin = ?2 AND id <> ?3"
        );
        let mut statement = cx.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![last.0, origin.0, row.id.0])?;
        while let Some(other) = rows.next()? {
            if Life::parse(&other.get::<_, String>(0)?).answered_after.is_some() {
                return Ok(None);
            }
        }
    }
    Ok(Some((now - origin.ms()).max(0)))
}
