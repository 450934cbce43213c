//! What the first start makes: the directory, the encryption key, the admin key.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, bail};

use crate::{
    config::Config,
    domain::secret::{ExposeSecret, SecretString},
    gateway::Gateway,
    vault::Vault,
};

const ENCRYPTION_KEY_FILE: &str = "encryption.key";
const ADMIN_KEY_FILE: &str = "admin.key";
const DATABASE_FILE: &str = "waba.db";

/// Makes the directory, readable by its owner alone, and locks it against a second process.
pub(super) fn take_directory(directory: &Path) -> anyhow::Result<File> {
    match try_take_directory(directory)? {
        Some(lock) => Ok(lock),
        None => bail!("another process uses the data directory {}", directory.display()),
    }
}

/// The same; `None` when another process has it.
pub(super) fn try_take_directory(directory: &Path) -> anyhow::Result<Option<File>> {
    make_directory(directory)?;
    let path = directory.join("lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let lock = lock.with_context(|| format!("open {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error).context("lock the data directory"),
    }
}

fn make_directory(directory: &Path) -> anyhow::Result<()> {
    let is_missing = |it: &&Path| !it.as_os_str().is_empty() && !it.exists();
    let missing: Vec<&Path> = directory.ancestors().take_while(is_missing).collect();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("make the data directory {}", directory.display()))?;
    // What is synced in a directory is lost with the directory, should its own entry not be on
    // disk.
    for made in missing {
        let parent = made.parent().filter(|it| !it.as_os_str().is_empty());
        match sync_directory(parent.unwrap_or(Path::new("."))) {
            // Who may not read it cannot sync it.
            Err(error) if error.kind() != ErrorKind::PermissionDenied => {
                return Err(error).with_context(|| format!("sync {}", made.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The vault of this directory. A key is made only where there is no data yet: data without its
/// key must never get another one.
pub fn vault(config: &Config) -> anyhow::Result<Vault> {
    make_directory(&config.data_dir)?;
    let file = config.data_dir.join(ENCRYPTION_KEY_FILE);
    // Looked for before the key: another process that starts now makes its key first.
    let has_data = config.data_dir.join(DATABASE_FILE).exists();
    let key = match (&config.encryption_key, read_secret(&file)?) {
        (Some(key), _) => key.clone(),
        (None, Some(key)) => key,
        (None, None) if config.firestore.is_some() => bail!(
            "ENCRYPTION_KEY is needed for STORE=firestore: what is sealed there is every node's, and must be opened by all of them"
        ),
        (None, None) if config.redis.is_some() => bail!(
            "ENCRYPTION_KEY is needed with REDIS_URL: what is sealed there is every gateway's, and must be opened by all of them"
        ),
        (None, None) if has_data => bail!(
            "there is data in {} but no encryption key: set ENCRYPTION_KEY or put {ENCRYPTION_KEY_FILE} back",
            config.data_dir.display()
        ),
        (None, None) => {
            let key = keep_secret(&file, Vault::new_key()?)?;
            tracing::info!(
                file = ENCRYPTION_KEY_FILE,
                "made an encryption key in the data directory; keep a copy of it apart from the data"
            );
            key
        }
    };
    Vault::new(&key, &config.old_encryption_keys).context("ENCRYPTION_KEY")
}

/// The vault of this directory, where its key is known. No key is made.
pub(super) fn known_vault(config: &Config) -> anyhow::Result<Option<Vault>> {
    let key = match &config.encryption_key {
        Some(key) => Some(key.clone()),
        None => read_secret(&config.data_dir.join(ENCRYPTION_KEY_FILE))?,
    };
    let vault = |it| Vault::new(&it, &config.old_encryption_keys).context("ENCRYPTION_KEY");
    key.map(vault).transpose()
}

/// The key of the operator's own: the one that was set, or that the first start made.
pub fn operator_key(config: &Config) -> anyhow::Result<Option<SecretString>> {
    match &config.admin_key {
        Some(key) => Ok(Some(key.clone())),
        None => read_secret(&config.data_dir.join(ADMIN_KEY_FILE)),
    }
}

/// Keeps the operator's admin key, or makes one at the first start. Answers the one that was made.
pub(super) async fn admin_key(
    config: &Config,
    gateway: &Gateway,
) -> anyhow::Result<Option<SecretString>> {
    let file = config.data_dir.join(ADMIN_KEY_FILE);
    if let Some(key) = &config.admin_key {
        gateway.adopt_admin_key(key).await?;
        return Ok(None);
    }
    if let Some(key) = read_secret(&file)? {
        gateway.adopt_admin_key(&key).await?;
        return Ok(None);
    }
    let has_admin = gateway.store().keys().await?.iter().any(|it| it.vendor.is_none());
    if has_admin {
        return Ok(None);
    }
    let key = keep_secret(&file, crate::gateway::random_key())?;
    gateway.adopt_admin_key(&key).await?;
    Ok(Some(key))
}

fn read_secret(path: &Path) -> anyhow::Result<Option<SecretString>> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => bail!("{} is empty", path.display()),
        Ok(text) => Ok(Some(text.trim().to_owned().into())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Keeps a fresh secret and answers it, or the one that another process kept a moment before.
/// Written beside and linked into its place: a crash leaves either no file or a whole one, and a
/// file that is there is never replaced.
fn keep_secret(path: &Path, secret: SecretString) -> anyhow::Result<SecretString> {
    let mut suffix = [0_u8; 8];
    getrandom::fill(&mut suffix).context("random numbers")?;
    let beside = path.with_extension(hex::encode(suffix));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
        writeln!(file, "{}", secret.expose_secret())?;
        file.sync_all()?;
        fs::hard_link(&beside, path)
    };
    let written = write();
    // Should it stay, it is a secret that nothing uses.
    let _ = fs::remove_file(&beside);
    let kept = match written {
        Ok(()) => secret,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            read_secret(path)?.with_context(|| format!("{} came and went", path.display()))?
        }
        Err(error) => return Err(error).with_context(|| format!("write {}", path.display())),
    };
    let directory = path.parent().unwrap_or(Path::new("."));
    sync_directory(directory).with_context(|| format!("write {}", path.display()))?;
    Ok(kept)
}
