//! Files on their way: in from WhatsApp, in from a vendor, out in clear. All of this blocks.

use std::{
    fs::File,
    io::{self, Read, Seek},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    cipher::{Damage, MediaKey, Opener, Sealer, sealed_len},
    files::{Draft, Files},
    flow::Intake,
};
use crate::domain::{media::MediaId, message::MediaKind};

/// Bytes that are read and decrypted at once.
const PIECE_BYTES: usize = 128 * 1024;

/// Why a file is not kept, or not given out.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It has more bytes than it may.
    #[error("too_large")]
    TooLarge,
    /// It is not what its sender encrypted.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// It is not what its message announced.
    #[error("bad_hash")]
    BadHash,
    /// The disk.
    #[error("disk")]
    Disk(#[from] io::Error),
}

/// What a message says of its file.
pub struct Expected {
    /// Its key.
    pub key: MediaKey,
    /// Its kind.
    pub kind: MediaKind,
    /// SHA-256 of the file, base64.
    pub sha256: Option<String>,
    /// SHA-256 of the encrypted file, base64.
    pub encrypted_sha256: Option<String>,
    /// Its length, in bytes.
    pub n_bytes: Option<u64>,
    /// The largest it may be, in bytes.
    pub n_bytes_max: u64,
}

impl Expected {
    /// The longest encrypted file that may be the one that was announced, in bytes.
    #[must_use]
    pub fn sealed_max(&self) -> u64 {
        sealed_len(self.n_bytes.map_or(self.n_bytes_max, |it| it.min(self.n_bytes_max)))
    }
}

/// An encrypted file that comes in: kept as it is, and looked through on the way.
pub struct Incoming {
    draft: Draft,
    expected: Expected,
    opener: Opener,
    sealed: Sha256,
    clear: Sha256,
    n_sealed: u64,
    n_clear: u64,
    scratch: Vec<u8>,
}

impl Incoming {
    /// Starts with nothing of it.
    #[must_use]
    pub fn new(draft: Draft, expected: Expected) -> Self {
        let opener = Opener::new(&expected.key, expected.kind);
        let (sealed, clear) = (Sha256::new(), Sha256::new());
        let scratch = Vec::new();
        Self { draft, expected, opener, sealed, clear, n_sealed: 0, n_clear: 0, scratch }
    }

    fn take_clear(&mut self) {
        self.clear.update(&self.scratch);
        self.n_clear += self.scratch.len() as u64;
    }
}

impl Intake for Incoming {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.n_sealed += bytes.len() as u64;
        if self.n_sealed > self.expected.sealed_max() {
            return Err(Fault::TooLarge);
        }
        self.draft.write(bytes)?;
        self.sealed.update(bytes);
        self.scratch.clear();
        self.opener.update(bytes, &mut self.scratch);
        self.take_clear();
        Ok(())
    }

    fn keep(mut self) -> Result<u64, Fault> {
        self.scratch.clear();
        let opener = std::mem::replace(
            &mut self.opener,
            Opener::new(&self.expected.key, self.expected.kind),
        );
        if let Err(damage) = opener.finish(&mut self.scratch) {
            let is_short = self.expected.n_bytes.is_some_and(|it| self.n_sealed < sealed_len(it));
            return Err(if is_short { Damage::Truncated } else { damage }.into());
        }
        self.take_clear();
        let Self { draft, expected, sealed, clear, n_clear, .. } = self;
        let is = |hash: &Sha256, want: Option<&String>| want.is_none_or(|it| is_hash(hash, it));
        if !is(&sealed, expected.encrypted_sha256.as_ref()) || !is(&clear, expected.sha256.as_ref())
        {
            return Err(Fault::BadHash);
        }
        draft.keep()?;
        Ok(n_clear)
    }
}

/// What was said of a clear file before it came.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    /// Its SHA-256, in base64, by each who said it.
    pub sha256: Vec<String>,
    /// Its length, in bytes.
    pub n_bytes: Option<u64>,
}

/// A clear file that comes in and is kept encrypted.
pub struct Sealing {
    draft: Draft,
    sealer: Sealer,
    n_bytes: u64,
    n_bytes_max: u64,
    /// SHA-256 of as much of it as is there, where somebody has said what it will be.
    hash: Option<Sha256>,
    announced: Announced,
    scratch: Vec<u8>,
}

impl Sealing {
    /// Starts with nothing of it.
    #[must_use]
    pub fn new(draft: Draft, key: &MediaKey, kind: MediaKind, n_bytes_max: u64) -> Self {
        let sealer = Sealer::new(key, kind);
        let (hash, announced) = (None, Announced::default());
        Self { draft, sealer, n_bytes: 0, n_bytes_max, hash, announced, scratch: Vec::new() }
    }

    /// Keeps it only when it is the file that was announced.
    #[must_use]
    pub fn expecting(self, announced: Announced) -> Self {
        let hash = (!announced.sha256.is_empty()).then(Sha256::new);
        Self { hash, announced, ..self }
    }
}

impl Intake for Sealing {
    fn take(&mut self, clear: &[u8]) -> Result<(), Fault> {
        self.n_bytes += clear.len() as u64;
        if self.n_bytes > self.n_bytes_max {
            return Err(Fault::TooLarge);
        }
        if let Some(hash) = &mut self.hash {
            hash.update(clear);
        }
        self.scratch.clear();
        self.sealer.update(clear, &mut self.scratch);
        Ok(self.draft.write(&self.scratch)?)
    }

    fn keep(mut self) -> Result<u64, Fault> {
        let Announced { sha256, n_bytes } = &self.announced;
        let is_it = self.hash.take().is_none_or(|it| sha256.iter().all(|want| is_hash(&it, want)));
        if !is_it || n_bytes.is_some_and(|it| it != self.n_bytes) {
            return Err(Fault::BadHash);
        }
        self.scratch.clear();
        self.sealer.finish(&mut self.scratch);
        self.draft.write(&self.scratch)?;
        self.draft.keep()?;
        Ok(self.n_bytes)
    }
}

/// Whether it is this hash, in base64.
fn is_hash(hash: &Sha256, want: &str) -> bool {
    STANDARD.decode(want.trim()).is_ok_and(|it| it == hash.clone().finalize().as_slice())
}

/// A kept file, to be read in clear.
pub struct Clear {
    file: File,
    opener: Option<Opener>,
    n_bytes: u64,
    sealed: Vec<u8>,
}

impl Clear {
    /// Opens a file after its MAC was checked to the last byte. Two passes over the file: no byte
    /// is given out before all of them are proven.
    ///
    /// # Errors
    ///
    /// It is damaged, or not there ([`io::ErrorKind::NotFound`]).
    pub fn open(
        files: &Files,
        id: &MediaId,
        key: &MediaKey,
        kind: MediaKind,
    ) -> Result<Self, Fault> {
        let file = files.read(id)?;
        let new = |file| Self {
            file,
            opener: Some(Opener::new(key, kind)),
            n_bytes: 0,
            sealed: vec![0; PIECE_BYTES],
        };
        let (mut proof, mut n_bytes) = (new(file), 0);
        while let Some(piece) = proof.piece()? {
            n_bytes += piece.len() as u64;
        }
        let mut file = proof.file;
        file.rewind()?;
        Ok(Self { n_bytes, ..new(file) })
    }

    /// Bytes of the clear file.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// The next piece; `None` is the end.
    ///
    /// # Errors
    ///
    /// The disk's, or the file was changed since it was opened.
    pub fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some(mut opener) = self.opener.take() else { return Ok(None) };
        let mut clear = Vec::with_capacity(self.sealed.len());
        loop {
            let n = self.file.read(&mut self.sealed)?;
            if n == 0 {
                opener.finish(&mut clear)?;
                return Ok(Some(clear.into()));
            }
            opener.update(&self.sealed[..n], &mut clear);
            if !clear.is_empty() {
                self.opener = Some(opener);
                return Ok(Some(clear.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::*;

    fn key() -> MediaKey {
        MediaKey::random().unwrap()
    }

    fn again(key: &MediaKey) -> MediaKey {
        MediaKey::of_secret(&key.to_text()).unwrap()
    }

    fn store(files: &Files, id: &MediaId, key: &MediaKey, clear: &[u8]) {
        let mut sealing =
            Sealing::new(files.create(id).unwrap(), key, MediaKind::Document, 1 << 30);
        clear.chunks(50_000).for_each(|it| sealing.take(it).unwrap());
        assert_eq!(sealing.keep().unwrap(), clear.len() as u64);
    }

    fn read(files: &Files, id: &MediaId, key: &MediaKey) -> Result<Vec<u8>, Fault> {
        let mut clear = Clear::open(files, id, key, MediaKind::Document)?;
        let mut all = Vec::new();
        while let Some(piece) = clear.piece()? {
            all.extend_from_slice(&piece);
        }
        assert_eq!(all.len() as u64, clear.n_bytes());
        Ok(all)
    }

    #[test]
    fn a_file_is_read_as_it_was_stored_and_only_its_owner_may() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path()).unwrap();
        let id = MediaId::of_upload(0xabcd);
        for n_bytes in [0, 1, 15, 16, PIECE_BYTES - 26, PIECE_BYTES, 3 * PIECE_BYTES + 5] {
            let clear: Vec<u8> = (0..n_bytes).map(|it| u8::try_from(it % 251).unwrap()).collect();
            let key = key();
            store(&files, &id, &key, &clear);
            assert_eq!(read(&files, &id, &key).unwrap(), clear);
            assert!(matches!(read(&files, &id, &self::key()), Err(Fault::Damaged(Damage::BadMac))));
        }
        let path = files.path(&id);
        let mode = |it: &Path| fs::metadata(it).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(mode(&directory.path().join("media")), 0o700);
    }

    #[test]
    fn what_comes_in_is_only_kept_when_it_is_what_was_announced() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path()).unwrap();
        let (id, key, clear) = (MediaId::of_upload(1), key(), vec![5; 100_000]);
        let mut sealed = Vec::new();
        let mut sealer = Sealer::new(&key, MediaKind::Document);
        sealer.update(&clear, &mut sealed);
        sealer.finish(&mut sealed);
        let hash = |it: &[u8]| Some(STANDARD.encode(Sha256::digest(it)));
        let take = |sealed: &[u8], change: fn(&mut Expected)| {
            let mut expected = Expected {
                key: again(&key),
                kind: MediaKind::Document,
                sha256: hash(&clear),
                encrypted_sha256: hash(sealed),
                n_bytes: Some(100_000),
                n_bytes_max: 100_000,
            };
            change(&mut expected);
            let mut incoming = Incoming::new(files.create(&id).unwrap(), expected);
            sealed.chunks(7_001).try_for_each(|it| incoming.take(it))?;
            incoming.keep()
        };
        let word = |it: Result<u64, Fault>| it.unwrap_err().to_string();
        let bad = |it: &mut Expected| it.sha256 = Some(STANDARD.encode([0; 32]));
        assert_eq!(word(take(&sealed, bad)), "bad_hash");
        let bad = |it: &mut Expected| it.encrypted_sha256 = Some("?".to_owned());
        assert_eq!(word(take(&sealed, bad)), "bad_hash");
        assert_eq!(word(take(&sealed, |it| it.n_bytes = Some(99_000))), "too_large");
        assert_eq!(word(take(&sealed, |it| it.n_bytes_max = 99_000)), "too_large");
        assert_eq!(word(take(&sealed[..99_990], |_| {})), "truncated");
        let mut other = sealed.clone();
        other[50_000] ^= 1;
        assert_eq!(word(take(&other, |_| {})), "bad_mac");
        let is_empty = |it: &Path| fs::read_dir(it).unwrap().next().is_none();
        assert!(!files.path(&id).exists() && is_empty(&directory.path().join("media/beside")));
        assert_eq!(take(&sealed, |_| {}).unwrap(), 100_000);
        assert_eq!(fs::read(files.path(&id)).unwrap(), sealed);
        assert_eq!(read(&files, &id, &key).unwrap(), clear);
    }

    #[test]
    fn what_comes_in_clear_is_only_kept_when_it_is_what_was_announced() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path()).unwrap();
        let (id, key, clear) = (MediaId::of_upload(1), key(), vec![5; 100_000]);
        let take = |sha256: &[&str], n_bytes: Option<u64>, n_bytes_max: u64| {
            let draft = files.create(&id).unwrap();
            let sealing = Sealing::new(draft, &key, MediaKind::Document, n_bytes_max);
            let sha256 = sha256.iter().map(|it| (*it).to_owned()).collect();
            let mut sealing = sealing.expecting(Announced { sha256, n_bytes });
            clear.chunks(7_001).try_for_each(|it| sealing.take(it))?;
            sealing.keep()
        };
        let right = STANDARD.encode(Sha256::digest(&clear));
        let wrong = STANDARD.encode([0; 32]);
        for hashes in [&[wrong.as_str()][..], &["?"], &[&right, &wrong], &[&wrong, &right]] {
            assert_eq!(take(hashes, None, 100_000).unwrap_err().to_string(), "bad_hash");
        }
        for n_bytes in [99_999, 100_001] {
            assert_eq!(take(&[], Some(n_bytes), 100_000).unwrap_err().to_string(), "bad_hash");
        }
        assert_eq!(take(&[], None, 99_999).unwrap_err().to_string(), "too_large");
        assert!(!files.path(&id).exists());
        assert_eq!(take(&[&right, &right], Some(100_000), 100_000).unwrap(), 100_000);
        assert_eq!(read(&files, &id, &key).unwrap(), clear);
    }

    #[test]
    fn a_file_that_was_changed_on_disk_gives_no_byte() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path()).unwrap();
        let (id, key) = (MediaId::of_upload(1), key());
        store(&files, &id, &key, &vec![1; 300_000]);
        let mut bytes = fs::read(files.path(&id)).unwrap();
        let at = bytes.len() - 20;
        bytes[at] ^= 1;
        fs::write(files.path(&id), &bytes).unwrap();
        assert!(matches!(
            Clear::open(&files, &id, &key, MediaKind::Document),
            Err(Fault::Damaged(Damage::BadMac))
        ));
    }
}
