//! When customers last wrote through providers that have windows (`domain/window.rs`).

use rusqlite::{Connection, OptionalExtension, params};

use super::{contacts, state::Cx};
use crate::{
    domain::{
        clock::Millis,
        contact::Address,
        event::Event,
        id::{ContactId, InstanceId},
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
