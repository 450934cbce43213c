//! Vendors in order of their ids, wherever they are: a document is named by its vendor's id or names
//! it in a field, in the collection of now or of before, and some vendors have numbers only, of which
//! either may be so too.

use std::collections::BTreeMap;

use firestore::{
    FirestoreQueryCursor, FirestoreQueryDirection, FirestoreQueryOrder, FirestoreValue,
    gcloud_sdk::google::firestore::v1::{Document, Value, value::ValueType},
};

use super::{
    Fault, FirestoreStore,
    instance::{self, INSTANCES},
    numbers::age,
    session::{Session, all_of, is, query},
    value::{get_text, id_of, text, value},
    vendor::{self, CONFIGS, OLDER_CONFIGS},
};
use crate::{
    domain::id::VendorId,
    store::{StoreError, VendorPage},
};

/// How documents of a vendor's numbers begin, before its id.
const PREFIX: &str = "waba_";
/// Before the names after those, and after every id of a vendor.
const AFTER_PREFIX: &str = "waba`";
const LAST: &str = "~";

type Found = BTreeMap<VendorId, Option<Document>>;

impl FirestoreStore {
    pub(super) async fn list_vendors(
        &self,
        after: Option<&VendorId>,
        limit: usize,
    ) -> Result<VendorPage, StoreError> {
        let session = self.session()?;
        let (paused, _) = self.read_pauses().await?;
        let (mut page, mut n_read) = (VendorPage::default(), 0);
        let mut after = after.map(ToString::to_string);
        loop {
            let (found, end) = Box::pin(Page { session: &session, after, limit }.read()).await?;
            for (id, document) in found.into_iter().take(limit - n_read) {
                let is_paused = paused.contains(&id);
                let read = match document {
                    Some(it) => vendor::read(&self.vault, &id, &it, is_paused),
                    None => Ok(vendor::without_config(&self.vault, &id, is_paused)),
                };
                match read {
                    Ok(vendor) => page.vendors.push(vendor),
                    Err(fault) if fault.is_unreadable() => page.unreadable.push(id.clone()),
                    Err(fault) => return Err(fault.into()),
                }
                n_read += 1;
                page.next = (n_read >= limit).then_some(id);
            }
            if n_read >= limit || end.is_none() {
                return Ok(page);
            }
            after = end;
        }
    }
}

/// The vendors after one, of several collections.
struct Page<'a> {
    session: &'a Session,
    after: Option<String>,
    limit: usize,
}

impl Page<'_> {
    /// What was found, and up to which id that is everything; `None` when there is no more.
    async fn read(&self) -> Result<(Found, Option<String>), Fault> {
        let after = self.after.as_deref().unwrap_or_default();
        let prefixed = format!("{PREFIX}{after}");
        let (now, now_named, older, older_named, numbers, named, low, high) = tokio::try_join!(
            self.by_field(CONFIGS, vendor::vendor_of),
            self.by_name(CONFIGS),
            self.by_field(OLDER_CONFIGS, vendor::vendor_of),
            self.by_name(OLDER_CONFIGS),
            self.by_field(INSTANCES, instance::vendor_of),
            self.numbers_named(&prefixed, AFTER_PREFIX),
            self.numbers_named(after, PREFIX),
            self.numbers_named(after.max(AFTER_PREFIX), LAST),
        )?;
        let ends = [&now, &now_named, &older, &older_named, &numbers, &named, &low, &high];
        let end = ends.into_iter().filter_map(|it| it.1.clone()).min();
        let numbers = [numbers, named, low, high].into_iter().flat_map(|it| it.0.into_keys());
        let mut found: Found = numbers.map(|it| (it, None)).collect();
        // The collection of now goes before the older one, and in each the document of the
        // vendor's id before another that names it.
        for source in [older.0, older_named.0, now.0, now_named.0] {
            found.extend(source);
        }
        found.retain(|id, _| {
            id.as_str() > after && end.as_ref().is_none_or(|end| id.as_str() <= end.as_str())
        });
        Ok((found, end))
    }

    /// Those that a field names.
    async fn by_field(
        &self,
        collection: &str,
        owner: fn(&Document) -> Option<VendorId>,
    ) -> Result<(Found, Option<String>), Fault> {
        // Among texts alone: other values come before or after them, and name nobody.
        let after = Some(text(self.after.clone().unwrap_or_default()));
        let mut page =
            ordered(self.session, (collection, "vendorId"), (after, None), self.limit).await?;
        // As it is there, blanks included, which the order goes by.
        let named = |it: &Document| match it.fields.get("vendorId")?.value_type.as_ref()? {
            ValueType::StringValue(it) => Some(it.clone()),
            _ => None,
        };
        let mut end = page.last().and_then(named).filter(|_| page.len() >= self.limit);
        if let Some(last) = end.clone() {
            // More of the last one's may come after them.
            page.retain(|it| named(it).as_ref() != Some(&last));
            match page.last().and_then(named) {
                Some(before) => end = Some(before),
                None => {
                    let its = query(collection, is("vendorId", text(last)));
                    page = self.session.query(its).await?;
                }
            }
        }
        let mut found = Found::new();
        for document in page {
            let Some(id) = owner(&document) else { continue };
            let known = found.entry(id).or_default();
            let is_newer = |it: &Document| age(it) < age(&document);
            if known.as_ref().is_none_or(is_newer) {
                *known = Some(document);
            }
        }
        Ok((found, end))
    }

    /// Those whose numbers' documents have their id, and no field that names them: in the order of
    /// ids between these two names, which begin as one another.
    async fn numbers_named(
        &self,
        after: &str,
        before: &str,
    ) -> Result<(Found, Option<String>), Fault> {
        if after >= before {
            return Ok((Found::new(), None));
        }
        let between = [after, before].map(|it| Some(it).filter(|it| !it.is_empty()));
        let between = between.map(|it| it.map(|it| name(self.session, INSTANCES, it)));
        let [after, before] = between;
        let page =
            ordered(self.session, (INSTANCES, "__name__"), (after, before), self.limit).await?;
        let last = page.last().map(|it| id_of(&it.name));
        let last = last.map(|it| it.strip_prefix(PREFIX).unwrap_or(it).to_owned());
        let end = last.filter(|_| page.len() >= self.limit);
        let is_its = |it: &(&Document, VendorId)| {
            let id = id_of(&it.0.name);
            id.strip_prefix(PREFIX).unwrap_or(id) == it.1.as_str()
        };
        let named = page.iter().filter_map(|it| Some((it, instance::vendor_of(it)?)));
        let found = named.filter(is_its).map(|it| (it.1, None)).collect();
        Ok((found, end))
    }

    /// Those whose document has their id.
    async fn by_name(&self, collection: &str) -> Result<(Found, Option<String>), Fault> {
        let page = by_name(self.session, collection, self.after.as_deref(), self.limit).await?;
        let last = page.last().map(|it| id_of(&it.name).to_owned());
        let end = last.filter(|_| page.len() >= self.limit);
        let mut found = Found::new();
        for document in page {
            let id = id_of(&document.name);
            let is_its = get_text(&document.fields, "vendorId").is_none_or(|it| it == id);
            if let Ok(id) = VendorId::parse(id)
                && is_its
            {
                found.insert(id, Some(document));
            }
        }
        Ok((found, end))
    }
}

/// Documents of a collection in the order of a field, after a value of it and before another.
async fn ordered(
    session: &Session,
    (collection, field): (&str, &str),
    (after, before): (Option<Value>, Option<Value>),
    limit: usize,
) -> Result<Vec<Document>, Fault> {
    let order = FirestoreQueryOrder::new(field.to_owned(), FirestoreQueryDirection::Ascending);
    let query = all_of(collection)
        .with_order_by(vec![order])
        .with_limit(u32::try_from(limit).unwrap_or(u32::MAX));
    let after = after.map(|it| FirestoreQueryCursor::AfterValue(vec![FirestoreValue::from(it)]));
    let before = before.map(|it| FirestoreQueryCursor::BeforeValue(vec![FirestoreValue::from(it)]));
    session.query(query.opt_start_at(after).opt_end_at(before)).await
}

/// The order of documents' names, after a document of this id.
pub(super) async fn by_name(
    session: &Session,
    collection: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Document>, Fault> {
    let after = after.map(|it| name(session, collection, it));
    ordered(session, (collection, "__name__"), (after, None), limit).await
}

fn name(session: &Session, collection: &str, id: &str) -> Value {
    value(ValueType::ReferenceValue(session.name(collection, id)))
}
