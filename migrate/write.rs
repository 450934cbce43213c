//! Keeps the rows, some at a time: each step is in the store as a whole before it is told of.

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry};

use anyhow::Context;
use waba_gateway::{
    app,
    cli::progress::Progress,
    domain::{clock::Clock, id::VendorId},
    gateway::BY_CLI,
    sqlite::DbError,
    store::{self, Deed, Store, StoreError, Stored, firestore},
};

use super::{
    data::steadily,
    plan::{self, Action, Change, Lots, Plan, Planned},
    record::Record,
    table::Fault,
};

/// Plans that are made of the same rows while others write, of many and of one.
const PLANS_MAX: [u32; 2] = [2, 20];

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
    match put(store, some).await {
        // One of them is in the way of the others, or always somebody writes one.
        Err(error) if is_of_a_row(&error) || is_of_others(&error) => one_by_one(store, some).await,
        end => end,
    }
}

/// Keeps each row by itself, so that a bad one is that one's trouble alone.
async fn one_by_one(store: &dyn Store, some: &mut [Planned]) -> Result<(), StoreError> {
    for planned in some.iter_mut().filter(|it| it.is_change()) {
        let fault = match put(store, std::slice::from_mut(planned)).await {
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

/// Whether others wrote after it was planned.
fn is_of_others(error: &StoreError) -> bool {
    match error {
        StoreError::Changed => true,
        StoreError::Partly(error) => is_of_others(error),
        _ => false,
    }
}

/// Keeps what comes of the rows beside what is stored now. What others write meanwhile is not
/// written over: then it is planned once more.
async fn put(store: &dyn Store, some: &mut [Planned]) -> Result<(), StoreError> {
    let mut n_left = PLANS_MAX[usize::from(some.len() == 1)];
    let mut tried: Vec<Option<Action>> = vec![None; some.len()];
    loop {
        n_left -= 1;
        let end = put_as_planned(store, some).await;
        match &end {
            Err(error) if is_of_others(error) && n_left > 0 => {}
            _ => {
                // It was kept at a try of which the answer was lost.
                let is_kept = |it: &(&mut Planned, _)| matches!(it.0.action, Action::Unchanged);
                let kept = some.iter_mut().zip(tried).filter(is_kept);
                kept.for_each(|(it, tried)| it.action = tried.unwrap_or_else(|| it.action.clone()));
                return end;
            }
        }
        let changes = some.iter().zip(&mut tried).filter(|it| it.0.is_change());
        changes.for_each(|(it, tried)| *tried = Some(it.action.clone()));
    }
}

async fn put_as_planned(store: &dyn Store, some: &mut [Planned]) -> Result<(), StoreError> {
    let rows = some.iter().map(|it| it.row.clone()).collect();
    let Lots { rows, before } = plan::some_of(rows, Some(store), Clock::System.now()).await?;
    some.iter_mut().zip(rows).for_each(|(planned, fresh)| *planned = fresh);
    let planned = together(some, before);
    if planned.is_empty() {
        return Ok(());
    }
    let put = async || store.import_if(&planned).await;
    steadily(async || app::patiently(put).await).await
}

/// What is to be kept of each vendor: several rows may be one vendor's.
fn together(some: &[Planned], mut before: HashMap<VendorId, Stored>) -> Vec<store::Planned> {
    let mut all: BTreeMap<&VendorId, store::Planned> = BTreeMap::new();
    for planned in some.iter().filter(|it| it.is_change()) {
        let Change { vendor, instance } = &planned.change;
        let Some(id) = &planned.row.vendor else { continue };
        let of_vendor = match all.entry(id) {
            Entry::Occupied(it) => it.into_mut(),
            Entry::Vacant(it) => {
                let before = before.remove(id).unwrap_or_default();
                // A row that changes its instance alone has a vendor that is there.
                let Some(vendor) = vendor.clone().or_else(|| before.vendor.clone()) else {
                    continue;
                };
                it.insert(store::Planned { vendor, instances: Vec::new(), before })
            }
        };
        if let Some(vendor) = vendor {
            of_vendor.vendor = vendor.clone();
        }
        if let Some(instance) = instance {
            of_vendor.instances.retain(|it| it.id != instance.id);
            of_vendor.instances.push(instance.clone());
        }
    }
    all.into_values().collect()
}
