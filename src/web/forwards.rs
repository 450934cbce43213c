//! Events on their way to a vendor's own back end: seen, replayed, dropped; its address tried.

use axum::{Json as Answer, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Web,
    answers::Done,
    auth::ForVendor,
    error::ApiError,
    extract::{Json, Path, Query},
};
use crate::{
    domain::{
        clock::{from_iso, iso},
        id::ForwardId,
    },
    gateway::{AdminError, ReplayWhich},
    journal::Forward,
};

/// Events on one page.
const PAGE_MAX: usize = 200;
const PAGE: usize = 50;

#[derive(Deserialize, IntoParams)]
pub(super) struct ListQuery {
    /// `dead` (given up) or `waiting`.
    #[param(default = "dead")]
    state: Option<String>,
    /// From the page before.
    cursor: Option<String>,
    /// Events on a page, at most 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

/// Exactly one of the three.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayBody {
    /// These events, at most 1,000.
    ids: Option<Vec<String>>,
    /// All that were given up.
    all: Option<bool>,
    /// Those that happened since then, in RFC 3339.
    since: Option<String>,
}

#[derive(Deserialize, IntoParams)]
pub(super) struct EventPath {
    /// The event's id, as it is listed.
    #[param(example = "evt_0199c863ae800001")]
    event_id: String,
}

/// A page of events, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct ForwardsView {
    forwards: Vec<ForwardView>,
    /// Where the next page begins; null on the last.
    cursor: Option<String>,
}

/// An event that waits for the back end or was given up.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ForwardView {
    /// The `webhook-id` it is sent with.
    id: String,
    #[serde(rename = "type")]
    topic: &'static str,
    message_id: Option<String>,
    /// The status it tells, where it tells one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    /// `waiting` or `dead`.
    state: &'static str,
    tries: u32,
    /// What the last try came to (`http_500`, `no_connection` …); of a dead one, why it was given
    /// up (`expired`, `gone`, `no_url`, `overflow`) comes first.
    last_error: Option<String>,
    created_at: String,
    /// When it may be tried; null when it was given up.
    due_at: Option<String>,
}

impl From<&Forward> for ForwardView {
    fn from(it: &Forward) -> Self {
        Self {
            id: it.id.to_string(),
            topic: it.topic.as_str(),
            message_id: it.message.map(|it| it.to_string()),
            status: it.status.clone(),
            state: if it.is_dead { "dead" } else { "waiting" },
            tries: it.tries,
            last_error: it.note.clone(),
            created_at: iso(it.id.ms()),
            due_at: (!it.is_dead).then(|| iso(it.due)),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct ReplayedView {
    #[schema(example = true)]
    success: bool,
    /// How many.
    replayed: usize,
}

/// What a test event came to.
#[derive(Serialize, ToSchema)]
pub(super) struct PingView {
    /// The back end took it.
    success: bool,
    /// The status it answered with; null when no answer came.
    status: Option<u16>,
    /// Why it was not taken, in a word.
    error: Option<String>,
    /// How long it took, in milliseconds.
    ms: i64,
}

/// List events on their way to the vendor's back end, or given up
#[utoipa::path(get, path = "/forwards", tag = "Events", operation_id = "listForwards",
    params(ListQuery), responses(
    (status = 200, description = "one page, newest first", body = ForwardsView),
    (status = 422, description = "there is no such state"),
))]
pub(super) async fn list(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Query(query): Query<ListQuery>,
) -> Result<Answer<ForwardsView>, ApiError> {
    let is_dead = match query.state.as_deref() {
        None | Some("dead") => true,
        Some("waiting") => false,
        Some(_) => return Err(AdminError::Invalid("state is dead or waiting".to_owned()).into()),
    };
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let before = query.cursor.map(|it| it.parse::<ForwardId>()).transpose();
    let before = before.map_err(|_| ApiError::BadRequest("malformed cursor".to_owned()))?;
    let mut found = web.gateway.forwards(&vendor, is_dead, before, limit + 1).await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let cursor = found.last().filter(|_| has_more).map(|it| it.id.to_string());
    let forwards = found.iter().map(ForwardView::from).collect();
    Ok(Answer(ForwardsView { forwards, cursor }))
}

/// Replay events that were given up
///
/// They wait again, a day more, with the same `webhook-id`.
#[utoipa::path(post, path = "/forwards/replay", tag = "Events", operation_id = "replayForwards",
    responses(
    (status = 200, description = "they wait again", body = ReplayedView),
    (status = 409, description = "the vendor has no forwardUrl"),
    (status = 422, description = "not exactly one of ids, all and since, or a malformed one"),
))]
pub(super) async fn replay(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Json(body): Json<ReplayBody>,
) -> Result<Answer<ReplayedView>, ApiError> {
    let replayed = web.gateway.replay_forwards(&vendor, body.which()?).await?;
    Ok(Answer(ReplayedView { success: true, replayed }))
}

/// Try the vendor's back end with a signed `test.ping`
///
/// It is sent now and once. Of the answer only the status is told.
#[utoipa::path(post, path = "/forwards/test", tag = "Events", operation_id = "testForward",
    responses(
    (status = 200, description = "what it came to", body = PingView),
    (status = 409, description = "the vendor has no forwardUrl"),
))]
pub(super) async fn test(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
) -> Result<Answer<PingView>, ApiError> {
    let ping = web.gateway.ping_forward(&vendor).await?;
    let (success, ms) = (ping.is_taken, ping.took);
    let error = Some(ping.word).filter(|_| !success);
    Ok(Answer(PingView { success, status: ping.status, error, ms }))
}

/// Forget an event, waiting or given up
#[utoipa::path(delete, path = "/forwards/{event_id}", tag = "Events",
    operation_id = "deleteForward", params(EventPath), responses(
    (status = 200, description = "it is forgotten", body = Done),
    (status = 404, description = "the vendor has no such event"),
))]
pub(super) async fn drop_one(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<EventPath>,
) -> Result<Answer<Done>, ApiError> {
    let id = path.event_id.parse::<ForwardId>().map_err(|_| AdminError::NoForward)?;
    web.gateway.drop_forward(&vendor, id).await?;
    Ok(Done::new())
}

impl ReplayBody {
    fn which(self) -> Result<ReplayWhich, AdminError> {
        let invalid = |why: &str| AdminError::Invalid(why.to_owned());
        match (self.ids, self.all, self.since) {
            (Some(ids), None, None) => {
                let ids: Result<Vec<ForwardId>, _> = ids.iter().map(|it| it.parse()).collect();
                ids.map(ReplayWhich::Ids).map_err(|it| invalid(&format!("ids: {it}")))
            }
            (None, Some(true), None) => Ok(ReplayWhich::Since(0)),
            (None, None, Some(since)) => {
                let since = from_iso(&since);
                let why = "since is a time like 2026-01-31T08:00:00Z";
                since.map(ReplayWhich::Since).ok_or_else(|| invalid(why))
            }
            _ => Err(invalid("one of ids, all (true) and since is needed")),
        }
    }
}
