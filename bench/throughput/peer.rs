//! Beside the usual way to take webhooks: Express and `BullMQ` on two processes, and Redis.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    harness::{
        figures::{Table, rate, verdict},
        gateway::{Data, Replies},
        hook::{Hooks, Shape, VENDORS},
        load::{Load, closed_loop},
        process::Process,
    },
    intake::settle,
};

const CONNECTIONS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(3);
const SIGNED_A_SECOND: usize = 30_000;
const START_WITHIN: Duration = Duration::from_secs(10);
const RATIO_MIN: f64 = 5.0;

pub fn run(directory: &Path, runs: usize, seconds: u64) -> anyhow::Result<()> {
    let measured = Duration::from_secs(seconds);
    println!(
        "peer: Express + BullMQ + Redis on two processes; {CONNECTIONS} connections, {VENDORS} vendors, {seconds} s a run after {} s of warm-up",
        WARM_UP.as_secs()
    );
    let n_signed = usize::try_from((WARM_UP + measured).as_secs())? * SIGNED_A_SECOND;
    let hooks = Arc::new(Hooks::new(Shape { n_signed, ..Shape::default() })?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(&[
        ("gateway/s", 0),
        ("p50 ms", 2),
        ("p99 ms", 2),
        ("peer/s", 0),
        ("p50 ms", 2),
        ("p99 ms", 2),
        ("ratio", 2),
        ("synced/s", 0),
        ("p99 ms", 2),
        ("ratio", 2),
    ]);
    for n in 0..runs {
        let place = directory.join(format!("peer-{n}"));
        let of_peer = |fsync| runtime.block_on(of_peer(&place, &hooks, measured, fsync));
        let gateway = runtime.block_on(of_gateway(&place, &hooks, measured))?;
        // As it is most often run, and so that a 200 means what the gateway's means.
        let (usual, synced) = (of_peer("everysec")?, of_peer("always")?);
        let rates = [&gateway, &usual, &synced].map(|it| rate(it.n_measured, measured));
        let mut row = Vec::new();
        for (load, rate) in [(&gateway, rates[0]), (&usual, rates[1])] {
            row.extend([rate, load.times.ms(500), load.times.ms(990)]);
        }
        row.push(rates[0] / rates[1]);
        row.extend([rates[2], synced.times.ms(990), rates[0] / rates[2]]);
        table.add(row);
    }
    let medians = table.medians();
    println!("the peer syncs its log every second, and at each command where it says *synced*");
    verdict(&format!("gateway at least {RATIO_MIN} times the peer"), medians[6] >= RATIO_MIN);
    Ok(())
}

async fn of_gateway(place: &Path, hooks: &Arc<Hooks>, measured: Duration) -> anyhow::Result<Load> {
    let data = Data::make(place, VENDORS, |_| Replies::None).await?;
    let gateway = data.start("http://127.0.0.1:9/api")?;
    let load = closed_loop(gateway.address, hooks, CONNECTIONS, WARM_UP, measured).await?;
    gateway.process.terminate()?;
    let ledger = data.ledger().await?;
    ensure!(usize::try_from(ledger.accepted)? == load.n_accepted, "the ledger has {ledger:?}");
    settle(place)?;
    Ok(load)
}

async fn of_peer(
    place: &Path,
    hooks: &Arc<Hooks>,
    measured: Duration,
    fsync: &str,
) -> anyhow::Result<Load> {
    fs::create_dir_all(place)?;
    let (redis, at_redis) = redis(place, fsync)?;
    let (express, address) = express(at_redis)?;
    let load = closed_loop(address, hooks, CONNECTIONS, WARM_UP, measured).await?;
    let n_jobs = n_jobs(at_redis)?;
    ensure!(n_jobs == load.n_accepted, "the peer kept {n_jobs} of {}", load.n_accepted);
    express.kill();
    redis.kill();
    settle(place)?;
    Ok(load)
}

fn redis(place: &Path, fsync: &str) -> anyhow::Result<(Process, SocketAddr)> {
    let address = free()?;
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", fsync, "--dir"])
        .arg(place)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let child = command.spawn().context("start redis-server: apt-get install redis-server")?;
    let (process, started_at) = (Process::new(child), Instant::now());
    while TcpStream::connect(address).is_err() {
        ensure!(started_at.elapsed() < START_WITHIN, "Redis does not serve");
        sleep(Duration::from_millis(10));
    }
    Ok((process, address))
}

fn express(redis: SocketAddr) -> anyhow::Result<(Process, SocketAddr)> {
    let place: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "bench/peers/express-bullmq"].iter().collect();
    ensure!(
        place.join("node_modules").exists(),
        "its packages are missing: (cd bench/peers/express-bullmq && npm ci --ignore-scripts)"
    );
    let address = free()?;
    let mut command = Command::new("node");
    command
        .arg("server.js")
        .current_dir(place)
        .env("NODE_ENV", "production")
        .env("PORT", address.port().to_string())
        .env("REDIS_PORT", redis.port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("start node")?;
    let out = child.stdout.take().context("its output")?;
    let process = Process::new(child);
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    ensure!(line.trim() == "listening", "Express does not serve");
    Ok((process, address))
}

/// Jobs that wait in the queue.
fn n_jobs(redis: SocketAddr) -> anyhow::Result<usize> {
    let mut stream = TcpStream::connect(redis)?;
    stream.write_all(b"LLEN bull:hooks:wait\r\nQUIT\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let n = answer.lines().next().and_then(|it| it.strip_prefix(':'));
    n.context("no number of jobs")?.parse().context("a number of jobs")
}

/// Somebody else could take it in between; then there is an error.
fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
