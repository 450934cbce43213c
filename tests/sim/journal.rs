//! The real journal, watched: every call may fail before its commit, be late, or be the last of its
//! process, before or after its commit. Here rules are also looked at, and broken on purpose.

use std::sync::Mutex;

use async_trait::async_trait;
use waba_gateway::{domain::route::Routes, journal::Ways};
use waba_gateway::{
    domain::{
        clock::Millis,
        contact::Address,
        delivery::Input,
        event::What,
        id::{ContactId, EntryId, InstanceId, VendorId},
        message::Content,
        schedule::Next,
    },
    journal::{
        Appended, Asked, Begun, Change, Changed, Idempotency, Journal, JournalError, Journey,
        Ledger, MessageEnd, NewEvents, NewIntent, Page, Pause, Rechecked, Recorded, SqliteJournal,
        Step, Stepped, Submitted, ToAnswer, ToFollow,
    },
    sqlite::SharedConnection,
};

use super::{
    faults,
    mutation::Mutation,
    twist,
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

impl Watched {
    pub fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn is_broken(&self, mutation: Mutation) -> bool {
        self.world().is_broken(mutation)
    }

    async fn before(&self) -> Result<(), JournalError> {
        Ok(faults::before(&self.world).await?)
    }

    pub async fn after(&self) {
        faults::after(&self.world).await;
    }

    /// A call that is nothing but passed on.
    pub async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, JournalError>> + Send,
    ) -> Result<T, JournalError> {
        faults::around(&self.world, call).await
    }

    /// From now on two contacts are one, and the scheduler is yet to be told.
    fn merging(&self, changes: &[Change]) {
        let mut world = self.world();
        for change in changes {
            if let Change::Merged { into, .. } = change {
                world.rules.merged.insert(*into, u64::MAX);
                world.rules.ever_merged.insert(*into);
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
                    twist::job(&world, job);
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
                *next = twist::longer(&world, *next);
            }
            told.push(change);
        }
        told
    }

    fn note_intents<'a>(&self, intents: impl IntoIterator<Item = &'a NewIntent>) {
        let mut world = self.world();
        for it in intents {
            for content in std::iter::once(&it.content).chain(&it.more) {
                let text = token(content.as_text());
                // Asked again under the same key it is the first that counts.
                world.rules.expires.entry(text.clone()).or_insert(it.expires);
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
        self.around(self.inner.asked_before(vendor, what)).await
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
        let mut message = self.inner.message(id, with_history).await?;
        if let Some(message) = &mut message {
            self.check_asked(id, message);
            self.twist_message(message);
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
        let mut begun = self.inner.begin(id, ways, now).await?;
        if let Begun::Go(to_send) = &mut begun {
            self.check_begun(id, to_send, now);
            self.twist_begun(to_send);
            if self.is_broken(Mutation::SendBeforeBegin) {
                self.inner.step(id, Step::of(Input::Unbegin { due: now }), now).await?;
                self.unwritten.lock().unwrap().push(id);
                self.world().rules.begun.remove(&token(to_send.content.as_text()));
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
        let next = twist::longer(&self.world(), stepped.next);
        Ok(Stepped { next, changes: self.told(stepped.changes), ..stepped })
    }

    async fn intent(&self, id: EntryId) -> Result<Option<ToFollow>, JournalError> {
        self.before().await?;
        let mut intent = self.inner.intent(id).await?;
        intent.iter_mut().for_each(|it| self.twist_followed(it));
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
        if self.is_broken(Mutation::NamesAreNotOne) {
            return Ok(Vec::new());
        }
        let changes = self.inner.learn(instance, contact, address).await?;
        self.merging(&changes);
        self.after().await;
        Ok(self.told(changes))
    }

    async fn waiting(&self, after: EntryId, limit: usize) -> Result<Vec<Change>, JournalError> {
        self.before().await?;
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
        self.after().await;
        Ok(self.told(changes))
    }

    async fn pause(&self, contact: ContactId, pause: Option<Pause>) -> Result<(), JournalError> {
        self.around(self.inner.pause(contact, pause)).await
    }

    async fn messages(
        &self,
        vendor: &VendorId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.around(self.inner.messages(vendor, before, limit)).await
    }

    async fn journey(
        &self,
        vendor: &VendorId,
        id: EntryId,
    ) -> Result<Option<Journey>, JournalError> {
        self.around(self.inner.journey(vendor, id)).await
    }

    async fn ledger(&self, vendor: Option<&VendorId>) -> Result<Ledger, JournalError> {
        self.around(self.inner.ledger(vendor)).await
    }

    async fn count(&self, vendor: Option<&VendorId>) -> Result<Ledger, JournalError> {
        self.around(self.inner.count(vendor)).await
    }

    fn text_key(&self, content: &Content) -> i64 {
        self.inner.text_key(content)
    }

    async fn ready(&self) -> Result<(), JournalError> {
        self.around(self.inner.ready()).await
    }

    async fn has_said(
        &self,
        contact: ContactId,
        text_key: i64,
        since: Millis,
    ) -> Result<bool, JournalError> {
        let had = self.around(self.inner.has_said(contact, text_key, since)).await?;
        Ok(had && !self.is_broken(Mutation::ApologizesAgain))
    }

    async fn in_flight(&self, instance: &InstanceId) -> Result<i64, JournalError> {
        self.around(self.inner.in_flight(instance)).await
    }

    async fn changed(&self, id: EntryId, change: Changed, now: Millis) -> Result<(), JournalError> {
        self.around(self.inner.changed(id, change, now)).await
    }
}
