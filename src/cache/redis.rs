//! Redis, shared by several gateways: what it holds saves reads of the store, and through it they
//! tell each other what has changed. Nothing depends on it: what it does not answer at once, the
//! store is asked.
//!
//! Each value is sealed for the name it stands under. Beside it is a *generation*, a random word
//! that each change replaces: a reader that was slow cannot put back what it read before a change,
//! because it puts only where the generation is still the one it found.

mod budget;
mod changes;
mod epoch;
mod errors;
mod health;
mod limits;
mod names;
mod tell;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::counter;
use redis::{
    Client, RedisError, RedisResult, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout},
};
use zeroize::Zeroizing;

pub use self::{budget::request, changes::Changes, health::Trouble, limits::Rate};
use self::{
    epoch::Epoch,
    errors::{kind, refuses_writes, too_slow},
    health::Health,
    names::Names,
};
use super::Subject;
use crate::{
    config::RedisUrl,
    domain::clock::{Clock, MINUTE, Millis},
    telemetry::names as metric,
    vault::Vault,
};

/// For one answer, and for telling what has changed. A request may ask several times, within its
/// budget.
const CALL_WITHIN: Duration = Duration::from_millis(15);
/// For what nobody waits for.
const PUT_WITHIN: Duration = Duration::from_millis(250);
/// For a fresh connection, with TLS and login.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// Values on their way to Redis; more are left out.
const PUTS_MAX: usize = 64;
/// Subjects told of in one go.
const TOLD_AT_ONCE: usize = 500;
/// For how long a generation keeps slow readers off, who are believed for [`LEASE_LASTS`].
const GENERATION_MS: u64 = 10 * 60 * 1_000;
const LEASE_LASTS: Duration = Duration::from_mins(1);
/// Clocks of different machines may differ by this much.
const SKEW_MAX: Millis = 5 * MINUTE;
/// Bytes before a value: when it was read from the store, and in which epoch.
const READ_AT_BYTES: usize = 8;
const EPOCH_BYTES: usize = 8;

/// Puts a value unless it was changed meanwhile.
const PUT: &str = "if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end \
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1";

/// A value, for how many milliseconds it stands, and its generation.
type Found = (Option<Vec<u8>>, i64, Option<Vec<u8>>);

/// Redis. Clones share it.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    client: Client,
    connection: Mutex<ConnectionManager>,
    names: Names,
    vault: Arc<Vault>,
    clock: Clock,
    ttl: Duration,
    health: Health,
    epoch: Epoch,
    /// What has changed and Redis does not know yet, each with a number that grows.
    untold: Mutex<(HashMap<Subject, u64>, u64)>,
    puts: Arc<Semaphore>,
    put: Script,
    /// Somebody should look at the connection.
    look: Notify,
}

/// What Redis says.
pub enum Fetched {
    /// This, in clear, and for how long it is good.
    Value(Zeroizing<Vec<u8>>, Duration),
    /// Nothing; with this what is read from the store may be put there.
    Nothing(Lease),
    /// It cannot be asked.
    Away,
}

/// The leave to put what is being read from the store.
pub struct Lease {
    generation: Vec<u8>,
    epoch: u64,
    since: Instant,
}

/// What stood in Redis.
struct Opened {
    value: Zeroizing<Vec<u8>>,
    epoch: u64,
    lasts: Duration,
}

impl Redis {
    /// Redis at this address. It is not connected before it is first looked at.
    ///
    /// # Errors
    ///
    /// The address is none, or no connection can be made ready on this machine.
    pub fn new(
        url: &RedisUrl,
        vault: Arc<Vault>,
        clock: Clock,
        ttl: Duration,
    ) -> RedisResult<Self> {
        let client = Client::open(url.expose())?;
        let connection = Mutex::new(lazy(&client)?);
        let names =
            Names::new(Arc::clone(&vault)).map_err(|_| (redis::ErrorKind::Client, "randomness"))?;
        Ok(Self(Arc::new(Inner {
            client,
            connection,
            names,
            vault,
            clock,
            ttl,
            health: Health::default(),
            epoch: Epoch::default(),
            untold: Mutex::default(),
            puts: Arc::new(Semaphore::new(PUTS_MAX)),
            put: Script::new(PUT),
            look: Notify::new(),
        })))
    }

    /// What Redis has of a subject.
    pub async fn get(&self, subject: &Subject) -> Fetched {
        // What it has of what is not told yet is old.
        if !self.0.health.is_up() || self.untold().0.contains_key(subject) {
            return Fetched::Away;
        }
        let Some(epoch) = self.0.epoch.now() else { return Fetched::Away };
        let (name, generation) = (self.0.names.value(subject), self.0.names.generation(subject));
        let mut ask = redis::pipe();
        ask.get(&name).pttl(&name).get(&generation);
        let since = Instant::now();
        let found =
            self.asked(async |mut connection| ask.query_async::<Found>(&mut connection).await);
        let Ok((sealed, lasts_ms, generation)) = found.await else { return Fetched::Away };
        let lease = Lease { generation: generation.unwrap_or_default(), epoch, since };
        let Some(sealed) = sealed else { return Fetched::Nothing(lease) };
        match self.open(&name, &sealed, lasts_ms) {
            Some(it) if it.epoch == epoch => Fetched::Value(it.value, it.lasts),
            // What was changed since, nobody was told.
            Some(_) => Fetched::Nothing(lease),
            None => {
                counter!(metric::REDIS_ERRORS, "kind" => "unreadable").increment(1);
                Fetched::Nothing(lease)
            }
        }
    }

    /// Puts what was read from the store, in the background.
    pub fn put(&self, subject: &Subject, lease: Lease, value: Zeroizing<Vec<u8>>) {
        let is_late = lease.since.elapsed() >= LEASE_LASTS;
        if is_late || !self.0.health.takes_writes() || self.0.ttl.is_zero() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.0.puts).try_acquire_owned() else { return };
        let (redis, subject) = (self.clone(), subject.clone());
        tokio::spawn(async move {
            redis.put_now(&subject, &lease, &value).await;
            drop(permit);
        });
    }

    /// As [`Self::put`], and whether it stands there now.
    pub async fn put_now(&self, subject: &Subject, lease: &Lease, value: &[u8]) -> bool {
        let (name, generation) = (self.0.names.value(subject), self.0.names.generation(subject));
        let age = lease.since.elapsed();
        let lasts = self.0.ttl.saturating_sub(age).as_millis().max(1);
        let read_at = self.0.clock.now() - Millis::try_from(age.as_millis()).unwrap_or_default();
        let mut plain = Zeroizing::new(read_at.to_be_bytes().to_vec());
        plain.extend_from_slice(&lease.epoch.to_be_bytes());
        plain.extend_from_slice(value);
        let Ok(sealed) = self.0.vault.seal(&name, &plain) else { return false };
        let mut put = self.0.put.key(name);
        put.key(generation).arg(&lease.generation).arg(sealed);
        put.arg(u64::try_from(lasts).unwrap_or(u64::MAX));
        let is_put = self.within(PUT_WITHIN, async |mut connection| {
            put.invoke_async::<bool>(&mut connection).await
        });
        is_put.await.unwrap_or(false)
    }

    /// Whether it is asked, and given values.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.0.health.takes_writes() && self.0.epoch.now().is_some()
    }

    /// What is wrong with it.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.health.trouble()
    }

    /// Whether nobody knows at this moment whether it answers.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.0.health.is_doubted()
    }

    /// Looks whether it answers, and connects when it does not.
    pub async fn look(&self) {
        let present = self.connection();
        if self.0.health.is_up() && self.probe(present).await.is_ok() {
            return;
        }
        // A connection whose other end has vanished would stay for minutes.
        let fresh = async {
            let connection = lazy(&self.0.client)?;
            self.probe_within(CONNECT_WITHIN, connection.clone()).await?;
            self.probe(connection.clone()).await?;
            Ok::<_, RedisError>(connection)
        };
        match fresh.await {
            Ok(connection) => {
                *self.0.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
                self.0.health.is_back();
            }
            Err(error) => {
                counter!(metric::REDIS_ERRORS, "kind" => kind(&error)).increment(1);
                self.0.health.is_gone(kind(&error));
            }
        }
    }

    /// Tries whether it takes writes.
    pub async fn try_write(&self) {
        let name = self.0.names.probe();
        let set = self.within(PUT_WITHIN, async |mut connection| {
            let mut set = redis::cmd("SET");
            set.arg(&name).arg("1").arg("PX").arg(1_000);
            set.query_async::<()>(&mut connection).await
        });
        // What it came to, health knows.
        let _ = set.await;
    }

    /// Until it should be looked at again.
    pub async fn rest(&self) {
        tokio::select! {
            () = tokio::time::sleep(self.0.health.looked_at_every()) => {}
            () = self.0.look.notified() => {}
        }
    }

    async fn probe(&self, connection: ConnectionManager) -> RedisResult<()> {
        self.probe_within(CALL_WITHIN, connection).await
    }

    /// Does what a read does, and what a write does where that was refused.
    async fn probe_within(
        &self,
        within: Duration,
        mut connection: ConnectionManager,
    ) -> RedisResult<()> {
        let name = self.0.names.probe();
        let probe = async {
            redis::cmd("GET").arg(&name).query_async::<Option<Vec<u8>>>(&mut connection).await?;
            if self.0.health.refuses_writes() {
                let mut set = redis::cmd("SET");
                set.arg(&name).arg("1").arg("PX").arg(1_000);
                if set.query_async::<()>(&mut connection).await.is_ok() {
                    self.0.health.takes_writes_again();
                }
            }
            Ok(())
        };
        timeout(within, probe).await.unwrap_or_else(|_| Err(too_slow()))
    }

    async fn within<T>(
        &self,
        within: Duration,
        call: impl AsyncFnOnce(ConnectionManager) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let end = timeout(within, call(self.connection())).await;
        let end = end.unwrap_or_else(|_| Err(too_slow()));
        if let Err(error) = &end {
            self.failed(error);
        }
        end
    }

    /// The same for what a request asks: no longer than it may wait yet, which is no fault of
    /// Redis'.
    async fn asked<T>(
        &self,
        call: impl AsyncFnOnce(ConnectionManager) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let (left, began) = (budget::left(CALL_WITHIN), Instant::now());
        let end = if left < CALL_WITHIN {
            let end = timeout(left, call(self.connection())).await;
            end.unwrap_or_else(|_| Err(too_slow()))
        } else {
            self.within(CALL_WITHIN, call).await
        };
        budget::spend(began.elapsed());
        end
    }

    fn failed(&self, error: &RedisError) {
        counter!(metric::REDIS_ERRORS, "kind" => kind(error)).increment(1);
        if refuses_writes(error) {
            self.0.health.refused_a_write(kind(error));
        } else {
            // Whether it is gone, whoever looks next says.
            self.0.health.is_in_doubt();
            self.0.look.notify_one();
        }
    }

    fn open(&self, name: &str, sealed: &[u8], lasts_ms: i64) -> Option<Opened> {
        let lasts = Duration::from_millis(u64::try_from(lasts_ms).ok()?);
        let mut plain = self.0.vault.open(name, sealed).ok()?;
        let read_at = Millis::from_be_bytes(*plain.first_chunk::<READ_AT_BYTES>()?);
        // One that somebody put back later must not live for ever.
        let oldest = Millis::try_from(self.0.ttl.as_millis()).unwrap_or(Millis::MAX);
        let age = self.0.clock.now() - read_at;
        if age > oldest.saturating_add(SKEW_MAX) {
            return None;
        }
        let epoch = *plain[READ_AT_BYTES..].first_chunk::<EPOCH_BYTES>()?;
        plain.drain(..READ_AT_BYTES + EPOCH_BYTES);
        Some(Opened { value: plain, epoch: u64::from_be_bytes(epoch), lasts })
    }

    fn connection(&self) -> ConnectionManager {
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn untold(&self) -> MutexGuard<'_, (HashMap<Subject, u64>, u64)> {
        self.0.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lazy(client: &Client) -> RedisResult<ConnectionManager> {
    // How long a call may take is decided where it is made.
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(None)
        .set_number_of_retries(0);
    client.get_connection_manager_lazy(config)
}
