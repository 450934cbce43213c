//! Killed and restarted under load.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::harness::crash::{self, Options};

/// Webhooks a second.
const RATE: u32 = 500;
const VENDORS: usize = 1_000;
/// As long as providers wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

pub fn kills(directory: &Path, n_times: usize, seed: Option<u64>) -> anyhow::Result<()> {
    // From before it serves to well into its work.
    let options = options(n_times, 20..1_500, seed)?;
    println!("crash: {n_times} kills at {RATE}/s over {VENDORS} vendors, seed {}", options.seed);
    let started_at = Instant::now();
    let found = runtime()?.block_on(crash::kills(&directory.join("crash"), &options))?;
    println!(
        "{} webhooks, {} answered 200, of whose replies {} are unknown; {} sends were cut off; {:?}\n\
         nothing lost, nothing twice, in {:.0} s\n",
        found.n_calls,
        found.n_kept,
        found.n_unknown,
        found.n_cut_off,
        found.ledger,
        started_at.elapsed().as_secs_f64()
    );
    Ok(())
}

pub fn restarts(directory: &Path, n_times: usize, seed: Option<u64>) -> anyhow::Result<()> {
    let options = options(n_times, 1_500..3_000, seed)?;
    println!("restarts: {n_times} at {RATE}/s over {VENDORS} vendors, seed {}", options.seed);
    let told = runtime()?.block_on(crash::restarts(&directory.join("restarts"), &options))?;
    println!(
        "{} webhooks, all answered 200; none refused, none lost\n\
         from SIGTERM to the end: median {:.0} ms, longest {:.0} ms\n\
         longest wait at a restart: median {:.0} ms, longest {:.0} ms\n\
         at other times: p50 {:.1} ms, p99 {:.1} ms\n",
        told.found.n_kept,
        told.stops.ms(500),
        told.stops.ms(1_000),
        told.waits.ms(500),
        told.waits.ms(1_000),
        told.others.ms(500),
        told.others.ms(990)
    );
    Ok(())
}

fn options(
    n_times: usize,
    life_ms: std::ops::Range<u64>,
    seed: Option<u64>,
) -> anyhow::Result<Options> {
    let mut fresh = [0; 4];
    getrandom::fill(&mut fresh).context("random numbers")?;
    let seed = seed.unwrap_or(u64::from(u32::from_be_bytes(fresh)));
    let (n_vendors, answer_within) = (VENDORS, ANSWER_WITHIN);
    Ok(Options { seed, n_times, life_ms, rate: RATE, n_vendors, answer_within })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
