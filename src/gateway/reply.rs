//! A message is answered: the responders are asked in order, and what they decide becomes intents,
//! in the transaction that ends the message.

use std::time::Duration;

use metrics::counter;

use super::Gateway;
use crate::{
    domain::{
        answer::{self, LoopGuard, Unanswered},
        clock::{HOUR, Millis, SECOND},
        contact::Address,
        delivery::Reason,
        event::{Event, What},
        id::EntryId,
        message::{Content, Text},
        schedule::{Job, Kind, Next},
        vendor::REPLY_TTL,
    },
    journal::{JournalError, MessageEnd, NewIntent, Pause, ToAnswer},
    provider::NoAnswer,
    responder::{Answer, Question, Reply, ResponderError},
    store::StoreError,
    telemetry::{Chain, names},
    vendor::VendorService,
};

/// For one message, over all responders and tries.
const BUDGET: Duration = Duration::from_secs(45);
/// Between two rounds over the responders of one message.
const ROUND_PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
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
        let Some(message) = self.inner.journal.message(job.id).await? else {
            return Ok(Next::Gone);
        };
        let end = match self.inner.registry.get(&message.vendor).await? {
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
        let changes = self.inner.journal.settle(job.id, end).await?;
        self.inner.work.apply(changes);
        Ok(Next::Gone)
    }

    fn unanswered(&self, why: Unanswered) -> MessageEnd {
        let now = self.inner.clock.now();
        MessageEnd { intents: Vec::new(), unanswered: Some(why), pause: None, now }
    }

    async fn decide(
        &self,
        service: &VendorService,
        id: EntryId,
        message: ToAnswer,
    ) -> Result<MessageEnd, WorkError> {
        let vendor = service.vendor();
        let now = self.inner.clock.now();
        let max_age = self.inner.settings.max_answer_age;
        if let Err(why) = answer::may_answer(vendor, &message.event, now, max_age) {
            return Ok(self.unanswered(why));
        }
        if message.paused_until.is_some_and(|it| it > now) {
            return Ok(self.unanswered(Unanswered::Paused));
        }
        // Before the responder is asked: it need not answer what cannot be delivered yet.
        let to = self.reply_address(service, &message).await?;
        let question = question(service, id, &message, &to);
        let asked = tokio::time::timeout(BUDGET, ask(service, &question)).await;
        let reply = match asked.unwrap_or(None) {
            Some(Answer::Reply(reply)) => reply,
            Some(Answer::Silence | Answer::Pass) => {
                return Ok(self.unanswered(Unanswered::Silence));
            }
            None => match self.apology(service, &message) {
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
        let content = Content::Text { text: reply.text };
        let guard =
            answer::loop_guard(&message.answers, self.inner.journal.text_key(&content), now);
        let pause = |reason| Some(Pause { at: now, until: now + vendor.silence, reason });
        if guard != LoopGuard::Fine {
            counter!(names::LOOPS).increment(1);
            tracing::error!(vendor.id = %vendor.id, message.id = %id, "two bots seem to be talking; the conversation is paused");
        }
        if guard == LoopGuard::Stop {
            return MessageEnd { pause: pause("loop"), ..self.unanswered(Unanswered::Loop) };
        }
        let mut texts = Vec::new();
        let is_new = message.history.is_empty() && message.answers.is_empty();
        texts.extend(vendor.welcome_message.clone().filter(|_| is_new).map(Content::text));
        if !content.as_text().trim().is_empty() {
            texts.push(content);
        }
        let intents: Vec<NewIntent> =
            texts.into_iter().map(|it| self.intent(service, id, message, to, it)).collect();
        let pause = match (reply.requires_human, guard) {
            (true, _) => pause("requires_human"),
            (false, LoopGuard::Last) => pause("loop"),
            (false, _) => None,
        };
        let unanswered = intents.is_empty().then_some(Unanswered::Silence);
        MessageEnd { intents, unanswered, pause, now }
    }

    fn intent(
        &self,
        service: &VendorService,
        id: EntryId,
        message: &ToAnswer,
        to: &Address,
        content: Content,
    ) -> NewIntent {
        let now = self.inner.clock.now();
        NewIntent {
            vendor: message.vendor.clone(),
            instance: message.instance.clone(),
            contact: Some(message.contact),
            to: to.clone(),
            content,
            more: Vec::new(),
            reply_to: None,
            forward: service.vendor().forward_url.is_some(),
            is_automatic: true,
            origin: Some(id),
            now,
            expires: now + service.ttl(REPLY_TTL),
            policy: service.policy(),
            parked: to.phone.is_none().then_some(Reason::NoPhone),
            idempotency: None,
        }
    }

    /// The customer's phone number: as they wrote, as we knew it, or as the provider tells it.
    async fn reply_address(
        &self,
        service: &VendorService,
        message: &ToAnswer,
    ) -> Result<Address, WorkError> {
        let mut address = message.event.contact.clone();
        address.lid = address.lid.or_else(|| message.address.lid.clone());
        address.phone = address.phone.or_else(|| message.address.phone.clone());
        if address.phone.is_some() {
            return Ok(address);
        }
        let instance = service.instance(&message.instance);
        if let (Some(instance), Some(lid)) = (instance, &address.lid) {
            address.phone = service.provider(instance).phone_of(instance, lid).await?;
        }
        if address.phone.is_some() {
            let learnt = address.clone();
            let changes =
                self.inner.journal.learn(&message.instance, message.contact, learnt).await?;
            self.inner.work.apply(changes);
        } else {
            tracing::warn!(vendor.id = %message.vendor, "a customer's number is not known; the answer is parked");
        }
        Ok(address)
    }

    /// The vendor's apology, unless the conversation had one lately.
    fn apology(&self, service: &VendorService, message: &ToAnswer) -> Option<Reply> {
        let text = service.vendor().apology.clone()?;
        let key = self.inner.journal.text_key(&Content::text(text.clone()));
        let now = self.inner.clock.now();
        let had = message.answers.iter().any(|it| it.1 == key && now - it.0 < APOLOGY_EVERY);
        (!had).then_some(Reply { text: Text(text), requires_human: false })
    }
}

fn question(service: &VendorService, id: EntryId, message: &ToAnswer, to: &Address) -> Question {
    let Event { what, name, at, .. } = &message.event;
    let (text, kind) = match what {
        What::Message(content) => (content.as_text(), content.kind()),
        _ => ("", "unsupported"),
    };
    Question {
        vendor: service.vendor().id.clone(),
        from: to.phone.clone(),
        name: name.clone(),
        text: Text(text.to_owned()),
        kind: kind.to_owned(),
        id,
        at: at.unwrap_or(id.ms()),
        history: message.history.iter().map(|it| (it.is_user, it.text.clone())).collect(),
    }
}

/// Asks the responders in order, round after round while any of them fails. `None`: nobody could
/// answer.
async fn ask(service: &VendorService, question: &Question) -> Option<Answer> {
    for pause in ROUND_PAUSES.into_iter().map(Some).chain([None]) {
        let mut has_failed = false;
        for responder in service.responders() {
            let answer = match responder {
                Ok(responder) => responder.answer(question).await,
                Err(error) => Err(error.clone()),
            };
            count(&answer);
            match answer {
                Ok(Answer::Pass) => {}
                Ok(answer) => return Some(answer),
                Err(error) => {
                    has_failed |= !matches!(error, ResponderError::Misconfigured(_));
                    tracing::warn!(vendor.id = %question.vendor, message.id = %question.id, error = %Chain(&error), "a responder failed");
                }
            }
        }
        match pause.filter(|_| has_failed) {
            Some(pause) => tokio::time::sleep(pause).await,
            None if has_failed => return None,
            None => return Some(Answer::Pass),
        }
    }
    None
}

fn count(answer: &Result<Answer, ResponderError>) {
    let outcome = match answer {
        Ok(Answer::Reply(_)) => "reply",
        Ok(Answer::Silence) => "silence",
        Ok(Answer::Pass) => "pass",
        Err(_) => "failed",
    };
    counter!(names::ANSWERS, "outcome" => outcome).increment(1);
}
