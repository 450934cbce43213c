//! What admins changed, on whichever node.

use async_trait::async_trait;
use firestore::{
    FirestoreQueryCursor, FirestoreQueryDirection, FirestoreQueryFilter, FirestoreQueryOrder,
    FirestoreValue,
    gcloud_sdk::google::firestore::v1::{Document, value::ValueType},
};

use super::{
    Fault, FirestoreStore,
    session::{all_of, is},
    value::{Fields, get_text, get_time, id_of, text, time, value, whole},
};
use crate::{
    domain::id::VendorId,
    store::{Audit, Deed, StoreError, audit::KEPT_FOR},
};

/// A document for each change. `removeAt` is for a time-to-live policy of Firestore's.
pub(super) const AUDIT: &str = "gateway_audit";
/// Numbers for one millisecond; with its time they stay below 2^53, which JavaScript counts to.
const PER_MS: i64 = 1_024;
/// Other nodes may take a number first.
const TRIES: usize = 5;

#[async_trait]
impl Audit for FirestoreStore {
    async fn add_deed(&self, deed: &Deed) -> Result<(), StoreError> {
        let session = self.session()?;
        for _ in 0..TRIES {
            let mut random = [0_u8; 2];
            // Should there be no randomness, the times still differ.
            let _ = getrandom::fill(&mut random);
            let n = deed.at * PER_MS + i64::from(u16::from_le_bytes(random)) % PER_MS;
            let name = session.name(AUDIT, &id(n));
            if session.commit_if(vec![whole(name, fields(deed), None)]).await? {
                return Ok(());
            }
        }
        Err(Fault::Contended.into())
    }

    async fn deeds(
        &self,
        vendor: Option<&VendorId>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(i64, Deed)>, StoreError> {
        let session = self.session()?;
        // Names alone are indexed upwards only. Downwards they are behind the values of each field:
        // behind the vendor's, or else behind the times that they begin with.
        let descending =
            |it: &str| FirestoreQueryOrder::new(it.to_owned(), FirestoreQueryDirection::Descending);
        let by_time = vendor.is_none().then(|| descending("at"));
        let query = all_of(AUDIT)
            .with_order_by(by_time.into_iter().chain([descending("__name__")]).collect())
            .with_limit(u32::try_from(limit).unwrap_or(u32::MAX));
        let cursor = |n: i64| {
            let name = value(ValueType::ReferenceValue(session.name(AUDIT, &id(n))));
            let at = vendor.is_none().then(|| time(n.div_euclid(PER_MS)));
            FirestoreQueryCursor::AfterValue(
                at.into_iter().chain([name]).map(FirestoreValue::from).collect(),
            )
        };
        let of =
            |it: &VendorId| FirestoreQueryFilter::Compare(Some(is("vendorId", text(it.as_str()))));
        let query = query.opt_start_at(before.map(cursor)).opt_filter(vendor.map(of));
        let found = session.query(query).await?;
        Ok(found.iter().map(deed).collect::<Result<_, _>>()?)
    }
}

/// The number of a change, as long for all of them.
pub(super) fn id(n: i64) -> String {
    format!("{n:016}")
}

pub(super) fn fields(deed: &Deed) -> Fields {
    let mut fields = Fields::from([
        ("at".to_owned(), time(deed.at)),
        ("removeAt".to_owned(), time(deed.at + KEPT_FOR)),
        ("by".to_owned(), text(deed.by.clone())),
        ("what".to_owned(), text(deed.what.clone())),
    ]);
    fields.extend(deed.vendor.as_ref().map(|it| ("vendorId".to_owned(), text(it.as_str()))));
    fields.extend(deed.about.as_ref().map(|it| ("about".to_owned(), text(it.clone()))));
    fields
}

pub(super) fn deed(document: &Document) -> Result<(i64, Deed), Fault> {
    let fields = &document.fields;
    let bad = |what| Fault::Unreadable { document: format!("{AUDIT}/…"), what };
    let vendor = get_text(fields, "vendorId").map(|it| VendorId::parse(&it)).transpose();
    let deed = Deed {
        at: get_time(fields, "at").ok_or_else(|| bad("at"))?,
        by: get_text(fields, "by").unwrap_or_default(),
        what: get_text(fields, "what").unwrap_or_default(),
        vendor: vendor.map_err(|_| bad("vendorId"))?,
        about: get_text(fields, "about"),
    };
    let n = id_of(&document.name).parse().map_err(|_| bad("id"))?;
    Ok((n, deed))
}
