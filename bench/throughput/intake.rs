//! Durable intake of webhooks that are recorded only, floor and gateway in turns.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::ensure;

use crate::{
    floor,
    harness::{
        figures::{Table, count, rate, verdict},
        gateway::{Data, Replies},
        hook::{CUSTOMERS_PER_VENDOR, Hooks, Shape, VENDORS},
        load::{Load, closed_loop},
        process::{Process, Usage},
    },
};

const CONNECTIONS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(3);
/// Signed ahead for each second, so that signing costs the measured part nothing.
const SIGNED_A_SECOND: usize = 70_000;
const RATIO_MIN: f64 = 0.7;

/// One run of one program.
struct Run {
    load: Load,
    /// Processor time of the measured program for one webhook, in microseconds.
    cpu: f64,
    usage: Usage,
}

pub fn run(directory: &Path, runs: usize, seconds: u64, ids_ascend: bool) -> anyhow::Result<()> {
    let measured = Duration::from_secs(seconds);
    let n_customers = VENDORS * CUSTOMERS_PER_VENDOR;
    println!(
        "intake: {CONNECTIONS} connections, {VENDORS} vendors, {n_customers} customers, {seconds} s a run after {} s of warm-up{}",
        WARM_UP.as_secs(),
        if ids_ascend { ", ascending message ids" } else { "" }
    );
    let n_signed = usize::try_from((WARM_UP + measured).as_secs())? * SIGNED_A_SECOND;
    let hooks = Arc::new(Hooks::new(Shape { n_signed, ids_ascend, ..Shape::default() })?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(&[
        ("floor/s", 0),
        ("p50 ms", 2),
        ("p99 ms", 2),
        ("cpu us", 1),
        ("gateway/s", 0),
        ("p50 ms", 2),
        ("p99 ms", 2),
        ("cpu us", 1),
        ("rss MB", 1),
        ("peak MB", 1),
        ("ratio", 3),
    ]);
    for n in 0..runs {
        let place = directory.join(format!("intake-{n}"));
        // In turns, so that neither always has the warmer machine.
        let (first, second) = (n % 2 == 0, n % 2 != 0);
        let mut floor = first.then(|| runtime.block_on(of_floor(&place, &hooks, measured)));
        let gateway = runtime.block_on(of_gateway(&place, &hooks, measured))?;
        if second {
            floor = Some(runtime.block_on(of_floor(&place, &hooks, measured)));
        }
        let Some(floor) = floor.transpose()? else { continue };
        fs::remove_dir_all(&place)?;
        let rates = [&floor, &gateway].map(|it| rate(it.load.n_measured, measured));
        let times = |it: &Run| [it.load.times.ms(500), it.load.times.ms(990), it.cpu];
        let mut row = vec![rates[0]];
        row.extend(times(&floor));
        row.push(rates[1]);
        row.extend(times(&gateway));
        row.extend([gateway.usage.rss, gateway.usage.peak, rates[1] / rates[0]]);
        table.add(row);
    }
    let ratio = table.medians().last().copied().unwrap_or(f64::NAN);
    verdict(&format!("gateway at least {RATIO_MIN} of the floor"), ratio >= RATIO_MIN);
    Ok(())
}

async fn of_floor(place: &Path, hooks: &Arc<Hooks>, measured: Duration) -> anyhow::Result<Run> {
    let place = place.join("floor");
    let (process, address) = floor::start(&place)?;
    let load = closed_loop(address, hooks, CONNECTIONS, WARM_UP, measured).await?;
    let run = Run::new(load, &process)?;
    drop(process);
    let n_rows = floor::n_rows(&place)?;
    ensure!(n_rows == run.load.n_accepted, "the floor kept {n_rows} of {}", run.load.n_accepted);
    settle(&place)?;
    Ok(run)
}

async fn of_gateway(place: &Path, hooks: &Arc<Hooks>, measured: Duration) -> anyhow::Result<Run> {
    let place = place.join("gateway");
    let data = Data::make(&place, VENDORS, |_| Replies::None).await?;
    // Nobody listens there, and nothing is sent.
    let gateway = data.start("http://127.0.0.1:9/api")?;
    let load = closed_loop(gateway.address, hooks, CONNECTIONS, WARM_UP, measured).await?;
    let run = Run::new(load, &gateway.process)?;
    gateway.process.terminate()?;
    let ledger = data.ledger().await?;
    let n_accepted = i64::try_from(run.load.n_accepted)?;
    ensure!(
        ledger.accepted == n_accepted && ledger.events_done == n_accepted,
        "{n_accepted} were answered 200, and the ledger has {ledger:?}"
    );
    settle(&place)?;
    Ok(run)
}

impl Run {
    fn new(load: Load, process: &Process) -> anyhow::Result<Self> {
        let usage = process.usage()?;
        Ok(Self { cpu: usage.cpu * 1e6 / count(load.n_accepted), load, usage })
    }
}

/// What the last run has left to write shall not slow the next one.
pub fn settle(place: &Path) -> anyhow::Result<()> {
    fs::remove_dir_all(place)?;
    rustix::fs::sync();
    Ok(())
}
