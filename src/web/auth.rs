//! Who calls: the bearer key of a request, and how often it may.

use std::num::NonZeroU32;

use axum::{
    extract::FromRequestParts,
    http::{Method, header::AUTHORIZATION, request::Parts},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use serde::Deserialize;

use super::{Web, audit::By, error::ApiError, extract::Path};
use crate::{
    cache::redis::Rate,
    domain::id::VendorId,
    gateway::{Access, AccessError, Caller},
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
/// Sending has a pace of its own instead.
const UNLIMITED: [&str; 4] = ["/send-message", "/messages", "/messages/bulk", "/alerts"];

/// How often admin routes may be called.
pub(super) struct Limits {
    keys: DefaultKeyedRateLimiter<String>,
    vendors: DefaultKeyedRateLimiter<VendorId>,
}

impl Limits {
    pub(super) fn new() -> Self {
        Self {
            keys: RateLimiter::keyed(Quota::per_minute(PER_KEY_MINUTE)),
            vendors: RateLimiter::keyed(Quota::per_second(PER_VENDOR_SECOND)),
        }
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

async fn caller(web: &Web, parts: &Parts) -> Result<Caller, ApiError> {
    let given = parts.headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    let key = given.and_then(|it| {
        let (scheme, key) = it.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let caller = web.gateway.caller(key.ok_or(AccessError::NoKey)?).await?;
    if let Some(by) = parts.extensions.get::<By>() {
        by.is(&caller.key_id);
    }
    Ok(caller)
}
