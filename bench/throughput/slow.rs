//! A provider that answers each call only after a while, and knows when each came.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{
    harness::{
        figures::{Times, count, rate},
        http::Messages,
    },
    sends::{Plan, Run},
};

/// How long it takes for each.
pub const LATENCY: Duration = Duration::from_millis(200);

/// A provider that answers each call only after a while, in a thread of its own.
pub struct Slow {
    pub address: SocketAddr,
    desk: Arc<Desk>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Desk {
    calls: Mutex<Calls>,
    n_answered: AtomicUsize,
    n_connections: AtomicUsize,
}

#[derive(Default)]
struct Calls {
    /// When they came.
    arrivals: Vec<Instant>,
    /// Whom they were for.
    customers: HashSet<Vec<u8>>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slow {
    pub fn start() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk::default());
        let (stop, stopped) = oneshot::channel();
        let at_desk = Arc::clone(&desk);
        let serve = async move {
            tokio::select! {
                // Dropped or sent, it is the end.
                _ = stopped => {}
                () = serve(listener, at_desk) => {}
            }
        };
        let thread = thread::spawn(move || runtime.block_on(serve));
        Ok(Self { address, desk, stop: Some(stop), thread: Some(thread) })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until so many were answered, until this time. When each came.
    pub async fn all(&self, n_sends: usize, until: Instant) -> anyhow::Result<Vec<Instant>> {
        while self.desk.n_answered.load(Ordering::Relaxed) < n_sends {
            let n = self.desk.n_answered.load(Ordering::Relaxed);
            ensure!(Instant::now() < until, "{n} of {n_sends} came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What they are told is still to be kept, and one too many would be seen.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let arrivals = self.arrivals()?;
        ensure!(arrivals.len() == n_sends, "{} of {n_sends} came", arrivals.len());
        Ok(arrivals)
    }

    /// When the calls came so far, each for another customer.
    pub fn arrivals(&self) -> anyhow::Result<Vec<Instant>> {
        let Calls { arrivals, customers } = &*self.desk.lock();
        let n_twice = arrivals.len() - customers.len();
        ensure!(n_twice == 0, "{n_twice} customers were sent to twice");
        Ok(arrivals.clone())
    }

    pub fn tell(&self, plan: Plan, arrivals: &[Instant], start: Instant, cpu: f64) -> Run {
        let late = |(n, at): (usize, &Instant)| at.saturating_duration_since(start + plan.due(n));
        let late = Times::new(arrivals.iter().enumerate().map(late).collect());
        let lasted = arrivals.last().copied().unwrap_or(start).saturating_duration_since(start);
        Run {
            late,
            rate: rate(arrivals.len(), lasted),
            cpu_us: cpu * 1e6 / count(arrivals.len()),
            n_connections: self.desk.n_connections.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // One that panicked has told so.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, desk: Arc<Desk>) {
    let listener = TcpListener::from_std(listener).expect("it does not block");
    while let Ok((stream, _)) = listener.accept().await {
        desk.n_connections.fetch_add(1, Ordering::Relaxed);
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            // What breaks off here is missed in the figures.
            let _ = take(stream, &desk).await;
        });
    }
}

async fn take(stream: TcpStream, desk: &Desk) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (requests, mut answers) = stream.into_split();
    let mut requests = Messages::new(requests);
    while let Some(request) = requests.next().await? {
        let is_send = request.head.starts_with(b"POST /")
            && request
                .header(b"\r\nauthorization: Bearer ")
                .is_some_and(|it| it.starts_with(b"EAAG"));
        ensure!(is_send, "no send");
        let n = {
            let mut calls = desk.lock();
            calls.arrivals.push(Instant::now());
            calls.customers.insert(customer(request.body)?);
            calls.arrivals.len()
        };
        tokio::time::sleep(LATENCY).await;
        let body = json!({
            "messaging_product": "whatsapp",
            "contacts": [{ "input": "221770000000", "wa_id": "221770000000" }],
            "messages": [{ "id": format!("wamid.HBgLMjIxNzc{n:012}A="), "message_status": "accepted" }],
        })
        .to_string();
        let n_bytes = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {n_bytes}\r\n\r\n{body}"
        );
        answers.write_all(answer.as_bytes()).await?;
        desk.n_answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Whom a call is for.
fn customer(body: &[u8]) -> anyhow::Result<Vec<u8>> {
    const TO: &[u8] = b"\"to\":\"";
    let at = body.windows(TO.len()).position(|it| it == TO).context("for nobody")?;
    Ok(body[at + TO.len()..].iter().copied().take_while(|it| *it != b'"').collect())
}
