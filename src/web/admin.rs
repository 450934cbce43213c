//! Keys, and what concerns every vendor.

use axum::{Json as Answer, extract::State, http::StatusCode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Web,
    answers::{Done, Paused},
    auth::Admin,
    error::ApiError,
    extract::{Json, Path},
    views::KeyView,
};
use crate::{domain::id::VendorId, gateway::NewKey};

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
))]
pub(super) async fn create_key(
    State(web): State<Web>,
    admin: Admin,
    Json(body): Json<KeyBody>,
) -> Result<(StatusCode, Answer<NewKeyView>), ApiError> {
    admin.may_change()?;
    if let Some(vendor) = &body.vendor_id {
        web.gateway.vendor(vendor).await?;
    }
    let new = NewKey { name: body.name, vendor: body.vendor_id, read_only: body.read_only };
    let (made, key) = web.gateway.create_key(new).await?;
    let answer = NewKeyView { made: (&made).into(), key: key.expose_secret().to_owned() };
    Ok((StatusCode::CREATED, Answer(answer)))
}

/// List the keys, without themselves (admins)
#[utoipa::path(get, path = "/keys", tag = "Keys", operation_id = "listKeys",
    responses((status = 200, description = "all keys", body = KeysView)))]
pub(super) async fn list_keys(
    State(web): State<Web>,
    admin: Admin,
) -> Result<Answer<KeysView>, ApiError> {
    admin.may_read()?;
    let found = web.gateway.store().keys().await?;
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
    admin: Admin,
    Path(path): Path<KeyPath>,
) -> Result<Answer<Done>, ApiError> {
    admin.may_change()?;
    if !web.gateway.store().delete_key(&path.key_id).await? {
        return Err(ApiError::NoSuchKey);
    }
    Ok(Done::new())
}

/// Stop all sends (admins)
///
/// Durably, for every vendor; webhooks are still taken.
#[utoipa::path(post, path = "/pause", tag = "Operation", operation_id = "pauseAll",
    responses((status = 200, description = "nothing is sent from now on", body = Paused)))]
pub(super) async fn pause(
    State(web): State<Web>,
    admin: Admin,
) -> Result<Answer<Paused>, ApiError> {
    admin.may_change()?;
    web.gateway.pause(None, true).await?;
    Ok(Paused::new(true))
}

/// Send again (admins)
#[utoipa::path(post, path = "/resume", tag = "Operation", operation_id = "resumeAll",
    responses((status = 200, description = "what is due is sent", body = Paused)))]
pub(super) async fn resume(
    State(web): State<Web>,
    admin: Admin,
) -> Result<Answer<Paused>, ApiError> {
    admin.may_change()?;
    web.gateway.pause(None, false).await?;
    Ok(Paused::new(false))
}
