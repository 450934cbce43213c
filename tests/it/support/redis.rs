//! A real Redis of the test's own.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Instant,
};

use redis::{FromRedisValue, aio::MultiplexedConnection};

use super::DEADLINE;

/// A `redis-server` on a port of its own; killed when dropped.
pub struct RedisServer {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl RedisServer {
    pub async fn start() -> Self {
        let started = Instant::now();
        loop {
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            let directory = tempfile::tempdir().unwrap();
            let mut server = Self { child: spawn(port, &directory), port, directory };
            if server.answers().await {
                return server;
            }
            // Somebody else took the port.
            assert!(started.elapsed() < DEADLINE, "redis-server does not start");
        }
    }

    /// Waits until it answers. `false`: it has ended.
    async fn answers(&mut self) -> bool {
        let started = Instant::now();
        while self.try_connect().await.is_none() {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(started.elapsed() < DEADLINE, "redis-server does not answer");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        true
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it at once. What it had is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`Self::kill`], empty, on the same port.
    pub async fn start_again(&mut self) {
        self.child = spawn(self.port, &self.directory);
        assert!(self.answers().await, "redis-server does not start again");
    }

    /// It takes connections and answers nothing.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Whether it is full and stays so.
    pub async fn fill(&self, is_full: bool) {
        let bytes = if is_full { "1" } else { "0" };
        self.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
        self.ask::<()>(&["CONFIG", "SET", "maxmemory", bytes]).await;
    }

    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.try_connect().await.unwrap()).await.unwrap()
    }

    /// The names of all values that gateways have put there, generations apart.
    pub async fn names(&self) -> Vec<String> {
        let names: Vec<String> = self.ask(&["KEYS", "waba:*}"]).await;
        names
    }

    async fn try_connect(&self) -> Option<MultiplexedConnection> {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        redis::cmd("PING").query_async::<()>(&mut connection).await.ok()?;
        Some(connection)
    }
}

fn spawn(port: u16, directory: &tempfile::TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server (scripts/test.sh installs it)")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended by itself; SIGKILL ends a paused one too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
