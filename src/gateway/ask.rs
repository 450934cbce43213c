//! The responders of a vendor are asked about a message: in order, again while any of them fails,
//! and within one budget of time.

use metrics::counter;

use super::Gateway;
use crate::{
    domain::{
        clock::{Millis, SECOND},
        contact::Address,
        event::{Event, What},
        id::EntryId,
        message::{Content, Text},
    },
    journal::ToAnswer,
    responder::{Answer, Question, ResponderError},
    telemetry::{Chain, names},
    vendor::VendorService,
};

/// For one message, over all responders and tries.
const BUDGET: Millis = 45 * SECOND;
/// Between two rounds over the responders of one message. Together they outlast a circuit that
/// opened just before, so that nobody goes unanswered because of somebody else's message.
const ROUND_PAUSES: [Millis; 5] = [500, 2 * SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND];

impl Gateway {
    /// Asks until somebody answers or the budget is spent; what would come later is not heard.
    /// `None`: nobody could answer.
    pub(super) async fn ask(&self, service: &VendorService, question: &Question) -> Option<Answer> {
        let clock = &self.inner.clock;
        let until = clock.now() + BUDGET;
        tokio::select! {
            biased;
            answer = self.ask_in_rounds(service, question) => answer,
            () = clock.sleep_until(until) => {
                tracing::warn!(vendor.id = %question.vendor, message.id = %question.id, "no responder answered in time");
                None
            }
        }
    }

    async fn ask_in_rounds(&self, service: &VendorService, question: &Question) -> Option<Answer> {
        let clock = &self.inner.clock;
        let responders = service.responders(question.is_open);
        for pause in ROUND_PAUSES.into_iter().map(Some).chain([None]) {
            let mut has_failed = false;
            for responder in &responders {
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
                        // That it opened has been told.
                        if error == ResponderError::CircuitOpen {
                            continue;
                        }
                        tracing::warn!(vendor.id = %question.vendor, message.id = %question.id, error = %Chain(&error), "a responder failed");
                    }
                }
            }
            if !has_failed {
                return Some(Answer::Pass);
            }
            if let Some(pause) = pause {
                clock.sleep_until(clock.now() + pause).await;
            }
        }
        None
    }

    /// A message as responders get it. Whether the vendor is open is that of the time of asking,
    /// not of writing: who wrote at night and is answered in the morning is answered as of then.
    pub(super) fn question(
        &self,
        service: &VendorService,
        id: EntryId,
        message: &ToAnswer,
        to: &Address,
    ) -> Question {
        let Event { what, name, at, .. } = &message.event;
        let content = match what {
            What::Message(content) => content.clone(),
            _ => Content::Unsupported { kind: "unsupported".to_owned(), text: Text::default() },
        };
        Question {
            vendor: service.vendor().id.clone(),
            instance: message.instance.clone(),
            conversation: message.contact,
            from: to.phone.clone(),
            name: name.clone(),
            content,
            option: message.chosen.clone(),
            id,
            at: at.unwrap_or(id.ms()),
            history: message.history.iter().map(|it| (it.is_user, it.text.clone())).collect(),
            is_open: service.is_open(&message.instance, self.inner.clock.now()),
        }
    }
}

fn count(answer: &Result<Answer, ResponderError>) {
    let outcome = match answer {
        Ok(Answer::Reply(_)) => "reply",
        Ok(Answer::Silence) => "silence",
        Ok(Answer::Pass) => "pass",
        Err(error) => error.as_str(),
    };
    counter!(names::ANSWERS, "outcome" => outcome).increment(1);
}
