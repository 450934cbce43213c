//! How often somebody may call, over all gateways: the generic cell rate algorithm, as one script.

use std::sync::LazyLock;

use redis::Script;

use super::Redis;

/// So many calls at once, and one more after each interval.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Calls at once.
    pub burst: u32,
    /// Milliseconds.
    pub interval: u32,
}

/// The time that the next call would have if they came evenly is kept; who is too far ahead of it
/// waits. By Redis' clock, which is one for all.
static MAY: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) \
        local burst, interval = tonumber(ARGV[1]), tonumber(ARGV[2]) \
        local next = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + interval \
        if next - now > burst * interval then return 0 end \
        redis.call('SET', KEYS[1], next, 'PX', next - now) return 1",
    )
});

impl Redis {
    /// Whether one more call of this kind is within the rate. While Redis cannot say, it is: each
    /// gateway has limits of its own as well.
    pub async fn is_within(&self, rate: Rate, kind: &str, of: &str) -> bool {
        if !self.0.health.is_up() || !self.0.health.takes_writes() {
            return true;
        }
        let whose = self.0.vault.token(&[b"limit", kind.as_bytes(), of.as_bytes()]);
        let mut ask = MAY.key(self.0.names.limit(&whose));
        ask.arg(rate.burst).arg(rate.interval);
        let may =
            self.asked(async |mut connection| ask.invoke_async::<bool>(&mut connection).await);
        may.await.unwrap_or(true)
    }
}
