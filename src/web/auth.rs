//! Who calls: the bearer key of a request, and how often it may.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::FromRequestParts,
    http::{Method, header::AUTHORIZATION, request::Parts},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use lru::LruCache;
use serde::Deserialize;

use super::{Web, audit::By, error::ApiError, extract::Path};
use crate::{
    cache::redis::Rate,
    domain::id::VendorId,
    gateway::{Access, AccessError, Caller, hash},
};

/// Requests of one key in a minute (`docs/CONTRACT.md` §1).
const PER_KEY_MINUTE: NonZeroU32 = NonZeroU32::new(100).expect("not zero");
/// Requests about one vendor in a second.
const PER_VENDOR_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
/// The same for all gateways that share a Redis.
const KEY_RATE: Rate = Rate { burst: 100, interval: 600 };
const VENDOR_RATE: Rate = Rate { burst: 10, interval: 100 };
const PER_KEY: &str = "100 a minute for one key";
const PER_VENDOR: &str = "10 a second for one vendor";
/// Keys that nobody has, looked up in a second. A store elsewhere counts what it is asked.
const STRANGERS_SECOND: usize = 200;
const STRANGERS: &str = "200 unknown keys a second";
/// Keys that are known for having been good, which no stranger keeps out.
const GOOD_REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// Keys that nobody has are not looked up again for so long: who goes on trying one costs nothing.
const BAD_LASTS: Duration = Duration::from_secs(5);
const BAD_REMEMBERED: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
/// Sending has a pace of its own instead.
const UNLIMITED: [&str; 4] = ["/send-message", "/messages", "/messages/bulk", "/alerts"];

/// How often admin routes may be called.
pub(super) struct Limits {
    keys: DefaultKeyedRateLimiter<String>,
    vendors: DefaultKeyedRateLimiter<VendorId>,
    strangers: Mutex<Strangers>,
}

/// Keys that were tried, by their hashes.
struct Strangers {
    good: LruCache<[u8; 32], ()>,
    /// When nobody had them.
    bad: LruCache<[u8; 32], Instant>,
    since: Instant,
    /// Looked up since then, but for those that are good.
    n: usize,
}

impl Limits {
    pub(super) fn new() -> Self {
        let (good, bad) = (LruCache::new(GOOD_REMEMBERED), LruCache::new(BAD_REMEMBERED));
        Self {
            keys: RateLimiter::keyed(Quota::per_minute(PER_KEY_MINUTE)),
            vendors: RateLimiter::keyed(Quota::per_second(PER_VENDOR_SECOND)),
            strangers: Mutex::new(Strangers { good, bad, since: Instant::now(), n: 0 }),
        }
    }

    /// Looks up who calls, unless too many have just tried keys that nobody has.
    async fn caller(&self, web: &Web, key: &str) -> Result<Caller, ApiError> {
        if !web.gateway.is_looked_up_elsewhere(key) {
            return Ok(web.gateway.caller(key).await?);
        }
        let hash = hash(key);
        let is_counted = self.strangers(|it| it.begin(&hash))?;
        let found = web.gateway.caller(key).await;
        self.strangers(|it| match &found {
            Ok(_) => it.found(hash, is_counted),
            Err(AccessError::NoKey) => it.not_found(hash),
            Err(_) => it.give_back(is_counted),
        });
        Ok(found?)
    }

    fn strangers<T>(&self, look: impl FnOnce(&mut Strangers) -> T) -> T {
        look(&mut self.strangers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// On this gateway, and on all that share a Redis.
    async fn check(
        &self,
        web: &Web,
        caller: &Caller,
        vendor: Option<&VendorId>,
    ) -> Result<(), ApiError> {
        self.check_here(caller, vendor)?;
        let manager = web.gateway.manager();
        if !manager.is_within(KEY_RATE, "key", &caller.key_id).await {
            return Err(ApiError::TooMany(PER_KEY));
        }
        let Some(vendor) = vendor else { return Ok(()) };
        if !manager.is_within(VENDOR_RATE, "vendor", vendor.as_str()).await {
            return Err(ApiError::TooMany(PER_VENDOR));
        }
        Ok(())
    }

    fn check_here(&self, caller: &Caller, vendor: Option<&VendorId>) -> Result<(), ApiError> {
        if self.keys.len() + self.vendors.len() > 10_000 {
            self.keys.retain_recent();
            self.vendors.retain_recent();
        }
        let key = self.keys.check_key(&caller.key_id);
        key.map_err(|_| ApiError::TooMany(PER_KEY))?;
        let Some(vendor) = vendor else { return Ok(()) };
        let vendor = self.vendors.check_key(vendor);
        vendor.map_err(|_| ApiError::TooMany(PER_VENDOR))
    }
}

impl Strangers {
    /// Whether the look-up that begins is counted: who has this key is not known.
    fn begin(&mut self, hash: &[u8; 32]) -> Result<bool, ApiError> {
        if self.good.get(hash).is_some() {
            return Ok(false);
        }
        if self.bad.get(hash).is_some_and(|it| it.elapsed() < BAD_LASTS) {
            return Err(AccessError::NoKey.into());
        }
        if self.since.elapsed() >= Duration::from_secs(1) {
            (self.since, self.n) = (Instant::now(), 0);
        }
        if self.n >= STRANGERS_SECOND {
            return Err(ApiError::TooMany(STRANGERS));
        }
        self.n += 1;
        Ok(true)
    }

    fn found(&mut self, hash: [u8; 32], is_counted: bool) {
        self.good.put(hash, ());
        self.give_back(is_counted);
    }

    fn not_found(&mut self, hash: [u8; 32]) {
        // It may have been revoked.
        self.good.pop(&hash);
        self.bad.put(hash, Instant::now());
    }

    fn give_back(&mut self, is_counted: bool) {
        self.n = self.n.saturating_sub(usize::from(is_counted));
    }
}

/// A caller that may do what the method says with the vendor in the path.
pub(super) struct ForVendor(pub(super) VendorId);

/// An admin, about the vendor in the path.
pub(super) struct AdminFor(pub(super) VendorId);

/// Whether the caller of a request about a vendor is an admin.
#[derive(Clone, Copy)]
pub(super) struct IsAdmin(pub(super) bool);

impl IsAdmin {
    /// For what a vendor's own key may not do to it.
    pub(super) fn demand(self) -> Result<(), AccessError> {
        if self.0 { Ok(()) } else { Err(AccessError::Forbidden) }
    }
}

impl FromRequestParts<Web> for AdminFor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, ApiError> {
        let ForVendor(vendor) = ForVendor::from_request_parts(parts, web).await?;
        IsAdmin::from_request_parts(parts, web).await?.demand()?;
        Ok(Self(vendor))
    }
}

impl FromRequestParts<Web> for IsAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, ApiError> {
        Ok(Self(caller(web, parts).await?.vendor.is_none()))
    }
}

/// An admin that may do what the method says.
pub(super) struct Admin(Caller);

impl Admin {
    /// For what gives secrets away although it changes nothing.
    pub(super) fn may_change(&self) -> Result<(), AccessError> {
        self.0.may(Access::Admin { changes: true })
    }

    /// Which key it is, for the log.
    pub(super) fn key_id(&self) -> &str {
        &self.0.key_id
    }
}

#[derive(Deserialize)]
struct VendorPath {
    vendor_id: String,
}

impl FromRequestParts<Web> for ForVendor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, ApiError> {
        let caller = caller(web, parts).await?;
        let Path(path) = Path::<VendorPath>::from_request_parts(parts, web).await?;
        // What cannot be an id is nobody's vendor: to a vendor's key it is as any other.
        let vendor = VendorId::parse(&path.vendor_id);
        let Ok(vendor) = vendor else {
            caller.may(Access::Admin { changes: false })?;
            return Err(crate::gateway::AdminError::NoVendor.into());
        };
        caller.may(if is_read(&parts.method) {
            Access::Read(&vendor)
        } else {
            Access::Write(&vendor)
        })?;
        let path = parts.uri.path();
        let is_send = parts.method == Method::POST && UNLIMITED.iter().any(|it| path.ends_with(it));
        if !is_send {
            web.limits.check(web, &caller, Some(&vendor)).await?;
        }
        tracing::Span::current().record("vendor.id", tracing::field::display(&vendor));
        Ok(Self(vendor))
    }
}

impl FromRequestParts<Web> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, ApiError> {
        let caller = caller(web, parts).await?;
        // Before the body is looked at: what is wrong with it is of no interest to who may not.
        caller.may(Access::Admin { changes: !is_read(&parts.method) })?;
        web.limits.check(web, &caller, None).await?;
        Ok(Self(caller))
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

async fn caller(web: &Web, parts: &mut Parts) -> Result<Caller, ApiError> {
    // Two extractors of one request ask once.
    if let Some(known) = parts.extensions.get::<Caller>() {
        return Ok(known.clone());
    }
    let given = parts.headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    let key = given.and_then(|it| {
        let (scheme, key) = it.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let caller = web.limits.caller(web, key.ok_or(AccessError::NoKey)?).await?;
    if let Some(by) = parts.extensions.get::<By>() {
        by.is(&caller.key_id);
    }
    parts.extensions.insert(caller.clone());
    Ok(caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> [u8; 32] {
        hash(&n.to_string())
    }

    #[test]
    fn keys_that_nobody_has_are_looked_up_so_often_a_second_and_keep_no_good_one_out() {
        let limits = Limits::new();
        let mut it = limits.strangers.lock().unwrap();
        assert_eq!(it.begin(&key(0)).ok(), Some(true));
        it.found(key(0), true);
        // All of these are on their way at once.
        for n in 1..=STRANGERS_SECOND {
            assert_eq!(it.begin(&key(n)).ok(), Some(true), "key {n}");
        }
        assert!(it.begin(&key(STRANGERS_SECOND + 1)).is_err());
        assert_eq!(it.begin(&key(0)).ok(), Some(false), "it is known to be good");
        it.not_found(key(1));
        it.give_back(true);
        assert!(it.begin(&key(1)).is_err(), "nobody has it");
        assert_eq!(it.begin(&key(STRANGERS_SECOND + 1)).ok(), Some(true), "one could not be asked");
        // Revoked.
        it.not_found(key(0));
        assert!(it.begin(&key(0)).is_err());
        it.since = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(it.begin(&key(STRANGERS_SECOND + 2)).ok(), Some(true), "another second");
    }
}
