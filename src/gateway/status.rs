//! A signal that waited is looked at again: its message may be known by now, or the send whose
//! echo it may be has ended.

use super::{Gateway, reply::WorkError};
use crate::domain::schedule::{Job, Next};

impl Gateway {
    /// Looks at a signal again.
    pub async fn signal(&self, job: &Job) -> Result<Next, WorkError> {
        let rechecked = self.inner.journal.recheck(job.id, self.inner.clock.now()).await?;
        if rechecked.is_human {
            tracing::info!(vendor.id = %job.vendor, "a human answers; the bot is quiet");
        }
        self.inner.work.apply(rechecked.changes);
        Ok(rechecked.next)
    }
}
