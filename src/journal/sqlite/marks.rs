//! What was done to a message after it was kept: edits, deletions, reactions, votes. The message
//! remembers which entry told it last.

use rusqlite::params;

use super::{
    entries::{self, DONE, ECHO, EntryRow, INTENT, MESSAGE, NewRow, SIGNAL},
    intents::Outbound,
    keys,
    state::Cx,
};
use crate::{
    domain::{
        clock::{Millis, SECOND},
        event::{Chat, Event, What},
        id::{EntryId, InstanceId},
        route::ProviderKind,
    },
    journal::{Changed, life::Life},
    sqlite::DbError,
};

/// What an event does to the message that it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    what: Does,
    /// When, as the provider says.
    at: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// By the vendor, or by the customer.
    Edit {
        from_me: bool,
    },
    Deleted {
        from_me: bool,
    },
    Reaction {
        is_taken_back: bool,
    },
    Votes,
}

impl Mark {
    pub(super) fn of(event: &Event) -> Option<Self> {
        let what = match &event.what {
            What::Edit { .. } => Does::Edit { from_me: event.from_me },
            What::Revoke { .. } => Does::Deleted { from_me: event.from_me },
            What::Reaction { text, .. } => Does::Reaction { is_taken_back: text.0.is_empty() },
            What::Votes { .. } => Does::Votes,
            _ => return None,
        };
        Some(Self { what, at: said_at(event) })
    }
}

/// When it was done. Unipile tells when the message was, it may be.
fn said_at(event: &Event) -> Option<Millis> {
    event.at.filter(|_| event.via != Some(ProviderKind::Unipile))
}

/// Notes on a message of this kind what an entry does to it. What was done before the latest of
/// its kind and comes after it changes nothing.
pub(super) fn note(
    cx: &Cx<'_>,
    (instance, kind): (&InstanceId, i64),
    life: &mut Life,
    (mark, by): (Mark, EntryId),
    now: Millis,
) {
    let is_ours = matches!(kind, INTENT | ECHO);
    let marks = &mut life.marks;
    let (latest, step) = match mark.what {
        // Nobody changes what another wrote.
        Does::Edit { from_me } | Does::Deleted { from_me } if from_me != is_ours => return,
        Does::Deleted { .. } => {
            marks.is_deleted = true;
            return life.note(now, "deleted");
        }
        Does::Edit { .. } => (&mut marks.edit, "edited"),
        // Kept as well: who tells of one before it must know.
        Does::Reaction { is_taken_back: true } => (&mut marks.reaction, "reaction_taken_back"),
        Does::Reaction { .. } => (&mut marks.reaction, "reaction"),
        Does::Votes => (&mut marks.votes, "votes"),
    };
    if is_after(cx, instance, *latest, mark.at) {
        return;
    }
    *latest = Some(by.0);
    life.note(now, step);
}

/// Whether what this entry tells was done later, by more than the second that providers count in.
fn is_after(cx: &Cx<'_>, instance: &InstanceId, latest: Option<i64>, at: Option<Millis>) -> bool {
    let (Some(latest), Some(at)) = (latest, at) else { return false };
    // One that is removed or erased has said its last.
    let body = entries::body(cx, EntryId(latest)).unwrap_or_default();
    let event = entries::open::<Event>(cx.vault, instance, &body);
    event.ok().and_then(|it| said_at(&it)).is_some_and(|it| it / SECOND > at / SECOND)
}

/// Notes on a message what an entry says of it.
pub(super) fn set(
    cx: &mut Cx<'_>,
    about: EntryId,
    mark: Mark,
    by: EntryId,
    now: Millis,
) -> Result<(), DbError> {
    let Some(row) = entries::load(cx, about)?.filter(|it| !it.is_erased()) else { return Ok(()) };
    let mut life = row.life;
    note(cx, (&row.instance, row.kind), &mut life, (mark, by), now);
    write(cx, about, &life)
}

fn write(cx: &Cx<'_>, id: EntryId, life: &Life) -> Result<(), DbError> {
    let sql = "UPDATE entries SET life = ?2 WHERE id = ?1";
    cx.connection.prepare_cached(sql)?.execute(params![id.0, life.text()])?;
    Ok(())
}

/// What a signal that waited does to the message it speaks of, and that message where it is the
/// customer's own.
pub(super) fn of_waiting(
    cx: &mut Cx<'_>,
    row: &EntryRow,
) -> Result<(Option<Mark>, Option<EntryId>), DbError> {
    if row.kind != SIGNAL || row.status.is_some() {
        return Ok((None, None));
    }
    let body = entries::body(cx, row.id)?;
    let event: Event = entries::open(cx.vault, &row.instance, &body)?;
    let target = event.what.target();
    let about = match (target, row.contact) {
        (Some(target), Some(contact)) => {
            let token = keys::message_token(cx.vault, &row.instance, target);
            keys::find_message(cx, token, contact)?
        }
        _ => None,
    };
    Ok((Mark::of(&event), about))
}

/// The provider has changed a message because we asked it to.
pub(super) fn changed(
    cx: &mut Cx<'_>,
    id: EntryId,
    change: &Changed,
    now: Millis,
) -> Result<(), DbError> {
    let Some(row) = entries::load(cx, id)?.filter(|it| it.kind != SIGNAL) else { return Ok(()) };
    let Changed::Edited(text) = change else {
        return set(cx, id, Mark { what: Does::Deleted { from_me: true }, at: None }, id, now);
    };
    let body = entries::body(cx, id)?;
    let address = match row.kind {
        MESSAGE | ECHO => entries::open::<Event>(cx.vault, &row.instance, &body)?.contact,
        _ => entries::open::<Outbound>(cx.vault, &row.instance, &body)?.to,
    };
    let what = What::Edit { target: String::new(), text: text.clone() };
    let event = Event { from_me: true, ..Event::new(what, Chat::Private, address) };
    let plain = serde_json::to_vec(&event).map_err(|_| DbError::Unreadable("event"))?;
    let body = entries::seal(cx.vault, &row.instance, &plain)?;
    let by = cx.next_id(now)?;
    entries::insert(
        cx,
        &NewRow {
            id: by,
            kind: SIGNAL,
            account: DONE,
            is_open: false,
            vendor: &row.vendor,
            instance: &row.instance,
            contact: row.contact,
            pid: None,
            text_key: None,
            origin: Some(id),
            status: None,
            note: None,
            body: &body,
            life: "",
            dedupe: None,
        },
    )?;
    set(cx, id, Mark { what: Does::Edit { from_me: true }, at: None }, by, now)
}

/// The message that another one quotes, where we know it: by its `WhatsApp` id.
pub(super) fn quoted(
    cx: &mut Cx<'_>,
    pid: crate::vault::Token,
    message: crate::vault::Token,
    contact: crate::domain::id::ContactId,
) -> Result<Option<EntryId>, DbError> {
    match super::echo::by_pid(cx, pid)? {
        Some(row) => Ok(Some(row.id).filter(|_| row.contact == Some(contact))),
        None => keys::find_message(cx, message, contact),
    }
}
