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
        clock::Millis,
        event::{Chat, Event, What},
        id::EntryId,
    },
    journal::{Changed, life::Life},
    sqlite::DbError,
};

/// What an event does to the message that it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
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
        match &event.what {
            What::Edit { .. } => Some(Self::Edit { from_me: event.from_me }),
            What::Revoke { .. } => Some(Self::Deleted { from_me: event.from_me }),
            What::Reaction { text, .. } => {
                Some(Self::Reaction { is_taken_back: text.0.is_empty() })
            }
            What::Votes { .. } => Some(Self::Votes),
            _ => None,
        }
    }

    /// Notes it on a message of this kind.
    pub(super) fn note(self, kind: i64, life: &mut Life, by: EntryId, now: Millis) {
        let is_ours = matches!(kind, INTENT | ECHO);
        let step = match self {
            // Nobody changes what another wrote.
            Self::Edit { from_me } | Self::Deleted { from_me } if from_me != is_ours => return,
            Self::Edit { .. } => {
                life.marks.edit = Some(by.0);
                "edited"
            }
            Self::Deleted { .. } => {
                life.marks.is_deleted = true;
                "deleted"
            }
            Self::Reaction { is_taken_back: true } => {
                life.marks.reaction = None;
                "reaction_taken_back"
            }
            Self::Reaction { .. } => {
                life.marks.reaction = Some(by.0);
                "reaction"
            }
            Self::Votes => {
                life.marks.votes = Some(by.0);
                "votes"
            }
        };
        life.note(now, step);
    }
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
    let (kind, mut life) = (row.kind, row.life);
    mark.note(kind, &mut life, by, now);
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
        return set(cx, id, Mark::Deleted { from_me: true }, id, now);
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
    set(cx, id, Mark::Edit { from_me: true }, by, now)
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
