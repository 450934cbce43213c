//! Signals that wait for the message they speak of: they were faster.

use super::{
    echo,
    entries::{self, ECHO, EntryRow, SIGNAL},
    heard,
    marks::{self, Mark},
    names,
    state::Cx,
};
use crate::{
    domain::{
        clock::Millis,
        delivery::{Input, Late},
        event::{Event, Status},
        id::{EntryId, InstanceId},
        route::ProviderKind,
        schedule::{Kind, Next},
    },
    journal::Change,
    sqlite::DbError,
    vault::Token,
};

/// Applies a signal that waited to its message. That message, where it is known by now.
pub(super) fn apply(
    cx: &mut Cx<'_>,
    row: &EntryRow,
    now: Millis,
) -> Result<Option<EntryId>, DbError> {
    let (mark, of_customer) = marks::of_waiting(cx, row)?;
    let body = entries::body(cx, row.id)?;
    let event: Event = entries::open(cx.vault, &row.instance, &body)?;
    let about = match row.pid {
        Some(pid) => heard::apply(cx, &row.instance, pid, &event, now)?,
        None => None,
    };
    let about = about.or(of_customer);
    if let (Some(about), Some(mark)) = (about, mark) {
        marks::set(cx, about, mark, row.id, now)?;
    }
    Ok(about)
}

/// A message has come that others may have spoken of before: a customer's, or one that a human
/// typed. They are applied to it now.
pub(super) fn join(cx: &mut Cx<'_>, pid: Token, now: Millis) -> Result<(), DbError> {
    if !cx.memory.orphans.may_wait(&pid) {
        return Ok(());
    }
    let waits = |it: &EntryRow| it.pid == Some(pid) && it.is_open && it.kind == SIGNAL;
    for row in names::find(cx, pid)?.into_iter().filter(waits) {
        if let Some(about) = apply(cx, &row, now)? {
            entries::end_event(cx, &row, None, Some(about), "applied", now)?;
            cx.changes.push(Change::Decided(row.job(Kind::Signal, now), Next::Gone));
        }
    }
    Ok(())
}

/// The same for a customer's message. That some wait at all is rare, and so is its name made.
pub(super) fn for_message(
    cx: &mut Cx<'_>,
    instance: &InstanceId,
    event: &Event,
    now: Millis,
) -> Result<(), DbError> {
    match &event.provider_id {
        Some(own) if cx.memory.orphans.may_be_any() => {
            let pid = entries::pid(cx.vault, instance, own);
            join(cx, pid, now)
        }
        _ => Ok(()),
    }
}

/// What waited for those of a send's ids that were not known before.
pub(super) fn for_send(
    cx: &mut Cx<'_>,
    row: &mut EntryRow,
    ids: [Option<Token>; 2],
    now: Millis,
) -> Result<Vec<Input>, DbError> {
    let mut inputs = Vec::new();
    for (before, known) in [row.pid, row.tid].into_iter().zip(ids) {
        if let Some(learnt) = known.filter(|it| before != Some(*it)) {
            inputs.extend(take_over(cx, row, learnt, now)?);
        }
    }
    Ok(inputs)
}

/// Takes over what waited for an id that was learnt now.
fn take_over(
    cx: &mut Cx<'_>,
    row: &mut EntryRow,
    learnt: Token,
    now: Millis,
) -> Result<Vec<Input>, DbError> {
    let mut inputs = Vec::new();
    for joined in end_waiting(cx, learnt, row.id, now)? {
        if let Some((input, status)) = joined.input.and_then(|it| Some((it, it.status()?))) {
            row.life.note(now, format!("heard_{}", status.as_str()));
            inputs.push(input);
        }
        if let Some(mark) = joined.mark {
            let place = (&row.instance, row.kind);
            marks::note(cx, place, &mut row.life, (mark, joined.id), now);
        }
    }
    Ok(inputs)
}

/// A signal that waited for a message.
struct Joined {
    id: EntryId,
    /// What it tells of how far the message has got.
    input: Option<Input>,
    mark: Option<Mark>,
}

/// Ends the signals that waited for a send: they are to be applied to it.
fn end_waiting(
    cx: &mut Cx<'_>,
    pid: Token,
    about: EntryId,
    now: Millis,
) -> Result<Vec<Joined>, DbError> {
    if !cx.memory.orphans.may_wait(&pid) {
        return Ok(Vec::new());
    }
    let waits =
        |it: &EntryRow| it.pid == Some(pid) && it.is_open && matches!(it.kind, SIGNAL | ECHO);
    let mut joined = Vec::new();
    for mut row in names::find(cx, pid)?.into_iter().filter(waits) {
        let (mark, _) = marks::of_waiting(cx, &row)?;
        let input = told(cx, &row)?;
        echo::no_echo(cx, &mut row)?;
        entries::end_event(cx, &row, None, Some(about), "applied", now)?;
        joined.push(Joined { id: row.id, input, mark });
        cx.changes.push(Change::Decided(row.job(Kind::Signal, now), Next::Gone));
    }
    Ok(joined)
}

/// What a signal that waited tells of how far its message has got.
fn told(cx: &Cx<'_>, row: &EntryRow) -> Result<Option<Input>, DbError> {
    match row.status.and_then(Status::of_code) {
        // Why is in its body alone.
        Some(Status::Failed) => {
            let body = entries::body(cx, row.id)?;
            let event: Event = entries::open(cx.vault, &row.instance, &body)?;
            // Of an echo that was taken for a human's, only that it failed is kept.
            let by = Some(event.via.unwrap_or(ProviderKind::Wasender));
            let failed = Input::HeardFailed { by, late: Late::default() };
            Ok(Some(Input::told_by(&event).unwrap_or(failed)))
        }
        status => Ok(status.map(Input::Heard)),
    }
}
