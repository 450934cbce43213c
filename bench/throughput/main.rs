//! Measures the gateway: `cargo bench --bench throughput -- WHAT`, where each `WHAT` is a scenario.
//! What the figures mean, and what they were, is in `docs/PERFORMANCE.md`.

mod bulk;
mod burst;
mod fairness;
mod floor;
mod full;
#[path = "../harness/mod.rs"]
mod harness;
mod idle;
mod intake;
mod matching;
mod past;
mod peer;
mod reply;
mod round_trips;
mod sends;
mod slow;
mod survive;
mod waiting;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Parser, ValueEnum};

/// What `statfs` says of a file system in memory, where an fsync costs nothing.
const TMPFS: u64 = 0x0102_1994;

/// Measures the gateway on this machine, beside a floor where there is one: the least program that
/// keeps a webhook. Fails when something was lost, doubled or refused; a figure that is missed is
/// told and no failure.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches, each on its own")]
struct Arguments {
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// Length of the measured part of a run, where it is not the scenario's own.
    #[arg(long)]
    seconds: Option<u64>,
    /// Runs, or pairs of runs; what counts is their median. How often it is killed or restarted.
    #[arg(long)]
    runs: Option<usize>,
    /// reply: has the simulated Wasender report on each reply, as the real one does: five webhooks
    /// more.
    #[arg(long)]
    echoes: bool,
    /// intake: gives messages ascending ids. Real ones are in no order; ascending ones spare the
    /// floor's unique index its random pages, and the gateway nothing: it keeps keyed hashes.
    #[arg(long)]
    ordered_ids: bool,
    /// round-trips: two statuses by Wasender's number instead of an echo and two by the message's
    /// id.
    #[arg(long)]
    flat: bool,
    /// full: finished entries.
    #[arg(long, default_value_t = 10_000_000)]
    entries: usize,
    /// sends: how many fall due in a second.
    #[arg(long, default_value_t = 1_000)]
    rate: usize,
    /// crash, restarts: where chance begins. It is printed, and the same one is the same run.
    #[arg(long)]
    seed: Option<u64>,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the floor, with its database in this directory.
    #[arg(long, hide = true)]
    floor: Option<PathBuf>,
    /// Be the calls of `sends` alone, to this provider.
    #[arg(long, hide = true)]
    calls: Option<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Webhooks that are recorded only, as many as go.
    Intake,
    /// 500 webhooks a second, each answered.
    Reply,
    /// One run of intake and reply, for the memory it takes.
    Memory,
    /// Intake and reply.
    All,
    /// Killed 100 times under load, and nothing is lost or doubled.
    Crash,
    /// Restarted 20 times under load, and nothing is refused.
    Restarts,
    /// A loud vendor and one that hangs, and what they cost the others.
    Fairness,
    /// 10,000 connections that are idle, slow or half closed, and what they cost the others.
    Idle,
    /// Webhook, reply, and what the provider reports of it.
    RoundTrips,
    /// 10,000 webhooks a second, each answered 200 in time.
    Burst,
    /// Killed with 100,000 entries waiting.
    Waiting,
    /// With 100,000 vendors and a long past, beside one without.
    Full,
    /// Beside the usual stack: Node and Redis.
    Peer,
    /// One message to 100,000 recipients.
    Bulk,
    /// 1,000 sends a second to a provider that takes its time, beside its HTTP calls alone.
    Sends,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(directory) = &arguments.floor {
        return floor::run(directory);
    }
    if let Some(address) = arguments.calls {
        return sends::calls(address, arguments.plan());
    }
    if !arguments.bench {
        println!("run it with `cargo bench`: without optimisation there is nothing to measure");
        return Ok(());
    }
    let directory = directory()?;
    let place = directory.path();
    let runs = |default: usize| arguments.runs.unwrap_or(default).max(1);
    let seconds = |default: u64| arguments.seconds.unwrap_or(default).max(1);
    match arguments.what {
        What::Intake => intake::run(place, runs(5), seconds(10), arguments.ordered_ids),
        What::Reply => reply::run(place, runs(5), seconds(20), arguments.echoes),
        What::Memory | What::All => {
            let n = if arguments.what == What::Memory { 1 } else { runs(5) };
            intake::run(place, n, seconds(10), arguments.ordered_ids)?;
            reply::run(place, n, seconds(20), arguments.echoes)
        }
        What::Crash => survive::kills(place, runs(100), arguments.seed),
        What::Restarts => survive::restarts(place, runs(20), arguments.seed),
        What::Fairness => fairness::run(place, runs(9), seconds(8)),
        What::Idle => idle::run(place, runs(5), seconds(8)),
        What::RoundTrips => round_trips::run(place, runs(5), seconds(8), arguments.flat),
        What::Burst => burst::run(place, runs(5), seconds(10)),
        What::Waiting => waiting::run(place, runs(3)),
        What::Full => full::run(place, runs(5), seconds(8), arguments.entries),
        What::Bulk => bulk::run(place, runs(3)),
        What::Sends => sends::run(place, runs(5), arguments.plan()),
        What::Peer => peer::run(place, runs(5), seconds(8)),
    }
}

impl Arguments {
    fn plan(&self) -> sends::Plan {
        sends::Plan { rate: self.rate.max(1), seconds: self.seconds.unwrap_or(15).max(1) }
    }
}

/// A directory for the data, on the disk that has the build.
fn directory() -> anyhow::Result<tempfile::TempDir> {
    let under = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = tempfile::tempdir_in(under).context("make a directory for the data")?;
    let system = rustix::fs::statfs(directory.path()).context("ask for the file system")?;
    if u64::try_from(system.f_type) == Ok(TMPFS) {
        println!("warning: {} is in memory; nothing is durable there", under.display());
    }
    Ok(directory)
}
