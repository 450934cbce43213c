//! What a signal tells of the message that it names.

use rusqlite::params;

use super::{
    echo::{by_pid, by_whatsapp_id},
    entries::{self, ECHO, EntryRow, INTENT},
    forwards, hours, intents, outbox,
    state::Cx,
};
use crate::{
    domain::{
        clock::Millis,
        delivery::{Input, State},
        event::{Event, Status},
        forward::Topic,
        id::{EntryId, InstanceId, VendorId},
        record::Standing,
        route::ProviderKind,
    },
    sqlite::DbError,
    vault::Token,
};

/// Applies a signal to the message with this id. The message, or `None` when it is not known.
pub(super) fn apply(
    cx: &mut Cx<'_>,
    instance: &InstanceId,
    pid: Token,
    event: &Event,
    now: Millis,
) -> Result<Option<EntryId>, DbError> {
    // The provider's own numbers are easily guessed, and only a status is by the provider itself.
    let told = Input::told_by(event).and_then(|it| Some((it, it.status()?)));
    let Some((input, status)) = told else {
        return Ok(by_whatsapp_id(cx, pid)?.map(|it| it.id));
    };
    let (mut found, mut learnt) = (by_pid(cx, pid)?, None);
    if let (None, Some(id)) = (&found, event.reference) {
        // The provider gives back our own id: so a send is settled whose answer never came.
        let is_its = |it: &EntryRow| it.kind == INTENT && it.instance == *instance;
        let Some(row) = entries::load(cx, id)?.filter(is_its) else { return Ok(None) };
        match attempt_of(&row, event) {
            Named::Present => learnt = Some(pid),
            Named::Unclear => return Ok(None),
            // That the customer has it is true whichever attempt it was.
            Named::Earlier if status >= Status::Delivered => {}
            Named::Earlier => return Ok(Some(row.id)),
        }
        found = Some(row);
    }
    let Some(row) = found else { return Ok(None) };
    if row.kind == INTENT {
        intents::heard(cx, row, input, learnt, now).map(Some)
    } else {
        let best = row.status.and_then(Status::of_code).map_or(status, |it| it.then(status));
        let mut life = row.life;
        life.note(now, best.as_str());
        if row.kind == ECHO {
            let word = |status| hours::echo_word(row.is_open, status);
            let (before, after) = (word(row.status), word(Some(best.code())));
            cx.delta(&row.vendor).hours.moved(row.id, before, after);
        }
        let sql = "UPDATE entries SET status = ?2, life = ?3 WHERE id = ?1";
        cx.connection.prepare_cached(sql)?.execute(params![row.id.0, best.code(), life.text()])?;
        // While it is not clear whose it is, nobody was told of the message itself.
        if row.kind == ECHO && !row.is_open {
            if life.forward && row.status != Some(best.code()) {
                tell_status(cx, &row.vendor, row.id, best, now)?;
            }
            let before = Standing::heard(row.status.and_then(Status::of_code));
            outbox::moved(cx, row.id, before, Standing::heard(Some(best)), now)?;
        }
        Ok(Some(row.id))
    }
}

/// Which attempt to send it a status speaks of that names the message by our own id.
enum Named {
    Present,
    Earlier,
    /// The provider's id of the present one is not known yet.
    Unclear,
}

fn attempt_of(row: &EntryRow, event: &Event) -> Named {
    let Some(delivery) = &row.life.delivery else { return Named::Earlier };
    let by = event.via.unwrap_or(ProviderKind::Wasender);
    if row.pid.is_some() || delivery.via != Some(by) {
        Named::Earlier
    } else if delivery.state == State::Begun && delivery.attempts > 1 {
        Named::Unclear
    } else {
        Named::Present
    }
}

/// How far a message has got that a human sent.
pub(super) fn tell_status(
    cx: &mut Cx<'_>,
    vendor: &VendorId,
    id: EntryId,
    status: Status,
    now: Millis,
) -> Result<(), DbError> {
    if status == Status::Pending {
        return Ok(());
    }
    forwards::insert(cx, vendor, id, Topic::Status, (Some(status.as_str()), None), now)
}

#[cfg(test)]
mod tests;
