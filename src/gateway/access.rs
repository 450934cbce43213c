//! Who may ask for what: gateway keys, admin or bound to one vendor.

use sha2::{Digest, Sha256};

use super::Gateway;
use crate::{
    domain::{id::VendorId, secret::SecretString},
    store::{ApiKey, StoreError},
};
use secrecy::ExposeSecret;

/// How a key begins, so that scanners recognise a leaked one.
const PREFIX: &str = "wgk_";
/// How the ids of keys begin that were not made through the API.
const ADOPTED_PREFIX: &str = "key_admin_";
/// Random bytes of a key.
const KEY_BYTES: usize = 32;
/// The longest name of a key, in characters.
const NAME_CHARS_MAX: usize = 100;

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
}

/// A key to make.
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// The one vendor it may speak for.
    pub vendor: Option<VendorId>,
    /// It may only look.
    pub read_only: bool,
}

impl Caller {
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
    /// Who has this key.
    pub async fn caller(&self, key: &str) -> Result<Caller, AccessError> {
        let found = self.inner.store.key_by_hash(&hash(key)).await?.ok_or(AccessError::NoKey)?;
        Ok(Caller { key_id: found.id, vendor: found.vendor, read_only: found.read_only })
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
        };
        self.inner.store.put_key(&made).await?;
        Ok((made, key))
    }

    /// Keeps the admin key that the operator chose, or that was made at first start. The one kept
    /// before is replaced: who changes it wants the old one gone.
    pub async fn adopt_admin_key(&self, key: &SecretString) -> Result<(), StoreError> {
        let id = format!("{ADOPTED_PREFIX}{}", &hex::encode(hash(key.expose_secret()))[..12]);
        for former in self.inner.store.keys().await? {
            if former.id.starts_with(ADOPTED_PREFIX) && former.id != id {
                self.inner.store.delete_key(&former.id).await?;
            }
        }
        let made = ApiKey {
            id,
            hash: hash(key.expose_secret()),
            name: "admin".to_owned(),
            vendor: None,
            read_only: false,
            created_at: self.inner.clock.now(),
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
