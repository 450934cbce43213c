//! What went wrong, in words of ours: what Redis says quotes commands.

use redis::{ErrorKind, RedisError};

pub(super) fn too_slow() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// A word for an error.
pub(super) fn kind(error: &RedisError) -> &'static str {
    match (error.kind(), error.code()) {
        (_, Some("OOM")) => "full",
        (_, Some("READONLY" | "MISCONF" | "NOREPLICAS")) => "read_only",
        (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM")) | (ErrorKind::AuthenticationFailed, _) => {
            "login"
        }
        (_, Some("LOADING")) => "loading",
        _ if error.is_timeout() => "timeout",
        _ if error.is_io_error() => "connection",
        _ => "other",
    }
}

/// Reads may go on.
pub(super) fn refuses_writes(error: &RedisError) -> bool {
    matches!(kind(error), "full" | "read_only")
}
