//! The only way out: time limits, a bounded answer, no redirects, no proxy, and no private
//! address for URLs that vendors gave us.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use reqwest::{
    StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::HeaderMap,
};
use url::{Host, Url};

/// Until a connection stands, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer we read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Idle connections kept for one host.
const IDLE_PER_HOST_MAX: usize = 32;
/// How long one is kept; shorter than what servers commonly allow, so that it is ours to close.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Which addresses may be reached although private.
pub trait Allow: Send + Sync {
    /// Whether a vendor's URL may reach this address, found under this name.
    fn allows(&self, host: &str, address: IpAddr) -> bool;
}

/// The HTTP client.
#[derive(Clone)]
pub struct Http {
    trusted: reqwest::Client,
    guarded: reqwest::Client,
    guard: Arc<dyn Allow>,
}

/// Who gave us the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The operator: any address.
    Operator,
    /// A vendor: no private address, unless the operator allows it.
    Vendor,
}

/// One request.
pub struct Request<'a> {
    /// The method.
    pub method: reqwest::Method,
    /// Where to.
    pub url: &'a Url,
    /// Who gave us the URL.
    pub trust: Trust,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Option<Vec<u8>>,
    /// For all of it.
    pub timeout: Duration,
}

/// What came back. A 500 is a reply: only who asked knows what it means.
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

/// No reply came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The address is private, or the URL is none.
    #[error("the address may not be reached")]
    Forbidden,
    /// No connection: nothing of the request left.
    #[error("no connection")]
    NoConnection,
    /// The request may have left, and no whole answer came in time.
    #[error("no answer")]
    NoAnswer,
    /// The answer is larger than we read.
    #[error("the answer is too large")]
    TooLarge,
}

impl Http {
    /// A client; `guard` says what vendors' URLs may reach.
    pub fn new(guard: Arc<dyn Allow>) -> Result<Self, reqwest::Error> {
        let guarded = builder().dns_resolver(Arc::new(Guarded(Arc::clone(&guard)))).build()?;
        Ok(Self { trusted: builder().build()?, guarded, guard })
    }

    /// Sends one request, once.
    pub async fn send(&self, request: Request<'_>) -> Result<Reply, HttpError> {
        let client = match request.trust {
            Trust::Operator => &self.trusted,
            Trust::Vendor => {
                self.check(request.url)?;
                &self.guarded
            }
        };
        let mut builder = client
            .request(request.method, request.url.clone())
            .headers(request.headers)
            .timeout(request.timeout);
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        let answer = builder.send().await.map_err(|it| HttpError::of(&it))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok(Reply { status, headers, body: read(answer).await? })
    }

    /// Whether a vendor's URL may be reached, as far as it tells itself: addresses written into it
    /// are checked here, names each time they are resolved.
    ///
    /// # Errors
    ///
    /// [`HttpError::Forbidden`] when it may not.
    pub fn check(&self, url: &Url) -> Result<(), HttpError> {
        let address = match url.host() {
            Some(Host::Ipv4(it)) => IpAddr::V4(it),
            Some(Host::Ipv6(it)) => IpAddr::V6(it),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(HttpError::Forbidden),
        };
        let host = url.host_str().unwrap_or_default();
        if self.guard.allows(host, address) { Ok(()) } else { Err(HttpError::Forbidden) }
    }
}

impl HttpError {
    fn of(error: &reqwest::Error) -> Self {
        if error.is_builder() {
            Self::Forbidden
        } else if error.is_connect() {
            Self::NoConnection
        } else {
            Self::NoAnswer
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one door out")]
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .http1_only()
        .user_agent(concat!("waba-gateway/", env!("CARGO_PKG_VERSION")))
}

async fn read(mut answer: reqwest::Response) -> Result<Bytes, HttpError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|_| HttpError::NoAnswer)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(HttpError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

struct Guarded(Arc<dyn Allow>);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|it| guard.allows(name.as_str(), it.ip())).collect();
            if allowed.is_empty() {
                return Err("no address that may be reached".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// What an address is, as far as the guard cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anybody's.
    Public,
    /// The operator's own network or machine.
    Private,
    /// Never a target: link-local (cloud metadata included), multicast, unspecified, reserved.
    Never,
}

/// What kind of address it is. An IPv4 address inside an IPv6 one is judged as itself.
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    let v4 = match address {
        IpAddr::V4(it) => it,
        IpAddr::V6(it) => match it.to_ipv4_mapped().or_else(|| nat64(&it)) {
            Some(it) => it,
            None => return reach_v6(&it),
        },
    };
    let [a, b, c, _] = v4.octets();
    match (a, b, c) {
        (0 | 224.., ..) | (169, 254, _) | (192, 0, 0) => Reach::Never,
        (100, 64..=127, _) if v4.octets() == [100, 100, 100, 200] => Reach::Never,
        (10 | 127, ..)
        | (172, 16..=31, _)
        | (192, 168, _)
        | (100, 64..=127, _)
        | (192, 0, 2)
        | (198, 18 | 19, _)
        | (198, 51, 100)
        | (203, 0, 113) => Reach::Private,
        _ => Reach::Public,
    }
}

fn nat64(address: &std::net::Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let s = address.segments();
    let [a, b] = s[6].to_be_bytes();
    let [c, d] = s[7].to_be_bytes();
    (s[..6] == [0x64, 0xff9b, 0, 0, 0, 0]).then(|| std::net::Ipv4Addr::new(a, b, c, d))
}

fn reach_v6(address: &std::net::Ipv6Addr) -> Reach {
    let first = address.segments()[0];
    if address.is_loopback() || first & 0xfe00 == 0xfc00 {
        // fd00:ec2::254 is a metadata address inside the private range.
        return if address.segments()[..2] == [0xfd00, 0xec2] {
            Reach::Never
        } else {
            Reach::Private
        };
    }
    if first & 0xe000 == 0x2000 { Reach::Public } else { Reach::Never }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, want: Reach) {
        assert_eq!(reach(address.parse().unwrap()), want, "{address}");
    }

    #[test]
    fn private_and_metadata_addresses_are_known() {
        for it in ["8.8.8.8", "100.63.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            check(it, Reach::Public);
        }
        for it in
            ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "100.64.0.1", "::1", "fd12::1"]
        {
            check(it, Reach::Private);
        }
        for it in ["169.254.169.254", "0.0.0.0", "255.255.255.255", "fe80::1", "::", "ff02::1"] {
            check(it, Reach::Never);
        }
        for it in
            ["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "100.100.100.200"]
        {
            check(it, Reach::Never);
        }
        check("::ffff:10.0.0.1", Reach::Private);
    }
}
