//! Keys, and what concerns every vendor.

use axum::{Extension, Json as Answer, extract::State, http::StatusCode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Web,
    answers::{Done, Paused},
    audit::About,
    auth::Admin,
    error::ApiError,
    extract::{Json, Path},
    views::KeyView,
};
use crate::{
    domain::{
        clock::{Millis, from_iso},
        id::VendorId,
    },
    gateway::{AdminError, NewKey},
};

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct KeyBody {
    /// What it is for.
    #[schema(example = "the shop's back end")]
    name: String,
    /// The one vendor it is good for; without it, an admin's key.
    #[schema(value_type = Option<String>, example = "vendor_001")]
    vendor_id: Option<VendorId>,
    /// May look and change nothing.
    #[serde(default)]
    read_only: bool,
    /// From when on it is good for nothing; without it, it lasts until it is revoked.
    #[schema(value_type = Option<String>, format = DateTime, example = "2027-01-31T08:00:00Z")]
    expires_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct NewKeyView {
    #[serde(flatten)]
    made: KeyView,
    /// The key itself, shown this once.
    key: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct KeysView {
    keys: Vec<KeyView>,
}

#[derive(Deserialize, IntoParams)]
pub(super) struct KeyPath {
    /// The key's id, as it is listed.
    key_id: String,
}

/// Make a key (admins)
#[utoipa::path(post, path = "/keys", tag = "Keys", operation_id = "createKey", responses(
    (status = 201, description = "the key, shown this once", body = NewKeyView),
    (status = 404, description = "there is no such vendor"),
    (status = 422, description = "`expiresAt` is no time, or has passed"),
))]
pub(super) async fn create_key(
    State(web): State<Web>,
    _: Admin,
    Json(body): Json<KeyBody>,
) -> Result<(StatusCode, Extension<About>, Answer<NewKeyView>), ApiError> {
    if let Some(vendor) = &body.vendor_id {
        web.gateway.vendor(vendor).await?;
    }
    let now = web.gateway.clock().now();
    let expires_at = body.expires_at.as_deref().map(|it| expiry(it, now)).transpose()?;
    let KeyBody { name, vendor_id: vendor, read_only, .. } = body;
    let (made, key) =
        web.gateway.create_key(NewKey { name, vendor, read_only, expires_at }).await?;
    let answer = NewKeyView { made: (&made).into(), key: key.expose_secret().to_owned() };
    Ok((StatusCode::CREATED, Extension(About(made.id)), Answer(answer)))
}

fn expiry(text: &str, now: Millis) -> Result<Millis, AdminError> {
    let invalid = |why: &str| AdminError::Invalid(format!("expiresAt {why}"));
    let at = from_iso(text).ok_or_else(|| invalid("is no time like 2027-01-31T08:00:00Z"))?;
    if at <= now { Err(invalid("has passed")) } else { Ok(at) }
}

/// List the keys, without themselves (admins)
#[utoipa::path(get, path = "/keys", tag = "Keys", operation_id = "listKeys",
    responses((status = 200, description = "all keys", body = KeysView)))]
pub(super) async fn list_keys(
    State(web): State<Web>,
    _: Admin,
) -> Result<Answer<KeysView>, ApiError> {
    let found = web.gateway.keys().await?;
    Ok(Answer(KeysView { keys: found.iter().map(KeyView::from).collect() }))
}

/// Revoke a key (admins)
#[utoipa::path(delete, path = "/keys/{key_id}", tag = "Keys", operation_id = "deleteKey",
    params(KeyPath), responses(
    (status = 200, description = "the key is good for nothing from now on", body = Done),
    (status = 404, description = "there is no such key"),
))]
pub(super) async fn delete_key(
    State(web): State<Web>,
    _: Admin,
    Path(path): Path<KeyPath>,
) -> Result<Answer<Done>, ApiError> {
    if !web.gateway.revoke_key(&path.key_id).await? {
        return Err(ApiError::NoSuchKey);
    }
    Ok(Done::new())
}

/// Stop all sends (admins)
///
/// Durably, for every vendor; webhooks are still taken.
#[utoipa::path(post, path = "/pause", tag = "Operation", operation_id = "pauseAll",
    responses((status = 200, description = "nothing is sent from now on", body = Paused)))]
pub(super) async fn pause(State(web): State<Web>, _: Admin) -> Result<Answer<Paused>, ApiError> {
    web.gateway.pause(None, true).await?;
    Ok(Paused::new(true))
}

/// Send again (admins)
#[utoipa::path(post, path = "/resume", tag = "Operation", operation_id = "resumeAll",
    responses((status = 200, description = "what is due is sent", body = Paused)))]
pub(super) async fn resume(State(web): State<Web>, _: Admin) -> Result<Answer<Paused>, ApiError> {
    web.gateway.pause(None, false).await?;
    Ok(Paused::new(false))
}
