//! What is old is removed, a little at a time, while the clock can be believed.

use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::{
    domain::{
        clock::{HOUR, MINUTE, Millis},
        id::{ContactId, EntryId},
        retention::{ClockMark, ClockWatch, HOURS_KEPT},
    },
    journal::{JournalError, Ledger},
    telemetry::{Chain, names},
};

/// Between two looks.
const EVERY: Millis = MINUTE;
/// Between two looks at contacts and counts by the hour.
const DEEP_EVERY: Millis = 24 * HOUR;
/// Entries looked at in one transaction: some milliseconds for the writer.
const ENTRIES_AT_ONCE: usize = 100;
/// Contacts looked at in one reading, and forgotten in one transaction.
const CONTACTS_LOOKED_AT: usize = 1_000;
const CONTACTS_AT_ONCE: usize = 50;
/// After each transaction the writer is left alone for so many times as long as it took.
const REST: u32 = 4;
const REST_MIN: Duration = Duration::from_millis(5);

/// What is remembered between two looks.
#[derive(Default)]
pub struct Retention(Mutex<State>);

#[derive(Default)]
struct State {
    watch: Option<ClockWatch>,
    is_held: bool,
    /// What is left before this one is open or parked, or was when it was looked at.
    looked_at: Option<EntryId>,
    /// When contacts and counts were last looked at.
    deep_at: Option<Millis>,
}

impl Gateway {
    /// Removes what is old until `stop`.
    pub async fn tend_journal(&self, stop: CancellationToken) {
        let tend = async {
            self.look_first().await;
            loop {
                self.inner.clock.sleep_until(self.inner.clock.now() + EVERY).await;
                if let Err(error) = self.tidy_journal().await {
                    tracing::error!(error = %Chain(&error), "what is old could not be removed");
                }
            }
        };
        tokio::select! {
            () = tend => {}
            () = stop.cancelled() => {}
        }
    }

    /// The clock is looked at when the process starts, and nothing else is done: there is other work.
    async fn look_first(&self) {
        let mut state = self.inner.retention.0.lock().await;
        if let Err(error) = self.look_at_clock(&mut state).await {
            tracing::warn!(error = %Chain(&error), "what was seen of the clock could not be kept");
        }
    }

    /// Removes what is old now, unless the clock has jumped lately.
    ///
    /// # Errors
    ///
    /// Some of it is still there.
    pub async fn tidy_journal(&self) -> Result<(), JournalError> {
        let mut state = self.inner.retention.0.lock().await;
        let mark = self.look_at_clock(&mut state).await?;
        show(&self.inner.journal.ledger(None).await?);
        if mark.held_for > 0 {
            if !state.is_held {
                let (by, hours) = (mark.jump / 1_000, mark.held_for / HOUR);
                tracing::error!(
                    by_seconds = by,
                    "the clock has jumped, or the server was away for long: nothing old is removed for {hours} hours"
                );
            }
            state.is_held = true;
            return Ok(());
        }
        state.is_held = false;
        let now = self.inner.clock.now();
        let is_deep = state.deep_at.is_none_or(|it| now - it >= DEEP_EVERY);
        let after = state.looked_at.filter(|_| !is_deep).unwrap_or(EntryId(0));
        let before = EntryId::at(now - self.inner.settings.retention);
        state.looked_at = Some(self.remove_old_entries(after, before).await?);
        if is_deep {
            self.forget_old_jobs(now - self.inner.settings.retention).await?;
            self.forget_idle_contacts(now).await?;
            while self.inner.journal.forget_hours((now - HOURS_KEPT).div_euclid(HOUR)).await? {
                tokio::time::sleep(REST_MIN).await;
            }
            state.deep_at = Some(now);
        }
        Ok(())
    }

    /// What is remembered of the clock, for those who ask why nothing is removed.
    pub async fn clock_mark(&self) -> Result<Option<ClockMark>, JournalError> {
        self.inner.journal.clock_mark().await
    }

    async fn look_at_clock(&self, state: &mut State) -> Result<ClockMark, JournalError> {
        let journal = &self.inner.journal;
        let (now, steady) = (self.inner.clock.now(), self.inner.clock.steady());
        let watch = match &mut state.watch {
            Some(watch) => watch,
            None => {
                let (known, newest) = (journal.clock_mark().await?, journal.newest().await?);
                state.watch.insert(ClockWatch::start(known, newest, now, steady))
            }
        };
        let mark = watch.look(now, steady);
        journal.keep_clock_mark(mark).await?;
        Ok(mark)
    }

    /// How far it has got.
    async fn remove_old_entries(
        &self,
        mut after: EntryId,
        before: EntryId,
    ) -> Result<EntryId, JournalError> {
        let journal = &self.inner.journal;
        let mut n_removed = 0;
        while let Some(end) = journal.end_of_page(after, before, ENTRIES_AT_ONCE).await? {
            let started = Instant::now();
            let n = journal.remove_ended(after, end).await?;
            n_removed += n;
            counter!(names::REMOVED).increment(n as u64);
            after = end;
            if n > 0 {
                tokio::time::sleep((started.elapsed() * REST).max(REST_MIN)).await;
            }
        }
        if n_removed > 0 {
            tracing::info!(n_entries = n_removed, "old entries were removed");
        }
        Ok(after)
    }

    async fn forget_idle_contacts(&self, now: Millis) -> Result<(), JournalError> {
        let journal = &self.inner.journal;
        let mut after = Some(ContactId(0));
        while let Some(from) = after {
            let (idle, next) = journal.idle_contacts(from, CONTACTS_LOOKED_AT, now).await?;
            for some in idle.chunks(CONTACTS_AT_ONCE) {
                let started = Instant::now();
                journal.forget_contacts(some.to_vec(), now).await?;
                tokio::time::sleep((started.elapsed() * REST).max(REST_MIN)).await;
            }
            tokio::time::sleep(REST_MIN).await;
            after = next;
        }
        Ok(())
    }
}

fn show(it: &Ledger) {
    let events = [
        ("waiting", it.events_waiting),
        ("done", it.events_done),
        ("parked", it.events_parked),
        ("dead", it.events_dead),
    ];
    let sends = [
        ("waiting", it.intents_waiting),
        ("sent", it.intents_sent),
        ("unknown", it.intents_unknown),
        ("parked", it.intents_parked),
        ("dead", it.intents_dead),
    ];
    for (name, counts) in [(names::LEDGER_EVENTS, &events[..]), (names::LEDGER_SENDS, &sends[..])] {
        for (state, n) in counts {
            #[expect(clippy::cast_precision_loss, reason = "a gauge")]
            gauge!(name, "state" => *state).set(*n as f64);
        }
    }
}
