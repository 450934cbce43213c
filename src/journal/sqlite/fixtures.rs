//! What tests of the journal begin with.

use std::sync::Arc;

use futures_util::FutureExt;

use super::SqliteJournal;
use crate::{
    domain::{
        clock::{HOUR, Millis},
        contact::Address,
        delivery::Policy,
        id::{InstanceId, VendorId},
        message::Content,
        phone::PhoneNumber,
        route::{ProviderKind, Routes},
        vendor::OnUnknown,
    },
    journal::NewIntent,
    sqlite::in_memory,
    vault::Vault,
};

/// The journal does everything at once there.
pub(super) fn now<T>(it: impl Future<Output = T>) -> T {
    it.now_or_never().expect("it waits for nothing")
}

pub(super) fn journal() -> SqliteJournal {
    let key = Vault::new_key().unwrap();
    let vault = Arc::new(Vault::new(&key, &[]).unwrap());
    SqliteJournal::inline(in_memory().unwrap(), vault).unwrap()
}

pub(super) fn vendor() -> VendorId {
    VendorId::parse("vendor_001").unwrap()
}

pub(super) fn instance() -> InstanceId {
    InstanceId::parse("waba_vendor_001").unwrap()
}

/// The `n`th customer.
pub(super) fn customer(n: usize) -> Address {
    Address::phone(PhoneNumber::from_wire(&format!("+2217055500{n:02}")).unwrap())
}

/// A text to the first customer, which may leave for a day.
pub(super) fn intent(at: Millis) -> NewIntent {
    NewIntent {
        vendor: vendor(),
        instance: instance(),
        contact: None,
        to: customer(1),
        content: Content::text("bonjour"),
        more: Vec::new(),
        reply_to: None,
        forward: false,
        is_automatic: false,
        origin: None,
        now: at,
        send_at: None,
        only: None,
        expires: at + 24 * HOUR,
        policy: Policy {
            on_unknown: OnUnknown::GiveUp,
            unknown_deadline: HOUR,
            routes: Routes::only(ProviderKind::Wasender),
        },
        parked: None,
        idempotency: None,
    }
}
