//! Encrypts what must not be read on disk: secrets, numbers and texts. XChaCha20-Poly1305 with a
//! nonce of its own for each box, and keyed hashes for what must be found again without being read.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, AeadInOut, Payload},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::secret::{ExposeSecret, SecretString};

/// Bytes of `ENCRYPTION_KEY`.
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const NONCE_PREFIX_BYTES: usize = 16;
/// First byte of every box: the form, so that it can be changed.
const FORM: u8 = 1;
const KEY_ID_BYTES: usize = 4;
/// Before what is sealed; the tag comes after it.
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;
const TAG_BYTES: usize = 16;

/// A keyed hash, 16 bytes.
pub type Token = [u8; 16];

/// What hashes are keyed with.
pub type HashKey = Zeroizing<[u8; KEY_BYTES]>;

/// Something could not be sealed or opened. It does not say more: the rest is private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// Not 32 bytes of base64.
    #[error("an encryption key is 32 bytes in base64")]
    BadKey,
    /// Sealed with another key, damaged, or moved from elsewhere.
    #[error("cannot be opened with this encryption key")]
    CannotOpen,
}

/// Seals and opens. Cheap to clone keys are not: share it.
pub struct Vault {
    current: Key,
    old: Vec<Key>,
    hashes: RwLock<Hashes>,
    /// Random, of this process: with a count behind it no nonce comes twice.
    nonce_prefix: [u8; NONCE_PREFIX_BYTES],
    n_sealed: AtomicU64,
}

struct Hashes {
    key: HashKey,
    /// Has taken in its key already, which is half of the work for something short.
    mac: Hmac<Sha256>,
}

impl Hashes {
    fn by(key: HashKey) -> Self {
        let mac = keyed(&key);
        Self { key, mac }
    }
}

#[derive(Clone)]
struct Key {
    id: [u8; KEY_ID_BYTES],
    cipher: XChaCha20Poly1305,
    /// What hashes were keyed with in data that begin with this key and say nothing else.
    for_hashes: HashKey,
}

impl Key {
    fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let id = hmac(bytes, &[b"key id"]);
        let id = [id[0], id[1], id[2], id[3]];
        let cipher = XChaCha20Poly1305::new(bytes.into());
        let for_hashes = Zeroizing::new(hmac(bytes, &[b"hashes"]));
        Self { id, cipher, for_hashes }
    }
}

impl Vault {
    /// A vault that seals with `key` and also opens what `old` keys sealed.
    pub fn new(key: &SecretString, old: &[SecretString]) -> Result<Self, VaultError> {
        let bytes = decode(key)?;
        let old_keys: Result<Vec<Key>, VaultError> =
            old.iter().map(|it| decode(it).map(|it| Key::new(&it))).collect();
        let (current, old) = (Key::new(&bytes), old_keys?);
        // Until the data say what theirs are keyed with.
        let hash_key = old.last().unwrap_or(&current).for_hashes.clone();
        Self::with(current, old, hash_key)
    }

    fn with(current: Key, old: Vec<Key>, hash_key: HashKey) -> Result<Self, VaultError> {
        let mut nonce_prefix = [0_u8; NONCE_PREFIX_BYTES];
        getrandom::fill(&mut nonce_prefix).map_err(|_| VaultError::CannotOpen)?;
        let hashes = RwLock::new(Hashes::by(hash_key));
        Ok(Self { current, old, hashes, nonce_prefix, n_sealed: AtomicU64::new(0) })
    }

    /// One with the same keys for other data, which may have another hash key.
    pub fn for_other_data(&self) -> Result<Self, VaultError> {
        Self::with(self.current.clone(), self.old.clone(), self.hash_key())
    }

    /// What hashes are keyed with in data that were marked with this box before they said so.
    #[must_use]
    pub fn hash_key_of(&self, sealed: &[u8]) -> Option<HashKey> {
        let id = key_id(sealed)?;
        let mut keys = std::iter::once(&self.current).chain(&self.old);
        keys.find(|it| it.id == id).map(|it| it.for_hashes.clone())
    }

    /// What hashes are keyed with. Hashes are looked up, so it is one for the life of the data,
    /// which keep it, sealed.
    #[must_use]
    pub fn hash_key(&self) -> HashKey {
        self.hashes.read().unwrap_or_else(PoisonError::into_inner).key.clone()
    }

    /// Keys hashes as these data do.
    pub fn use_hash_key(&self, key: HashKey) {
        *self.hashes.write().unwrap_or_else(PoisonError::into_inner) = Hashes::by(key);
    }

    /// A hash key for data that have none yet.
    pub fn new_hash_key() -> Result<HashKey, VaultError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| VaultError::CannotOpen)?;
        Ok(key)
    }

    /// A fresh key, in base64.
    pub fn new_key() -> Result<SecretString, VaultError> {
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| VaultError::BadKey)?;
        Ok(STANDARD.encode(bytes.as_slice()).into())
    }

    /// Seals `plain` for one place: `place` must be the same when it is opened, so that a box
    /// moved elsewhere stays shut.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0_u8; NONCE_BYTES];
        nonce[..NONCE_PREFIX_BYTES].copy_from_slice(&self.nonce_prefix);
        let n = self.n_sealed.fetch_add(1, Ordering::Relaxed);
        nonce[NONCE_PREFIX_BYTES..].copy_from_slice(&n.to_be_bytes());
        let mut out = Vec::with_capacity(HEAD_BYTES + plain.len() + TAG_BYTES);
        out.push(FORM);
        out.extend_from_slice(&self.current.id);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let (nonce, text) = (XNonce::from(nonce), &mut out[HEAD_BYTES..]);
        let tag = self.current.cipher.encrypt_inout_detached(&nonce, place.as_bytes(), text.into());
        out.extend_from_slice(&tag.map_err(|_| VaultError::CannotOpen)?);
        Ok(out)
    }

    /// Opens what [`Self::seal`] made for the same place.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let id = key_id(sealed).ok_or(VaultError::CannotOpen)?;
        let key = std::iter::once(&self.current).chain(&self.old).find(|it| it.id == id);
        let nonce: [u8; NONCE_BYTES] =
            sealed[1 + KEY_ID_BYTES..HEAD_BYTES].try_into().map_err(|_| VaultError::CannotOpen)?;
        let payload = Payload { msg: &sealed[HEAD_BYTES..], aad: place.as_bytes() };
        let plain =
            key.ok_or(VaultError::CannotOpen)?.cipher.decrypt(&XNonce::from(nonce), payload);
        plain.map(Zeroizing::new).map_err(|_| VaultError::CannotOpen)
    }

    /// Whether it was sealed with the key that is used now.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        key_id(sealed) == Some(self.current.id.as_slice())
    }

    /// The same sealed with the key that is used now; `None` where it is that already.
    pub fn reseal(&self, place: &str, sealed: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        if self.is_current(sealed) {
            return Ok(None);
        }
        let plain = self.open(place, sealed)?;
        self.seal(place, &plain).map(Some)
    }

    /// The names of its keys, which say nothing about them; that of the one used now is the first.
    #[must_use]
    pub fn key_ids(&self) -> Vec<[u8; KEY_ID_BYTES]> {
        std::iter::once(&self.current).chain(&self.old).map(|it| it.id).collect()
    }

    /// The token under which `parts` are found again. Parts do not run into each other.
    #[must_use]
    pub fn token(&self, parts: &[&[u8]]) -> Token {
        let mac = self.hashes.read().unwrap_or_else(PoisonError::into_inner).mac.clone();
        let hash = mac_of(mac, parts);
        let mut token = [0; 16];
        token.copy_from_slice(&hash[..16]);
        token
    }
}

/// The name of the key that a box was sealed with; `None` for what is no box.
fn key_id(sealed: &[u8]) -> Option<&[u8]> {
    let is_box = sealed.len() >= HEAD_BYTES && sealed[0] == FORM;
    is_box.then(|| &sealed[1..=KEY_ID_BYTES])
}

fn decode(key: &SecretString) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
    let bytes = STANDARD.decode(key.expose_secret().trim()).map_err(|_| VaultError::BadKey)?;
    let bytes = Zeroizing::new(bytes);
    Ok(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| VaultError::BadKey)?))
}

fn hmac(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> [u8; 32] {
    mac_of(keyed(key), parts)
}

fn keyed(key: &[u8; KEY_BYTES]) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn mac_of(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    for part in parts {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_opens_in_its_place_with_its_key_and_nowhere_else() {
        let (one, two) = (Vault::new_key().unwrap(), Vault::new_key().unwrap());
        let vault = Vault::new(&one, &[]).unwrap();
        let sealed = vault.seal("here", b"habari").unwrap();
        assert_eq!(vault.open("here", &sealed).unwrap().as_slice(), b"habari");
        assert_eq!(vault.open("there", &sealed), Err(VaultError::CannotOpen));
        let other = Vault::new(&two, &[]).unwrap();
        assert_eq!(other.open("here", &sealed), Err(VaultError::CannotOpen));
        let rotated = Vault::new(&two, std::slice::from_ref(&one)).unwrap();
        assert_eq!(rotated.open("here", &sealed).unwrap().as_slice(), b"habari");
        assert_eq!(rotated.token(&[b"a"]), vault.token(&[b"a"]));
        for cut in 0..sealed.len() {
            assert!(vault.open("here", &sealed[..cut]).is_err());
        }
    }

    #[test]
    fn a_box_is_sealed_again_with_the_key_of_now_alone() {
        let (one, two) = (Vault::new_key().unwrap(), Vault::new_key().unwrap());
        let sealed = Vault::new(&one, &[]).unwrap().seal("here", b"habari").unwrap();
        let both = Vault::new(&two, std::slice::from_ref(&one)).unwrap();
        assert!(!both.is_current(&sealed) && both.reseal("there", &sealed).is_err());
        let again = both.reseal("here", &sealed).unwrap().unwrap();
        assert_eq!(both.reseal("here", &again).unwrap(), None);
        let alone = Vault::new(&two, &[]).unwrap();
        assert_eq!(alone.open("here", &again).unwrap().as_slice(), b"habari");
        assert!(alone.reseal("here", &sealed).is_err());
        // Hashes are keyed by what the data say, not by the key of now.
        alone.use_hash_key(both.hash_key());
        assert_eq!(alone.token(&[b"a"]), both.token(&[b"a"]));
    }

    #[test]
    fn parts_of_a_token_do_not_run_into_each_other() {
        let vault = Vault::new(&Vault::new_key().unwrap(), &[]).unwrap();
        assert_ne!(vault.token(&[b"ab", b"c"]), vault.token(&[b"a", b"bc"]));
    }
}
