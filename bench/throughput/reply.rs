//! From webhook to reply, at a steady rate: a webhook leaves when its time has come, whatever
//! became of those before it, and its reply's time counts from then.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::sync::oneshot;
use waba_gateway::twin::{NewSession, Twin};

use crate::harness::{
    figures::{Table, Times, verdict},
    gateway::{Data, Replies, phone, session_key, word_of},
    hook::{Hooks, Shape, VENDORS, secret, vendor},
    open::{Exchange, Load, open_loop},
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
    let hooks = Arc::new(Hooks::new(Shape { n_signed: n_hooks, ..Shape::default() })?);
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
    let data = runtime.block_on(Data::make(place, VENDORS, |_| Replies::Rules))?;
    let arrivals = Arrivals::default();
    let world = World::start(&arrivals)?;
    let gateway = data.start(&world.twin.api_url())?;
    world.add_sessions(echoes.then_some(gateway.address));

    let load = Load {
        address: gateway.address,
        hooks: Arc::clone(hooks),
        n_hooks,
        rate: RATE,
        n_connections: CONNECTIONS,
    };
    let sent = runtime.block_on(open_loop(load))?;
    runtime.block_on(world.settled(n_hooks));
    let usage = gateway.process.usage()?;
    gateway.process.terminate()?;

    let ledger = runtime.block_on(data.ledger())?;
    ensure!(usize::try_from(ledger.created) == Ok(n_hooks), "the ledger has {ledger:?}");
    let arrivals = std::mem::take(&mut *arrivals.lock().unwrap_or_else(PoisonError::into_inner));
    let times = matched(hooks, &sent, &arrivals)?;
    let late = Exchange::late(&sent[n_warm_up..]);
    Ok(Run { times: Times::new(times[n_warm_up..].to_vec()), late, usage })
}

/// How long each reply took; exactly one came for each webhook.
fn matched(
    hooks: &Hooks,
    sent: &[Exchange],
    arrivals: &[Arrival],
) -> anyhow::Result<Vec<Duration>> {
    let mut by_target: HashMap<Target, VecDeque<Instant>> = HashMap::new();
    for (at, target) in arrivals {
        by_target.entry(*target).or_default().push_back(*at);
    }
    let mut times = Vec::with_capacity(sent.len());
    for (n, sent) in sent.iter().enumerate() {
        let target = hooks.target(n);
        let arrived = by_target.get_mut(&(target.vendor, target.word));
        let arrived = arrived.and_then(VecDeque::pop_front);
        let arrived = arrived.with_context(|| format!("no reply for webhook {n}"))?;
        let time = arrived.checked_duration_since(sent.intended_at);
        times.push(time.with_context(|| format!("two replies for one before webhook {n}"))?);
    }
    let n_more: usize = by_target.values().map(VecDeque::len).sum();
    ensure!(n_more == 0, "{n_more} replies too many");
    Ok(times)
}

/// The vendor and the word that a reply's text names.
fn read_reply(text: &str) -> Option<Target> {
    let vendor = text.split(' ').next()?.strip_prefix("vendor_")?.parse().ok()?;
    Some((vendor, word_of(text)?))
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
