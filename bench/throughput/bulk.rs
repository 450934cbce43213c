//! One message to 100,000 recipients, as fast as the provider allows the numbers it leaves from:
//! as one job of one number, and as a job for each of several.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    harness::{
        figures::{Table, count, rate, verdict},
        gateway::{Data, Replies},
        hook::vendor,
        http::Messages,
    },
    intake::settle,
    sends::{at_meta, customer},
    slow::{LATENCY, Slow},
};

const RECIPIENTS: usize = 100_000;
const NUMBERS: usize = 20;
/// What Meta allows a number (`docs/wire/meta-unipile-twilio.md` B6).
const ALLOWED: f64 = 80.0;
/// Of that, what is met.
const SHARE_MIN: f64 = 0.95;
/// How long the job of one number is looked at: all of it would take 21 minutes.
const ONE_FOR: Duration = Duration::from_secs(20);
/// For the jobs of several numbers, several times what they should take.
const ALL_WITHIN: Duration = Duration::from_mins(8);

/// The job of one number.
struct One {
    taken_in: Duration,
    rate: f64,
}

/// The jobs of several numbers.
struct Several {
    rate: f64,
    cpu_us: f64,
    peak: f64,
}

pub fn run(directory: &Path, runs: usize) -> anyhow::Result<()> {
    println!(
        "bulk: {RECIPIENTS} recipients, a provider that takes {} ms and allows a number {ALLOWED}/s; one number for {} s, then {NUMBERS} to the end",
        LATENCY.as_millis(),
        ONE_FOR.as_secs()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(&[
        ("taken s", 2),
        ("one/s", 1),
        ("several/s", 1),
        ("cpu us", 0),
        ("peak MB", 1),
    ]);
    for n in 0..runs {
        let place = directory.join(format!("bulk-{n}"));
        let one = runtime.block_on(one(&place.join("one")))?;
        let several = runtime.block_on(several(&place.join("several")))?;
        settle(&place)?;
        table.add(vec![
            one.taken_in.as_secs_f64(),
            one.rate,
            several.rate,
            several.cpu_us,
            several.peak,
        ]);
    }
    let medians = table.medians();
    println!("each of the {RECIPIENTS} recipients of {NUMBERS} jobs was sent to once");
    verdict("one number at its pace", medians[1] >= ALLOWED * SHARE_MIN);
    let allowed = ALLOWED * count(NUMBERS);
    verdict(&format!("{NUMBERS} numbers at theirs"), medians[2] >= allowed * SHARE_MIN);
    Ok(())
}

async fn one(place: &Path) -> anyhow::Result<One> {
    let data = Data::make_at(place, 1, |_| Replies::None, at_meta).await?;
    let slow = Slow::start()?;
    let gateway = data.start(&slow.url())?;
    let key = data.admin_key()?;
    let started_at = Instant::now();
    hand_in(gateway.address, &key, 0, 0..RECIPIENTS).await?;
    let taken_in = started_at.elapsed();
    tokio::time::sleep(ONE_FOR).await;
    let arrivals = slow.arrivals()?;
    // What is on its way is waited for.
    gateway.process.terminate()?;
    let (n_sent, ledger) = (slow.arrivals()?.len(), data.ledger().await?);
    ensure!(
        usize::try_from(ledger.intents_sent)? == n_sent,
        "{n_sent} were sent, and the ledger has {ledger:?}"
    );
    Ok(One { taken_in, rate: rate_of(&arrivals) })
}

async fn several(place: &Path) -> anyhow::Result<Several> {
    let data = Data::make_at(place, NUMBERS, |_| Replies::None, at_meta).await?;
    let slow = Slow::start()?;
    let gateway = data.start(&slow.url())?;
    let key = data.admin_key()?;
    let before = gateway.process.usage()?;
    let each = RECIPIENTS / NUMBERS;
    for n in 0..NUMBERS {
        hand_in(gateway.address, &key, n, n * each..(n + 1) * each).await?;
    }
    let arrivals = slow.all(RECIPIENTS, Instant::now() + ALL_WITHIN).await?;
    let after = gateway.process.usage()?;
    gateway.process.terminate()?;
    let ledger = data.ledger().await?;
    ensure!(
        usize::try_from(ledger.intents_sent)? == RECIPIENTS && ledger.intents_waiting == 0,
        "{RECIPIENTS} were sent to, and the ledger has {ledger:?}"
    );
    let cpu_us = (after.cpu - before.cpu) * 1e6 / count(RECIPIENTS);
    Ok(Several { rate: rate_of(&arrivals), cpu_us, peak: after.peak })
}

/// How many a second, from the first to the last.
fn rate_of(arrivals: &[Instant]) -> f64 {
    let lasted = match arrivals {
        [first, .., last] => last.saturating_duration_since(*first),
        _ => return 0.0,
    };
    rate(arrivals.len() - 1, lasted)
}

/// Hands in a vendor's job, and waits until it is taken.
async fn hand_in(
    gateway: SocketAddr,
    key: &str,
    of: usize,
    customers: std::ops::Range<usize>,
) -> anyhow::Result<()> {
    let text = json!({ "type": "text", "text": "Awa {{order}}" });
    let components = json!([{ "type": "body", "parameters": [text] }]);
    let template = json!({ "name": "order_ready", "language": "fr", "components": components });
    let mut body = json!({ "message": { "type": "template", "template": template } }).to_string();
    body.push_str("\nto,order\n");
    for n in customers {
        writeln!(body, "{},{n}", customer(n))?;
    }
    let head = format!(
        "POST /api/v1/vendors/{}/messages/bulk HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\
         content-type: text/csv\r\ncontent-length: {}\r\n\r\n",
        vendor(of),
        body.len()
    );
    let (read, mut write) = TcpStream::connect(gateway).await.context("connect")?.into_split();
    write.write_all(head.as_bytes()).await.context("send")?;
    write.write_all(body.as_bytes()).await.context("send the recipients")?;
    let mut answers = Messages::new(read);
    let answer = answers.next().await?.context("the gateway is gone")?;
    let is_taken = answer.head.starts_with(b"HTTP/1.1 202 ");
    ensure!(is_taken, "not taken: {}", String::from_utf8_lossy(answer.body));
    Ok(())
}
