//! Which chat is whose, as webhooks and answers have told. It spares questions: what is not known
//! here is looked up, or left to Unipile, which uses an existing chat again.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;

use crate::domain::contact::Address;

/// Chats that are remembered.
const CHATS_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// What is remembered.
pub(super) struct Chats(Mutex<Known>);

struct Known {
    /// By account and one of the customer's ids.
    of: LruCache<(String, String), String>,
    /// By account and chat.
    with: LruCache<(String, String), Address>,
}

impl Default for Chats {
    fn default() -> Self {
        let known = Known { of: LruCache::new(CHATS_MAX), with: LruCache::new(CHATS_MAX) };
        Self(Mutex::new(known))
    }
}

impl Chats {
    /// The chat with a customer.
    pub(super) fn of(&self, account: &str, to: &Address) -> Option<String> {
        let mut known = self.known();
        let mut find = |id: String| known.of.get(&(account.to_owned(), id)).cloned();
        ids(to).into_iter().find_map(&mut find)
    }

    /// With whom a chat is.
    pub(super) fn with(&self, account: &str, chat: &str) -> Option<Address> {
        self.known().with.get(&(account.to_owned(), chat.to_owned())).cloned()
    }

    /// A chat with this customer.
    pub(super) fn learn(&self, account: &str, chat: &str, to: &Address) {
        if chat.is_empty() || to.is_empty() {
            return;
        }
        let mut known = self.known();
        for id in ids(to) {
            known.of.put((account.to_owned(), id), chat.to_owned());
        }
        known.with.put((account.to_owned(), chat.to_owned()), to.clone());
    }

    /// It is not there any more.
    pub(super) fn forget(&self, account: &str, chat: &str) {
        let mut known = self.known();
        let Some(with) = known.with.pop(&(account.to_owned(), chat.to_owned())) else { return };
        for id in ids(&with) {
            known.of.pop(&(account.to_owned(), id));
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The customer's ids at WhatsApp, the one by phone first.
pub(super) fn ids(of: &Address) -> Vec<String> {
    let phone = of.phone.as_ref().map(|it| format!("{}@s.whatsapp.net", it.digits()));
    let lid = of.lid.as_ref().map(|it| format!("{}@lid", it.digits()));
    phone.into_iter().chain(lid).collect()
}
