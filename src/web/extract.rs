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

/// The longest name of a field that is told, in characters.
const FIELD_CHARS_MAX: usize = 200;

/// Reads JSON.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json);
    let value = read.map_err(|it| malformed(it.inner(), Some(it.path())))?;
    json.end().map_err(|it| malformed(&it, None))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error, path: Option<&serde_path_to_error::Path>) -> ApiError {
    let text = error.to_string();
    // These two quote names of ours or of a field, and nothing else.
    let is_harmless = text.starts_with("unknown field") || text.starts_with("missing field");
    let what = if is_harmless {
        text.split(" at line").next().unwrap_or_default().to_owned()
    } else if error.is_data() {
        let what = "the value has the wrong type or is not one of the allowed words";
        match path.filter(|it| it.iter().next().is_some()) {
            Some(path) => {
                let field: String = path.to_string().chars().take(FIELD_CHARS_MAX).collect();
                format!("{field}: {what}")
            }
            None => what.to_owned(),
        }
    } else {
        "not JSON".to_owned()
    };
    let (line, column) = (error.line(), error.column());
    ApiError::BadRequest(format!("the body is malformed at line {line}, column {column}: {what}"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is only read")]
    struct Message {
        text: Option<String>,
        poll: Option<Poll>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is only read")]
    struct Poll {
        question: String,
        options: Vec<String>,
    }

    #[test]
    fn a_wrong_type_is_told_with_its_field_and_no_value() {
        for (body, want) in [
            (r#"{"text":17}"#, "text: the value"),
            (r#"{"text":{"a":"b"}}"#, "text: the value"),
            (r#"{"text": true}"#, "text: the value"),
            ("{\n\"text\" :\n [1]}", "text: the value"),
            (r#"{"text":"a \\\" {:","poll":"x"}"#, "poll: the value"),
            (r#"{"poll":{"question":"Q","options":"a"}}"#, "poll.options: the value"),
            (r#"{"poll":{"question":"Q","options":["a",2]}}"#, "poll.options[1]: the value"),
            (r#"{"poll":{"options":["a"],"question":null}}"#, "poll.question: the value"),
            (r#"{"poll":{"options":["a"]}}"#, "missing field `question`"),
            (r#"{"x":1}"#, "unknown field `x`"),
            ("17", "the value"),
            (r#"{"text":17"#, "text: the value"),
            (r#"{"text""#, "not JSON"),
            (r#"{"text":"a"} 1"#, "not JSON"),
        ] {
            let Err(ApiError::BadRequest(why)) = parse::<Message>(body.as_bytes()) else {
                panic!("{body}")
            };
            let what = why.split_once("column ").and_then(|it| it.1.split_once(": ")).unwrap().1;
            assert!(what.starts_with(want), "{body}: {why}");
            assert!(!why.contains("17"), "{why}");
        }
    }
}
