//! One message to many recipients: taken whole or not at all, shown, paused, ended.

mod feed;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    AdminError, Gateway, SendError, content,
    media::{Share, Shares},
    messages,
};
use crate::{
    domain::{
        bulk::{
            BadFill, BulkDeed, BulkId, BulkState, Columns, JOBS_MAX, PER_MINUTE_MAX, Pattern,
            RECIPIENTS_MAX, time_left,
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
/// Jobs that are taken at once, of all vendors and of one.
const TAKING_MAX: usize = 4;
const TAKING_PER_VENDOR_MAX: usize = 2;
/// While recipients are removed the writer is left alone for so many times as long as it took.
const REST: u32 = 4;
const REST_MIN: Duration = Duration::from_millis(5);
/// The longest value of a column that fills a variable, in characters.
const VALUE_CHARS_MAX: usize = 4_096;

/// What is remembered of jobs.
pub struct BulkJobs {
    taking: Arc<Shares>,
}

impl Default for BulkJobs {
    fn default() -> Self {
        Self { taking: Shares::new(TAKING_MAX, TAKING_PER_VENDOR_MAX) }
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
    /// The caller's own id for it.
    pub idempotency_key: Option<String>,
}

/// A job that comes in, recipient by recipient. Dropped before it is kept, it is forgotten.
pub struct BulkIntake {
    gateway: Gateway,
    vendor: VendorId,
    service: Arc<VendorService>,
    instance: Arc<WabaInstance>,
    pattern: Pattern,
    /// Each recipient may get another file, so each is looked for.
    has_files: bool,
    key: Option<String>,
    id: BulkId,
    is_open: bool,
    n_recipients: usize,
    n_same: usize,
    waiting: Vec<NewRecipient>,
    _share: Share,
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
        let share = self.inner.bulk.taking.take(vendor, None).ok_or(SendError::Overloaded)?;
        let service = self.inner.registry.get(vendor).await.map_err(AdminError::from)?;
        let service = service.ok_or(AdminError::NoVendor)?;
        let instance = Arc::clone(messages::sender(&service, new.instance.as_ref())?);
        if new.per_minute.is_some_and(|it| !(1..=PER_MINUTE_MAX).contains(&it)) {
            return Err(invalid(format!("perMinute: is 1 to {PER_MINUTE_MAX}")).into());
        }
        if matches!(new.content, Content::Reaction { .. }) {
            return Err(invalid("type: a reaction is to one message".to_owned()).into());
        }
        let pattern = Pattern::of(&new.content).map_err(|it| invalid(it.to_string()))?;
        let has_files = feed::has_own_file(&new.content);
        if let (false, Content::Media(Media { upload: Some(_), .. })) = (has_files, &new.content) {
            let whole = self.with_file(vendor, new.content.clone()).await?;
            Self::check_file(&service, &instance, &whole, None)?;
        }
        let job = NewJob {
            vendor: vendor.clone(),
            instance: instance.id.clone(),
            content: new.content,
            per_minute: new.per_minute,
            key: new.idempotency_key.clone(),
            now: self.inner.clock.now(),
        };
        let id = self.inner.journal.open_job(job).await.map_err(AdminError::from)?;
        let id = id.ok_or_else(|| {
            let why =
                format!("the vendor has {JOBS_MAX} jobs that have not ended: wait, or cancel one");
            AdminError::Conflict(why)
        })?;
        Ok(BulkIntake {
            gateway: self.clone(),
            vendor: vendor.clone(),
            service,
            instance,
            pattern,
            has_files,
            key: new.idempotency_key,
            id,
            is_open: true,
            n_recipients: 0,
            n_same: 0,
            waiting: Vec::new(),
            _share: share,
        })
    }

    /// A vendor's jobs, the newest first.
    pub async fn bulk_jobs(
        &self,
        vendor: &VendorId,
        before: Option<BulkId>,
        limit: usize,
    ) -> Result<Vec<BulkJob>, AdminError> {
        let jobs = self.inner.journal.jobs(vendor, before, limit).await?;
        if jobs.is_empty() {
            self.vendor(vendor).await?;
        }
        Ok(jobs)
    }

    /// One of a vendor's jobs, and how far it is. It is there after the vendor has gone, too.
    pub async fn bulk_job(&self, vendor: &VendorId, id: BulkId) -> Result<BulkShown, AdminError> {
        let Some((job, progress)) = self.inner.journal.job(vendor, id).await? else {
            return Err(self.no_job(vendor).await);
        };
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
        let now = self.inner.clock.now();
        match self.inner.journal.change_job(vendor, id, deed, None, now).await? {
            BulkChanged::Is => {
                self.inner.work.wake_bulk();
                self.bulk_job(vendor, id).await
            }
            BulkChanged::Not(state) => {
                Err(AdminError::Conflict(format!("the job is {}", state.as_str())))
            }
            BulkChanged::Unknown => Err(self.no_job(vendor).await),
        }
    }

    async fn no_job(&self, vendor: &VendorId) -> AdminError {
        self.vendor(vendor).await.err().unwrap_or(AdminError::NoJob)
    }

    /// Forgets jobs that nobody needs since this time.
    pub(super) async fn forget_old_jobs(&self, before: Millis) -> Result<(), JournalError> {
        while let Some(id) = self.inner.journal.old_job(before).await? {
            self.drop_job(id).await?;
        }
        Ok(())
    }

    async fn drop_job(&self, id: BulkId) -> Result<(), JournalError> {
        loop {
            let started = Instant::now();
            if !self.inner.journal.drop_job(id).await? {
                return Ok(());
            }
            tokio::time::sleep((started.elapsed() * REST).max(REST_MIN)).await;
        }
    }
}

impl BulkIntake {
    /// The variables of its message.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.pattern.names().iter().map(String::as_str)
    }

    /// Takes a recipient; the text of an error names the field.
    pub async fn add(&mut self, to: &str, columns: &Columns) -> Result<(), SendError> {
        if self.n_recipients + self.n_same >= RECIPIENTS_MAX {
            return Err(invalid(format!("a job has at most {RECIPIENTS_MAX} recipients")).into());
        }
        let to = messages::address(to, &self.instance)?;
        messages::check_reach(&self.instance, None, &to)?;
        let is_used = |it: &(&String, &String)| self.pattern.names().contains(it.0);
        let used =
            columns.iter().filter(is_used).map(|(name, value)| (name.clone(), value.clone()));
        let columns: Columns = used.collect();
        let long = columns.iter().find(|it| it.1.chars().count() > VALUE_CHARS_MAX);
        if let Some((name, _)) = long {
            let why = format!("{name}: has more than {VALUE_CHARS_MAX} characters");
            return Err(invalid(why).into());
        }
        let content = content_of(&self.service, &self.instance, &self.pattern, &columns);
        let content = content.map_err(invalid)?;
        if self.has_files {
            let whole = self.gateway.with_file(&self.vendor, content).await?;
            Gateway::check_file(&self.service, &self.instance, &whole, None)?;
        }
        self.n_recipients += 1;
        self.waiting.push(NewRecipient { to, columns });
        if self.waiting.len() >= AT_ONCE { self.flush().await } else { Ok(()) }
    }

    /// Keeps the job; it runs from now on. `request` tells a repetition from another request under
    /// the same key.
    pub async fn keep(mut self, request: Vec<u8>) -> Result<BulkTaken, SendError> {
        self.flush().await?;
        if self.n_recipients == 0 {
            return Err(invalid("there is no recipient".to_owned()).into());
        }
        let key = messages::idempotency(self.key.take(), request)?;
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
