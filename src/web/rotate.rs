//! A webhook secret is renewed.

use axum::{Json as Answer, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Web,
    auth::AdminFor,
    error::ApiError,
    extract::{MaybeJson, Path},
    instances::WabaPath,
    waba::told,
};
use crate::{
    domain::{
        clock::{SECOND, iso},
        secret::SecretString,
    },
    gateway::Rotation,
};

/// How it is renewed; all of it may be missing.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RotateBody {
    /// The new secret, at least 8 characters; without it one is made.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    wasender_webhook_secret: Option<SecretString>,
    /// For so long webhooks with the old one are taken too: at most 604800, 7 days; 86400 without it.
    overlap_seconds: Option<i64>,
}

/// The secret was renewed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RotatedView {
    #[schema(example = true)]
    success: bool,
    /// The new secret, shown this once.
    webhook_secret: String,
    /// Until when the old one is good.
    old_valid_until: String,
    /// What was done, and what is left to do.
    message: String,
}

/// Renew a number's webhook secret
///
/// The old one is good for some time more, so that whoever signs webhooks can take the new one over.
/// An admin's key alone.
#[utoipa::path(post, path = "/waba/{waba_id}/rotate-secret", tag = "Numbers",
    operation_id = "rotateSecret", params(WabaPath), request_body = Option<RotateBody>,
    responses(
        (status = 200, description = "the new secret, shown this once", body = RotatedView),
        (status = 409, description = "another of the vendor's numbers has this secret, or somebody else changed the number meanwhile"),
        (status = 422, description = "a value cannot be; which, and why"),
    ))]
pub(super) async fn secret(
    State(web): State<Web>,
    AdminFor(vendor): AdminFor,
    Path(path): Path<WabaPath>,
    MaybeJson(body): MaybeJson<RotateBody>,
) -> Result<Answer<RotatedView>, ApiError> {
    let overlap = body.overlap_seconds.map(|it| it.saturating_mul(SECOND));
    let rotation = Rotation { secret: body.wasender_webhook_secret, overlap };
    let rotated = web.gateway.rotate_secret(&vendor, &path.waba_id, rotation).await?;
    Ok(Answer(RotatedView {
        success: true,
        webhook_secret: rotated.expose().to_owned(),
        old_valid_until: iso(rotated.old_until),
        message: told("the webhook secret was renewed", &rotated.remarks),
    }))
}
