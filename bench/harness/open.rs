//! The open loop: a webhook leaves when its time has come, whatever became of those before it, and
//! its times count from then.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::task::JoinSet;

use super::{figures::Times, hook::Hooks, load::Answers};

/// What is sent.
#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    pub hooks: Arc<Hooks>,
    pub n_hooks: usize,
    /// A second.
    pub rate: usize,
    pub n_connections: usize,
}

/// A webhook that was answered 200.
#[derive(Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "they are three times of one thing")]
pub struct Exchange {
    pub intended_at: Instant,
    pub left_at: Instant,
    pub answered_at: Instant,
}

impl Exchange {
    /// How long each answer took.
    pub fn times(all: &[Self]) -> Times {
        Times::new(all.iter().map(|it| it.answered_at - it.intended_at).collect())
    }

    /// How much later than intended each left.
    pub fn late(all: &[Self]) -> Times {
        Times::new(all.iter().map(|it| it.left_at - it.intended_at).collect())
    }
}

/// Sends all of them; each must be answered 200.
pub async fn open_loop(load: Load) -> anyhow::Result<Vec<Exchange>> {
    let (mut readers, mut writers) = (JoinSet::new(), Vec::new());
    for at in 0..load.n_connections {
        let stream = TcpStream::connect(load.address).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let n_answers = load.n_hooks.saturating_sub(at).div_ceil(load.n_connections);
        let answers = tokio::net::TcpStream::from_std(stream.try_clone()?)?;
        readers.spawn(async move { anyhow::Ok((at, read(answers, n_answers).await?)) });
        writers.push(stream);
    }
    let n_connections = load.n_connections;
    let sender = thread::spawn(move || send(&load, writers));
    let mut answered = vec![Vec::new(); n_connections];
    while let Some(read) = readers.join_next().await {
        let (at, times) = read??;
        answered[at] = times;
    }
    let sent = sender.join().ok().context("the sender panicked")??;
    let exchange = |(n, (intended_at, left_at)): (usize, (Instant, Instant))| {
        let answered_at = answered[n % n_connections][n / n_connections];
        Exchange { intended_at, left_at, answered_at }
    };
    Ok(sent.into_iter().enumerate().map(exchange).collect())
}

/// Sends each webhook when its time has come, over the connections in turn. When that was
/// intended, and when it was done.
fn send(load: &Load, mut streams: Vec<TcpStream>) -> anyhow::Result<Vec<(Instant, Instant)>> {
    let mut request = load.hooks.buffer();
    let mut sent = Vec::with_capacity(load.n_hooks);
    let start = Instant::now() + Duration::from_millis(100);
    let apart = Duration::from_secs(1) / u32::try_from(load.rate)?;
    for n in 0..load.n_hooks {
        load.hooks.write(&mut request, n);
        let intended_at = start + apart * u32::try_from(n)?;
        thread::sleep(intended_at.saturating_duration_since(Instant::now()));
        let left_at = Instant::now();
        // A webhook is far smaller than a socket's buffer.
        streams[n % load.n_connections].write_all(&request).context("send")?;
        sent.push((intended_at, left_at));
    }
    Ok(sent)
}

async fn read(stream: tokio::net::TcpStream, n: usize) -> anyhow::Result<Vec<Instant>> {
    let (mut answers, mut times) = (Answers::new(stream), Vec::with_capacity(n));
    for _ in 0..n {
        answers.accepted().await?;
        times.push(Instant::now());
    }
    Ok(times)
}
