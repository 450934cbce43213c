//! API keys: their hashes are moved, so that every key goes on being good for what it was.

use std::collections::BTreeMap;

use waba_gateway::store::{ApiKey, Store, StoreError};

use crate::data::steadily;

/// The keys of both stores.
pub struct Compared {
    /// By hash: of the source and of the target.
    all: BTreeMap<[u8; 32], (Option<ApiKey>, Option<ApiKey>)>,
}

/// Reads the keys of both stores.
pub async fn compare(source: &dyn Store, target: &dyn Store) -> Result<Compared, StoreError> {
    let mut all: BTreeMap<_, (Option<ApiKey>, Option<ApiKey>)> = BTreeMap::new();
    for key in steadily(async || source.keys().await).await? {
        let hash = key.hash;
        all.entry(hash).or_default().0 = Some(key);
    }
    for key in steadily(async || target.keys().await).await? {
        let hash = key.hash;
        all.entry(hash).or_default().1 = Some(key);
    }
    Ok(Compared { all })
}

impl Compared {
    /// Keys of the source.
    pub fn n_keys(&self) -> usize {
        self.all.values().filter(|it| it.0.is_some()).count()
    }

    /// Keys that mean something else in the target, or that only it takes: one that was revoked
    /// since must not come back unseen.
    pub fn differing(&self) -> impl Iterator<Item = String> {
        self.all.values().filter_map(|it| match it {
            (Some(its), Some(there)) if !is_same(its, there) => {
                Some(format!("API key {} ({})", there.id, there.name))
            }
            (None, Some(there)) => {
                Some(format!("API key {} ({}), only there", there.id, there.name))
            }
            _ => None,
        })
    }

    /// Keys that the target does not have.
    pub fn missing(&self) -> impl Iterator<Item = String> {
        let missing = self.all.values().filter(|it| it.1.is_none());
        missing.filter_map(|it| Some(format!("API key {}", it.0.as_ref()?.id)))
    }

    /// Gives the target what it lacks; where they differ, the source's if it wins.
    pub async fn copy(&self, target: &dyn Store, source_wins: bool) -> Result<(), StoreError> {
        for (its, there) in self.all.values() {
            match (its, there) {
                (Some(its), None) => put(target, its).await?,
                (Some(its), Some(there)) if source_wins && !is_same(its, there) => {
                    target.delete_key(&there.id).await?;
                    put(target, its).await?;
                }
                (None, Some(there)) if source_wins => {
                    target.delete_key(&there.id).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

async fn put(target: &dyn Store, key: &ApiKey) -> Result<(), StoreError> {
    steadily(async || target.put_key(key).await).await?;
    let used = key.used_at.map(|at| (key.id.clone(), at));
    target.set_keys_used(used.as_slice()).await
}

/// Whether they are good for the same. Both stores may have been given the operator's key, each at
/// its time.
fn is_same(left: &ApiKey, right: &ApiKey) -> bool {
    let ApiKey { id: _, hash, name: _, vendor, read_only, created_at: _, expires_at, used_at: _ } =
        left;
    (hash, vendor, read_only, expires_at)
        == (&right.hash, &right.vendor, &right.read_only, &right.expires_at)
}
