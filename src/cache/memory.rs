//! Vendors in this process's memory, and which keys and ids lead to none.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;

use super::{Owner, Subject};
use crate::{
    domain::{id::VendorId, known::Known},
    vault::Token,
};

/// Vendors that are remembered; the least used go first. More than the 100,000 of the largest
/// platforms: the places are in several parts, which do not fill evenly.
const VENDORS_MAX: usize = 120_000;
/// Keys that are remembered.
const KEYS_MAX: usize = 240_000;
/// Ids and keys that lead to nobody and are remembered. Strangers may make up as many as they like,
/// so they have a place of their own.
const UNKNOWN_MAX: usize = 10_000;
/// How long those are remembered at most.
pub const UNKNOWN_FOR: Duration = Duration::from_secs(2);
/// More than one subject may share a turn; a put that was not needed to be taken back is harmless.
const TURNS: usize = 1_024;

/// What memory says.
#[derive(Debug)]
pub enum Looked<T> {
    /// This.
    Found(T),
    /// That there is none, as the store said a moment ago.
    Unknown,
    /// Nothing.
    Nothing,
}

/// When a read began: what it found is not remembered when the subject was forgotten meanwhile.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Mark(u64);

/// Vendors in this process's memory.
pub struct Memory {
    vendors: Cache<VendorId, Slot<Arc<Known>>>,
    keys: Cache<Token, Slot<Arc<Owner>>>,
    unknown: Cache<Subject, u64>,
    turns: Box<[AtomicU64]>,
    ttl: Duration,
    began: Instant,
}

/// A value, and until which millisecond of this process it is good.
#[derive(Clone)]
struct Slot<T> {
    value: T,
    until_ms: u64,
}

impl Memory {
    /// What is remembered is forgotten after `ttl` at most.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self {
            vendors: Cache::new(VENDORS_MAX),
            keys: Cache::new(KEYS_MAX),
            unknown: Cache::new(UNKNOWN_MAX),
            turns: (0..TURNS).map(|_| AtomicU64::new(0)).collect(),
            ttl,
            began: Instant::now(),
        }
    }

    /// What is remembered of a vendor.
    #[must_use]
    pub fn vendor(&self, id: &VendorId) -> Looked<Arc<Known>> {
        match self.vendors.get(id) {
            Some(slot) if self.now_ms() < slot.until_ms => Looked::Found(slot.value),
            _ => self.is_unknown(|| Subject::Vendor(id.clone())),
        }
    }

    /// Whom this key leads to.
    #[must_use]
    pub fn owner(&self, key: &Token) -> Looked<Arc<Owner>> {
        match self.keys.get(key) {
            Some(slot) if self.now_ms() < slot.until_ms => Looked::Found(slot.value),
            _ => self.is_unknown(|| Subject::Key(*key)),
        }
    }

    /// A read of this begins.
    pub fn mark(&self, subject: &Subject) -> Mark {
        Mark(self.turn(subject).load(Ordering::SeqCst))
    }

    /// Remembers a vendor.
    pub fn put_vendor(&self, mark: Mark, known: &Arc<Known>, lasts: Duration) {
        let slot = Slot { value: Arc::clone(known), until_ms: self.until_ms(lasts) };
        let id = known.vendor.id.clone();
        self.vendors.insert(id.clone(), slot);
        self.take_back(mark, &Subject::Vendor(id));
    }

    /// Remembers whom a key leads to.
    pub fn put_owner(&self, mark: Mark, key: Token, owner: &Arc<Owner>, lasts: Duration) {
        let slot = Slot { value: Arc::clone(owner), until_ms: self.until_ms(lasts) };
        self.keys.insert(key, slot);
        self.take_back(mark, &Subject::Key(key));
    }

    /// Remembers that there is none, for a moment.
    pub fn put_unknown(&self, mark: Mark, subject: &Subject) {
        self.unknown.insert(subject.clone(), self.until_ms(UNKNOWN_FOR));
        self.take_back(mark, subject);
    }

    /// Whether nothing was forgotten since.
    #[must_use]
    pub fn holds(&self, mark: Mark, subject: &Subject) -> bool {
        self.turn(subject).load(Ordering::SeqCst) == mark.0
    }

    /// Forgets, and lets no read that is under way bring it back.
    pub fn forget(&self, subject: &Subject) {
        self.turn(subject).fetch_add(1, Ordering::SeqCst);
        self.remove(subject);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.turns.iter().for_each(|it| {
            it.fetch_add(1, Ordering::SeqCst);
        });
        self.vendors.clear();
        self.keys.clear();
        self.unknown.clear();
    }

    /// How long what is fresh is remembered.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Vendors that are remembered, those whose time is over included.
    #[must_use]
    pub fn n_vendors(&self) -> usize {
        self.vendors.len()
    }

    fn is_unknown<T>(&self, subject: impl FnOnce() -> Subject) -> Looked<T> {
        if self.unknown.is_empty() {
            return Looked::Nothing;
        }
        match self.unknown.get(&subject()) {
            Some(until_ms) if self.now_ms() < until_ms => Looked::Unknown,
            _ => Looked::Nothing,
        }
    }

    /// Looked at again when it is in its place: a change before that was seen by nobody who
    /// removed it.
    fn take_back(&self, mark: Mark, subject: &Subject) {
        if !self.holds(mark, subject) {
            self.remove(subject);
        }
    }

    fn remove(&self, subject: &Subject) {
        match subject {
            Subject::Vendor(id) => {
                self.vendors.remove(id);
            }
            Subject::Key(token) => {
                self.keys.remove(token);
            }
            Subject::Pauses => {}
        }
        self.unknown.remove(subject);
    }

    fn turn(&self, subject: &Subject) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        subject.hash(&mut hasher);
        let n = hasher.finish() % self.turns.len() as u64;
        &self.turns[usize::try_from(n).unwrap_or_default()]
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn until_ms(&self, lasts: Duration) -> u64 {
        let lasts = u64::try_from(lasts.min(self.ttl).as_millis()).unwrap_or(u64::MAX);
        self.now_ms().saturating_add(lasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{secret::SecretString, vendor::Vendor};

    fn known(id: &str) -> Arc<Known> {
        let id = VendorId::parse(id).unwrap();
        let vendor = Vendor::new(id, "Boutique".to_owned(), SecretString::default(), 0);
        Arc::new(Known::new(vendor, Vec::new()))
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let memory = Memory::new(Duration::from_mins(1));
        let it = known("vendor_001");
        let subject = Subject::Vendor(it.vendor.id.clone());
        let before = memory.mark(&subject);
        memory.forget(&subject);
        memory.put_vendor(before, &it, memory.ttl());
        assert!(matches!(memory.vendor(&it.vendor.id), Looked::Nothing));
        memory.put_unknown(before, &subject);
        assert!(matches!(memory.vendor(&it.vendor.id), Looked::Nothing));
        memory.put_vendor(memory.mark(&subject), &it, memory.ttl());
        assert!(matches!(memory.vendor(&it.vendor.id), Looked::Found(_)));
        memory.clear();
        assert!(matches!(memory.vendor(&it.vendor.id), Looked::Nothing));
    }

    #[test]
    fn strangers_ids_take_no_vendors_place() {
        let memory = Memory::new(Duration::from_mins(1));
        let it = known("vendor_001");
        let subject = Subject::Vendor(it.vendor.id.clone());
        memory.put_vendor(memory.mark(&subject), &it, memory.ttl());
        for n in 0..2 * VENDORS_MAX {
            let stranger = Subject::Vendor(VendorId::parse(&format!("x{n}")).unwrap());
            memory.put_unknown(memory.mark(&stranger), &stranger);
        }
        assert!(memory.unknown.len() <= UNKNOWN_MAX);
        assert!(matches!(memory.vendor(&it.vendor.id), Looked::Found(_)));
    }

    #[test]
    fn nothing_is_remembered_for_longer_than_it_may() {
        let memory = Memory::new(Duration::ZERO);
        let it = known("vendor_001");
        let subject = Subject::Vendor(it.vendor.id.clone());
        memory.put_vendor(memory.mark(&subject), &it, Duration::from_mins(1));
        assert!(matches!(memory.vendor(&it.vendor.id), Looked::Nothing));
        memory.put_unknown(memory.mark(&subject), &subject);
        assert!(matches!(memory.vendor(&it.vendor.id), Looked::Nothing));
    }
}
