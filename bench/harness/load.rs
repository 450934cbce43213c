//! The closed loop: each connection sends its next webhook when the last one is answered.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncRead, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use super::{figures::Times, hook::Hooks, http::Messages};

/// For one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What came of it.
pub struct Load {
    /// Webhooks answered 200, those of the warm-up included.
    pub n_accepted: usize,
    /// Of the measured part.
    pub n_measured: usize,
    /// How long each took.
    pub times: Times,
}

/// Sends webhooks over this many connections: first to warm up, then what is measured.
pub async fn closed_loop(
    address: SocketAddr,
    hooks: &Arc<Hooks>,
    n_connections: usize,
    warm_up: Duration,
    measured: Duration,
) -> anyhow::Result<Load> {
    let start = Instant::now() + warm_up;
    let until = Until::Time(start + measured);
    let (n_accepted, times) = run(address, hooks, n_connections, 0, start, until).await?;
    Ok(Load { n_accepted, n_measured: times.len(), times: Times::new(times) })
}

/// Sends the webhooks from the `first` on, this many, as fast as they are answered.
pub async fn send_all(
    address: SocketAddr,
    hooks: &Arc<Hooks>,
    n_connections: usize,
    first: usize,
    n_hooks: usize,
) -> anyhow::Result<Times> {
    let until = Until::Hook(first + n_hooks);
    let (_, times) = run(address, hooks, n_connections, first, Instant::now(), until).await?;
    ensure!(times.len() == n_hooks, "{} of {n_hooks} were answered", times.len());
    Ok(Times::new(times))
}

#[derive(Clone, Copy)]
enum Until {
    Time(Instant),
    Hook(usize),
}

/// How many were accepted, and the times of those answered from `start` on.
async fn run(
    address: SocketAddr,
    hooks: &Arc<Hooks>,
    n_connections: usize,
    first: usize,
    start: Instant,
    until: Until,
) -> anyhow::Result<(usize, Vec<Duration>)> {
    let next = Arc::new(AtomicUsize::new(first));
    let mut connections = JoinSet::new();
    for _ in 0..n_connections {
        let (hooks, next) = (Arc::clone(hooks), Arc::clone(&next));
        let stream = TcpStream::connect(address).await.context("connect")?;
        connections.spawn(async move { one(stream, &hooks, &next, start, until).await });
    }
    let (mut n_accepted, mut times) = (0, Vec::new());
    while let Some(ended) = connections.join_next().await {
        let (n, of_one) = ended??;
        n_accepted += n;
        times.extend(of_one);
    }
    Ok((n_accepted, times))
}

async fn one(
    stream: TcpStream,
    hooks: &Hooks,
    next: &AtomicUsize,
    start: Instant,
    until: Until,
) -> anyhow::Result<(usize, Vec<Duration>)> {
    stream.set_nodelay(true)?;
    let (mut answers, mut requests) = stream.into_split();
    let mut answers = Answers::new(&mut answers);
    let (mut request, mut times) = (hooks.buffer(), Vec::with_capacity(16_384));
    let mut n_accepted = 0;
    loop {
        let sent_at = Instant::now();
        if matches!(until, Until::Time(end) if sent_at >= end) {
            return Ok((n_accepted, times));
        }
        let n = next.fetch_add(1, Ordering::Relaxed);
        if matches!(until, Until::Hook(end) if n >= end) {
            return Ok((n_accepted, times));
        }
        hooks.write(&mut request, n);
        requests.write_all(&request).await.context("send")?;
        answers.accepted().await?;
        n_accepted += 1;
        let now = Instant::now();
        if now >= start && !matches!(until, Until::Time(end) if now >= end) {
            times.push(now - sent_at);
        }
    }
}

/// Reads answers off a connection.
pub struct Answers<R>(Messages<R>);

impl<R: AsyncRead + Unpin> Answers<R> {
    pub fn new(stream: R) -> Self {
        Self(Messages::new(stream))
    }

    /// Reads one answer, which must be 200.
    pub async fn accepted(&mut self) -> anyhow::Result<()> {
        let next = tokio::time::timeout(ANSWER_WITHIN, self.0.next()).await;
        let answer = next.context("no answer")??.context("the connection was closed")?;
        ensure!(answer.is_ok(), "refused: {}", String::from_utf8_lossy(answer.head));
        Ok(())
    }
}
