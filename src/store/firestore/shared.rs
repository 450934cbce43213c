//! What nodes share besides vendors and instances: keys, pauses, the ids of deleted instances, and
//! the check value of the encryption key.

use firestore::gcloud_sdk::google::firestore::v1::Document;

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
/// The pause of everybody; no vendor's id has a star.
pub(super) const EVERYBODY: &str = "*";
const KEY_CHECK: &str = "key_check";

/// Sees whether the database is used with this vault's key; a new one is marked with it.
pub(super) async fn check_key(session: &Session, vault: &Vault, mark: Mark) -> Result<(), Fault> {
    for _ in 0..2 {
        if let Some(found) = session.get_one(META, KEY_CHECK).await? {
            let sealed = get_text(&found.fields, "value").unwrap_or_default();
            let opened = secret::open(vault, KEY_CHECK, sealed.clone());
            // A value that was replaced by a clear one proves nothing.
            let is_right = opened.is_ok_and(|it| it != sealed);
            return if is_right { Ok(()) } else { Err(Fault::WrongKey) };
        }
        if mark == Mark::Leave {
            return Ok(());
        }
        let sealed = secret::seal(vault, KEY_CHECK, "waba-gateway")?;
        let fields = Fields::from([("value".to_owned(), text(sealed))]);
        let name = session.name(META, KEY_CHECK);
        // Another node may be making it at this moment.
        if session.commit_if(vec![whole(name, fields, None)]).await? {
            return Ok(());
        }
    }
    Err(Fault::Contended)
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

fn api_key(document: &Document) -> Result<ApiKey, Fault> {
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
