//! Which store vendors are in, and what comes with it.

use std::sync::Arc;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    sqlite::Db,
    store::{FirestoreStore, SharedStore, SqliteStore},
    vault::Vault,
};

/// The stores, open.
pub(super) struct Stores {
    local: SqliteStore,
    firestore: Option<FirestoreStore>,
}

impl Stores {
    /// Opens them. A Firestore that is away is used when it is back.
    pub(super) async fn open(config: &Config, db: &Db, vault: &Arc<Vault>) -> anyhow::Result<Self> {
        let local = SqliteStore::new(db.clone(), Arc::clone(vault));
        local.check_key().await.context("the encryption key does not fit the data")?;
        let firestore = match &config.firestore {
            Some(it) => Some(FirestoreStore::start(it, Arc::clone(vault), local.clone()).await),
            None => None,
        };
        if config.firestore.as_ref().is_some_and(|it| it.emulator.is_some()) {
            tracing::warn!("FIRESTORE_EMULATOR_HOST is set: vendors are in an emulator");
        }
        Ok(Self { firestore: firestore.transpose().context("STORE=firestore")?, local })
    }

    /// The one that vendors are in.
    pub(super) fn shared(&self) -> SharedStore {
        match &self.firestore {
            Some(it) => Arc::new(it.clone()),
            None => Arc::new(self.local.clone()),
        }
    }

    /// Listens for what others change, where changes do not come by themselves.
    pub(super) fn listen(self, stop: &CancellationToken) -> Option<JoinHandle<()>> {
        let (store, stop) = (self.firestore?, stop.clone());
        Some(tokio::spawn(async move { store.listen(stop).await }))
    }
}
