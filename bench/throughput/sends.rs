//! Sends that fall due one after another, to a provider that takes its time for each, beside a
//! program that only makes the same HTTP calls with the same client at the same times.

use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};
use url::Url;
use waba_gateway::{
    domain::{
        account::MetaAccount,
        clock::{Clock, Millis},
        waba::{ProviderKind, WabaInstance, WasenderAccount},
    },
    http::{Allow, Http, Request, Trust},
};

use crate::{
    harness::{
        figures::{Table, Times, count, verdict},
        gateway::{Data, Gateway, Replies},
        hook::{VENDORS, vendor},
        http::Messages,
        process::Process,
    },
    intake::settle,
    slow::{LATENCY, Slow},
};

/// Connections that messages are handed in over.
const CONNECTIONS: usize = 32;
const CPU_MAX_US: f64 = 100.0;
const LATE_MAX_MS: f64 = 1_000.0;
/// Connections to the provider: for each that the calls alone need, and sends of each.
const CONNECTIONS_MAX: f64 = 2.0;
const SENDS_EACH_MIN: f64 = 10.0;
/// Until the last answer, once the last has fallen due.
const LAST_WITHIN: Duration = Duration::from_secs(20);

/// What is sent.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Sends that fall due in a second.
    pub rate: usize,
    pub seconds: u64,
}

impl Plan {
    pub fn n_sends(self) -> anyhow::Result<usize> {
        Ok(self.rate * usize::try_from(self.seconds)?)
    }

    /// When the last answer has come, at the latest.
    fn last(self, start: Instant) -> anyhow::Result<Instant> {
        Ok(start + self.due(self.n_sends()?) + LAST_WITHIN)
    }

    /// When the `n`th falls due, after the first.
    pub fn due(self, n: usize) -> Duration {
        let (n, rate) = (u32::try_from(n), u32::try_from(self.rate));
        Duration::from_secs(1) * n.unwrap_or(u32::MAX) / rate.unwrap_or(u32::MAX)
    }
}

/// What one of the two did.
pub struct Run {
    /// From when a send was due until the provider had it.
    pub late: Times,
    /// How many a second, from the first to the last.
    pub rate: f64,
    /// Processor time of each send, in microseconds.
    pub cpu_us: f64,
    pub n_connections: usize,
}

pub fn run(directory: &Path, runs: usize, plan: Plan) -> anyhow::Result<()> {
    let (n_sends, wanted) = (plan.n_sends()?, plan.rate);
    println!(
        "sends: {wanted}/s over {VENDORS} vendors to a provider that takes {} ms, {n_sends} a run",
        LATENCY.as_millis()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(&[
        ("sends/s", 0),
        ("late p50", 1),
        ("late p99", 1),
        ("cpu us", 0),
        ("calls' us", 0),
        ("beside us", 0),
        ("commits", 2),
        ("statements", 1),
        ("conns", 0),
        ("calls'", 0),
    ]);
    for n in 0..runs {
        let place = directory.join(format!("sends-{n}"));
        let (ours, [commits, statements]) = runtime.block_on(gateway(&place, plan))?;
        settle(&place)?;
        let floor = runtime.block_on(floor(plan))?;
        table.add(vec![
            ours.rate,
            ours.late.ms(500),
            ours.late.ms(990),
            ours.cpu_us,
            floor.cpu_us,
            ours.cpu_us - floor.cpu_us,
            commits,
            statements,
            count(ours.n_connections),
            count(floor.n_connections),
        ]);
    }
    let medians = table.medians();
    println!("each of the {n_sends} messages of a run was sent once");
    verdict(&format!("{wanted} sends/s, each within {LATE_MAX_MS} ms"), medians[2] <= LATE_MAX_MS);
    verdict(&format!("at most {CPU_MAX_US} us beside the call"), medians[5] <= CPU_MAX_US);
    let (ours, floors) = (medians[8], medians[9]);
    let are_reused = ours <= CONNECTIONS_MAX * floors && ours <= count(n_sends) / SENDS_EACH_MIN;
    let most = format!("at most {CONNECTIONS_MAX} connections for each of the calls'");
    verdict(&format!("{most}, each for {SENDS_EACH_MIN} sends or more"), are_reused);
    Ok(())
}

/// The gateway's sends: handed in before, each with its time.
async fn gateway(place: &Path, plan: Plan) -> anyhow::Result<(Run, [f64; 2])> {
    let n_sends = plan.n_sends()?;
    let data = Data::make_at(place, VENDORS, |_| Replies::None, at_meta).await?;
    let slow = Slow::start()?;
    let gateway = data.start(&slow.url())?;
    let handed_in_at = Instant::now();
    // Time enough to hand them in, at half of what is usual.
    let ahead = Duration::from_millis(u64::try_from(n_sends)?) + Duration::from_secs(2);
    let first_due = Clock::System.now() + Millis::try_from(ahead.as_millis())?;
    hand_in(gateway.address, &data.admin_key()?, plan, first_due).await?;
    let start = handed_in_at + ahead;
    ensure!(Instant::now() < start, "they were not handed in in time");
    tokio::time::sleep_until(start.into()).await;
    let before = gateway.process.usage()?;
    let [commits, statements] = writes(&gateway).await?;
    let arrivals = slow.all(n_sends, plan.last(start)?).await?;
    let after = gateway.process.usage()?;
    let written = writes(&gateway).await?;
    gateway.process.terminate()?;
    let ledger = data.ledger().await?;
    ensure!(
        usize::try_from(ledger.intents_sent)? == n_sends && ledger.intents_waiting == 0,
        "{n_sends} were sent, and the ledger has {ledger:?}"
    );
    let of_each = |it: f64| it / count(n_sends);
    let run = slow.tell(plan, &arrivals, start, after.cpu - before.cpu);
    Ok((run, [of_each(written[0] - commits), of_each(written[1] - statements)]))
}

/// Commits and statements so far.
async fn writes(gateway: &Gateway) -> anyhow::Result<[f64; 2]> {
    let commits = gateway.counter("waba_commits_total").await?;
    Ok([commits, gateway.counter("waba_statements_total").await?])
}

/// The HTTP calls alone.
async fn floor(plan: Plan) -> anyhow::Result<Run> {
    let slow = Slow::start()?;
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.args(["--calls", &slow.address.to_string()]);
    command.args(["--rate", &plan.rate.to_string(), "--seconds", &plan.seconds.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("start the calls")?;
    let mut ready = [0];
    child.stdout.take().context("its output")?.read_exact(&mut ready).context("wait for it")?;
    let mut go = child.stdin.take().context("its input")?;
    let process = Process::new(child);
    let (before, n_sends) = (process.usage()?, plan.n_sends()?);
    let start = Instant::now();
    go.write_all(b"g").context("let it start")?;
    let arrivals = slow.all(n_sends, plan.last(start)?).await?;
    let after = process.usage()?;
    Ok(slow.tell(plan, &arrivals, start, after.cpu - before.cpu))
}

/// Makes the calls, as a process of its own, until its input ends.
pub fn calls(address: SocketAddr, plan: Plan) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let http = Http::new(Arc::new(Nothing))?;
        let n_sends = plan.n_sends()?;
        let mut urls = Vec::new();
        for n in 0..VENDORS {
            urls.push(Url::parse(&format!("http://{address}/{}/messages", number_id(n)))?);
        }
        std::io::stdout().write_all(b"r")?;
        std::io::stdout().flush()?;
        std::io::stdin().read_exact(&mut [0])?;
        let (start, urls) = (Instant::now(), Arc::new(urls));
        let mut under_way = JoinSet::new();
        for n in 0..n_sends {
            tokio::time::sleep_until((start + plan.due(n)).into()).await;
            let (http, urls) = (http.clone(), Arc::clone(&urls));
            under_way.spawn(async move { call(&http, &urls[n % VENDORS], n).await });
            while let Some(done) = under_way.try_join_next() {
                done??;
            }
        }
        while let Some(done) = under_way.join_next().await {
            done??;
        }
        // Measured until then.
        std::io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    })
}

async fn call(http: &Http, url: &Url, n: usize) -> anyhow::Result<()> {
    let mut headers = HeaderMap::new();
    let token = format!("Bearer {}", token(n % VENDORS));
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&token)?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": customer(n).trim_start_matches('+'),
        "biz_opaque_callback_data": format!("{n:026}"),
        "type": "template",
        "template": template(n),
    });
    let body = Some(body.to_string().into_bytes());
    let timeout = Duration::from_secs(30);
    let trust = Trust::Operator;
    let request = Request { method: Method::POST, url, trust, headers, body, timeout };
    let reply = http.send(request).await?;
    ensure!(reply.status == StatusCode::OK, "refused: {}", reply.status);
    let _: serde_json::Value = serde_json::from_slice(&reply.body)?;
    Ok(())
}

struct Nothing;

impl Allow for Nothing {
    fn allows(&self, _host: &str, _address: IpAddr) -> bool {
        false
    }
}

/// Hands all of them in.
async fn hand_in(
    gateway: SocketAddr,
    key: &str,
    plan: Plan,
    first_due: Millis,
) -> anyhow::Result<()> {
    let n_sends = plan.n_sends()?;
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (next, key) = (Arc::clone(&next), key.to_owned());
        let (read, mut write) = TcpStream::connect(gateway).await.context("connect")?.into_split();
        let mut answers = Messages::new(read);
        callers.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= n_sends {
                    return anyhow::Ok(());
                }
                let due = Millis::try_from(plan.due(n).as_millis())?;
                write
                    .write_all(request(&key, n, first_due + due)?.as_bytes())
                    .await
                    .context("send")?;
                let answer = answers.next().await?.context("the gateway is gone")?;
                let is_taken = answer.head.starts_with(b"HTTP/1.1 202 ");
                ensure!(is_taken, "not taken: {}", String::from_utf8_lossy(answer.body));
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    Ok(())
}

fn request(key: &str, n: usize, due: Millis) -> anyhow::Result<String> {
    let at = jiff::Timestamp::from_millisecond(due)?.to_string();
    let body =
        json!({ "to": customer(n), "type": "template", "template": template(n), "sendAt": at })
            .to_string();
    let mut request = String::new();
    write!(
        request,
        "POST /api/v1/vendors/{}/messages HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        vendor(n % VENDORS),
        body.len()
    )?;
    Ok(request)
}

/// Each round of the vendors has customers of its own.
pub fn customer(n: usize) -> String {
    format!("+22177{n:07}")
}

fn template(n: usize) -> serde_json::Value {
    let text = json!({ "type": "text", "text": format!("Awa {n}") });
    let components = json!([{ "type": "body", "parameters": [text] }]);
    json!({ "name": "order_ready", "language": "fr", "components": components })
}

fn number_id(vendor: usize) -> String {
    format!("{}", 100_000_000_000_000_usize + vendor)
}

fn token(vendor: usize) -> String {
    format!("EAAG{vendor:06}0123456789abcdef0123456789abcdef")
}

pub fn at_meta(n: usize, instance: &mut WabaInstance) {
    instance.provider = ProviderKind::Meta;
    instance.wasender = WasenderAccount::default();
    instance.meta = Some(Box::new(MetaAccount {
        phone_number_id: number_id(n),
        access_token: Some(token(n).into()),
        ..MetaAccount::default()
    }));
}
