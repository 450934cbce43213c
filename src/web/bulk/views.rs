//! Jobs as callers see them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        bulk::BulkState,
        clock::{SECOND, iso},
    },
    gateway::BulkShown,
    journal::BulkJob,
};

/// A job that was taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::web) struct BulkTakenView {
    #[schema(example = true)]
    pub(super) success: bool,
    /// Its id.
    pub(super) job_id: String,
    /// How many are sent to.
    pub(super) recipients: usize,
    /// Customers who were given again, in whatever form; they are sent to once.
    pub(super) duplicates: usize,
}

/// A job.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::web) struct BulkJobView {
    /// Its id.
    pub(super) job_id: String,
    /// The number it leaves from.
    waba_id: String,
    /// `running`, `paused`, `cancelled` or `done`.
    state: &'static str,
    /// Why it is paused, where nobody asked for it: `failing` (twenty in a row did not get
    /// through), `restored` (from a backup), `no_number`, `no_vendor`, `invalid` (what was right
    /// when it was taken is not any more) or `unreadable` (no key opens what was stored).
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Its own pace.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_minute: Option<u32>,
    /// Recipients.
    total: i64,
    /// Customers who were given again, also those of whom that is found out at their turn.
    duplicates: i64,
    /// When it was taken.
    created_at: String,
    /// When everybody had had their turn, or it was cancelled; messages may still be on their way.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
}

/// How far a job is, in recipients.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::web) struct BulkProgressView {
    #[serde(flatten)]
    job: BulkJobView,
    /// They wait for their turn, or their message is on its way. Of a cancelled job the former are
    /// `cancelled`.
    queued: i64,
    /// The provider has it.
    sent: i64,
    /// It was given up.
    failed: i64,
    /// It waits for a person.
    parked: i64,
    /// Nobody can tell whether it was sent.
    unknown: i64,
    /// They do not get it, because the job was cancelled.
    cancelled: i64,
    /// They were erased before their turn.
    erased: i64,
    /// How long those who wait will take at `perMinute`, or at what the provider allows the number
    /// where that is less and known; no other job and no answer is counted in. 0 while it does not
    /// run.
    seconds_left: i64,
}

/// A vendor's jobs.
#[derive(Serialize, ToSchema)]
pub(in crate::web) struct BulkJobsView {
    pub(super) jobs: Vec<BulkJobView>,
    /// Asks for the next page; null at the end.
    pub(super) cursor: Option<String>,
}

impl BulkJobView {
    pub(super) fn of(job: &BulkJob) -> Self {
        Self {
            job_id: job.id.to_string(),
            waba_id: job.instance.to_string(),
            state: job.state.as_str(),
            reason: job.note.clone(),
            per_minute: job.per_minute,
            total: job.n_total,
            duplicates: job.n_same,
            created_at: iso(job.made_at),
            ended_at: job.ended_at.map(iso),
        }
    }
}

impl BulkProgressView {
    pub(super) fn of(shown: &BulkShown) -> Self {
        let BulkShown { job, progress, time_left } = shown;
        let is_cancelled = job.state == BulkState::Cancelled;
        let (waiting, cancelled) =
            if is_cancelled { (0, progress.n_waiting) } else { (progress.n_waiting, 0) };
        Self {
            job: BulkJobView::of(job),
            queued: waiting + progress.n_on_their_way,
            sent: progress.n_sent,
            failed: progress.n_failed,
            parked: progress.n_parked,
            unknown: progress.n_unknown,
            cancelled,
            erased: progress.n_erased,
            seconds_left: (time_left + SECOND - 1) / SECOND,
        }
    }
}
