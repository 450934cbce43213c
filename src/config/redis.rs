//! `REDIS_URL`.

use std::fmt;

use redis::IntoConnectionInfo;
use url::Url;

use crate::domain::secret::{ExposeSecret, SecretString};

/// Where Redis is, with its password. Neither prints; [`RedisUrl::shown`] tells the place.
#[derive(Clone)]
pub struct RedisUrl {
    whole: SecretString,
    shown: String,
}

impl RedisUrl {
    /// `redis://` or `rediss://` (TLS), `[user:password@]host[:port][/database]`.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| {
            "not a URL; it looks like redis://user:password@host:6379/0 (a password's special characters are %-encoded)"
        })?;
        if !matches!(url.scheme(), "redis" | "rediss") {
            return Err("it begins with redis:// or, with TLS, rediss://");
        }
        let host = url.host_str().filter(|it| !it.is_empty()).ok_or("it names no host")?;
        let database = url.path().trim_start_matches('/');
        if !database.is_empty() && database.parse::<u32>().is_err() {
            return Err("what follows the host is the number of a database");
        }
        if url.fragment().is_some() {
            return Err(
                "nothing follows a #; the certificate of a rediss:// server is always checked",
            );
        }
        if text.into_connection_info().is_err() {
            return Err("it has a part that is not understood");
        }
        let port = url.port().map_or_else(String::new, |it| format!(":{it}"));
        let shown = format!("{}://{host}{port}", url.scheme());
        Ok(Self { whole: text.to_owned().into(), shown })
    }

    /// With the password. Never show it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.whole.expose_secret()
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_url_shows_its_place_and_never_its_password() {
        let url = RedisUrl::parse("rediss://user:hunter2@redis.example:6380/3").unwrap();
        assert_eq!(
            format!("{url:?} {}", url.shown()),
            "rediss://redis.example:6380 ".to_owned() + url.shown()
        );
        assert!(url.expose().contains("hunter2"));
        assert_eq!(RedisUrl::parse("redis://localhost").unwrap().shown(), "redis://localhost");
    }

    #[test]
    fn a_bad_redis_url_is_named_by_what_is_wrong_with_it() {
        for (bad, want) in [
            ("localhost:6379", "begins with"),
            ("hunter2", "not a URL"),
            ("http://hunter2@redis.example", "begins with"),
            ("redis:///0", "no host"),
            ("redis://hunter2@redis.example/zero", "number of a database"),
            ("rediss://redis.example/#insecure", "always checked"),
            ("redis://redis.example?protocol=hunter2", "not understood"),
        ] {
            let why = RedisUrl::parse(bad).unwrap_err();
            assert!(why.contains(want) && !why.contains("hunter2"), "{bad}: {why}");
        }
    }
}
