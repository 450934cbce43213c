//! Measures the gateway beside a floor: `cargo bench --bench throughput -- [intake|reply|memory|all]`.
//! What the figures mean, and what they were, is in `docs/PERFORMANCE.md`.

mod figures;
mod floor;
mod gateway;
mod hook;
mod intake;
mod load;
mod process;
mod reply;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, ValueEnum};

/// What `statfs` says of a file system in memory, where an fsync costs nothing.
const TMPFS: u64 = 0x0102_1994;

/// Measures the gateway on this machine, beside a floor: the least program that keeps a webhook.
#[derive(Parser)]
struct Arguments {
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// Length of the measured part of a run [default: 10 for intake, 20 for reply].
    #[arg(long)]
    seconds: Option<u64>,
    /// Runs; what counts is their median.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Has the simulated Wasender report on each reply, as the real one does: five webhooks more.
    #[arg(long)]
    echoes: bool,
    /// Gives messages ascending ids. Real ones are in no order; ascending ones spare the floor's
    /// unique index its random pages, and the gateway nothing: it keeps keyed hashes.
    #[arg(long)]
    ordered_ids: bool,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the floor, with its database in this directory.
    #[arg(long, hide = true)]
    floor: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Webhooks that are recorded only, as many as go.
    Intake,
    /// 500 webhooks a second, each answered.
    Reply,
    /// One run of each, for the memory it takes.
    Memory,
    /// Intake and reply.
    All,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(directory) = &arguments.floor {
        return floor::run(directory);
    }
    if !arguments.bench {
        println!("run it with `cargo bench`: without optimisation there is nothing to measure");
        return Ok(());
    }
    let directory = directory()?;
    let runs = if arguments.what == What::Memory { 1 } else { arguments.runs.max(1) };
    if arguments.what != What::Reply {
        intake::run(
            directory.path(),
            runs,
            arguments.seconds.unwrap_or(10).max(1),
            arguments.ordered_ids,
        )?;
    }
    if arguments.what != What::Intake {
        let seconds = arguments.seconds.unwrap_or(20).max(1);
        reply::run(directory.path(), runs, seconds, arguments.echoes)?;
    }
    Ok(())
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
