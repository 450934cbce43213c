//! What other gateways say has changed.

use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::{Instant, sleep_until, timeout};

use super::{CONNECT_WITHIN, Redis, Subject};

/// So often the other end is asked whether it is there: a connection can die without a word.
const PING_EVERY: Duration = Duration::from_secs(3);
const PONG_WITHIN: Duration = Duration::from_secs(2);

/// What other gateways say has changed, from now on.
pub struct Changes {
    redis: Redis,
    sink: PubSubSink,
    stream: PubSubStream,
    ping_at: Instant,
    channel: String,
}

impl Redis {
    /// Listens to the other gateways, on a connection of its own. `None`: not now.
    pub async fn listen(&self) -> Option<Changes> {
        let channel = self.0.names.channel();
        let subscribe = async {
            let (mut sink, stream) = self.0.client.get_async_pubsub().await?.split();
            sink.subscribe(&channel).await?;
            Ok::<_, redis::RedisError>((sink, stream))
        };
        let (sink, stream) = timeout(CONNECT_WITHIN, subscribe).await.ok()?.ok()?;
        let ping_at = Instant::now() + PING_EVERY;
        Some(Changes { redis: self.clone(), sink, stream, ping_at, channel })
    }
}

impl Changes {
    /// What has changed. `None`: the connection is gone, or no longer the right one, and what is said from then on is missed.
    pub async fn next(&mut self) -> Option<Vec<Subject>> {
        loop {
            tokio::select! {
                message = self.stream.next() => {
                    let text: String = message?.get_payload().ok()?;
                    let subjects = self.redis.0.names.read(&text);
                    if !subjects.is_empty() {
                        return Some(subjects);
                    }
                }
                () = sleep_until(self.ping_at) => {
                    // What it is named by has been learnt meanwhile.
                    if self.redis.0.names.channel() != self.channel {
                        return None;
                    }
                    timeout(PONG_WITHIN, self.sink.ping::<redis::Value>()).await.ok()?.ok()?;
                    self.ping_at = Instant::now() + PING_EVERY;
                }
            }
        }
    }
}
