//! Two linked devices of one phone: each is told of everything, under ids of its own. What one of
//! them has told is kept here until the other tells it, too.

use rusqlite::{OptionalExtension, params};

use super::{entries, state::Cx};
use crate::{
    domain::{
        clock::{HOUR, Millis, SECOND},
        event::{Chat, Event, What},
        id::{ContactId, EntryId, InstanceId},
        message::Content,
        route::ProviderKind,
    },
    sqlite::DbError,
    vault::{Token, Vault},
};

/// Both are given WhatsApp's own time of a message, and may round it.
const APART_MAX: Millis = 5 * SECOND;
/// How much later the other one may tell it.
pub(super) const WAITS: Millis = 24 * HOUR;

/// What a device tells, as another one may tell it.
pub(super) struct Telling {
    kind: i64,
    via: ProviderKind,
    at: Millis,
    /// What it says. `None`: they may word it otherwise, so that the moment alone tells.
    what: Option<Token>,
}

impl Telling {
    /// Whether it may not know which message is meant.
    pub(super) fn is_of_device(&self) -> bool {
        self.via != ProviderKind::Meta
    }

    /// `None` for what is told of each device by itself.
    pub(super) fn of(
        vault: &Vault,
        instance: &InstanceId,
        event: &Event,
        now: Millis,
    ) -> Option<Self> {
        let said = |parts: &[&[u8]]| {
            let place = [b"told".as_slice(), instance.as_str().as_bytes()];
            vault.token(&[&place, parts].concat())
        };
        let (kind, what) = match &event.what {
            What::Message(content) => (0, content_parts(content)),
            What::Echo(content) => (1, content_parts(content)),
            What::Edit { text, .. } => (2, Some(("edit", text.0.as_str()))),
            What::Revoke { .. } => (2, Some(("revoke", ""))),
            What::Reaction { text, .. } => (2, Some(("reaction", text.0.as_str()))),
            What::Votes { .. } => (2, Some(("votes", ""))),
            What::Status { .. }
            | What::SendFailed { .. }
            | What::Connection(_)
            | What::Other { .. } => return None,
        };
        // Of a message its kind tells who wrote it; not every provider says it besides.
        let own = [u8::from(event.from_me && kind == 2)];
        let what = what.map(|(kind, text)| {
            said(&[kind.as_bytes(), entries::words(text).as_bytes(), own.as_slice()])
        });
        let elsewhere = if event.chat == Chat::Private { 0 } else { 4 };
        Some(Self {
            kind: kind + elsewhere,
            via: event.via.unwrap_or(ProviderKind::Wasender),
            at: event.at.unwrap_or(now),
            what,
        })
    }
}

/// What all devices word alike.
fn content_parts(content: &Content) -> Option<(&str, &str)> {
    match content {
        Content::Text { .. } | Content::Chosen { .. } => Some(("text", content.as_text())),
        Content::Media(_) => Some((content.kind(), content.as_text())),
        Content::Location { .. }
        | Content::Contact { .. }
        | Content::Poll { .. }
        | Content::Choices(_)
        | Content::Template(_)
        | Content::CtaUrl { .. }
        | Content::Flow(_)
        | Content::LocationRequest { .. }
        | Content::Reaction { .. }
        | Content::Unsupported { .. } => None,
    }
}

/// The entry of what another device has told already; each telling is met by one of the other's, so
/// that who writes the same twice has written twice. `None`: this is the first, and it is `id`.
pub(super) fn first(
    cx: &Cx<'_>,
    contact: Option<ContactId>,
    it: &Telling,
    id: EntryId,
) -> Result<Option<EntryId>, DbError> {
    let Telling { kind, via, at, what } = it;
    if contact.is_none() && what.is_none() {
        return Ok(None);
    }
    let contact = contact.map_or(0, |it| it.0);
    let sql = "DELETE FROM told_once WHERE (contact, at, entry) = (
            SELECT contact, at, entry FROM told_once
            WHERE contact = ?1 AND at BETWEEN ?2 - ?6 AND ?2 + ?6 AND kind = ?3 AND via <> ?4
                AND (what = ?5 OR what IS NULL OR ?5 IS NULL)
            ORDER BY what IS NOT ?5, abs(at - ?2), entry LIMIT 1)
        RETURNING entry";
    let values = params![contact, at, kind, via.as_str(), what, APART_MAX];
    let mut statement = cx.connection.prepare_cached(sql)?;
    let found = statement.query_row(values, |row| row.get(0).map(EntryId)).optional()?;
    if found.is_none() {
        let sql = "INSERT INTO told_once (contact, at, entry, kind, via, what)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let values = params![contact, at, id.0, kind, via.as_str(), what];
        cx.connection.prepare_cached(sql)?.execute(values)?;
    }
    Ok(found)
}

/// Two contacts are one person, or one is made anew that was erased.
pub(super) fn merge(cx: &Cx<'_>, from: ContactId, into: ContactId) -> Result<(), DbError> {
    let sql = "UPDATE told_once SET contact = ?2 WHERE contact = ?1";
    cx.connection.prepare_cached(sql)?.execute([from.0, into.0])?;
    Ok(())
}

/// What was told before this time is told by no other device any more.
pub(super) fn forget_before(cx: &Cx<'_>, before: Millis) -> Result<(), DbError> {
    let sql = "DELETE FROM told_once WHERE entry < ?1";
    cx.connection.prepare_cached(sql)?.execute([EntryId::at(before).0])?;
    Ok(())
}

#[cfg(test)]
mod tests;
