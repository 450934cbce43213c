//! Asking the server itself, over HTTP.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use reqwest::{Method, header::HeaderMap};
use url::Url;

use crate::{
    config::Config,
    http::{Http, Request, Trust},
};

/// For one question.
const TIMEOUT: Duration = Duration::from_secs(10);

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
