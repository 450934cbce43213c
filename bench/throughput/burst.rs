//! 10,000 webhooks a second, come what may, from customers who wrote before, each to be answered by
//! its vendor: the replies may wait, a 200 may not.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    floor,
    harness::{
        figures::{Table, Times, count, verdict},
        gateway::{Data, Replies},
        hook::{Hooks, Shape, VENDORS},
        load::send_all,
        open::{Exchange, Load, open_loop},
        provider::{Behaviour, Event, Provider},
    },
    intake::settle,
};

const RATE: usize = 10_000;
const CONNECTIONS: usize = 256;
/// Enough that nobody asks so often that it looks like two bots talking.
const CUSTOMERS: usize = 100;
const WARM_UP: Duration = Duration::from_secs(3);
/// The numbers of the webhooks by which each customer wrote before: others than those measured.
const BEFORE: usize = 100_000_000;
const N_BEFORE: usize = VENDORS * CUSTOMERS;
const ANSWERED_WITHIN: Duration = Duration::from_mins(5);
const P99_MAX_MS: f64 = 15.0;

struct Run {
    times: Times,
    late: Times,
    n_sent: usize,
    n_waiting: f64,
    rss: f64,
}

pub fn run(directory: &Path, runs: usize, seconds: u64) -> anyhow::Result<()> {
    let n_warm_up = RATE * usize::try_from(WARM_UP.as_secs())?;
    let n_hooks = n_warm_up + RATE * usize::try_from(seconds)?;
    println!(
        "burst: {RATE} webhooks/s over {VENDORS} vendors, each with a reply; {CONNECTIONS} connections, {seconds} s a run after {} s of warm-up",
        WARM_UP.as_secs()
    );
    let shape = Shape { customers_per_vendor: CUSTOMERS, n_signed: n_hooks, ..Shape::default() };
    let hooks = Arc::new(Hooks::new(shape)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(&[
        ("floor p50", 2),
        ("p99 ms", 2),
        ("p50 ms", 2),
        ("p99 ms", 2),
        ("max ms", 1),
        ("late p99", 2),
        ("replies/s", 0),
        ("waiting", 0),
        ("rss MB", 1),
    ]);
    for n in 0..runs {
        let place = directory.join(format!("burst-{n}"));
        let floor = runtime.block_on(of_floor(&place.join("floor"), &hooks, n_warm_up, n_hooks))?;
        let run = runtime.block_on(one(&place.join("gateway"), &hooks, n_warm_up, n_hooks))?;
        fs::remove_dir_all(&place)?;
        let mut row = vec![floor.ms(500), floor.ms(990)];
        row.extend([500, 990, 1_000].map(|it| run.times.ms(it)));
        let all = count(n_hooks) / count(RATE);
        row.extend([run.late.ms(990), count(run.n_sent) / all, run.n_waiting, run.rss]);
        table.add(row);
    }
    let medians = table.medians();
    verdict(&format!("p99 of a 200 under {P99_MAX_MS} ms"), medians[3] < P99_MAX_MS);
    Ok(())
}

async fn of_floor(
    place: &Path,
    hooks: &Arc<Hooks>,
    n_warm_up: usize,
    n_hooks: usize,
) -> anyhow::Result<Times> {
    let (process, address) = floor::start(place)?;
    let sent = open_loop(load(address, hooks, n_hooks)).await?;
    drop(process);
    let n_rows = floor::n_rows(place)?;
    ensure!(n_rows == n_hooks, "the floor kept {n_rows} of {n_hooks}");
    settle(place)?;
    Ok(Exchange::times(&sent[n_warm_up..]))
}

async fn one(
    place: &Path,
    hooks: &Arc<Hooks>,
    n_warm_up: usize,
    n_hooks: usize,
) -> anyhow::Result<Run> {
    let data = Data::make(place, VENDORS, |_| Replies::Rules).await?;
    let n_sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_sent);
    let on_event = move |event, _| {
        counted.fetch_add(usize::from(event == Event::Taken), Ordering::Relaxed);
    };
    let behaviour = Behaviour { reports: None, hangs_for: None, on_event: Box::new(on_event) };
    let provider = Provider::start(behaviour)?;
    let gateway = data.start(&provider.api_url())?;
    let shape = Shape { first: BEFORE, customers_per_vendor: CUSTOMERS, ..Shape::default() };
    send_all(gateway.address, &Arc::new(Hooks::new(shape)?), CONNECTIONS, 0, N_BEFORE).await?;
    let since = Instant::now();
    while n_sent.load(Ordering::Relaxed) < N_BEFORE {
        ensure!(since.elapsed() < ANSWERED_WITHIN, "those who wrote before are not answered");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let sent = open_loop(load(gateway.address, hooks, n_hooks)).await?;
    let (usage, n_replies) = (gateway.process.usage()?, n_sent.load(Ordering::Relaxed) - N_BEFORE);
    let n_waiting = gateway.counter("waba_journal_waiting").await?;
    gateway.process.terminate()?;
    let ledger = data.ledger().await?;
    ensure!(
        usize::try_from(ledger.accepted) == Ok(N_BEFORE + n_hooks)
            && usize::try_from(ledger.intents_sent) == Ok(n_sent.load(Ordering::Relaxed)),
        "{n_hooks} were answered 200, {} sent, and the ledger has {ledger:?}",
        n_sent.load(Ordering::Relaxed)
    );
    settle(place)?;
    Ok(Run {
        times: Exchange::times(&sent[n_warm_up..]),
        late: Exchange::late(&sent[n_warm_up..]),
        n_sent: n_replies,
        n_waiting,
        rss: usage.rss,
    })
}

fn load(address: std::net::SocketAddr, hooks: &Arc<Hooks>, n_hooks: usize) -> Load {
    let hooks = Arc::clone(hooks);
    Load { address, hooks, n_hooks, rate: RATE, n_connections: CONNECTIONS }
}
