//! Answers that several routes give.

use serde::Serialize;
use utoipa::ToSchema;

/// Every refusal has this form.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorView {
    /// What was wrong, in words; where a field is at fault, its name and its limit.
    #[schema(example = "unknown vendor")]
    pub(super) error: String,
    /// With 500 alone: what to tell the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<String>,
    /// At set-up, with 409: where the session's webhooks go today.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) webhook_url: Option<String>,
    /// Of a file, with 410: why it cannot be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Done {
    #[schema(example = true)]
    success: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Paused {
    #[schema(example = true)]
    success: bool,
    /// Whether it is paused now.
    paused: bool,
}

impl Done {
    pub(super) fn new() -> axum::Json<Self> {
        axum::Json(Self { success: true })
    }
}

impl Paused {
    pub(super) fn new(paused: bool) -> axum::Json<Self> {
        axum::Json(Self { success: true, paused })
    }
}
