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
    domain::{contact::Address, id::EntryId, route::ProviderKind},
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
        let typing_to = Some(to.clone()).filter(|it| vendor.typing && !it.is_empty());
        let event = &message.event;
        let via = event.via.unwrap_or(ProviderKind::Wasender);
        let message_id = event.provider_id.clone().unwrap_or_default();
        let chat = event.chat_id.as_ref().map(|it| it.0.clone()).unwrap_or_default();
        // Wasender's messages are known by their chat.
        let is_known =
            !message_id.is_empty() && (via != ProviderKind::Wasender || !chat.is_empty());
        let is_read = vendor.mark_as_read && is_known;
        if (typing_to.is_none() && !is_read) || {
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
            let provider = service.provider(via);
            let received = Received { id: &message_id, chat: &chat };
            // One after the other: a session takes few requests at once. Typing comes first, so
            // that it does not come after the answer.
            if let Some(to) = typing_to
                && provider.typing(&instance, &to, &received).await.is_err()
            {
                tracing::debug!(message.id = %id, "typing was not shown");
            }
            if is_read && provider.mark_read(&instance, &received).await.is_err() {
                tracing::debug!(message.id = %id, "a message was not marked as read");
            }
            drop(permit);
        });
    }
}
