//! What was changed elsewhere: by another process on the same data, or by another gateway.

use std::collections::HashSet;

use super::Gateway;
use crate::{cache::Subject, domain::id::VendorId, store::StoreError};

impl Gateway {
    /// Another process changed these vendors in our data: what is remembered of them is dropped,
    /// here and by the other gateways, and their sends are stopped or let go on as is stored.
    pub async fn notice(&self, changed: &[VendorId]) -> Result<(), StoreError> {
        let manager = &self.inner.manager;
        for vendor in changed {
            // Others may have had the keys that its numbers have now.
            let instances = self.inner.store.instances(vendor).await?;
            instances.iter().for_each(|it| manager.forget_keys(it));
            manager.forget(vendor);
        }
        manager.announce().await;
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
            let stored = self.inner.store.vendor(vendor).await?;
            work.pause(Some(vendor), stored.is_some_and(|it| it.paused));
        }
        Ok(())
    }
}
