//! The examples, run as their header comments say.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::json;
use waba_gateway::{
    domain::{
        clock::{Clock, SECOND},
        secret::ExposeSecret,
    },
    gateway::VendorChange,
    twin::Customer,
};

use crate::support::{Answer, Client, DEADLINE, TestApp, gateway_binary, spawn_app};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A running example; killed when dropped.
struct Example {
    child: Child,
    url: String,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Example {
    /// Starts it on a free port, and waits until it says where it listens.
    async fn start(mut command: Command, secret: &str) -> Self {
        let program = command.get_program().display().to_string();
        let mut child = command
            .env("PORT", "0")
            .env("SIGNING_SECRET", secret)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&printed));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let mut example = Self { child, url: String::new(), printed };
        let first = example.until_printed(1).await.remove(0);
        first.strip_prefix("listening on ").unwrap().clone_into(&mut example.url);
        example
    }

    /// Waits until it has printed so many lines.
    async fn until_printed(&self, n: usize) -> Vec<String> {
        let started = Instant::now();
        loop {
            let printed = self.printed.lock().unwrap().clone();
            if printed.len() >= n {
                return printed;
            }
            assert!(started.elapsed() < DEADLINE, "in the end there was {printed:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Posts a body under this id, signed with this secret so many seconds ago.
    async fn post(&self, id: &str, secret: &str, age: i64, body: &str) -> Answer {
        let seconds = Clock::System.now() / SECOND - age;
        let signer = standardwebhooks::Webhook::new(secret).unwrap();
        let signature = signer.sign(id, seconds, body.as_bytes()).unwrap();
        self.post_with(id, &seconds.to_string(), &format!("v1,bm9uZQ== {signature}"), body).await
    }

    async fn post_with(&self, id: &str, seconds: &str, signature: &str, body: &str) -> Answer {
        let headers = [
            ("content-type", "application/json"),
            ("webhook-id", id),
            ("webhook-timestamp", seconds),
            ("webhook-signature", signature),
        ];
        let client = Client::new("", "");
        client.raw("POST", &self.url, &headers, body.as_bytes().to_vec()).await
    }

    /// Nothing passes that the gateway has not signed, and lately.
    async fn refuses_what_is_forged(&self, body: &str) {
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(self.post("forged_1", other, 0, body).await.status, 401);
        assert_eq!(self.post("forged_2", SECRET, 6 * 60, body).await.status, 401);
        assert_eq!(self.post("forged_3", SECRET, -6 * 60, body).await.status, 401);
        let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
        let seconds = Clock::System.now() / SECOND;
        let signature = signer.sign("forged_4", seconds, b"{}").unwrap();
        let now = seconds.to_string();
        for (id, seconds, signature) in [
            ("forged_4", now.as_str(), signature.as_str()),
            ("forged_5", &now, ""),
            ("forged_6", &now, "v1,"),
            ("forged_7", "", &signature),
            ("forged_8", "soon", &signature),
            ("", &now, &signature),
        ] {
            let answer = self.post_with(id, seconds, signature, body).await;
            assert_eq!(answer.status, 401, "{id}: {}", answer.text);
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(program: &str, path: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/").to_owned() + path);
    command
}

/// Cargo builds the examples next to the binaries, when it builds all tests.
fn rust(name: &str) -> Command {
    let path = gateway_binary().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "build the examples first: cargo build --examples");
    Command::new(path)
}

/// A customer asks, chooses and is handed over.
async fn a_responder_answers(command: Command) {
    let app = spawn_app().await;
    let vendor = app.vendor_with(1, VendorChange::default()).await;
    let secret = app.gateway.vendor(&vendor.id).await.unwrap().signing_secret;
    let example = Example::start(command, secret.expose_secret()).await;
    let responders = json!([{ "kind": "responseApi", "dialect": "bot", "url": example.url }]);
    let put = app.admin.put("/api/admin/vendors/vendor_001", json!({ "responders": responders }));
    assert_eq!(put.await.status, 200);
    let says = async |text: &str, n_sends: usize| {
        let customer = Customer::new("+221705550001");
        let answer = app.twin.customer_says(vendor.session.id, &customer, text).await;
        assert!(answer.is_ok(), "{}", answer.body);
        app.twin.wait_sends(n_sends, DEADLINE).await.remove(n_sends - 1).text
    };
    let menu = says("bonjour", 1).await;
    assert!(menu.contains("1. Horaires") && menu.contains("3. Parler à quelqu'un"), "{menu}");
    assert_eq!(says("1", 2).await, "Nous sommes ouverts de 8 h à 19 h.");
    assert!(says("menu", 3).await.contains("2. Livraison"));
    assert_eq!(says("livraison", 4).await, "Nous livrons à Dakar en 24 h.");
    app.settled().await;
    assert_eq!(steps(&app, "bonjour").await, ["intent:menu"]);
}

/// What the bot noted in the journey of the customer's message with this text.
async fn steps(app: &TestApp, text: &str) -> Vec<String> {
    let path = "/api/admin/vendors/vendor_001/messages";
    let page = app.admin.get(path).await.json();
    let messages = page["messages"].as_array().unwrap();
    let message = messages.iter().find(|it| it["message"] == text).unwrap();
    let id = message["messageId"].as_str().unwrap();
    let journey = app.admin.get(&format!("{path}/{id}")).await.json();
    let steps = journey["steps"].as_array().unwrap().iter();
    let steps = steps.map(|it| it["step"].as_str().unwrap().to_owned());
    steps.filter(|it| it.starts_with("intent:")).collect()
}

async fn a_responder_refuses(command: Command) {
    let example = Example::start(command, SECRET).await;
    let body = json!({ "type": "text", "message": "bonjour" }).to_string();
    example.refuses_what_is_forged(&body).await;
    let answer = example.post("msg_1", SECRET, 4 * 60, &body).await;
    assert_eq!((answer.status, &answer.json()["type"]), (200, &json!("buttons")));
    let silence = json!({ "type": "image", "message": "" }).to_string();
    assert_eq!(example.post("msg_2", SECRET, 0, &silence).await.status, 204);
    assert_eq!(example.post("msg_3", SECRET, 0, "not JSON").await.status, 400);
}

/// Each event is worked on once.
async fn a_receiver_takes(command: Command) {
    let example = Example::start(command, SECRET).await;
    let event = |kind: &str, id: &str| {
        let data = json!({
            "vendorId": "vendor_001", "wabaId": "waba_vendor_001", "messageId": id,
            "message": "bonjour", "from": "+221705550001",
        });
        json!({ "type": kind, "timestamp": "2026-11-22T17:00:00.000Z", "data": data }).to_string()
    };
    let first = event("message.received", "msg_1");
    example.refuses_what_is_forged(&first).await;
    for id in ["evt_1", "evt_1", "evt_2"] {
        assert_eq!(example.post(id, SECRET, 0, &first).await.status, 204);
    }
    let last = event("message.status", "msg_2");
    assert_eq!(example.post("evt_3", SECRET, 0, &last).await.status, 204);
    let printed = example.until_printed(4).await;
    let kinds: Vec<&str> = printed[1..].iter().filter_map(|it| it.split(' ').next()).collect();
    assert_eq!(kinds, ["message.received", "message.received", "message.status"]);
    for part in ["vendorId=vendor_001", "wabaId=waba_vendor_001", "messageId=msg_1"] {
        assert!(printed[1].contains(part), "{printed:?}");
    }
    assert!(!printed.concat().contains("bonjour") && !printed.concat().contains("22170555"));
}

#[tokio::test]
async fn the_python_responder_answers_the_gateway_alone() {
    a_responder_answers(script("python3", "python/responder.py")).await;
    a_responder_refuses(script("python3", "python/responder.py")).await;
}

#[tokio::test]
async fn the_javascript_responder_answers_the_gateway_alone() {
    a_responder_answers(script("node", "javascript/responder.mjs")).await;
    a_responder_refuses(script("node", "javascript/responder.mjs")).await;
}

#[tokio::test]
async fn the_rust_responder_answers_the_gateway_alone() {
    a_responder_answers(rust("responder")).await;
    a_responder_refuses(rust("responder")).await;
}

#[tokio::test]
async fn the_python_receiver_takes_each_event_of_the_gateway_once() {
    a_receiver_takes(script("python3", "python/receiver.py")).await;
}

#[tokio::test]
async fn the_javascript_receiver_takes_each_event_of_the_gateway_once() {
    a_receiver_takes(script("node", "javascript/receiver.mjs")).await;
}

#[tokio::test]
async fn the_rust_receiver_takes_each_event_of_the_gateway_once() {
    a_receiver_takes(rust("receiver")).await;
}
