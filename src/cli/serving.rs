//! Asking the server itself, over HTTP.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, bail};
use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde_json::Value;
use url::Url;

use crate::{
    app,
    config::Config,
    domain::secret::{ExposeSecret, SecretString},
    http::{Http, Request, Trust},
};

/// For one question.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For what an admin asks for; much may have to be written.
const ADMIN_TIMEOUT: Duration = Duration::from_mins(5);

/// When a request is made again that was one too many, and how often: a minute lets it through.
const TOO_MANY_AGAIN: Duration = Duration::from_secs(1);
const TRIES_MAX: u32 = 70;

/// The administration of the server of this configuration.
pub(super) struct Server {
    http: Http,
    base: String,
    key: SecretString,
}

impl Server {
    /// `None`: there is no admin key to ask it with.
    pub(super) fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(key) = app::operator_key(config)? else { return Ok(None) };
        Ok(Some(Self { http: app::http(config)?, base: local(config), key }))
    }

    /// Asks a route below `/api/admin`.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await?.map_err(anyhow::Error::msg)
    }

    /// Has something done; the text is why it was refused.
    pub(super) async fn post(
        &self,
        path: &str,
        body: Value,
    ) -> anyhow::Result<Result<Value, String>> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Result<Value, String>> {
        let url = Url::parse(&format!("{}/api/admin/{path}", self.base))?;
        let mut headers = HeaderMap::new();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.key.expose_secret()))
            .context("the admin key has characters that cannot be sent")?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = body.map(|it| it.to_string().into_bytes());
        let mut tries = 0;
        let reply = loop {
            let (method, headers, body) = (method.clone(), headers.clone(), body.clone());
            let (trust, timeout) = (Trust::Operator, ADMIN_TIMEOUT);
            let request = Request { method, url: &url, trust, headers, body, timeout };
            let reply = self.http.send(request).await.with_context(|| {
                format!(
                    "a server uses the data directory, but it does not answer at {} (LISTEN_ADDR)",
                    self.base
                )
            })?;
            tries += 1;
            if reply.status != StatusCode::TOO_MANY_REQUESTS || tries > TRIES_MAX {
                break reply;
            }
            tokio::time::sleep(TOO_MANY_AGAIN).await;
        };
        let document: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let error = document["error"].as_str().unwrap_or("no reason was told").to_owned();
        match reply.status.as_u16() {
            200..=299 => Ok(Ok(document)),
            401 | 403 => bail!(
                "the server at {} refuses the admin key of this configuration (ADMIN_API_KEY, or admin.key in DATA_DIR)",
                self.base
            ),
            404 | 409 | 422 => Ok(Err(error)),
            status => bail!("the server at {} answered {status}: {error}", self.base),
        }
    }
}

/// How an address answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// As this gateway does, in this version.
    Ours {
        /// Its version.
        version: String,
    },
    /// As something else does.
    Foreign {
        /// Its status code.
        status: u16,
    },
    /// Not at all.
    Nothing,
}

/// Where the server of this configuration is reached from this machine.
pub(super) fn local(config: &Config) -> String {
    let ip = match config.listen.ip() {
        IpAddr::V4(it) if it.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(it) if it.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        it => it,
    };
    format!("http://{}", SocketAddr::new(ip, config.listen.port()))
}

/// Asks `/health` below this base.
pub(super) async fn health(http: &Http, base: &str) -> Health {
    let Some(reply) = get(http, base, "health").await else { return Health::Nothing };
    let body: Option<serde_json::Value> = serde_json::from_slice(&reply.body).ok();
    let version = body.as_ref().filter(|it| it["status"] == "ok");
    match version.and_then(|it| it["version"].as_str()) {
        Some(version) => Health::Ours { version: version.to_owned() },
        None => Health::Foreign { status: reply.status.as_u16() },
    }
}

/// Whether it could keep a webhook now; `None` when nobody answers.
pub(super) async fn is_ready(http: &Http, base: &str) -> Option<bool> {
    Some(get(http, base, "ready").await?.status.is_success())
}

async fn get(http: &Http, base: &str, path: &str) -> Option<crate::http::Reply> {
    let url = Url::parse(&format!("{}/{path}", base.trim_end_matches('/'))).ok()?;
    let request = Request {
        method: Method::GET,
        url: &url,
        trust: Trust::Operator,
        headers: HeaderMap::new(),
        body: None,
        timeout: TIMEOUT,
    };
    http.send(request).await.ok()
}
