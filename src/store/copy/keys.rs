//! What was last known of gateway keys, beside the vendors.

use std::sync::Arc;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::{LocalCopy, place, sealed};
use crate::{
    domain::{clock::Millis, id::VendorId},
    sqlite::DbError,
    store::{ApiKey, StoreError},
};

/// No vendor's id has a colon.
const KEYS: &str = "key:";

/// All but its hash, under which it is found, and when it was last used.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyDocument {
    id: String,
    name: String,
    vendor: Option<VendorId>,
    read_only: bool,
    created_at: Millis,
    expires_at: Option<Millis>,
}

impl KeyDocument {
    fn of(key: &ApiKey) -> Self {
        Self {
            id: key.id.clone(),
            name: key.name.clone(),
            vendor: key.vendor.clone(),
            read_only: key.read_only,
            created_at: key.created_at,
            expires_at: key.expires_at,
        }
    }

    fn key(self, hash: [u8; 32]) -> ApiKey {
        let Self { id, name, vendor, read_only, created_at, expires_at } = self;
        ApiKey { id, hash, name, vendor, read_only, created_at, expires_at, used_at: None }
    }
}

impl LocalCopy {
    /// What was last known of the key with this hash.
    pub async fn key(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.key_document(hash).await?.map(|it| it.key(*hash)))
    }

    async fn key_document(&self, hash: &[u8; 32]) -> Result<Option<KeyDocument>, StoreError> {
        let (name, vault) = (name(hash), Arc::clone(&self.vault));
        let run = move |connection: &Connection| {
            let Some(sealed) = sealed(connection, &name)? else { return Ok(None) };
            let plain = vault.open(&place(&name), &sealed).map_err(|_| unreadable())?;
            serde_json::from_slice(&plain).map(Some).map_err(|_| unreadable())
        };
        Ok(self.db.read(run).await?)
    }

    /// Keeps what the store said of a key, if it is `still` so when it is written; what is kept
    /// already costs no write.
    pub async fn keep_key(
        &self,
        key: &ApiKey,
        still: impl Fn() -> bool + Send + 'static,
    ) -> Result<(), StoreError> {
        let document = KeyDocument::of(key);
        if self.key_document(&key.hash).await.is_ok_and(|it| it.as_ref() == Some(&document)) {
            return Ok(());
        }
        let name = name(&key.hash);
        let plain = serde_json::to_vec(&document).map_err(|_| unreadable())?;
        let sealed = self.vault.seal(&place(&name), &plain).map_err(|_| unreadable())?;
        let write = move |connection: &Connection| {
            if !still() {
                return Ok(());
            }
            let sql = "INSERT OR REPLACE INTO known (vendor, doc) VALUES (?1, ?2)";
            connection.prepare_cached(sql)?.execute(params![name, sealed])?;
            Ok(())
        };
        Ok(self.db.write_behind(write).await?)
    }

    /// Forgets a key that is good for nothing any more.
    pub async fn forget_key(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        let name = name(hash);
        let looked_for = name.clone();
        let is_there =
            move |connection: &Connection| Ok(sealed(connection, &looked_for)?.is_some());
        // Strangers must not be able to make us write.
        if self.db.read(is_there).await? {
            let sql = "DELETE FROM known WHERE vendor = ?1";
            let write = move |connection: &Connection| {
                connection.prepare_cached(sql)?.execute([&name])?;
                Ok(())
            };
            self.db.write(write).await?;
        }
        Ok(())
    }

    /// Forgets all keys: one of them was revoked, or may have been.
    pub async fn forget_keys(&self) -> Result<(), StoreError> {
        let write = |connection: &Connection| {
            let sql = "DELETE FROM known WHERE vendor >= ?1 AND vendor < 'key;'";
            connection.prepare_cached(sql)?.execute([KEYS])?;
            Ok(())
        };
        Ok(self.db.write(write).await?)
    }
}

fn name(hash: &[u8; 32]) -> String {
    format!("{KEYS}{}", hex::encode(hash))
}

fn unreadable() -> DbError {
    DbError::Unreadable("a key's copy")
}
