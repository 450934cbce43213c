//! Keys, and what concerns every vendor.

use axum::{Json as Answer, extract::State, http::StatusCode};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Web,
    auth::Admin,
    error::ApiError,
    extract::{Json, Path},
    views::KeyView,
};
use crate::{domain::id::VendorId, gateway::NewKey};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct KeyBody {
    name: String,
    vendor_id: Option<VendorId>,
    #[serde(default)]
    read_only: bool,
}

pub(super) async fn create_key(
    State(web): State<Web>,
    admin: Admin,
    Json(body): Json<KeyBody>,
) -> Result<(StatusCode, Answer<Value>), ApiError> {
    admin.may_change()?;
    if let Some(vendor) = &body.vendor_id {
        web.gateway.vendor(vendor).await?;
    }
    let new = NewKey { name: body.name, vendor: body.vendor_id, read_only: body.read_only };
    let (made, key) = web.gateway.create_key(new).await?;
    let mut answer = json!(KeyView::from(&made));
    answer["key"] = json!(key.expose_secret());
    Ok((StatusCode::CREATED, Answer(answer)))
}

pub(super) async fn list_keys(
    State(web): State<Web>,
    admin: Admin,
) -> Result<Answer<Value>, ApiError> {
    admin.may_read()?;
    let found = web.gateway.store().keys().await?;
    let keys: Vec<KeyView> = found.iter().map(KeyView::from).collect();
    Ok(Answer(json!({ "keys": keys })))
}

pub(super) async fn delete_key(
    State(web): State<Web>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Answer<Value>, ApiError> {
    admin.may_change()?;
    if !web.gateway.store().delete_key(&id).await? {
        return Err(ApiError::NoSuchKey);
    }
    Ok(Answer(json!({ "success": true })))
}

pub(super) async fn pause(State(web): State<Web>, admin: Admin) -> Result<Answer<Value>, ApiError> {
    admin.may_change()?;
    web.gateway.pause(None, true).await?;
    Ok(Answer(json!({ "success": true, "paused": true })))
}

pub(super) async fn resume(
    State(web): State<Web>,
    admin: Admin,
) -> Result<Answer<Value>, ApiError> {
    admin.may_change()?;
    web.gateway.pause(None, false).await?;
    Ok(Answer(json!({ "success": true, "paused": false })))
}
