//! Vendors handed from one gateway to another: exported page by page, imported all or none as far as
//! the store can.

mod check;
mod plan;

use super::{AdminError, Gateway};
use crate::{
    domain::{id::VendorId, secret::SecretString},
    store::{
        StoreError,
        exchange::{VERSION, VendorExchange},
    },
};

/// The most vendors of one document.
pub const IMPORT_VENDORS_MAX: usize = 10_000;
/// Faults that are told; the rest is counted.
pub const IMPORT_FAULTS_MAX: usize = 1_000;
/// Vendors of an export that are held in memory.
const EXPORT_PAGE: usize = 200;

/// An export being written, piece by piece.
pub struct Export {
    gateway: Gateway,
    with_secrets: bool,
    stage: Stage,
    n_vendors: usize,
    unreadable: Vec<VendorId>,
}

enum Stage {
    Start,
    After(Option<VendorId>),
    End,
}

/// What an import did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Vendors that were not there.
    pub n_created: usize,
    /// Vendors that were.
    pub n_updated: usize,
    /// Instances, new and changed.
    pub n_instances: usize,
}

/// What is wrong with one vendor of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportFault {
    /// Its place in the document, from 0.
    pub index: usize,
    /// Its id, where that can be read.
    pub vendor: Option<VendorId>,
    /// Which field, like `instances[0].phoneNumber`.
    pub field: String,
    /// Why; it quotes no value.
    pub why: String,
}

/// Why not everything was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// What every admin request can meet; [`AdminError::Invalid`] when it is no such document.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Vendors are at fault.
    #[error("{n_faults} faults; nothing was changed")]
    Faults {
        /// How many faults there are.
        n_faults: usize,
        /// The first of them.
        faults: Vec<ImportFault>,
    },
    /// The store kept a part of it.
    #[error(transparent)]
    Partly(StoreError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Partly(_) => Self::Partly(error),
            error => Self::Admin(error.into()),
        }
    }
}

impl Export {
    /// The next piece of the document; `None` when it is whole.
    pub async fn next(&mut self) -> Result<Option<String>, AdminError> {
        let after = match &self.stage {
            Stage::Start => {
                self.stage = Stage::After(None);
                return Ok(Some(format!("{{\"version\":{VERSION},\"vendors\":[")));
            }
            Stage::End => return Ok(None),
            Stage::After(after) => after.clone(),
        };
        let page = self.gateway.vendors(after.as_ref(), EXPORT_PAGE).await?;
        self.unreadable.extend(page.unreadable);
        let mut text = String::new();
        for vendor in &page.vendors {
            let instances = match self.gateway.inner.store.instances(&vendor.id).await {
                Err(error) if error.is_unreadable() => {
                    self.unreadable.push(vendor.id.clone());
                    continue;
                }
                instances => instances?,
            };
            let vendor = VendorExchange::of(vendor, &instances, self.with_secrets);
            text.push_str(if self.n_vendors == 0 { "\n" } else { ",\n" });
            self.n_vendors += 1;
            text.push_str(&as_text(&vendor));
        }
        self.stage = if page.next.is_some() {
            Stage::After(page.next)
        } else {
            text.push_str("\n]");
            if !self.unreadable.is_empty() {
                self.unreadable.sort();
                text.push_str(",\"unreadable\":");
                text.push_str(&as_text(&self.unreadable));
            }
            text.push_str("}\n");
            Stage::End
        };
        Ok(Some(text))
    }

    /// The vendors so far that are not in the document, because they or their numbers cannot be
    /// read. At its end it names them.
    #[must_use]
    pub fn unreadable(&self) -> &[VendorId] {
        &self.unreadable
    }
}

fn as_text(it: &impl serde::Serialize) -> String {
    serde_json::to_string(it).expect("it has no key that is not text")
}

impl Gateway {
    /// All vendors with their instances, as one document.
    #[must_use]
    pub fn export_vendors(&self, with_secrets: bool) -> Export {
        let stage = Stage::Start;
        Export { gateway: self.clone(), with_secrets, stage, n_vendors: 0, unreadable: Vec::new() }
    }

    /// Makes or changes the vendors of a document, all or none; in a dry run, none.
    ///
    /// # Errors
    ///
    /// Nothing was changed, but with [`ImportError::Partly`].
    pub async fn import_vendors(
        &self,
        text: &[u8],
        is_dry_run: bool,
    ) -> Result<Imported, ImportError> {
        // Whoever changes a vendor meanwhile would change what has been checked.
        let mut turns = Vec::new();
        for turn in &self.inner.turns {
            turns.push(turn.lock().await);
        }
        let plan = plan::plan(&*self.inner.store, text, self.inner.clock.now()).await?;
        if is_dry_run {
            return Ok(plan.imported);
        }
        let work = &self.inner.work;
        let vendors = || plan.planned.iter().map(|it| &it.vendor);
        // Stopped before it is on disk, let go only after.
        vendors().filter(|it| it.paused).for_each(|it| work.pause(Some(&it.id), true));
        let kept = self.inner.store.import_if(&plan.planned).await;
        // Also what failed may be kept: in part, or as a whole when the answer alone was lost.
        for it in &plan.planned {
            for instance in it.before.instances.iter().chain(&it.instances) {
                self.inner.manager.forget_keys(instance);
            }
            self.inner.manager.forget(&it.vendor.id);
            self.inner.forwarding.renew(&it.vendor.id, &self.inner.clock);
        }
        self.inner.manager.announce().await;
        if let Err(error) = kept {
            // Whose sends are stopped is looked at again.
            self.inner.pauses_due.notify_one();
            return Err(error.into());
        }
        vendors().for_each(|it| work.pause(Some(&it.id), it.paused));
        tracing::info!(n_vendors = plan.planned.len(), "vendors were imported");
        Ok(plan.imported)
    }
}

/// Whether two secrets are one.
fn is_same(left: &SecretString, right: &SecretString) -> bool {
    use crate::domain::secret::{ExposeSecret, same};
    same(left.expose_secret().as_bytes(), right.expose_secret().as_bytes())
}
