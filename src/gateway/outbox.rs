//! Documents of messages are written to the application's Firestore, apart from all work: nothing
//! waits for it, and what it does not take now stays in the journal's outbox.

use std::{collections::HashSet, time::Duration};

use futures_util::future;
use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;

use super::{Gateway, reply::WorkError};
use crate::{
    domain::{
        clock::{HOUR, MINUTE, Millis, SECOND},
        record::{Document, Record, Standing, Written},
    },
    journal::{DocumentEnd, Due, DueDocument},
    sqlite::is_of_disk,
    store::FirestoreStore,
    telemetry::{Chain, names},
};

/// Documents taken at once. Each is two writes at most, and Firestore takes 500 in a request.
const AT_ONCE: usize = 250;
/// When something is due, more is waited for so long: a request costs time, and documents may wait.
const GATHERED_FOR: Duration = Duration::from_millis(100);
/// While Firestore is away: the first wait, and the longest.
const AWAY_FIRST: Duration = Duration::from_millis(250);
const AWAY_MAX: Duration = Duration::from_secs(5);
/// When a document is tried again that Firestore could not take just now.
const NOT_NOW_AGAIN: Millis = 5 * SECOND;
/// The same for one that it refuses; it doubles, up to the longest.
const REFUSED_AGAIN: Millis = MINUTE;
const REFUSED_AGAIN_MAX: Millis = 6 * HOUR;
/// What is being written when the process ends has this long.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
/// How often it is counted what waits, while documents are written.
const COUNTED_EVERY: Millis = 10 * SECOND;

/// How the writing goes.
#[derive(Default)]
struct Progress {
    /// Failures in a row.
    n_failures: u32,
    counted_at: Millis,
    /// What became of documents, and could not be kept yet: written once more, they would cost
    /// once more.
    unsaved: Vec<(DueDocument, DocumentEnd)>,
}

/// What comes after some documents.
enum Then {
    /// The next ones.
    More,
    /// Nothing is due before this time.
    Rest { until: Millis },
}

impl Gateway {
    /// Writes documents as they become due, until `stop`.
    pub async fn tend_outbox(&self, firestore: FirestoreStore, stop: CancellationToken) {
        let mut progress = Progress::default();
        loop {
            let ended = async {
                stop.cancelled().await;
                // Cut off, it would be written again after the next start.
                tokio::time::sleep(ENDS_WITHIN).await;
            };
            let then = tokio::select! {
                then = self.write_some(&firestore, &mut progress.unsaved) => then,
                () = ended => return,
            };
            tokio::select! {
                () = self.after(&mut progress, then) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn after(&self, progress: &mut Progress, then: Result<Then, WorkError>) {
        let now = self.inner.clock.now();
        let is_idle = !matches!(then, Ok(Then::More));
        if is_idle || (now - progress.counted_at).abs() >= COUNTED_EVERY {
            progress.counted_at = now;
            self.count_documents(now).await;
        }
        match then {
            Ok(then) => {
                if progress.n_failures > 0 {
                    tracing::info!("documents of messages are written to Firestore again");
                }
                progress.n_failures = 0;
                if let Then::Rest { until } = then {
                    tokio::select! {
                        () = self.inner.journal.outbox_changed(until) => {}
                        () = self.inner.clock.sleep_until(until) => {}
                    }
                    tokio::time::sleep(GATHERED_FOR).await;
                }
            }
            Err(error) => {
                if progress.n_failures == 0 && !is_of_disk(&error) {
                    tracing::warn!(error = %Chain(&error), "documents of messages are not written to Firestore; they wait");
                }
                let longest = AWAY_FIRST.saturating_mul(1 << progress.n_failures.min(8));
                progress.n_failures = progress.n_failures.saturating_add(1);
                tokio::time::sleep(longest.min(AWAY_MAX)).await;
            }
        }
    }

    async fn write_some(
        &self,
        firestore: &FirestoreStore,
        unsaved: &mut Vec<(DueDocument, DocumentEnd)>,
    ) -> Result<Then, WorkError> {
        self.save_ends(unsaved).await?;
        // Nothing is read that could not be written.
        firestore.is_reached()?;
        let journal = &self.inner.journal;
        let due = journal.due_documents(self.inner.clock.now(), AT_ONCE).await?;
        if due.documents.is_empty() {
            return Ok(Then::Rest { until: due.next.unwrap_or(Millis::MAX) });
        }
        self.remember_vendors(&due.documents).await;
        let (mut ends, mut rows, mut documents) = (Vec::new(), Vec::new(), Vec::new());
        for (row, due) in due.documents {
            match due {
                Due::Nothing => ends.push((row, DocumentEnd::Gone)),
                Due::Unreadable(what) => ends.push((row, self.refused(&row, what))),
                Due::Record(mut record) => {
                    self.add_own_number(&mut record).await?;
                    rows.push((row, said(&record)));
                    documents.push(Document { id: row.entry, record });
                }
            }
        }
        let written = firestore.write_documents(&documents).await?;
        for ((row, said), written) in rows.into_iter().zip(written) {
            let end = match written {
                Written::Done => DocumentEnd::Written(said),
                Written::NotNow => {
                    let due = self.inner.clock.now() + NOT_NOW_AGAIN;
                    DocumentEnd::Again { due, is_refused: false }
                }
                Written::Refused(why) => self.refused(&row, &why),
            };
            ends.push((row, end));
        }
        *unsaved = ends;
        self.save_ends(unsaved).await?;
        Ok(Then::More)
    }

    async fn save_ends(
        &self,
        unsaved: &mut Vec<(DueDocument, DocumentEnd)>,
    ) -> Result<(), WorkError> {
        if !unsaved.is_empty() {
            let now = self.inner.clock.now();
            self.inner.journal.end_documents(unsaved.clone(), now).await?;
            unsaved.clear();
        }
        Ok(())
    }

    /// Vendors that are not in memory are read side by side; what comes of it shows when each is
    /// needed.
    async fn remember_vendors(&self, documents: &[(DueDocument, Due)]) {
        let vendor = |(_, due): &'_ (DueDocument, Due)| match due {
            Due::Record(Record::Message(it) | Record::NewMessage(it)) if !it.is_inbound => {
                Some(it.vendor.clone())
            }
            _ => None,
        };
        let vendors: HashSet<_> = documents.iter().filter_map(vendor).collect();
        future::join_all(vendors.iter().map(|it| self.inner.manager.known(it))).await;
    }

    /// The vendor's number that a message left from. A number that was removed since is not known.
    async fn add_own_number(&self, record: &mut Record) -> Result<(), WorkError> {
        let (Record::Message(it) | Record::NewMessage(it)) = record else { return Ok(()) };
        if it.is_inbound {
            return Ok(());
        }
        match self.inner.manager.known(&it.vendor).await {
            Ok(known) => {
                let instance = known.as_ref().and_then(|known| known.instance(&it.instance));
                it.own = instance.map(|it| it.phone_number.clone());
            }
            Err(error) if error.is_away() => return Err(error.into()),
            // One vendor's spoilt document holds no other's message up, nor its own.
            Err(_) => {}
        }
        Ok(())
    }

    /// It is told once, and tried on: somebody may put right what is wrong.
    fn refused(&self, row: &DueDocument, why: &str) -> DocumentEnd {
        if row.tries == 0 {
            counter!(names::RECORDS_REFUSED).increment(1);
            tracing::error!(message.id = %row.entry, why, "the document of a message cannot be written; it is tried again");
        }
        let wait = REFUSED_AGAIN.saturating_mul(1 << row.tries.min(16)).min(REFUSED_AGAIN_MAX);
        DocumentEnd::Again { due: self.inner.clock.now() + wait, is_refused: true }
    }

    async fn count_documents(&self, now: Millis) {
        // Without the count the gauges stay as they were; why is told where documents are read.
        let Ok(load) = self.inner.journal.outbox_load().await else { return };
        #[expect(clippy::cast_precision_loss, reason = "gauges")]
        let (n_waiting, age) = (load.n_waiting as f64, load.late_by(now) as f64 / SECOND as f64);
        gauge!(names::RECORDS_WAITING).set(n_waiting);
        gauge!(names::RECORDS_OLDEST_SECONDS).set(age);
    }
}

/// Where a message stands, as its document says.
fn said(record: &Record) -> Option<Standing> {
    match record {
        Record::Message(it) | Record::NewMessage(it) => Some(it.standing),
        Record::Standing(it) => Some(*it),
        Record::Escalation(_) | Record::EraseMessage | Record::EraseEscalation => None,
    }
}
