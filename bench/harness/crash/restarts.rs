//! Stopped by SIGTERM and started again on the same socket, as an update does it.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        figures::Times,
        gateway::{Data, Replies},
        http::Messages,
    },
    Chance, Hooks, Options,
    callers::{Callers, End},
    check::{self, Found},
    socket, world,
};

/// What restarts cost the callers.
pub struct Restarts {
    pub found: Found,
    /// From SIGTERM until the process has ended.
    pub stops: Times,
    /// The longest that a webhook waited for its answer at each restart.
    pub waits: Times,
    /// How long webhooks waited at other times.
    pub others: Times,
}

/// Restarts the gateway again and again under load. An error tells what was refused or lost.
pub async fn restarts(directory: &Path, options: &Options) -> anyhow::Result<Restarts> {
    let data = Data::make(directory, options.n_vendors, |_| Replies::Rules).await?;
    let socket = socket()?;
    let twin = world(&socket, options.n_vendors).await?;
    let hooks = Hooks { n_vendors: options.n_vendors, seed: options.seed };
    let mut process = data.start_on(&socket, &twin.api_url())?;
    let stop = CancellationToken::new();
    let callers = Callers::new(socket.local_addr()?, hooks, options, false);
    let callers = tokio::spawn(callers.run(stop.clone()));
    let (mut chance, mut stops, mut periods) = (Chance::new(options.seed), Vec::new(), Vec::new());
    let mut life = move || Duration::from_millis(chance.within(&options.life_ms));
    for _ in 0..options.n_times {
        tokio::time::sleep(life()).await;
        let asked_at = Instant::now();
        let ended = tokio::task::spawn_blocking(move || process.terminate()).await?;
        ended.with_context(|| data.log().unwrap_or_default())?;
        stops.push(asked_at.elapsed());
        process = data.start_on(&socket, &twin.api_url())?;
        serves(socket.local_addr()?).await?;
        periods.push((asked_at, Instant::now()));
    }
    tokio::time::sleep(life()).await;
    stop.cancel();
    let calls = callers.await??;
    let failed: Vec<_> = calls.iter().filter(|it| it.end != End::Kept).collect();
    if let Some(first) = failed.first() {
        let n = failed.len();
        anyhow::bail!(
            "{n} of {} webhooks failed; number {}: {:?}",
            calls.len(),
            first.n,
            first.end
        );
    }
    check::settled(&data).await?;
    twin.idle().await;
    tokio::task::spawn_blocking(move || process.terminate()).await??;
    let found = check::check(&data, &twin, hooks, &calls, 0).await?;
    ensure!(found.n_unknown == 0, "{} replies are unknown", found.n_unknown);
    let failures = twin.hook_failures();
    if let Some(first) = failures.first() {
        let n = failures.len();
        anyhow::bail!("{n} reports of the provider failed; the first: {}", first.why);
    }

    let (mut waits, mut others) = (vec![Duration::ZERO; periods.len()], Vec::new());
    for call in &calls {
        let took = call.answered_at - call.intended_at;
        let at = periods.iter().position(|it| call.answered_at >= it.0 && call.intended_at <= it.1);
        match at {
            Some(at) => waits[at] = waits[at].max(took),
            None => others.push(took),
        }
    }
    let (stops, waits, others) = (Times::new(stops), Times::new(waits), Times::new(others));
    Ok(Restarts { found, stops, waits, others })
}

/// Waits until it answers.
async fn serves(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: bench\r\n\r\n").await?;
    let mut messages = Messages::new(stream);
    let answer = messages.next().await?.context("no answer")?;
    ensure!(answer.is_ok(), "not healthy");
    Ok(())
}
