//! How much there is to do.

use super::{Kind, Scheduler};
use crate::domain::{clock::Millis, id::VendorId};

impl Scheduler {
    /// Entries of a vendor that wait for their turn or run.
    #[must_use]
    pub fn n_jobs_of(&self, vendor: &VendorId) -> usize {
        self.vendors.get(vendor).map_or(0, |it| it.n_jobs - it.n_follows)
    }

    /// Entries of a vendor that wait for their time: sent ones to be asked about, and later ones.
    #[must_use]
    pub fn n_follows_of(&self, vendor: &VendorId) -> usize {
        self.vendors.get(vendor).map_or(0, |it| it.n_follows)
    }

    /// All entries that are known, those that wait for their time among them.
    #[must_use]
    pub fn n_jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Entries that run.
    #[must_use]
    pub fn n_running(&self) -> usize {
        self.running.len()
    }

    /// Messages and sends that wait for their turn or run, and when the oldest was committed.
    /// What only waits for its time is no backlog: sent ones to be asked about, signals whose
    /// message is not known yet.
    #[must_use]
    pub fn backlog(&self) -> (usize, Option<Millis>) {
        let mut n = 0;
        let waiting = self.jobs.values().filter(|it| matches!(it.kind, Kind::Message | Kind::Send));
        let oldest = waiting.inspect(|_| n += 1).map(|it| it.id.ms()).min();
        (n, oldest)
    }
}
