//! The circuits of the responders. They live as long as the process: a vendor's service is made
//! anew whenever the vendor changes, and a service that is down stays down for that.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use metrics::counter;
use moka::sync::Cache;

use crate::{
    domain::{
        circuit::{Circuit, Permit, Turned},
        clock::Clock,
        id::VendorId,
        secret::ExposeSecret,
        vendor::{Dialect, ResponseApi},
    },
    telemetry::names,
};

/// Responders whose circuits are kept; the least used go first, and are closed when they return.
const CIRCUITS_MAX: u64 = 100_000;
/// A circuit that nobody asked for this long would let a call through anyway.
const KEPT_FOR: Duration = Duration::from_mins(10);

/// The circuits of all responders. Clones share them.
#[derive(Clone)]
pub struct Circuits(Cache<CircuitKey, Arc<Mutex<Circuit>>>);

impl Default for Circuits {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(CIRCUITS_MAX).time_to_idle(KEPT_FOR).build())
    }
}

/// One responder of one vendor. Whatever changes of how it is called makes it another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct CircuitKey(VendorId, u64);

impl CircuitKey {
    pub(super) fn of(vendor: &VendorId, api: &ResponseApi) -> Self {
        let mut hasher = DefaultHasher::new();
        api.url.hash(&mut hasher);
        for (name, value) in &api.headers {
            (name, value.expose_secret()).hash(&mut hasher);
        }
        if let Dialect::Conversation { chatbot_id, web_id } = &api.dialect {
            (chatbot_id, web_id.as_ref().map(ExposeSecret::expose_secret)).hash(&mut hasher);
        }
        Self(vendor.clone(), hasher.finish())
    }
}

impl Circuits {
    /// Asks to call a responder.
    pub(super) fn ask(&self, key: &CircuitKey, clock: &Clock) -> Option<Permit> {
        self.with(key, |it| it.ask(clock.now()))
    }

    /// Tells what the call came to.
    pub(super) fn tell(&self, key: &CircuitKey, permit: Permit, is_ok: bool, clock: &Clock) {
        let end = if is_ok { Ok(()) } else { Err("failed") };
        match self.with(key, |it| it.tell(permit, end, clock.now())) {
            Some(Turned::Opened) => {
                counter!(names::CIRCUITS, "of" => "responder", "turned" => "open").increment(1);
                tracing::warn!(vendor.id = %key.0, "a responder failed too often; it is not asked for a while");
            }
            Some(Turned::Closed) => {
                counter!(names::CIRCUITS, "of" => "responder", "turned" => "closed").increment(1);
                tracing::info!(vendor.id = %key.0, "a responder that had failed answers again");
            }
            None => {}
        }
    }

    fn with<T>(&self, key: &CircuitKey, work: impl FnOnce(&mut Circuit) -> T) -> T {
        let circuit = self.0.get_with_by_ref(key, Arc::default);
        // Nothing in here panics, and what it holds is whole at every point.
        let mut circuit = circuit.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut circuit)
    }
}
