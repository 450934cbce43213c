//! What is asked of Firestore, every request bounded in time.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use firestore::{
    FirestoreDb, FirestoreInstant, FirestoreQueryFilter, FirestoreQueryFilterCompare,
    FirestoreQueryParams, FirestoreValue,
    gcloud_sdk::{
        google::firestore::v1::{
            ArrayValue, BatchGetDocumentsRequest, BatchGetDocumentsResponse,
            BeginTransactionRequest, CommitRequest, Document, RollbackRequest,
            RunAggregationQueryRequest, RunQueryRequest, StructuredAggregationQuery,
            StructuredQuery, Value, Write,
            batch_get_documents_request::ConsistencySelector as GetIn,
            batch_get_documents_response::Result as Got,
            run_aggregation_query_request::QueryType as Counted,
            run_query_request::{ConsistencySelector as QueryIn, QueryType},
            structured_aggregation_query::{
                Aggregation, QueryType as OfQuery,
                aggregation::{Count, Operator},
            },
            value::ValueType,
        },
        tonic::{Code, Request, Status},
    },
};
use futures_util::{TryStreamExt, future};

use super::{
    Fault,
    client::ANSWER_WITHIN,
    value::{get_integer, id_of, value},
};
use crate::store::StoreError;

/// How often a transaction is tried whose documents others change.
const TRIES_MAX: u32 = 12;
/// The longest wait before the next try.
const BACK_OFF_MAX: Duration = Duration::from_millis(400);
/// How much longer an answer may take for each document it is about, and for whole collections.
const EACH_WITHIN: Duration = Duration::from_millis(50);
const ALL_WITHIN: Duration = Duration::from_secs(15);
/// Queries that run side by side.
const QUERIES_AT_ONCE: usize = 8;
/// What Firestore allows in one `in`.
pub(super) const IN_MAX: usize = 30;

/// A connection, or a transaction's view through it.
#[derive(Clone)]
pub(super) struct Session {
    db: FirestoreDb,
    transaction: Option<Vec<u8>>,
}

/// Something read, decided and written in one transaction.
#[async_trait]
pub(super) trait Deed: Sync {
    /// What comes of it.
    type Done: Send;

    /// Reads through the transaction and answers what is to be written. It may run several times.
    async fn plan(&self, tx: &Session) -> Result<(Self::Done, Vec<Write>), StoreError>;
}

impl Session {
    pub(super) fn new(db: FirestoreDb) -> Self {
        Self { db, transaction: None }
    }

    pub(super) fn db(&self) -> &FirestoreDb {
        &self.db
    }

    /// The full name of a document.
    pub(super) fn name(&self, collection: &str, id: &str) -> String {
        format!("{}/{collection}/{id}", self.db.get_documents_path())
    }

    /// Those of these documents that exist, by id.
    pub(super) async fn get(
        &self,
        collection: &str,
        ids: &[String],
    ) -> Result<HashMap<String, Document>, Fault> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let names: Vec<String> = ids.iter().map(|it| self.name(collection, it)).collect();
        let got = self.get_named(names).await?;
        let found = got.into_iter().filter_map(|it| match it.result? {
            Got::Found(it) => Some((id_of(&it.name).to_owned(), it)),
            Got::Missing(_) => None,
        });
        Ok(found.collect())
    }

    async fn get_named(
        &self,
        documents: Vec<String>,
    ) -> Result<Vec<BatchGetDocumentsResponse>, Fault> {
        let request = BatchGetDocumentsRequest {
            database: self.database(),
            documents,
            consistency_selector: self.transaction.clone().map(GetIn::Transaction),
            ..BatchGetDocumentsRequest::default()
        };
        again_once(patience(request.documents.len()), || {
            let (mut client, request) = (self.db.client().get(), Request::new(request.clone()));
            async move {
                client.batch_get_documents(request).await?.into_inner().try_collect().await
            }
        })
        .await
    }

    /// One document.
    pub(super) async fn get_one(
        &self,
        collection: &str,
        id: &str,
    ) -> Result<Option<Document>, Fault> {
        Ok(self.get(collection, &[id.to_owned()]).await?.remove(id))
    }

    /// The documents that a query finds.
    pub(super) async fn query(&self, query: FirestoreQueryParams) -> Result<Vec<Document>, Fault> {
        let within = if query.filter.is_some() { ANSWER_WITHIN } else { ALL_WITHIN };
        let request = RunQueryRequest {
            parent: self.db.get_documents_path().clone(),
            query_type: Some(QueryType::StructuredQuery(structured(query)?)),
            consistency_selector: self.transaction.clone().map(QueryIn::Transaction),
            ..RunQueryRequest::default()
        };
        again_once(within, || {
            let (mut client, request) = (self.db.client().get(), Request::new(request.clone()));
            async move {
                let found = client.run_query(request).await?.into_inner();
                found.try_filter_map(|it| future::ready(Ok(it.document))).try_collect().await
            }
        })
        .await
    }

    /// The documents of which a field has one of these values.
    pub(super) async fn find(
        &self,
        collection: &str,
        field: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Document>, Fault> {
        self.find_up_to(collection, field, values, None).await
    }

    /// The same, at most so many of each value.
    pub(super) async fn find_some(
        &self,
        collection: &str,
        field: &str,
        values: Vec<Value>,
        most: u32,
    ) -> Result<Vec<Document>, Fault> {
        self.find_up_to(collection, field, values, Some(most)).await
    }

    async fn find_up_to(
        &self,
        collection: &str,
        field: &str,
        values: Vec<Value>,
        most: Option<u32>,
    ) -> Result<Vec<Document>, Fault> {
        // Emulators want the values of one `in` to be of one type.
        let (texts, numbers): (Vec<Value>, Vec<Value>) = values
            .into_iter()
            .partition(|it| matches!(it.value_type, Some(ValueType::StringValue(_))));
        let each = if most.is_some() { 1 } else { IN_MAX };
        let some = texts.chunks(each).chain(numbers.chunks(each));
        let queries: Vec<FirestoreQueryParams> =
            some.map(|it| query(collection, is_in(field, it.to_vec())).opt_limit(most)).collect();
        let mut found = Vec::new();
        for some in queries.chunks(QUERIES_AT_ONCE) {
            let pages = some.iter().map(|it| self.query(it.clone()));
            found.extend(future::try_join_all(pages).await?.into_iter().flatten());
        }
        Ok(found)
    }

    /// How many documents a query finds.
    pub(super) async fn count(&self, query: FirestoreQueryParams) -> Result<i64, Fault> {
        const N: &str = "n";
        let count =
            Aggregation { alias: N.to_owned(), operator: Some(Operator::Count(Count::default())) };
        let query = StructuredAggregationQuery {
            aggregations: vec![count],
            query_type: Some(OfQuery::StructuredQuery(structured(query)?)),
        };
        let request = RunAggregationQueryRequest {
            parent: self.db.get_documents_path().clone(),
            query_type: Some(Counted::StructuredAggregationQuery(query)),
            ..RunAggregationQueryRequest::default()
        };
        again_once(ALL_WITHIN, || {
            let (mut client, request) = (self.db.client().get(), Request::new(request.clone()));
            async move {
                let answer = client.run_aggregation_query(request).await?.into_inner();
                let answers: Vec<_> = answer.try_collect().await?;
                let counted = answers.into_iter().find_map(|it| it.result);
                Ok(counted.and_then(|it| get_integer(&it.aggregate_fields, N)).unwrap_or_default())
            }
        })
        .await
    }

    /// Writes all of this, or nothing.
    pub(super) async fn commit(&self, writes: Vec<Write>) -> Result<(), Fault> {
        let request = CommitRequest {
            database: self.database(),
            writes,
            transaction: self.transaction.clone().unwrap_or_default(),
            ..CommitRequest::default()
        };
        let patience = patience(request.writes.len());
        let commit = async {
            self.db.client().get().commit(Request::new(request)).await?;
            Ok(())
        };
        within(patience, commit).await
    }

    /// The same; `false` when a document is not as the writes expect it.
    pub(super) async fn commit_if(&self, writes: Vec<Write>) -> Result<bool, Fault> {
        match self.commit(writes).await {
            Ok(()) => Ok(true),
            Err(Fault::Unmet) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Firestore's own time.
    pub(super) async fn time(&self) -> Result<FirestoreInstant, Fault> {
        let got = self.get_named(vec![self.name(super::shared::META, "time")]).await?;
        let at = got.into_iter().find_map(|it| it.read_time).unwrap_or_default();
        FirestoreInstant::new(at.seconds, at.nanos).map_err(|_| Fault::Refused("time".to_owned()))
    }

    /// Does something in a transaction, again while others change the same documents.
    pub(super) async fn run<D: Deed>(&self, deed: &D) -> Result<D::Done, StoreError> {
        for tried in 1.. {
            match self.attempt(deed).await {
                Err(StoreError::Firestore(Fault::Contended | Fault::Unmet))
                    if tried < TRIES_MAX =>
                {
                    tokio::time::sleep(back_off(tried)).await;
                }
                end => return end,
            }
        }
        Err(Fault::Contended.into())
    }

    async fn attempt<D: Deed>(&self, deed: &D) -> Result<D::Done, StoreError> {
        let request = BeginTransactionRequest { database: self.database(), ..Default::default() };
        let begun = within(ANSWER_WITHIN, async {
            let begun = self.db.client().get().begin_transaction(Request::new(request)).await?;
            Ok(begun.into_inner().transaction)
        });
        let tx = Self { db: self.db.clone(), transaction: Some(begun.await?) };
        match deed.plan(&tx).await {
            Ok((done, writes)) if !writes.is_empty() => {
                tx.commit(writes).await?;
                Ok(done)
            }
            end => {
                tx.give_up().await;
                end.map(|it| it.0)
            }
        }
    }

    /// What a transaction has locked must not wait for its end by time.
    async fn give_up(self) {
        let transaction = self.transaction.clone().unwrap_or_default();
        let request =
            RollbackRequest { database: self.database(), transaction, ..Default::default() };
        let rollback = async {
            self.db.client().get().rollback(Request::new(request)).await?;
            Ok(())
        };
        // It ends by itself, then.
        let _ = within(ANSWER_WITHIN, rollback).await;
    }

    fn database(&self) -> String {
        self.db.get_database_path().clone()
    }
}

fn structured(query: FirestoreQueryParams) -> Result<StructuredQuery, Fault> {
    Ok(StructuredQuery::try_from(query)?)
}

/// How long an answer about so many documents is waited for: one that a webhook waits for is about a
/// few, a batch of a migration about hundreds.
fn patience(n_documents: usize) -> Duration {
    let n = u32::try_from(n_documents).unwrap_or(u32::MAX);
    (ANSWER_WITHIN + EACH_WITHIN.saturating_mul(n)).min(ALL_WITHIN)
}

async fn within<T>(
    patience: Duration,
    f: impl Future<Output = Result<T, Status>>,
) -> Result<T, Fault> {
    // The library's futures are large.
    match tokio::time::timeout(patience, Box::pin(f)).await {
        Ok(end) => Ok(end?),
        Err(_) => Err(Fault::TooSlow),
    }
}

/// A read that met a connection which had just ended is made again on the next one.
async fn again_once<T, F>(patience: Duration, f: impl Fn() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Status>>,
{
    within(patience, async {
        match f().await {
            Err(error) if error.code() == Code::Unavailable => f().await,
            end => end,
        }
    })
    .await
}

/// Random, so that those who met do not meet again.
fn back_off(tried: u32) -> Duration {
    let mut random = [0_u8; 2];
    // Without random numbers everybody waits the longest.
    let share = getrandom::fill(&mut random)
        .map_or(1.0, |()| f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX));
    let longest = Duration::from_millis(10) * 2_u32.saturating_pow(tried.min(6));
    longest.min(BACK_OFF_MAX).mul_f64(share)
}

/// All documents of a collection that meet this.
pub(super) fn query(collection: &str, filter: FirestoreQueryFilterCompare) -> FirestoreQueryParams {
    all_of(collection).with_filter(FirestoreQueryFilter::Compare(Some(filter)))
}

/// All documents of a collection.
pub(super) fn all_of(collection: &str) -> FirestoreQueryParams {
    FirestoreQueryParams::new(collection.into())
}

/// A field that has this value.
pub(super) fn is(field: &str, it: Value) -> FirestoreQueryFilterCompare {
    FirestoreQueryFilterCompare::Equal(field.to_owned(), FirestoreValue::from(it))
}

/// A field that has one of these values.
pub(super) fn is_in(field: &str, values: Vec<Value>) -> FirestoreQueryFilterCompare {
    let values = value(ValueType::ArrayValue(ArrayValue { values }));
    FirestoreQueryFilterCompare::In(field.to_owned(), FirestoreValue::from(values))
}
