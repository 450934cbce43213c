//! Calls that prove themselves by a bearer token.

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};

use crate::{
    domain::secret::{ExposeSecret, SecretString},
    http::HttpError,
};

/// What every such call carries.
pub(super) fn headers(token: &SecretString) -> Result<HeaderMap, HttpError> {
    let mut headers = HeaderMap::new();
    // A token with a line break in it is no token.
    let bearer = format!("Bearer {}", token.expose_secret());
    let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| HttpError::Forbidden)?;
    bearer.set_sensitive(true);
    headers.insert(AUTHORIZATION, bearer);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    Ok(headers)
}
