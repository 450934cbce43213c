//! A backup of the data, made beside a server that runs, and the way back.

use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use rusqlite::Connection;

use super::{bootstrap, database_of};
use crate::{
    config::Config,
    domain::clock::{Millis, iso},
    gateway::free_disk_bytes,
    journal::SqliteJournal,
    sqlite::backup,
    store::check_key,
};

/// What was brought back.
#[derive(Debug)]
pub struct Restored {
    /// When the backup was made, where it says so.
    pub made_at: Option<Millis>,
    /// Messages and sends that wait for a person.
    pub n_parked: usize,
    /// Where the data are that were there before.
    pub replaced: Option<PathBuf>,
}

/// Copies the data as they are now into `file`, which must not be there, readable by its owner
/// alone. Answers its length, in bytes. Whoever writes meanwhile is not held up.
pub fn back_up(config: &Config, file: &Path, now: Millis) -> anyhow::Result<u64> {
    let database = database_of(config);
    if !database.exists() {
        bail!("there is no data in {} (DATA_DIR)", config.data_dir.display());
    }
    if fs::symlink_metadata(file).is_ok() {
        bail!("{} is there already: a backup replaces nothing", file.display());
    }
    let directory = directory_of(file);
    check_room(config, &database, directory)?;
    let beside = Beside::make(file)?;
    let told = || format!("back up to {}", file.display());
    backup::copy(&database, &beside.0, now).with_context(told)?;
    backup::check(&beside.0).context("the copy is not sound; the data may not be either")?;
    let copy = File::open(&beside.0).with_context(told)?;
    copy.sync_all().with_context(told)?;
    match fs::hard_link(&beside.0, file) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already: a backup replaces nothing", file.display());
        }
        // Some file systems have no links.
        Err(_) => fs::rename(&beside.0, file).with_context(told)?,
    }
    sync(directory).with_context(told)?;
    Ok(copy.metadata().with_context(told)?.len())
}

/// Brings a backup back into an empty data directory, or with `force` in the place of what is
/// there, which is moved aside. What was unfinished in it waits for a person.
///
/// # Errors
///
/// A server uses the directory, or the file is not sound or not readable with this key; then
/// nothing was changed.
pub async fn restore(
    config: &Config,
    file: &Path,
    force: bool,
    now: Millis,
) -> anyhow::Result<Restored> {
    let directory = &config.data_dir;
    let Some(_lock) = bootstrap::try_take_directory(directory)? else {
        bail!("a server uses {}: stop it first", directory.display());
    };
    let database = database_of(config);
    if database.exists() && !force {
        bail!(
            "there is data in {} already; --force moves it aside and brings the backup back",
            directory.display()
        );
    }
    let Some(vault) = bootstrap::known_vault(config)? else {
        bail!(
            "there is no encryption key: the backup can only be read with the one it was made with; set ENCRYPTION_KEY or put encryption.key into {}",
            directory.display()
        );
    };
    let vault = Arc::new(vault);
    let beside = Beside::make(&database)?;
    let told = || format!("read {}", file.display());
    let mut from = File::open(file).with_context(told)?;
    let mut into = OpenOptions::new().write(true).open(&beside.0).with_context(told)?;
    std::io::copy(&mut from, &mut into).with_context(told)?;
    into.sync_all().with_context(told)?;
    let none = || format!("{} is no sound backup of a waba-gateway", file.display());
    let is_unmarked = backup::mark(&beside.0, now).with_context(none)?;
    let found = backup::check(&beside.0).with_context(none)?;
    check_key(&Connection::open(&beside.0)?, &vault)
        .context("the encryption key is not the one the backup was made with")?;
    let replaced = move_aside(&database, now)?;
    fs::rename(&beside.0, &database).context("put the backup into its place")?;
    sync(directory)?;
    let journal = SqliteJournal::open(&database, vault).context("open the restored data")?;
    let n_parked = journal.park_restored(now).await.context("park what was unfinished")?;
    journal.db().close();
    Ok(Restored {
        made_at: found.made_at.filter(|_| !is_unmarked),
        n_parked: n_parked.unwrap_or_default(),
        replaced,
    })
}

/// A file that is written beside the place it is meant for, and removed if it does not get there.
struct Beside(PathBuf);

impl Beside {
    fn make(file: &Path) -> anyhow::Result<Self> {
        let mut suffix = [0_u8; 8];
        getrandom::fill(&mut suffix).context("random numbers")?;
        let path = file.with_extension(format!("{}.part", hex::encode(suffix)));
        let open = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
        open.with_context(|| format!("write {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It may have been moved to its place.
        let _ = fs::remove_file(&self.0);
    }
}

/// A backup must not fill the disk that the server lives on.
fn check_room(config: &Config, database: &Path, directory: &Path) -> anyhow::Result<()> {
    let device = |it: &Path| fs::metadata(it).map(|it| it.dev()).ok();
    let is_same = device(directory) == device(database);
    let spare = if is_same { config.min_free_disk_bytes } else { 0 };
    let needed = fs::metadata(database)?.len().saturating_add(spare);
    if free_disk_bytes(directory).is_some_and(|it| it < needed) {
        bail!("there is too little room in {}: {needed} bytes are needed", directory.display());
    }
    Ok(())
}

/// What is there goes into a directory of its own. Its write-ahead file goes first: it must never
/// be applied to another database.
fn move_aside(database: &Path, now: Millis) -> anyhow::Result<Option<PathBuf>> {
    let names = ["waba.db-wal", "waba.db-shm", "waba.db"];
    let all: Vec<PathBuf> = names.iter().map(|it| database.with_file_name(it)).collect();
    if !all.iter().any(|it| it.exists()) {
        return Ok(None);
    }
    let name = format!("replaced-{}", iso(now).replace(':', "-"));
    let aside = database.with_file_name(name);
    fs::create_dir(&aside).with_context(|| format!("make {}", aside.display()))?;
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o700))?;
    for (from, name) in all.iter().zip(names) {
        match fs::rename(from, aside.join(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("move {} aside", from.display()));
            }
        }
    }
    sync(directory_of(database))?;
    Ok(Some(aside))
}

fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}
