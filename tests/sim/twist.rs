//! What a broken world makes of what passes between the gateway and its journal.

use waba_gateway::{
    domain::{
        answer::Unanswered,
        clock::Millis,
        delivery::{Input, Outcome, Reason, Refusal},
        event::What,
        id::{ContactId, EntryId, InstanceId},
        message::{Content, Text},
        phone::PhoneNumber,
        schedule::{Job, Kind, Next},
    },
    journal::{
        Appended, Change, Journal, JournalError, MessageEnd, NewEvents, NewIntent, Step, Submitted,
        ToAnswer, ToFollow, ToSend,
    },
};

use super::{journal::Watched, mutation::Mutation, world::World};

impl Watched {
    fn sql(&self, sql: &str, id: i64) {
        let connection = self.connection.lock().unwrap();
        connection.prepare_cached(sql).unwrap().execute([id]).unwrap();
    }

    /// The events as a broken world has them.
    pub fn twist_events(&self, batch: &mut NewEvents) {
        if self.is_broken(Mutation::NoDedupe) {
            for it in &mut batch.events {
                if let (What::Message(_), Some(id)) = (&it.event.what, &mut it.event.provider_id) {
                    let n = self.world().n_events;
                    id.push_str(&n.to_string());
                }
            }
        }
        if self.is_broken(Mutation::DevicesAreNotOne) {
            batch.is_told_twice = false;
        }
        if self.is_broken(Mutation::NamesAreNotOne) {
            for it in &mut batch.events {
                let contact = &mut it.event.contact;
                contact.phone.take_if(|_| contact.lid.is_some());
            }
        }
        if self.is_broken(Mutation::StaleIsAnswered) {
            for it in &mut batch.events {
                if it.unanswered == Some(Unanswered::Stale) {
                    (it.unanswered, it.event.at) = (None, Some(batch.now));
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
    pub fn twist_kept(&self, statuses: &[i64], appended: &Appended) {
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
    pub fn forget_counts(&self) {
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

    pub fn twist_outcome(&self, id: EntryId, step: &mut Step, now: Millis) {
        if step.input == Input::Outcome(Outcome::Unknown)
            && self.is_broken(Mutation::UnknownIsRepeated)
        {
            step.input = Input::Outcome(Outcome::Refused(Refusal::Retry { not_before: None }));
        }
        if step.input == Input::Outcome(Outcome::Unknown)
            && self.is_broken(Mutation::UnknownGoesAnotherWay)
        {
            step.input = Input::Outcome(Outcome::Refused(Refusal::Down(Reason::Disconnected)));
        }
        if let Input::Outcome(
            outcome @ Outcome::Refused(Refusal::Retry { .. } | Refusal::Down(_)),
        ) = &mut step.input
        {
            if self.is_broken(Mutation::RefusalKills) {
                *outcome = Outcome::Refused(Refusal::GiveUp(Reason::Invalid));
            } else if self.is_broken(Mutation::RefusalCountsAsSent) {
                *outcome = Outcome::Sent;
            }
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

    pub fn twist_before_begin(&self, id: EntryId) {
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
    pub async fn twist_end(&self, end: &mut MessageEnd) -> Result<Vec<Change>, JournalError> {
        if self.is_broken(Mutation::AnswerIsDropped) {
            end.intents.clear();
        }
        if self.is_broken(Mutation::AnswerIsCalledSilence) && !end.intents.is_empty() {
            end.intents.clear();
            end.unanswered = Some(Unanswered::Silence);
        }
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

    /// A message as a broken world hands it out.
    pub fn twist_message(&self, message: &mut ToAnswer) {
        if self.is_broken(Mutation::TwoBotsTalkOn) {
            message.answers.clear();
        }
        if let What::Message(Content::Text { text }) = &mut message.event.what
            && self.is_broken(Mutation::TextIsChanged)
        {
            *text = Text(text.0.to_uppercase());
        }
    }

    /// A send as a broken world hands it out: to another customer of the same vendor.
    pub fn twist_begun(&self, to_send: &mut ToSend) {
        if !self.is_broken(Mutation::WrongCustomer) {
            return;
        }
        let world = self.world();
        let Some(written) = world.meant_for(&super::world::token(to_send.content.as_text())) else {
            return;
        };
        let is_other =
            |n: &usize| *n != written.person && world.people[*n].vendor == written.vendor;
        if let Some(other) = (0..world.people.len()).find(is_other) {
            let phone = PhoneNumber::from_wire(&world.people[other].names.phone);
            to_send.to.phone = Some(phone.unwrap());
        }
    }

    /// What the provider is asked about in a broken world: another vendor's send.
    pub fn twist_followed(&self, intent: &mut ToFollow) {
        if !self.is_broken(Mutation::WrongTicket) {
            return;
        }
        let world = self.world();
        let other = world.sent.iter().find(|it| world.vendors[it.vendor].id != intent.vendor);
        if let Some(other) = other {
            intent.ticket = Some(other.ticket.to_string());
        }
    }
}

pub fn job(world: &World, job: &mut Job) {
    if world.is_broken(Mutation::NoLanes) {
        job.contact = job.contact.map(|_| ContactId(job.id.0));
    }
    let is_wrong = match job.kind {
        Kind::Send => world.is_broken(Mutation::WrongNumber),
        Kind::Message => world.is_broken(Mutation::WrongBot),
        _ => false,
    };
    if is_wrong {
        let other = world.vendors.iter().find(|it| it.id != job.vendor);
        if let Some(other) = other {
            (job.vendor, job.instance) = (other.id.clone(), other.instance.clone());
        }
    }
}

pub fn longer(world: &World, next: Next) -> Next {
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
