//! No number, text or secret in any log line, error, metric or file that is not sealed.

use std::time::Duration;

use serde_json::json;
use waba_gateway::twin::{Customer, Misbehaviour, NewSession, Times, Twin, real_message};

use crate::{
    media::files_in,
    restart::free_port,
    support::{Client, DEADLINE, Process},
};

const TEXT: &str = "SECRETTEXTmarker";
const REPLY: &str = "SECRETREPLYmarker";
const NAME: &str = "SECRETNAMEmarker";
const HOOK_SECRET: &str = "hook-SECRETmarker-0001";
const SESSION_KEY: &str = "session-SECRETmarker-0002";
const TOKEN: &str = "9|token-SECRETmarker-0003";
const HEADER: &str = "header-SECRETmarker-0004";
const ADMIN_KEY: &str = "admin-SECRETmarker-0005-0000000000000000";
const CUSTOMER: &str = "221705557788";
const VENDOR_NUMBER: &str = "221770009911";
const LID: &str = "123123123123777";

fn marks() -> [&'static str; 11] {
    [
        TEXT,
        REPLY,
        NAME,
        HOOK_SECRET,
        SESSION_KEY,
        TOKEN,
        HEADER,
        ADMIN_KEY,
        CUSTOMER,
        VENDOR_NUMBER,
        LID,
    ]
}

#[tokio::test]
async fn nothing_private_is_in_a_log_an_answer_a_metric_or_an_unsealed_file() {
    let twin = Twin::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (data, log) = (directory.path().join("data"), directory.path().join("log"));
    let variables = [
        ("WASENDER_API_URL", twin.api_url()),
        ("WASENDER_API_KEY", TOKEN.to_owned()),
        ("ADMIN_API_KEY", ADMIN_KEY.to_owned()),
        ("RUST_LOG", "trace,hyper=debug,hyper_util=debug,reqwest=trace".to_owned()),
    ];
    let mut process = Process::serve(&data, free_port(), &variables, &log).await;
    let answers = live(&process.base, &twin).await;
    process.signal("TERM");
    assert!(process.ended(DEADLINE).await.success());
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("vendor_001"), "the log tells whom it is about");
    for mark in marks() {
        assert!(!log.contains(mark), "{mark} is in the log");
        for answer in &answers {
            assert!(!answer.contains(mark), "{mark} is in an answer: {answer}");
        }
    }
    for path in files_in(&data) {
        let bytes = std::fs::read(&path).unwrap();
        for mark in marks() {
            let found = bytes.windows(mark.len()).any(|it| it == mark.as_bytes());
            assert!(!found, "{mark} is in {}", path.display());
        }
    }
}

/// Everything that can happen to the marks. The answers that must not hold them.
async fn live(base: &str, twin: &Twin) -> Vec<String> {
    let admin = Client::new(base, ADMIN_KEY);
    let mut answers = Vec::new();
    let responders = json!([
        { "kind": "responseApi", "url": "http://127.0.0.1:9/none", "headers": { "x-key": HEADER } },
        { "kind": "rules", "rules": [], "otherwise": REPLY },
    ]);
    let vendor = json!({ "businessName": "Chez Awa", "responders": responders });
    let made = admin.put("/api/admin/vendors/vendor_001", vendor).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let instance = json!({
        "phoneNumber": format!("+{VENDOR_NUMBER}"), "wasenderInstanceId": 71,
        "wasenderApiKey": SESSION_KEY, "wasenderWebhookSecret": HOOK_SECRET, "wasenderToken": TOKEN,
    });
    assert_eq!(
        admin.post("/api/admin/vendors/vendor_001/waba-instances", instance).await.status,
        201
    );
    let session = twin.add_session(NewSession {
        id: Some(71),
        api_key: Some(SESSION_KEY.to_owned()),
        webhook_secret: Some(HOOK_SECRET.to_owned()),
        ..NewSession::new(&format!("+{VENDOR_NUMBER}"))
    });
    let hook = format!("{base}/api/webhooks/wasender/vendor_001");
    twin.set_webhook(session.id, &hook);
    let customer = Customer::new(&format!("+{CUSTOMER}")).with_lid(LID).named(NAME);
    let faults = [
        Misbehaviour::Cut { accepted: true },
        Misbehaviour::TruncatedHooks,
        Misbehaviour::WrongSignature,
        Misbehaviour::Refuse { status: 422, message: format!("bad {CUSTOMER} {TEXT}") },
        Misbehaviour::NotConnected,
    ];
    for (n, fault) in std::iter::once(None).chain(faults.into_iter().map(Some)).enumerate() {
        if let Some(fault) = fault {
            twin.misbehave(session.id, fault, Times::Once);
        }
        let answer = twin.customer_says(session.id, &customer, &format!("{TEXT} {n}")).await;
        answers.push(answer.body);
    }
    answers.extend(asked(&admin, twin, session.id, &hook, &customer).await);
    // The replies were really sent, so that there was something to leak.
    twin.wait_sends(1, DEADLINE).await;
    tokio::time::timeout(Duration::from_secs(5), twin.idle()).await.ok();
    answers
}

/// What strangers and admins are answered.
async fn asked(
    admin: &Client,
    twin: &Twin,
    session: u64,
    hook: &str,
    customer: &Customer,
) -> Vec<String> {
    let mut answers = Vec::new();
    let unknown =
        json!({ "event": "new.event", "sessionId": SESSION_KEY, "data": { "text": TEXT } });
    answers.push(twin.customer_sends(session, unknown).await.body);
    let forged = real_message("f", customer, TEXT, 1).to_string().into_bytes();
    let wrong = [("x-webhook-signature", "wrong")];
    answers.push(admin.raw("POST", hook, &wrong, forged).await.text);
    for path in ["wasender-status", "setup-wasender-webhook"] {
        let method = if path.starts_with("setup") { "POST" } else { "GET" };
        let answer =
            admin.call(method, &format!("/api/admin/vendors/vendor_001/{path}"), None, &[]).await;
        answers.push(answer.text.replace(&format!("+{VENDOR_NUMBER}"), ""));
    }
    let list = admin.get("/api/admin/vendors/vendor_001/waba-instances").await;
    assert!(list.text.contains("…0001"), "its owner knows a secret by its tail: {}", list.text);
    answers.push(list.text.replace(&format!("+{VENDOR_NUMBER}"), ""));
    let shown = admin.get("/api/admin/vendors/vendor_001").await.text;
    answers.push(shown.replace(REPLY, ""));
    let bad = json!({ "phoneNumber": CUSTOMER, "wasenderApiKey": [SESSION_KEY] });
    answers.push(admin.post("/api/admin/vendors/vendor_001/waba-instances", bad).await.text);
    answers.push(admin.get("/metrics").await.text);
    answers
}
