//! Vendors handed from one gateway to another.

use axum::{
    Json as Answer,
    body::Body,
    extract::{DefaultBodyLimit, State},
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    response::IntoResponse,
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    auth::Admin,
    error::ApiError,
    extract::{Query, Whole},
};
use crate::gateway::AdminError;

/// The largest document, in bytes.
const DOCUMENT_BYTES_MAX: usize = 32 * 1024 * 1024;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportQuery {
    /// Also signing secrets, webhook secrets, API keys and headers of responders, in clear; for
    /// that the key must be one that may change things.
    #[serde(default)]
    secrets: bool,
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ImportQuery {
    /// Everything is checked and nothing changed.
    #[serde(default)]
    dry_run: bool,
}

/// What was imported.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImportedView {
    #[schema(example = true)]
    success: bool,
    dry_run: bool,
    /// Vendors that were not there.
    created: usize,
    /// Vendors that were.
    updated: usize,
    /// Numbers, new and changed.
    instances: usize,
}

pub(super) fn routes() -> OpenApiRouter<Web> {
    let import = OpenApiRouter::default()
        .routes(routes!(import))
        .layer(DefaultBodyLimit::max(DOCUMENT_BYTES_MAX));
    OpenApiRouter::default().routes(routes!(export)).merge(import)
}

/// Export all vendors
///
/// Settings and numbers as one document, as a file; `POST /api/admin/import` takes it. Should the
/// connection end before the last brace, it is not whole. Vendors whose stored data cannot be read
/// are left out; `unreadable` names them.
#[utoipa::path(get, path = "/export", tag = "Operation", operation_id = "exportVendors",
    params(ExportQuery), responses((status = 200, description = "a JSON document", body = serde_json::Value)))]
async fn export(
    State(web): State<Web>,
    admin: Admin,
    Query(query): Query<ExportQuery>,
) -> Result<impl IntoResponse, ApiError> {
    if query.secrets {
        // With a signing secret or an API key more can be done than to look.
        admin.may_change()?;
    }
    let export = web.gateway.export_vendors(query.secrets);
    let pieces = stream::try_unfold(export, |mut export| async move {
        let piece = export.next().await?;
        Ok::<_, AdminError>(piece.map(|it| (it, export)))
    });
    let file = "attachment; filename=\"vendors.json\"";
    Ok((
        [(CONTENT_TYPE, "application/json"), (CONTENT_DISPOSITION, file)],
        Body::from_stream(pieces),
    ))
}

/// Import vendors
///
/// A document of `GET /api/admin/export`, at most 10,000 vendors and 32 MiB: all or none. Vendors
/// that are there are changed; what the document does not name stays. In Firestore more than 100
/// vendors or numbers are kept a hundred at a time: should it be interrupted (503), the same import
/// again goes on from there.
#[utoipa::path(post, path = "/import", tag = "Operation", operation_id = "importVendors",
    params(ImportQuery),
    request_body(content = serde_json::Value, description = "the document", content_type = "application/json"),
    responses(
        (status = 200, description = "it was done, or could be", body = ImportedView),
        (status = 409, description = "a vendor was changed meanwhile: repeat"),
        (status = 503, description = "the store is away; the error says whether a part was kept"),
        (status = 413, description = "the document is larger than 32 MiB"),
        (status = 422, description = "nothing was changed; what is wrong with which vendor"),
    ))]
async fn import(
    State(web): State<Web>,
    _: Admin,
    Query(query): Query<ImportQuery>,
    Whole(document): Whole,
) -> Result<Answer<ImportedView>, ApiError> {
    let imported = web.gateway.import_vendors(&document, query.dry_run).await?;
    Ok(Answer(ImportedView {
        success: true,
        dry_run: query.dry_run,
        created: imported.n_created,
        updated: imported.n_updated,
        instances: imported.n_instances,
    }))
}
