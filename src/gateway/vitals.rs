//! What was heard of vendors' callers: counted in memory, because strangers must not be able to
//! make us write, and kept every few seconds.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use metrics::counter;

use super::{AdminError, Gateway};
use crate::{
    domain::{alert::Vitals, clock::Millis, id::VendorId},
    store::StoreError,
    telemetry::names,
};

/// Vendors written in one transaction.
const PAGE: usize = 500;

/// What was heard and is not on disk yet, and the vendors that are being refused. Only vendors
/// that exist are in it.
#[derive(Default)]
pub struct Heard(Mutex<HashMap<VendorId, Line>>);

#[derive(Clone, Copy, Default)]
struct Line {
    /// `n_refused` counts what is not on disk yet.
    vitals: Vitals,
    is_news: bool,
}

impl Heard {
    pub(super) fn verified(&self, vendor: &VendorId, now: Millis) {
        let mut lines = self.lock();
        match lines.get_mut(vendor) {
            Some(line) => line.note(|it| it.verified(now)),
            None => lines.entry(vendor.clone()).or_default().note(|it| it.verified(now)),
        }
    }

    pub(super) fn refused(&self, vendor: &VendorId, now: Millis) {
        counter!(names::REFUSED).increment(1);
        self.lock().entry(vendor.clone()).or_default().note(|it| it.refused(now));
    }

    /// The vendors that are being refused.
    pub(super) fn being_refused(&self) -> Vec<(VendorId, Vitals)> {
        let lines = self.lock();
        let refused = lines.iter().filter(|it| it.1.vitals.refused_since.is_some());
        refused.map(|it| (it.0.clone(), it.1.vitals)).collect()
    }

    /// What is on disk of a vendor, and what is not yet.
    fn over(&self, vendor: &VendorId, stored: Vitals) -> Vitals {
        let Some(line) = self.lock().get(vendor).copied() else { return stored };
        let Vitals { verified_at, refused_at, refused_since, n_refused } = line.vitals;
        Vitals {
            verified_at: verified_at.or(stored.verified_at),
            refused_at: refused_at.or(stored.refused_at),
            refused_since,
            n_refused: stored.n_refused + n_refused,
        }
    }

    /// Takes what is to be written. Who is not being refused is forgotten here.
    fn take(&self) -> Vec<(VendorId, Vitals)> {
        let mut lines = self.lock();
        let news = lines.iter().filter(|it| it.1.is_news);
        let news: Vec<_> = news.map(|it| (it.0.clone(), it.1.vitals)).collect();
        lines.retain(|_, it| it.vitals.refused_since.is_some());
        for line in lines.values_mut() {
            (line.is_news, line.vitals.n_refused) = (false, 0);
        }
        news
    }

    /// Gives back what could not be written. What was heard since stands.
    fn give_back(&self, unwritten: &[(VendorId, Vitals)]) {
        let mut lines = self.lock();
        for (vendor, old) in unwritten {
            let Some(line) = lines.get_mut(vendor) else {
                lines.insert(vendor.clone(), Line { vitals: *old, is_news: true });
                continue;
            };
            let new = &mut line.vitals;
            new.verified_at = new.verified_at.or(old.verified_at);
            new.refused_at = new.refused_at.or(old.refused_at);
            new.n_refused += old.n_refused;
            line.is_news = true;
        }
    }

    fn load(&self, refused: Vec<(VendorId, Vitals)>) {
        let mut lines = self.lock();
        for (vendor, vitals) in refused {
            let vitals = Vitals { n_refused: 0, ..vitals };
            lines.entry(vendor).or_insert(Line { vitals, is_news: false });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<VendorId, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn note(&mut self, change: impl FnOnce(&mut Vitals)) {
        change(&mut self.vitals);
        self.is_news = true;
    }
}

impl Gateway {
    /// What was heard of a vendor's callers, to this moment.
    pub async fn vitals(&self, vendor: &VendorId) -> Result<Vitals, AdminError> {
        let stored = self.inner.store.vitals(vendor).await?.unwrap_or_default();
        Ok(self.inner.heard.over(vendor, stored))
    }

    /// Takes over from an earlier process who was being refused.
    pub async fn load_vitals(&self) -> Result<(), StoreError> {
        self.inner.heard.load(self.inner.store.refused().await?);
        Ok(())
    }

    /// Writes what was heard.
    ///
    /// # Errors
    ///
    /// What was not written is written the next time.
    pub async fn keep_vitals(&self) -> Result<(), StoreError> {
        let news = self.inner.heard.take();
        for (at, page) in news.chunks(PAGE).enumerate() {
            if let Err(error) = self.inner.store.add_vitals(page).await {
                self.inner.heard.give_back(&news[at * PAGE..]);
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_written_is_written_the_next_time() {
        let heard = Heard::default();
        let [a, b] = ["a", "b"].map(|it| VendorId::parse(it).unwrap());
        heard.verified(&a, 1);
        heard.refused(&b, 2);
        let first = heard.take();
        assert_eq!(first.len(), 2);
        heard.refused(&b, 3);
        heard.verified(&a, 4);
        heard.give_back(&first);
        let of = |all: &[(VendorId, Vitals)], id: &VendorId| {
            all.iter().find(|it| it.0 == *id).unwrap().1
        };
        let second = heard.take();
        assert_eq!(of(&second, &a).verified_at, Some(4));
        let refused = of(&second, &b);
        let want = (Some(3), Some(2), 2);
        assert_eq!((refused.refused_at, refused.refused_since, refused.n_refused), want);
        assert!(heard.take().is_empty(), "only news is written");
        assert_eq!(heard.being_refused().len(), 1, "who is refused is remembered");
        heard.verified(&b, 5);
        assert_eq!(of(&heard.take(), &b).refused_since, None);
        assert!(heard.lock().is_empty());
    }
}
