//! Who may ask for what: gateway keys, admin or bound to one vendor.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};

use super::Gateway;
use crate::{
    domain::{
        clock::{MINUTE, Millis},
        id::VendorId,
        secret::SecretString,
    },
    firebase::{Firebase, Identity, TokenError},
    store::{ApiKey, StoreError},
    telemetry::Chain,
};
use secrecy::ExposeSecret;

/// How a key begins, so that scanners recognise a leaked one.
const PREFIX: &str = "wgk_";
/// How the ids of keys begin that were not made through the API.
const ADOPTED_PREFIX: &str = "key_admin_";
/// How those are named on record and in limits that are no keys but users of the application.
const USER_PREFIX: &str = "firebase:";
/// The values of the claim `role` that make a user an admin (`docs/CONTRACT.md` §1).
const ADMIN_ROLES: [&str; 2] = ["admin", "super_admin"];
/// Random bytes of a key.
const KEY_BYTES: usize = 32;
/// The longest name of a key, in characters.
const NAME_CHARS_MAX: usize = 100;

/// How exactly it is known when a key was last used.
const USED_EVERY: Millis = MINUTE;

/// When keys were last used, and what of it is not on disk yet.
#[derive(Default)]
pub struct KeysUsed(Mutex<HashMap<String, (Millis, bool)>>);

impl KeysUsed {
    fn note(&self, id: &str, now: Millis) {
        let mut used = self.lock();
        match used.get_mut(id) {
            Some((at, _)) if now - *at < USED_EVERY => {}
            Some(it) => *it = (now, true),
            None => {
                used.insert(id.to_owned(), (now, true));
            }
        }
    }

    fn news(&self) -> Vec<(String, Millis)> {
        let used = self.lock();
        used.iter().filter(|it| it.1.1).map(|(id, it)| (id.clone(), it.0)).collect()
    }

    /// These are on disk. Those that are not used any more are forgotten.
    fn kept(&self, written: &[(String, Millis)], now: Millis) {
        let mut used = self.lock();
        for (id, at) in written {
            if let Some(it) = used.get_mut(id).filter(|it| it.0 == *at) {
                it.1 = false;
            }
        }
        used.retain(|_, it| it.1 || now - it.0 < USED_EVERY);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Millis, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Which key; names it in limits and logs.
    pub key_id: String,
    /// The one vendor it may speak for; `None` is an admin.
    pub vendor: Option<VendorId>,
    /// It may only look.
    pub read_only: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Access<'a> {
    /// To see something of a vendor.
    Read(&'a VendorId),
    /// To change something of a vendor, or send for it.
    Write(&'a VendorId),
    /// To do what only an admin may; reading only or not.
    Admin {
        /// Whether it changes something.
        changes: bool,
    },
}

/// Why it is not given.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// There is no key, or nobody's.
    #[error("a valid key is needed: Authorization: Bearer <key>")]
    NoKey,
    /// The key is another's, existing or not.
    #[error("this key may not do that")]
    Forbidden,
    /// The store cannot say.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody can say now whose token it is.
    #[error(transparent)]
    Unknown(TokenError),
}

/// A key to make.
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// The one vendor it may speak for.
    pub vendor: Option<VendorId>,
    /// It may only look.
    pub read_only: bool,
    /// From when on it is good for nothing.
    pub expires_at: Option<Millis>,
}

impl Caller {
    /// A user of the application: an admin by their role, or the vendor of that id.
    fn of(Identity { uid, role }: Identity) -> Result<Self, AccessError> {
        let is_admin = role.is_some_and(|it| ADMIN_ROLES.contains(&it.as_str()));
        let vendor = (!is_admin).then(|| VendorId::parse(&uid)).transpose();
        // Nobody here has an id like this.
        let vendor = vendor.map_err(|_| AccessError::Forbidden)?;
        Ok(Self { key_id: format!("{USER_PREFIX}{uid}"), vendor, read_only: false })
    }

    /// Whether the caller may do that. Whether the vendor exists is not asked, so that nothing is
    /// learnt of others.
    pub fn may(&self, access: Access<'_>) -> Result<(), AccessError> {
        let is_its = |vendor: &VendorId| self.vendor.as_ref().is_none_or(|it| it == vendor);
        let is_allowed = match access {
            Access::Read(vendor) => is_its(vendor),
            Access::Write(vendor) => is_its(vendor) && !self.read_only,
            Access::Admin { changes } => self.vendor.is_none() && !(changes && self.read_only),
        };
        if is_allowed { Ok(()) } else { Err(AccessError::Forbidden) }
    }
}

/// What of a key is kept.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

impl Gateway {
    /// Who has this key, or this Firebase ID token.
    pub async fn caller(&self, key: &str) -> Result<Caller, AccessError> {
        if let Some(firebase) = self.inner.firebase.as_ref().filter(|_| Firebase::is_token(key)) {
            return match firebase.verify(key).await {
                Ok(identity) => Caller::of(identity),
                Err(TokenError::Invalid) => Err(AccessError::NoKey),
                Err(error @ TokenError::KeysAway) => Err(AccessError::Unknown(error)),
            };
        }
        let found = self.inner.manager.api_key(&hash(key)).await?.ok_or(AccessError::NoKey)?;
        let now = self.inner.clock.now();
        if found.expires_at.is_some_and(|it| it <= now) {
            return Err(AccessError::NoKey);
        }
        self.inner.keys_used.note(&found.id, now);
        Ok(Caller { key_id: found.id, vendor: found.vendor, read_only: found.read_only })
    }

    /// Whether finding out whose key this is reads a store elsewhere, which counts reads.
    #[must_use]
    pub fn is_looked_up_elsewhere(&self, key: &str) -> bool {
        let is_token = self.inner.firebase.is_some() && Firebase::is_token(key);
        !is_token && self.inner.manager.is_store_elsewhere()
    }

    /// Makes a key. It is answered this once and never again.
    pub async fn create_key(&self, new: NewKey) -> Result<(ApiKey, SecretString), StoreError> {
        let key = random_key();
        let made = ApiKey {
            id: format!("key_{}", &hex::encode(hash(key.expose_secret()))[..12]),
            hash: hash(key.expose_secret()),
            name: new.name.chars().take(NAME_CHARS_MAX).collect(),
            vendor: new.vendor,
            read_only: new.read_only,
            created_at: self.inner.clock.now(),
            expires_at: new.expires_at,
            used_at: None,
        };
        self.inner.store.put_key(&made).await?;
        Ok((made, key))
    }

    /// Revokes a key. Whether there was one.
    pub async fn revoke_key(&self, id: &str) -> Result<bool, StoreError> {
        let has_been = self.inner.store.delete_key(id).await?;
        // It is revoked. What is kept of it is forgotten at the latest when that is heard of.
        if let Err(error) = self.inner.manager.forget_api_keys().await {
            tracing::warn!(error = %Chain(&error), "a copy of the keys could not be forgotten yet");
        }
        Ok(has_been)
    }

    /// All keys, with when they were last used to this moment.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let mut keys = self.inner.store.keys().await?;
        let used = self.inner.keys_used.lock();
        for key in &mut keys {
            key.used_at = key.used_at.max(used.get(&key.id).map(|it| it.0));
        }
        Ok(keys)
    }

    /// Writes when keys were last used.
    ///
    /// # Errors
    ///
    /// What was not written is written the next time.
    pub async fn keep_keys_used(&self) -> Result<(), StoreError> {
        let news = self.inner.keys_used.news();
        if !news.is_empty() {
            self.inner.store.set_keys_used(&news).await?;
        }
        self.inner.keys_used.kept(&news, self.inner.clock.now());
        Ok(())
    }

    /// Keeps the admin key that the operator chose, or that was made at first start. The one kept
    /// before is replaced: who changes it wants the old one gone.
    pub async fn adopt_admin_key(&self, key: &SecretString) -> Result<(), StoreError> {
        let id = format!("{ADOPTED_PREFIX}{}", &hex::encode(hash(key.expose_secret()))[..12]);
        for former in self.inner.store.keys().await? {
            if former.id.starts_with(ADOPTED_PREFIX) && former.id != id {
                self.revoke_key(&former.id).await?;
            }
        }
        let made = ApiKey {
            id,
            hash: hash(key.expose_secret()),
            name: "admin".to_owned(),
            vendor: None,
            read_only: false,
            created_at: self.inner.clock.now(),
            expires_at: None,
            used_at: None,
        };
        self.inner.store.put_key(&made).await
    }
}

/// Whether the key of this id was taken over from the operator's own configuration.
#[must_use]
pub fn is_adopted(id: &str) -> bool {
    id.starts_with(ADOPTED_PREFIX)
}

/// A fresh key.
#[must_use]
pub fn random_key() -> SecretString {
    let mut bytes = [0_u8; KEY_BYTES];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    format!("{PREFIX}{}", hex::encode(bytes)).into()
}
