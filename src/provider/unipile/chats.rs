//! Which chat is whose, as webhooks and answers have told. It spares questions: what is not known
//! here is looked up, or left to Unipile, which uses an existing chat again.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;

use crate::domain::{contact::Address, id::InstanceId};

/// Chats that are remembered.
const CHATS_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// What is remembered.
pub(super) struct Chats(Mutex<Known>);

/// What is remembered for one number: what is proven by its secret says nothing of others, whatever
/// account it names.
#[derive(Clone, Copy)]
pub(super) struct ChatsOf<'a> {
    all: &'a Chats,
    instance: &'a InstanceId,
}

/// The number, the account, and an id.
type Key = (InstanceId, String, String);

struct Known {
    /// By one of the customer's ids.
    of: LruCache<Key, String>,
    /// By chat.
    with: LruCache<Key, Address>,
}

impl Default for Chats {
    fn default() -> Self {
        let known = Known { of: LruCache::new(CHATS_MAX), with: LruCache::new(CHATS_MAX) };
        Self(Mutex::new(known))
    }
}

impl Chats {
    /// Those of one number.
    pub(super) fn at<'a>(&'a self, instance: &'a InstanceId) -> ChatsOf<'a> {
        ChatsOf { all: self, instance }
    }
}

impl ChatsOf<'_> {
    /// The chat with a customer.
    pub(super) fn of(self, account: &str, to: &Address) -> Option<String> {
        let mut known = self.known();
        let mut find = |id: String| known.of.get(&self.key(account, &id)).cloned();
        ids(to).into_iter().find_map(&mut find)
    }

    /// With whom a chat is.
    pub(super) fn with(self, account: &str, chat: &str) -> Option<Address> {
        self.known().with.get(&self.key(account, chat)).cloned()
    }

    /// A chat with this customer.
    pub(super) fn learn(self, account: &str, chat: &str, to: &Address) {
        if chat.is_empty() || to.is_empty() {
            return;
        }
        let mut known = self.known();
        for id in ids(to) {
            known.of.put(self.key(account, &id), chat.to_owned());
        }
        known.with.put(self.key(account, chat), to.clone());
    }

    /// It is not there any more.
    pub(super) fn forget(self, account: &str, chat: &str) {
        let mut known = self.known();
        let Some(with) = known.with.pop(&self.key(account, chat)) else { return };
        for id in ids(&with) {
            known.of.pop(&self.key(account, &id));
        }
    }

    fn key(self, account: &str, id: &str) -> Key {
        (self.instance.clone(), account.to_owned(), id.to_owned())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The customer's ids at WhatsApp, the one by phone first.
pub(super) fn ids(of: &Address) -> Vec<String> {
    let phone = of.phone.as_ref().map(|it| format!("{}@s.whatsapp.net", it.digits()));
    let lid = of.lid.as_ref().map(|it| format!("{}@lid", it.digits()));
    phone.into_iter().chain(lid).collect()
}
