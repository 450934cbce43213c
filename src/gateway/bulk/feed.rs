//! Recipients have their turn: one after another, no faster than the number may and the job wants,
//! and only while the vendor's answers find room.

use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

use super::content_of;
use crate::{
    domain::{
        bulk::{BulkDeed, BulkId, FAILED_IN_A_ROW, Pattern},
        clock::{Millis, SECOND},
        message::Content,
        route::Routes,
        schedule::{Limit, Pace, SENDING_PER_VENDOR_MAX},
        vendor::SEND_TTL,
    },
    gateway::{AdminError, Gateway, messages},
    journal::{BulkJob, Handed, NewIntent, Recipient},
    sqlite::is_of_disk,
    telemetry::Chain,
    vendor::VendorService,
};

/// Sends of jobs on their way for one vendor: answers always find one of its places.
const ON_THEIR_WAY_MAX: usize = SENDING_PER_VENDOR_MAX - 1;
/// When a job is looked at again that could not be read or kept.
const AGAIN_AFTER: Millis = SECOND;
/// When a job is looked at again whose vendor the store does not tell of.
const STORE_AGAIN_AFTER: Millis = 5 * SECOND;

/// What is known of the jobs' own paces.
type Paces = HashMap<BulkId, Pace>;

/// What came of a job's turn.
enum Turn {
    /// Somebody was sent to: the next one, once the other jobs had theirs.
    Next,
    /// Not before this time.
    At(Millis),
    /// Not before something happens.
    Later,
}

impl Gateway {
    /// Gives recipients their turn until `stop`.
    pub async fn tend_bulk(&self, stop: CancellationToken) {
        let mut paces = Paces::new();
        while !stop.is_cancelled() {
            let round = self.one_round(&mut paces).await;
            let until = round.unwrap_or_else(|error| {
                if !is_of_disk(&error) {
                    tracing::error!(error = %Chain(&error), "a job could not go on; it is tried again");
                }
                Some(self.inner.clock.now() + AGAIN_AFTER)
            });
            let sleep = async {
                match until {
                    Some(at) => self.inner.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.inner.work.bulk_changed() => {}
                () = sleep => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Each job that runs has a turn, as long as one of them gets anywhere. Answers when to look
    /// again, where time alone changes something.
    async fn one_round(&self, paces: &mut Paces) -> Result<Option<Millis>, AdminError> {
        loop {
            let jobs = self.inner.journal.running_jobs().await?;
            paces.retain(|id, _| jobs.iter().any(|it| it.0.id == *id));
            let (mut until, mut gets_on) = (None::<Millis>, false);
            for (job, content) in &jobs {
                match self.turn(job, content, paces).await? {
                    Turn::Next => gets_on = true,
                    Turn::At(at) => until = Some(until.map_or(at, |it| it.min(at))),
                    Turn::Later => {}
                }
            }
            if !gets_on {
                return Ok(until);
            }
        }
    }

    async fn turn(
        &self,
        job: &BulkJob,
        content: &Content,
        paces: &mut Paces,
    ) -> Result<Turn, AdminError> {
        let work = &self.inner.work;
        let now = self.inner.clock.now();
        if work.is_stopped(&job.vendor) || work.n_bulk(&job.vendor) >= ON_THEIR_WAY_MAX {
            return Ok(Turn::Later);
        }
        if let Err(at) = work.spare(&job.instance) {
            return Ok(Turn::At(at));
        }
        let Some(recipient) = self.inner.journal.next_recipient(job.id, now).await? else {
            return Ok(Turn::Later);
        };
        if self.is_in_vain(job, &recipient).await? {
            return self.hold(job, "failing").await;
        }
        let pace = job
            .per_minute
            .map(|n| paces.entry(job.id).or_insert_with(|| Pace::new(Limit::per_minute(n), now)));
        if let Some(Err(at)) = pace.map(|it| it.take(1, now)) {
            return Ok(Turn::At(at));
        }
        self.send_one(job, content, &recipient).await
    }

    async fn send_one(
        &self,
        job: &BulkJob,
        content: &Content,
        recipient: &Recipient,
    ) -> Result<Turn, AdminError> {
        let service = match self.inner.registry.get(&job.vendor).await {
            Ok(Some(service)) => service,
            Ok(None) => return self.hold(job, "no_vendor").await,
            Err(_) => return Ok(Turn::At(self.inner.clock.now() + STORE_AGAIN_AFTER)),
        };
        let Some(instance) = service.instance(&job.instance) else {
            return self.hold(job, "no_number").await;
        };
        let made = Pattern::of(content).map_err(|it| it.to_string());
        let made = made.and_then(|it| content_of(&service, instance, &it, &recipient.columns));
        let whole = match made {
            Ok(content) => self.with_file(&job.vendor, content).await,
            Err(why) => Err(AdminError::Invalid(why)),
        };
        let content = match whole {
            Ok(content) => content,
            // It was right when the job was taken: a file may be gone since, or a number changed.
            Err(AdminError::Invalid(_)) => {
                self.inner.journal.pass_over(job.id, recipient, "invalid").await?;
                return Ok(Turn::Next);
            }
            Err(error) => return Err(error),
        };
        let way = (&*service, instance.routes());
        let intent = self.intent_of(way, job, recipient, content);
        match self.inner.journal.hand_over(job.id, recipient, intent).await? {
            Handed::Made(id, changes) => self.inner.work.apply_bulk(&job.vendor, id, changes),
            Handed::Not => {}
        }
        Ok(Turn::Next)
    }

    fn intent_of(
        &self,
        (service, routes): (&VendorService, Routes),
        job: &BulkJob,
        recipient: &Recipient,
        content: Content,
    ) -> NewIntent {
        let now = self.inner.clock.now();
        let (content, more) = messages::parts(service, &job.instance, content);
        NewIntent {
            vendor: job.vendor.clone(),
            instance: job.instance.clone(),
            contact: None,
            to: recipient.to.clone(),
            content,
            more,
            reply_to: None,
            forward: service.vendor().forward_url.is_some(),
            is_automatic: false,
            origin: None,
            now,
            send_at: None,
            only: None,
            expires: now + service.ttl(SEND_TTL),
            policy: service.policy(routes),
            parked: None,
            idempotency: None,
        }
    }

    /// Whether nothing has got through for some time: a whole job is not to be thrown away on a
    /// number that cannot send.
    async fn is_in_vain(&self, job: &BulkJob, next: &Recipient) -> Result<bool, AdminError> {
        if job.n_made_since < FAILED_IN_A_ROW {
            return Ok(false);
        }
        Ok(self.inner.journal.all_fail(job.id, next, FAILED_IN_A_ROW).await?)
    }

    async fn hold(&self, job: &BulkJob, why: &'static str) -> Result<Turn, AdminError> {
        let now = self.inner.clock.now();
        let pause = BulkDeed::Pause;
        self.inner.journal.change_job(&job.vendor, job.id, pause, Some(why), now).await?;
        tracing::warn!(vendor.id = %job.vendor, job.id = %job.id, why, "a job is paused until a person resumes it");
        Ok(Turn::Later)
    }
}
