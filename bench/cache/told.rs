//! How soon others know of a change, and what a request waits for a Redis that does not answer.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, runtime::Handle};
use waba_gateway::{
    app::{App, Listeners},
    cache::redis::request,
    config::Config,
    domain::{clock::Clock, id::VendorId, secret::ExposeSecret, vendor::Vendor},
    gateway::{Gateway, NewKey, VendorChange},
    store::SharedStore,
    telemetry,
    vault::Vault,
    vendor::WabaManager,
};

use super::{Server, Times, id, manager, vendor, verdict};

const CHANGES: usize = 500;
const CHANGES_IN_FIRESTORE: usize = 100;
const KEYS: usize = 50;
/// How often the server is stopped, and how many vendors are asked for meanwhile.
const STOPS: usize = 20;
const ASKED: usize = 20;
/// For what must come in the end.
const PATIENCE: Duration = Duration::from_mins(1);
const PROJECT: &str = "corner-shops";

/// Changes that one gateway makes, until the other one has what is new.
pub async fn through_redis(store: &SharedStore, vault: &Arc<Vault>) -> anyhow::Result<()> {
    let server = Server::start().await?;
    let (one, two) = (manager(store, vault, Some(&server))?, manager(store, vault, Some(&server))?);
    for it in [&one, &two] {
        until_used(it).await?;
    }
    let mut changes = two.listen().await.context("listen to redis-server")?;
    let listener = two.clone();
    let listening = tokio::spawn(async move {
        while let Some(subjects) = changes.next().await {
            listener.heard(&subjects);
        }
    });
    let mut times = Vec::new();
    for n in 0..CHANGES {
        let name = format!("Change {n}");
        two.known(&id(n)).await?.context("a vendor is missing")?;
        store.put_vendor(&Vendor { business_name: name.clone(), ..vendor(n) }).await?;
        let changed = Instant::now();
        one.forget(&id(n));
        one.announce().await;
        until_known(&two, &id(n), &name).await?;
        times.push(changed.elapsed());
    }
    listening.abort();
    let times = Times::new(times);
    let (middle, late, last) = (times.ms(500), times.ms(990), times.ms(1_000));
    println!(
        "Redis: a change is effective elsewhere: p50 {middle:.2} ms, p99 {late:.2} ms, at most {last:.2} ms"
    );
    verdict("effective everywhere within 1 s", last < 1_000.0);
    waits(store, vault, &server).await
}

/// Requests while the server is stopped (`SIGSTOP`).
async fn waits(store: &SharedStore, vault: &Arc<Vault>, server: &Server) -> anyhow::Result<()> {
    let one = manager(store, vault, Some(server))?;
    let (mut waited, mut without) = (Vec::new(), Vec::new());
    for n in 0..STOPS {
        until_used(&one).await?;
        one.forget_all();
        server.signal("STOP")?;
        for at in 0..ASKED {
            let asked = Instant::now();
            let found = request(one.known(&id(n * ASKED + at))).await;
            let all = if at == 0 { &mut waited } else { &mut without };
            all.push(asked.elapsed());
            found?.context("a vendor is missing")?;
        }
        server.signal("CONT")?;
    }
    let (first, others) = (Times::new(waited), Times::new(without));
    let (middle, last, next) = (first.ms(500), first.ms(1_000), others.ms(990));
    println!(
        "Redis that does not answer: the first request takes {middle:.1} ms, at most {last:.1} ms; those after it {next:.2} ms at p99"
    );
    verdict("no request waits longer than 50 ms for it", last < 50.0);
    Ok(())
}

/// Changes that one gateway makes in a Firestore, until the other one has what is new.
pub async fn through_firestore(directory: &Path) -> anyhow::Result<()> {
    let emulator = Emulator::start()?;
    let key = Vault::new_key()?;
    let metrics = telemetry::start_metrics()?;
    let start = async |name: &str| {
        let variables = [
            ("STORE", "firestore".to_owned()),
            ("FIREBASE_PROJECT_ID", PROJECT.to_owned()),
            ("FIRESTORE_EMULATOR_HOST", emulator.host.clone()),
            ("ENCRYPTION_KEY", key.expose_secret().to_owned()),
            ("ADMIN_API_KEY", "an-admin-key-of-the-bench-0123456789abcdef".to_owned()),
            ("DATA_DIR", directory.join(name).display().to_string()),
        ];
        gateway(&variables, &metrics).await
    };
    let (one, two) = (start("one").await?, start("two").await?);
    let mut times = Vec::new();
    for n in 0..CHANGES_IN_FIRESTORE {
        let vendor = id(n % 10);
        let name = format!("Change {n}");
        let change = VendorChange { business_name: Some(name.clone()), ..VendorChange::default() };
        let changed = Instant::now();
        one.gateway.put_vendor(&vendor, change).await?;
        until_known(two.gateway.manager(), &vendor, &name).await?;
        // What was made was remembered by nobody.
        if n >= 10 {
            times.push(changed.elapsed());
        }
    }
    let revoked = revoked(&one.gateway, &two.gateway).await?;
    one.stop().await;
    two.stop().await;
    let times = Times::new(times);
    let (middle, last) = (times.ms(500), times.ms(1_000));
    println!(
        "Firestore: a change is effective elsewhere, its write included: p50 {middle:.0} ms, at most {last:.0} ms"
    );
    verdict("effective on every node within 2 s", last < 2_000.0);
    let (middle, last) = (revoked.ms(500), revoked.ms(1_000));
    println!(
        "Firestore: a key that is revoked is refused elsewhere: p50 {middle:.0} ms, at most {last:.0} ms"
    );
    verdict("revoked everywhere within 1 s", last < 1_000.0);
    Ok(())
}

/// How long a key that one gateway revokes is taken by another that has just taken it.
async fn revoked(one: &Gateway, two: &Gateway) -> anyhow::Result<Times> {
    let mut times = Vec::new();
    for n in 0..KEYS {
        let (name, vendor) = (format!("Key {n}"), Some(id(0)));
        let new = NewKey { name, vendor, read_only: false, expires_at: None };
        let (key, secret) = one.create_key(new).await?;
        two.caller(secret.expose_secret()).await.context("a key that is there is refused")?;
        ensure!(one.revoke_key(&key.id).await?, "there is no such key");
        let revoked = Instant::now();
        while two.caller(secret.expose_secret()).await.is_ok() {
            ensure!(revoked.elapsed() < PATIENCE, "a revoked key is taken for ever");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(revoked.elapsed());
    }
    Ok(Times::new(times))
}

async fn gateway(
    variables: &[(&'static str, String)],
    metrics: &PrometheusHandle,
) -> anyhow::Result<App> {
    let lookup = |name: &str| variables.iter().find(|it| it.0 == name).map(|it| it.1.clone());
    let config = Config::from_lookup(lookup)?;
    let main = TcpListener::bind("127.0.0.1:0").await?;
    let listeners = Listeners { main, metrics: None };
    App::start(&config, Clock::System, listeners, metrics.clone(), &Handle::current()).await
}

async fn until_used(it: &WabaManager) -> anyhow::Result<()> {
    let started = Instant::now();
    while !it.uses_redis() {
        ensure!(started.elapsed() < PATIENCE, "redis-server does not answer");
        it.look_at_redis().await;
    }
    Ok(())
}

async fn until_known(it: &WabaManager, vendor: &VendorId, name: &str) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let known = it.known(vendor).await?;
        if known.is_some_and(|it| it.vendor.business_name == name) {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "a change never became effective");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// `tests/firestore-emulator`; killed when dropped.
struct Emulator {
    child: Child,
    host: String,
}

impl Emulator {
    fn start() -> anyhow::Result<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/firestore-emulator");
        ensure!(
            directory.join("node_modules").exists(),
            "run `npm ci --ignore-scripts` in tests/firestore-emulator first"
        );
        let mut child = Command::new("node")
            .arg("server.js")
            .current_dir(directory)
            .env("FIRESTORE_EMULATOR_HOST", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start node")?;
        let mut line = String::new();
        let output = child.stdout.take().context("node has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let host = line.split(' ').nth(1).context("the emulator did not say where it is")?;
        Ok(Self { host: host.to_owned(), child })
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
