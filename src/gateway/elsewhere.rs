//! What was changed elsewhere: by another process on the same data, or by another gateway. It is
//! forgotten at once. What more there is to do asks the store, which may be slow or away, so it is
//! done in the background; and it waits for nobody who is changing a vendor here.

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt, TryStreamExt, future, stream, stream::FuturesUnordered};

use super::Gateway;
use crate::{
    cache::Subject, domain::id::VendorId, sqlite::DbError, store::StoreError, telemetry::Chain,
    vendor::Paused,
};

/// Vendors that are looked at again at once: a small share of those that may read the store.
const LOOKS_MAX: usize = 8;
/// Vendors that are compared at once with what others know of them.
const FIRST_HEARD_AT_ONCE: usize = 64;
/// When it is looked again at what could not be seen.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

impl Gateway {
    /// Another process changed these vendors in our data: what is remembered of them is dropped,
    /// here and by the other gateways. The rest comes later.
    pub async fn notice(&self, changed: &[VendorId]) {
        let manager = &self.inner.manager;
        changed.iter().for_each(|it| manager.changed(it));
        manager.announce().await;
        // Everybody may have been stopped as well.
        self.inner.pauses_due.notify_one();
    }

    /// Something was heard of these vendors that may be no change, each with its mark: who knows
    /// them can tell.
    pub async fn notice_first_heard(&self, heard: &[(VendorId, u64)]) {
        let manager = &self.inner.manager;
        let looks =
            stream::iter(heard).for_each_concurrent(FIRST_HEARD_AT_ONCE, async |(vendor, mark)| {
                if manager.is_news(vendor, *mark).await {
                    manager.changed(vendor);
                }
            });
        looks.await;
        manager.announce().await;
    }

    /// It is listened for changes from now on; what was changed before may have been missed.
    pub fn listening_began(&self) {
        self.inner.manager.listening_began();
        self.inner.pauses_due.notify_one();
    }

    /// Another gateway says that these have changed.
    pub fn hear(&self, subjects: &[Subject]) {
        self.inner.manager.heard(subjects);
        if subjects.iter().any(|it| !matches!(it, Subject::Key(_))) {
            self.inner.pauses_due.notify_one();
        }
    }

    /// Whatever other gateways may have changed is looked at again: nobody listened.
    pub fn hear_all(&self) {
        self.inner.manager.forget_all();
        self.inner.pauses_due.notify_one();
    }

    /// Does the rest about what was noticed and heard, for as long as it is waited for.
    pub async fn tend_changes(&self) {
        tokio::join!(self.tend_changed(), self.tend_pauses());
    }

    async fn tend_changed(&self) {
        let mut looks = FuturesUnordered::new();
        loop {
            tokio::select! {
                (vendor, of_keys) = self.inner.manager.next_changed(), if looks.len() < LOOKS_MAX => {
                    looks.push(self.look_again(vendor, of_keys));
                }
                Some(()) = looks.next() => {}
            }
        }
    }

    async fn look_again(&self, vendor: VendorId, of_keys: bool) {
        match self.inner.manager.look_again(&vendor, of_keys).await {
            Err(error) if error.is_away() || error.is_busy() => {
                self.inner.manager.look_again_at(&vendor, of_keys);
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            // What is wrong with one vendor's documents is told where the vendor is asked for.
            Ok(()) | Err(_) => self.endpoint_may_be_another(&vendor).await,
        }
    }

    async fn tend_pauses(&self) {
        let mut is_told = false;
        loop {
            self.inner.pauses_due.notified().await;
            loop {
                match self.take_over_pauses().await {
                    Ok(true) => break,
                    Err(error) if !is_told => {
                        is_told = true;
                        tracing::warn!(error = %Chain(&error), "changes could not be taken over yet");
                    }
                    Ok(false) | Err(_) => {}
                }
                tokio::select! {
                    () = tokio::time::sleep(AGAIN_AFTER) => {}
                    () = self.inner.pauses_due.notified() => {}
                }
            }
            is_told = false;
        }
    }

    /// Sends are stopped or let go on as is stored. Whether all are; else somebody is changing one
    /// of the vendors here, and it is to be looked at again.
    pub async fn take_over_pauses(&self) -> Result<bool, StoreError> {
        let (manager, work) = (&self.inner.manager, &self.inner.work);
        let Paused { vendors, all, is_copy } = manager.paused().await?;
        if is_copy {
            // What the copy says holds already.
            return Err(DbError::Away.into());
        }
        let stored: HashSet<VendorId> = vendors.into_iter().collect();
        let here: HashSet<VendorId> = work.paused().into_iter().collect();
        let all_here = work.is_all_paused();
        // Stopped at once, and let go only when it is sure that nobody has just stopped them here.
        stored.difference(&here).for_each(|it| work.pause(Some(it), true));
        if all {
            work.pause(None, true);
        }
        let differing: Vec<(VendorId, bool)> = stored
            .symmetric_difference(&here)
            .map(|it| (it.clone(), stored.contains(it)))
            .collect();
        let looks = differing
            .into_iter()
            .map(|(vendor, is_listed)| self.take_over_pause(vendor, is_listed));
        let looks = stream::iter(looks).buffer_unordered(LOOKS_MAX);
        let are_done = looks.try_fold(true, |all, it| future::ok(all && it)).await?;
        // Last: it may be what holds everybody until it is known who is paused.
        let is_done = all == all_here || self.take_over_pause_of_all().await?;
        Ok(are_done && is_done)
    }

    async fn take_over_pause(&self, vendor: VendorId, is_listed: bool) -> Result<bool, StoreError> {
        // Not between what is being changed here and what of it is stored.
        let Ok(_turn) = self.its_turn(&vendor).try_lock() else { return Ok(false) };
        let is_paused = match self.inner.store.vendor(&vendor).await {
            Ok(stored) => stored.is_some_and(|it| it.paused),
            Err(error) if error.is_away() => return Err(error),
            Err(_) => is_listed,
        };
        self.inner.work.pause(Some(&vendor), is_paused);
        Ok(true)
    }

    async fn take_over_pause_of_all(&self) -> Result<bool, StoreError> {
        let Ok(_turn) = self.inner.turn_of_all.try_lock() else { return Ok(false) };
        let paused = self.inner.manager.paused().await?;
        if paused.is_copy {
            return Err(DbError::Away.into());
        }
        self.inner.work.pause(None, paused.all);
        Ok(true)
    }
}
