//! Killed by SIGKILL at random moments.

use std::{collections::HashSet, path::Path, time::Duration};

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::{
    super::gateway::{Data, Replies},
    Chance, Hooks, Options,
    callers::Callers,
    check::{self, Found},
    socket, world,
};

/// Kills the gateway again and again under load. An error tells what was lost or doubled.
pub async fn kills(directory: &Path, options: &Options) -> anyhow::Result<Found> {
    let data = Data::make(directory, options.n_vendors, |_| Replies::Rules).await?;
    let socket = socket()?;
    let twin = world(&socket, options.n_vendors).await?;
    let hooks = Hooks { n_vendors: options.n_vendors, seed: options.seed };
    let (mut chance, mut cut_off) = (Chance::new(options.seed), HashSet::new());
    let stop = CancellationToken::new();
    let callers = Callers::new(socket.local_addr()?, hooks, options, true);
    let callers = tokio::spawn(callers.run(stop.clone()));
    for _ in 0..options.n_times {
        let mut process = data.start_on(&socket, &twin.api_url())?;
        tokio::time::sleep(Duration::from_millis(chance.within(&options.life_ms))).await;
        process.check().with_context(|| data.log().unwrap_or_default())?;
        process.kill();
        cut_off.extend(check::cut_off(&data)?);
    }
    let process = data.start_on(&socket, &twin.api_url())?;
    stop.cancel();
    let calls = callers.await??;
    check::settled(&data).await?;
    twin.idle().await;
    process.terminate()?;
    check::check(&data, &twin, hooks, &calls, cut_off.len()).await
}
