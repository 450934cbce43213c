//! The directory of files: `media/<2 digits of the id>/<id>`, each encrypted as WhatsApp does it.
//! A file is written beside, synced and renamed, so that it is there whole or not at all. All of
//! this blocks: it belongs on threads of its own.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::domain::media::MediaId;

/// Where files are written before they are whole.
const BESIDE: &str = "beside";

/// The directory.
pub struct Files {
    directory: PathBuf,
    /// What was written before this process began is older, by the same clock.
    opened_at: SystemTime,
}

impl Files {
    /// Opens the directory, or makes it, and forgets what was never finished. One process at a
    /// time: its owner holds the lock of the data directory.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let directory = data_dir.join("media");
        let beside = directory.join(BESIDE);
        match fs::remove_dir_all(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        make_directory(&directory)?;
        make_directory(&beside)?;
        let opened_at = fs::metadata(&beside)?.modified()?;
        Ok(Self { directory, opened_at })
    }

    /// Starts a file.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn create(&self, id: &MediaId) -> io::Result<Draft> {
        let mut suffix = [0_u8; 8];
        getrandom::fill(&mut suffix).map_err(|_| io::Error::other("no random numbers"))?;
        let beside = self.directory.join(BESIDE).join(format!("{id}.{}", hex::encode(suffix)));
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
        Ok(Draft { file, beside, path: self.path(id) })
    }

    /// Takes a file away; one that is not there is no fault.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn remove(&self, id: &MediaId) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The files of the `n`th of 256 parts that were there before this process began.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn old(&self, n: u8) -> io::Result<Vec<MediaId>> {
        let entries = match fs::read_dir(self.directory.join(format!("{n:02x}"))) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let is_old = entry.metadata()?.modified()? < self.opened_at;
            let id = entry.file_name().to_str().and_then(|it| MediaId::parse(it).ok());
            found.extend(id.filter(|_| is_old));
        }
        Ok(found)
    }

    /// A file that is whole.
    pub(super) fn read(&self, id: &MediaId) -> io::Result<File> {
        File::open(self.path(id))
    }

    /// The first digits of a message's id are the time and hardly differ; these do.
    pub(super) fn path(&self, id: &MediaId) -> PathBuf {
        let id = id.as_str();
        let part = &id["msg_".len()..][9..11];
        self.directory.join(part).join(id)
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// A file that is not whole yet; gone when it is dropped.
pub struct Draft {
    file: File,
    beside: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// Puts more to its end.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// The file is whole: it is in its place, on disk, when this returns.
    pub(super) fn keep(self) -> io::Result<()> {
        self.file.sync_all()?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        make_directory(directory)?;
        fs::rename(&self.beside, &self.path)?;
        File::open(directory)?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Kept, it is not here any more; what stays is removed at the next start.
        let _ = fs::remove_file(&self.beside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(files: &Files, id: &MediaId) {
        let mut draft = files.create(id).unwrap();
        draft.write(b"before").unwrap();
        draft.keep().unwrap();
    }

    #[test]
    fn a_new_start_knows_what_was_there_and_forgets_what_was_not_finished() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path()).unwrap();
        let id = MediaId::of_upload(1);
        store(&files, &id);
        std::mem::forget(files.create(&MediaId::of_upload(2)).unwrap());
        let all = |files: &Files| (0..=u8::MAX).flat_map(|it| files.old(it).unwrap()).count();
        assert_eq!(all(&files), 0);
        let before = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        let file = OpenOptions::new().write(true).open(files.path(&id)).unwrap();
        file.set_modified(before).unwrap();
        let files = Files::open(directory.path()).unwrap();
        assert_eq!(all(&files), 1);
        assert_eq!(fs::read_dir(directory.path().join("media/beside")).unwrap().count(), 0);
        files.remove(&id).unwrap();
        files.remove(&id).unwrap();
        assert_eq!(all(&files), 0);
    }
}
