//! What only a Firestore store does: it shares its documents with other programs and nodes, and may
//! be away.

mod away;
mod commands;
mod documents;
mod lending;
mod records;
mod redis;
mod rules;
mod sharing;
mod vault;

use std::time::Instant;

use waba_gateway::domain::{id::VendorId, secret::ExposeSecret, waba::WabaInstance};

use crate::support::{DEADLINE, Emulator, Options, TestApp, spawn_app_with};

/// The whole service, with this Firestore.
async fn app(emulator: &Emulator) -> TestApp {
    spawn_app_with(Options { variables: emulator.variables(), ..Options::default() }).await
}

fn vendor_id(id: &str) -> VendorId {
    VendorId::parse(id).unwrap()
}

fn secrets(instance: &WabaInstance) -> Vec<&str> {
    instance.wasender.secrets().map(ExposeSecret::expose_secret).collect()
}

/// Waits until it is so.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
