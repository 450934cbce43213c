//! A request is about to leave: whether it still may, and what goes with it.

use rusqlite::params;

use super::{Outbound, advance, gone, load};
use crate::{
    domain::{
        clock::Millis,
        delivery::{Input, Reason, State},
        event::Event,
        id::EntryId,
        route::ProviderKind,
        window,
    },
    journal::{
        Begun, QuotedMessage, Step, ToSend, Ways,
        sqlite::{
            entries::{self, EntryRow, MESSAGE},
            groups,
            state::Cx,
            windows,
        },
    },
    sqlite::DbError,
};

pub(in crate::journal::sqlite) fn begin(
    cx: &mut Cx<'_>,
    id: EntryId,
    ways: &Ways,
    now: Millis,
) -> Result<Begun, DbError> {
    let row = load(cx, id)?;
    // One that has begun is somebody else's, whatever the parts around it have come to since.
    let is_free = |it: &EntryRow| {
        it.life.delivery.as_ref().is_some_and(|delivery| delivery.state != State::Begun)
    };
    let Some(mut row) = row.filter(is_free) else { return Ok(Begun::No(gone(cx))) };
    // As the vendor has them now.
    row.life.ways_are(ways.routes);
    // Before the step, after which what is remembered counts as changed.
    let kept = cx.memory.recent.take_body(id);
    let input = if row.is_erased() {
        Input::Withdraw(Reason::Erased)
    } else if row.life.is_automatic && is_silenced(cx, &row, now)? {
        Input::Withdraw(Reason::Silenced)
    } else if groups::must_wait(cx, &row, now)? {
        Input::Park(Reason::PartBefore)
    } else if row.life.policy.providers.is_empty() {
        Input::Park(Reason::NoCredentials)
    } else {
        Input::Begin { down: ways.down, up_at: ways.up_at }
    };
    let (vendor, instance, contact) = (row.vendor.clone(), row.instance.clone(), row.contact);
    let has_choice = row.life.only.is_none() && ways.routes.iter().nth(1).is_some();
    let quotes = row.life.quotes;
    // The answer has begun with its first part.
    let origin = row.origin.filter(|_| row.life.part.is_none_or(|it| it.before.is_none()));
    let stepped = advance(cx, row, &Step::of(input), now)?;
    let begun = stepped.delivery.as_ref().filter(|it| it.state == State::Begun);
    let Some((attempt, Some(via))) = begun.map(|it| (it.attempts, it.via)) else {
        return Ok(Begun::No(stepped));
    };
    let body = kept.map_or_else(|| entries::body(cx, id), Ok)?;
    let Outbound { to, content } = entries::open(cx.vault, &instance, &body)?;
    let (mut wrote_at, mut wrote_elsewhere) = (None, false);
    if let Some(contact) = contact.filter(|_| window::has_windows(via)) {
        wrote_at = windows::wrote_at(cx.connection, contact, via)?;
        if has_choice && !window::is_open(wrote_at, now) {
            let last = cx.ends(contact)?[0];
            let by = windows::wrote_by(cx.connection, cx.vault, (contact, last), now)?;
            wrote_elsewhere = by.is_some_and(|it| it != via && ways.routes.contains(it));
        }
    }
    let quotes = quotes.map(|it| quoted(cx, EntryId(it), via)).transpose()?.flatten();
    Ok(Begun::Go(Box::new(ToSend {
        vendor,
        instance,
        contact,
        to,
        content,
        via,
        wrote_at,
        wrote_elsewhere,
        quotes,
        origin,
        attempt,
    })))
}

/// The message that is quoted, as providers know it. One that they never told cannot be quoted;
/// what is said still is.
fn quoted(cx: &Cx<'_>, id: EntryId, via: ProviderKind) -> Result<Option<QuotedMessage>, DbError> {
    let Some(row) = entries::load(cx, id)?.filter(|it| !it.is_erased()) else { return Ok(None) };
    let (id, of) = match row.kind {
        MESSAGE => {
            let body = entries::body(cx, row.id)?;
            let event: Event = entries::open(cx.vault, &row.instance, &body)?;
            (event.provider_id, event.via)
        }
        _ => (None, row.life.delivery.as_ref().and_then(|it| it.via)),
    };
    // What another provider calls it says nothing here.
    let is_known = of.unwrap_or(ProviderKind::Wasender) == via;
    Ok(is_known.then_some(QuotedMessage { id, ticket: row.life.ticket }))
}

/// Whether somebody took the conversation over after this answer was decided.
fn is_silenced(cx: &mut Cx<'_>, row: &EntryRow, now: Millis) -> Result<bool, DbError> {
    let Some(contact) = row.contact else { return Ok(false) };
    if !cx.memory.paused.may_be(cx.connection, contact, now)? {
        return Ok(false);
    }
    let decided_at = row.life.log.steps().next().map_or(row.id.ms(), |it| it.0);
    let sql = "SELECT 1 FROM contacts WHERE id = ?1 AND paused_until > ?2 AND paused_at > ?3";
    let mut statement = cx.connection.prepare_cached(sql)?;
    Ok(statement.exists(params![contact.0, now, decided_at])?)
}
