//! One read at a time of each key: who asks meanwhile waits for the one that is under way.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

/// Reads whose callers have all left stay in the list until it has this many.
const SWEPT_AT: usize = 1_024;

/// Reads that are under way. One whose callers have all left is dropped.
pub struct Flights<K, V>(Mutex<HashMap<K, Weak<V>>>);

type Flight<V> = Shared<BoxFuture<'static, V>>;
type Weak<V> = WeakShared<BoxFuture<'static, V>>;

impl<K, V: Clone> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V: Clone + Send + 'static> Flights<K, V> {
    /// Waits for the read of this key, and begins it when there is none.
    pub async fn join<F>(&self, key: &K, begin: impl FnOnce() -> F) -> V
    where
        F: Future<Output = V> + Send + 'static,
    {
        let flight = {
            let mut flying = self.lock();
            match flying.get(key).and_then(WeakShared::upgrade) {
                Some(flight) => flight,
                None => start(&mut flying, key, begin().boxed().shared()),
            }
        };
        let value = flight.await;
        let mut flying = self.lock();
        if flying.get(key).is_some_and(has_ended) {
            flying.remove(key);
        }
        value
    }

    /// Who asks from now on does not wait for a read that began before.
    pub fn leave(&self, key: &K) {
        self.lock().remove(key);
    }

    /// The same for all keys.
    pub fn leave_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Weak<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start<K: Clone + Eq + Hash, V: Clone>(
    flying: &mut HashMap<K, Weak<V>>,
    key: &K,
    flight: Flight<V>,
) -> Flight<V> {
    if flying.len() >= SWEPT_AT {
        flying.retain(|_, it| !has_ended(it));
    }
    // It has not been polled, so it has not ended.
    flying.extend(flight.downgrade().map(|it| (key.clone(), it)));
    flight
}

fn has_ended<V: Clone>(flight: &Weak<V>) -> bool {
    flight.upgrade().is_none_or(|it| it.peek().is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::sync::Semaphore;

    use super::*;

    struct World {
        flights: Flights<u32, usize>,
        gate: Semaphore,
        n_read: AtomicUsize,
    }

    async fn read(world: Arc<World>) -> usize {
        let one = Arc::clone(&world);
        world
            .flights
            .join(&1, || async move {
                let n = one.n_read.fetch_add(1, Ordering::SeqCst) + 1;
                let _permit = one.gate.acquire().await;
                n
            })
            .await
    }

    fn world() -> Arc<World> {
        let (flights, n_read) = (Flights::default(), AtomicUsize::new(0));
        Arc::new(World { flights, gate: Semaphore::new(0), n_read })
    }

    #[tokio::test]
    async fn many_who_ask_at_once_share_one_read_and_who_leaves_takes_nothing_along() {
        let world = world();
        let first = tokio::spawn(read(Arc::clone(&world)));
        while world.n_read.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..50).map(|_| tokio::spawn(read(Arc::clone(&world)))).collect();
        tokio::task::yield_now().await;
        // It was the one that polled the read.
        first.abort();
        world.gate.add_permits(1);
        for other in others {
            assert_eq!(other.await.unwrap(), 1);
        }
        assert_eq!(world.n_read.load(Ordering::SeqCst), 1);
        assert_eq!(read(Arc::clone(&world)).await, 2, "the next one reads anew");
        assert!(world.flights.lock().is_empty());
    }

    #[tokio::test]
    async fn who_asks_after_a_change_does_not_get_what_was_read_before() {
        let world = world();
        let before = tokio::spawn(read(Arc::clone(&world)));
        while world.n_read.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        world.flights.leave(&1);
        let after = tokio::spawn(read(Arc::clone(&world)));
        while world.n_read.load(Ordering::SeqCst) == 1 {
            tokio::task::yield_now().await;
        }
        world.gate.add_permits(2);
        assert_eq!((before.await.unwrap(), after.await.unwrap()), (1, 2));
    }

    #[tokio::test]
    async fn a_read_that_everybody_left_is_dropped_and_begun_anew() {
        let world = world();
        let left = tokio::spawn(read(Arc::clone(&world)));
        while world.n_read.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        left.abort();
        assert!(left.await.is_err());
        world.gate.add_permits(1);
        assert_eq!(read(Arc::clone(&world)).await, 2);
    }
}
