//! When customers last wrote through providers that have windows (`domain/window.rs`), and by which
//! way their last message came.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    chains::ANSWERS,
    contacts,
    entries::{self, MESSAGE},
    late::Chain,
    state::{Cx, State},
};
use crate::{
    domain::{
        clock::Millis,
        contact::Address,
        event::Event,
        id::{ContactId, EntryId, InstanceId},
        route::ProviderKind,
        window,
    },
    sqlite::DbError,
    vault::Vault,
};

/// A customer's message came in.
pub(super) fn wrote(
    cx: &Cx<'_>,
    contact: ContactId,
    event: &Event,
    now: Millis,
) -> Result<(), DbError> {
    let Some(via) = event.via.filter(|it| window::has_windows(*it)) else { return Ok(()) };
    let sql = "INSERT INTO windows (contact, provider, wrote_at) VALUES (?1, ?2, ?3)
        ON CONFLICT DO UPDATE SET wrote_at = max(wrote_at, excluded.wrote_at)";
    // One dated ahead would keep it open for longer.
    let at = event.at.unwrap_or(now).min(now);
    cx.connection.prepare_cached(sql)?.execute(params![contact.0, via.as_str(), at])?;
    Ok(())
}

/// When this customer last wrote through this provider.
pub(super) fn wrote_at(
    connection: &Connection,
    contact: ContactId,
    via: ProviderKind,
) -> Result<Option<Millis>, DbError> {
    let sql = "SELECT wrote_at FROM windows WHERE contact = ?1 AND provider = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row(params![contact.0, via.as_str()], |row| row.get(0)).optional()?)
}

/// The same, of whoever has this address.
pub(super) fn of_address(
    connection: &Connection,
    vault: &Vault,
    instance: &InstanceId,
    address: &Address,
    via: ProviderKind,
) -> Result<Option<Millis>, DbError> {
    let sql = "SELECT wrote_at FROM windows JOIN aliases USING (contact)
        WHERE aliases.key = ?1 AND provider = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut latest = None;
    for token in contacts::tokens(vault, instance, address) {
        let found: Option<Millis> =
            statement.query_row(params![token, via.as_str()], |row| row.get(0)).optional()?;
        latest = latest.max(found);
    }
    Ok(latest)
}

/// By which way this customer's last message came, where that was less than a window's time ago.
/// `last` is where their conversation ends.
pub(super) fn wrote_by(
    connection: &Connection,
    vault: &Vault,
    (contact, last): (ContactId, EntryId),
    now: Millis,
) -> Result<Option<ProviderKind>, DbError> {
    let sql = format!(
        "{ANSWERS} SELECT instance, body FROM walk CROSS JOIN entries USING (id)
            WHERE kind = {MESSAGE} AND contact = ?3 LIMIT 1"
    );
    let since = EntryId::at(now - window::WINDOW);
    let mut statement = connection.prepare_cached(&sql)?;
    let found: Option<(String, Vec<u8>)> = statement
        .query_row([last.0, since.0, contact.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let event = found.and_then(|(instance, body)| {
        // One that cannot be opened says nothing.
        entries::open::<Event>(vault, &InstanceId::parse(&instance).ok()?, &body).ok()
    });
    let event = event.filter(|it| it.at.is_none_or(|at| window::is_open(Some(at), now)));
    // Before there were others, all came that way.
    Ok(event.map(|it| it.via.unwrap_or(ProviderKind::Wasender)))
}

/// The same, of whoever has this address.
pub(super) fn of_address_by(
    (connection, vault, ends): (&Connection, &Vault, &State),
    instance: &InstanceId,
    address: &Address,
    now: Millis,
) -> Result<Option<ProviderKind>, DbError> {
    let mut statement = connection.prepare_cached("SELECT contact FROM aliases WHERE key = ?1")?;
    let mut latest = None;
    for token in contacts::tokens(vault, instance, address) {
        let contact = statement.query_row([token], |row| row.get(0).map(ContactId)).optional()?;
        let Some(contact) = contact else { continue };
        latest = latest.max(Some((ends.end(connection, contact, Chain::Turns)?, contact)));
    }
    let Some((last, contact)) = latest else { return Ok(None) };
    wrote_by(connection, vault, (contact, last), now)
}

/// Two contacts are one person.
pub(super) fn merge(cx: &Cx<'_>, from: ContactId, into: ContactId) -> Result<(), DbError> {
    let sql = "INSERT INTO windows (contact, provider, wrote_at)
        SELECT ?2, provider, wrote_at FROM windows WHERE contact = ?1
        ON CONFLICT DO UPDATE SET wrote_at = max(wrote_at, excluded.wrote_at)";
    cx.connection.prepare_cached(sql)?.execute([from.0, into.0])?;
    forget(cx, from)
}

/// Nobody is to know any more that they wrote.
pub(super) fn forget(cx: &Cx<'_>, contact: ContactId) -> Result<(), DbError> {
    let sql = "DELETE FROM windows WHERE contact = ?1";
    cx.connection.prepare_cached(sql)?.execute([contact.0])?;
    Ok(())
}
