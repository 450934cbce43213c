//! What a customer sees while their message is worked on, where the vendor wants it: that it was
//! read, and that somebody is writing. A courtesy: it is tried once, and nothing waits for it.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;
use tokio::sync::Semaphore;

use super::Gateway;
use crate::{
    domain::{contact::Address, id::EntryId},
    journal::ToAnswer,
    provider::Received,
    vendor::VendorService,
};

/// Messages that are remembered, so that one that is asked about again is not shown again.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// Calls under way at once; beyond that, customers are shown nothing.
const CALLS_MAX: usize = 32;

/// Which messages customers were shown something about.
pub struct Attention {
    shown: Mutex<LruCache<EntryId, ()>>,
    calls: Arc<Semaphore>,
}

impl Default for Attention {
    fn default() -> Self {
        let shown = Mutex::new(LruCache::new(REMEMBERED));
        Self { shown, calls: Arc::new(Semaphore::new(CALLS_MAX)) }
    }
}

impl Attention {
    /// Whether it is the first time.
    fn is_first(&self, id: EntryId) -> bool {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.put(id, ()).is_none()
    }
}

impl Gateway {
    /// Shows the customer that their message is being answered, as far as the vendor wants it.
    pub(super) fn show_attention(
        &self,
        service: &Arc<VendorService>,
        id: EntryId,
        message: &ToAnswer,
        to: &Address,
    ) {
        let vendor = service.vendor();
        let typing_to = to.phone.clone().filter(|_| vendor.typing);
        let event = &message.event;
        let read = vendor
            .mark_as_read
            .then(|| Some((event.provider_id.clone()?, event.chat_id.as_ref()?.0.clone())));
        let read = read.flatten();
        if (typing_to.is_none() && read.is_none()) || {
            let is_open = service.is_open(&message.instance, self.inner.clock.now());
            !service.has_responders(is_open)
        } {
            return;
        }
        let Some(instance) = service.instance(&message.instance).cloned() else { return };
        let Ok(permit) = Arc::clone(&self.inner.attention.calls).try_acquire_owned() else {
            return;
        };
        if !self.inner.attention.is_first(id) {
            return;
        }
        let service = Arc::clone(service);
        tokio::spawn(async move {
            let provider = service.provider(&instance);
            // One after the other: a session takes few requests at once. Typing comes first, so
            // that it does not come after the answer.
            if let Some(to) = typing_to
                && provider.typing(&instance, &to).await.is_err()
            {
                tracing::debug!(message.id = %id, "typing was not shown");
            }
            if let Some((message, chat)) = read {
                let received = Received { id: &message, chat: &chat };
                if provider.mark_read(&instance, &received).await.is_err() {
                    tracing::debug!(message.id = %id, "a message was not marked as read");
                }
            }
            drop(permit);
        });
    }
}
