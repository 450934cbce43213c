//! Answers that several routes give.

use serde::Serialize;
use utoipa::ToSchema;

use super::notify::RecipientView;

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
    /// Of an import, with 422: what is wrong with which vendor; at most 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) faults: Option<Vec<FaultView>>,
    /// Of an alert that nobody gets, with 422: why each recipient does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) results: Option<Vec<RecipientView>>,
}

/// What is wrong with one vendor of an import.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FaultView {
    /// Its place in the document, from 0.
    pub(super) index: usize,
    /// Its id, where that can be read.
    pub(super) vendor_id: Option<String>,
    #[schema(example = "instances[0].phoneNumber")]
    pub(super) field: String,
    pub(super) error: String,
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
