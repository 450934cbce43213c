//! Hears what other programs and nodes change in Firestore. It starts at Firestore's present time
//! and goes on from where it was after an outage, so that the documents that are there are not
//! read for it.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use firestore::{
    FirestoreDb, FirestoreInstant, FirestoreListenEvent, FirestoreListener,
    FirestoreListenerParams, FirestoreListenerTarget, FirestoreListenerTargetParams,
    FirestoreListenerTargetResumeType, FirestoreListenerToken, FirestoreResumeStateStorage,
    FirestoreTargetType,
};
use metrics::counter;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    Fault, FirestoreStore,
    changes::Changes,
    instance::INSTANCES,
    session::{Session, all_of},
    shared::{KEYS, PAUSES},
    vendor::{CONFIGS, OLDER_CONFIGS},
};
use crate::telemetry::{Chain, names};

/// What is listened to.
const COLLECTIONS: [&str; 5] = [INSTANCES, CONFIGS, OLDER_CONFIGS, PAUSES, KEYS];
/// Between an end of the stream and the next.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How often it is looked whether everything is still listened to.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the library's storages answer.
type Stored<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Listener = FirestoreListener<FirestoreDb, Places>;

impl FirestoreStore {
    /// Listens until `stop`.
    pub async fn listen(&self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.listen_on() => {}
        }
    }

    async fn listen_on(&self) {
        loop {
            match self.listen_once().await {
                Err(Fault::WrongKey) => return,
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "changes in Firestore are not heard of; trying on");
                }
                Ok(()) => tracing::warn!("Firestore ended the listening; trying on"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns when something that is listened to is no more.
    async fn listen_once(&self) -> Result<(), Fault> {
        let session = self.client.connected().await?;
        let mut listener = start(&session, self.changes.clone()).await?;
        while listener.targets().len() == COLLECTIONS.len() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // Why it ended, the library has told.
        let _ = listener.shutdown().await;
        Ok(())
    }
}

async fn start(session: &Session, changes: Changes) -> Result<Listener, Fault> {
    let start = session.time().await?;
    let places = Places { start, tokens: Mutex::default(), changes: changes.clone() };
    let params = FirestoreListenerParams::new().with_retry_delay(AGAIN_AFTER);
    let mut listener = session.db().create_listener_with_params(places, params).await?;
    for (n, collection) in (1..).zip(COLLECTIONS) {
        let target = FirestoreListenerTargetParams::new(
            FirestoreListenerTarget::new(n),
            FirestoreTargetType::Query(all_of(collection)),
            HashMap::new(),
        );
        listener.add_target(target)?;
    }
    // What was read before that time may have been changed since.
    changes.begins();
    let heard = move |event| {
        hear(&changes, &event);
        async { Ok(()) }
    };
    listener.start(heard).await?;
    Ok(listener)
}

fn hear(changes: &Changes, event: &FirestoreListenEvent) {
    match event {
        FirestoreListenEvent::DocumentChange(it) => {
            counter!(names::FIRESTORE_HEARD).increment(1);
            it.document.iter().for_each(|it| changes.changed(it));
        }
        FirestoreListenEvent::DocumentDelete(it) => {
            counter!(names::FIRESTORE_HEARD).increment(1);
            changes.deleted(&it.document);
        }
        FirestoreListenEvent::DocumentRemove(it) => changes.deleted(&it.document),
        // How many documents there are says that some change was not told.
        FirestoreListenEvent::Filter(_) => changes.begins(),
        FirestoreListenEvent::TargetChange(_) => {}
    }
}

/// From where each target goes on.
struct Places {
    start: FirestoreInstant,
    /// `None`: Firestore does not take the place it gave any more, and reads all again.
    tokens: Mutex<HashMap<FirestoreListenerTarget, Option<FirestoreListenerToken>>>,
    changes: Changes,
}

#[async_trait]
impl FirestoreResumeStateStorage for Places {
    async fn read_resume_state(
        &self,
        target: &FirestoreListenerTarget,
    ) -> Stored<Option<FirestoreListenerTargetResumeType>> {
        Ok(match self.tokens.lock().await.get(target) {
            None => Some(FirestoreListenerTargetResumeType::ReadTime(self.start)),
            Some(place) => place.clone().map(FirestoreListenerTargetResumeType::Token),
        })
    }

    async fn update_resume_token(
        &self,
        target: &FirestoreListenerTarget,
        token: FirestoreListenerToken,
    ) -> Stored<()> {
        self.tokens.lock().await.insert(target.clone(), Some(token));
        Ok(())
    }

    async fn forget_resume_state(&self, target: &FirestoreListenerTarget) -> Stored<()> {
        self.tokens.lock().await.insert(target.clone(), None);
        // Nobody tells what was deleted before it begins anew.
        self.changes.begins();
        Ok(())
    }
}
