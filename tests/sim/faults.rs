//! What may go wrong with a call of the journal or the store: it is refused before anything is
//! written, is late, or is the last of its process, before or after it was written.

use std::future::pending;

use waba_gateway::{domain::clock::Millis, sqlite::DbError};

use super::world::Shared;

/// Lets others run.
async fn turn() {
    let mut has_waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Before a call: it may be refused, or never be made.
pub async fn before(world: &Shared) -> Result<(), DbError> {
    let (fails, crashes, waits, turns) = {
        let mut world = world.lock().unwrap();
        let (fails, crashes) = (world.fault(25), world.fault(4));
        let waits = if world.fault(25) { world.rng.between(1, 2_500) } else { 0 };
        if fails || crashes || waits > 0 {
            let now = world.now();
            world.rules.disturbed(now);
        }
        (fails, crashes, waits, world.rng.chance(150))
    };
    pass(world, crashes, waits, turns).await;
    if fails { Err(DbError::Busy) } else { Ok(()) }
}

/// After it: it is committed, and whoever asked may never hear of it.
pub async fn after(world: &Shared) {
    let (crashes, waits, turns) = {
        let mut world = world.lock().unwrap();
        let crashes = world.fault(4);
        let waits = if world.fault(25) { world.rng.between(1, 2_500) } else { 0 };
        if crashes || waits > 0 {
            let now = world.now();
            world.rules.disturbed(now);
        }
        (crashes, waits, world.rng.chance(150))
    };
    pass(world, crashes, waits, turns).await;
}

/// A whole call, with all of that.
pub async fn around<T: Send, E: From<DbError> + Send>(
    world: &Shared,
    call: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, E> {
    before(world).await?;
    let done = call.await;
    after(world).await;
    done
}

async fn pass(world: &Shared, crashes: bool, waits: Millis, turns: bool) {
    if crashes {
        world.lock().unwrap().crash = true;
        pending::<()>().await;
    }
    if waits > 0 {
        let clock = world.lock().unwrap().clock.clone();
        clock.sleep_until(clock.now() + waits).await;
    } else if turns {
        turn().await;
    }
}
