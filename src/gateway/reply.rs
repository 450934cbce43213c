//! A message is answered: the responders are asked in order, and what they decide becomes intents,
//! in the transaction that ends the message.

use std::sync::Arc;

use metrics::counter;

use super::{Gateway, messages::parts};
use crate::{
    domain::{
        answer::{self, LoopGuard, Unanswered},
        clock::{HOUR, Millis, SECOND},
        contact::Address,
        delivery::Reason,
        id::EntryId,
        message::Content,
        route::ProviderKind,
        schedule::{Job, Kind, Next},
        vendor::{REPLY_TTL, SILENCE},
    },
    journal::{Change, JournalError, MessageEnd, NewIntent, Pause, ToAnswer},
    provider::NoAnswer,
    responder::{Answer, Reply},
    store::StoreError,
    telemetry::names,
    vendor::VendorService,
};

/// When a number is asked for again that the provider could not be asked for.
const ADDRESS_AGAIN: Millis = 10 * SECOND;
/// One apology per conversation in this time.
const APOLOGY_EVERY: Millis = HOUR;

/// A message could not be worked on now.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The journal is away.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The provider is away, and only it knows the customer's number.
    #[error(transparent)]
    Provider(#[from] NoAnswer),
}

impl Gateway {
    /// Answers one message. Dropping it at any point loses nothing: the message is asked about
    /// again.
    pub async fn reply(&self, job: &Job) -> Result<Next, WorkError> {
        let service = self.inner.registry.get(&job.vendor).await?;
        let with_history = service.as_ref().is_some_and(|it| it.needs_history());
        let at_the_journal = self.inner.answering.acquire().await;
        let Some(message) = self.inner.journal.message(job.id, with_history).await? else {
            return Ok(Next::Gone);
        };
        drop(at_the_journal);
        // A responder that was asked is not asked again for want of room.
        self.inner.journal.can_keep().await?;
        let end = match service {
            Some(service) => match self.decide(&service, job.id, message).await {
                Err(WorkError::Provider(_)) => {
                    let due = self.inner.clock.now() + ADDRESS_AGAIN;
                    return Ok(Next::Again { kind: Kind::Message, due, hold: None });
                }
                decided => decided?,
            },
            None => self.unanswered(Unanswered::VendorInactive),
        };
        if let Some(why) = end.unanswered {
            tracing::debug!(why = why.as_str(), "not answered");
        }
        let at_the_journal = self.inner.answering.acquire().await;
        let changes = self.inner.journal.settle(job.id, end).await?;
        drop(at_the_journal);
        self.inner.work.apply(changes);
        Ok(Next::Gone)
    }

    fn unanswered(&self, why: Unanswered) -> MessageEnd {
        let now = self.inner.clock.now();
        MessageEnd { intents: Vec::new(), unanswered: Some(why), pause: None, intent: None, now }
    }

    async fn decide(
        &self,
        service: &Arc<VendorService>,
        id: EntryId,
        mut message: ToAnswer,
    ) -> Result<MessageEnd, WorkError> {
        let vendor = service.vendor();
        let now = self.inner.clock.now();
        let max_age = self.inner.settings.max_answer_age;
        match answer::may_answer(vendor, &message.event, now, max_age) {
            // A person wants it answered although it is old.
            Err(Unanswered::Stale) if message.is_replayed => {}
            Err(why) => return Ok(self.unanswered(why)),
            Ok(()) => {}
        }
        if message.paused_until.is_some_and(|it| it > now) {
            return Ok(self.unanswered(Unanswered::Paused));
        }
        // Before the responder is asked: it need not answer what cannot be delivered yet.
        let to = self.reply_address(service, &mut message).await?;
        self.show_attention(service, id, &message, &to);
        let question = self.question(service, id, &message, &to);
        let reply = match self.ask(service, &question).await {
            Some(Answer::Reply(reply)) => reply,
            Some(Answer::Silence | Answer::Pass) => {
                return Ok(self.unanswered(Unanswered::Silence));
            }
            None => match self.apology(service, &message).await? {
                Some(reply) => reply,
                None => return Ok(self.unanswered(Unanswered::ResponderFailed)),
            },
        };
        Ok(self.answer(service, id, &message, &to, reply))
    }

    fn answer(
        &self,
        service: &VendorService,
        id: EntryId,
        message: &ToAnswer,
        to: &Address,
        reply: Reply,
    ) -> MessageEnd {
        let now = self.inner.clock.now();
        let vendor = service.vendor();
        let key = self.guard_key(service, message, &reply);
        let guard = answer::loop_guard(&message.answers, key, now);
        // Whose bot does not go quiet after a human still wants one here.
        let silence = if vendor.silence > 0 { vendor.silence } else { SILENCE };
        let pause = |reason| Some(Pause { at: now, until: now + silence, reason });
        if guard != LoopGuard::Fine {
            counter!(names::LOOPS).increment(1);
            tracing::error!(vendor.id = %vendor.id, message.id = %id, "two bots seem to be talking; the conversation is paused");
        }
        let intent = reply.intent.clone();
        if guard == LoopGuard::Stop {
            return MessageEnd {
                pause: pause("loop"),
                intent,
                ..self.unanswered(Unanswered::Loop)
            };
        }
        let pause = match (reply.requires_human, guard) {
            (true, _) => pause("requires_human"),
            (false, LoopGuard::Last) => pause("loop"),
            (false, _) => None,
        };
        if reply.contents.is_empty() {
            return MessageEnd { pause, intent, ..self.unanswered(Unanswered::Silence) };
        }
        let welcome = vendor.welcome_message.clone().filter(|_| message.is_new);
        let groups = welcome.map(|it| vec![Content::text(it)]).into_iter().chain([reply.contents]);
        let intents = groups.filter_map(|it| self.intent(service, id, message, to, it)).collect();
        MessageEnd { intents, unanswered: None, pause, intent, now }
    }

    /// What equal answers share: the text that comes last, where there is one.
    fn guard_key(&self, service: &VendorService, message: &ToAnswer, reply: &Reply) -> Option<i64> {
        let last = reply.contents.last()?.clone();
        let (first, more) = parts(service, &message.instance, last, false);
        let last = more.into_iter().next_back().unwrap_or(first);
        let has_text = !last.as_text().trim().is_empty();
        has_text.then(|| self.inner.journal.text_key(&last))
    }

    /// The decision to send these, as one group.
    fn intent(
        &self,
        service: &VendorService,
        id: EntryId,
        message: &ToAnswer,
        to: &Address,
        contents: Vec<Content>,
    ) -> Option<NewIntent> {
        let now = self.inner.clock.now();
        let parts = |it| {
            let (first, more) = parts(service, &message.instance, it, false);
            std::iter::once(first).chain(more)
        };
        let mut contents = contents.into_iter().flat_map(parts);
        let instance = service.instance(&message.instance);
        let routes = instance.map(|it| it.routes()).unwrap_or_default();
        Some(NewIntent {
            vendor: message.vendor.clone(),
            instance: message.instance.clone(),
            contact: Some(message.contact),
            to: to.clone(),
            content: contents.next()?,
            more: contents.collect(),
            reply_to: None,
            forward: service.vendor().forward_url.is_some(),
            is_automatic: true,
            origin: Some(id),
            now,
            send_at: None,
            only: None,
            expires: now + service.ttl(REPLY_TTL),
            policy: service.policy(routes),
            parked: to.is_empty().then_some(Reason::NoPhone),
            idempotency: None,
        })
    }

    /// The customer's phone number: as they wrote, as we knew it, or as the provider tells it.
    async fn reply_address(
        &self,
        service: &VendorService,
        message: &mut ToAnswer,
    ) -> Result<Address, WorkError> {
        let mut address = message.event.contact.clone();
        address.lid = address.lid.or_else(|| message.address.lid.clone());
        address.phone = address.phone.or_else(|| message.address.phone.clone());
        address.bsuid = address.bsuid.or_else(|| message.address.bsuid.clone());
        if address.phone.is_some() {
            return Ok(address);
        }
        let instance = service.instance(&message.instance);
        if let (Some(instance), Some(lid)) = (instance, &address.lid) {
            let via = message.event.via.unwrap_or(ProviderKind::Wasender);
            address.phone = service.provider(via).phone_of(instance, lid).await?;
        }
        if address.phone.is_some() {
            let learnt = address.clone();
            let changes =
                self.inner.journal.learn(&message.instance, message.contact, learnt).await?;
            // They may turn out to be somebody we know, whose conversation it then is.
            for change in &changes {
                match change {
                    Change::Merged { from, into } if *from == message.contact => {
                        message.contact = *into;
                    }
                    _ => {}
                }
            }
            self.inner.work.apply(changes);
        } else if address.bsuid.is_none() {
            tracing::warn!(vendor.id = %message.vendor, "a customer's number is not known; the answer may be parked");
        }
        Ok(address)
    }

    /// The vendor's apology, unless the conversation had one lately.
    async fn apology(
        &self,
        service: &VendorService,
        message: &ToAnswer,
    ) -> Result<Option<Reply>, WorkError> {
        let Some(text) = service.vendor().apology.clone() else { return Ok(None) };
        let journal = &self.inner.journal;
        let key = journal.text_key(&Content::text(text.clone()));
        let since = self.inner.clock.now() - APOLOGY_EVERY + 1;
        let had = journal.has_said(message.contact, key, since).await?;
        Ok((!had).then(|| Reply::text(text)))
    }
}
