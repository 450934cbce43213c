//! Connections that are slow, huge, broken or idle: while they last, a good caller is served.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use waba_gateway::{
    twin::{Customer, NewSession, Twin, real_message},
    web::raise_open_files,
};

use crate::{
    restart::free_port,
    support::{
        Client, DEADLINE, Options, Process, TestApp, TestVendor, gateway_binary, spawn_app,
        spawn_app_with,
    },
};

/// What a good caller may have to wait while others misbehave. Far more than it does, and far less
/// than it takes the server to lose patience with them.
const SERVED_WITHIN: Duration = Duration::from_secs(5);
const ADMIN_KEY: &str = "an-admin-key-of-at-least-32-characters";

async fn connect(base: &str) -> TcpStream {
    TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap()
}

/// What the server says until it closes the connection.
async fn all_of(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut said)).await;
    // A reset is an end as well.
    let _ = read.expect("the connection is held");
    String::from_utf8_lossy(&said).into_owned()
}

/// A good caller's webhooks, on connections of their own; how long the middle one took.
async fn is_served(app: &TestApp, vendor: &TestVendor, what: &str) -> Duration {
    let mut took = Vec::new();
    for n in 0..9 {
        let client = Client::new("", "");
        let body = real_message(&format!("{what}{n}"), &customer(), "horaires", app.now_secs());
        let headers = [("x-webhook-signature", vendor.secret())];
        let started = Instant::now();
        let post = client.try_post(&vendor.hook, &headers, body.to_string().into_bytes());
        let status = tokio::time::timeout(SERVED_WITHIN, post).await;
        assert_eq!(status, Ok(Some(200)), "{what}");
        took.push(started.elapsed());
    }
    took.sort();
    took[took.len() / 2]
}

fn customer() -> Customer {
    Customer::new("+221705550001")
}

fn head_of(vendor: &TestVendor, rest: &str) -> String {
    let path = format!("/api/webhooks/wasender/{}", vendor.id);
    format!("POST {path} HTTP/1.1\r\nhost: x\r\nx-webhook-signature: {}\r\n{rest}", vendor.secret())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_and_slow_bodies_are_cut_off_and_cost_nobody_else() {
    let app = spawn_app().await;
    let (vendor, other) = (app.vendor(1).await, app.vendor(2).await);
    let before = is_served(&app, &other, "before").await;
    let heads = (0..300).map(|_| slow(&app.base, "GET /health HTTP/1.1\r\nx-a: ".to_owned()));
    let bodies = (0..300).map(|_| slow(&app.base, head_of(&vendor, "content-length: 900\r\n\r\n")));
    let chunks = (0..100)
        .map(|_| slow(&app.base, head_of(&vendor, "transfer-encoding: chunked\r\n\r\n3e8\r\n")));
    let all: Vec<_> = heads.chain(bodies).chain(chunks).map(tokio::spawn).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let during = is_served(&app, &other, "during").await;
    println!("a webhook took {before:?} before, {during:?} beside 700 slow callers");
    let mut ends = Vec::new();
    for one in all {
        ends.push(one.await.unwrap());
    }
    // Nobody was held for much longer than the 10 s there are, and nothing was answered 200.
    assert!(ends.iter().all(|it| it.0 < Duration::from_secs(16)), "{:?}", ends.iter().max());
    assert!(ends.iter().all(|it| !it.1.contains("200 OK")));
    let mut told = BTreeMap::<&str, usize>::new();
    for (_, said) in &ends {
        *told.entry(said.lines().next().unwrap_or_default()).or_default() += 1;
    }
    assert_eq!(told.get("HTTP/1.1 408 Request Timeout"), Some(&400), "{told:?}");
}

/// Sends this and then a byte now and then; how long it was let, and what it was told.
fn slow(base: &str, start: String) -> impl Future<Output = (Duration, String)> + use<> {
    let base = base.to_owned();
    async move {
        let mut stream = connect(&base).await;
        let (mut read, mut write) = stream.split();
        let started = Instant::now();
        let drip = async {
            let _ = write.write_all(start.as_bytes()).await;
            while write.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut said = Vec::new();
        tokio::select! {
            () = drip => {}
            _ = tokio::time::timeout(2 * DEADLINE, read.read_to_end(&mut said)) => {}
        }
        (started.elapsed(), String::from_utf8_lossy(&said).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_slow_json_is_cut_off_although_it_has_a_key() {
    let app = spawn_app().await;
    let path = "/api/admin/vendors/vendor_001";
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-length: 900\r\n\r\n",
        app.admin.bearer()
    );
    let (_, said) = slow(&app.base, head).await;
    assert!(said.contains("408"), "{said}");
}

#[tokio::test]
async fn what_is_too_large_is_refused_however_its_length_is_told() {
    let app = spawn_app_with(Options {
        variables: vec![("BODY_BYTES_MAX", "10000".to_owned())],
        ..Options::default()
    })
    .await;
    let vendor = app.vendor(1).await;
    let refused = async |start: String, body: Vec<u8>, status: &str| {
        let mut stream = connect(&app.base).await;
        // It may have been refused before all of it is there.
        let _ = stream.write_all(start.as_bytes()).await;
        let _ = stream.write_all(&body).await;
        let said = all_of(&mut stream).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {said}");
        is_served(&app, &vendor, "large").await;
    };
    refused(head_of(&vendor, "content-length: 10001\r\n\r\n"), Vec::new(), "413").await;
    let huge = "content-length: 9223372036854775807\r\n\r\n";
    refused(head_of(&vendor, huge), Vec::new(), "413").await;
    let chunked = "transfer-encoding: chunked\r\n\r\n";
    let chunk = [b"2711\r\n".as_slice(), &[b'x'; 10_001], b"\r\n0\r\n\r\n"].concat();
    refused(head_of(&vendor, chunked), chunk, "413").await;
    // Heads: too long, too many, and an address without end.
    let long = format!("x-long: {}\r\n\r\n", "x".repeat(200_000));
    refused(head_of(&vendor, &long), Vec::new(), "431").await;
    let many = "x-more: x\r\n".repeat(100);
    refused(head_of(&vendor, &format!("{many}\r\n")), Vec::new(), "431").await;
    let address = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200_000));
    refused(address, Vec::new(), "4").await;
}

#[tokio::test]
async fn garbage_is_refused_and_the_next_caller_is_served() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let chunked = head_of(&vendor, "transfer-encoding: chunked\r\n\r\n");
    let twice = head_of(&vendor, "content-length: 2\r\ncontent-length: 3\r\n\r\n{}");
    let both = head_of(&vendor, "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}");
    let garbage: Vec<Vec<u8>> = vec![
        [chunked.as_bytes(), b"zz\r\n{}\r\n0\r\n\r\n"].concat(),
        [chunked.as_bytes(), b"ffffffffffffffffff\r\n{}"].concat(),
        [chunked.as_bytes(), b"2\r\n{}"].concat(),
        [chunked.as_bytes(), b"2;x=\x00\x01\r\n{}XX0\r\n\r\n"].concat(),
        twice.into_bytes(),
        both.into_bytes(),
        head_of(&vendor, "content-length: -1\r\n\r\n{}").into_bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        vec![0; 5_000],
        (0..=255).cycle().take(40_000).collect(),
        b"GET http://[::1 HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /%00%ff/../../etc HTTP/9.9\r\n\r\n".to_vec(),
    ];
    for (n, bytes) in garbage.into_iter().enumerate() {
        let mut stream = connect(&app.base).await;
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let said = all_of(&mut stream).await;
        assert!(!said.contains("200 OK") && !said.contains(" 500 "), "{n}: {said}");
        is_served(&app, &vendor, &format!("g{n}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closed_connections_end_and_cost_nobody_else() {
    let app = spawn_app().await;
    let (vendor, other) = (app.vendor(1).await, app.vendor(2).await);
    let starts = [
        String::new(),
        "GET /hea".to_owned(),
        head_of(&vendor, "content-length: 900\r\n\r\n{"),
        "GET /health HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
    ];
    let mut held = Vec::new();
    for n in 0..400 {
        let mut stream = connect(&app.base).await;
        stream.write_all(starts[n % starts.len()].as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        held.push(stream);
    }
    is_served(&app, &other, "half").await;
    for (n, stream) in held.iter_mut().enumerate() {
        let said = all_of(stream).await;
        let is_whole = n % starts.len() == 3;
        assert_eq!(said.contains("200 OK"), is_whole, "who has said all is answered: {said}");
    }
}

/// A caller that asks and asks and reads no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_read_no_answer_cost_nobody_else() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = connect(&app.base).await;
        let asks = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(500);
        let ask = stream.write_all(asks.as_bytes());
        let _ = tokio::time::timeout(Duration::from_millis(20), ask).await;
        held.push(stream);
    }
    is_served(&app, &vendor, "unread").await;
}

/// The binary, with one vendor.
struct Server {
    process: Process,
    twin: Twin,
    session: u64,
    _directory: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        let (twin, directory) = (Twin::start().await.unwrap(), tempfile::tempdir().unwrap());
        let variables = [
            ("WASENDER_API_URL", twin.api_url()),
            ("WASENDER_API_KEY", twin.pat().to_owned()),
            ("ADMIN_API_KEY", ADMIN_KEY.to_owned()),
            ("RUST_LOG", "info".to_owned()),
        ];
        let (data, log) = (directory.path().join("data"), directory.path().join("log"));
        let process = Process::serve(&data, free_port(), &variables, &log).await;
        let session = twin.add_session(NewSession::new("+221770000001"));
        let admin = Client::new(&process.base, ADMIN_KEY);
        admin.put("/api/admin/vendors/v", json!({ "responders": [] })).await;
        let instance = json!({ "phoneNumber": "+221770000001", "wasenderInstanceId": session.id });
        admin.post("/api/admin/vendors/v/waba-instances", instance).await;
        let set_up = admin.post("/api/admin/vendors/v/setup-wasender-webhook", json!({})).await;
        assert_eq!(set_up.status, 200, "{}", set_up.text);
        Self { process, twin, session: session.id, _directory: directory }
    }

    /// How long the middle one of some webhooks took, each on a connection of its own.
    async fn webhooks(&self, what: &str) -> Duration {
        let secret = self.twin.session(self.session).unwrap().webhook_secret;
        let url = format!("{}/api/webhooks/wasender/v", self.process.base);
        let mut took = Vec::new();
        for n in 0..49 {
            let at = waba_gateway::domain::clock::Clock::System.now() / 1_000;
            let body = real_message(&format!("{what}{n}"), &customer(), "bonjour", at);
            let client = Client::new("", "");
            let started = Instant::now();
            let headers = [("x-webhook-signature", secret.as_str())];
            let post = client.try_post(&url, &headers, body.to_string().into_bytes());
            let status = tokio::time::timeout(SERVED_WITHIN, post).await;
            assert_eq!(status, Ok(Some(200)), "{what}");
            took.push(started.elapsed());
        }
        took.sort();
        took[took.len() / 2]
    }

    fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_cost_nobody_else() {
    raise_open_files();
    let server = Server::start().await;
    let (before, memory) = (server.webhooks("before").await, server.memory_kib());
    // Where a process may not have so many files, as many as there may be.
    let n_wanted = waba_gateway::web::connections_max().min(10_000);
    if n_wanted < 10_000 {
        println!("only {n_wanted} connections: no more open files are allowed here");
    }
    let mut held = Vec::with_capacity(n_wanted);
    let started = Instant::now();
    while held.len() < n_wanted {
        held.push(connect(&server.process.base).await);
    }
    let opened_in = started.elapsed();
    let during = server.webhooks("during").await;
    let grown = server.memory_kib().saturating_sub(memory);
    println!(
        "{n_wanted} idle connections (opened in {opened_in:?}): a webhook took {during:?}, {before:?} \
         without them; {grown} KiB more"
    );
    // Whoever says nothing for 10 s is gone.
    let said = all_of(held.last_mut().unwrap()).await;
    assert_eq!(said, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few_open_files_idle_connections_give_way_to_those_that_ask() {
    let server = FewFiles::start().await;
    let mut held = Vec::new();
    // Far more than the 192 there may be: in turn, the last would wait for a minute.
    for round in 0..2 {
        for _ in 0..600 {
            held.push(connect(&server.base).await);
        }
        for _ in 0..5 {
            let client = Client::new(&server.base, "");
            let answer = tokio::time::timeout(SERVED_WITHIN, client.get("/ready")).await;
            assert_eq!(answer.unwrap().status, 200, "round {round}");
        }
    }
    let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap();
    assert!(log.contains("few open files are allowed"), "{log}");
    assert!(!log.contains("could not be accepted"), "{log}");
}

/// The binary, where no process may have more than 256 open files.
struct FewFiles {
    child: std::process::Child,
    base: String,
    directory: tempfile::TempDir,
}

impl FewFiles {
    async fn start() -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let base = format!("http://127.0.0.1:{port}");
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new("sh")
            .args(["-c", "ulimit -n 256 && exec \"$0\" serve"])
            .arg(gateway_binary())
            .env_clear()
            .env("LISTEN_ADDR", format!("127.0.0.1:{port}"))
            .env("METRICS_ADDR", "off")
            .env("MIN_FREE_DISK", "0")
            .env("DATA_DIR", directory.path().join("data"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { child, base, directory };
        let started = Instant::now();
        let address = server.base.strip_prefix("http://").unwrap();
        while TcpStream::connect(address).await.is_err() {
            assert!(started.elapsed() < DEADLINE);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server
    }
}

impl Drop for FewFiles {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
