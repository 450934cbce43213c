//! Which ways out are down: a circuit for each provider of each number.

use std::sync::{Arc, Mutex, PoisonError};

use metrics::counter;
use moka::sync::Cache;

use super::Gateway;
use crate::{
    domain::{
        circuit::{Circuit, Permit, Shut, Turned},
        clock::Millis,
        delivery::{Outcome, PATIENCE, Reason, Refusal},
        event::{Connection, Failure, Status, What},
        id::InstanceId,
        route::{ProviderKind, ProviderSet, Routes},
        schedule::{Kind, Next},
        waba::WabaInstance,
    },
    journal::{NewEvent, Recorded, Ways},
    provider::{Attempt, OF_COUNTRY},
    telemetry::names,
};

/// Circuits that are kept; the least used go first, and are closed when they return.
const CIRCUITS_MAX: u64 = 100_000;

/// What is known of one way out.
#[derive(Default)]
struct Way {
    circuit: Circuit,
    /// Since when the provider wants nothing, and until when.
    busy: Option<(Millis, Millis)>,
}

impl Way {
    /// The provider wants nothing until then; what it said before holds where that is longer.
    fn rests(&mut self, now: Millis, until: Millis) {
        let before = self.busy_until(now).map(|it| it.1);
        self.busy = Some((now, until.max(before.unwrap_or_default())));
    }

    fn busy_until(&self, now: Millis) -> Option<(Millis, Millis)> {
        // A clock that was set back must not keep it shut.
        self.busy.filter(|(since, until)| (*since..*until).contains(&now))
    }

    fn shut(&self, now: Millis) -> Option<Shut> {
        let busy = self.busy_until(now);
        let busy =
            busy.map(|(since, until)| Shut { since, why: "busy", until, is_passed_over: true });
        self.circuit
            .shut(now)
            .into_iter()
            .chain(busy)
            .max_by_key(|it| (it.is_passed_over, it.until))
    }
}

/// What is known of all ways out.
pub struct SendCircuits(Cache<(InstanceId, ProviderKind), Arc<Mutex<Way>>>);

impl Default for SendCircuits {
    fn default() -> Self {
        Self(Cache::new(CIRCUITS_MAX))
    }
}

impl SendCircuits {
    /// One that nobody has heard of is open to all, and not kept for that.
    fn with_known<T>(
        &self,
        instance: &InstanceId,
        kind: ProviderKind,
        work: impl FnOnce(&mut Way) -> T,
    ) -> Option<T> {
        let way = self.0.get(&(instance.clone(), kind))?;
        // Nothing in here panics, and what it holds is whole at every point.
        let mut way = way.lock().unwrap_or_else(PoisonError::into_inner);
        Some(work(&mut way))
    }

    fn with<T>(
        &self,
        instance: &InstanceId,
        kind: ProviderKind,
        work: impl FnOnce(&mut Way) -> T,
    ) -> T {
        let way = self.0.get_with((instance.clone(), kind), Arc::default);
        let mut way = way.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut way)
    }

    /// Since when and why nothing is sent this way; `None` where messages pass.
    #[must_use]
    pub fn shut(&self, instance: &InstanceId, kind: ProviderKind, now: Millis) -> Option<Shut> {
        self.with_known(instance, kind, |it| it.shut(now)).flatten()
    }
}

impl Gateway {
    /// The ways of an instance now: those that are down are passed over.
    pub(super) fn ways(&self, instance: &WabaInstance, routes: Routes, now: Millis) -> Ways {
        if !has_choice(routes) {
            // Nothing is gained by waiting for longer than its own back-off.
            return Ways::of(routes);
        }
        let (mut down, mut up_at) = (ProviderSet::NONE, Millis::MAX);
        for kind in routes.iter() {
            let shut = self.inner.send_circuits.shut(&instance.id, kind, now);
            if let Some(Shut { until, .. }) = shut.filter(|it| it.is_passed_over) {
                down = down.with(kind);
                up_at = up_at.min(until);
            }
        }
        Ways { routes, down, up_at }
    }

    /// Asks to send this way; a probe where it was shut. `None`: another one is under way, and
    /// there is another way.
    pub(super) fn permit(
        &self,
        instance: &InstanceId,
        kind: ProviderKind,
        routes: Routes,
    ) -> Option<Option<Permit>> {
        let now = self.inner.clock.now();
        let asked = self.inner.send_circuits.with(instance, kind, |it| it.circuit.ask(now));
        (asked.is_some() || !has_choice(routes)).then_some(asked)
    }

    /// Tells what an attempt came to.
    pub(super) fn tell_attempt(
        &self,
        instance: &WabaInstance,
        kind: ProviderKind,
        permit: Option<Permit>,
        attempt: &Attempt,
    ) {
        let now = self.inner.clock.now();
        let circuits = &self.inner.send_circuits;
        let end = match attempt.outcome {
            Outcome::Sent | Outcome::Refused(Refusal::GiveUp(_) | Refusal::Park(_)) => Ok(()),
            // Busy is not down, nor is a file of ours that is not there; and what it cannot carry, or
            // not to this customer, says nothing of other messages.
            Outcome::Refused(
                Refusal::Retry { .. }
                | Refusal::Wait { .. }
                | Refusal::FailOver(
                    Reason::Unsupported
                    | Reason::NoPhone
                    | Reason::Undeliverable
                    | Reason::Template
                    | Reason::WindowClosed
                    | Reason::Quality,
                ),
            ) => return,
            Outcome::Refused(_) if attempt.word == OF_COUNTRY => return,
            Outcome::Refused(_) | Outcome::Unknown => Err(attempt.word),
        };
        let Some(permit) = permit else { return };
        let turned = circuits.with(&instance.id, kind, |it| it.circuit.tell(permit, end, now));
        note(&instance.id, kind, turned);
    }

    /// Tells what became of messages that the provider had taken; what is told twice counts once.
    pub(super) fn tell_late(
        &self,
        instance: &WabaInstance,
        kind: ProviderKind,
        (ends, entries): (&LateEnds, &[Recorded]),
        now: Millis,
    ) {
        if !has_choice(instance.routes()) {
            return;
        }
        let circuits = &self.inner.send_circuits;
        for (end, entry) in ends.iter().zip(entries) {
            let (Some(end), Recorded::New(_)) = (*end, entry) else { continue };
            let tell = |it: &mut Way| it.circuit.tell_late(end, now);
            let turned = match end {
                // One that nothing is held against need not be made for that.
                Ok(()) => circuits.with_known(&instance.id, kind, tell),
                Err(_) => Some(circuits.with(&instance.id, kind, tell)),
            };
            note(&instance.id, kind, turned.flatten());
        }
    }

    /// The provider wants nothing from the number before `until`, and `next` comes of the message
    /// that it refused. Who waits there lets the whole number wait; once a message has gone on to
    /// another provider nobody waits for this one, which is passed over.
    pub(super) fn slow_down(
        &self,
        instance: &InstanceId,
        kind: ProviderKind,
        until: Millis,
        (routes, next): (Routes, Next),
    ) {
        let now = self.inner.clock.now();
        let circuits = &self.inner.send_circuits;
        let goes_on = matches!(next, Next::Again { kind: Kind::Send, due, .. } if due < until);
        let is_passed_over = circuits.shut(instance, kind, now).is_some_and(|it| it.is_passed_over);
        let is_patient = !goes_on && !is_passed_over && until - now <= PATIENCE;
        if is_patient || !has_choice(routes) {
            self.inner.work.block_instance(instance, until);
        } else {
            circuits.with(instance, kind, |it| it.rests(now, until));
            // Other messages may have let it wait meanwhile.
            self.inner.work.unblock_instance(instance);
        }
    }

    /// The provider was asked how the instance is. That it answers does not tell that it sends: what
    /// was found down by failing is up when a message has got through.
    pub(super) fn ask_circuit(
        &self,
        instance: &WabaInstance,
        kind: ProviderKind,
        state: Option<Connection>,
        now: Millis,
    ) {
        let of_state = |it: &mut Way| it.circuit.shut(now).is_some_and(|it| is_of_state(it.why));
        let is_of_state = || self.inner.send_circuits.with_known(&instance.id, kind, of_state);
        if state != Some(Connection::Connected) || is_of_state() == Some(true) {
            self.tell_circuit(instance, kind, state, now);
        }
    }

    /// The provider said how the instance is: nobody need find out by failing.
    pub(super) fn tell_circuit(
        &self,
        instance: &WabaInstance,
        kind: ProviderKind,
        state: Option<Connection>,
        now: Millis,
    ) {
        let circuits = &self.inner.send_circuits;
        let turned = match state {
            None | Some(Connection::Pending) => return,
            // One that is closed need not be made for that.
            Some(Connection::Connected) => {
                circuits.with_known(&instance.id, kind, |it| it.circuit.close()).flatten()
            }
            Some(down @ (Connection::Disconnected | Connection::Error)) => {
                circuits.with(&instance.id, kind, |it| it.circuit.open(down.as_str(), now))
            }
        };
        note(&instance.id, kind, turned);
    }
}

/// For each event whether a message got through that a provider had taken, or by which word the
/// provider would fail others too.
pub(super) type LateEnds = [Option<Result<(), &'static str>>];

/// What events tell of that.
pub(super) fn late_ends(
    by: ProviderKind,
    events: &[NewEvent],
) -> Vec<Option<Result<(), &'static str>>> {
    // `delivered` waits for the customer's phone, and may say how the provider was long ago; Twilio
    // says `sent` before it knows.
    let got_through: &[Status] = match by {
        ProviderKind::Meta => &[Status::Sent],
        ProviderKind::Twilio => &[Status::Delivered],
        ProviderKind::Wasender | ProviderKind::Unipile => &[Status::Sent, Status::Delivered],
    };
    let end = |it: &NewEvent| match &it.event.what {
        What::Status { status, .. } if got_through.contains(status) => Some(Ok(())),
        What::Status { status: Status::Failed, failure, .. } => {
            let late = failure.as_ref().map(Failure::late).unwrap_or_default();
            let is_of_all = matches!(
                late.reason,
                Reason::Failed
                    | Reason::Unauthorized
                    | Reason::Restricted
                    | Reason::Plan
                    | Reason::NotRegistered
                    | Reason::Disconnected
            );
            let is_down = is_of_all && late.may_fail_over && late.again.is_none();
            is_down.then(|| Err(late.reason.as_str()))
        }
        _ => None,
    };
    events.iter().map(end).collect()
}

/// Whether it was found down because of its state.
fn is_of_state(why: &str) -> bool {
    [Connection::Disconnected, Connection::Error].iter().any(|it| it.as_str() == why)
}

fn has_choice(routes: Routes) -> bool {
    routes.iter().nth(1).is_some()
}

fn note(instance: &InstanceId, kind: ProviderKind, turned: Option<Turned>) {
    let kind = kind.as_str();
    match turned {
        Some(Turned::Opened) => {
            counter!(names::CIRCUITS, "of" => kind, "turned" => "open").increment(1);
            tracing::warn!(waba.id = %instance, provider = kind, "a way out is down; it is passed over for a while");
        }
        Some(Turned::Closed) => {
            counter!(names::CIRCUITS, "of" => kind, "turned" => "closed").increment(1);
            tracing::info!(waba.id = %instance, provider = kind, "a way out that was down is open again");
        }
        None => {}
    }
}
