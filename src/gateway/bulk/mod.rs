//! One message to many recipients: taken whole or not at all, shown, paused, ended.

mod feed;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{AdminError, Gateway, SendError, content, messages};
use crate::{
    domain::{
        bulk::{
            BadFill, BulkDeed, BulkId, BulkState, Columns, PER_MINUTE_MAX, Pattern, RECIPIENTS_MAX,
            time_left,
        },
        clock::Millis,
        id::{InstanceId, VendorId},
        message::{Content, Media},
        waba::WabaInstance,
    },
    journal::{BulkChanged, BulkJob, BulkProgress, JournalError, KeptJob, NewJob, NewRecipient},
    telemetry::Chain,
    vendor::VendorService,
};

/// Recipients kept in one transaction: callers of webhooks wait for its end.
const AT_ONCE: usize = 200;
/// Jobs that are taken at once.
const TAKING_MAX: usize = 4;
/// The longest value of a column that fills a variable, in characters.
const VALUE_CHARS_MAX: usize = 4_096;

/// What is remembered of jobs.
pub struct BulkJobs {
    taking: Arc<Semaphore>,
}

impl Default for BulkJobs {
    fn default() -> Self {
        Self { taking: Arc::new(Semaphore::new(TAKING_MAX)) }
    }
}

/// A job to take.
pub struct NewBulk {
    /// What, with its variables.
    pub content: Content,
    /// From which instance; the vendor's first without it.
    pub instance: Option<InstanceId>,
    /// Its own pace.
    pub per_minute: Option<u32>,
}

/// A job that comes in, recipient by recipient. Dropped before it is kept, it is forgotten.
pub struct BulkIntake {
    gateway: Gateway,
    vendor: VendorId,
    service: Arc<VendorService>,
    instance: Arc<WabaInstance>,
    pattern: Pattern,
    id: BulkId,
    is_open: bool,
    n_recipients: usize,
    n_same: usize,
    waiting: Vec<NewRecipient>,
    _permit: OwnedSemaphorePermit,
}

/// A job that was taken.
#[derive(Clone, Copy, Debug)]
pub struct BulkTaken {
    /// Its id.
    pub id: BulkId,
    /// Recipients.
    pub n_recipients: usize,
    /// Recipients that were given again.
    pub n_same: usize,
}

/// A job as it is shown.
pub struct BulkShown {
    /// The job.
    pub job: BulkJob,
    /// How far it is.
    pub progress: BulkProgress,
    /// How long the rest takes.
    pub time_left: Millis,
}

impl Gateway {
    /// Begins to take a job.
    pub async fn open_bulk(
        &self,
        vendor: &VendorId,
        new: NewBulk,
    ) -> Result<BulkIntake, SendError> {
        let permit = Arc::clone(&self.inner.bulk.taking).try_acquire_owned();
        let permit = permit.map_err(|_| SendError::Overloaded)?;
        let service = self.inner.registry.get(vendor).await.map_err(AdminError::from)?;
        let service = service.ok_or(AdminError::NoVendor)?;
        let instance = match &new.instance {
            Some(id) => service.instance(id).ok_or(AdminError::NoInstance)?,
            None => service.instances().first().ok_or_else(|| {
                AdminError::Conflict("the vendor has no WABA instance to send from".to_owned())
            })?,
        };
        let instance = Arc::clone(instance);
        if new.per_minute.is_some_and(|it| !(1..=PER_MINUTE_MAX).contains(&it)) {
            return Err(invalid(format!("perMinute: is 1 to {PER_MINUTE_MAX}")).into());
        }
        if matches!(new.content, Content::Reaction { .. }) {
            return Err(invalid("type: a reaction is to one message".to_owned()).into());
        }
        let pattern = Pattern::of(&new.content).map_err(|it| invalid(it.to_string()))?;
        if let Content::Media(Media { upload: Some(id), .. }) = &new.content
            && !id.contains("{{")
        {
            self.with_file(vendor, new.content.clone()).await?;
        }
        let job = NewJob {
            vendor: vendor.clone(),
            instance: instance.id.clone(),
            content: new.content,
            per_minute: new.per_minute,
            now: self.inner.clock.now(),
        };
        let id = self.inner.journal.open_job(job).await.map_err(AdminError::from)?;
        Ok(BulkIntake {
            gateway: self.clone(),
            vendor: vendor.clone(),
            service,
            instance,
            pattern,
            id,
            is_open: true,
            n_recipients: 0,
            n_same: 0,
            waiting: Vec::new(),
            _permit: permit,
        })
    }

    /// A vendor's jobs, the newest first.
    pub async fn bulk_jobs(
        &self,
        vendor: &VendorId,
        before: Option<BulkId>,
        limit: usize,
    ) -> Result<Vec<BulkJob>, AdminError> {
        self.vendor(vendor).await?;
        Ok(self.inner.journal.jobs(vendor, before, limit).await?)
    }

    /// One of a vendor's jobs, and how far it is.
    pub async fn bulk_job(&self, vendor: &VendorId, id: BulkId) -> Result<BulkShown, AdminError> {
        self.vendor(vendor).await?;
        let found = self.inner.journal.job(vendor, id).await?;
        let (mut job, progress) = found.ok_or(AdminError::NoJob)?;
        if job.state == BulkState::Done && progress.n_on_their_way > 0 {
            job.state = BulkState::Running;
        }
        let allowed = self.inner.work.in_a_minute(&job.instance);
        let own = job.per_minute.map_or(allowed, i64::from);
        let n_left = match job.state {
            BulkState::Running => progress.n_waiting,
            _ => 0,
        };
        let time_left = time_left(n_left, own.min(allowed));
        Ok(BulkShown { job, progress, time_left })
    }

    /// Pauses a job, lets it go on or ends it. Messages that are on their way still leave.
    pub async fn change_bulk(
        &self,
        vendor: &VendorId,
        id: BulkId,
        deed: BulkDeed,
    ) -> Result<BulkShown, AdminError> {
        self.vendor(vendor).await?;
        let now = self.inner.clock.now();
        match self.inner.journal.change_job(vendor, id, deed, None, now).await? {
            BulkChanged::Is(_) => {
                self.inner.work.wake_bulk();
                self.bulk_job(vendor, id).await
            }
            BulkChanged::Not(state) => {
                Err(AdminError::Conflict(format!("the job is {}", state.as_str())))
            }
            BulkChanged::Unknown => Err(AdminError::NoJob),
        }
    }

    /// Forgets jobs from before this time that have ended.
    pub(super) async fn forget_old_jobs(&self, before: Millis) -> Result<(), JournalError> {
        while let Some(id) = self.inner.journal.old_job(before).await? {
            self.drop_job(id).await?;
        }
        Ok(())
    }

    async fn drop_job(&self, id: BulkId) -> Result<(), JournalError> {
        while self.inner.journal.drop_job(id).await? {
            // What callers wait for goes first.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

impl BulkIntake {
    /// The variables of its message.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.pattern.names().iter().map(String::as_str)
    }

    /// Takes a recipient; the text of an error names the field.
    pub async fn add(&mut self, line: usize, to: &str, columns: &Columns) -> Result<(), SendError> {
        if self.n_recipients + self.n_same >= RECIPIENTS_MAX {
            return Err(invalid(format!("a job has at most {RECIPIENTS_MAX} recipients")).into());
        }
        let to = messages::address(to, &self.instance)?;
        let is_used = |it: &(&String, &String)| self.pattern.names().contains(it.0);
        let used =
            columns.iter().filter(is_used).map(|(name, value)| (name.clone(), value.clone()));
        let columns: Columns = used.collect();
        let long = columns.iter().find(|it| it.1.chars().count() > VALUE_CHARS_MAX);
        if let Some((name, _)) = long {
            let why = format!("{name}: has more than {VALUE_CHARS_MAX} characters");
            return Err(invalid(why).into());
        }
        content_of(&self.service, &self.instance, &self.pattern, &columns).map_err(invalid)?;
        self.n_recipients += 1;
        self.waiting.push(NewRecipient { line, to, columns });
        if self.waiting.len() >= AT_ONCE { self.flush().await } else { Ok(()) }
    }

    /// Keeps the job; it runs from now on. `request` tells a repetition from another request under
    /// the same key.
    pub async fn keep(
        mut self,
        key: Option<String>,
        request: Vec<u8>,
    ) -> Result<BulkTaken, SendError> {
        self.flush().await?;
        if self.n_recipients == 0 {
            return Err(invalid("there is no recipient".to_owned()).into());
        }
        let key = messages::idempotency(key, request)?;
        let gateway = self.gateway.clone();
        let kept = gateway.inner.journal.keep_job(self.id, key).await.map_err(AdminError::from)?;
        let id = match kept {
            KeptJob::New => {
                self.is_open = false;
                self.id
            }
            KeptJob::Same(id) => id,
            KeptJob::Conflict => {
                let why = "another job was sent with this Idempotency-Key".to_owned();
                return Err(AdminError::Conflict(why).into());
            }
            KeptJob::Gone => return Err(SendError::Overloaded),
        };
        gateway.inner.work.wake_bulk();
        tracing::info!(
            vendor.id = %self.vendor,
            job.id = %id,
            n_recipients = self.n_recipients,
            "a job was taken"
        );
        Ok(BulkTaken { id, n_recipients: self.n_recipients, n_same: self.n_same })
    }

    async fn flush(&mut self) -> Result<(), SendError> {
        let some = std::mem::take(&mut self.waiting);
        if some.is_empty() {
            return Ok(());
        }
        let journal = &self.gateway.inner.journal;
        let n_same = journal.add_recipients(self.id, some).await.map_err(AdminError::from)?;
        self.n_recipients -= n_same;
        self.n_same += n_same;
        Ok(())
    }
}

impl Drop for BulkIntake {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.is_open {
            let (gateway, id) = (self.gateway.clone(), self.id);
            runtime.spawn(async move {
                // What is left is forgotten by the next start.
                if let Err(error) = gateway.drop_job(id).await {
                    tracing::warn!(error = %Chain(&error), "a job that was refused is not forgotten yet");
                }
            });
        }
    }
}

/// A recipient's message, checked as every message is; else the field that is wrong, and how.
fn content_of(
    service: &VendorService,
    instance: &WabaInstance,
    pattern: &Pattern,
    columns: &Columns,
) -> Result<Content, String> {
    let filled = pattern.fill(columns).map_err(|it: BadFill| it.to_string())?;
    let content = content::checked(filled, &instance.phone_number)?;
    service.provider(instance.provider).check(&content).map_err(|it| it.0)?;
    Ok(content)
}

fn invalid(why: String) -> AdminError {
    AdminError::Invalid(why)
}
