//! A page that shows `/openapi.json` to people and lets them try it. All of it comes from the
//! program itself, and the page may load nothing else.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Web, error::ApiError, extract::Path};

/// Scripts and styles of our own only; the pictures are in the styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default().routes(routes!(enter)).routes(routes!(page)).routes(routes!(file))
}

#[derive(Deserialize, IntoParams)]
struct FilePath {
    /// What the page asks for.
    #[param(example = "start.js")]
    file: String,
}

/// Go to the page that shows this document
#[utoipa::path(get, path = "/docs", tag = "Operation", operation_id = "enterDocs", security(()),
    responses((status = 303, description = "to `docs/`")))]
async fn enter() -> impl IntoResponse {
    // Relative, for proxies that serve us under a path of theirs.
    (StatusCode::SEE_OTHER, [(LOCATION, "docs/")])
}

/// Show this document to people
#[utoipa::path(get, path = "/docs/", tag = "Operation", operation_id = "docs", security(()),
    responses((status = 200, description = "a page that needs nothing from elsewhere",
        content_type = "text/html", body = String)))]
async fn page() -> Response {
    answer("text/html; charset=utf-8", include_str!("docs/index.html"))
}

/// Fetch what the page is made of
#[utoipa::path(get, path = "/docs/{file}", tag = "Operation", operation_id = "docsFile",
    security(()), params(FilePath),
    responses(
        (status = 200, description = "a script or a style", body = String,
            content_type = "text/javascript"),
        (status = 404, description = "the page has no such part"),
    ))]
async fn file(Path(path): Path<FilePath>) -> Result<Response, ApiError> {
    match path.file.as_str() {
        "start.js" => Ok(answer("text/javascript", include_str!("docs/start.js"))),
        "swagger-ui-bundle.js" => vendored("text/javascript", &path.file),
        "swagger-ui.css" => vendored("text/css", &path.file),
        _ => Err(ApiError::NoRoute),
    }
}

/// A file of Swagger UI, as it is in the program: compressed, which every browser takes.
fn vendored(kind: &'static str, name: &str) -> Result<Response, ApiError> {
    let found = utoipa_swagger_ui::serve(name, Arc::default()).ok().flatten();
    let found = found.ok_or(ApiError::NoRoute)?;
    let mut answer = answer(kind, found.bytes);
    if found.gzpipped {
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(answer)
}

fn answer(kind: &'static str, content: impl Into<Body>) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, content.into()).into_response()
}
