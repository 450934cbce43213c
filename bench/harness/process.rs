//! A program that is measured: started, watched, and ended whatever happens.

use std::{
    fs,
    process::Child,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// How long a program may take to end.
const END_WITHIN: Duration = Duration::from_secs(25);
/// Ticks a second of the times in `/proc`: Linux tells programs this number on every machine.
const TICKS: f64 = 100.0;

/// A program that is measured. It is killed when this is dropped.
pub struct Process(Child);

/// What a program has used up.
#[derive(Clone, Copy)]
pub struct Usage {
    /// Its processor time so far, in seconds.
    pub cpu: f64,
    /// What of it is in memory, in MB.
    pub rss: f64,
    /// The most that ever was, in MB.
    pub peak: f64,
}

impl Process {
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    pub fn usage(&self) -> anyhow::Result<Usage> {
        let id = self.0.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).context("read its status")?;
        let mb = |name: &str| {
            let line = status.lines().find_map(|it| it.strip_prefix(name))?;
            let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kib * 1_024.0 / 1e6)
        };
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).context("read its times")?;
        // After the name, which may have anything in it: fields 14 and 15 of proc_pid_stat(5).
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let times: Vec<f64> = fields.skip(11).take(2).filter_map(|it| it.parse().ok()).collect();
        Ok(Usage {
            cpu: times.iter().sum::<f64>() / TICKS,
            rss: mb("VmRSS:").context("VmRSS")?,
            peak: mb("VmHWM:").context("VmHWM")?,
        })
    }

    /// Fails when it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.0.try_wait()? {
            Some(status) => bail!("it ended: {status}"),
            None => Ok(()),
        }
    }

    /// Ends it by SIGKILL.
    pub fn kill(self) {
        drop(self);
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(mut self) -> anyhow::Result<()> {
        let id = self.0.id().to_string();
        let told = std::process::Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status();
        told.context("send SIGTERM")?;
        let asked_at = Instant::now();
        while asked_at.elapsed() < END_WITHIN {
            if let Some(status) = self.0.try_wait()? {
                return if status.success() { Ok(()) } else { bail!("it ended: {status}") };
            }
            sleep(Duration::from_millis(1));
        }
        bail!("it did not end within {END_WITHIN:?}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
