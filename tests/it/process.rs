//! The binaries, as their users meet them.

use std::{process::Command, time::Duration};

use serde_json::json;
use waba_gateway::twin::{Customer, Misbehaviour, NewSession, Times, Twin};

use crate::{
    restart::free_port,
    support::{Client, DEADLINE, Process, gateway_binary, migrate_binary},
};

const ADMIN_KEY: &str = "an-admin-key-of-at-least-32-characters";

struct Running {
    process: Process,
    twin: Twin,
    admin: Client,
    session: u64,
    directory: tempfile::TempDir,
}

async fn running() -> Running {
    let twin = Twin::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (data, log) = (directory.path().join("data"), directory.path().join("log"));
    let variables = [
        ("WASENDER_API_URL", twin.api_url()),
        ("WASENDER_API_KEY", twin.pat().to_owned()),
        ("ADMIN_API_KEY", ADMIN_KEY.to_owned()),
    ];
    let process = Process::serve(&data, free_port(), &variables, &log).await;
    let admin = Client::new(&process.base, ADMIN_KEY);
    let session = twin.add_session(NewSession::new("+221770000001"));
    let responders = json!([{ "kind": "rules", "otherwise": "merci" }]);
    admin.put("/api/admin/vendors/v", json!({ "responders": responders })).await;
    let instance = json!({ "phoneNumber": "+221770000001", "wasenderInstanceId": session.id });
    assert_eq!(admin.post("/api/admin/vendors/v/waba-instances", instance).await.status, 201);
    let set_up = admin.post("/api/admin/vendors/v/setup-wasender-webhook", json!({})).await;
    assert_eq!(set_up.status, 200, "{}", set_up.text);
    Running { process, twin, admin, session: session.id, directory }
}

#[tokio::test]
async fn sigterm_lets_sends_end_and_takes_webhooks_to_the_very_end() {
    let mut it = running().await;
    it.twin.misbehave(it.session, Misbehaviour::Slow(Duration::from_secs(2)), Times::Once);
    let customer = Customer::new("+221705550001");
    assert!(it.twin.customer_says(it.session, &customer, "bonjour").await.is_ok());
    let sending = async || {
        let seen = it.twin.requests();
        seen.iter().any(|it| it.path.ends_with("/send-message"))
    };
    let started = std::time::Instant::now();
    while !sending().await {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    it.process.signal("TERM");
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The send is still under way, and webhooks are still taken.
    let other = Customer::new("+221705550002");
    assert!(it.twin.customer_says(it.session, &other, "et moi ?").await.is_ok());
    let status = it.process.ended(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(it.twin.n_sends(), 1);
    let db = rusqlite::Connection::open(it.directory.path().join("data/waba.db")).unwrap();
    let count = |sql: &str| db.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM entries WHERE kind = 2 AND account = 1"), 1);
    assert_eq!(
        count("SELECT count(*) FROM entries WHERE kind = 0 AND is_open = 1"),
        1,
        "kept for the next start"
    );
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let mut it = running().await;
    it.twin.misbehave(it.session, Misbehaviour::Hang { accepted: true }, Times::Once);
    assert!(it.twin.customer_says(it.session, &Customer::new("+221705550001"), "x").await.is_ok());
    it.twin.wait_sends(1, DEADLINE).await;
    it.process.signal("TERM");
    tokio::time::sleep(Duration::from_millis(200)).await;
    it.process.signal("TERM");
    let status = it.process.ended(Duration::from_secs(3)).await;
    assert_ne!(status.code(), Some(0));
}

#[tokio::test]
async fn a_webhook_is_synced_to_disk_before_it_is_answered() {
    let strace = Command::new("strace").arg("-V").output();
    assert!(strace.is_ok(), "strace is missing: scripts/test.sh installs it");
    let it = running().await;
    let trace = it.directory.path().join("trace");
    let mut strace = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-e",
            "trace=fdatasync,fsync,write,writev,sendto,sendmsg",
            "-s",
            "64",
            "-o",
        ])
        .arg(&trace)
        .args(["-p", &it.process.id().to_string()])
        .spawn()
        .unwrap();
    let traced = || std::fs::read_to_string(&trace).unwrap_or_default();
    // Attached when the answers to health checks show.
    let started = std::time::Instant::now();
    while !traced().contains("HTTP/1.1 200") {
        assert!(started.elapsed() < DEADLINE, "strace does not attach");
        it.admin.get("/health").await;
    }
    let from = traced().len();
    let body = r#"{"event":"dashboard.test","data":{}}"#;
    let secret = it.twin.session(it.session).unwrap().webhook_secret;
    let url = format!("{}/api/webhooks/wasender/v", it.process.base);
    let headers = [("x-webhook-signature", secret.as_str())];
    let answer = it.admin.raw("POST", &url, &headers, body.as_bytes().to_vec()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let started = std::time::Instant::now();
    while !traced()[from..].contains("HTTP/1.1 200") {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It ends with the process it follows.
    drop(it.process);
    strace.wait().unwrap();
    let trace = traced()[from..].to_owned();
    let synced = trace.find("fdatasync(").unwrap_or_else(|| panic!("no fdatasync:\n{trace}"));
    let answered = trace.find("HTTP/1.1 200").unwrap();
    assert!(synced < answered, "answered before it was synced:\n{trace}");
}

#[tokio::test]
async fn a_running_server_notices_what_was_migrated() {
    let it = running().await;
    let file = it.directory.path().join("vendors.csv");
    let row = "moved,Chez Awa,+221770000077,77,secret-of-the-moved,\n";
    let head = "vendorId,businessName,phoneNumber,wasenderInstanceId,wasenderWebhookSecret,wasenderApiKey\n";
    let migrate = |text: String| {
        std::fs::write(&file, text).unwrap();
        let output = Command::new(migrate_binary())
            .args(["batch", &file.display().to_string()])
            .env_clear()
            .env("DATA_DIR", it.directory.path().join("data"))
            .current_dir(it.directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let url = format!("{}/api/webhooks/wasender/moved", it.process.base);
    let post = async |secret: &str| {
        it.admin.raw("POST", &url, &[("x-webhook-signature", secret)], b"{}".to_vec()).await.status
    };
    assert_eq!(post("secret-of-the-moved").await, 401);
    migrate(format!("{head}{row}"));
    assert_eq!(post("secret-of-the-moved").await, 200);
    // It is remembered now, and must be forgotten when it changes.
    migrate(format!("{head}{}", row.replace("secret-of-the-moved", "another-secret-now")));
    let started = std::time::Instant::now();
    while post("another-secret-now").await != 200 {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_directory_has_one_process() {
    let it = running().await;
    let second = Command::new(gateway_binary())
        .env_clear()
        .env("DATA_DIR", it.directory.path().join("data"))
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("METRICS_ADDR", "off")
        .current_dir(it.directory.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("another process uses the data directory")
    );
}

#[tokio::test]
async fn data_without_its_key_does_not_start() {
    let mut it = running().await;
    it.process.signal("TERM");
    it.process.ended(DEADLINE).await;
    let data = it.directory.path().join("data");
    let start = |variables: &[(&str, &str)]| {
        let output = Command::new(gateway_binary())
            .env_clear()
            .env("DATA_DIR", &data)
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env("METRICS_ADDR", "off")
            .envs(variables.iter().copied())
            .current_dir(it.directory.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert!(start(&[("ENCRYPTION_KEY", other)]).contains("another ENCRYPTION_KEY"));
    std::fs::remove_file(data.join("encryption.key")).unwrap();
    assert!(start(&[]).contains("no encryption key"));
    let faults = start(&[("PORT", "x"), ("ADMIN_API_KEY", "short"), ("LISTEN_ADDR", "")]);
    assert!(faults.contains("LISTEN_ADDR") || faults.contains("PORT"), "{faults}");
    assert!(faults.contains("ADMIN_API_KEY"), "all faults at once: {faults}");
}

#[test]
fn dot_env_and_gateway_toml_are_read_and_the_environment_wins() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".env"), "LISTEN_ADDR=from-dot-env\n").unwrap();
    std::fs::write(directory.path().join("gateway.toml"), "PORT = \"x\"\nmax_answer_age = \"y\"\n")
        .unwrap();
    let start = |variables: &[(&str, &str)]| {
        let output = Command::new(gateway_binary())
            .env_clear()
            .envs(variables.iter().copied())
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let faults = start(&[]);
    assert!(faults.contains("LISTEN_ADDR is malformed"), "{faults}");
    assert!(faults.contains("MAX_ANSWER_AGE is malformed"), "{faults}");
    let faults = start(&[("LISTEN_ADDR", "127.0.0.1:0")]);
    assert!(!faults.contains("LISTEN_ADDR"), "the environment wins: {faults}");
}

#[test]
fn the_files_of_secrets_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime.block_on(crate::support::spawn_app());
    let mode =
        |path: std::path::PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(app.data_dir()), 0o700);
    for file in ["encryption.key", "admin.key"] {
        assert_eq!(mode(app.data_dir().join(file)), 0o600, "{file}");
    }
}

#[test]
fn the_demo_shows_every_vendor_answering_in_both_dialects() {
    let output = Command::new(gateway_binary())
        .args(["demo", "--once"])
        .env_clear()
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for number in ["+221770000001", "+2250700000002", "+2290197000003"] {
        let n_answers =
            text.lines().filter(|it| it.contains(&format!("{number} answered after"))).count();
        assert_eq!(n_answers, 2, "{text}");
    }
    for scheme in ["X-Webhook-Signature", "X-Wasender-Signature"] {
        assert_eq!(text.matches(scheme).count(), 3);
    }
}
