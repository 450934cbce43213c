//! The journal, operated by admins: seen, counted, put aside, let go on. Neither texts nor numbers.

mod views;

use axum::{Json as Answer, extract::State};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use self::views::{
    EntriesView, EntryView, JournalReplayedView, JournalStatsView, VerifiedView,
};
use super::{
    Web,
    auth::Admin,
    error::ApiError,
    extract::{Json, MaybeJson, Path, Query},
    messages::MessagePath,
};
use crate::{
    domain::{
        clock::{Millis, from_iso},
        id::{EntryId, VendorId},
    },
    gateway::{AdminError, LISTED_MAX},
    journal::{Listed, Listing},
};

/// Entries on one page.
const PAGE: usize = 50;

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
struct LedgerQuery {
    /// One vendor's; without it the sum of all.
    #[param(value_type = Option<String>, example = "vendor_001")]
    vendor_id: Option<VendorId>,
    /// Count the entries afresh too; with many of them that takes seconds.
    #[serde(default)]
    verify: bool,
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
struct EntriesQuery {
    /// `waiting`, `fenced`, `parked`, `dead`, `unknown`, `unanswered` (a vendor's messages) or
    /// `open` (signals too).
    #[param(default = "parked")]
    state: Option<String>,
    /// One vendor's only.
    #[param(value_type = Option<String>, example = "vendor_001")]
    vendor_id: Option<VendorId>,
    /// From the page before.
    cursor: Option<String>,
    /// Entries on a page, at most 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<usize>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct JournalReplayBody {
    /// Also when the customer may have it already: it may then reach them twice.
    #[serde(default)]
    again: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JournalReplayManyBody {
    #[schema(value_type = String, example = "vendor_001")]
    vendor_id: VendorId,
    /// Entries since then, in RFC 3339.
    #[schema(example = "2026-01-31T08:00:00Z")]
    since: String,
    /// Also what the customers may have already: it may then reach them twice.
    #[serde(default)]
    again: bool,
}

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default()
        .routes(routes!(stats))
        .routes(routes!(ledger))
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(park))
        .routes(routes!(release))
        .routes(routes!(replay))
        .routes(routes!(replay_many))
}

/// Tell how large the journal is and what waits in it (admins)
#[utoipa::path(get, path = "/journal/stats", tag = "Journal", operation_id = "journalStats",
    responses((status = 200, description = "counts and sizes", body = JournalStatsView)))]
async fn stats(State(web): State<Web>, _: Admin) -> Result<Answer<JournalStatsView>, ApiError> {
    Ok(Answer(JournalStatsView::new(&web.gateway.journal_stats().await?, true)))
}

/// Read the ledger, and count the entries afresh (admins)
#[utoipa::path(get, path = "/journal/ledger", tag = "Journal", operation_id = "journalLedger",
    params(LedgerQuery), responses(
    (status = 200, description = "the counts, and whether they are right", body = VerifiedView),
    (status = 404, description = "there is no such vendor"),
))]
async fn ledger(
    State(web): State<Web>,
    _: Admin,
    Query(query): Query<LedgerQuery>,
) -> Result<Answer<VerifiedView>, ApiError> {
    let vendor = query.vendor_id.as_ref();
    let (ledger, counted) = web.gateway.journal_ledger(vendor, query.verify).await?;
    Ok(Answer(VerifiedView::new(&ledger, counted.as_ref())))
}

/// List entries in a state, newest first (admins)
#[utoipa::path(get, path = "/journal/entries", tag = "Journal", operation_id = "journalEntries",
    params(EntriesQuery), responses(
    (status = 200, description = "one page", body = EntriesView),
    (status = 404, description = "there is no such vendor"),
    (status = 422, description = "there is no such state, or it needs a vendor"),
))]
async fn list(
    State(web): State<Web>,
    _: Admin,
    Query(query): Query<EntriesQuery>,
) -> Result<Answer<EntriesView>, ApiError> {
    let state = query.state.as_deref().map_or(Some(Listed::Parked), Listed::parse);
    let state = state.ok_or_else(|| {
        let words: Vec<&str> = Listed::ALL.iter().map(|it| it.as_str()).collect();
        AdminError::Invalid(format!("state is one of {}", words.join(", ")))
    })?;
    let before = query.cursor.map(|it| it.parse::<EntryId>()).transpose();
    let before = before.map_err(|_| ApiError::BadRequest("malformed cursor".to_owned()))?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, LISTED_MAX);
    let listing = Listing { state, vendor: query.vendor_id, before, limit };
    Ok(Answer(EntriesView::new(&web.gateway.journal_entries(listing).await?, limit)))
}

/// Show an entry and its way (admins)
#[utoipa::path(get, path = "/journal/entries/{message_id}", tag = "Journal",
    operation_id = "journalEntry", params(MessagePath), responses(
    (status = 200, description = "the entry", body = EntryView),
    (status = 404, description = "there is no such entry"),
))]
async fn show(
    State(web): State<Web>,
    _: Admin,
    Path(path): Path<MessagePath>,
) -> Result<Answer<EntryView>, ApiError> {
    Ok(Answer((&web.gateway.journal_entry(path.id()?).await?).into()))
}

/// Put a waiting message or send aside (admins)
///
/// It waits until it is released.
#[utoipa::path(post, path = "/journal/entries/{message_id}/park", tag = "Journal",
    operation_id = "journalPark", params(MessagePath), responses(
    (status = 200, description = "it is parked", body = EntryView),
    (status = 404, description = "there is no such entry"),
    (status = 409, description = "it does not wait, or is being sent"),
))]
async fn park(
    State(web): State<Web>,
    admin: Admin,
    Path(path): Path<MessagePath>,
) -> Result<Answer<EntryView>, ApiError> {
    let entry = web.gateway.put_aside(path.id()?, admin.key_id()).await?;
    Ok(Answer((&entry).into()))
}

/// Let a parked message or send go on (admins)
///
/// At the tail of its conversation, with a new time by which it must leave.
#[utoipa::path(post, path = "/journal/entries/{message_id}/release", tag = "Journal",
    operation_id = "journalRelease", params(MessagePath), responses(
    (status = 200, description = "it goes on", body = EntryView),
    (status = 404, description = "there is no such entry"),
    (status = 409, description = "it is not parked, or its conversation is paused"),
))]
async fn release(
    State(web): State<Web>,
    admin: Admin,
    Path(path): Path<MessagePath>,
) -> Result<Answer<EntryView>, ApiError> {
    let entry = web.gateway.release(path.id()?, admin.key_id()).await?;
    Ok(Answer((&entry).into()))
}

/// Replay a message or a send (admins)
///
/// A message without an answer is worked on again; a send that was given up or parked goes on, at
/// the tail of its conversation.
#[utoipa::path(post, path = "/journal/entries/{message_id}/replay", tag = "Journal",
    operation_id = "journalReplay", params(MessagePath), request_body = Option<JournalReplayBody>,
    responses(
    (status = 200, description = "it goes on", body = EntryView),
    (status = 404, description = "there is no such entry"),
    (status = 409, description = "it still waits, its conversation is paused, or the customer may have it already"),
))]
async fn replay(
    State(web): State<Web>,
    admin: Admin,
    Path(path): Path<MessagePath>,
    MaybeJson(body): MaybeJson<JournalReplayBody>,
) -> Result<Answer<EntryView>, ApiError> {
    let entry = web.gateway.replay(path.id()?, body.again, admin.key_id()).await?;
    Ok(Answer((&entry).into()))
}

/// Replay what a vendor's customers did not get since a time (admins)
///
/// Messages without an answer, and sends that were given up or parked, oldest first. Not what a
/// human has dealt with, nor what the customers may have already unless `again` says so.
#[utoipa::path(post, path = "/journal/replay", tag = "Journal",
    operation_id = "journalReplayMany", responses(
    (status = 200, description = "how many go on", body = JournalReplayedView),
    (status = 404, description = "there is no such vendor"),
    (status = 422, description = "since is not a time"),
))]
async fn replay_many(
    State(web): State<Web>,
    admin: Admin,
    Json(body): Json<JournalReplayManyBody>,
) -> Result<Answer<JournalReplayedView>, ApiError> {
    let since: Millis = from_iso(&body.since).ok_or_else(|| {
        AdminError::Invalid("since is a time in RFC 3339, with an offset".to_owned())
    })?;
    let by = admin.key_id();
    let done = web.gateway.replay_since(&body.vendor_id, since, body.again, by).await?;
    Ok(Answer(done.into()))
}
