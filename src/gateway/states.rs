//! How numbers are at their providers, as webhooks and sends tell it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use metrics::counter;

use super::{Gateway, OnceAMinute};
use crate::{
    domain::{
        clock::{MINUTE, Millis},
        contact::Address,
        event::{Chat, Connection, Event, What},
        id::{InstanceId, VendorId},
        waba::{ProviderKind, WabaInstance},
    },
    journal::{NewEvent, NewEvents},
    store::StoreError,
    telemetry::{Chain, names},
    vendor::VendorService,
};

/// `lastSync` is written at most this often.
const SYNC_EVERY: Millis = MINUTE;
/// For a store elsewhere to keep it: a provider waits five seconds for all.
const STATUS_WITHIN: Duration = Duration::from_secs(2);
/// Numbers whose providers are asked at once how they are.
const ASKED_AT_ONCE: usize = 16;

/// Numbers that are said to be down and have sent.
#[derive(Default)]
pub struct InDoubt {
    asked: OnceAMinute,
    waiting: Mutex<HashMap<InstanceId, VendorId>>,
}

impl InDoubt {
    fn add(&self, instance: &WabaInstance, now: Millis) {
        if self.asked.is_due(&instance.id, now) {
            self.lock().insert(instance.id.clone(), instance.vendor_id.clone());
        }
    }

    fn take(&self) -> HashMap<InstanceId, VendorId> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceId, VendorId>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Keeps what the provider says of the session, and when it was last heard of.
    pub(super) async fn sync(
        &self,
        service: &VendorService,
        instance: &WabaInstance,
        told: Option<Connection>,
        now: Millis,
    ) -> Result<(), StoreError> {
        let is_due = {
            let mut synced = self.inner.synced.lock().await;
            let last = synced.get(&instance.id).copied();
            let is_due = told.is_some() || last.is_none_or(|it| now - it >= SYNC_EVERY);
            if is_due {
                synced.insert(instance.id.clone(), now);
            }
            is_due
        };
        if !is_due {
            return Ok(());
        }
        let Some(is_news) = self.keep_status(instance, told, now).await? else { return Ok(()) };
        if let Some(state) = told.filter(|_| is_news) {
            self.tell_connection(service, &instance.id, state).await;
        }
        Ok(())
    }

    /// Whether the state is another than before. `None`: the store is elsewhere and does not answer.
    async fn keep_status(
        &self,
        instance: &WabaInstance,
        told: Option<Connection>,
        now: Millis,
    ) -> Result<Option<bool>, StoreError> {
        self.store_beside(self.inner.store.set_status(&instance.id, told, now)).await
    }

    /// What the store says to something that no webhook waits for: `None` where it is elsewhere and
    /// does not answer.
    async fn store_beside<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Option<T>, StoreError> {
        let manager = &self.inner.manager;
        if !manager.is_store_elsewhere() {
            return asked.await.map(Some);
        }
        if !manager.may_ask_store() {
            return Ok(None);
        }
        let answer = tokio::time::timeout(STATUS_WITHIN, asked).await.ok().and_then(Result::ok);
        manager.store_answered(answer.is_some());
        Ok(answer)
    }

    /// Keeps what the provider warns of where a person looks for why sends fail: they may soon.
    pub(super) async fn note_warning(
        &self,
        by: ProviderKind,
        instance: &WabaInstance,
        warning: &'static str,
        now: Millis,
    ) {
        let vendor = &instance.vendor_id;
        counter!(names::WARNINGS, "of" => by.as_str(), "warning" => warning).increment(1);
        tracing::warn!(vendor.id = %vendor, waba.id = %instance.id, provider = by.as_str(), warning, "the provider warns of this number: see to it in its dashboard before sends fail");
        let kept = self.store_beside(self.inner.store.set_failure(&instance.id, warning, now));
        if let Err(error) = kept.await {
            tracing::warn!(vendor.id = %vendor, waba.id = %instance.id, error = %Chain(&error), "what the provider warns of could not be kept");
        }
    }

    /// A number's own provider took a message of one that is said to be down: it is to be asked how
    /// the number is, for not every provider tells when it is up again.
    pub(super) fn note_taken(&self, instance: &WabaInstance, by: ProviderKind) {
        let is_down = matches!(instance.status, Connection::Disconnected | Connection::Error);
        if is_down && by == instance.provider {
            self.inner.in_doubt.add(instance, self.inner.clock.now());
        }
    }

    /// Asks how the numbers are that are said to be down and have sent, and keeps the answers.
    pub async fn ask_in_doubt(&self) {
        let asked = stream::iter(self.inner.in_doubt.take());
        let ask = async |(id, vendor): (InstanceId, VendorId)| {
            // As it is now: it may have moved to another provider.
            if let Ok(instance) = self.instance(&vendor, &id).await {
                self.ask_state(&instance).await;
            }
        };
        asked.for_each_concurrent(ASKED_AT_ONCE, ask).await;
    }

    /// A session's state was asked for and is another one: the vendor's back end is told as if
    /// the provider had.
    pub(super) async fn found_connection(
        &self,
        vendor: &VendorId,
        instance: &InstanceId,
        state: Connection,
    ) {
        let Ok(Some(service)) = self.inner.registry.get(vendor).await else { return };
        if service.vendor().forward_url.is_none() {
            return;
        }
        let event = Event::new(What::Connection(state), Chat::None, Address::default());
        let batch = NewEvents {
            vendor: vendor.clone(),
            instance: instance.clone(),
            silence: service.vendor().silence,
            forward: true,
            is_told_twice: false,
            now: self.inner.clock.now(),
            raw: Bytes::new(),
            events: vec![NewEvent { event, unanswered: None }],
        };
        if let Err(error) = self.inner.journal.append(batch).await {
            tracing::error!(vendor.id = %vendor, error = %Chain(&error), "a change of the session could not be kept");
        }
    }

    async fn tell_connection(&self, service: &VendorService, id: &InstanceId, state: Connection) {
        let vendor = &service.vendor().id;
        self.inner.registry.forget(vendor).await;
        if matches!(state, Connection::Disconnected | Connection::Error) {
            counter!(names::DISCONNECTED).increment(1);
            tracing::error!(vendor.id = %vendor, waba.id = %id, state = state.as_str(), "the number is not connected at its provider: until somebody links it again, or sees to its account there, nothing reaches it or nothing leaves");
        } else {
            tracing::info!(vendor.id = %vendor, waba.id = %id, state = state.as_str(), "the state of the number changed");
        }
    }
}

/// The latest state that these tell.
pub(super) fn told_connection(events: &[Event]) -> Option<Connection> {
    events.iter().rev().find_map(|it| match it.what {
        What::Connection(state) => Some(state),
        _ => None,
    })
}
