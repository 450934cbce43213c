//! WhatsApp's encryption of media (`docs/wire/wasender.md` §5.1), in pieces of any size.
//!
//! HKDF-SHA256 makes 112 bytes of the file's key: the IV (16), the cipher's key (32) and the MAC's
//! key (32). The file is AES-256-CBC with PKCS #7 padding, then the first 10 bytes of the
//! HMAC-SHA256 of IV and ciphertext.

use aes::{
    Aes256,
    cipher::{Array, Block, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::{
    message::MediaKind,
    secret::{ExposeSecret, SecretString},
};

const KEY_BYTES: usize = 32;
const EXPANDED_BYTES: usize = 112;
const IV_BYTES: usize = 16;
const MAC_BYTES: usize = 10;
const BLOCK_BYTES: usize = 16;

/// What is wrong with an encrypted file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Its length is that of no encrypted file.
    #[error("truncated")]
    Truncated,
    /// It was changed, or the key is another file's.
    #[error("bad_mac")]
    BadMac,
    /// Its end is not what an encrypted file ends with.
    #[error("bad_padding")]
    BadPadding,
}

impl Damage {
    /// The word it is recorded as.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::BadMac => "bad_mac",
            Self::BadPadding => "bad_padding",
        }
    }
}

/// The key of one file.
pub struct MediaKey(Zeroizing<[u8; KEY_BYTES]>);

impl MediaKey {
    /// A key as messages carry it: 32 bytes in base64. `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// A fresh one.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// A key kept as [`Self::to_text`] gave it.
    #[must_use]
    pub fn of_secret(secret: &SecretString) -> Option<Self> {
        Self::parse(secret.expose_secret())
    }

    /// Base64.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        STANDARD.encode(self.0.as_slice()).into()
    }

    /// The IV, the cipher's key and the MAC, which has taken the IV.
    fn expand(&self, kind: MediaKind) -> Expanded {
        let info = match kind {
            MediaKind::Image | MediaKind::Sticker => "WhatsApp Image Keys",
            MediaKind::Video => "WhatsApp Video Keys",
            MediaKind::Audio => "WhatsApp Audio Keys",
            MediaKind::Document => "WhatsApp Document Keys",
        };
        let mut all = Zeroizing::new([0_u8; EXPANDED_BYTES]);
        Hkdf::<Sha256>::new(None, self.0.as_slice())
            .expand(info.as_bytes(), all.as_mut_slice())
            .expect("HKDF-SHA256 gives up to 8160 bytes");
        let (iv, rest) = all.split_at(IV_BYTES);
        let (key, rest) = rest.split_at(KEY_BYTES);
        let mac_key = &rest[..KEY_BYTES];
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(mac_key)
            .expect("HMAC takes a key of any length");
        mac.update(iv);
        let (mut iv_bytes, mut key_bytes) = ([0; IV_BYTES], Zeroizing::new([0; KEY_BYTES]));
        iv_bytes.copy_from_slice(iv);
        key_bytes.copy_from_slice(key);
        Expanded { iv: iv_bytes, key: key_bytes, mac }
    }
}

struct Expanded {
    iv: [u8; IV_BYTES],
    key: Zeroizing<[u8; KEY_BYTES]>,
    mac: Hmac<Sha256>,
}

/// Encrypts one file.
pub struct Sealer {
    cipher: cbc::Encryptor<Aes256>,
    mac: Hmac<Sha256>,
    /// Less than a block.
    rest: Vec<u8>,
}

impl Sealer {
    /// For a file of this kind.
    #[must_use]
    pub fn new(key: &MediaKey, kind: MediaKind) -> Self {
        let Expanded { iv, key, mac } = key.expand(kind);
        let cipher = cbc::Encryptor::new(&Array(*key), &Array(iv));
        Self { cipher, mac, rest: Vec::with_capacity(BLOCK_BYTES) }
    }

    /// Takes more of the file; what is encrypted of it is put after what `out` has.
    pub fn update(&mut self, clear: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let n = (self.rest.len() + clear.len()) / BLOCK_BYTES * BLOCK_BYTES;
        if n == 0 {
            self.rest.extend_from_slice(clear);
            return;
        }
        let (whole, rest) = clear.split_at(n - self.rest.len());
        out.append(&mut self.rest);
        out.extend_from_slice(whole);
        self.rest.extend_from_slice(rest);
        self.cipher.encrypt_blocks(blocks(&mut out[start..]));
        self.mac.update(&out[start..]);
    }

    /// The end of the encrypted file.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        let n_pad = BLOCK_BYTES - self.rest.len();
        let byte = u8::try_from(n_pad).expect("a block has 16 bytes");
        self.update(&vec![byte; n_pad], out);
        out.extend_from_slice(&self.mac.finalize().into_bytes()[..MAC_BYTES]);
    }
}

/// Decrypts one file. What it gives out is only to be believed once [`Self::finish`] has said so.
pub struct Opener {
    cipher: cbc::Decryptor<Aes256>,
    mac: Hmac<Sha256>,
    /// What may be the last block and the MAC.
    tail: Vec<u8>,
}

impl Opener {
    /// For a file of this kind.
    #[must_use]
    pub fn new(key: &MediaKey, kind: MediaKind) -> Self {
        let Expanded { iv, key, mac } = key.expand(kind);
        let cipher = cbc::Decryptor::new(&Array(*key), &Array(iv));
        Self { cipher, mac, tail: Vec::new() }
    }

    /// Takes more of the encrypted file; what is clear of it is put after what `out` has.
    pub fn update(&mut self, sealed: &[u8], out: &mut Vec<u8>) {
        self.tail.extend_from_slice(sealed);
        let n_sure = self.tail.len().saturating_sub(BLOCK_BYTES + MAC_BYTES);
        let n = n_sure / BLOCK_BYTES * BLOCK_BYTES;
        if n == 0 {
            return;
        }
        self.mac.update(&self.tail[..n]);
        let start = out.len();
        out.extend_from_slice(&self.tail[..n]);
        self.tail.drain(..n);
        self.cipher.decrypt_blocks(blocks(&mut out[start..]));
    }

    /// The end of the clear file, when the MAC is right.
    ///
    /// # Errors
    ///
    /// The file is not what its sender made; nothing of it may be believed.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Damage> {
        let n = self.tail.len().checked_sub(MAC_BYTES).filter(|it| *it > 0);
        let n = n.filter(|it| it % BLOCK_BYTES == 0).ok_or(Damage::Truncated)?;
        let (sealed, mac) = self.tail.split_at_mut(n);
        self.mac.update(sealed);
        self.mac.verify_truncated_left(mac).map_err(|_| Damage::BadMac)?;
        self.cipher.decrypt_blocks(blocks(sealed));
        let n_pad = usize::from(*sealed.last().ok_or(Damage::Truncated)?);
        let n_clear = sealed.len().checked_sub(n_pad).ok_or(Damage::BadPadding)?;
        let (clear, pad) = sealed.split_at(n_clear);
        let is_padding =
            (1..=BLOCK_BYTES).contains(&n_pad) && pad.iter().all(|it| usize::from(*it) == n_pad);
        if !is_padding {
            return Err(Damage::BadPadding);
        }
        out.extend_from_slice(clear);
        Ok(())
    }
}

/// The length of a file's encrypted form, in bytes.
#[must_use]
pub(super) fn sealed_len(n_clear: u64) -> u64 {
    let (block, mac) = (BLOCK_BYTES as u64, MAC_BYTES as u64);
    (n_clear / block + 1).saturating_mul(block).saturating_add(mac)
}

fn blocks(bytes: &mut [u8]) -> &mut [Block<Aes256>] {
    let (blocks, rest) = Array::slice_as_chunks_mut(bytes);
    debug_assert!(rest.is_empty());
    blocks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [MediaKind; 5] = [
        MediaKind::Image,
        MediaKind::Video,
        MediaKind::Audio,
        MediaKind::Document,
        MediaKind::Sticker,
    ];

    fn key() -> MediaKey {
        MediaKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()
    }

    fn seal(clear: &[u8], kind: MediaKind, piece: usize) -> Vec<u8> {
        let (mut sealer, mut out) = (Sealer::new(&key(), kind), Vec::new());
        clear.chunks(piece).for_each(|it| sealer.update(it, &mut out));
        sealer.finish(&mut out);
        out
    }

    fn open(sealed: &[u8], kind: MediaKind, piece: usize) -> Result<Vec<u8>, Damage> {
        let (mut opener, mut out) = (Opener::new(&key(), kind), Vec::new());
        sealed.chunks(piece).for_each(|it| opener.update(it, &mut out));
        opener.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn it_is_what_others_make_of_the_same() {
        // Made with Python's `cryptography` from the description alone.
        let known = [
            (
                MediaKind::Image,
                "f1292f12aa3b687a022da1d9aabbb872763a65502c246b2df25e0cf9cb38ade9d00e3554bdd23ef874c1",
            ),
            (
                MediaKind::Video,
                "3ba951fbe0c8f5d52f8c6d7cc2f344ec984cedf9a85b289e808570b3eb17fb22037de5ee1b2918dd631a",
            ),
            (
                MediaKind::Audio,
                "4043cf057fde29e0e1ae72643a0e078b3df6016998cb54536355807a9da868bad95a8657214585bfe277",
            ),
            (
                MediaKind::Document,
                "52b856563a7cab374241b81c4f578d9e20a64135eaf6b7383747f193b4cf8b9517dba2a8828d6788ea96",
            ),
            (
                MediaKind::Sticker,
                "f1292f12aa3b687a022da1d9aabbb872763a65502c246b2df25e0cf9cb38ade9d00e3554bdd23ef874c1",
            ),
        ];
        for (kind, want) in known {
            assert_eq!(hex::encode(seal(b"habari ya asubuhi", kind, 5)), want, "{kind:?}");
            let sealed = hex::decode(want).unwrap();
            assert_eq!(open(&sealed, kind, 7).unwrap(), b"habari ya asubuhi");
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let sealed = seal(&[7; 100], MediaKind::Image, 100);
        for at in 0..sealed.len() {
            for bit in [0x01, 0x80] {
                let mut other = sealed.clone();
                other[at] ^= bit;
                assert_eq!(open(&other, MediaKind::Image, 16), Err(Damage::BadMac), "{at}");
            }
            assert!(open(&sealed[..at], MediaKind::Image, 16).is_err(), "cut at {at}");
        }
        assert_eq!(open(&sealed, MediaKind::Video, 16), Err(Damage::BadMac));
    }

    #[test]
    fn padding_that_the_right_key_signed_is_still_looked_at() {
        for (byte, is_good) in [(0, false), (1, true), (2, false), (17, false), (255, false)] {
            let mut sealer = Sealer::new(&key(), MediaKind::Audio);
            let mut out = Vec::new();
            let mut block = [9_u8; BLOCK_BYTES];
            block[BLOCK_BYTES - 1] = byte;
            sealer.update(&block, &mut out);
            out.extend_from_slice(&sealer.mac.clone().finalize().into_bytes()[..MAC_BYTES]);
            let opened = open(&out, MediaKind::Audio, 64);
            assert_eq!(opened.is_ok(), is_good, "{byte}");
        }
    }

    #[test]
    fn a_key_is_32_bytes() {
        for bad in ["", "AAEC", "not base64", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"] {
            assert!(MediaKey::parse(bad).is_none(), "{bad}");
        }
        let fresh = MediaKey::random().unwrap().to_text();
        assert!(MediaKey::of_secret(&fresh).is_some());
    }

    proptest! {
        #[test]
        fn what_was_sealed_in_any_pieces_opens_in_any_others(
            clear in proptest::collection::vec(any::<u8>(), 0..2_000),
            kind in prop::sample::select(KINDS.to_vec()),
            (one, two) in (1_usize..300, 1_usize..300),
        ) {
            let sealed = seal(&clear, kind, one);
            prop_assert_eq!(sealed.len() as u64, sealed_len(clear.len() as u64));
            prop_assert_eq!(open(&sealed, kind, two), Ok(clear));
        }
    }
}
