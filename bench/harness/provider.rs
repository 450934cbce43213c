//! A stand-in for Wasender that costs little, since it runs on the measured machine: it takes every
//! send and, when asked to, reports on each as Wasender does. The simulator of the tests checks far
//! more, and takes a processor to itself at some thousand sends a second.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};
use waba_gateway::{
    domain::clock::Clock,
    twin::{Dialect, wire},
};

use super::{
    gateway::{session_key, vendor_of, word_of},
    hook::{Target, customer_of, secret, vendor},
    http::Messages,
};

/// Connections that reports go over.
const REPORTERS: usize = 128;

/// What happens at the provider.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A send was taken.
    Taken,
    /// The gateway has kept the last report on a send.
    Reported,
}

/// Told of every event as it happens.
pub type OnEvent = Box<dyn Fn(Event, Target) + Send + Sync>;

/// How sends are reported.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reports {
    /// In Wasender's own dialect: the message's echo, without which nobody knows its id, then
    /// *delivered* and *read*.
    Real,
    /// In the predecessor's: *delivered* and *read*, by the number that the send was answered with.
    Flat,
}

/// What it does.
pub struct Behaviour {
    /// How sends are reported, once it is known [where](Provider::report_to).
    pub reports: Option<Reports>,
    /// Sends of this vendor are never answered, nor calls of the responder at [`Provider::bot_url`].
    pub hangs_for: Option<usize>,
    pub on_event: OnEvent,
}

/// The stand-in, in a thread of its own.
pub struct Provider {
    address: SocketAddr,
    gateway: Arc<OnceLock<SocketAddr>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Desk {
    hangs_for: Option<usize>,
    on_event: OnEvent,
    reporters: Vec<mpsc::UnboundedSender<Report>>,
}

/// What is to be told of a send.
struct Report {
    n: usize,
    target: Target,
    to: String,
    text: String,
}

#[derive(Deserialize)]
struct Order {
    to: String,
    #[serde(default)]
    text: String,
}

impl Provider {
    pub fn start(behaviour: Behaviour) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let gateway = Arc::new(OnceLock::new());
        let reports_to = Arc::clone(&gateway);
        let serve = async move {
            tokio::select! {
                // Dropped or sent, it is the end.
                _ = stopped => {}
                () = serve(listener, behaviour, reports_to) => {}
            }
        };
        let thread = thread::spawn(move || runtime.block_on(serve));
        Ok(Self { address, gateway, stop: Some(stop), thread: Some(thread) })
    }

    /// Sends are reported there from now on.
    pub fn report_to(&self, gateway: SocketAddr) {
        // A second one would be a mistake of ours, and reports would be missed.
        let _ = self.gateway.set(gateway);
    }

    /// What a gateway needs to be told.
    pub fn api_url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// A responder that never answers.
    pub fn bot_url(&self) -> String {
        format!("http://{}/bot", self.address)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // One that panicked has told so.
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    behaviour: Behaviour,
    gateway: Arc<OnceLock<SocketAddr>>,
) {
    let listener = TcpListener::from_std(listener).expect("it does not block");
    let Behaviour { reports, hangs_for, on_event } = behaviour;
    let (reporters, inboxes): (Vec<_>, Vec<_>) = match reports {
        None => (Vec::new(), Vec::new()),
        Some(_) => (0..REPORTERS).map(|_| mpsc::unbounded_channel()).unzip(),
    };
    let desk = Arc::new(Desk { hangs_for, on_event, reporters });
    for inbox in inboxes {
        let (desk, gateway) = (Arc::clone(&desk), Arc::clone(&gateway));
        tokio::spawn(async move {
            if let Some(how) = reports
                && let Err(error) = report(inbox, how, &gateway, &desk).await
            {
                // Round trips that are not completed are missed at the end.
                eprintln!("reports end: {error:#}");
            }
        });
    }
    let mut n_sends = 0;
    while let Ok((stream, _)) = listener.accept().await {
        n_sends += 1;
        // Sends of one connection have numbers of their own.
        let (desk, first) = (Arc::clone(&desk), n_sends << 32);
        tokio::spawn(async move {
            // What breaks off here is seen by the gateway, and counted there.
            let _ = take(stream, &desk, first).await;
        });
    }
}

async fn take(stream: TcpStream, desk: &Desk, first: usize) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (requests, mut answers) = stream.into_split();
    let mut requests = Messages::new(requests);
    let mut n = first;
    while let Some(request) = requests.next().await? {
        let is_send = request.head.starts_with(b"POST /api/send-message ");
        let key = request.header(b"\r\nauthorization: Bearer ").unwrap_or_default();
        let vendor = std::str::from_utf8(key).ok().and_then(vendor_of);
        if request.head.starts_with(b"POST /bot ") || (is_send && vendor == desk.hangs_for) {
            std::future::pending::<()>().await;
        }
        let Some(vendor) = vendor.filter(|_| is_send) else {
            let none = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
            answers.write_all(none.as_bytes()).await?;
            continue;
        };
        n += 1;
        let Order { to, text } = serde_json::from_slice(request.body)?;
        let customer = customer_of(&to).context("a send to nobody of ours")?;
        let word = word_of(&text).context("a text that is no reply of ours")?;
        let target = Target { vendor, customer, word };
        (desk.on_event)(Event::Taken, target);
        let body = json!({
            "success": true,
            "data": { "msgId": n, "jid": to, "status": "in_progress" },
        });
        answers.write_all(&answer(&body)).await?;
        if let Some(reporter) = desk.reporters.get(customer % REPORTERS) {
            // It is gone only at the end of all.
            let _ = reporter.send(Report { n, target, to, text });
        }
    }
    Ok(())
}

fn answer(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let n = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {n}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Tells of sends, one after another, and of each in order.
async fn report(
    mut inbox: mpsc::UnboundedReceiver<Report>,
    how: Reports,
    gateway: &OnceLock<SocketAddr>,
    desk: &Desk,
) -> anyhow::Result<()> {
    // Not before there is something to tell: the gateway is started after us.
    let Some(mut next) = inbox.recv().await else { return Ok(()) };
    let gateway = gateway.get().context("nobody said where the gateway is")?;
    let stream = TcpStream::connect(gateway).await.context("connect")?;
    stream.set_nodelay(true)?;
    let (answers, mut requests) = stream.into_split();
    let mut answers = Messages::new(answers);
    loop {
        for body in bodies(how, &next) {
            requests.write_all(&request(how, next.target.vendor, &body.to_string())).await?;
            let answer = answers.next().await?.context("the gateway is gone")?;
            let text = String::from_utf8_lossy(answer.head);
            ensure!(answer.is_ok(), "a report was refused: {text}");
        }
        (desk.on_event)(Event::Reported, next.target);
        let Some(more) = inbox.recv().await else { return Ok(()) };
        next = more;
    }
}

fn bodies(how: Reports, it: &Report) -> Vec<Value> {
    let now = Clock::System.now();
    if how == Reports::Flat {
        let status = |word| wire::predecessor_status(&it.n.to_string(), word, now / 1_000);
        return vec![status("delivered"), status("read")];
    }
    let (id, key) = (format!("3EB0{:016X}", it.n), session_key(it.target.vendor));
    let jid = format!("{}@s.whatsapp.net", it.to.trim_start_matches('+'));
    let content = json!({ "conversation": it.text });
    let status = |code| wire::real_status(&key, &id, &jid, code, now);
    vec![wire::real_sent(&id, &jid, &content, now / 1_000), status(3), status(4)]
}

fn request(how: Reports, of: usize, body: &str) -> Vec<u8> {
    let dialect = match how {
        Reports::Real => Dialect::Real,
        Reports::Flat => Dialect::Predecessor,
    };
    let (name, proof) = wire::signature(dialect, &secret(of), body.as_bytes());
    format!(
        "POST /api/webhooks/wasender/{} HTTP/1.1\r\nhost: 127.0.0.1\r\n\
         content-type: application/json\r\n{name}: {proof}\r\ncontent-length: {}\r\n\r\n{body}",
        vendor(of),
        body.len()
    )
    .into_bytes()
}
