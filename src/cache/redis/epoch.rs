//! Which values are believed where changes are heard by listening: what was changed while nobody
//! listened has been told to nobody. Values are of an *epoch*, a random number that is replaced
//! when the listening had a gap.
//!
//! Whoever has listened all the time counts *beats* beside the epoch, one a second. A gateway that
//! begins to listen believes nothing until it has seen such a beat: somebody listened before it
//! began and still does. When none comes, it begins an epoch of its own.

use std::{
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use redis::Script;

use super::{PUT_WITHIN, Redis};

/// The epoch of those who miss no change.
const ALWAYS: u64 = 0;
/// For so long beats are waited for: several, since one may come late.
const BEAT_WITHIN: Duration = Duration::from_secs(3);
/// For how long an epoch is kept without a beat.
const LASTS_MS: u64 = 24 * 60 * 60 * 1_000;

static BEAT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end \
        redis.call('HINCRBY', KEYS[1], 'beats', 1) redis.call('PEXPIRE', KEYS[1], ARGV[2]) \
        return 1",
    )
});

/// Begins an epoch in the place of what was seen, unless somebody else has moved since.
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local at = redis.call('HMGET', KEYS[1], 'epoch', 'beats') \
        if (at[1] or '') ~= ARGV[1] or (at[2] or '') ~= ARGV[2] then return 0 end \
        redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'beats', 0) \
        redis.call('PEXPIRE', KEYS[1], ARGV[4]) return 1",
    )
});

/// Which values are believed.
#[derive(Clone, Copy, Debug)]
enum State {
    Of(u64),
    /// Nobody listens here yet.
    Deaf,
    /// This was seen when the listening had begun, and when.
    Unsure(Option<(Seen, Instant)>),
}

/// The epoch in Redis and how often it was confirmed.
type Seen = (Option<u64>, Option<u64>);

pub(super) struct Epoch(Mutex<State>);

impl Default for Epoch {
    fn default() -> Self {
        Self(Mutex::new(State::Of(ALWAYS)))
    }
}

impl Epoch {
    /// The one of values that are believed now; `None`: none are.
    pub(super) fn now(&self) -> Option<u64> {
        match *self.lock() {
            State::Of(epoch) => Some(epoch),
            State::Deaf | State::Unsure(_) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on to this state, unless the listening has begun anew meanwhile.
    fn go_on(&self, from: Option<(Seen, Instant)>, to: State) {
        let mut state = self.lock();
        let is_same = match *state {
            State::Unsure(at) => at.map(|it| it.1) == from.map(|it| it.1),
            State::Of(_) => from.is_none(),
            State::Deaf => false,
        };
        if is_same {
            *state = to;
        }
    }
}

impl Redis {
    /// Believes nothing until somebody listens here.
    pub fn believe_nothing(&self) {
        *self.0.epoch.lock() = State::Deaf;
    }

    /// From now on every change is heard here; what was changed before is not.
    pub fn listening_began(&self) {
        *self.0.epoch.lock() = State::Unsure(None);
        self.0.look.notify_one();
    }

    /// Confirms the epoch, or looks for one.
    pub async fn tend_epoch(&self) {
        if !self.0.health.is_up() {
            return;
        }
        let state = *self.0.epoch.lock();
        match state {
            State::Of(ALWAYS) | State::Deaf => {}
            State::Of(epoch) => self.confirm(epoch).await,
            State::Unsure(at) => self.look_for_epoch(at).await,
        }
    }

    async fn confirm(&self, epoch: u64) {
        let mut beat = BEAT.key(self.0.names.epoch());
        beat.arg(epoch).arg(LASTS_MS);
        let is_there = self.within(PUT_WITHIN, async |mut connection| {
            beat.invoke_async::<bool>(&mut connection).await
        });
        // Redis was emptied, or nobody saw our beats.
        if matches!(is_there.await, Ok(false)) {
            self.0.epoch.go_on(None, State::Unsure(None));
            self.0.look.notify_one();
        }
    }

    async fn look_for_epoch(&self, at: Option<(Seen, Instant)>) {
        let name = self.0.names.epoch();
        let look = self.within(PUT_WITHIN, async |mut connection| {
            let mut look = redis::cmd("HMGET");
            look.arg(&name).arg("epoch").arg("beats");
            look.query_async::<Seen>(&mut connection).await
        });
        let Ok(seen) = look.await else { return };
        let has_beaten = match (seen, at) {
            ((Some(epoch), Some(beats)), Some(((Some(before), Some(fewer)), _))) => {
                epoch == before && beats > fewer
            }
            _ => false,
        };
        let since = at.filter(|it| it.0 == seen).map(|it| it.1);
        let next = match (seen.0, since) {
            (Some(epoch), _) if has_beaten => State::Of(epoch),
            (Some(_), Some(since)) if since.elapsed() < BEAT_WITHIN => return,
            (Some(_), None) => State::Unsure(Some((seen, Instant::now()))),
            (None, _) | (Some(_), Some(_)) => self.begin_epoch(seen).await,
        };
        self.0.epoch.go_on(at, next);
    }

    async fn begin_epoch(&self, seen: Seen) -> State {
        let mut bytes = [0; 8];
        // As good as none for now.
        if getrandom::fill(&mut bytes).is_err() {
            return State::Unsure(None);
        }
        let epoch = u64::from_be_bytes(bytes).max(1);
        let word = |it: Option<u64>| it.map(|it| it.to_string()).unwrap_or_default();
        let mut begin = BEGIN.key(self.0.names.epoch());
        begin.arg(word(seen.0)).arg(word(seen.1)).arg(epoch).arg(LASTS_MS);
        let is_begun = self.within(PUT_WITHIN, async |mut connection| {
            begin.invoke_async::<bool>(&mut connection).await
        });
        match is_begun.await {
            Ok(true) => {
                tracing::info!(
                    "what Redis may have from before is not used: nobody listened for changes"
                );
                State::Of(epoch)
            }
            Ok(false) | Err(_) => State::Unsure(None),
        }
    }
}
