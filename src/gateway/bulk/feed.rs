//! Recipients have their turn: one after another, no faster than the number may and the job wants,
//! and only while the vendor's answers find room.

use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

use super::content_of;
use crate::{
    domain::{
        bulk::{BulkDeed, BulkId, FAILED_IN_A_ROW, Pattern},
        clock::{Millis, SECOND},
        delivery::Reason,
        message::{Content, Media},
        schedule::{Limit, Pace},
    },
    gateway::{AdminError, Gateway, messages, work::RoomAt},
    journal::{BulkJob, NewIntent, Recipient},
    sqlite::is_of_disk,
    telemetry::Chain,
};

/// Recipients of one job that have their turn together: callers wait while they are written.
const AT_ONCE: usize = 16;
/// When a job is looked at again that could not be read or kept.
const AGAIN_AFTER: Millis = SECOND;
/// When a job is looked at again whose vendor the store does not tell of.
const STORE_AGAIN_AFTER: Millis = 5 * SECOND;

/// So many are looked at who had their turn last: some are on their way.
const LOOKED_AT_MAX: i64 = 10 * FAILED_IN_A_ROW;

/// What is remembered between two rounds.
#[derive(Default)]
struct Feed {
    /// The jobs' own paces.
    paces: HashMap<BulkId, Pace>,
    /// Who got on last: the others go before it.
    last: Option<BulkId>,
}

/// Whether each recipient gets a file of their own.
pub(super) fn has_own_file(content: &Content) -> bool {
    matches!(content, Content::Media(Media { upload: Some(id), .. }) if id.contains("{{"))
}

/// What came of a job's turn.
enum Turn {
    /// Somebody was sent to: the next ones, once the other jobs had their turn.
    Next,
    /// Not before this time.
    At(Millis),
    /// Not before something happens.
    Later,
}

impl Gateway {
    /// Gives recipients their turn until `stop`.
    pub async fn tend_bulk(&self, stop: CancellationToken) {
        let mut feed = Feed::default();
        while !stop.is_cancelled() {
            let round = self.one_round(&mut feed, &stop).await;
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
    async fn one_round(
        &self,
        feed: &mut Feed,
        stop: &CancellationToken,
    ) -> Result<Option<Millis>, AdminError> {
        loop {
            let mut jobs = self.inner.journal.running_jobs().await?;
            feed.paces.retain(|id, _| jobs.iter().any(|it| it.id == *id));
            let n_before = jobs.iter().take_while(|it| Some(it.id) <= feed.last).count();
            jobs.rotate_left(n_before);
            let (mut until, mut gets_on) = (None::<Millis>, false);
            for job in &jobs {
                if stop.is_cancelled() {
                    return Ok(None);
                }
                match self.turn(job, feed).await {
                    Ok(Turn::Next) => (gets_on, feed.last) = (true, Some(job.id)),
                    Ok(Turn::At(at)) => until = Some(until.map_or(at, |it| it.min(at))),
                    Ok(Turn::Later) => {}
                    // The others go on.
                    Err(AdminError::Journal(error)) if error.is_unreadable() => {
                        self.hold(job, "unreadable").await?;
                    }
                    Err(error) => return Err(error),
                }
            }
            if !gets_on {
                return Ok(until);
            }
        }
    }

    async fn turn(&self, job: &BulkJob, feed: &mut Feed) -> Result<Turn, AdminError> {
        let work = &self.inner.work;
        let now = self.inner.clock.now();
        if work.is_stopped(&job.vendor) {
            return Ok(Turn::Later);
        }
        let n_free = match work.bulk_room(&job.instance) {
            Ok(n) => n.min(AT_ONCE),
            Err(RoomAt::Time(at)) => return Ok(Turn::At(at)),
            Err(RoomAt::Change) => return Ok(Turn::Later),
        };
        let mut pace = job.per_minute.map(|n| {
            feed.paces.entry(job.id).or_insert_with(|| Pace::new(Limit::per_minute(n), now))
        });
        let n_free = match pace.as_ref().map(|it| it.spare(0, now)) {
            Some(Err(at)) => return Ok(Turn::At(at)),
            Some(Ok(n)) => n_free.min(usize::try_from(n).unwrap_or_default()),
            None => n_free,
        };
        let next = self.inner.journal.next_recipients(job.id, n_free, now).await?;
        let Some((content, recipients)) = next else { return Ok(Turn::Later) };
        if self.is_in_vain(job, &recipients).await? {
            return self.hold(job, "failing").await;
        }
        if let Some(pace) = &mut pace {
            let n = i64::try_from(recipients.len()).unwrap_or(i64::MAX);
            if let Err(at) = pace.take(n, now) {
                return Ok(Turn::At(at));
            }
        }
        self.send_some(job, &content, recipients).await
    }

    async fn send_some(
        &self,
        job: &BulkJob,
        content: &Content,
        recipients: Vec<Recipient>,
    ) -> Result<Turn, AdminError> {
        let service = match self.inner.registry.get(&job.vendor).await {
            Ok(Some(service)) => service,
            Ok(None) => return self.hold(job, "no_vendor").await,
            Err(_) => return Ok(Turn::At(self.inner.clock.now() + STORE_AGAIN_AFTER)),
        };
        let Some(instance) = service.instance(&job.instance) else {
            return self.hold(job, "no_number").await;
        };
        let Ok(pattern) = Pattern::of(content) else { return self.hold(job, "invalid").await };
        let now = self.inner.clock.now();
        let mut turns: Vec<(Recipient, NewIntent)> = Vec::with_capacity(recipients.len());
        for recipient in recipients {
            let whole = match content_of(&service, instance, &pattern, &recipient.columns) {
                Ok(content) => self.with_file(&job.vendor, content).await,
                Err(why) => Err(AdminError::Invalid(why)),
            };
            let (content, parked) = match whole {
                Ok(content) => (content, None),
                // It was right when the job was taken. A recipient's own file may be gone since.
                Err(AdminError::Invalid(_)) if has_own_file(content) => {
                    let own = content_of(&service, instance, &pattern, &recipient.columns);
                    let Ok(own) = own else { return self.hold(job, "invalid").await };
                    (own, Some(Reason::Invalid))
                }
                // All who are left have the same file, or a number that has changed.
                Err(AdminError::Invalid(_)) => return self.hold(job, "invalid").await,
                Err(error) => return Err(error),
            };
            // Who of them wrote within the day is not asked.
            let as_template =
                messages::all_in_template(&service, &job.instance, &content, instance.provider);
            let to = recipient.to.clone();
            let intent = messages::intent(&service, instance, to, content, now, as_template);
            let intent = NewIntent { parked, ..intent };
            turns.push((recipient, intent));
        }
        let handed = self.inner.journal.hand_over(job.id, turns).await?;
        self.inner.work.apply_bulk(&job.instance, &handed.made, handed.changes);
        Ok(Turn::Next)
    }

    /// Whether nothing has got through for some time: a whole job is not to be thrown away on a
    /// number that cannot send.
    async fn is_in_vain(&self, job: &BulkJob, next: &[Recipient]) -> Result<bool, AdminError> {
        let Some(next) = next.first().filter(|_| job.n_made_since >= FAILED_IN_A_ROW) else {
            return Ok(false);
        };
        let of_last = (FAILED_IN_A_ROW, job.n_made_since.min(LOOKED_AT_MAX));
        Ok(self.inner.journal.all_fail(job.id, next, of_last).await?)
    }

    async fn hold(&self, job: &BulkJob, why: &'static str) -> Result<Turn, AdminError> {
        let now = self.inner.clock.now();
        let pause = BulkDeed::Pause;
        self.inner.journal.change_job(&job.vendor, job.id, pause, Some(why), now).await?;
        tracing::warn!(vendor.id = %job.vendor, job.id = %job.id, why, "a job is paused until a person resumes it");
        Ok(Turn::Later)
    }
}
