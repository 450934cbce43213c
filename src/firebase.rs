//! Firebase ID tokens, which an application's own front ends send as their bearer. Proven as
//! <https://firebase.google.com/docs/auth/admin/verify-id-tokens> says: RS256 by one of Google's
//! keys, for this project, not ended.

use std::{collections::HashMap, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use reqwest::{
    Method,
    header::{CACHE_CONTROL, HeaderMap},
};
use serde::Deserialize;
use tokio::sync::{Mutex, RwLock};
use url::Url;

use crate::{
    domain::clock::{Clock, HOUR, MINUTE, Millis, SECOND},
    http::{Http, Request, Trust},
    telemetry::Chain,
};

/// Characters of a token; real ones have about a thousand.
const CHARS_MAX: usize = 8_192;
/// Characters of a user's id.
const UID_CHARS_MAX: usize = 128;
/// By so much the clocks may differ.
const LEEWAY: Millis = MINUTE;
/// For a request for the keys. Callers wait for it.
const KEYS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long keys are good for where their answer does not say.
const KEYS_LAST: Millis = HOUR;
/// How often keys are asked for at most, should somebody send tokens with made-up key ids, or
/// should Google be away.
const KEYS_EVERY: Millis = 10 * SECOND;
/// Keys that are known go on proving tokens for so long when Google cannot be asked.
const KEYS_LAST_AWAY: Millis = 24 * HOUR;

/// Proves ID tokens of one project.
pub struct Firebase {
    project: String,
    issuer: String,
    keys_url: Url,
    http: Http,
    clock: Clock,
    keys: RwLock<Keys>,
    /// Held by who fetches them: who needs none but those that are known does not wait.
    fetching: Mutex<()>,
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, DecodingKey>,
    good_until: Millis,
    asked_at: Option<Millis>,
}

/// Whose token it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's id in the project.
    pub uid: String,
    /// The application's claim `role`.
    pub role: Option<String>,
}

/// A token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is none of this project, has ended, or was made up.
    #[error("not a valid token")]
    Invalid,
    /// The keys that could prove it are not known and cannot be fetched.
    #[error("the keys that prove Firebase tokens cannot be fetched")]
    KeysAway,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since the Unix epoch, as all times here.
    exp: i64,
    iat: i64,
    auth_time: i64,
    role: Option<String>,
}

impl Firebase {
    /// For the tokens of this project.
    #[must_use]
    pub fn new(project: &str, keys_url: Url, http: Http, clock: Clock) -> Self {
        Self {
            project: project.to_owned(),
            issuer: format!("https://securetoken.google.com/{project}"),
            keys_url,
            http,
            clock,
            keys: RwLock::default(),
            fetching: Mutex::default(),
        }
    }

    /// Whether this can be a token at all; keys of the gateway have another form.
    #[must_use]
    pub fn is_token(text: &str) -> bool {
        text.starts_with("ey") && text.split('.').count() == 3
    }

    /// Proves a token.
    pub async fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        if token.len() > CHARS_MAX {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let id =
            header.kid.filter(|_| header.alg == Algorithm::RS256).ok_or(TokenError::Invalid)?;
        let key = self.key(&id).await?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[&self.project]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        // By the clock of this program, below.
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key, &validation);
        let claims = decoded.map_err(|_| TokenError::Invalid)?.claims;
        let now = self.clock.now();
        let is_current = claims.exp.saturating_mul(SECOND) > now - LEEWAY
            && claims.iat.saturating_mul(SECOND) <= now + LEEWAY
            && claims.auth_time.saturating_mul(SECOND) <= now + LEEWAY;
        let is_user = !claims.sub.is_empty() && claims.sub.chars().count() <= UID_CHARS_MAX;
        if !is_current || !is_user {
            return Err(TokenError::Invalid);
        }
        Ok(Identity { uid: claims.sub, role: claims.role })
    }

    /// The key of this id; asked for anew when it is not known or the known ones have aged.
    async fn key(&self, id: &str) -> Result<DecodingKey, TokenError> {
        if let Some(known) = self.known(id, self.clock.now()).await {
            return Ok(known);
        }
        let _fetching = self.fetching.lock().await;
        let now = self.clock.now();
        if let Some(known) = self.known(id, now).await {
            return Ok(known);
        }
        let is_due = self.keys.read().await.asked_at.is_none_or(|it| now - it >= KEYS_EVERY);
        let fetched = if is_due { self.fetch(now).await } else { None };
        let mut keys = self.keys.write().await;
        let is_away = match fetched {
            Some((by_id, good_until)) => {
                (keys.by_id, keys.good_until) = (by_id, good_until);
                false
            }
            None => is_due || now >= keys.good_until,
        };
        if is_due {
            keys.asked_at = Some(now);
        }
        let is_usable = now < keys.good_until + KEYS_LAST_AWAY;
        match keys.by_id.get(id).filter(|_| is_usable) {
            Some(known) => Ok(known.clone()),
            None if is_away => Err(TokenError::KeysAway),
            None => Err(TokenError::Invalid),
        }
    }

    /// A key that is good now.
    async fn known(&self, id: &str, now: Millis) -> Option<DecodingKey> {
        let keys = self.keys.read().await;
        keys.by_id.get(id).filter(|_| now < keys.good_until).cloned()
    }

    async fn fetch(&self, now: Millis) -> Option<(HashMap<String, DecodingKey>, Millis)> {
        let request = Request {
            method: Method::GET,
            url: &self.keys_url,
            trust: Trust::Operator,
            headers: HeaderMap::new(),
            body: None,
            timeout: KEYS_TIMEOUT,
        };
        let reply = match self.http.send(request).await {
            Ok(reply) if reply.status.is_success() => reply,
            Ok(reply) => {
                let status = reply.status.as_u16();
                tracing::warn!(http.status = status, "the keys of Firebase tokens were not given");
                return None;
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the keys of Firebase tokens cannot be fetched");
                return None;
            }
        };
        let set: JwkSet = serde_json::from_slice(&reply.body).ok()?;
        let key = |it: &jsonwebtoken::jwk::Jwk| {
            Some((it.common.key_id.clone()?, DecodingKey::from_jwk(it).ok()?))
        };
        let by_id: HashMap<String, DecodingKey> = set.keys.iter().filter_map(key).collect();
        let lasts = max_age(&reply.headers).unwrap_or(KEYS_LAST);
        (!by_id.is_empty()).then_some((by_id, now + lasts))
    }
}

fn max_age(headers: &HeaderMap) -> Option<Millis> {
    let text = headers.get(CACHE_CONTROL)?.to_str().ok()?;
    let found = text.split(',').find_map(|it| it.trim().strip_prefix("max-age="))?;
    let seconds: i64 = found.parse().ok().filter(|it| (0..=86_400).contains(it))?;
    Some(seconds * SECOND)
}
