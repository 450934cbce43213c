//! Telling Redis and the other gateways what has changed.

use std::time::Instant;

use redis::{RedisResult, Value};

use super::{CALL_WITHIN, GENERATION_MS, Redis, Subject, TOLD_AT_ONCE, budget, names};

impl Redis {
    /// Notes that this has changed; [`Self::tell`] tells it.
    pub fn note(&self, subject: Subject) {
        let mut untold = self.untold();
        untold.1 += 1;
        let n = untold.1;
        untold.0.insert(subject, n);
    }

    /// Whether there is something to tell.
    #[must_use]
    pub fn has_untold(&self) -> bool {
        !self.untold().0.is_empty()
    }

    /// Removes what Redis has of everything that was noted, and tells the other gateways. What it
    /// returns has been removed; the rest is told later, as is what a request would need more than
    /// one call for.
    pub async fn tell(&self) -> Vec<Subject> {
        let mut told = Vec::new();
        if !budget::may_tell() {
            self.0.look.notify_one();
            return told;
        }
        while self.0.health.is_up() {
            let some: Vec<(Subject, u64)> = {
                let untold = self.untold();
                untold.0.iter().take(TOLD_AT_ONCE).map(|it| (it.0.clone(), *it.1)).collect()
            };
            if some.is_empty() || !self.tell_some(&some).await {
                break;
            }
            let mut untold = self.untold();
            for (subject, n) in some {
                // Changed once more meanwhile, it is told once more.
                if untold.0.get(&subject) == Some(&n) {
                    untold.0.remove(&subject);
                }
                told.push(subject);
            }
            drop(untold);
            if budget::is_of_request() {
                if self.has_untold() {
                    self.0.look.notify_one();
                }
                break;
            }
        }
        told
    }

    async fn tell_some(&self, some: &[(Subject, u64)]) -> bool {
        let names = &self.0.names;
        let Ok(generation) = names::random() else { return false };
        let mut tell = redis::pipe();
        // One that is full refuses the generation and still removes the value: each command stands
        // for itself.
        tell.ignore_errors();
        for (subject, _) in some.iter().filter(|it| it.0 != Subject::Pauses) {
            tell.cmd("SET").arg(names.generation(subject)).arg(&generation);
            tell.arg("PX").arg(GENERATION_MS);
            tell.del(names.value(subject));
        }
        tell.publish(names.channel(), names.message(some.iter().map(|it| &it.0)));
        let began = Instant::now();
        let ends = self.within(CALL_WITHIN, async |mut connection| {
            tell.query_async::<Vec<RedisResult<Value>>>(&mut connection).await
        });
        let ends = ends.await;
        budget::has_told(began.elapsed());
        let Ok(ends) = ends else { return false };
        let refused = ends.into_iter().find_map(Result::err);
        if let Some(error) = &refused {
            self.failed(error);
        }
        refused.is_none()
    }
}
