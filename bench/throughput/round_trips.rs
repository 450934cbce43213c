//! Whole round trips: a webhook, its reply at the provider, and what the provider reports of it
//! until it is read.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::{
    harness::{
        figures::{Table, Times, count, rate, verdict},
        gateway::{Data, Gateway, Replies},
        hook::{Hooks, Shape},
        load::Answers,
        open::{Exchange, Load, open_loop},
        provider::{Behaviour, Event, OnEvent, Provider, Reports},
    },
    intake::settle,
    matching::Arrivals,
};

/// Each may send 224 messages a minute, and shall not be what is measured.
const VENDORS: usize = 2_000;
/// Few enough that most have written before.
const CUSTOMERS: usize = 4;
/// Round trips under way in the closed loop.
const WINDOW: usize = 512;
const CONNECTIONS: usize = 64;
/// After a start an instance earns the right to send one message each 268 ms.
const REST: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_secs(3);
const LAST_WITHIN: Duration = Duration::from_secs(20);
const RATE_MIN: f64 = 3_000.0;
/// The open loop's: half of that, whatever the closed loop came to.
const HALF: usize = 1_500;
const P99_MAX_MS: f64 = 50.0;
const SYNCS_MAX: f64 = 0.1;

struct Stage {
    hooks: Arc<Hooks>,
    runtime: tokio::runtime::Runtime,
    how: Reports,
}

struct Closed {
    rate: f64,
    cpu_us: f64,
    rss: f64,
    statements: f64,
    commits: f64,
}

pub fn run(directory: &Path, runs: usize, seconds: u64, is_flat: bool) -> anyhow::Result<()> {
    let how = if is_flat { Reports::Flat } else { Reports::Real };
    println!(
        "round trips: {VENDORS} vendors with {CUSTOMERS} customers each, {}; {seconds} s a run after {} s of warm-up: a closed loop with {WINDOW} under way, then an open loop at {HALF}/s",
        if is_flat { "two statuses by Wasender's number" } else { "an echo and two statuses" },
        WARM_UP.as_secs()
    );
    let shape = Shape {
        n_vendors: VENDORS,
        customers_per_vendor: CUSTOMERS,
        n_signed: 100_000,
        ..Shape::default()
    };
    let stage = Stage {
        hooks: Arc::new(Hooks::new(shape)?),
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        how,
    };
    let mut table = Table::new(&[
        ("trips/s", 0),
        ("cpu us", 0),
        ("rss MB", 1),
        ("stmts/entry", 2),
        ("sync/entry", 4),
        ("at/s", 0),
        ("200 p99", 2),
        ("reply p99", 2),
        ("trip p50", 2),
        ("trip p99", 2),
        ("late p99", 2),
    ]);
    for n in 0..runs {
        let place = directory.join(format!("round-trips-{n}"));
        let closed = stage.closed(&place, seconds)?;
        let open = stage.open(&place, seconds, HALF)?;
        let mut row =
            vec![closed.rate, closed.cpu_us, closed.rss, closed.statements, closed.commits];
        row.push(count(HALF));
        row.extend(open);
        table.add(row);
    }
    let medians = table.medians();
    verdict(&format!("at least {RATE_MIN} round trips a second"), medians[0] >= RATE_MIN);
    verdict(
        &format!("at most {SYNCS_MAX} commits, each an fsync, an entry"),
        medians[4] <= SYNCS_MAX,
    );
    verdict(&format!("p99 under {P99_MAX_MS} ms at {HALF}/s"), medians[9] < P99_MAX_MS);
    Ok(())
}

impl Stage {
    /// As many as go, with so many under way.
    fn closed(&self, place: &Path, seconds: u64) -> anyhow::Result<Closed> {
        let (again, free) = mpsc::channel();
        let reported = Arrivals::default();
        let told = reported.clone();
        (0..WINDOW).try_for_each(|_| again.send(()))?;
        let on_event = move |event, target| {
            if event == Event::Reported {
                told.add(target);
                // Nobody takes it after the end.
                let _ = again.send(());
            }
        };
        let (data, provider, gateway) = self.start(place, Box::new(on_event))?;
        let start = Instant::now() + WARM_UP;
        let end = start + Duration::from_secs(seconds);
        let address = gateway.address;
        let before = gateway.process.usage()?;
        let n_sent = self.runtime.block_on(self.drive(address, free, end))?;
        let waiting_since = Instant::now();
        while reported.count(|_| true) < n_sent && waiting_since.elapsed() < LAST_WITHIN {
            thread::sleep(Duration::from_millis(50));
        }
        let n_trips = reported.count(|it| *it >= start && *it < end);
        let usage = gateway.process.usage()?;
        let statements = self.runtime.block_on(gateway.counter("waba_statements_total"))?;
        let commits = self.runtime.block_on(gateway.counter("waba_commits_total"))?;
        let n_entries = self.check(&data, gateway, provider, n_sent)?;
        settle(place)?;
        Ok(Closed {
            rate: rate(n_trips, end - start),
            cpu_us: (usage.cpu - before.cpu) * 1e6 / count(n_sent),
            rss: usage.rss,
            statements: statements / n_entries,
            commits: commits / n_entries,
        })
    }

    /// At this rate: p99 of the answers and replies, p50 and p99 of whole trips, p99 of the delay.
    fn open(&self, place: &Path, seconds: u64, rate: usize) -> anyhow::Result<[f64; 5]> {
        let (taken, reported) = (Arrivals::default(), Arrivals::default());
        let told = (taken.clone(), reported.clone());
        let on_event = move |event, target| match event {
            Event::Taken => told.0.add(target),
            Event::Reported => told.1.add(target),
        };
        let (data, provider, gateway) = self.start(place, Box::new(on_event))?;
        let n_warm_up = rate * usize::try_from(WARM_UP.as_secs())?;
        let n_hooks = n_warm_up + rate * usize::try_from(seconds)?;
        let load = Load {
            address: gateway.address,
            hooks: Arc::clone(&self.hooks),
            n_hooks,
            rate,
            n_connections: CONNECTIONS,
        };
        let sent = self.runtime.block_on(open_loop(load))?;
        let trips = self.runtime.block_on(reported.settled(&self.hooks, &sent))?;
        let replies = self.runtime.block_on(taken.settled(&self.hooks, &sent))?;
        self.check(&data, gateway, provider, n_hooks)?;
        settle(place)?;
        let measured = |it: &[Duration]| Times::new(it[n_warm_up..].to_vec());
        let (replies, trips) = (measured(&replies), measured(&trips));
        let sent = &sent[n_warm_up..];
        let answers = Exchange::times(sent);
        let late = Exchange::late(sent);
        Ok([answers.ms(990), replies.ms(990), trips.ms(500), trips.ms(990), late.ms(990)])
    }

    fn start<'a>(
        &self,
        place: &'a Path,
        on_event: OnEvent,
    ) -> anyhow::Result<(Data<'a>, Provider, Gateway)> {
        let data = self.runtime.block_on(Data::make(place, VENDORS, |_| Replies::Rules))?;
        let provider =
            Provider::start(Behaviour { reports: Some(self.how), hangs_for: None, on_event })?;
        let gateway = data.start(&provider.api_url())?;
        provider.report_to(gateway.address);
        thread::sleep(REST);
        Ok((data, provider, gateway))
    }

    /// Sends a webhook whenever one more may be under way, until the end. How many were sent.
    async fn drive(
        &self,
        address: SocketAddr,
        free: mpsc::Receiver<()>,
        end: Instant,
    ) -> anyhow::Result<usize> {
        let (mut readers, mut writers) = (JoinSet::new(), Vec::new());
        let n_answered = Arc::new(AtomicUsize::new(0));
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(address).context("connect")?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut answers = Answers::new(tokio::net::TcpStream::from_std(stream.try_clone()?)?);
            let n_answered = Arc::clone(&n_answered);
            readers.spawn(async move {
                while answers.accepted().await.is_ok() {
                    n_answered.fetch_add(1, Ordering::Relaxed);
                }
            });
            writers.push(stream);
        }
        let hooks = Arc::clone(&self.hooks);
        let sender = tokio::task::spawn_blocking(move || -> anyhow::Result<usize> {
            let (mut request, mut n) = (hooks.buffer(), 0);
            while let Ok(()) = free.recv_timeout(end.saturating_duration_since(Instant::now())) {
                hooks.write(&mut request, n);
                writers[n % CONNECTIONS].write_all(&request).context("send")?;
                n += 1;
            }
            Ok(n)
        });
        let n_sent = sender.await??;
        let waiting_since = Instant::now();
        while n_answered.load(Ordering::Relaxed) < n_sent {
            ensure!(waiting_since.elapsed() < LAST_WITHIN, "webhooks were not answered 200");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(n_sent)
    }

    /// Each webhook has one reply, and each reply is known to have been read. How many entries
    /// there are.
    fn check(
        &self,
        data: &Data<'_>,
        gateway: Gateway,
        provider: Provider,
        n_trips: usize,
    ) -> anyhow::Result<f64> {
        gateway.process.terminate()?;
        drop(provider);
        let ledger = self.runtime.block_on(data.ledger())?;
        let n_sent = usize::try_from(ledger.intents_sent)?;
        let db = Connection::open(data.file())?;
        // A reply whose status is *read*.
        let sql = "SELECT count(*) FROM entries WHERE kind = 2 AND status = 4";
        let n_read: i64 = db.query_row(sql, (), |row| row.get(0))?;
        let n_read = usize::try_from(n_read)?;
        ensure!(
            n_sent == n_trips && n_read == n_trips && ledger.intents_waiting == 0,
            "{n_trips} round trips, {n_read} replies read, and the ledger has {ledger:?}"
        );
        Ok(count(usize::try_from(ledger.accepted + ledger.created)?))
    }
}
