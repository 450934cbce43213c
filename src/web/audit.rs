//! Who changed what: each change that was made through the administration is put on record, with
//! the ids in its path and nothing of its body.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, OnceLock},
};

use axum::{
    Json as Answer,
    extract::{MatchedPath, RawPathParams, Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema, openapi::path::Operation};

use super::{Web, auth::Admin, error::ApiError, extract::Query};
use crate::{
    domain::{clock::iso, id::VendorId},
    store::Deed,
    telemetry::Chain,
};

/// Changes on one page.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;
/// What changes nothing of the set-up although it is no GET.
const NOT_ON_RECORD: [&str; 2] = ["sendText", "testForward"];
/// What gives away secrets although it is a GET.
const ON_RECORD: [&str; 1] = ["exportVendors"];

/// The operations by method and path.
static OPERATIONS: LazyLock<HashMap<(Method, String), String>> = LazyLock::new(|| {
    let document = super::described_routes(None).into_openapi();
    let mut found = HashMap::new();
    for (path, item) in document.paths.paths {
        let by_method: [(Method, Option<Operation>); 5] = [
            (Method::GET, item.get),
            (Method::PUT, item.put),
            (Method::POST, item.post),
            (Method::DELETE, item.delete),
            (Method::PATCH, item.patch),
        ];
        for (method, operation) in by_method {
            if let Some(id) = operation.and_then(|it| it.operation_id) {
                found.insert((method, path.clone()), id);
            }
        }
    }
    found
});

/// Whose key a request was made with, told by whoever looks at the key.
#[derive(Clone, Default)]
pub(super) struct By(Arc<OnceLock<String>>);

impl By {
    pub(super) fn is(&self, key_id: &str) {
        // Two extractors of one request find the same key.
        let _ = self.0.set(key_id.to_owned());
    }
}

/// It failed, and a part of it was done.
#[derive(Clone)]
pub(super) struct Kept;

/// The id of what was made; it is not in the path.
#[derive(Clone)]
pub(super) struct About(pub(super) String);

/// Puts what was done on record.
pub(super) async fn audited(
    State(web): State<Web>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    let by = By::default();
    request.extensions_mut().insert(by.clone());
    let what = operation(&request);
    let answer = next.run(request).await;
    let (Some(what), Some(by)) = (what, by.0.get()) else { return answer };
    let is_kept = answer.status().is_success() || answer.extensions().get::<Kept>().is_some();
    if !is_kept {
        return answer;
    }
    let vendor = params.iter().find(|it| it.0 == "vendor_id");
    let vendor = vendor.and_then(|it| VendorId::parse(it.1).ok());
    let made = answer.extensions().get::<About>().map(|it| it.0.clone());
    let named = || params.iter().find(|it| it.0 != "vendor_id").map(|it| it.1.to_owned());
    let about = made.or_else(named);
    let kept = web.gateway.put_on_record(by, what, vendor.as_ref(), about.as_deref()).await;
    if let Err(error) = kept {
        tracing::error!(key.id = by, what, error = %Chain(&error), "a change could not be put on record");
    }
    answer
}

/// What the request does, where that is to be on record.
fn operation(request: &Request) -> Option<&'static str> {
    let path = request.extensions().get::<MatchedPath>()?.as_str().to_owned();
    let what = OPERATIONS.get(&(request.method().clone(), path))?.as_str();
    let is_change = request.method() != Method::GET && !NOT_ON_RECORD.contains(&what);
    (is_change || ON_RECORD.contains(&what)).then_some(what)
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// One vendor's alone.
    #[param(value_type = Option<String>)]
    vendor_id: Option<VendorId>,
    /// `nextCursor` of the page before.
    cursor: Option<i64>,
    /// At most 1000; 100 without it.
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditView {
    /// Newest first.
    changes: Vec<ChangeView>,
    /// For the next page; null on the last.
    next_cursor: Option<i64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangeView {
    at: String,
    /// The id of the key it was made with; `cli` for the command line.
    #[schema(example = "key_1a2b3c4d5e6f")]
    by: String,
    /// The operation, by its `operationId` in this document.
    #[schema(example = "changeNumber")]
    what: String,
    vendor_id: Option<String>,
    /// The id of what was changed, where the vendor is not all.
    #[schema(example = "waba_vendor_001")]
    about: Option<String>,
}

impl From<&Deed> for ChangeView {
    fn from(it: &Deed) -> Self {
        Self {
            at: iso(it.at),
            by: it.by.clone(),
            what: it.what.clone(),
            vendor_id: it.vendor.as_ref().map(ToString::to_string),
            about: it.about.clone(),
        }
    }
}

/// List what was changed, and by whom (admins)
///
/// Every change that was made through these routes or the command line, newest first, for 400 days.
/// What was refused is in it only where a part of it was kept, and no value that was set is.
#[utoipa::path(get, path = "/audit", tag = "Operation", operation_id = "listChanges",
    params(AuditQuery), responses((status = 200, description = "one page", body = AuditView)))]
pub(super) async fn list(
    State(web): State<Web>,
    _: Admin,
    Query(query): Query<AuditQuery>,
) -> Result<Answer<AuditView>, ApiError> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let found = web.gateway.deeds(query.vendor_id.as_ref(), query.cursor, limit).await?;
    let next_cursor = found.last().map(|it| it.0).filter(|_| found.len() == limit);
    let changes = found.iter().map(|it| ChangeView::from(&it.1)).collect();
    Ok(Answer(AuditView { changes, next_cursor }))
}
