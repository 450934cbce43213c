//! Axum's extractors with our form of refusal. A refusal of JSON tells the place and the field's
//! name, never a value: it may be a secret.

use axum::{
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::request::Parts,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{body::BODY_TIMEOUT, error::ApiError};

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

/// A JSON body that may be missing.
pub(super) struct MaybeJson<T>(pub(super) T);

/// A body that is read elsewhere.
pub(super) struct Whole(pub(super) Bytes);

/// A query string.
pub(super) struct Query<T>(pub(super) T);

/// A part of the path.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = read(request, state).await?;
        parse(&body).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = read(request, state).await?;
        match body.trim_ascii() {
            b"" | b"null" => Ok(Self(T::default())),
            _ => parse(&body).map(Self),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        read(request, state).await.map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        found.map(|it| Self(it.0)).map_err(|_| ApiError::BadRequest("malformed query".to_owned()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        // An id that cannot be one names nothing.
        found.map(|it| Self(it.0)).map_err(|_| ApiError::NoRoute)
    }
}

/// The whole body, within the time that a webhook's has.
async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
    read.map_err(|_| ApiError::TooSlow)?.map_err(|it| refused(&it))
}

fn refused(rejection: &BytesRejection) -> ApiError {
    if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
        ApiError::TooLarge
    } else {
        ApiError::Truncated
    }
}

/// Reads JSON.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        // These two quote names of ours or of a field, and nothing else.
        let is_harmless = text.starts_with("unknown field") || text.starts_with("missing field");
        let what = if is_harmless {
            text.split(" at line").next().unwrap_or_default().to_owned()
        } else if error.is_data() {
            "a value has the wrong type or is not one of the allowed words".to_owned()
        } else {
            "not JSON".to_owned()
        };
        let (line, column) = (error.line(), error.column());
        ApiError::BadRequest(format!(
            "the body is malformed at line {line}, column {column}: {what}"
        ))
    })
}
