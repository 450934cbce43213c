//! An intent is sent: begun durably, sent once, settled by what `domain/delivery.rs` says.

use std::sync::Arc;

use metrics::{counter, histogram};

use super::{Gateway, content, media::FileToSend, reply::WorkError};
use crate::{
    domain::{
        clock::{Millis, SECOND},
        delivery::{Delivery, Input, Outcome, Reason, Refusal, State},
        event::{Failure, Status},
        id::EntryId,
        route::{ProviderKind, ProviderSet, Routes},
        schedule::{Job, Kind, Next},
        waba::WabaInstance,
        window,
    },
    journal::{Begun, Step, Stepped, ToSend, Ways},
    provider::{Attempt, Found, Outgoing, Provider, Question, Quoted},
    sqlite::is_of_disk,
    telemetry::{Chain, names},
    vendor::VendorService,
};

/// Between two tries to record an outcome. Until it is recorded nobody else may touch the intent.
const RECORD_AGAIN: Millis = SECOND / 2;
/// While every way out is down it is looked again this often whether one is up.
const LOOK_AGAIN: Millis = 5 * SECOND;
/// Tries to record an outcome. After that it is lost, and the intent is fenced.
const RECORD_TRIES: u32 = 120;

impl Gateway {
    /// Sends one intent, if it may still be sent. Must not be dropped half-way: who stops the
    /// process waits for it. An error means that no byte has left.
    pub async fn deliver(&self, job: &Job) -> Result<Next, WorkError> {
        let Some((service, instance)) = self.sender(job).await? else {
            return self.end(job, Step::of(Input::Withdraw(Reason::Gone))).await;
        };
        let routes = instance.ways();
        if routes.is_empty() {
            let reason = no_way(&instance);
            tracing::warn!(vendor.id = %job.vendor, waba.id = %job.instance, why = reason.as_str(), "the number has nothing to send with; the message is parked");
            return self.end(job, Step::of(Input::Park(reason))).await;
        }
        let now = self.inner.clock.now();
        let ways = self.ways(&instance, routes, now);
        let Some(first) = routes.first_but(ways.down) else {
            // Nothing of it need be written: what is known may change at any time.
            let due = ways.up_at.min(now + LOOK_AGAIN);
            return Ok(Next::Again { kind: Kind::Send, due, hold: None });
        };
        let limit = service.provider(first).limit(&instance);
        if !self.inner.work.set_limit(job, limit) {
            // Its turn comes by this one.
            return Ok(Next::Again { kind: Kind::Send, due: now, hold: None });
        }
        let mut to_send = match self.inner.journal.begin(job.id, ways, now).await? {
            Begun::Go(to_send) => to_send,
            Begun::No(stepped) => return Ok(self.take(job, stepped).await),
        };
        // Before anything is uploaded.
        if let Some(refused) = self.mend_late(&service, &instance, &mut to_send) {
            return Ok(self.record_outcome(job, Step::of(Input::Outcome(refused))).await);
        }
        let provider = service.provider(to_send.via);
        let mut file = self.file_to_send(&instance, to_send.via, &to_send.content);
        if let FileToSend::Missing(id) = &file {
            // Given back meanwhile: should the process end, nothing has left.
            let next = self.give_back(job).await;
            if !matches!(next, Next::Again { kind: Kind::Send, .. }) {
                return Ok(next);
            }
            file = self.hand_over(provider, to_send.via, &job.vendor, &instance, id).await;
            // That way, now that the file is there.
            let ways = Ways { down: but(routes, to_send.via), ..ways };
            to_send = match self.inner.journal.begin(job.id, ways, self.inner.clock.now()).await? {
                Begun::Go(to_send) => to_send,
                Begun::No(stepped) => return Ok(self.take(job, stepped).await),
            };
        }
        let via = to_send.via;
        if let Err(due) = self.may_go(&service, &instance, first, &to_send) {
            return Ok(self.record_outcome(job, Step::of(Input::Unbegin { due })).await);
        }
        if let Some(refused) = self.mend_late(&service, &instance, &mut to_send) {
            return Ok(self.record_outcome(job, Step::of(Input::Outcome(refused))).await);
        }
        let Some(permit) = self.permit(&instance.id, via, routes) else {
            // Somebody else finds out whether it is up again.
            return Ok(self.give_back(job).await);
        };
        let attempt = self.attempt(provider, &instance, job.id, &to_send, file).await;
        self.tell_attempt(&instance, via, permit, &attempt);
        if attempt.outcome == Outcome::Sent {
            self.note_taken(&instance, via);
        }
        Ok(self.conclude(job, via, attempt, routes).await)
    }

    /// Nothing of it has left, and it may begin again at once.
    async fn give_back(&self, job: &Job) -> Next {
        let due = self.inner.clock.now();
        self.record_outcome(job, Step::of(Input::Unbegin { due })).await
    }

    /// Records what an attempt came to.
    async fn conclude(
        &self,
        job: &Job,
        via: ProviderKind,
        attempt: Attempt,
        routes: Routes,
    ) -> Next {
        let Attempt { outcome, provider_id, ticket, blocked_until, .. } = attempt;
        let routes_now = match outcome {
            Outcome::Refused(_) => self.routes_now(job).await,
            Outcome::Sent | Outcome::Unknown => None,
        };
        let input = Input::Outcome(outcome);
        let step = Step { input, provider_id, ticket, routes: routes_now };
        let next = self.record_outcome(job, step).await;
        if let Some(until) = blocked_until {
            self.slow_down(&job.instance, via, until, (routes, next));
        }
        next
    }

    /// The ways that what was refused may go: the vendor may have changed them meanwhile.
    async fn routes_now(&self, job: &Job) -> Option<Routes> {
        let (_, instance) = self.sender(job).await.ok()??;
        let routes = instance.ways();
        (!routes.is_empty()).then_some(routes)
    }

    /// The pace of the way that it goes, and of its customer there.
    fn may_go(
        &self,
        service: &VendorService,
        instance: &WabaInstance,
        first: ProviderKind,
        to_send: &ToSend,
    ) -> Result<(), Millis> {
        let via = to_send.via;
        if instance.routes().iter().nth(1).is_some() {
            let limit = service.provider(via).limit(instance);
            self.way_turn(&instance.id, [first, via], limit)?;
        }
        to_send.contact.map_or(Ok(()), |it| self.pair_turn(&instance.id, it, via))
    }

    /// What comes too late for free text leaves as the vendor's template; without one it is refused
    /// before any call, which is answered.
    fn mend_late(
        &self,
        service: &VendorService,
        instance: &WabaInstance,
        to_send: &mut ToSend,
    ) -> Option<Outcome> {
        let via = to_send.via;
        if window::may_send(&to_send.content, via, to_send.wrote_at, self.inner.clock.now()) {
            return None;
        }
        match content::in_template(service.vendor(), &to_send.content, via) {
            Some(content) => {
                to_send.content = content;
                counter!(names::SENDS, "provider" => via.as_str(), "outcome" => "as_template")
                    .increment(1);
                None
            }
            // Through another number that has no window it would be sent all the same, where the
            // vendor's own choice is a provider that has one. Who wrote to that number is answered.
            None if via == instance.provider && !to_send.wrote_elsewhere => {
                Some(Outcome::Refused(Refusal::Park(Reason::WindowClosed)))
            }
            None => Some(Outcome::Refused(Refusal::FailOver(Reason::WindowClosed))),
        }
    }

    async fn attempt(
        &self,
        provider: &dyn Provider,
        instance: &WabaInstance,
        id: EntryId,
        to_send: &ToSend,
        file: FileToSend,
    ) -> Attempt {
        let started_at = self.inner.clock.now();
        let quotes = to_send.quotes.as_ref();
        let quotes = quotes.map(|it| Quoted { id: it.id.as_deref(), ticket: it.ticket.as_deref() });
        let (to, content) = (&to_send.to, &to_send.content);
        let message = |file| Outgoing { id, to, content, quotes, file };
        let attempt = match file {
            FileToSend::Attached(file) => provider.send_with(instance, &message(None), file).await,
            FileToSend::At(url) => provider.send(instance, &message(Some(&url))).await,
            FileToSend::None | FileToSend::Missing(_) => {
                provider.send(instance, &message(None)).await
            }
            FileToSend::Refused(attempt) => return attempt,
        };
        let now = self.inner.clock.now();
        counter!(names::SENDS, "provider" => to_send.via.as_str(), "outcome" => attempt.word)
            .increment(1);
        histogram!(names::SEND_SECONDS).record(seconds(now - started_at));
        match attempt.outcome {
            Outcome::Sent => {
                if let Some(origin) = to_send.origin.filter(|_| to_send.attempt == 1) {
                    histogram!(names::REPLY_SECONDS).record(seconds(now - origin.ms()));
                }
            }
            Outcome::Refused(_) | Outcome::Unknown => {
                tracing::warn!(vendor.id = %to_send.vendor, waba.id = %to_send.instance, provider = to_send.via.as_str(), attempt = to_send.attempt, outcome = attempt.word, "a message was not sent");
            }
        }
        attempt
    }

    /// Asks about an intent whose end is not known, or lets its time run out.
    pub async fn follow(&self, job: &Job) -> Result<Next, WorkError> {
        let intent = match self.inner.journal.intent(job.id).await {
            // Nobody could be asked about it, however often that is tried.
            Err(error) if error.is_unreadable() => {
                tracing::error!(error = %Chain(&error), "a message that was sent cannot be read; what became of it is not asked");
                return Ok(Next::Gone);
            }
            intent => intent?,
        };
        let Some(intent) = intent else { return Ok(Next::Gone) };
        if intent.delivery.state == State::Begun {
            // Nobody has it in hand any more, or it would not be followed up.
            return self.end(job, Step::of(Input::Crashed)).await;
        }
        match intent.next {
            Next::Again { kind: Kind::Follow, due, .. } if due <= self.inner.clock.now() => {}
            next => return Ok(next),
        }
        self.inner.journal.can_keep().await?;
        let before = intent.delivery.clone();
        let sender = self.sender(job).await?;
        // Before there were others, all went there.
        let via = before.via.unwrap_or(ProviderKind::Wasender);
        let found = match (sender, intent.begun_at) {
            (Some((service, instance)), Some(begun_at)) => {
                let (to, ticket) = (&intent.to, intent.ticket.as_deref());
                let question = Question { to, content: &intent.content, begun_at, ticket };
                Some(service.provider(via).ask(&instance, &question).await)
            }
            _ => None,
        };
        let Some(found) = found.filter(|it| it.status.is_some() || it.ticket.is_some()) else {
            return self.end(job, Step::of(Input::NoAnswer)).await;
        };
        let input = match found.status {
            Some(Status::Failed) => {
                let late = found.failure.as_ref().map(Failure::late).unwrap_or_default();
                Input::HeardFailed { by: Some(via), late }
            }
            status => status.map_or(Input::Tick, Input::Heard),
        };
        let Found { provider_id, ticket, .. } = found;
        let step = Step { input, provider_id, ticket, routes: None };
        let stepped = self.inner.journal.step(job.id, step, self.inner.clock.now()).await?;
        if is_where_it_was(&before, stepped.delivery.as_ref()) {
            self.take(job, stepped).await;
            return self.end(job, Step::of(Input::NoAnswer)).await;
        }
        Ok(self.take(job, stepped).await)
    }

    /// The service and instance an intent is sent by.
    async fn sender(
        &self,
        job: &Job,
    ) -> Result<Option<(Arc<VendorService>, Arc<WabaInstance>)>, WorkError> {
        let Some(service) = self.inner.registry.get(&job.vendor).await? else { return Ok(None) };
        let instance = service.instance(&job.instance).cloned();
        Ok(instance.map(|it| (service, it)))
    }

    /// It has begun: what came of that must be recorded, however long it takes. A full disk is
    /// waited for; nobody else could record it either.
    async fn record_outcome(&self, job: &Job, step: Step) -> Next {
        let mut n_tries = 0;
        while n_tries < RECORD_TRIES {
            let now = self.inner.clock.now();
            match self.inner.journal.step(job.id, step.clone(), now).await {
                Ok(stepped) => return self.take(job, stepped).await,
                Err(error) => {
                    if !is_of_disk(&error) {
                        n_tries += 1;
                        tracing::error!(message.id = %job.id, error = %Chain(&error), "an outcome could not be recorded; trying again");
                    }
                    self.inner.clock.sleep_until(now + RECORD_AGAIN).await;
                }
            }
        }
        // It is begun and stays so; who follows it up takes the outcome for unknown.
        Next::Again { kind: Kind::Follow, due: self.inner.clock.now(), hold: None }
    }

    async fn end(&self, job: &Job, step: Step) -> Result<Next, WorkError> {
        let stepped = self.inner.journal.step(job.id, step, self.inner.clock.now()).await?;
        Ok(self.take(job, stepped).await)
    }

    async fn take(&self, job: &Job, stepped: Stepped) -> Next {
        self.note_failure(job, stepped.delivery.as_ref()).await;
        if stepped.delivery.is_some_and(|it| it.state == State::Unknown) {
            counter!(names::UNKNOWN).increment(1);
            tracing::error!("a message was given up without knowing whether it arrived");
        }
        self.inner.work.apply(stepped.changes);
        stepped.next
    }
}

/// Why a number that has nothing to send with cannot.
fn no_way(instance: &WabaInstance) -> Reason {
    match instance.provider {
        ProviderKind::Wasender => Reason::NoSessionKey,
        _ => Reason::NoCredentials,
    }
}

/// All of these but one.
fn but(routes: Routes, one: ProviderKind) -> ProviderSet {
    routes.iter().filter(|it| *it != one).fold(ProviderSet::NONE, ProviderSet::with)
}

fn is_where_it_was(before: &Delivery, after: Option<&Delivery>) -> bool {
    after.is_some_and(|it| it.state == before.state && it.asked == before.asked)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds fit many times over")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / SECOND as f64
}
