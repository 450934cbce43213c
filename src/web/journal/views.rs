//! What is shown of the journal, by the API and on the command line.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::clock::{HOUR, SECOND, iso},
    gateway::{Replayed, Stats},
    journal::{Entry, Ledger},
    web::{messages::LedgerView, views::StepView},
};

/// The journal at a glance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JournalStatsView {
    /// Messages and sends that wait or are worked on.
    waiting: i64,
    /// When the oldest of them was kept.
    oldest_waiting_at: Option<String>,
    /// Sends whose outcome is not known yet.
    fenced: i64,
    /// Sends given up without knowing.
    unknown: i64,
    /// What waits for a person, by reason.
    parked: BTreeMap<String, i64>,
    /// What was given up, by reason.
    dead: BTreeMap<String, i64>,
    /// Statuses and the like that wait for the message they speak of.
    open_signals: i64,
    forwards: ForwardsCount,
    /// Entries in the journal.
    entries: i64,
    /// When the oldest of them was kept.
    oldest_entry_at: Option<String>,
    /// Entries that were removed because they were old.
    removed: i64,
    retention: RetentionView,
    /// Keys by which what comes twice is known.
    dedupe_keys: i64,
    file: JournalFileView,
    /// Since the server's start; null where none was asked.
    server: Option<WrittenView>,
}

/// Events on their way to vendors' back ends.
#[derive(Serialize, ToSchema)]
struct ForwardsCount {
    waiting: i64,
    dead: i64,
}

/// How long what has ended is kept.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RetentionView {
    days: i64,
    /// The clock has jumped: nothing is removed for so long yet.
    held_for_seconds: i64,
}

/// The database file.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct JournalFileView {
    bytes: u64,
    /// Of these, free to be used again.
    free_bytes: u64,
    /// The write-ahead file beside it.
    wal_bytes: u64,
}

/// What was written since the server's start.
#[derive(Serialize, ToSchema)]
struct WrittenView {
    writes: u64,
    /// Transactions, each synced to the disk once.
    commits: u64,
}

impl JournalStatsView {
    pub(crate) fn new(it: &Stats, is_server: bool) -> Self {
        let Stats { backlog, volume, retention, clock } = it;
        let by_reason = |it: &[(String, i64)]| it.iter().cloned().collect();
        let written = WrittenView { writes: volume.n_writes, commits: volume.n_commits };
        Self {
            waiting: backlog.n_waiting,
            oldest_waiting_at: backlog.oldest_waiting.map(iso),
            fenced: backlog.n_fenced,
            unknown: backlog.n_unknown,
            parked: by_reason(&backlog.parked),
            dead: by_reason(&backlog.dead),
            open_signals: volume.n_signals_open,
            forwards: ForwardsCount {
                waiting: backlog.n_forwards_waiting,
                dead: backlog.n_forwards_dead,
            },
            entries: volume.n_entries,
            oldest_entry_at: volume.oldest.map(iso),
            removed: volume.n_removed,
            retention: RetentionView {
                days: retention / (24 * HOUR),
                held_for_seconds: clock.held_for / SECOND,
            },
            dedupe_keys: volume.n_keys,
            file: JournalFileView {
                bytes: volume.file_bytes,
                free_bytes: volume.free_bytes,
                wal_bytes: volume.wal_bytes,
            },
            server: is_server.then_some(written),
        }
    }
}

/// The ledger, and what a count of the entries gives.
#[derive(Serialize, ToSchema)]
pub(crate) struct VerifiedView {
    #[serde(flatten)]
    ledger: LedgerView,
    /// Whether a fresh count of the entries gives the same; null when none was asked for.
    verified: Option<bool>,
    /// What that count gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<LedgerView>,
}

impl VerifiedView {
    pub(crate) fn new(ledger: &Ledger, counted: Option<&Ledger>) -> Self {
        Self {
            ledger: ledger.into(),
            verified: counted.map(|it| it == ledger),
            counted: counted.map(LedgerView::from),
        }
    }
}

/// A page of entries, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct EntriesView {
    entries: Vec<EntryView>,
    /// Asks for the next page; null at the end.
    cursor: Option<String>,
}

impl EntriesView {
    /// `limit` is how many were asked for.
    pub(crate) fn new(entries: &[Entry], limit: usize) -> Self {
        let cursor = entries.last().filter(|_| entries.len() >= limit);
        Self {
            entries: entries.iter().map(EntryView::from).collect(),
            cursor: cursor.map(|it| it.id.to_string()),
        }
    }
}

/// An entry of the journal.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EntryView {
    #[schema(example = "msg_1980a2b3c4d00000")]
    id: String,
    /// `message`, `send`, `echo` (typed on the phone) or `signal` (a status and the like).
    kind: &'static str,
    vendor_id: String,
    waba_id: String,
    conversation_id: Option<String>,
    /// Where it stands, in one word; a send's are those of messages.
    state: &'static str,
    reason: Option<String>,
    /// Something is still to be done or waited for.
    open: bool,
    /// A responder decided it.
    automatic: bool,
    /// Requests that left for it.
    attempts: u32,
    /// Of a send that waits: not before this time.
    due_at: Option<String>,
    /// Of a send: after this it is not sent.
    expires_at: Option<String>,
    /// What it answers or speaks of.
    origin: Option<String>,
    /// Of a text in parts: the first part.
    group: Option<String>,
    created_at: String,
    /// What became of it, in order.
    steps: Vec<StepView>,
}

impl From<&Entry> for EntryView {
    fn from(it: &Entry) -> Self {
        Self {
            id: it.id.to_string(),
            kind: it.kind,
            vendor_id: it.vendor.to_string(),
            waba_id: it.instance.to_string(),
            conversation_id: it.contact.map(|it| it.to_string()),
            state: it.state,
            reason: it.reason.clone(),
            open: it.is_open,
            automatic: it.is_automatic,
            attempts: it.attempts,
            due_at: it.due.map(iso),
            expires_at: it.expires.map(iso),
            origin: it.origin.map(|it| it.to_string()),
            group: it.part.map(|it| it.group.to_string()),
            created_at: iso(it.id.ms()),
            steps: it.steps.iter().map(StepView::from).collect(),
        }
    }
}

/// What a replay did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JournalReplayedView {
    /// Entries that go on.
    replayed: usize,
    /// Entries that stay as they are, by why.
    refused: BTreeMap<String, usize>,
    /// The vendor has as much waiting as it may: ask again later for the rest.
    has_more: bool,
}

impl From<Replayed> for JournalReplayedView {
    fn from(it: Replayed) -> Self {
        Self { replayed: it.n_replayed, refused: it.refused, has_more: it.has_more }
    }
}
