//! What arrives at the provider, matched with the webhooks that it answers.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::harness::{
    hook::{Hooks, Target},
    open::Exchange,
};

/// For the last ones to arrive.
const LAST_WITHIN: Duration = Duration::from_secs(15);
/// So that one too many would be seen.
const QUIET: Duration = Duration::from_millis(300);

/// What has arrived; clones share it.
#[derive(Clone, Default)]
pub struct Arrivals(Arc<Mutex<Vec<(Instant, Target)>>>);

impl Arrivals {
    pub fn add(&self, target: Target) {
        let now = Instant::now();
        self.lock().push((now, target));
    }

    pub fn count(&self, of: impl Fn(&Instant) -> bool) -> usize {
        self.lock().iter().filter(|it| of(&it.0)).count()
    }

    /// Waits for one of each webhook, and answers how long it took from when that was due to be
    /// sent. Others' are passed over; one more or one less is an error. A customer's are in order.
    pub async fn settled(&self, hooks: &Hooks, sent: &[Exchange]) -> anyhow::Result<Vec<Duration>> {
        let mut by_target: HashMap<Target, VecDeque<Instant>> = HashMap::new();
        (0..sent.len()).for_each(|n| {
            by_target.entry(hooks.target(n)).or_default();
        });
        let waiting_since = Instant::now();
        let n_arrived = || self.lock().iter().filter(|it| by_target.contains_key(&it.1)).count();
        while n_arrived() < sent.len() && waiting_since.elapsed() < LAST_WITHIN {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(QUIET).await;
        for (at, target) in self.lock().iter() {
            if let Some(all) = by_target.get_mut(target) {
                all.push_back(*at);
            }
        }
        let mut times = Vec::with_capacity(sent.len());
        for (n, sent) in sent.iter().enumerate() {
            let arrived = by_target.get_mut(&hooks.target(n)).and_then(VecDeque::pop_front);
            let arrived = arrived.with_context(|| format!("nothing came of webhook {n}"))?;
            let time = arrived.checked_duration_since(sent.intended_at);
            times.push(time.with_context(|| format!("two came of one before webhook {n}"))?);
        }
        let n_more: usize = by_target.values().map(VecDeque::len).sum();
        ensure!(n_more == 0, "{n_more} too many arrived");
        Ok(times)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, Target)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
