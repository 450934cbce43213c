//! The binaries, as processes of their own.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use super::DEADLINE;

pub fn gateway_binary() -> PathBuf {
    env!("CARGO_BIN_EXE_waba-gateway").into()
}

pub fn migrate_binary() -> PathBuf {
    env!("CARGO_BIN_EXE_waba-migrate").into()
}

/// A running `waba-gateway`; killed when dropped.
pub struct Process {
    child: Child,
    pub base: String,
}

impl Process {
    /// Starts `serve` on this data directory and port, and waits until it is ready. Its log goes
    /// to `log`.
    pub async fn serve(data: &Path, port: u16, variables: &[(&str, String)], log: &Path) -> Self {
        let process = Self::start(data, port, variables, log);
        process.ready(log).await;
        process
    }

    /// The same, without waiting: it may not get ready.
    pub fn start(data: &Path, port: u16, variables: &[(&str, String)], log: &Path) -> Self {
        let base = format!("http://127.0.0.1:{port}");
        let file = File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(gateway_binary())
            .arg("serve")
            .env_clear()
            .env("LISTEN_ADDR", format!("127.0.0.1:{port}"))
            .env("METRICS_ADDR", "off")
            .env("DATA_DIR", data)
            .env("APP_BASE_URL", &base)
            .env("ALLOW_PRIVATE_TARGETS", "true")
            .env("MIN_FREE_DISK", "0")
            .env("RUST_LOG", "debug")
            .envs(variables.iter().map(|it| (it.0, it.1.as_str())))
            .current_dir(data.parent().unwrap())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, base }
    }

    async fn ready(&self, log: &Path) {
        let client = super::Client::new(&self.base, "");
        let address = self.base.strip_prefix("http://").unwrap();
        let started = Instant::now();
        loop {
            if tokio::net::TcpStream::connect(address).await.is_ok()
                && client.get("/ready").await.status == 200
            {
                return;
            }
            let log = std::fs::read_to_string(log).unwrap_or_default();
            assert!(started.elapsed() < DEADLINE, "not ready: {log}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How it ended, if it has.
    pub fn end(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A signal by its name, like `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(status.success());
    }

    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < within, "still running");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
