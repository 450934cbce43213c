//! For how long one request may wait for what it asks Redis, all its calls together.

use std::{cell::Cell, time::Duration};

/// What a request may ask in. With what it tells no request waits longer than 50 ms for Redis.
const REQUEST_WITHIN: Duration = Duration::from_millis(30);
/// Once telling has taken so long, the rest is told without the request; a call takes 15 ms at most.
const TELLS_UNTIL: Duration = Duration::from_millis(5);

tokio::task_local! {
    static LEFT: Cell<Duration>;
    static TOLD: Cell<Duration>;
}

/// A request, whose calls of Redis together take no longer than a request may wait for it.
pub async fn request<T>(request: impl Future<Output = T>) -> T {
    let request = TOLD.scope(Cell::new(Duration::ZERO), request);
    LEFT.scope(Cell::new(REQUEST_WITHIN), request).await
}

/// Whether a request waits for this.
pub(super) fn is_of_request() -> bool {
    LEFT.try_with(|_| ()).is_ok()
}

/// What is left of it, at most this; what is no request's has no bound of that kind.
pub(super) fn left(most: Duration) -> Duration {
    LEFT.try_with(Cell::get).unwrap_or(most).min(most)
}

pub(super) fn spend(taken: Duration) {
    // What is no request's spends nothing.
    let _ = LEFT.try_with(|it| it.set(it.get().saturating_sub(taken)));
}

/// Whether there is time to tell something; what is no request's has as much as it needs.
pub(super) fn may_tell() -> bool {
    TOLD.try_with(Cell::get).unwrap_or_default() < TELLS_UNTIL
}

pub(super) fn has_told(taken: Duration) {
    let _ = TOLD.try_with(|it| it.set(it.get() + taken));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_tells_for_a_bounded_time_in_sum_and_others_as_long_as_they_need() {
        request(async {
            assert!(may_tell());
            has_told(TELLS_UNTIL / 2);
            assert!(may_tell());
            has_told(TELLS_UNTIL / 2);
            assert!(!may_tell());
        })
        .await;
        request(async { assert!(may_tell(), "each request has its own") }).await;
        has_told(TELLS_UNTIL);
        assert!(may_tell(), "it is no request's");
        // With the last call of 15 ms.
        let most = REQUEST_WITHIN + TELLS_UNTIL + super::super::CALL_WITHIN;
        assert!(most <= Duration::from_millis(50));
    }
}
