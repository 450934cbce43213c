//! A Redis for the bench alone.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use redis::{FromRedisValue, aio::MultiplexedConnection};

const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// A `redis-server`; killed when dropped.
pub struct Server {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Server {
    pub async fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("start redis-server; scripts/test.sh installs it")?;
        let server = Self { child, port, _directory: directory };
        let started = Instant::now();
        while server.connect().await.is_err() {
            ensure!(started.elapsed() < STARTS_WITHIN, "redis-server does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// A signal by its name, like `STOP`.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let signal = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        ensure!(signal.context("start kill")?.success(), "redis-server takes no signal");
        Ok(())
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub async fn n_values(&self) -> anyhow::Result<usize> {
        self.ask(redis::cmd("DBSIZE")).await
    }

    /// Names that were looked up and found.
    pub async fn n_hits(&self) -> anyhow::Result<usize> {
        let mut info = redis::cmd("INFO");
        info.arg("stats");
        let text: String = self.ask(info).await?;
        let line = text.lines().find_map(|it| it.strip_prefix("keyspace_hits:"));
        let Some(line) = line else { bail!("INFO has no keyspace_hits") };
        Ok(line.trim().parse()?)
    }

    async fn ask<T: FromRedisValue>(&self, command: redis::Cmd) -> anyhow::Result<T> {
        Ok(command.query_async(&mut self.connect().await?).await?)
    }

    async fn connect(&self) -> anyhow::Result<MultiplexedConnection> {
        let client = redis::Client::open(self.url())?;
        Ok(client.get_multiplexed_async_connection().await?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
