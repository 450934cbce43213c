//! From webhook to reply, at a steady rate: a webhook leaves when its time has come, whatever
//! became of those before it, and its reply's time counts from then.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{sync::oneshot, task::JoinSet};
use waba_gateway::twin::{NewSession, Twin};

use crate::{
    figures::{Table, Times, verdict},
    gateway::{Data, phone, read_reply, session_key},
    hook::{Hooks, VENDORS, secret, target, vendor},
    load::Answers,
    process::Usage,
};

const RATE: usize = 500;
const CONNECTIONS: usize = 64;
/// After a start an instance earns the right to send one message each 268 ms.
const WARM_UP: Duration = Duration::from_secs(15);
/// For the last replies to arrive.
const LAST_WITHIN: Duration = Duration::from_secs(15);
const P50_MAX_MS: f64 = 5.0;
const MEMORY_MAX_MB: f64 = 60.0;

/// A vendor and a word: by them a reply is known to belong to a webhook.
type Target = (usize, usize);

/// When a reply arrived, and to what.
type Arrival = (Instant, Target);

/// Replies that have arrived.
type Arrivals = Arc<Mutex<Vec<Arrival>>>;

/// A webhook that was sent.
struct Sent {
    intended_at: Instant,
    left_at: Instant,
}

struct Run {
    times: Times,
    /// How much later than intended the webhooks left.
    late: Times,
    usage: Usage,
}

pub fn run(directory: &Path, runs: usize, seconds: u64, echoes: bool) -> anyhow::Result<()> {
    println!(
        "reply: {RATE} webhooks/s over {VENDORS} vendors, {seconds} s a run after {} s of warm-up{}",
        WARM_UP.as_secs(),
        if echoes { ", each reply reported in five webhooks" } else { "" }
    );
    let seconds = usize::try_from(seconds)?;
    let n_warm_up = RATE * usize::try_from(WARM_UP.as_secs())?;
    let n_hooks = n_warm_up + RATE * seconds;
    let hooks = Arc::new(Hooks::new(n_hooks, false)?);
    let mut table = Table::new(&[
        ("p50 ms", 2),
        ("p90 ms", 2),
        ("p99 ms", 2),
        ("max ms", 1),
        ("late p99", 2),
        ("cpu s", 1),
        ("rss MB", 1),
        ("peak MB", 1),
    ]);
    for n in 0..runs {
        let place = directory.join(format!("reply-{n}"));
        let run = one(&place, &hooks, n_warm_up, n_hooks, echoes)?;
        fs::remove_dir_all(&place)?;
        rustix::fs::sync();
        let mut row: Vec<f64> = [500, 900, 990, 1_000].map(|it| run.times.ms(it)).to_vec();
        row.extend([run.late.ms(990), run.usage.cpu, run.usage.rss, run.usage.peak]);
        table.add(row);
    }
    let medians = table.medians();
    println!("each of the {n_hooks} webhooks of a run had exactly one reply");
    verdict(&format!("p50 at most {P50_MAX_MS} ms"), medians[0] <= P50_MAX_MS);
    verdict(&format!("at most {MEMORY_MAX_MB} MB in memory"), medians[6] <= MEMORY_MAX_MB);
    Ok(())
}

fn one(
    place: &Path,
    hooks: &Arc<Hooks>,
    n_warm_up: usize,
    n_hooks: usize,
    echoes: bool,
) -> anyhow::Result<Run> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let data = runtime.block_on(Data::make(place, true))?;
    let arrivals = Arrivals::default();
    let world = World::start(&arrivals)?;
    let (process, address) = data.start(&world.twin.api_url())?;
    world.add_sessions(echoes.then_some(address));

    let (readers, writers) = connect(address)?;
    let hooks = Arc::clone(hooks);
    let sender = thread::spawn(move || send(&hooks, n_hooks, writers));
    let n_answered = runtime.block_on(read(readers, n_hooks))?;
    let sent = sender.join().ok().context("the sender panicked")??;
    ensure!(n_answered == n_hooks, "{n_answered} of {n_hooks} webhooks were answered 200");
    runtime.block_on(world.settled(n_hooks));
    let usage = process.usage()?;
    process.terminate()?;

    let (ledger, counted) = runtime.block_on(data.ledger())?;
    let is_whole = usize::try_from(ledger.created) == Ok(n_hooks) && ledger == counted;
    ensure!(is_whole, "the ledger has {ledger:?} and the entries {counted:?}");
    let arrivals = std::mem::take(&mut *arrivals.lock().unwrap_or_else(PoisonError::into_inner));
    let times = matched(&sent, &arrivals)?;
    let late = sent[n_warm_up..].iter().map(|it| it.left_at - it.intended_at).collect();
    Ok(Run { times: Times::new(times[n_warm_up..].to_vec()), late: Times::new(late), usage })
}

/// How long each reply took; exactly one came for each webhook.
fn matched(sent: &[Sent], arrivals: &[Arrival]) -> anyhow::Result<Vec<Duration>> {
    let mut by_target: HashMap<Target, VecDeque<Instant>> = HashMap::new();
    for (at, target) in arrivals {
        by_target.entry(*target).or_default().push_back(*at);
    }
    let mut times = Vec::with_capacity(sent.len());
    for (n, sent) in sent.iter().enumerate() {
        let arrived = by_target.get_mut(&target(n)).and_then(VecDeque::pop_front);
        let arrived = arrived.with_context(|| format!("no reply for webhook {n}"))?;
        let time = arrived.checked_duration_since(sent.intended_at);
        times.push(time.with_context(|| format!("two replies for one before webhook {n}"))?);
    }
    let n_more: usize = by_target.values().map(VecDeque::len).sum();
    ensure!(n_more == 0, "{n_more} replies too many");
    Ok(times)
}

/// The simulated Wasender, in a thread of its own.
struct World {
    twin: Twin,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    fn start(arrivals: &Arrivals) -> anyhow::Result<Self> {
        let arrivals = Arc::clone(arrivals);
        let on_send = move |text: &str| {
            let now = Instant::now();
            // A text that is not ours would be missed, and that is told at the end.
            let Some(target) = read_reply(text) else { return };
            arrivals.lock().unwrap_or_else(PoisonError::into_inner).push((now, target));
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let twin = runtime.block_on(Twin::counting(Some(Box::new(on_send))))?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            // Dropped or sent, it is the end.
            let _ = runtime.block_on(stopped);
        });
        Ok(Self { twin, stop: Some(stop), thread: Some(thread) })
    }

    /// Adds each vendor's session; with an address, it reports there on each reply.
    fn add_sessions(&self, reports_to: Option<SocketAddr>) {
        for n in 0..VENDORS {
            let session = self.twin.add_session(NewSession {
                id: u64::try_from(n + 1).ok(),
                api_key: Some(session_key(n)),
                webhook_secret: Some(secret(n)),
                ..NewSession::new(&phone(n))
            });
            if let Some(address) = reports_to {
                let url = format!("http://{address}/api/webhooks/wasender/{}", vendor(n));
                self.twin.set_webhook(session.id, &url);
            }
        }
    }

    /// Waits for the last replies and for what is told of them.
    async fn settled(&self, n_sends: usize) {
        self.twin.wait_n_sends(n_sends, LAST_WITHIN).await;
        // What is missing by then shows in the figures.
        let _ = tokio::time::timeout(LAST_WITHIN, self.twin.idle()).await;
        // So that a reply too many would be seen.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // One that panicked has told so.
            let _ = thread.join();
        }
    }
}

/// Connections, to read from and to write to.
fn connect(address: SocketAddr) -> anyhow::Result<(Vec<TcpStream>, Vec<TcpStream>)> {
    let (mut readers, mut writers) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        readers.push(stream.try_clone()?);
        writers.push(stream);
    }
    Ok((readers, writers))
}

/// Sends each webhook when its time has come, over the connections in turn.
fn send(hooks: &Hooks, n_hooks: usize, mut streams: Vec<TcpStream>) -> anyhow::Result<Vec<Sent>> {
    let mut request = hooks.buffer();
    let mut sent = Vec::with_capacity(n_hooks);
    let start = Instant::now() + Duration::from_millis(100);
    let apart = Duration::from_secs(1) / u32::try_from(RATE)?;
    for n in 0..n_hooks {
        hooks.write(&mut request, n);
        let intended_at = start + apart * u32::try_from(n)?;
        thread::sleep(intended_at.saturating_duration_since(Instant::now()));
        let left_at = Instant::now();
        // A webhook is far smaller than a socket's buffer.
        streams[n % CONNECTIONS].write_all(&request).context("send")?;
        sent.push(Sent { intended_at, left_at });
    }
    Ok(sent)
}

/// Reads the answers, each of which must be 200, and counts them.
async fn read(streams: Vec<TcpStream>, n_hooks: usize) -> anyhow::Result<usize> {
    let mut readers = JoinSet::new();
    for (at, stream) in streams.into_iter().enumerate() {
        let n = (n_hooks - at).div_ceil(CONNECTIONS);
        let mut answers = Answers::new(tokio::net::TcpStream::from_std(stream)?);
        readers.spawn(async move {
            for _ in 0..n {
                answers.accepted().await?;
            }
            anyhow::Ok(n)
        });
    }
    let mut n_answered = 0;
    while let Some(read) = readers.join_next().await {
        n_answered += read??;
    }
    Ok(n_answered)
}
