//! Killed with 100,000 entries waiting: how soon it answers again, and works on what was left.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use waba_gateway::store::Store;

use crate::{
    harness::{
        figures::{Table, count, verdict},
        gateway::{Data, Replies},
        hook::{Hooks, Shape, VENDORS},
        http::Messages,
        load::send_all,
        provider::{Behaviour, Event, Provider},
    },
    intake::settle,
};

const ENTRIES: usize = 100_000;
const CONNECTIONS: usize = 64;
/// Enough that nobody asks so often that it looks like two bots talking.
const CUSTOMERS: usize = 100;
const FIRST_MAX_MS: f64 = 1_000.0;
const TAKEN_UP_MAX_MS: f64 = 5_000.0;
const ALL_WITHIN: Duration = Duration::from_secs(30);

/// When each vendor's first send arrived.
type Firsts = Arc<Mutex<Vec<Option<Instant>>>>;

pub fn run(directory: &Path, runs: usize) -> anyhow::Result<()> {
    println!("waiting: killed with {ENTRIES} entries waiting for {VENDORS} vendors' sends");
    let shape =
        Shape { customers_per_vendor: CUSTOMERS, n_signed: ENTRIES + 1, ..Shape::default() };
    let hooks = Arc::new(Hooks::new(shape)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(&[
        ("known", 0),
        ("first 200 ms", 0),
        ("1st send ms", 0),
        ("all ms", 0),
        ("rss MB", 1),
    ]);
    for n in 0..runs {
        let place = directory.join(format!("waiting-{n}"));
        table.add(runtime.block_on(one(&place, &hooks))?.to_vec());
        settle(&place)?;
    }
    let medians = table.medians();
    verdict(&format!("first 200 within {FIRST_MAX_MS} ms"), medians[1] <= FIRST_MAX_MS);
    let name = format!("every vendor's work taken up within {TAKEN_UP_MAX_MS} ms");
    verdict(&name, medians[3] <= TAKEN_UP_MAX_MS);
    Ok(())
}

async fn one(place: &Path, hooks: &Arc<Hooks>) -> anyhow::Result<[f64; 5]> {
    let data = Data::make(place, VENDORS, |_| Replies::Rules).await?;
    // So that nothing is sent before the kill.
    let (journal, store) = data.open().await?;
    store.pause(None, true).await?;
    journal.db().close();
    let firsts: Firsts = Arc::new(Mutex::new(vec![None; VENDORS]));
    let provider = provider(&firsts)?;

    let gateway = data.start(&provider.api_url())?;
    send_all(gateway.address, hooks, CONNECTIONS, 0, ENTRIES).await?;
    gateway.process.kill();

    let killed_at = Instant::now();
    let gateway = data.start(&provider.api_url())?;
    send_all(gateway.address, hooks, 1, ENTRIES, 1).await?;
    let first_at = Instant::now();
    let n_known = gateway.counter("waba_journal_waiting").await?;
    resume(&data.admin_key()?, gateway.address).await?;
    let vendors = wait_for_all(&firsts).await?;
    let usage = gateway.process.usage()?;
    gateway.process.terminate()?;
    let ledger = data.ledger().await?;
    let n_left = ledger.intents_sent + ledger.intents_waiting + ledger.events_waiting;
    ensure!(
        usize::try_from(ledger.accepted)? == ENTRIES + 1 && usize::try_from(n_left)? == ENTRIES + 1,
        "{ENTRIES} and 1 were answered 200, and the ledger has {ledger:?}"
    );
    let ms = |it: Instant| (it - killed_at).as_secs_f64() * 1_000.0;
    ensure!(n_known >= count(ENTRIES), "the scheduler knows {n_known} entries of {ENTRIES}");
    let first_send = vendors.iter().min().context("a first send")?;
    let last = vendors.iter().max().context("a last vendor")?;
    Ok([n_known, ms(first_at), ms(*first_send), ms(*last), usage.rss])
}

fn provider(firsts: &Firsts) -> anyhow::Result<Provider> {
    let firsts = Arc::clone(firsts);
    let on_event = move |event, target: crate::harness::hook::Target| {
        if event == Event::Taken {
            let mut firsts = firsts.lock().unwrap_or_else(PoisonError::into_inner);
            firsts[target.vendor].get_or_insert_with(Instant::now);
        }
    };
    Provider::start(Behaviour { reports: None, hangs_for: None, on_event: Box::new(on_event) })
}

async fn wait_for_all(firsts: &Firsts) -> anyhow::Result<Vec<Instant>> {
    let waiting_since = Instant::now();
    loop {
        let all: Option<Vec<Instant>> =
            firsts.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        if let Some(all) = all {
            return Ok(all);
        }
        ensure!(waiting_since.elapsed() < ALL_WITHIN, "some vendors' work was not taken up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Lets everybody's sends go on, as an admin does.
async fn resume(key: &str, gateway: std::net::SocketAddr) -> anyhow::Result<()> {
    let request = format!(
        "POST /api/admin/resume HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\
         content-length: 0\r\n\r\n"
    );
    let mut stream = TcpStream::connect(gateway).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut messages = Messages::new(stream);
    let answer = messages.next().await?.context("no answer")?;
    ensure!(answer.is_ok(), "not resumed: {}", String::from_utf8_lossy(answer.head));
    Ok(())
}
