//! How long customers wait for an answer.

use rusqlite::params;

use super::{entries::EntryRow, state::Cx};
use crate::{
    domain::{
        clock::Millis,
        delivery::{Account, Delivery},
    },
    journal::life::Life,
    sqlite::DbError,
};

/// How long the customer waited, when this is the first answer to their message that the provider
/// accepts.
pub(super) fn after(
    cx: &Cx<'_>,
    row: &EntryRow,
    delivery: &Delivery,
    now: Millis,
) -> Result<Option<Millis>, DbError> {
    let is_accepted = delivery.account() == Account::Sent && row.life.answered_after.is_none();
    let Some(origin) = row.origin.filter(|_| is_accepted) else { return Ok(None) };
    if row.life.is_one_of_several {
        let sql = "SELECT life FROM entries WHERE contact = ?1 AND id > ?2 AND kind = 2
            AND origin = ?2 AND id <> ?3";
        let mut statement = cx.connection.prepare_cached(sql)?;
        let contact = row.contact.map(|it| it.0);
        let mut rows = statement.query(params![contact, origin.0, row.id.0])?;
        while let Some(other) = rows.next()? {
            if Life::parse(&other.get::<_, String>(0)?).answered_after.is_some() {
                return Ok(None);
            }
        }
    }
    Ok(Some((now - origin.ms()).max(0)))
}
