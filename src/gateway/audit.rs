//! The record of what admins change.

use super::Gateway;
use crate::{
    domain::id::VendorId,
    store::{Deed, StoreError},
};

/// Whoever runs the command line on the data has no key.
pub const BY_CLI: &str = "cli";

impl Gateway {
    /// Puts a change on record that was made.
    pub async fn put_on_record(
        &self,
        by: &str,
        what: &str,
        vendor: Option<&VendorId>,
        about: Option<&str>,
    ) -> Result<(), StoreError> {
        let deed = Deed {
            at: self.inner.clock.now(),
            by: by.to_owned(),
            what: what.to_owned(),
            vendor: vendor.cloned(),
            about: about.map(str::to_owned),
        };
        self.inner.store.add_deed(&deed).await
    }

    /// Changes on record before the one of this number, newest first, with their numbers.
    pub async fn deeds(
        &self,
        vendor: Option<&VendorId>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(i64, Deed)>, StoreError> {
        self.inner.store.deeds(vendor, before, limit).await
    }
}
