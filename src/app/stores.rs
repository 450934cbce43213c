//! Which store vendors are in, and what comes with it.

use std::sync::Arc;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    sqlite::Db,
    store::{FirestoreStore, LocalCopy, SharedStore, SqliteStore},
    vault::Vault,
    vendor::Source,
};

/// The stores, open.
pub(super) struct Stores {
    place: Place,
    copy: LocalCopy,
    vault: Arc<Vault>,
}

enum Place {
    Embedded(SqliteStore),
    Firestore(Box<FirestoreStore>),
    /// Of whoever started us.
    Given(SharedStore),
}

impl Stores {
    /// Opens them. A Firestore that is away is used when it is back.
    pub(super) async fn open(
        config: &Config,
        embedded: SqliteStore,
        db: &Db,
        vault: &Arc<Vault>,
        given: Option<SharedStore>,
    ) -> anyhow::Result<Self> {
        let copy = LocalCopy::new(db.clone(), Arc::clone(vault));
        let place = match (given, &config.firestore) {
            (Some(store), _) => Place::Given(store),
            (None, None) => Place::Embedded(embedded),
            (None, Some(it)) => {
                if it.emulator.is_some() {
                    tracing::warn!("FIRESTORE_EMULATOR_HOST is set: vendors are in an emulator");
                }
                let started = FirestoreStore::start(it, Arc::clone(vault), embedded).await;
                let started = started.context("STORE=firestore")?;
                if started.has_old_key().await.unwrap_or(false) {
                    tracing::warn!(
                        "documents in Firestore may still be sealed with a key of ENCRYPTION_KEYS_OLD: \"waba-gateway vault rotate\" seals them with ENCRYPTION_KEY"
                    );
                }
                Place::Firestore(Box::new(started))
            }
        };
        let vault = match &place {
            Place::Firestore(it) => it.vault(),
            Place::Embedded(_) => Arc::clone(vault),
            // What keys the hashes of one that is given is the same for all who share it.
            Place::Given(_) => Arc::new(super::vault(config)?),
        };
        Ok(Self { place, copy, vault })
    }

    /// What keys the hashes of what is shared.
    pub(super) fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault)
    }

    /// The one that vendors are in, and where they are found: of a store elsewhere there is a copy
    /// here.
    pub(super) fn shared(&self) -> (SharedStore, Source) {
        let store: SharedStore = match &self.place {
            Place::Embedded(it) => {
                let store: SharedStore = Arc::new(it.clone());
                return (Arc::clone(&store), Source::new(store));
            }
            Place::Firestore(it) => Arc::new(FirestoreStore::clone(it)),
            Place::Given(it) => Arc::clone(it),
        };
        (Arc::clone(&store), Source::elsewhere(store, self.copy.clone()))
    }

    /// Where an application is told of messages, if it is.
    pub(super) fn firestore(&self) -> Option<FirestoreStore> {
        match &self.place {
            Place::Firestore(it) => Some(FirestoreStore::clone(it)),
            Place::Embedded(_) | Place::Given(_) => None,
        }
    }

    /// Listens for what others change, where changes do not come by themselves.
    pub(super) fn listen(self, stop: &CancellationToken) -> Option<JoinHandle<()>> {
        let Place::Firestore(store) = self.place else { return None };
        let stop = stop.clone();
        Some(tokio::spawn(async move { store.listen(stop).await }))
    }
}
