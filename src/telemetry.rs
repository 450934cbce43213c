//! Logs and metrics. No secret, phone number or text ever reaches either: what is logged are ids,
//! words of our own, and errors whose types cannot hold such things.

use std::{error::Error, fmt, io::IsTerminal};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// Names of the metrics. Times are in seconds.
pub mod names {
    /// Webhooks, by route and answer.
    pub const WEBHOOKS: &str = "waba_webhooks_total";
    /// Time until a webhook's answer.
    pub const WEBHOOK_SECONDS: &str = "waba_webhook_seconds";
    /// Events accepted, by kind.
    pub const EVENTS: &str = "waba_events_total";
    /// Events that were there already.
    pub const DUPLICATES: &str = "waba_duplicates_total";
    /// Proven webhooks that nobody can read.
    pub const UNREADABLE: &str = "waba_unreadable_webhooks_total";
    /// Bodies that name an instance id other than the one that was proven.
    pub const FOREIGN_INSTANCE_ID: &str = "waba_foreign_instance_ids_total";
    /// Attempts to send, by outcome.
    pub const SENDS: &str = "waba_sends_total";
    /// Time of one attempt to send.
    pub const SEND_SECONDS: &str = "waba_send_seconds";
    /// Calls of responders, by outcome.
    pub const ANSWERS: &str = "waba_responder_calls_total";
    /// Circuits that opened and closed, by whom they guard.
    pub const CIRCUITS: &str = "waba_circuits_turned_total";
    /// Time from webhook to the provider's acceptance of the reply.
    pub const REPLY_SECONDS: &str = "waba_reply_seconds";
    /// Entries that wait or run.
    pub const WAITING: &str = "waba_journal_waiting";
    /// Age of the oldest entry that waits or runs.
    pub const OLDEST_SECONDS: &str = "waba_journal_oldest_seconds";
    /// Conversations paused because two bots were talking.
    pub const LOOPS: &str = "waba_loops_total";
    /// Sends given up without knowing whether they arrived.
    pub const UNKNOWN: &str = "waba_sends_unknown_total";
    /// Sessions that are not connected any more, each time it is told.
    pub const DISCONNECTED: &str = "waba_disconnected_total";
    /// What providers warn of before a number stops sending, by provider and word.
    pub const WARNINGS: &str = "waba_provider_warnings_total";
    /// Tries to send an event to a vendor's back end, by outcome.
    pub const FORWARDS: &str = "waba_forwards_total";
    /// Time of one such try.
    pub const FORWARD_SECONDS: &str = "waba_forward_seconds";
    /// Events that wait for vendors' back ends.
    pub const FORWARDS_WAITING: &str = "waba_forwards_waiting";
    /// Events that were given up and can be replayed.
    pub const FORWARDS_DEAD: &str = "waba_forwards_dead";
    /// Age of the oldest event that waits for a back end.
    pub const FORWARDS_OLDEST_SECONDS: &str = "waba_forwards_oldest_seconds";
    /// Webhooks of known vendors that proved nothing.
    pub const REFUSED: &str = "waba_refused_webhooks_total";
    /// Alerts that are open, by kind.
    pub const ALERTS: &str = "waba_alerts_open";
    /// Tries to fetch a customer's file, by outcome.
    pub const MEDIA_FETCHES: &str = "waba_media_fetches_total";
    /// Files handed to the provider to be sent, by outcome.
    pub const MEDIA_UPLOADS: &str = "waba_media_uploads_total";
    /// Entries removed because they were old.
    pub const REMOVED: &str = "waba_journal_removed_total";
    /// The ledger's events, by where they stand.
    pub const LEDGER_EVENTS: &str = "waba_ledger_events";
    /// The ledger's sends, by where they stand.
    pub const LEDGER_SENDS: &str = "waba_ledger_sends";
    /// Looks for a vendor or for whom a key leads to, by where it was looked (memory, redis, store,
    /// copy) and what came of it.
    pub const CACHE_READS: &str = "waba_cache_reads_total";
    /// Calls of Redis that failed, by why.
    pub const REDIS_ERRORS: &str = "waba_redis_errors_total";
    /// 1 while this part does not work and others do its work.
    pub const DEGRADED: &str = "waba_degraded";
    /// Transactions of the embedded database.
    pub const COMMITS: &str = "waba_commits_total";
    /// Writes in them.
    pub const WRITES: &str = "waba_writes_total";
    /// Statements run for them, those that begin and commit included.
    pub const STATEMENTS: &str = "waba_statements_total";
    /// Documents of messages written to Firestore, by collection and whether they were deleted; each
    /// costs a write or a delete there.
    pub const RECORD_WRITES: &str = "waba_record_writes_total";
    /// Documents of messages that Firestore refused.
    pub const RECORDS_REFUSED: &str = "waba_records_refused_total";
    /// Documents of messages that wait to be written.
    pub const RECORDS_WAITING: &str = "waba_records_waiting";
    /// For how long the first of them has been due.
    pub const RECORDS_OLDEST_SECONDS: &str = "waba_records_oldest_seconds";
    /// Documents that Firestore told were changed.
    pub const FIRESTORE_HEARD: &str = "waba_firestore_heard_total";
}

/// Bounds of the histograms, in seconds.
const SECONDS_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Starts logging to standard error: for people on a terminal, JSON lines otherwise. `RUST_LOG`
/// chooses what (`info` by default).
pub fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // At its lowest level this library prints whole documents.
    let quiet = "firestore=warn".parse().expect("the constant is a directive");
    let filter = filter.add_directive(quiet);
    let is_terminal = std::io::stderr().is_terminal();
    let plain = is_terminal.then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr));
    let json = (!is_terminal).then(|| {
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)
    });
    // A second start, as in tests, leaves the first in place.
    let _ = tracing_subscriber::registry()
        .with(plain.map(Layer::boxed))
        .with(json.map(Layer::boxed))
        .with(filter)
        .try_init();
}

/// Starts counting; the handle renders what was counted. One a process: a second call gets a
/// handle of its own that counts nothing.
pub fn start_metrics() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)?
        .build_recorder();
    let handle = recorder.handle();
    // Fails when the process counts already, as in tests.
    let _ = metrics::set_global_recorder(recorder);
    Ok(handle)
}

/// An error with all its causes, in one line.
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
