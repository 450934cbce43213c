//! Ten thousand connections that are idle, slow or half closed: what they cost a webhook, and how
//! much memory each of them takes.

use std::{net::SocketAddr, path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::ensure;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use waba_gateway::web::{connections_max, raise_open_files};

use crate::{
    harness::{
        figures::{Table, Times, verdict},
        gateway::{Data, Replies},
        hook::{Hooks, Shape},
        http::Messages,
        open::{Exchange, Load, open_loop},
        provider::{Behaviour, Provider},
    },
    intake::settle,
};

const WANTED: usize = 10_000;
/// Of twenty connections one sends a byte now and then, and one is closed on its side alone.
const KINDS: usize = 20;
const SLOW: usize = 0;
const HALF_CLOSED: usize = 1;
const A_BYTE_EVERY: Duration = Duration::from_millis(400);
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// For all of them to be there.
const OPENED_WITHIN: Duration = Duration::from_mins(1);
const VENDORS: usize = 100;
/// Webhooks a second.
const RATE: usize = 200;
const CONNECTIONS: usize = 32;
const WARM_UP: Duration = Duration::from_secs(2);
/// What may change, whichever is larger.
const MS_MAX: f64 = 3.0;
const SHARE_MAX: f64 = 0.05;

struct Run {
    answers: Times,
    kib_each: f64,
}

pub fn run(directory: &Path, runs: usize, seconds: u64) -> anyhow::Result<()> {
    raise_open_files();
    let n_held = connections_max().min(WANTED);
    if n_held < WANTED {
        println!("only {n_held} connections: no more open files are allowed here");
    }
    println!(
        "idle: {VENDORS} vendors at {RATE}/s together, alone and beside {n_held} connections that are idle, slow or half closed; {seconds} s a run"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(&[
        ("200 p50", 2),
        ("p99 ms", 2),
        ("beside p50", 2),
        ("p99 ms", 2),
        ("moved", 2),
        ("KiB each", 1),
    ]);
    for n in 0..runs {
        let place = directory.join(format!("idle-{n}"));
        let one = |n_held| runtime.block_on(one(&place, seconds, n_held));
        // In turns, so that neither always has the warmer machine.
        let (alone, beside) = if n % 2 == 0 {
            let alone = one(0)?;
            (alone, one(n_held)?)
        } else {
            let beside = one(n_held)?;
            (one(0)?, beside)
        };
        let p99 = [alone.answers.ms(990), beside.answers.ms(990)];
        let p50 = [alone.answers.ms(500), beside.answers.ms(500)];
        table.add(vec![p50[0], p99[0], p50[1], p99[1], p99[1] - p99[0], beside.kib_each]);
    }
    let medians = table.medians();
    let may = MS_MAX.max(SHARE_MAX * medians[1]);
    verdict(&format!("p99 of a 200 moves by at most {may:.1} ms"), medians[4] <= may);
    Ok(())
}

async fn one(place: &Path, seconds: u64, n_held: usize) -> anyhow::Result<Run> {
    let behaviour = Behaviour { reports: None, hangs_for: None, on_event: Box::new(|_, _| {}) };
    let provider = Provider::start(behaviour)?;
    let data = Data::make(place, VENDORS, |_| Replies::Rules).await?;
    let gateway = data.start(&provider.api_url())?;
    let before = gateway.process.usage()?.rss;
    let crowd = Crowd::hold(gateway.address, n_held).await?;
    let grown = gateway.process.usage()?.rss - before;
    let all = WARM_UP + Duration::from_secs(seconds);
    let n_hooks = RATE * usize::try_from(all.as_secs())?;
    let shape = Shape {
        n_vendors: VENDORS,
        customers_per_vendor: 10,
        n_signed: n_hooks,
        ..Shape::default()
    };
    let hooks = Arc::new(Hooks::new(shape)?);
    let load =
        Load { address: gateway.address, hooks, n_hooks, rate: RATE, n_connections: CONNECTIONS };
    let sent = open_loop(load).await?;
    crowd.end();
    gateway.process.kill();
    let ledger = data.ledger().await?;
    ensure!(usize::try_from(ledger.accepted) == Ok(n_hooks), "{n_hooks} sent, {ledger:?}");
    settle(place)?;
    let n_warm_up = RATE * usize::try_from(WARM_UP.as_secs())?;
    let n_held = f64::from(u32::try_from(n_held.max(1))?);
    Ok(Run {
        answers: Exchange::times(&sent[n_warm_up..]),
        kib_each: grown * 1e6 / 1_024.0 / n_held,
    })
}

/// Connections of nobody's, held by a thread of its own. Who is sent away comes again.
struct Crowd {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Crowd {
    async fn hold(address: SocketAddr, n: usize) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let (told, mut opened) = mpsc::channel(n.max(1));
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                for kind in 0..n {
                    let told = told.clone();
                    tokio::spawn(async move {
                        let mut told = Some(told);
                        loop {
                            // It is sent away in the end, which is what it came for.
                            let _ = stay(address, kind % KINDS, &mut told).await;
                            tokio::time::sleep(AGAIN_AFTER).await;
                        }
                    });
                    // Not more at once than the socket's queue takes.
                    tokio::task::yield_now().await;
                }
                drop(told);
                stopped.cancelled().await;
            });
        });
        let all = async { while opened.recv().await.is_some() {} };
        let is_there = tokio::time::timeout(OPENED_WITHIN, all).await;
        let crowd = Self { stop, thread };
        ensure!(is_there.is_ok(), "{n} connections were not there in {OPENED_WITHIN:?}");
        Ok(crowd)
    }

    fn end(self) {
        self.stop.cancel();
        // A thread that panicked has told so.
        let _ = self.thread.join();
    }
}

/// One connection, until the gateway has enough of it.
async fn stay(
    address: SocketAddr,
    kind: usize,
    told: &mut Option<mpsc::Sender<()>>,
) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    if kind == SLOW || kind == HALF_CLOSED {
        stream.write_all(b"GET /health HTTP/1.1\r\nx-a: ").await?;
        *told = None;
        if kind == HALF_CLOSED {
            stream.shutdown().await?;
        } else {
            while stream.write_all(b"a").await.is_ok() {
                tokio::time::sleep(A_BYTE_EVERY).await;
            }
        }
    } else {
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: bench\r\n\r\n").await?;
        Messages::new(&mut stream).next().await?;
        *told = None;
    }
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}
