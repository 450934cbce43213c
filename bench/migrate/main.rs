//! Measures `waba-migrate batch` with many rows into SQLite: `cargo bench --bench migrate`. What the
//! figures were is in `docs/PERFORMANCE.md`.

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;

/// For ten thousand rows.
const FLOOR: Duration = Duration::from_secs(5);

/// Measures how long rows take. A figure that is missed is told and no failure.
#[derive(Parser)]
struct Arguments {
    /// Rows in the file.
    #[arg(long, default_value_t = 10_000)]
    rows: u32,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("run it with `cargo bench`: without optimisation there is nothing to measure");
        return Ok(());
    }
    let n_rows = arguments.rows.min(1_000_000);
    let under = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = tempfile::tempdir_in(under).context("make a directory for the data")?;
    let mut text = "vendorId,businessName,phoneNumber,wasenderInstanceId,\
        wasenderWebhookSecret,wasenderApiKey\n"
        .to_owned();
    for n in 0..n_rows {
        let number = 1_000_000 + n;
        writeln!(text, "shop_{n},Shop {n},+22177{number},{number},webhook-secret-{n:08},{n:064x}")?;
    }
    fs::write(directory.path().join("vendors.csv"), text)?;
    let new = run(directory.path())?;
    let verdict = if new < FLOOR { "within" } else { "MISSED:" };
    println!("{n_rows} new rows: {new:?}, {verdict} {FLOOR:?} for 10,000");
    println!("the same file again: {:?}", run(directory.path())?);
    Ok(())
}

fn run(directory: &Path) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_waba-migrate"))
        .args(["batch", "vendors.csv", "--report", "done.csv"])
        .current_dir(directory)
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("start waba-migrate")?;
    ensure!(status.success(), "waba-migrate ended with {status}");
    Ok(started.elapsed())
}
