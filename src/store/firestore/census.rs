//! Vendors and instances counted by Firestore itself; only the latest failures are read.

use std::collections::BTreeMap;

use firestore::{FirestoreQueryDirection, FirestoreQueryOrder};

use super::{
    FirestoreStore,
    instance::{self, INSTANCES},
    session::{all_of, is, query},
    value::{OURS, get_integer, get_text, ours, text},
    vendor::CONFIGS,
};
use crate::{
    domain::event::Connection,
    store::{Census, Failure, StoreError, census::FAILURES_MAX},
};

/// The words that other programs use for states and providers. Each is asked for by itself.
const STATUS_WORDS: [&str; 6] =
    ["connected", "active", "disconnected", "inactive", "pending", "error"];
const PROVIDER_WORDS: [&str; 4] = ["wasender", "meta", "unipile", "twilio"];

impl FirestoreStore {
    pub(super) async fn take_census(&self) -> Result<Census, StoreError> {
        let session = self.session()?;
        let count =
            |field: &str, word: &str| session.count(query(INSTANCES, is(field, text(word))));
        let (n_vendors, n_instances) =
            tokio::try_join!(session.count(all_of(CONFIGS)), session.count(all_of(INSTANCES)))?;
        let mut census = Census { n_vendors, n_instances, ..Census::default() };
        for word in PROVIDER_WORDS {
            add(&mut census.by_provider, word, count("provider", word).await?);
        }
        for word in STATUS_WORDS {
            let n = count("status", word).await?;
            add(&mut census.by_status, instance::connection(Some(word)).as_str(), n);
        }
        // Words that nobody knows, or none.
        let rest = n_instances - census.by_status.values().sum::<i64>();
        add(&mut census.by_status, Connection::Error.as_str(), rest.max(0));
        census.failures = self.failures().await?;
        Ok(census)
    }

    async fn failures(&self) -> Result<Vec<Failure>, StoreError> {
        let order = FirestoreQueryOrder::new(
            format!("{OURS}.lastFailedAt"),
            FirestoreQueryDirection::Descending,
        );
        let latest = all_of(INSTANCES)
            .with_order_by(vec![order])
            .with_limit(u32::try_from(FAILURES_MAX).unwrap_or(u32::MAX));
        let mut failures = Vec::new();
        for document in self.session()?.query(latest).await? {
            let Some(ours) = ours(&document) else { continue };
            let known = (instance::vendor_of(&document), get_integer(ours, "lastFailedAt"));
            let (Some(vendor), Some(at)) = known else { continue };
            let Some(phone_number) = instance::number(&document) else { continue };
            let error = get_text(ours, "lastError").unwrap_or_default();
            failures.push(Failure { vendor, phone_number, error, at });
        }
        Ok(failures)
    }
}

fn add(counts: &mut BTreeMap<String, i64>, word: &str, n: i64) {
    if n > 0 {
        *counts.entry(word.to_owned()).or_default() += n;
    }
}
