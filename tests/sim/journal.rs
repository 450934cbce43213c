//! The real journal, watched: every call may fail before its commit, be late, or be the last of its
//! process, before or after its commit. Here rules are also looked at, and broken on purpose.

use std::{future::pending, sync::Mutex};

use async_trait::async_trait;
use waba_gateway::{domain::route::Routes, journal::Ways};
use waba_gateway::{
    domain::{
        clock::Millis,
        contact::Address,
        delivery::{Input, Outcome, Refusal},
        event::What,
        id::{ContactId, EntryId, InstanceId, VendorId},
        message::Content,
        schedule::{Job, Kind, Next},
    },
    journal::{
        Appended, Asked, Begun, Change, Changed, Idempotency, Journal, JournalError, Journey,
        Ledger, MessageEnd, NewEvents, NewIntent, Page, Pause, Rechecked, Recorded, SqliteJournal,
        Step, Stepped, Submitted, ToAnswer, ToFollow,
    },
    sqlite::{DbError, SharedConnection},
};

use super::{
    mutation::Mutation,
    world::{Shared, World, token},
};

/// What the simulation puts in the journal's place.
pub struct Watched {
    pub inner: SqliteJournal,
    pub world: Shared,
    pub connection: SharedConnection,
    /// Attempts that are written down only after the request, in a broken world.
    pub unwritten: Mutex<Vec<EntryId>>,
}

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

impl Watched {
    pub fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn is_broken(&self, mutation: Mutation) -> bool {
        self.world().is_broken(mutation)
    }

    /// Before a call: it may be refused, or never be made.
    async fn before(&self) -> Result<(), JournalError> {
        let (fails, crashes, waits, turns) = {
            let mut world = self.world();
            let (fails, crashes) = (world.fault(25), world.fault(4));
            let waits = if world.fault(25) { world.rng.between(1, 2_500) } else { 0 };
            if fails || crashes || waits > 0 {
                let now = world.now();
                world.rules.disturbed(now);
            }
            (fails, crashes, waits, world.rng.chance(150))
        };
        self.pass(crashes, waits, turns).await;
        if fails { Err(JournalError::from(DbError::Busy)) } else { Ok(()) }
    }

    /// After it: it is committed, and whoever asked may never hear of it.
    async fn after(&self) {
        let (crashes, waits, turns) = {
            let mut world = self.world();
            let crashes = world.fault(4);
            let waits = if world.fault(25) { world.rng.between(1, 2_500) } else { 0 };
            if crashes || waits > 0 {
                let now = world.now();
                world.rules.disturbed(now);
            }
            (crashes, waits, world.rng.chance(150))
        };
        self.pass(crashes, waits, turns).await;
    }

    async fn pass(&self, crashes: bool, waits: Millis, turns: bool) {
        if crashes {
            self.world().crash = true;
            pending::<()>().await;
        }
        if waits > 0 {
            let clock = self.world().clock.clone();
            clock.sleep_until(clock.now() + waits).await;
        } else if turns {
            turn().await;
        }
    }

    /// From now on two contacts are one, and the scheduler is yet to be told.
    fn merging(&self, changes: &[Change]) {
        let mut world = self.world();
        for change in changes {
            if let Change::Merged { into, .. } = change {
                world.rules.merged.insert(*into, u64::MAX);
            }
        }
    }

    /// What the scheduler is told.
    fn told(&self, changes: Vec<Change>) -> Vec<Change> {
        let mut world = self.world();
        let tick = world.tick;
        let mut told = Vec::new();
        for mut change in changes {
            match &mut change {
                Change::New(job) | Change::Decided(job, _) => {
                    world.rules.told.entry(job.id).or_insert(tick);
                    twist(&world, job);
                }
                Change::Placed { .. } => {}
                Change::Merged { into, .. } => {
                    world.rules.merged.insert(*into, tick);
                    if world.is_broken(Mutation::MergeLeavesALane) {
                        continue;
                    }
                }
            }
            if let Change::Decided(_, next) = &mut change {
                *next = longer(&world, *next);
            }
            told.push(change);
        }
        told
    }

    pub fn sql(&self, sql: &str, id: i64) {
        let connection = self.connection.lock().unwrap();
        connection.prepare_cached(sql).unwrap().execute([id]).unwrap();
    }

    /// The events as a broken world has them.
    fn twist_events(&self, batch: &mut NewEvents) {
        if self.is_broken(Mutation::NoDedupe) {
            for it in &mut batch.events {
                if let (What::Message(_), Some(id)) = (&it.event.what, &mut it.event.provider_id) {
                    let n = self.world().n_events;
                    id.push_str(&n.to_string());
                }
            }
        }
        if self.is_broken(Mutation::FenceBlocksSignals) && self.has_fence(&batch.instance) {
            for it in &mut batch.events {
                match &mut it.event.what {
                    What::Status { target, .. } => "nobody".clone_into(target),
                    What::Echo(Content::Text { text }) if !text.0.starts_with("human") => {
                        let (target, text) = ("nobody".to_owned(), text.clone());
                        it.event.what = What::Edit { target, text };
                    }
                    _ => {}
                }
            }
        }
    }

    fn has_fence(&self, instance: &InstanceId) -> bool {
        let connection = self.connection.lock().unwrap();
        let sql = "SELECT 1 FROM entries WHERE kind = 2 AND is_open = 1 AND instance = ?1
            AND life LIKE '%\"fenced\"%'";
        connection.prepare_cached(sql).unwrap().exists([instance.as_str()]).unwrap()
    }

    /// What a broken world does after events were kept.
    fn twist_kept(&self, statuses: &[i64], appended: &Appended) {
        if self.is_broken(Mutation::EarlySignalIsDropped) {
            self.sql("UPDATE entries SET pid = NULL WHERE kind = 1 AND is_open = 1 AND id > ?1", 0);
        }
        if self.is_broken(Mutation::StatusMovesBack) {
            for (status, change) in statuses.iter().zip(&appended.changes) {
                if let Change::Decided(job, _) = change {
                    let sql = format!("UPDATE entries SET status = {status} WHERE id = ?1");
                    self.sql(&sql, job.id.0);
                }
            }
        }
    }

    /// A write that is not counted.
    fn forget_counts(&self) {
        if self.is_broken(Mutation::LedgerForgets) {
            let sql = "DELETE FROM ledger_log WHERE ?1 = 0
                AND seq = (SELECT max(seq) FROM ledger_log)";
            self.sql(sql, 0);
        }
        if self.is_broken(Mutation::HoursForget) {
            let sql = "UPDATE ledger_log SET deltas =
                    json_remove(deltas, '$.vendor_0.hours', '$.vendor_1.hours')
                WHERE ?1 = 0 AND seq = (SELECT max(seq) FROM ledger_log)";
            self.sql(sql, 0);
        }
    }

    fn twist_outcome(&self, id: EntryId, step: &mut Step, now: Millis) {
        if step.input == Input::Outcome(Outcome::Unknown)
            && self.is_broken(Mutation::UnknownIsRepeated)
        {
            step.input = Input::Outcome(Outcome::Refused(Refusal::Retry { not_before: None }));
        }
        if let Input::Outcome(Outcome::Refused(Refusal::Retry { not_before })) = &mut step.input
            && self.is_broken(Mutation::RetryAfterIsIgnored)
        {
            *not_before = not_before.map(|_| now);
        }
        if matches!(step.input, Input::Outcome(_)) && self.is_broken(Mutation::OutcomeOverStatus) {
            let sql =
                "UPDATE entries SET life = json_remove(life, '$.delivery.status') WHERE id = ?1";
            self.sql(sql, id.0);
        }
    }

    fn twist_before_begin(&self, id: EntryId) {
        if self.is_broken(Mutation::SilenceNotChecked) {
            let sql = "UPDATE contacts SET paused_until = NULL
                WHERE id = (SELECT contact FROM entries WHERE id = ?1)";
            self.sql(sql, id.0);
        }
        if self.is_broken(Mutation::ExpiredIsSent) {
            let sql = "UPDATE entries SET
                    life = json_set(life, '$.delivery.expires', 9000000000000) WHERE id = ?1";
            self.sql(sql, id.0);
        }
    }

    /// The answers as a broken world keeps them.
    async fn twist_end(&self, end: &mut MessageEnd) -> Result<Vec<Change>, JournalError> {
        if self.is_broken(Mutation::PartsAtOnce) {
            end.intents = end.intents.iter().flat_map(apart).collect();
        }
        let mut changes = Vec::new();
        let is_twice = self.is_broken(Mutation::SettledTwice);
        if is_twice || self.is_broken(Mutation::AnswersBeforeTheEnd) {
            for intent in end.intents.clone() {
                if let Submitted::New(_, more) = self.inner.submit(intent).await? {
                    changes.extend(more);
                }
            }
            if !is_twice {
                end.intents.clear();
                self.after().await;
            }
        }
        Ok(changes)
    }

    fn note_intents<'a>(&self, intents: impl IntoIterator<Item = &'a NewIntent>) {
        let mut world = self.world();
        for it in intents {
            for content in std::iter::once(&it.content).chain(&it.more) {
                let text = token(content.as_text());
                world.rules.expires.insert(text.clone(), it.expires);
                if it.is_automatic {
                    world.rules.decided_at.insert(text, it.now);
                }
            }
        }
    }

    /// A human was seen to have taken over.
    fn note_human(&self, person: usize, now: Millis, silence: Millis) {
        self.world().rules.silenced.insert(person, (now, now + silence));
    }

    fn note_humans(&self, batch: &[Option<usize>], silence: Millis, now: Millis, it: &Appended) {
        for (human, recorded) in batch.iter().zip(&it.entries) {
            let (Some(human), Recorded::New(id)) = (*human, recorded) else { continue };
            let person = self.world().humans[human].person;
            self.world().rules.humans.insert(*id, human);
            if it.n_humans > 0 {
                self.note_human(person, now, silence);
            }
        }
    }
}

fn twist(world: &World, job: &mut Job) {
    if world.is_broken(Mutation::NoLanes) {
        job.contact = job.contact.map(|_| ContactId(job.id.0));
    }
    if world.is_broken(Mutation::WrongNumber) && job.kind == Kind::Send {
        let other = world.vendors.iter().find(|it| it.id != job.vendor);
        if let Some(other) = other {
            (job.vendor, job.instance) = (other.id.clone(), other.instance.clone());
        }
    }
}

fn longer(world: &World, next: Next) -> Next {
    match next {
        Next::Again { kind, due, hold: Some(hold) }
            if world.is_broken(Mutation::FenceHoldsLonger) =>
        {
            Next::Again { kind, due, hold: Some(hold + 600_000) }
        }
        other => other,
    }
}

/// Each part on its own.
fn apart(intent: &NewIntent) -> Vec<NewIntent> {
    let contents: Vec<Content> =
        std::iter::once(intent.content.clone()).chain(intent.more.clone()).collect();
    let alone = |content| NewIntent { content, more: Vec::new(), ..intent.clone() };
    contents.into_iter().map(alone).collect()
}

fn human_of(what: &What) -> Option<usize> {
    let What::Echo(content) = what else { return None };
    content.as_text().strip_prefix("human ")?.parse().ok()
}

#[async_trait]
impl Journal for Watched {
    async fn append(&self, mut batch: NewEvents) -> Result<Appended, JournalError> {
        self.before().await?;
        self.twist_events(&mut batch);
        let (silence, now) = (batch.silence, batch.now);
        let humans: Vec<_> = batch.events.iter().map(|it| human_of(&it.event.what)).collect();
        let statuses: Vec<i64> = batch
            .events
            .iter()
            .filter_map(|it| match it.event.what {
                What::Status { status, .. } => Some(status.code()),
                _ => None,
            })
            .collect();
        let mut appended = self.inner.append(batch).await?;
        self.twist_kept(&statuses, &appended);
        self.note_humans(&humans, silence, now, &appended);
        self.merging(&appended.changes);
        if !statuses.is_empty() {
            self.check_statuses();
        }
        self.after().await;
        appended.changes = self.told(appended.changes);
        Ok(appended)
    }

    async fn asked_before(
        &self,
        vendor: &VendorId,
        what: &Idempotency,
    ) -> Result<Option<Asked>, JournalError> {
        self.inner.asked_before(vendor, what).await
    }

    async fn submit(&self, mut intent: NewIntent) -> Result<Submitted, JournalError> {
        self.before().await?;
        if self.is_broken(Mutation::NoIdempotency) {
            intent.idempotency = None;
        }
        self.note_intents([&intent]);
        let submitted = self.inner.submit(intent).await?;
        if let Submitted::New(_, changes) = &submitted {
            self.merging(changes);
        }
        self.after().await;
        Ok(match submitted {
            Submitted::New(id, changes) => Submitted::New(id, self.told(changes)),
            Submitted::Same(id, changes) => Submitted::Same(id, self.told(changes)),
            Submitted::Conflict => Submitted::Conflict,
        })
    }

    async fn message(
        &self,
        id: EntryId,
        with_history: bool,
    ) -> Result<Option<ToAnswer>, JournalError> {
        self.before().await?;
        let message = self.inner.message(id, with_history).await?;
        if let Some(message) = &message {
            self.check_asked(id, message);
        }
        self.after().await;
        Ok(message)
    }

    async fn settle(&self, id: EntryId, mut end: MessageEnd) -> Result<Vec<Change>, JournalError> {
        self.before().await?;
        self.note_intents(&end.intents);
        let mut changes = self.twist_end(&mut end).await?;
        changes.extend(self.inner.settle(id, end).await?);
        self.after().await;
        Ok(self.told(changes))
    }

    async fn begin(&self, id: EntryId, ways: Ways, now: Millis) -> Result<Begun, JournalError> {
        self.before().await?;
        self.twist_before_begin(id);
        let begun = self.inner.begin(id, ways, now).await?;
        if let Begun::Go(to_send) = &begun {
            self.check_begun(id, to_send, now);
            if self.is_broken(Mutation::SendBeforeBegin) {
                self.inner.step(id, Step::of(Input::Unbegin { due: now }), now).await?;
                self.unwritten.lock().unwrap().push(id);
            }
        }
        self.after().await;
        Ok(match begun {
            Begun::Go(to_send) => Begun::Go(to_send),
            Begun::No(stepped) => {
                Begun::No(Stepped { changes: self.told(stepped.changes), ..stepped })
            }
        })
    }

    async fn step(
        &self,
        id: EntryId,
        mut step: Step,
        now: Millis,
    ) -> Result<Stepped, JournalError> {
        self.before().await?;
        let is_unwritten = self.unwritten.lock().unwrap().contains(&id);
        if is_unwritten && matches!(step.input, Input::Outcome(_)) {
            self.unwritten.lock().unwrap().retain(|it| *it != id);
            self.inner.begin(id, Ways::of(Routes::WASENDER), now).await?;
        }
        self.twist_outcome(id, &mut step, now);
        let is_outcome = matches!(step.input, Input::Outcome(_));
        if is_outcome && self.is_broken(Mutation::OutcomeIsLost) {
            return Ok(Stepped { next: Next::Gone, delivery: None, changes: Vec::new() });
        }
        let stepped = self.inner.step(id, step, now).await?;
        if is_outcome {
            self.world().rules.in_flight.remove(&id);
            self.forget_counts();
            self.check_statuses();
        }
        self.after().await;
        let next = longer(&self.world(), stepped.next);
        Ok(Stepped { next, changes: self.told(stepped.changes), ..stepped })
    }

    async fn intent(&self, id: EntryId) -> Result<Option<ToFollow>, JournalError> {
        self.before().await?;
        let intent = self.inner.intent(id).await?;
        self.after().await;
        Ok(intent)
    }

    async fn recheck(&self, id: EntryId, now: Millis) -> Result<Rechecked, JournalError> {
        self.before().await?;
        let rechecked = self.inner.recheck(id, now).await?;
        let human = self.world().rules.humans.get(&id).copied();
        if let (true, Some(human)) = (rechecked.is_human, human) {
            let (person, silence) = {
                let world = self.world();
                let it = world.humans[human];
                (it.person, world.vendors[it.vendor].silence)
            };
            self.note_human(person, now, silence);
        }
        self.after().await;
        Ok(Rechecked { changes: self.told(rechecked.changes), ..rechecked })
    }

    async fn learn(
        &self,
        instance: &InstanceId,
        contact: ContactId,
        address: Address,
    ) -> Result<Vec<Change>, JournalError> {
        self.before().await?;
        let changes = self.inner.learn(instance, contact, address).await?;
        self.merging(&changes);
        self.after().await;
        Ok(self.told(changes))
    }

    async fn waiting(&self, after: EntryId, limit: usize) -> Result<Vec<Change>, JournalError> {
        if after == EntryId(0) && self.is_broken(Mutation::CutOffWaitsAgain) {
            let cut_off: Vec<EntryId> = self.world().rules.in_flight.iter().copied().collect();
            for id in cut_off {
                let now = self.world().now();
                self.inner.step(id, Step::of(Input::Unbegin { due: now }), now).await?;
            }
        }
        let mut changes = self.inner.waiting(after, limit).await?;
        self.world().rules.in_flight.clear();
        if !changes.is_empty() && self.is_broken(Mutation::LostAtRestart) {
            changes.remove(0);
        }
        Ok(self.told(changes))
    }

    async fn pause(&self, contact: ContactId, pause: Option<Pause>) -> Result<(), JournalError> {
        self.inner.pause(contact, pause).await
    }

    async fn messages(
        &self,
        vendor: &VendorId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.inner.messages(vendor, before, limit).await
    }

    async fn journey(
        &self,
        vendor: &VendorId,
        id: EntryId,
    ) -> Result<Option<Journey>, JournalError> {
        self.inner.journey(vendor, id).await
    }

    async fn ledger(&self, vendor: Option<&VendorId>) -> Result<Ledger, JournalError> {
        self.inner.ledger(vendor).await
    }

    async fn count(&self, vendor: Option<&VendorId>) -> Result<Ledger, JournalError> {
        self.inner.count(vendor).await
    }

    fn text_key(&self, content: &Content) -> i64 {
        self.inner.text_key(content)
    }

    async fn ready(&self) -> Result<(), JournalError> {
        self.inner.ready().await
    }

    async fn has_said(
        &self,
        contact: ContactId,
        text_key: i64,
        since: Millis,
    ) -> Result<bool, JournalError> {
        self.before().await?;
        self.inner.has_said(contact, text_key, since).await
    }

    async fn in_flight(&self, instance: &InstanceId) -> Result<i64, JournalError> {
        self.inner.in_flight(instance).await
    }

    async fn changed(&self, id: EntryId, change: Changed, now: Millis) -> Result<(), JournalError> {
        self.inner.changed(id, change, now).await
    }
}
