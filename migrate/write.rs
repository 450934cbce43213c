//! Keeps the rows, some at a time: each step is in the store as a whole before it is told of.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use waba_gateway::{
    app,
    cli::progress::Progress,
    domain::{clock::Clock, id::VendorId},
    gateway::BY_CLI,
    sqlite::DbError,
    store::{Deed, Store, StoreError, firestore},
};

use super::{
    data::steadily,
    plan::{self, Action, Change, Plan, Planned},
    record::Record,
    table::Fault,
};

/// Carries out what is planned. What was done until then is in the plan and on record, also after
/// an error.
pub async fn all(
    store: &dyn Store,
    plan: &mut Plan,
    record: &mut Record,
    progress: &Progress,
) -> anyhow::Result<()> {
    let n_rows = plan.rows.len();
    let n_changes = plan.rows.iter().filter(|it| it.is_change()).count();
    if n_changes > 0 {
        // First, so that what was written before a kill is on record too.
        put_on_record(store, plan, n_changes).await?;
    }
    let mut n_done = 0;
    for some in plan.rows.chunks_mut(plan::at_once(Some(store))) {
        let kept = keep(store, some).await.context("write the rows");
        kept.with_context(|| {
            format!("{n_done} of {n_rows} rows are done; the same command goes on from there")
        })?;
        record.rows(some)?;
        n_done += some.len();
        progress.advance(some.len());
    }
    Ok(())
}

/// One change on record for all rows; it names the vendor where there is one alone.
async fn put_on_record(store: &dyn Store, plan: &Plan, n_changes: usize) -> anyhow::Result<()> {
    let vendors: BTreeSet<&VendorId> =
        plan.rows.iter().filter_map(|it| it.row.vendor.as_ref()).collect();
    let deed = Deed {
        at: Clock::System.now(),
        by: BY_CLI.to_owned(),
        what: "migrate".to_owned(),
        vendor: vendors.first().filter(|_| vendors.len() == 1).map(|it| (*it).clone()),
        about: Some(format!("{n_changes} rows")),
    };
    store.add_deed(&deed).await.context("nothing was written: it could not be put on record")
}

async fn keep(store: &dyn Store, some: &mut [Planned]) -> Result<(), StoreError> {
    if !some.iter().any(Planned::is_change) {
        return Ok(());
    }
    // Others may have written since.
    let rows: Vec<_> = some.iter().map(|it| it.row.clone()).collect();
    let fresh = plan::some_of(rows, Some(store), Clock::System.now()).await?;
    some.iter_mut().zip(fresh).for_each(|(planned, fresh)| *planned = fresh);
    match put(store, some).await {
        // One of them is in the way of the others.
        Err(error) if is_of_a_row(&error) => one_by_one(store, some).await,
        end => end,
    }
}

/// Keeps each row by itself, so that a bad one is that one's trouble alone.
async fn one_by_one(store: &dyn Store, some: &mut [Planned]) -> Result<(), StoreError> {
    for planned in some.iter_mut().filter(|it| it.is_change()) {
        // What it was planned beside may have been refused.
        let rows = vec![planned.row.clone()];
        let fresh = plan::some_of(rows, Some(store), Clock::System.now()).await?;
        fresh.into_iter().for_each(|it| *planned = it);
        let fault = match put(store, std::slice::from_ref(planned)).await {
            Ok(()) => continue,
            Err(StoreError::Claimed) => Some(Fault::JustTaken),
            Err(error) if is_of_a_row(&error) => planned.row.vendor.clone().map(Fault::Unreadable),
            Err(error) => return Err(error),
        };
        planned.action = Action::Refused(fault.into_iter().collect());
        planned.change = Change::default();
    }
    Ok(())
}

/// Whether other rows may be kept all the same.
fn is_of_a_row(error: &StoreError) -> bool {
    use firestore::Fault as Firestore;
    matches!(
        error,
        StoreError::Claimed
            | StoreError::Embedded(DbError::Unreadable(_))
            | StoreError::Firestore(Firestore::Sealed | Firestore::Unreadable { .. })
    )
}

async fn put(store: &dyn Store, some: &[Planned]) -> Result<(), StoreError> {
    // Several rows may be one vendor's.
    let vendors = some.iter().filter_map(|it| it.change.vendor.as_ref());
    let vendors: BTreeMap<_, _> = vendors.map(|it| (&it.id, it)).collect();
    let vendors: Vec<_> = vendors.into_values().cloned().collect();
    let instances: Vec<_> = some.iter().filter_map(|it| it.change.instance.clone()).collect();
    if vendors.is_empty() && instances.is_empty() {
        return Ok(());
    }
    let put = async || store.put_all(&vendors, &instances).await;
    steadily(async || app::patiently(put).await).await
}
