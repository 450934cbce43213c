//! What the embedded database keeps of the keys it is used with: a value that tells a wrong
//! encryption key, what hashes are keyed with, and the names of the keys a server runs with.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use zeroize::Zeroizing;

use super::StoreError;
use crate::{
    sqlite::{Db, DbError, Sealed},
    vault::{HashKey, Vault},
};

/// Sealed under the key the data is sealed with, to tell a wrong key at start.
const KEY_CHECK: &str = "key_check";
/// Sealed: what hashes in these data are keyed with.
const HASH_KEY: &str = "hash_key";
/// Sealed: what hashes in the store elsewhere are keyed with, for as long as that is away.
const SHARED_HASH_KEY: &str = "shared_hash_key";
/// The names of the keys of whoever sealed last, that of the one it sealed with first.
const SEALING_KEYS: &str = "sealing_keys";

/// Sealed columns of the store's tables.
const SEALED: [Sealed; 3] = [
    Sealed {
        table: "vendors",
        key: "id",
        of: "id",
        column: "doc",
        place: |it| format!("vendor:{it}"),
    },
    Sealed {
        table: "instances",
        key: "id",
        of: "vendor || ':' || id",
        column: "doc",
        place: |it| format!("instance:{it}"),
    },
    Sealed {
        table: "known",
        key: "vendor",
        of: "vendor",
        column: "doc",
        place: |it| format!("known:{it}"),
    },
];

/// Sees whether the database was sealed with a key of this vault and has its hashes keyed as in
/// the data; a new one is marked.
///
/// # Errors
///
/// No key of the vault opens the data.
pub fn check_key(connection: &Connection, vault: &Vault) -> Result<(), DbError> {
    let check = get(connection, KEY_CHECK)?;
    match &check {
        Some(sealed) => {
            let wrong = DbError::Unreadable("the data was sealed with another ENCRYPTION_KEY");
            vault.open(KEY_CHECK, sealed).map_err(|_| wrong)?;
        }
        None => put(connection, KEY_CHECK, &seal(vault, KEY_CHECK, b"waba-gateway")?)?,
    }
    if let Some(sealed) = get(connection, HASH_KEY)? {
        vault.use_hash_key(hash_key(vault, HASH_KEY, &sealed)?);
        return Ok(());
    }
    let key = match check {
        // Data of before have theirs keyed with what was made of the first key, with which they
        // were marked.
        Some(sealed) => vault.hash_key_of(&sealed).ok_or_else(unusable)?,
        None => Vault::new_hash_key().map_err(|_| unusable())?,
    };
    put(connection, HASH_KEY, &seal(vault, HASH_KEY, key.as_slice())?)?;
    vault.use_hash_key(key);
    Ok(())
}

/// Marks the database as sealed with the key that is used now, once everything in it is.
pub(super) fn mark(connection: &Connection, vault: &Vault) -> Result<(), DbError> {
    for name in [KEY_CHECK, HASH_KEY, SHARED_HASH_KEY] {
        let Some(sealed) = get(connection, name)? else { continue };
        if let Some(again) = vault.reseal(name, &sealed).map_err(|_| unusable())? {
            put(connection, name, &again)?;
        }
    }
    Ok(())
}

/// The encryption keys of the data, and what is to be done about them.
#[derive(Clone)]
pub struct Keyed {
    db: Db,
    vault: Arc<Vault>,
}

impl Keyed {
    /// Those of this database.
    #[must_use]
    pub fn new(db: Db, vault: Arc<Vault>) -> Self {
        Self { db, vault }
    }

    /// Whether something in the data may still be sealed with an older key.
    pub async fn has_old(&self) -> Result<bool, StoreError> {
        let vault = Arc::clone(&self.vault);
        let read = move |connection: &Connection| {
            let sealed = get(connection, KEY_CHECK)?;
            Ok(sealed.is_some_and(|it| !vault.is_current(&it)))
        };
        Ok(self.db.read(read).await?)
    }

    /// Whoever holds the keys of this vault begins to seal.
    ///
    /// # Errors
    ///
    /// Somebody has sealed with a key that this vault does not have.
    pub async fn seals(&self) -> Result<(), StoreError> {
        let names = self.vault.key_ids();
        let begin = move |connection: &Connection| {
            let last = get(connection, SEALING_KEYS)?;
            let is_known = |last: &Vec<u8>| names.iter().any(|it| last.starts_with(it));
            if last.is_some_and(|it| !is_known(&it)) {
                return Err(DbError::Unreadable(
                    "the data were sealed with another ENCRYPTION_KEY since; it is needed in \
                     ENCRYPTION_KEYS_OLD",
                ));
            }
            put(connection, SEALING_KEYS, &names.concat())
        };
        Ok(self.db.write(begin).await?)
    }

    /// Whether whoever sealed last does so with the key that is used here.
    pub async fn is_sealed_with(&self) -> Result<bool, StoreError> {
        let vault = Arc::clone(&self.vault);
        Ok(self.db.read(move |connection| is_sealed_with(connection, &vault)).await?)
    }

    /// Sealed columns of the store's tables.
    #[must_use]
    pub fn columns() -> &'static [Sealed] {
        &SEALED
    }

    /// Marks the database as sealed with the key that is used now, once everything in it is: the
    /// older ones are not needed any more. `false`: somebody has begun to seal with another.
    pub async fn mark(&self) -> Result<bool, StoreError> {
        let vault = Arc::clone(&self.vault);
        let mark = move |connection: &Connection| {
            let is_right = is_sealed_with(connection, &vault)?;
            if is_right {
                mark(connection, &vault)?;
            }
            Ok(is_right)
        };
        Ok(self.db.write(mark).await?)
    }

    /// What hashes in the store elsewhere are keyed with, as last heard.
    pub async fn shared_hash_key(&self) -> Result<Option<HashKey>, StoreError> {
        let vault = Arc::clone(&self.vault);
        let read = move |connection: &Connection| {
            let sealed = get(connection, SHARED_HASH_KEY)?;
            sealed.map(|it| hash_key(&vault, SHARED_HASH_KEY, &it)).transpose()
        };
        Ok(self.db.read(read).await?)
    }

    /// Keeps it.
    pub async fn keep_shared_hash_key(&self, key: HashKey) -> Result<(), StoreError> {
        let known = self.shared_hash_key().await;
        if known.is_ok_and(|it| it.as_ref() == Some(&key)) {
            return Ok(());
        }
        let sealed = seal(&self.vault, SHARED_HASH_KEY, key.as_slice())?;
        Ok(self.db.write(move |connection| put(connection, SHARED_HASH_KEY, &sealed)).await?)
    }
}

fn is_sealed_with(connection: &Connection, vault: &Vault) -> Result<bool, DbError> {
    let names = get(connection, SEALING_KEYS)?.unwrap_or_default();
    Ok(vault.key_ids().first().is_some_and(|it| names.starts_with(it)))
}

/// A hash key as it is kept.
fn hash_key(vault: &Vault, place: &str, sealed: &[u8]) -> Result<HashKey, DbError> {
    let plain = vault.open(place, sealed).map_err(|_| unusable())?;
    Ok(Zeroizing::new(plain.as_slice().try_into().map_err(|_| unusable())?))
}

fn seal(vault: &Vault, place: &str, plain: &[u8]) -> Result<Vec<u8>, DbError> {
    vault.seal(place, plain).map_err(|_| unusable())
}

fn unusable() -> DbError {
    DbError::Unreadable("the key that hashes are made with")
}

fn get(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, DbError> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    Ok(connection.query_row(sql, [name], |row| row.get(0)).optional()?)
}

fn put(connection: &Connection, name: &str, value: &[u8]) -> Result<(), DbError> {
    let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
    connection.execute(sql, params![name, value])?;
    Ok(())
}
