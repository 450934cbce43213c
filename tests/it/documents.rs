//! The documents, followed word by word: what they show is run, and they leave no route out.

use std::{
    fs::OpenOptions,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use waba_gateway::{domain::secret::ExposeSecret, twin::NewSession};

use crate::support::{Client, TestApp, spawn_app};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CUSTOMER: &str = "+221705550001";
/// A program of many requests, on a machine with other work.
const PATIENCE: Duration = Duration::from_mins(2);

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join("docs").join(name)).unwrap()
}

/// The fenced blocks of one language, put together.
fn program(document: &str, language: &str) -> String {
    let fence = format!("```{language}\n");
    let blocks: Vec<&str> =
        document.split(&fence).skip(1).map(|it| it.split("\n```").next().unwrap()).collect();
    assert!(blocks.len() > 3, "{} blocks of {language}", blocks.len());
    blocks.join("\n\n")
}

/// Runs a program to its end; it must succeed. What it prints.
async fn run(mut command: Command, app: &TestApp, variables: &[(&str, &str)]) -> String {
    let printed = tempfile::NamedTempFile::new().unwrap();
    let mut child = command
        .env("BASE", &app.base)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(printed.reopen().unwrap())
        .stderr(OpenOptions::new().append(true).open(printed.path()).unwrap())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if started.elapsed() > PATIENCE => break None,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let printed = std::fs::read_to_string(printed.path()).unwrap();
    assert!(status.is_some_and(|it| it.success()), "it ended with {status:?}:\n{printed}");
    printed
}

/// Every example of one language, in the order of the document, against a new gateway.
async fn examples_run(language: &str, command: &[&str], file: &str) {
    let app = spawn_app().await;
    let session = app.twin.add_session(NewSession::new("+221770000042"));
    let directory = tempfile::tempdir().unwrap();
    let program = program(&document("API_WABA_ENDPOINTS.md"), language);
    std::fs::write(directory.path().join(file), program).unwrap();
    let mut run_it = Command::new(command[0]);
    run_it.args(&command[1..]).arg(file).current_dir(directory.path());
    let key = app.app.as_ref().unwrap().new_admin_key.as_ref().unwrap();
    let forward_url = format!("{}/takes-nothing", app.base);
    let variables = [
        ("KEY", key.expose_secret()),
        ("VENDOR", "chez-awa"),
        ("NUMBER", &session.phone_number),
        ("SESSION", &session.id.to_string()),
        ("CUSTOMER", CUSTOMER),
        ("FORWARD_URL", &forward_url),
    ];
    run(run_it, &app, &variables).await;
    let sent = app.twin.sends();
    assert!(sent.iter().any(|it| it.text.contains("commande 1042")), "{sent:?}");
}

#[tokio::test]
async fn the_examples_with_curl_run() {
    examples_run("bash", &["bash", "-euo", "pipefail"], "examples.sh").await;
}

#[tokio::test]
async fn the_examples_in_javascript_run() {
    examples_run("js", &["node"], "examples.mjs").await;
}

#[tokio::test]
async fn the_examples_in_python_run() {
    examples_run("python", &["python3"], "examples.py").await;
}

#[tokio::test]
async fn the_document_of_the_api_has_every_route_and_no_other() {
    let app = spawn_app().await;
    let openapi = Client::new(&app.base, "").get("/openapi.json").await.json();
    let mut served = Vec::new();
    for (path, item) in openapi["paths"].as_object().unwrap() {
        let methods = ["get", "put", "post", "delete", "patch"];
        let found = methods.iter().filter(|it| item.get(**it).is_some());
        served.extend(found.map(|it| format!("{} {path}", it.to_uppercase())));
    }
    let text = document("API_WABA_ENDPOINTS.md");
    let told: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|it| {
            let is_method = |it: &str| ["GET", "PUT", "POST", "DELETE", "PATCH"].contains(&it);
            it.split_once(" /").is_some_and(|(method, _)| is_method(method))
        })
        .collect();
    let missing: Vec<_> = served.iter().filter(|it| !told.contains(&it.as_str())).collect();
    assert!(missing.is_empty(), "the document does not tell of {missing:#?}");
    let gone: Vec<_> = told.iter().filter(|it| !served.iter().any(|of| of == **it)).collect();
    assert!(gone.is_empty(), "the document tells of {gone:#?}");
}

/// A small program that sends: the same id twice is one message.
async fn a_caller_sends(program: &str, script: &str) {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let made = json!({ "name": "caller", "vendorId": vendor.id.as_str() });
    let made: Value = app.admin.post("/api/admin/keys", made).await.json();
    let variables = [("KEY", made["key"].as_str().unwrap()), ("VENDOR", vendor.id.as_str())];
    let command = || {
        let mut command = Command::new(program);
        command.arg(Path::new(ROOT).join("examples/callers").join(script));
        command.args([CUSTOMER, "C'est \"prêt\" \\o/", "order-1042"]);
        command
    };
    let said = run(command(), &app, &variables).await;
    let (first, last) = (said.lines().next().unwrap(), said.lines().last().unwrap());
    assert!(first.starts_with("kept as msg_") && last.starts_with("status: "), "{said}");
    let again = run(command(), &app, &variables).await;
    assert_eq!(again.lines().next().unwrap(), first);
    let sent = app.twin.sends();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].text, "C'est \"prêt\" \\o/");
}

#[tokio::test]
async fn the_caller_in_bash_sends_once() {
    a_caller_sends("bash", "send.sh").await;
}

#[tokio::test]
async fn the_caller_in_javascript_sends_once() {
    a_caller_sends("node", "send.mjs").await;
}

#[tokio::test]
async fn the_caller_in_python_sends_once() {
    a_caller_sends("python3", "send.py").await;
}
