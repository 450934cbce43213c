//! What was changed elsewhere: by another process on the same data, or by another gateway.

use std::collections::HashSet;

use super::Gateway;
use crate::{cache::Subject, domain::id::VendorId, store::StoreError};

impl Gateway {
    /// Another process changed these vendors in our data: what is remembered of them is dropped,
    /// here and by the other gateways, and their sends are stopped or let go on as is stored.
    pub async fn notice(&self, changed: &[VendorId]) -> Result<(), StoreError> {
        let manager = &self.inner.manager;
        changed.iter().for_each(|it| manager.forget(it));
        let mut away = None;
        for vendor in changed {
            match self.inner.store.instances(vendor).await {
                // Others may have had the keys that its numbers have now.
                Ok(instances) => instances.iter().for_each(|it| manager.forget_keys(it)),
                // Asked again when the store is back.
                Err(error) if error.is_away() => away = Some(error),
                // What is wrong with one vendor's documents must not keep the others' changes.
                Err(_) => {}
            }
        }
        manager.announce().await;
        if let Some(error) = away {
            return Err(error);
        }
        for vendor in changed {
            self.endpoint_may_be_another(vendor).await;
        }
        // Everybody may have been stopped as well.
        self.take_over_all_pauses().await
    }

    /// Another gateway says that these have changed.
    pub async fn hear(&self, subjects: &[Subject]) -> Result<(), StoreError> {
        self.inner.manager.heard(subjects);
        let vendor = |it: &Subject| match it {
            Subject::Vendor(id) => Some(id.clone()),
            Subject::Key(_) | Subject::Pauses => None,
        };
        let vendors: Vec<VendorId> = subjects.iter().filter_map(vendor).collect();
        self.take_over(&vendors).await?;
        if subjects.contains(&Subject::Pauses) {
            let _turn = self.inner.turn_of_all.lock().await;
            let is_paused = self.inner.manager.paused().await?.1;
            self.inner.work.pause(None, is_paused);
        }
        Ok(())
    }

    /// Whatever other gateways may have changed is looked at again: nobody listened.
    pub async fn hear_all(&self) -> Result<(), StoreError> {
        self.inner.manager.forget_all();
        self.take_over_all_pauses().await
    }

    /// Sends are stopped or let go on as is stored.
    pub async fn take_over_all_pauses(&self) -> Result<(), StoreError> {
        // Not between what is being changed here and what of it is stored.
        let _turn = self.inner.turn_of_all.lock().await;
        let (stored, all) = self.inner.manager.paused().await?;
        let mut vendors: HashSet<VendorId> = self.inner.work.paused().into_iter().collect();
        vendors.extend(stored);
        self.take_over_pauses(&Vec::from_iter(vendors)).await?;
        // Last: it may be what holds everybody until it is known who is paused.
        self.inner.work.pause(None, all);
        Ok(())
    }

    async fn take_over(&self, changed: &[VendorId]) -> Result<(), StoreError> {
        for vendor in changed {
            self.endpoint_may_be_another(vendor).await;
        }
        self.take_over_pauses(changed).await
    }

    async fn take_over_pauses(&self, changed: &[VendorId]) -> Result<(), StoreError> {
        if changed.is_empty() {
            return Ok(());
        }
        let paused: HashSet<VendorId> = self.inner.manager.paused().await?.0.into_iter().collect();
        let work = &self.inner.work;
        for vendor in changed.iter().filter(|it| work.is_paused(it) != paused.contains(it)) {
            // It may have been changed here in the meantime.
            let _turn = self.turn_of(vendor).await;
            let is_paused = match self.inner.store.vendor(vendor).await {
                Ok(stored) => stored.is_some_and(|it| it.paused),
                Err(error) if error.is_away() => return Err(error),
                Err(_) => paused.contains(vendor),
            };
            work.pause(Some(vendor), is_paused);
        }
        Ok(())
    }
}
