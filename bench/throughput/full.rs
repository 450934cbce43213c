//! 100,000 vendors and 10,000,000 finished entries: what a long past costs.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    harness::{
        figures::{Table, count, rate, verdict},
        gateway::{Data, Replies},
        hook::{Hooks, Shape, VENDORS},
        load::{Load, closed_loop, send_all},
        process::Usage,
    },
    past::{self, Past},
};

const ALL_VENDORS: usize = 100_000;
const CONNECTIONS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(3);
const SIGNED_A_SECOND: usize = 30_000;
/// More than the webhooks of one run.
const HOOKS_A_RUN: usize = 2_000_000;
const NOBODY: &str = "http://127.0.0.1:9/api";
const RATIO_MIN: f64 = 0.9;
const START_MAX_MS: f64 = 2_000.0;
const MEMORY_MAX_MB: f64 = 300.0;

pub fn run(directory: &Path, runs: usize, seconds: u64, n_entries: usize) -> anyhow::Result<()> {
    let measured = Duration::from_secs(seconds);
    println!(
        "full: {ALL_VENDORS} vendors, {VENDORS} of them active, {n_entries} finished entries; {seconds} s a run after {} s of warm-up",
        WARM_UP.as_secs()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (place, of_empty) = (directory.join("full"), directory.join("empty"));
    let full = runtime.block_on(Data::make(&place, ALL_VENDORS, |_| Replies::None))?;
    // Copied from as it is now.
    let of_unused = directory.join("unused");
    let unused = full.copy(&of_unused)?;
    let started_at = Instant::now();
    let past = runtime.block_on(past::write(&full, ALL_VENDORS, n_entries))?;
    println!(
        "{} entries, {:.1} GB, written in {:.0} s",
        past.n_entries,
        count(usize::try_from(fs::metadata(full.file())?.len() >> 20)?) / 1_024.0,
        started_at.elapsed().as_secs_f64()
    );
    rustix::fs::sync();
    let mut table = Table::new(&[
        ("start ms", 0),
        ("full/s", 0),
        ("p99 ms", 2),
        ("rss MB", 1),
        ("peak MB", 1),
        ("start ms", 0),
        ("empty/s", 0),
        ("p99 ms", 2),
        ("rss MB", 1),
        ("ratio", 3),
    ]);
    let mut n_more = 0;
    for n in 0..runs {
        let (full, empty) = pair(&runtime, &full, (&unused, &of_empty), n, measured)?;
        n_more += full.load.n_accepted;
        let rates = [&full, &empty].map(|it| rate(it.load.n_measured, measured));
        let mut row = vec![full.start_ms, rates[0], full.load.times.ms(990), full.usage.rss];
        row.extend([full.usage.peak, empty.start_ms, rates[1], empty.load.times.ms(990)]);
        row.extend([empty.usage.rss, rates[0] / rates[1]]);
        table.add(row);
    }
    let medians = table.medians();
    n_more += all_vendors(&runtime, &full, runs)?;
    check(&runtime, &full, &past, n_more)?;
    verdict(
        &format!("intake at least {RATIO_MIN} of the empty journal's"),
        medians[9] >= RATIO_MIN,
    );
    verdict(&format!("first 200 within {START_MAX_MS} ms"), medians[0] <= START_MAX_MS);
    verdict(&format!("at most {MEMORY_MAX_MB} MB under load"), medians[3] <= MEMORY_MAX_MB);
    Ok(())
}

struct One {
    start_ms: f64,
    load: Load,
    usage: Usage,
}

/// With the past, and with a fresh copy of the database without one.
fn pair(
    runtime: &tokio::runtime::Runtime,
    full: &Data<'_>,
    (unused, place): (&Data<'_>, &Path),
    n: usize,
    measured: Duration,
) -> anyhow::Result<(One, One)> {
    let hooks = hooks(n, measured)?;
    let of_full = || one(runtime, full, &hooks, measured);
    let of_empty = || -> anyhow::Result<One> {
        let empty = unused.copy(place)?;
        let run = one(runtime, &empty, &hooks, measured)?;
        fs::remove_dir_all(place)?;
        Ok(run)
    };
    // In turns, so that neither always has the warmer machine.
    if n.is_multiple_of(2) {
        let full = of_full()?;
        Ok((full, of_empty()?))
    } else {
        let empty = of_empty()?;
        Ok((of_full()?, empty))
    }
}

fn one(
    runtime: &tokio::runtime::Runtime,
    data: &Data<'_>,
    hooks: &Arc<Hooks>,
    measured: Duration,
) -> anyhow::Result<One> {
    let started_at = Instant::now();
    let gateway = data.start(NOBODY)?;
    // The first of another run's, so that it is a duplicate of nothing.
    let first =
        Arc::new(Hooks::new(Shape { first: hooks.first() + HOOKS_A_RUN - 1, ..Shape::default() })?);
    runtime.block_on(send_all(gateway.address, &first, 1, 0, 1))?;
    let start_ms = started_at.elapsed().as_secs_f64() * 1_000.0;
    let mut load =
        runtime.block_on(closed_loop(gateway.address, hooks, CONNECTIONS, WARM_UP, measured))?;
    load.n_accepted += 1;
    let usage = gateway.process.usage()?;
    gateway.process.terminate()?;
    rustix::fs::sync();
    Ok(One { start_ms, load, usage })
}

/// A webhook of every vendor: each is then in memory. How many were sent.
fn all_vendors(
    runtime: &tokio::runtime::Runtime,
    full: &Data<'_>,
    runs: usize,
) -> anyhow::Result<usize> {
    let shape = Shape { n_vendors: ALL_VENDORS, first: runs * HOOKS_A_RUN, ..Shape::default() };
    let hooks = Arc::new(Hooks::new(shape)?);
    let gateway = full.start(NOBODY)?;
    let started_at = Instant::now();
    let times = runtime.block_on(send_all(gateway.address, &hooks, CONNECTIONS, 0, ALL_VENDORS))?;
    let (took, usage) = (started_at.elapsed(), gateway.process.usage()?);
    gateway.process.terminate()?;
    println!(
        "one webhook of each vendor: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms; then {:.0} MB in memory, {:.0} at most",
        rate(ALL_VENDORS, took),
        times.ms(500),
        times.ms(990),
        usage.rss,
        usage.peak
    );
    let name = format!("at most {MEMORY_MAX_MB} MB when every vendor has been heard of");
    verdict(&name, usage.rss <= MEMORY_MAX_MB);
    Ok(ALL_VENDORS)
}

fn check(
    runtime: &tokio::runtime::Runtime,
    full: &Data<'_>,
    past: &Past,
    n_more: usize,
) -> anyhow::Result<()> {
    let ledger = runtime.block_on(full.ledger())?;
    let wanted = past.n_events + n_more;
    ensure!(
        usize::try_from(ledger.accepted)? == wanted
            && usize::try_from(ledger.events_done)? == wanted,
        "{wanted} were kept, and the ledger has {ledger:?}"
    );
    Ok(())
}

fn hooks(run: usize, measured: Duration) -> anyhow::Result<Arc<Hooks>> {
    let n_signed = usize::try_from((WARM_UP + measured).as_secs())? * SIGNED_A_SECOND;
    let shape = Shape { n_signed, first: run * HOOKS_A_RUN, ..Shape::default() };
    Ok(Arc::new(Hooks::new(shape)?))
}
