//! Intents that leave one after another: a part only when the one before it has been sent.

use super::{
    entries::{self, EntryRow, INTENT},
    intents::{self, New, Origin},
    media,
    state::Cx,
};
use crate::{
    domain::{
        clock::Millis,
        delivery::{Account, Input, Reason, State},
        id::{ContactId, EntryId},
        schedule::{Kind, Next},
    },
    journal::{
        Change, NewIntent, Step,
        life::{self, Part},
    },
    sqlite::DbError,
};

/// Keeps an intent and what follows it, and says the first one's id.
pub(super) fn insert(
    cx: &mut Cx<'_>,
    intent: &NewIntent,
    contact: Option<ContactId>,
    origin: Option<Origin>,
) -> Result<EntryId, DbError> {
    let first = cx.next_id(intent.now)?;
    if let Some(contact) = contact {
        // Only the first part can have a file.
        media::sent_to(cx, &intent.content, contact)?;
    }
    let new = New { id: first, content: &intent.content, contact, origin, part: None };
    if intent.more.is_empty() {
        intents::insert(cx, intent, &new)?;
        return Ok(first);
    }
    let mut ids = vec![first];
    for _ in &intent.more {
        ids.push(cx.next_id(intent.now)?);
    }
    let contents = std::iter::once(&intent.content).chain(&intent.more);
    for (n, content) in contents.enumerate() {
        let part = Part {
            group: first.0,
            number: n + 1,
            of: ids.len(),
            before: n.checked_sub(1).map(|it| ids[it].0),
            after: ids.get(n + 1).map(|it| it.0),
        };
        intents::insert(cx, intent, &New { id: ids[n], content, part: Some(part), ..new })?;
    }
    Ok(first)
}

/// Whether the part before this one has not been sent. What may not be sent any more in any case
/// waits for nothing.
pub(super) fn must_wait(cx: &Cx<'_>, row: &EntryRow, now: Millis) -> Result<bool, DbError> {
    let Some(before) = row.life.part.and_then(|it| it.before) else { return Ok(false) };
    if row.life.delivery.as_ref().is_none_or(|it| it.expires <= now) {
        return Ok(false);
    }
    // One that was removed meanwhile holds nothing: a person has let this one go.
    let sql = "SELECT 1 FROM entries WHERE id = ?1 AND account <> ?2";
    let mut statement = cx.connection.prepare_cached(sql)?;
    Ok(statement.exists([before, life::code(Account::Sent)])?)
}

/// A part has been sent: the one after it may go, if it is parked for that.
pub(super) fn release(cx: &mut Cx<'_>, id: i64, now: Millis) -> Result<(), DbError> {
    let Some(row) = entries::load(cx, EntryId(id))?.filter(|it| it.kind == INTENT) else {
        return Ok(());
    };
    let Some(delivery) = &row.life.delivery else { return Ok(()) };
    if delivery.state != State::Parked(Reason::PartBefore) {
        return Ok(());
    }
    let input = Input::Release { expires: delivery.expires };
    let job = row.job(Kind::Send, now);
    let stepped = intents::advance(cx, row, &Step::of(input), now)?;
    // Not as new work: the worker that parked it may not have ended yet.
    cx.changes.push(Change::Decided(job, stepped.next));
    Ok(())
}

/// The sends of a group that nobody may have begun with.
pub(super) fn unbegun(cx: &Cx<'_>, first: EntryId) -> Result<Vec<Change>, DbError> {
    let mut changes = Vec::new();
    let mut next = Some(first);
    while let Some(id) = next {
        let Some(row) = entries::load(cx, id)?.filter(|it| it.kind == INTENT) else { break };
        next = row.life.part.and_then(|it| it.after).map(EntryId);
        let delivery = row.life.delivery.as_ref().filter(|_| row.is_open);
        if let Some(delivery) = delivery
            && let Some(Next::Again { kind: kind @ Kind::Send, due, .. }) =
                life::next_of(delivery, &row.life.policy.into())
        {
            changes.push(Change::New(row.job(kind, due)));
        }
    }
    Ok(changes)
}
