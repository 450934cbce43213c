//! The only way out: time limits, a bounded answer, no redirects, no proxy, and no private
//! address for URLs that vendors gave us.

mod download;
#[cfg(test)]
mod guard_tests;
mod reach;
mod status;

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt};
use reqwest::{
    StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_LENGTH, HeaderMap},
};
use url::{Host, Url};

use self::download::PAUSE_MAX as DOWNLOAD_PAUSE_MAX;
pub use self::{
    download::Download,
    reach::{Reach, reach},
};

/// Until a connection stands, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer we read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Idle connections kept for one host: all vendors' sends go to the same few.
const IDLE_PER_HOST_MAX: usize = 256;
/// Where WhatsApp keeps files; the only hosts that customers' URLs reach.
const FILE_HOSTS: &str = ".whatsapp.net";
/// How long one is kept; shorter than what servers commonly allow, so that it is ours to close.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Which addresses may be reached although private.
pub trait Allow: Send + Sync {
    /// Whether a vendor's URL may reach this address, found under this name.
    fn allows(&self, host: &str, address: IpAddr) -> bool;

    /// Whether an address that a customer's message names may be this private one. What is allowed
    /// to vendors is not allowed to their customers.
    fn allows_customers(&self, _address: IpAddr) -> bool {
        false
    }
}

/// The HTTP client.
#[derive(Clone)]
pub struct Http {
    trusted: reqwest::Client,
    guarded: reqwest::Client,
    files: reqwest::Client,
    guard: Arc<dyn Allow>,
    carrier: Option<Arc<dyn Carrier>>,
}

/// What carries requests in place of the network, where the world is simulated.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// Carries one request, once. It is dropped half-way when nobody waits for the reply any more.
    async fn carry(&self, request: Request<'_>) -> Result<Reply, HttpError>;
}

/// Who gave us the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The operator: any address.
    Operator,
    /// A vendor: no private address, unless the operator allows it.
    Vendor,
    /// A customer: WhatsApp's own hosts over TLS, and private addresses that the operator allows.
    Customer,
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
    /// What we sent broke off on our side: the request was never whole.
    #[error("the request broke off")]
    BrokeOff,
    /// The answer is larger than we read.
    #[error("the answer is too large")]
    TooLarge,
}

impl Http {
    /// A client; `guard` says what vendors' URLs may reach.
    pub fn new(guard: Arc<dyn Allow>) -> Result<Self, reqwest::Error> {
        let client = |trust| {
            let guard = Arc::clone(&guard);
            builder().dns_resolver(Arc::new(Guarded { guard, trust })).build()
        };
        let (guarded, files) = (client(Trust::Vendor)?, client(Trust::Customer)?);
        Ok(Self { trusted: builder().build()?, guarded, files, guard, carrier: None })
    }

    /// The same client, over a carrier: nothing of it reaches the network.
    #[must_use]
    pub fn over(&self, carrier: Arc<dyn Carrier>) -> Self {
        Self { carrier: Some(carrier), ..self.clone() }
    }

    /// Sends one request, once.
    pub async fn send(&self, mut request: Request<'_>) -> Result<Reply, HttpError> {
        if let Some(carrier) = &self.carrier {
            return carrier.carry(request).await;
        }
        let body = request.body.take().map(reqwest::Body::from);
        self.reply(request, body).await
    }

    /// Sends one request whose body, of `n_bytes`, is read on the way.
    ///
    /// # Errors
    ///
    /// [`HttpError::BrokeOff`] when the body itself told an error: what comes after it never left.
    pub async fn send_stream<S>(
        &self,
        mut request: Request<'_>,
        n_bytes: u64,
        body: S,
    ) -> Result<Reply, HttpError>
    where
        S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    {
        request.headers.insert(CONTENT_LENGTH, n_bytes.into());
        let broke_off = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&broke_off);
        let body = body.inspect_err(move |_| told.store(true, Ordering::Release));
        let reply = self.reply(request, Some(reqwest::Body::wrap_stream(body))).await;
        reply.map_err(|it| if broke_off.load(Ordering::Acquire) { HttpError::BrokeOff } else { it })
    }

    /// Asks for a file; what comes back is read piece by piece. `request.timeout` is for all of it.
    pub async fn download(&self, request: Request<'_>) -> Result<Download, HttpError> {
        let sent = tokio::time::timeout(DOWNLOAD_PAUSE_MAX, self.answer(request, None)).await;
        sent.map_err(|_| HttpError::NoAnswer)?.map(Download::new)
    }

    async fn reply(
        &self,
        request: Request<'_>,
        body: Option<reqwest::Body>,
    ) -> Result<Reply, HttpError> {
        let answer = self.answer(request, body).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok(Reply { status, headers, body: read(answer).await? })
    }

    async fn answer(
        &self,
        request: Request<'_>,
        body: Option<reqwest::Body>,
    ) -> Result<reqwest::Response, HttpError> {
        if self.carrier.is_some() {
            return Err(HttpError::NoConnection);
        }
        self.check(request.url, request.trust)?;
        let client = match request.trust {
            Trust::Operator => &self.trusted,
            Trust::Vendor => &self.guarded,
            Trust::Customer => &self.files,
        };
        let mut builder = client
            .request(request.method, request.url.clone())
            .headers(request.headers)
            .timeout(request.timeout);
        if let Some(body) = body {
            builder = builder.body(body);
        }
        builder.send().await.map_err(|it| HttpError::of(&it))
    }

    /// Whether a URL may be reached, as far as it tells itself: addresses written into it
    /// are checked here, names each time they are resolved.
    ///
    /// # Errors
    ///
    /// [`HttpError::Forbidden`] when it may not.
    pub fn check(&self, url: &Url, trust: Trust) -> Result<(), HttpError> {
        let host = url.host_str().unwrap_or_default();
        let address = match url.host() {
            _ if trust == Trust::Operator => return Ok(()),
            Some(Host::Ipv4(it)) => IpAddr::V4(it),
            Some(Host::Ipv6(it)) => IpAddr::V6(it),
            Some(Host::Domain(_)) => {
                let is_open = is_of_whatsapp(host) && url.scheme() != "https";
                let is_refused = trust == Trust::Customer && is_open;
                return if is_refused { Err(HttpError::Forbidden) } else { Ok(()) };
            }
            None => return Err(HttpError::Forbidden),
        };
        if may_reach(self.guard.as_ref(), trust, host, address) {
            Ok(())
        } else {
            Err(HttpError::Forbidden)
        }
    }
}

fn is_of_whatsapp(host: &str) -> bool {
    host.trim_end_matches('.').to_ascii_lowercase().ends_with(FILE_HOSTS)
}

fn may_reach(guard: &dyn Allow, trust: Trust, host: &str, address: IpAddr) -> bool {
    let is_files = || match reach(address) {
        Reach::Public => is_of_whatsapp(host),
        Reach::Private => guard.allows_customers(address),
        Reach::Never => false,
    };
    guard.allows(host, address) && (trust != Trust::Customer || is_files())
}

impl HttpError {
    fn of(error: &reqwest::Error) -> Self {
        if error.is_builder() || is_refused(error) {
            Self::Forbidden
        } else if error.is_connect() {
            Self::NoConnection
        } else {
            Self::NoAnswer
        }
    }
}

/// Whether the guard refused every address of the name.
fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref() == Some(&HttpError::Forbidden) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[expect(clippy::disallowed_methods, reason = "this is the one door out")]
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        // Another library of this program switches it on. An answer is limited as it comes.
        .no_gzip()
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

struct Guarded {
    guard: Arc<dyn Allow>,
    trust: Trust,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, trust) = (Arc::clone(&self.guard), self.trust);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found
                .filter(|it| may_reach(guard.as_ref(), trust, name.as_str(), it.ip()))
                .collect();
            if allowed.is_empty() {
                return Err(Box::new(HttpError::Forbidden) as _);
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_urls_reach_whatsapp_and_what_the_operator_allows() {
        struct AllButMetadata;
        impl Allow for AllButMetadata {
            fn allows(&self, _: &str, address: IpAddr) -> bool {
                reach(address) != Reach::Never
            }
        }
        let may = |host: &str, address: &str| {
            may_reach(&AllButMetadata, Trust::Customer, host, address.parse().unwrap())
        };
        assert!(may("mmg.whatsapp.net", "157.240.1.1") && may("MMG.WhatsApp.net.", "157.240.1.1"));
        // What is allowed to vendors is not allowed to customers.
        assert!(!may("files.internal", "10.0.0.1") && !may("127.0.0.1", "127.0.0.1"));
        for host in ["example.com", "whatsapp.net.example.com", "notwhatsapp.net", "whatsapp.net"] {
            assert!(!may(host, "157.240.1.1"), "{host}");
        }
        assert!(!may("mmg.whatsapp.net", "169.254.169.254"));
        let http = Http::new(Arc::new(AllButMetadata)).unwrap();
        let check = |url: &str| http.check(&url.parse().unwrap(), Trust::Customer);
        assert_eq!(check("https://mmg.whatsapp.net/v/1"), Ok(()));
        assert_eq!(check("http://mmg.whatsapp.net/v/1"), Err(HttpError::Forbidden));
        assert_eq!(check("https://8.8.8.8/v/1"), Err(HttpError::Forbidden));
        assert_eq!(check("http://127.0.0.1:9/v/1"), Err(HttpError::Forbidden));
    }

    #[tokio::test]
    async fn a_name_that_may_not_be_reached_is_told_from_one_that_does_not_answer() {
        struct Nothing;
        impl Allow for Nothing {
            fn allows(&self, _: &str, _: IpAddr) -> bool {
                false
            }
        }
        let http = Http::new(Arc::new(Nothing)).unwrap();
        let url = "http://localhost:1/".parse().unwrap();
        let ask = |trust| Request {
            method: reqwest::Method::GET,
            url: &url,
            trust,
            headers: HeaderMap::new(),
            body: None,
            timeout: Duration::from_secs(20),
        };
        let got = async |trust| http.send(ask(trust)).await.err();
        assert_eq!(got(Trust::Vendor).await, Some(HttpError::Forbidden));
        assert_eq!(got(Trust::Customer).await, Some(HttpError::Forbidden));
        assert_eq!(got(Trust::Operator).await, Some(HttpError::NoConnection));
    }
}
