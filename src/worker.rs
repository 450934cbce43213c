//! Journal → gateway: starts what may start now.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use crate::{
    domain::{
        clock::SECOND,
        schedule::{Job, Kind, Next},
    },
    gateway::Gateway,
    sqlite::is_of_disk,
    telemetry::Chain,
};

/// When work is tried again that failed for a reason of ours.
const AGAIN_AFTER: i64 = SECOND;
/// How long events on their way to back ends may take when the process is asked to stop. What is
/// cut off is sent again after the restart, with the same id.
const FORWARDS_END_WITHIN: Duration = Duration::from_secs(5);
/// When work is tried again that panicked.
const AGAIN_AFTER_PANIC: i64 = 30 * SECOND;

/// Starts work until `stop`, then waits for sends that have begun. Responders' calls are dropped:
/// their messages are asked about again after the restart.
pub async fn run(gateway: Gateway, stop: CancellationToken) {
    let running = TaskTracker::new();
    while !stop.is_cancelled() {
        while let Some(job) = gateway.work().next() {
            let (gateway, stop) = (gateway.clone(), stop.clone());
            running.spawn(async move { work(&gateway, job, &stop).await });
        }
        tokio::select! {
            () = gateway.work().changed() => {}
            () = stop.cancelled() => {}
        }
    }
    running.close();
    running.wait().await;
}

/// One piece of work, to its end.
pub async fn work(gateway: &Gateway, job: Job, stop: &CancellationToken) {
    let span = tracing::info_span!(
        "work",
        kind = ?job.kind,
        vendor.id = %job.vendor,
        waba.id = %job.instance,
        message.id = %job.id,
    );
    let run = AssertUnwindSafe(one(gateway, &job, stop)).catch_unwind();
    let next = run.instrument(span.clone()).await.unwrap_or_else(|_| {
        span.in_scope(|| tracing::error!("work panicked; it is tried again"));
        // Whether a send's request had left nobody knows: the journal is asked.
        let kind = if job.kind == Kind::Send { Kind::Follow } else { job.kind };
        Next::Again { kind, due: gateway.clock().now() + AGAIN_AFTER_PANIC, hold: None }
    });
    gateway.work().finish(job.id, next);
}

async fn one(gateway: &Gateway, job: &Job, stop: &CancellationToken) -> Next {
    let end = match job.kind {
        Kind::Message => tokio::select! {
            biased;
            end = gateway.reply(job) => end,
            () = stop.cancelled() => return again(gateway, job),
        },
        Kind::Send | Kind::Later => gateway.deliver(job).await,
        Kind::Signal => gateway.signal(job).await,
        Kind::Follow => tokio::select! {
            biased;
            end = gateway.follow(job) => end,
            () = stop.cancelled() => return again(gateway, job),
        },
    };
    end.unwrap_or_else(|error| {
        if !is_of_disk(&error) {
            tracing::error!(error = %Chain(&error), "work could not be done; it is tried again");
        }
        again(gateway, job)
    })
}

/// The same again; a send keeps its place in its lane.
fn again(gateway: &Gateway, job: &Job) -> Next {
    Next::Again { kind: job.kind, due: gateway.clock().now() + AGAIN_AFTER, hold: None }
}

/// Sends vendors' back ends their events until `stop`.
pub async fn forward(gateway: Gateway, stop: CancellationToken) {
    let running = TaskTracker::new();
    let cut = CancellationToken::new();
    while !stop.is_cancelled() {
        gateway.tidy_forwards().await;
        while let Some((vendor, endpoint)) = gateway.next_to_forward() {
            let (gateway, cut) = (gateway.clone(), cut.clone());
            let run = async move {
                let run = AssertUnwindSafe(gateway.forward(&vendor, endpoint)).catch_unwind();
                if run.await.is_err() {
                    tracing::error!(vendor.id = %vendor, "forwarding an event panicked; it is tried again");
                    gateway.forward_panicked(&vendor);
                }
            };
            running.spawn(cut.run_until_cancelled_owned(run));
        }
        tokio::select! {
            () = gateway.forwards_changed() => {}
            () = stop.cancelled() => {}
        }
    }
    running.close();
    // The rest is cut off.
    let _ = tokio::time::timeout(FORWARDS_END_WITHIN, running.wait()).await;
    cut.cancel();
    running.wait().await;
}
