//! Runs tasks on one thread, one poll at a time; which of the ready ones comes next is chance, from
//! the seed. Dropping them all is a crash.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use super::rng::Rng;

pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks that are to be started, by those that run.
pub type Spawner = Arc<Mutex<Vec<Task>>>;

#[derive(Default)]
pub struct Executor {
    tasks: BTreeMap<u64, (Task, Arc<Ready>)>,
    ready: Arc<Mutex<Vec<u64>>>,
    pub spawner: Spawner,
    n_spawned: u64,
}

struct Ready {
    id: u64,
    is_queued: AtomicBool,
    queue: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::SeqCst) {
            self.queue.lock().unwrap().push(self.id);
        }
    }
}

impl Executor {
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawner.lock().unwrap().push(Box::pin(task));
    }

    /// Polls one task. `false`: none is ready.
    pub fn step(&mut self, rng: &mut Rng) -> bool {
        self.start_spawned();
        let id = {
            let mut ready = self.ready.lock().unwrap();
            if ready.is_empty() {
                return false;
            }
            let n = rng.below(ready.len());
            ready.swap_remove(n)
        };
        let Some((task, ready)) = self.tasks.get_mut(&id) else { return true };
        // Woken from now on, it is polled again.
        ready.is_queued.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(ready));
        if let Poll::Ready(()) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.tasks.remove(&id);
        }
        self.start_spawned();
        true
    }

    /// Everything that runs ends here and now, wherever it is.
    pub fn crash(&mut self) {
        self.spawner.lock().unwrap().clear();
        self.tasks.clear();
        self.ready.lock().unwrap().clear();
    }

    fn start_spawned(&mut self) {
        let spawned = std::mem::take(&mut *self.spawner.lock().unwrap());
        for task in spawned {
            self.n_spawned += 1;
            let id = self.n_spawned;
            let queue = Arc::clone(&self.ready);
            let wake = Arc::new(Ready { id, is_queued: AtomicBool::new(true), queue });
            self.tasks.insert(id, (task, wake));
            self.ready.lock().unwrap().push(id);
        }
    }
}
