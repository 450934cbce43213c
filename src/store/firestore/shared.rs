//! What nodes share besides vendors and instances: keys, pauses, the ids of deleted instances, and
//! the check value of the encryption key.

use base64::{Engine, engine::general_purpose::STANDARD};
use firestore::gcloud_sdk::google::firestore::v1::Document;
use zeroize::Zeroizing;

use super::{
    Fault, FirestoreStore,
    client::Mark,
    secret,
    session::{IN_MAX, Session, all_of, is, query},
    value::{Edit, Fields, delete, flag, get_flag, get_text, get_time, id_of, text, time, whole},
};
use crate::{
    domain::{
        clock::Millis,
        id::{InstanceId, VendorId},
    },
    store::{ApiKey, StoreError},
    vault::Vault,
};

/// What is kept once.
pub(super) const META: &str = "gateway_meta";
/// API keys, by the hash of the key.
pub(super) const KEYS: &str = "gateway_keys";
/// Vendors whose sends are stopped.
pub(super) const PAUSES: &str = "gateway_pauses";
/// Ids of deleted instances, which are not given again.
pub(super) const FORMER: &str = "gateway_former_instances";
/// In there: it had what only its vendor's configuration has, or nobody knows that it had not.
pub(super) const HAD_CONFIGS: &str = "hadConfigs";
/// The pause of everybody; no vendor's id has a star.
pub(super) const EVERYBODY: &str = "*";
const KEY_CHECK: &str = "key_check";
const HASH_KEY: &str = "hash_key";

/// Sees whether the database is used with a key of this vault and has its hashes keyed as there; a
/// new one is marked.
pub(super) async fn check_key(session: &Session, vault: &Vault, mark: Mark) -> Result<(), Fault> {
    if check(session, vault, KEY_CHECK).await?.is_none() {
        if mark == Mark::Leave {
            return Ok(());
        }
        keep(session, vault, KEY_CHECK, "waba-gateway").await?;
        // Another node may have made it at this moment, with another key.
        check(session, vault, KEY_CHECK).await?.ok_or(Fault::Contended)?;
    }
    let mut found = check(session, vault, HASH_KEY).await?;
    if found.is_none() && mark == Mark::Make {
        let new = Vault::new_hash_key().map_err(|_| Fault::Sealed)?;
        let new = Zeroizing::new(STANDARD.encode(new.as_slice()));
        keep(session, vault, HASH_KEY, &new).await?;
        found = Some(check(session, vault, HASH_KEY).await?.ok_or(Fault::Contended)?);
    }
    if let Some(found) = found {
        let key = Zeroizing::new(STANDARD.decode(found.as_str()).map_err(|_| Fault::Sealed)?);
        let key = key.as_slice().try_into().map_err(|_| Fault::Sealed)?;
        vault.use_hash_key(Zeroizing::new(key));
    }
    Ok(())
}

/// What is kept under this name, where it is.
async fn check(
    session: &Session,
    vault: &Vault,
    name: &str,
) -> Result<Option<Zeroizing<String>>, Fault> {
    let Some(found) = session.get_one(META, name).await? else { return Ok(None) };
    let sealed = get_text(&found.fields, "value").unwrap_or_default();
    match secret::open(vault, name, sealed.clone()) {
        // A value that was replaced by a clear one proves nothing.
        Ok(plain) if plain != sealed => Ok(Some(Zeroizing::new(plain))),
        _ => Err(Fault::WrongKey),
    }
}

/// Keeps it unless it is there; whether it was not.
async fn keep(session: &Session, vault: &Vault, name: &str, plain: &str) -> Result<bool, Fault> {
    let sealed = secret::seal(vault, name, plain)?;
    let fields = Fields::from([("value".to_owned(), text(sealed))]);
    session.commit_if(vec![whole(session.name(META, name), fields, None)]).await
}

/// Whether what is sealed may still be so with an older key.
pub(super) async fn has_old(session: &Session, vault: &Vault) -> Result<bool, Fault> {
    let found = session.get_one(META, KEY_CHECK).await?;
    let sealed = found.and_then(|it| get_text(&it.fields, "value"));
    Ok(sealed.is_some_and(|it| !secret::is_current(vault, &it)))
}

/// Marks the database as sealed with the key that is used now, once everything in it is.
pub(super) async fn mark(session: &Session, vault: &Vault) -> Result<(), Fault> {
    for name in [HASH_KEY, KEY_CHECK] {
        let Some(found) = session.get_one(META, name).await? else { continue };
        let sealed = get_text(&found.fields, "value").unwrap_or_default();
        let Some(again) = secret::reseal(vault, name, &sealed)? else { continue };
        let fields = Fields::from([("value".to_owned(), text(again))]);
        // Another node may do the same at this moment.
        session.commit_if(vec![whole(found.name.clone(), fields, Some(&found))]).await?;
    }
    Ok(())
}

impl FirestoreStore {
    pub(super) async fn set_pause(
        &self,
        vendor: Option<&VendorId>,
        is_paused: bool,
    ) -> Result<(), StoreError> {
        let session = self.session()?;
        let name = session.name(PAUSES, vendor.map_or(EVERYBODY, VendorId::as_str));
        let write = pause_write(name, is_paused);
        Ok(session.commit(vec![write]).await?)
    }

    pub(super) async fn read_pauses(&self) -> Result<(Vec<VendorId>, bool), StoreError> {
        let found = self.session()?.query(all_of(PAUSES)).await?;
        let ids = found.iter().map(|it| id_of(&it.name));
        let vendors = ids.filter_map(|it| VendorId::parse(it).ok()).collect();
        Ok((vendors, found.iter().any(|it| id_of(&it.name) == EVERYBODY)))
    }

    pub(super) async fn keep_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        let session = self.session()?;
        let fields = key_fields(key);
        let name = session.name(KEYS, &hex::encode(key.hash));
        // One that is there already stays as it is.
        session.commit_if(vec![whole(name, fields, None)]).await?;
        Ok(())
    }

    pub(super) async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        let found = self.session()?.get_one(KEYS, &hex::encode(hash)).await?;
        Ok(found.as_ref().map(api_key).transpose()?)
    }

    pub(super) async fn all_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let found = self.session()?.query(all_of(KEYS)).await?;
        let mut keys: Vec<ApiKey> = found.iter().map(api_key).collect::<Result<_, _>>()?;
        keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(keys)
    }

    pub(super) async fn note_keys_used(&self, used: &[(String, Millis)]) -> Result<(), StoreError> {
        let session = self.session()?;
        for some in used.chunks(IN_MAX) {
            let ids = some.iter().map(|it| text(it.0.clone())).collect();
            let found = session.find(KEYS, "keyId", ids).await?;
            let used = |it: &Document| {
                let id = get_text(&it.fields, "keyId")?;
                let at = some.iter().find(|it| it.0 == id)?.1;
                let mut edit = Edit::of(it.name.clone(), false);
                edit.set("lastUsedAt", time(at));
                edit.write()
            };
            let writes: Vec<_> = found.iter().filter_map(used).collect();
            if !writes.is_empty() {
                // One that is revoked at this moment takes the others' times with it; they are
                // told again at their next use.
                session.commit_if(writes).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn remove_key(&self, id: &str) -> Result<bool, StoreError> {
        let session = self.session()?;
        let found = session.query(query(KEYS, is("keyId", text(id)))).await?;
        let is_there = !found.is_empty();
        if is_there {
            session.commit(found.into_iter().map(|it| delete(it.name)).collect()).await?;
        }
        Ok(is_there)
    }

    pub(super) async fn was_instance(&self, id: &InstanceId) -> Result<bool, StoreError> {
        Ok(self.session()?.get_one(FORMER, id.as_str()).await?.is_some())
    }
}

/// Pauses the vendor of this document, or lets it go on.
pub(super) fn pause_write(
    name: String,
    is_paused: bool,
) -> firestore::gcloud_sdk::google::firestore::v1::Write {
    if !is_paused {
        return delete(name);
    }
    let mut edit = Edit::of(name, false);
    edit.set("paused", flag(true));
    let write = edit.write().unwrap_or_default();
    // Whether it is there already is all the same.
    firestore::gcloud_sdk::google::firestore::v1::Write { current_document: None, ..write }
}

pub(super) fn key_fields(key: &ApiKey) -> Fields {
    let mut fields = Fields::from([
        ("keyId".to_owned(), text(key.id.clone())),
        ("name".to_owned(), text(key.name.clone())),
        ("readOnly".to_owned(), flag(key.read_only)),
        ("createdAt".to_owned(), time(key.created_at)),
    ]);
    if let Some(vendor) = &key.vendor {
        fields.insert("vendorId".to_owned(), text(vendor.as_str()));
    }
    fields.extend(key.expires_at.map(|it| ("expiresAt".to_owned(), time(it))));
    fields
}

pub(super) fn api_key(document: &Document) -> Result<ApiKey, Fault> {
    let fields = &document.fields;
    let bad = |what| Fault::Unreadable { document: format!("{KEYS}/…"), what };
    let mut hash = [0; 32];
    hex::decode_to_slice(id_of(&document.name), &mut hash).map_err(|_| bad("id"))?;
    let vendor = match get_text(fields, "vendorId") {
        Some(it) => Some(VendorId::parse(&it).map_err(|_| bad("vendorId"))?),
        // Without a vendor it is an admin's: a field of another form must not make it one.
        None if fields.contains_key("vendorId") => return Err(bad("vendorId")),
        None => None,
    };
    Ok(ApiKey {
        id: get_text(fields, "keyId").ok_or_else(|| bad("keyId"))?,
        hash,
        name: get_text(fields, "name").unwrap_or_default(),
        vendor,
        read_only: get_flag(fields, "readOnly").ok_or_else(|| bad("readOnly"))?,
        created_at: get_time(fields, "createdAt").unwrap_or_default(),
        // One of another form must not make it last for ever.
        expires_at: if fields.contains_key("expiresAt") {
            Some(get_time(fields, "expiresAt").ok_or_else(|| bad("expiresAt"))?)
        } else {
            None
        },
        used_at: get_time(fields, "lastUsedAt"),
    })
}
