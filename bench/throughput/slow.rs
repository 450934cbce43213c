//! A provider that answers each call only after a while, and knows when each came.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::ensure;
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
/// Until the last answer, once the last has fallen due.
const LAST_WITHIN: Duration = Duration::from_secs(20);

/// A provider that answers each call only after a while, in a thread of its own.
pub struct Slow {
    pub address: SocketAddr,
    desk: Arc<Desk>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Desk {
    /// When the calls came.
    arrivals: Mutex<Vec<Instant>>,
    n_answered: AtomicUsize,
    n_connections: AtomicUsize,
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

    /// Waits until all were answered. When each came.
    pub async fn all(&self, plan: Plan, start: Instant) -> anyhow::Result<Vec<Instant>> {
        let n_sends = plan.n_sends()?;
        let until = start + plan.due(n_sends) + LAST_WITHIN;
        while self.desk.n_answered.load(Ordering::Relaxed) < n_sends {
            let n = self.desk.n_answered.load(Ordering::Relaxed);
            ensure!(Instant::now() < until, "{n} of {n_sends} came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What they are told is still to be kept, and one too many would be seen.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let arrivals = self.desk.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(arrivals.len() == n_sends, "{} of {n_sends} came", arrivals.len());
        Ok(arrivals)
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
            let mut arrivals = desk.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            arrivals.push(Instant::now());
            arrivals.len()
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
