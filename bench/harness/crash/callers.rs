//! Callers: a webhook leaves when its time has come, half of them on a connection that is kept and
//! used again, half on one of their own.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{super::http::Messages, Chance, Hooks, Options};

/// Connections that are kept; they are used in turn, so that each is quiet for a while.
const KEPT: usize = 64;
/// When a webhook that got no answer is sent again, where it is.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What became of one webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Answered 200.
    Kept,
    /// Answered otherwise.
    Refused(u16),
    /// The connection was refused.
    NotTaken,
    /// It broke off before the answer.
    Broken,
}

/// One that was sent.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) n: usize,
    pub(super) end: End,
    pub(super) intended_at: Instant,
    pub(super) answered_at: Instant,
}

#[derive(Clone)]
pub(super) struct Callers {
    pub(super) address: SocketAddr,
    pub(super) hooks: Hooks,
    pub(super) rate: u32,
    /// For one answer, a restart included.
    pub(super) answer_within: Duration,
    /// Half of the webhooks that break off are sent once more, as they were.
    pub(super) insist: bool,
    kept: Arc<Mutex<VecDeque<TcpStream>>>,
}

impl Callers {
    pub(super) fn new(address: SocketAddr, hooks: Hooks, options: &Options, insist: bool) -> Self {
        let Options { rate, answer_within, .. } = *options;
        Self { address, hooks, rate, answer_within, insist, kept: Arc::default() }
    }

    /// Calls until `stop`, then waits for the last answers.
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<Vec<Call>> {
        for _ in 0..KEPT {
            self.keep(TcpStream::connect(self.address).await?);
        }
        let (mut running, mut calls) = (JoinSet::new(), Vec::new());
        let (start, apart) = (Instant::now(), Duration::from_secs(1) / self.rate);
        for n in 0.. {
            let intended_at = start + apart * u32::try_from(n)?;
            tokio::select! {
                () = tokio::time::sleep_until(intended_at.into()) => {}
                () = stop.cancelled() => break,
            }
            let callers = self.clone();
            running.spawn(async move { callers.call(n, intended_at).await });
            while let Some(call) = running.try_join_next() {
                calls.push(call?);
            }
        }
        while let Some(call) = running.join_next().await {
            calls.push(call?);
        }
        Ok(calls)
    }

    async fn call(&self, n: usize, intended_at: Instant) -> Call {
        let mut chance = Chance::new(self.hooks.seed.rotate_left(32) ^ n as u64);
        let is_own = chance.one_in(2);
        let mut end = self.send(n, is_own).await;
        if end == End::Broken && self.insist && chance.one_in(2) {
            tokio::time::sleep(AGAIN_AFTER).await;
            end = self.send(n, is_own).await;
        }
        Call { n, end, intended_at, answered_at: Instant::now() }
    }

    async fn send(&self, n: usize, is_own: bool) -> End {
        let sent = tokio::time::timeout(self.answer_within, self.exchange(n, is_own)).await;
        sent.unwrap_or(Ok(End::Broken)).unwrap_or(End::Broken)
    }

    async fn exchange(&self, n: usize, is_own: bool) -> anyhow::Result<End> {
        let kept = if is_own { None } else { self.take() };
        let mut stream = match kept {
            Some(stream) => stream,
            None => match TcpStream::connect(self.address).await {
                Ok(stream) => stream,
                Err(_) => return Ok(End::NotTaken),
            },
        };
        stream.set_nodelay(true)?;
        stream.write_all(&self.hooks.request(n, is_own)).await?;
        let mut messages = Messages::new(&mut stream);
        let Some(answer) = messages.next().await? else { return Ok(End::Broken) };
        let (end, is_last) = match status(answer.head) {
            200 => (End::Kept, answer.is_last()),
            other => (End::Refused(other), answer.is_last()),
        };
        if !is_own && !is_last {
            self.keep(stream);
        }
        Ok(end)
    }

    /// A connection that is still open, as far as is known: every client looks before it uses one.
    fn take(&self) -> Option<TcpStream> {
        let mut kept = self.lock();
        loop {
            let stream = kept.pop_front()?;
            let seen = stream.try_read(&mut [0]);
            if seen.is_err_and(|it| it.kind() == std::io::ErrorKind::WouldBlock) {
                return Some(stream);
            }
        }
    }

    fn keep(&self, stream: TcpStream) {
        let mut kept = self.lock();
        if kept.len() < KEPT {
            kept.push_back(stream);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<TcpStream>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of an answer; 0 when it is none.
fn status(head: &[u8]) -> u16 {
    let code = head.strip_prefix(b"HTTP/1.1 ").and_then(|it| it.get(..3));
    code.and_then(|it| std::str::from_utf8(it).ok()?.parse().ok()).unwrap_or(0)
}
