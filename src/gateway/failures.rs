//! Why the sends of an instance fail, kept beside it so that a person finds it: the latest, and
//! written at most once a minute.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::Gateway;
use crate::{
    domain::{
        clock::{MINUTE, Millis},
        delivery::{Delivery, Reason, State},
        id::InstanceId,
        schedule::Job,
    },
    telemetry::Chain,
};

/// When something was last done for each instance that is done once a minute at most.
#[derive(Default)]
pub struct OnceAMinute(Mutex<HashMap<InstanceId, Millis>>);

impl OnceAMinute {
    /// Whether it may be done now; it is then taken for done.
    pub(super) fn is_due(&self, instance: &InstanceId, now: Millis) -> bool {
        let mut done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if done.get(instance).is_some_and(|it| now - it < MINUTE) {
            return false;
        }
        done.insert(instance.clone(), now);
        true
    }
}

impl Gateway {
    /// Keeps that a send failed for good, or that nobody knows. What was not sent for a reason of
    /// the customer's or the vendor's is no failure of the instance.
    pub(super) async fn note_failure(&self, job: &Job, delivery: Option<&Delivery>) {
        let Some(word) = delivery.and_then(|it| word(&it.state)) else { return };
        let now = self.inner.clock.now();
        if !self.inner.failures.is_due(&job.instance, now) {
            return;
        }
        if let Err(error) = self.inner.store.set_failure(&job.instance, word, now).await {
            tracing::warn!(vendor.id = %job.vendor, waba.id = %job.instance, error = %Chain(&error), "why a send failed could not be kept");
        }
    }
}

fn word(state: &State) -> Option<&'static str> {
    match state {
        State::Fenced { .. } | State::Unknown => Some("unknown"),
        State::Parked(reason) | State::Dead(reason) => match reason {
            Reason::NoPhone
            | Reason::PartBefore
            | Reason::Held
            | Reason::Silenced
            | Reason::Gone
            | Reason::WindowClosed
            | Reason::OptedOut
            | Reason::Undeliverable
            | Reason::Unsupported
            | Reason::Erased
            | Reason::Restored => None,
            Reason::Expired
            | Reason::NoSessionKey
            | Reason::Unauthorized
            | Reason::Invalid
            | Reason::Plan
            | Reason::Restricted
            | Reason::Quality
            | Reason::Template
            | Reason::NotRegistered
            | Reason::NoCredentials
            | Reason::Disconnected
            | Reason::Failed => Some(reason.as_str()),
        },
        State::Waiting { .. } | State::Begun | State::Accepted { .. } | State::Sent => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_written_once_a_minute() {
        let (failures, id) = (OnceAMinute::default(), InstanceId::parse("waba_a").unwrap());
        assert!(failures.is_due(&id, 0));
        assert!(!failures.is_due(&id, MINUTE - 1));
        assert!(failures.is_due(&InstanceId::parse("waba_b").unwrap(), 1));
        assert!(failures.is_due(&id, MINUTE));
    }
}
