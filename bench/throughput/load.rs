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
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{figures::Times, hook::Hooks};

/// For one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: usize = 8 * 1_024;

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
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now() + warm_up;
    let end = start + measured;
    let mut connections = JoinSet::new();
    for _ in 0..n_connections {
        let (hooks, next) = (Arc::clone(hooks), Arc::clone(&next));
        let stream = TcpStream::connect(address).await.context("connect")?;
        connections.spawn(async move { one(stream, &hooks, &next, start, end).await });
    }
    let mut times = Vec::new();
    while let Some(ended) = connections.join_next().await {
        times.extend(ended??);
    }
    let n_accepted = next.load(Ordering::Relaxed);
    Ok(Load { n_accepted, n_measured: times.len(), times: Times::new(times) })
}

async fn one(
    stream: TcpStream,
    hooks: &Hooks,
    next: &AtomicUsize,
    start: Instant,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    stream.set_nodelay(true)?;
    let (mut answers, mut requests) = stream.into_split();
    let mut answers = Answers::new(&mut answers);
    let (mut request, mut times) = (hooks.buffer(), Vec::with_capacity(16_384));
    loop {
        let sent_at = Instant::now();
        if sent_at >= end {
            return Ok(times);
        }
        hooks.write(&mut request, next.fetch_add(1, Ordering::Relaxed));
        requests.write_all(&request).await.context("send")?;
        answers.accepted().await?;
        let now = Instant::now();
        if now >= start && now < end {
            times.push(now - sent_at);
        }
    }
}

/// Reads answers off a connection.
pub struct Answers<R> {
    stream: R,
    bytes: Vec<u8>,
}

impl<R: AsyncReadExt + Unpin> Answers<R> {
    pub fn new(stream: R) -> Self {
        Self { stream, bytes: Vec::with_capacity(ANSWER_BYTES_MAX) }
    }

    /// Reads one answer, which must be 200.
    pub async fn accepted(&mut self) -> anyhow::Result<()> {
        let n_bytes = loop {
            if let Some(n_bytes) = whole(&self.bytes)? {
                break n_bytes;
            }
            let read = self.stream.read_buf(&mut self.bytes);
            let n_read = tokio::time::timeout(ANSWER_WITHIN, read).await.context("no answer")??;
            ensure!(n_read > 0, "the connection was closed");
        };
        let text = String::from_utf8_lossy(&self.bytes[..n_bytes]);
        ensure!(text.starts_with("HTTP/1.1 200 "), "refused: {text}");
        self.bytes.drain(..n_bytes);
        Ok(())
    }
}

/// How many bytes the first answer has, once it is all there.
fn whole(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    const LENGTH: &[u8] = b"content-length: ";
    ensure!(bytes.len() < ANSWER_BYTES_MAX, "an answer of {} bytes", bytes.len());
    let find = |what: &[u8]| bytes.windows(what.len()).position(|it| it == what);
    let Some(head) = find(b"\r\n\r\n") else { return Ok(None) };
    let length = find(LENGTH).context("an answer without a length")? + LENGTH.len();
    let digits = bytes[length..].iter().take_while(|it| it.is_ascii_digit());
    let n_body = digits.fold(0, |all, it| all * 10 + usize::from(it - b'0'));
    let n_bytes = head + 4 + n_body;
    Ok((bytes.len() >= n_bytes).then_some(n_bytes))
}
