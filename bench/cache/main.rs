//! Measures what remembering vendors costs: `cargo bench --bench cache`. It starts a `redis-server`
//! of its own. What the figures mean, and what they were, is in `docs/PERFORMANCE.md`.

#[expect(dead_code, reason = "the other benches use the rest")]
#[path = "../harness/figures.rs"]
mod figures;
mod server;
mod told;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;
use waba_gateway::{
    app,
    config::Config,
    domain::{
        clock::Clock,
        event::Connection,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        vendor::{Dialect, ResponderConfig, ResponseApi, Vendor},
        waba::{
            ProviderKind, Routes, SignatureSchemes, WabaInstance, WasenderAccount, WebhookSecret,
        },
    },
    journal::SqliteJournal,
    store::{SharedStore, SqliteStore, Store},
    vault::Vault,
    vendor::{Source, WabaManager},
};

use self::{
    figures::{Times, count, verdict},
    server::Server,
};

// As the gateway has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Vendors read before memory is measured, so that what is made once is there.
const FIRST: usize = 2_000;
const HITS: usize = 2_000_000;
/// Vendors that are read through Redis, and how many ask at once.
const IN_REDIS: usize = 20_000;
const AT_ONCE: usize = 16;
/// For a vendor to be in Redis.
const PUT_WITHIN: Duration = Duration::from_mins(1);

/// Measures what remembering vendors costs on this machine. A figure that is missed is told and no
/// failure.
#[derive(Parser)]
struct Arguments {
    /// Vendors, each with one number at Wasender.
    #[arg(long, default_value_t = 100_000)]
    vendors: usize,
    /// Measures how soon a change is effective elsewhere through a Firestore, and nothing else;
    /// needs node and `(cd tests/firestore-emulator && npm ci --ignore-scripts)`.
    #[arg(long)]
    firestore: bool,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("run it with `cargo bench`: without optimisation there is nothing to measure");
        return Ok(());
    }
    let under = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = tempfile::tempdir_in(under).context("make a directory for the data")?;
    if arguments.firestore {
        return told::through_firestore(directory.path()).await;
    }
    let n = arguments.vendors.max(1);
    let (store, vault) = filled(directory.path(), FIRST + n).await?;
    memory(&store, &vault, n).await?;
    redis(&store, &vault, n.min(IN_REDIS)).await?;
    told::through_redis(&store, &vault).await
}

/// Bytes for each vendor, and the time of a hit.
async fn memory(store: &SharedStore, vault: &Arc<Vault>, n: usize) -> anyhow::Result<()> {
    let manager = manager(store, vault, None)?;
    for at in 0..FIRST {
        manager.known(&id(at)).await?;
    }
    let before = resident()?;
    for at in FIRST..FIRST + n {
        manager.known(&id(at)).await?.context("a vendor is missing")?;
    }
    let bytes = resident()?.saturating_sub(before);
    let each = count(bytes) / count(n);
    ensure!(manager.n_remembered() >= n.min(100_000), "not all of them are remembered");
    println!("memory: {n} vendors, {each:.0} bytes each");
    verdict("at most 1,536 bytes for each vendor", each <= 1_536.0);

    // In no order, so that the processor's caches do not have them.
    let ids: Vec<VendorId> = (0..n).map(|at| id(FIRST + at * 7_919 % n)).collect();
    let (started, mut n_found) = (Instant::now(), 0);
    for at in 0..HITS {
        n_found += usize::from(manager.known(&ids[at % n]).await?.is_some());
    }
    let each = started.elapsed().as_secs_f64() / count(HITS) * 1e9;
    ensure!(n_found == HITS, "a vendor is missing");
    println!("memory: a hit takes {each:.0} ns in the middle of {HITS}");
    verdict("a hit in memory under 1 µs", each < 1_000.0);
    Ok(())
}

/// The time of a hit in Redis.
async fn redis(store: &SharedStore, vault: &Arc<Vault>, n: usize) -> anyhow::Result<()> {
    let server = Server::start().await?;
    let (one, two) = (manager(store, vault, Some(&server))?, manager(store, vault, Some(&server))?);
    for it in [&one, &two] {
        it.look_at_redis().await;
        ensure!(it.uses_redis(), "redis-server does not answer");
    }
    let started = Instant::now();
    while server.n_values().await? < n {
        ensure!(started.elapsed() < PUT_WITHIN, "not all vendors are put into Redis");
        one.forget_all();
        for at in 0..n {
            one.known(&id(at)).await?;
            tokio::task::yield_now().await;
        }
    }
    let (before, mut asked) = (server.n_hits().await?, Vec::new());
    for part in 0..AT_ONCE {
        let two = two.clone();
        asked.push(tokio::spawn(async move {
            let mut times = Vec::new();
            for at in (part..n).step_by(AT_ONCE) {
                let started = Instant::now();
                two.known(&id(at)).await?.context("a vendor is missing")?;
                times.push(started.elapsed());
            }
            Ok::<_, anyhow::Error>(times)
        }));
    }
    let mut times = Vec::with_capacity(n);
    for it in asked {
        times.extend(it.await??);
    }
    let n_hits = server.n_hits().await? - before;
    ensure!(n_hits >= n, "{n_hits} of {n} were found in Redis");
    let times = Times::new(times);
    let (middle, late) = (times.ms(500), times.ms(990));
    println!("Redis: {n} hits, {AT_ONCE} at once: p50 {middle:.3} ms, p99 {late:.3} ms");
    verdict("a hit in Redis under 1 ms at p99", late < 1.0);
    Ok(())
}

fn manager(
    store: &SharedStore,
    vault: &Arc<Vault>,
    server: Option<&Server>,
) -> anyhow::Result<WabaManager> {
    let url = server.map(Server::url);
    let lookup = |name: &str| url.clone().filter(|_| name == "REDIS_URL");
    let config = Config::from_lookup(lookup)?;
    app::manager(&config, &Clock::System, Source::new(Arc::clone(store)), Arc::clone(vault))
}

/// A store with so many vendors.
async fn filled(directory: &Path, n: usize) -> anyhow::Result<(SharedStore, Arc<Vault>)> {
    let vault = Arc::new(Vault::new(&Vault::new_key()?, &[])?);
    let journal = SqliteJournal::open(&directory.join("waba.db"), Arc::clone(&vault))?;
    let store = SqliteStore::new(journal.db().clone(), Arc::clone(&vault));
    for first in (0..n).step_by(1_000) {
        let these = first..n.min(first + 1_000);
        let vendors: Vec<Vendor> = these.clone().map(vendor).collect();
        let instances = these.map(instance).collect::<anyhow::Result<Vec<WabaInstance>>>()?;
        store.put_all(&vendors, &instances).await?;
    }
    Ok((Arc::new(store), vault))
}

/// One with a bot and a greeting, as most have.
fn vendor(n: usize) -> Vendor {
    let secret = format!("whsec_{n:0>44}");
    let mut vendor = Vendor::new(id(n), format!("Boutique du marché {n}"), secret.into(), 0);
    vendor.welcome_message =
        Some("Bonjour et bienvenue ! Comment pouvons-nous vous aider ?".to_owned());
    vendor.responders = vec![ResponderConfig::ResponseApi(ResponseApi {
        url: format!("https://bots.example.com/vendors/{n}/answer"),
        headers: vec![("x-api-key".to_owned(), format!("{n:0>40}").into())],
        dialect: Dialect::Bot,
    })];
    vendor
}

fn instance(n: usize) -> anyhow::Result<WabaInstance> {
    let secret =
        WebhookSecret { secret: format!("{n:0>40}").into(), until: None, is_sessions: true };
    Ok(WabaInstance {
        id: InstanceId::nth(&id(n), 1),
        vendor_id: id(n),
        phone_number: PhoneNumber::from_wire(&format!("+22177{n:07}"))?,
        provider: ProviderKind::Wasender,
        failover: Routes::default(),
        meta: None,
        unipile: None,
        twilio: None,
        status: Connection::Connected,
        schemes: SignatureSchemes::default(),
        account_protection: false,
        wasender: WasenderAccount {
            instance_id: Some((100_000 + n).to_string()),
            session_key: Some(format!("{n:0>64}").into()),
            webhook_secrets: vec![secret],
            token: None,
        },
        created_at: 0,
        updated_at: 0,
        last_sync: Some(0),
    })
}

fn id(n: usize) -> VendorId {
    VendorId::parse(&format!("vendor_{n:06}")).expect("letters and digits are an id")
}

/// Bytes of this process in memory.
fn resident() -> anyhow::Result<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").context("read /proc/self/statm")?;
    let pages: usize = text.split(' ').nth(1).context("statm has no second number")?.parse()?;
    Ok(pages * rustix::param::page_size())
}
