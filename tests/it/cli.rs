//! The command line, as its users meet it.

use std::{
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::Instant,
};

use serde_json::{Value, json};
use waba_gateway::twin::{Customer, Misbehaviour, NewSession, Session, Times, Twin};

use crate::{
    restart::free_port,
    support::{Client, DEADLINE, Process, gateway_binary},
};

const ADMIN_KEY: &str = "an-admin-key-of-at-least-32-characters";
const PHONE: &str = "+221770000001";

/// A server with one vendor, `v`, and a shell beside it.
struct Desk {
    process: Option<Process>,
    twin: Twin,
    admin: Client,
    session: u64,
    directory: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

/// Words that a finding has, and how it is brought about.
type Case = (&'static str, fn(&mut Session));

/// What a command came to.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}

impl Desk {
    async fn new() -> Self {
        let twin = Twin::start().await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let variables = vec![
            ("WASENDER_API_URL", twin.api_url()),
            ("WASENDER_API_KEY", twin.pat().to_owned()),
            ("META_API_URL", "http://127.0.0.1:9".to_owned()),
            ("ADMIN_API_KEY", ADMIN_KEY.to_owned()),
            ("DATA_DIR", directory.path().join("data").display().to_string()),
            ("LISTEN_ADDR", format!("127.0.0.1:{port}")),
            ("APP_BASE_URL", format!("http://127.0.0.1:{port}")),
            ("MIN_FREE_DISK", "0".to_owned()),
        ];
        let base = format!("http://127.0.0.1:{port}");
        let admin = Client::new(&base, ADMIN_KEY);
        let session = twin.add_session(NewSession::new(PHONE));
        let mut desk =
            Self { process: None, twin, admin, session: session.id, directory, variables };
        desk.serve(port).await;
        let responders = json!([{ "kind": "rules", "otherwise": "merci" }]);
        desk.admin.put("/api/admin/vendors/v", json!({ "responders": responders })).await;
        let instance = json!({ "phoneNumber": PHONE, "wasenderInstanceId": session.id });
        assert_eq!(desk.post("waba-instances", instance).await, 201);
        assert_eq!(desk.post("setup-wasender-webhook", json!({})).await, 200);
        let customer = Customer::new("+221705550001");
        assert!(desk.twin.customer_says(desk.session, &customer, "bonjour").await.is_ok());
        desk.twin.wait_sends(1, DEADLINE).await;
        desk.twin.idle().await;
        desk
    }

    async fn serve(&mut self, port: u16) {
        let data = self.data();
        let log = self.directory.path().join("log");
        self.process = Some(Process::serve(&data, port, &self.variables, &log).await);
    }

    fn admin_port(&self) -> u16 {
        let base = &self.process.as_ref().unwrap().base;
        base.rsplit(':').next().unwrap().parse().unwrap()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn session(&self) -> Session {
        self.twin.session(self.session).unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> u16 {
        self.admin.post(&format!("/api/admin/vendors/v/{path}"), body).await.status
    }

    /// Runs a command with these changes of the environment.
    async fn run_in(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
        let mut command = Command::new(gateway_binary());
        command
            .args(arguments)
            .env_clear()
            .envs(self.variables.iter().map(|it| (it.0, it.1.as_str())))
            .envs(variables.iter().copied())
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        // The simulated Wasender lives in this process and must be able to answer.
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Ended::of(&output)
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_in(&[], arguments).await
    }

    /// Runs a command until it comes to this.
    async fn until(&self, arguments: &[&str], is: impl Fn(&Ended) -> bool) -> Ended {
        let started = Instant::now();
        loop {
            let ended = self.run(arguments).await;
            if is(&ended) {
                return ended;
            }
            assert!(started.elapsed() < DEADLINE, "{arguments:?}: {ended:?}");
        }
    }

    /// Runs what a command has told to run, as a shell does.
    async fn run_told(&self, line: &str) -> Ended {
        let mut command = Command::new("sh");
        let path = gateway_binary();
        let path = path.parent().unwrap().display();
        command
            .args(["-c", line])
            .env("PATH", format!("{path}:/usr/local/bin:/usr/bin:/bin"))
            .envs(self.variables.iter().map(|it| (it.0, it.1.as_str())))
            .current_dir(self.directory.path());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Ended::of(&output)
    }

    /// The findings of a level, each with what to do next.
    async fn found(&self, level: &str) -> Vec<(String, Vec<String>)> {
        let ended = self.run(&["doctor", "--json"]).await;
        let findings = ended.json()["findings"].as_array().unwrap().clone();
        let of_level = findings.iter().filter(|it| it["level"] == level);
        let texts = |it: &Value| -> Vec<String> {
            it.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
        };
        of_level
            .map(|it| (it["message"].as_str().unwrap().to_owned(), texts(&it["next"])))
            .collect()
    }
}

#[tokio::test]
async fn a_sound_set_up_has_no_fault_and_no_secret_is_told() {
    let desk = Desk::new().await;
    let started = Instant::now();
    // What was heard is written within seconds.
    let ended = loop {
        let ended = desk.run(&["doctor"]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        if ended.out.contains("0 faults, 0 warnings") {
            break ended;
        }
        assert!(started.elapsed() < DEADLINE, "{}", ended.out);
    };
    let french = desk.run(&["doctor", "--vendor", "v", "--lang", "fr"]).await;
    assert_eq!(french.code, 0);
    assert!(french.out.starts_with("La passerelle\n"), "{}", french.out);
    assert!(french.out.contains("0 défaut, 0 avertissement"), "{}", french.out);
    let by_environment = desk.run_in(&[("LANG", "fr_SN.UTF-8")], &["doctor"]).await;
    assert!(by_environment.out.starts_with("La passerelle\n"));
    let both = desk.run_in(&[("LANG", "fr_SN.UTF-8")], &["doctor", "--lang", "en"]).await;
    assert!(both.out.starts_with("The gateway\n"));
    let document = desk.run(&["doctor", "--json"]).await;
    assert_eq!(document.json()["healthy"], true);
    let vendor = desk.run(&["vendor", "show", "v", "--json"]).await;
    let status = desk.run(&["status", "--json"]).await;
    let session = desk.session();
    let pat = desk.twin.pat().to_owned();
    for ended in [&ended, &french, &document, &vendor, &status] {
        for secret in [&session.webhook_secret, &session.api_key, &pat, ADMIN_KEY] {
            assert!(!ended.out.contains(secret) && !ended.err.contains(secret), "{ended:?}");
        }
    }
    for ended in [&ended, &french, &document, &status] {
        assert!(!ended.out.contains("77000"), "a number: {}", ended.out);
    }
    assert_eq!(vendor.json()["numbers"][0]["phoneNumber"], PHONE);
    assert_eq!(desk.run(&["doctor", "--vendor", "nobody"]).await.code, 1);
}

#[tokio::test]
async fn what_is_wrong_at_wasender_is_found_and_mended_by_the_command_it_names() {
    let desk = Desk::new().await;
    let change = |change: fn(&mut Session)| desk.twin.change(desk.session, change);
    let cases: [Case; 5] = [
        ("its webhooks go to https://other.example/hook", |it| {
            it.webhook_url = Some("https://user:pass@other.example/hook?token=x".to_owned());
        }),
        ("switched off", |it| it.webhook_enabled = false),
        ("does not tell of messages.upsert", |it| {
            it.webhook_events.retain(|it| it != "messages.upsert");
        }),
        ("no webhook address", |it| it.webhook_url = None),
        ("secret differs", |it| it.webhook_secret = "another-secret-than-before".to_owned()),
    ];
    for (words, how) in cases {
        change(how);
        let faults = desk.found("fault").await;
        let [(message, next)] = faults.as_slice() else { panic!("{words}: {faults:?}") };
        assert!(message.contains(words), "{message}");
        let [command] = next.as_slice() else { panic!("{next:?}") };
        let told = desk.run_told(command).await;
        assert!(told.out.contains("\"success\":true"), "{command}: {told:?}");
        assert_eq!(desk.run(&["doctor"]).await.code, 0, "{words}");
    }
    let by_person: [Case; 2] = [
        ("is not connected (disconnected)", |it| it.status = "logged_out".to_owned()),
        ("belongs to another phone number", |it| it.phone_number = "+221770009999".to_owned()),
    ];
    for (words, how) in by_person {
        let before = desk.session();
        change(how);
        let faults = desk.found("fault").await;
        assert!(faults[0].0.contains(words) && faults[0].1.len() == 1, "{faults:?}");
        desk.twin.change(desk.session, |it| *it = before);
    }
    change(|it| it.log_messages = false);
    let warnings = desk.found("warning").await;
    assert!(warnings[0].0.contains("log_messages is off"), "{warnings:?}");
    let ended = desk.run(&["doctor"]).await;
    assert_eq!(ended.code, 0, "a warning is no fault: {ended:?}");
    desk.twin.stop().await;
    let faults = desk.found("fault").await;
    assert!(faults[0].0.contains("Wasender cannot be reached"), "{faults:?}");
}

#[tokio::test]
async fn tokens_that_open_nothing_are_told_apart() {
    let desk = Desk::new().await;
    for (token, words) in [
        (String::new(), "there is no personal access token"),
        ("ab".repeat(32), "is a session's key"),
        ("1|not-the-token".to_owned(), "refused the personal access token (WASENDER_API_KEY)"),
    ] {
        let ended = desk.run_in(&[("WASENDER_API_KEY", &token)], &["doctor"]).await;
        assert!(ended.out.contains(words), "{}", ended.out);
        assert_eq!(ended.code, i32::from(!token.is_empty()), "{}", ended.out);
        assert!(token.is_empty() || !ended.out.contains(&token));
    }
}

#[tokio::test]
async fn what_is_wrong_on_this_machine_is_found() {
    let mut desk = Desk::new().await;
    let found = async |desk: &Desk, variables: &[(&str, &str)], words: &[&str]| {
        let ended = desk.run_in(variables, &["doctor"]).await;
        for words in words {
            assert!(ended.out.contains(words), "{words}: {}", ended.out);
        }
        assert_eq!(ended.code, 1, "{}", ended.out);
    };
    // All faults of the configuration at once, and nothing else.
    let bad = [("ADMIN_API_KEY", "short"), ("BODY_BYTES_MAX", "x"), ("LANG", "fr")];
    let words =
        ["ADMIN_API_KEY a moins de 32 caractères", "BODY_BYTES_MAX est mal formé", "2 défauts"];
    found(&desk, &bad, &words).await;
    let public = [
        ("WASENDER_API_URL", "https://wasender.invalid/api"),
        ("APP_BASE_URL", "http://localhost:9002"),
    ];
    found(&desk, &public, &["which Wasender cannot call", "Wasender cannot be reached"]).await;
    found(&desk, &[("MIN_FREE_DISK", &u64::MAX.to_string())], &["webhooks are answered 503"]).await;
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    found(&desk, &[("ENCRYPTION_KEY", key)], &["another ENCRYPTION_KEY"]).await;
    std::process::Command::new("chmod").arg("755").arg(desk.data()).status().unwrap();
    found(&desk, &[], &["can be entered by other users", "→ chmod 700"]).await;
    std::process::Command::new("chmod").arg("700").arg(desk.data()).status().unwrap();
    let other = Twin::start().await.unwrap();
    let elsewhere = other.api_url().replace("/api", "");
    found(&desk, &[("APP_BASE_URL", &elsewhere)], &["leads to something else"]).await;
    let listen = elsewhere.replace("http://", "");
    found(&desk, &[("LISTEN_ADDR", &listen)], &["something else answers"]).await;
    let unused = format!("127.0.0.1:{}", free_port());
    found(&desk, &[("LISTEN_ADDR", &unused)], &["the server does not run"]).await;
    // The clock was set back: the newest entry is from tomorrow.
    desk.process.take();
    let db = rusqlite::Connection::open(desk.data().join("waba.db")).unwrap();
    db.execute("UPDATE entries SET id = id + (86400000 << 20)", ()).unwrap();
    drop(db);
    found(&desk, &[], &["it was set back", "→ let a time service set the clock"]).await;
    // Nothing at all.
    let nothing = desk.directory.path().join("nothing").display().to_string();
    found(&desk, &[("DATA_DIR", &nothing)], &["there is no data in"]).await;
    let ended = desk.run_in(&[("DATA_DIR", &nothing)], &["status"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert!(!desk.directory.path().join("nothing").exists(), "looking makes nothing");
}

#[tokio::test]
async fn what_is_wrong_with_a_vendor_is_found() {
    let desk = Desk::new().await;
    let bare = json!({ "autoReplyEnabled": false, "status": "suspended" });
    desk.admin.put("/api/admin/vendors/bare", bare).await;
    for _ in 0..3 {
        let url = desk.session().webhook_url.unwrap();
        let headers = [("x-webhook-signature", "not-the-secret")];
        desk.admin.raw("POST", &url, &headers, b"{}".to_vec()).await;
    }
    let started = Instant::now();
    let refused = loop {
        let ended = desk.run(&["doctor", "--vendor", "v"]).await;
        if ended.out.contains("3 refused in all") {
            break ended;
        }
        assert!(started.elapsed() < DEADLINE, "{}", ended.out);
    };
    assert_eq!(refused.code, 0, "not for long: {}", refused.out);
    // It has been so for five minutes.
    let db = rusqlite::Connection::open(desk.data().join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let sql = "UPDATE vitals SET refused_since = refused_since - 300000 WHERE vendor = 'v'";
    assert_eq!(db.execute(sql, ()).unwrap(), 1);
    let ended = desk.run(&["doctor"]).await;
    assert_eq!(ended.code, 1);
    for words in [
        "its webhooks have been refused for 5 min",
        "it is suspended",
        "its automatic replies are off",
        "nobody answers for it",
        "it has no number",
    ] {
        assert!(ended.out.contains(words), "{words}: {}", ended.out);
    }
}

#[tokio::test]
async fn a_vendor_that_cannot_be_read_is_named_and_hides_no_other() {
    let desk = Desk::new().await;
    desk.admin.put("/api/admin/vendors/shut", json!({})).await;
    let db = rusqlite::Connection::open(desk.data().join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let sql = "UPDATE vendors SET doc = x'00' WHERE id = 'shut'";
    assert_eq!(db.execute(sql, ()).unwrap(), 1);
    let listed = desk.run(&["vendor", "list", "--json"]).await;
    assert_eq!((listed.code, &listed.json()["unreadable"]), (1, &json!(["shut"])));
    assert_eq!(listed.json()["vendors"][0]["vendorId"], "v");
    assert!(listed.err.contains("1 vendors are left out") && listed.err.contains("shut"));
    let exported = desk.run(&["vendor", "export"]).await;
    assert_eq!((exported.code, &exported.json()["unreadable"]), (1, &json!(["shut"])));
    assert_eq!(exported.json()["vendors"][0]["vendorId"], "v");
    let faults = desk.found("fault").await;
    assert!(faults.iter().any(|it| it.0.contains("cannot be opened or read")), "{faults:?}");
    assert_eq!(desk.run(&["doctor", "--vendor", "shut"]).await.code, 1);
}

#[tokio::test]
async fn a_test_message_goes_the_whole_way_in_both_dialects() {
    let desk = Desk::new().await;
    let n_before = desk.twin.n_sends();
    let ended = desk.run(&["vendor", "test", "v"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    for words in ["X-Webhook-Signature", "X-Wasender-Signature", "received, and on disk"] {
        assert!(ended.out.contains(words), "{words}: {}", ended.out);
    }
    assert_eq!(ended.out.matches("ANSWERED after").count(), 2, "{}", ended.out);
    // The answers go to the vendor itself.
    let sends = desk.twin.sends();
    assert!(sends[n_before..].iter().all(|it| it.to == PHONE && it.text == "merci"));
    assert_eq!(sends.len(), n_before + 2);
    let from = ["vendor", "test", "v", "--from", "70 555 00 07", "--json", "--text", "salut"];
    let ended = desk.run(&from).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let document = ended.json();
    assert_eq!(document["answered"], true);
    assert_eq!(document["messages"].as_array().unwrap().len(), 2);
    assert_eq!(desk.twin.sends().last().unwrap().to, "+221705550007");
    assert_eq!(desk.run(&["vendor", "test", "nobody"]).await.code, 1);
    let ended = desk.run(&["vendor", "test", "v", "--from", "abc"]).await;
    assert!(ended.code == 2 && ended.err.contains("--from"), "{ended:?}");
}

#[tokio::test]
async fn a_test_message_that_is_not_answered_says_why() {
    let mut desk = Desk::new().await;
    assert_eq!(desk.post("pause", json!({})).await, 200);
    let test = ["vendor", "test", "v", "--wait", "1", "--from", "+221705550008"];
    let ended = desk.run(&test).await;
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("→ waba-gateway vendor resume v"), "{}", ended.out);
    assert_eq!(desk.run(&["vendor", "resume", "v"]).await.code, 0);
    let off = json!({ "autoReplyEnabled": false });
    assert_eq!(desk.admin.put("/api/admin/vendors/v", off).await.status, 200);
    let ended = desk.run(&test).await;
    assert!(ended.out.contains("automatic replies were off"), "{}", ended.out);
    // The proxy leads to a gateway that knows another secret.
    let other = Desk::new().await;
    let elsewhere = other.admin.get("/health").await;
    assert_eq!(elsewhere.status, 200);
    let base = other.variables.iter().find(|it| it.0 == "APP_BASE_URL").unwrap().1.clone();
    let ended = desk.run_in(&[("APP_BASE_URL", &base)], &test).await;
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("Refused (401)"), "{}", ended.out);
    desk.process.take();
    let ended = desk.run_in(&[("LANG", "fr")], &test).await;
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("Rien ne répond à cette adresse"), "{}", ended.out);
    assert!(ended.out.contains("→ waba-gateway doctor --vendor v"), "{}", ended.out);
}

#[tokio::test]
async fn a_test_with_the_twin_leaves_nothing_behind() {
    let mut desk = Desk::new().await;
    let bot = json!([{ "kind": "responseApi", "url": "https://bot.example/x?key=hidden" }]);
    let body = json!({ "responders": bot, "forwardUrl": "https://back.example/hook" });
    assert_eq!(desk.admin.put("/api/admin/vendors/v", body).await.status, 200);
    // It works without the server, too.
    desk.process.take();
    let (n_requests, n_hooks) = (desk.twin.requests().len(), desk.twin.n_hooks());
    let ended = desk.run(&["vendor", "test", "v", "--twin"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.out.matches("ANSWERED after").count(), 2, "{}", ended.out);
    assert!(ended.err.contains("https://bot.example/x is not asked"), "{}", ended.err);
    assert!(!ended.err.contains("hidden"));
    assert_eq!((desk.twin.requests().len(), desk.twin.n_hooks()), (n_requests, n_hooks));
    let db = rusqlite::Connection::open(desk.data().join("waba.db")).unwrap();
    let n: i64 =
        db.query_row("SELECT count(*) FROM entries WHERE kind = 0", (), |row| row.get(0)).unwrap();
    assert_eq!(n, 1, "the customer's of the beginning");
}

#[tokio::test]
async fn why_explains_messages_and_sends() {
    let desk = Desk::new().await;
    let list = desk.admin.get("/api/admin/vendors/v/messages").await.json();
    let id = |n: usize| list["messages"][n]["messageId"].as_str().unwrap().to_owned();
    let answered = desk.run(&["why", &id(1)]).await;
    assert_eq!(answered.code, 0, "{answered:?}");
    assert!(answered.out.contains("It was answered; the answer follows."), "{}", answered.out);
    assert!(answered.out.contains(&id(0)), "the answer is explained too: {}", answered.out);
    assert!(!answered.out.contains("bonjour") && !answered.out.contains("70555"));
    let send = desk.run(&["why", &id(0), "--json"]).await.json();
    assert_eq!((&send["direction"], &send["attempts"]), (&json!("outbound"), &json!(1)));
    // A human takes over, and the next message stays unanswered.
    let customer = Customer::new("+221705550001");
    assert!(desk.twin.human_types(desk.session, &customer, "je m'en occupe").await.is_ok());
    let started = Instant::now();
    let quiet = loop {
        assert!(desk.twin.customer_says(desk.session, &customer, "merci").await.is_ok());
        let list = desk.admin.get("/api/admin/vendors/v/messages?limit=50").await.json();
        let messages = list["messages"].as_array().unwrap().clone();
        let quiet = messages.iter().find(|it| it["reason"] == "paused").cloned();
        if let Some(quiet) = quiet {
            break quiet["messageId"].as_str().unwrap().to_owned();
        }
        assert!(started.elapsed() < DEADLINE, "{messages:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    let french = desk.run(&["why", &quiet, "--lang", "fr"]).await;
    assert!(french.out.contains("quelqu'un a répondu depuis le téléphone"), "{}", french.out);
    // What it says to do helps.
    let english = desk.run(&["why", &quiet]).await;
    let command = english.out.lines().find_map(|it| it.trim().strip_prefix("→ curl")).unwrap();
    let told = desk.run_told(&format!("curl{command}")).await;
    assert!(told.out.contains("\"paused\":false"), "{told:?}");
    assert!(desk.run(&["why", &quiet]).await.out.contains("→ the pause is over"));
    let unknown = desk.run(&["why", "msg_0000000000000001"]).await;
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    assert_eq!(desk.run(&["why", "hello"]).await.code, 2);
}

#[tokio::test]
async fn status_tells_how_the_gateway_is() {
    let mut desk = Desk::new().await;
    let status = desk.run(&["status", "--json"]).await;
    assert_eq!(status.code, 0, "{status:?}");
    let document = status.json();
    assert_eq!(document["server"]["ready"], true);
    assert_eq!(
        (&document["waiting"], &document["oldestWaitingSeconds"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(desk.post("pause", json!({})).await, 200);
    let customer = Customer::new("+221705550002");
    assert!(desk.twin.customer_says(desk.session, &customer, "bonjour").await.is_ok());
    let started = Instant::now();
    let document = loop {
        let document = desk.run(&["status", "--json"]).await.json();
        if document["waiting"] == 1 && document["oldestWaitingSeconds"].as_i64() >= Some(1) {
            break document;
        }
        assert!(started.elapsed() < DEADLINE, "{document:#}");
    };
    assert_eq!(document["pausedVendors"], json!(["v"]));
    assert!(document["freeDiskBytes"].as_u64().unwrap() > 0);
    let text = desk.run(&["status"]).await.out;
    assert!(text.contains("1 vendor (v), 0 conversations"), "{text}");
    // A number without a key of its own: what it should send is parked.
    let other = desk.twin.add_session(NewSession::new("+221770000002"));
    desk.admin.put("/api/admin/vendors/w", json!({})).await;
    let instance = json!({ "phoneNumber": "+221770000002", "wasenderInstanceId": other.id });
    desk.admin.post("/api/admin/vendors/w/waba-instances", instance).await;
    let message = json!({ "to": "+221705550003", "message": "salut" });
    desk.admin.post("/api/admin/vendors/w/send-message", message).await;
    let started = Instant::now();
    loop {
        let document = desk.run(&["status", "--json"]).await.json();
        if document["parked"] == json!({ "no_session_key": 1 }) {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "{document:#}");
    }
    let faults = desk.found("fault").await;
    let has = |words: &str| faults.iter().any(|it| it.0.contains(words));
    assert!(has("no session key: its sends are parked") && has("no webhook secret"), "{faults:?}");
    let warnings = desk.found("warning").await;
    let parked = "1 message waits for a person (no_session_key 1)";
    assert!(warnings.iter().any(|it| it.0 == parked), "{warnings:?}");
    desk.process.take();
    let status = desk.run(&["status"]).await;
    assert_eq!(status.code, 1);
    assert!(status.out.contains("NOT RUNNING"), "{}", status.out);
    assert!(status.out.contains("waiting    1"), "{}", status.out);
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_beside_a_running_server() {
    let desk = Desk::new().await;
    let made = desk.run(&["key", "create", "--name", "shop", "--vendor", "v"]).await;
    assert_eq!(made.code, 0, "{made:?}");
    let key = made.out.trim();
    assert!(key.starts_with("wgk_") && key.lines().count() == 1, "the key alone: {}", made.out);
    let client = desk.admin.with_key(key);
    assert_eq!(client.get("/api/admin/vendors/v").await.status, 200);
    assert_eq!(client.get("/api/admin/vendors/other").await.status, 403);
    let read_only = ["key", "create", "--name", "look", "--read-only", "--json"];
    let look = desk.run(&read_only).await.json();
    let looker = desk.admin.with_key(look["key"].as_str().unwrap());
    assert_eq!(looker.get("/api/admin/keys").await.status, 200);
    assert_eq!(looker.post("/api/admin/pause", json!({})).await.status, 403);
    let list = desk.run(&["key", "list", "--json"]).await;
    assert!(!list.out.contains("wgk_"));
    let keys = list.json()["keys"].as_array().unwrap().clone();
    let shop = keys.iter().find(|it| it["name"] == "shop").unwrap();
    assert_eq!(shop["vendorId"], "v");
    let id = shop["id"].as_str().unwrap();
    assert_eq!(desk.run(&["key", "revoke", id]).await.code, 0);
    assert_eq!(client.get("/api/admin/vendors/v").await.status, 401);
    assert_eq!(desk.run(&["key", "revoke", id]).await.code, 1);
    let nobody = ["key", "create", "--name", "x", "--vendor", "nobody"];
    assert_eq!(desk.run(&nobody).await.code, 1);
    let adopted = keys.iter().find(|it| it["id"].as_str().unwrap().starts_with("key_admin_"));
    let revoked = desk.run(&["key", "revoke", adopted.unwrap()["id"].as_str().unwrap()]).await;
    assert!(revoked.err.contains("ADMIN_API_KEY"), "{revoked:?}");
    let deeds = on_record(&looker).await;
    let of = |what: &str, about: &str| ["cli", what, about].map(str::to_owned);
    assert_eq!(deeds[0][1], "deleteKey");
    assert!(deeds.contains(&of("deleteKey", id)), "{deeds:?}");
    assert!(deeds.contains(&of("createKey", id)), "{deeds:?}");
    assert!(deeds.contains(&of("createKey", look["id"].as_str().unwrap())), "{deeds:?}");
}

/// By whom, what and about what, newest first.
async fn on_record(client: &Client) -> Vec<[String; 3]> {
    let answer = client.get("/api/admin/audit").await.json();
    let fields = ["by", "what", "about"];
    let deed = |it: &Value| fields.map(|name| it[name].as_str().unwrap_or_default().to_owned());
    answer["changes"].as_array().unwrap().iter().map(deed).collect()
}

#[tokio::test]
async fn a_running_server_notices_that_a_vendor_is_paused_and_resumed() {
    let desk = Desk::new().await;
    let n_before = desk.twin.n_sends();
    assert_eq!(desk.run(&["vendor", "pause", "v"]).await.code, 0);
    assert_eq!(desk.run(&["vendor", "pause", "nobody"]).await.code, 1);
    let list = desk.run(&["vendor", "list"]).await;
    assert!(list.out.contains("active, paused"), "{}", list.out);
    assert!(!list.out.contains("77000"), "no number is listed: {}", list.out);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let customer = Customer::new("+221705550002");
    assert!(desk.twin.customer_says(desk.session, &customer, "bonjour").await.is_ok());
    let started = Instant::now();
    while desk.run(&["status", "--json"]).await.json()["waiting"] != 1 {
        assert!(started.elapsed() < DEADLINE);
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(desk.twin.n_sends(), n_before, "intake goes on, sends do not");
    assert_eq!(desk.run(&["vendor", "resume", "v"]).await.code, 0);
    assert_eq!(desk.twin.wait_sends(n_before + 1, DEADLINE).await.len(), n_before + 1);
    let deeds = on_record(&desk.admin).await;
    let what: Vec<[&str; 2]> = deeds.iter().map(|it| [&*it[0], &*it[1]]).collect();
    assert_eq!(what[..2], [["cli", "resumeVendor"], ["cli", "pauseVendor"]]);
}

/// A process that is killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_twin_of_its_own_serves_a_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let out = directory.path().join("out");
    let child = Command::new(gateway_binary())
        .args(["twin", "--json", "--listen", &listen])
        .args(["--session", PHONE, "--session", "+2250700000002"])
        .env_clear()
        .stdout(std::fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    let _twin = Killed(child);
    let started = Instant::now();
    let told: Value = loop {
        let text = std::fs::read_to_string(&out).unwrap();
        if let Ok(told) = serde_json::from_str(&text) {
            break told;
        }
        assert!(started.elapsed() < DEADLINE, "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    assert_eq!(told["sessions"].as_array().unwrap().len(), 2);
    let variables = [
        ("WASENDER_API_URL", text(&told["apiUrl"])),
        ("WASENDER_API_KEY", text(&told["personalAccessToken"])),
        ("ADMIN_API_KEY", ADMIN_KEY.to_owned()),
    ];
    let log = directory.path().join("log");
    let data = directory.path().join("data");
    let process = Process::serve(&data, free_port(), &variables, &log).await;
    let admin = Client::new(&process.base, ADMIN_KEY);
    let responders = json!([{ "kind": "rules", "otherwise": "merci" }]);
    admin.put("/api/admin/vendors/v", json!({ "responders": responders })).await;
    let session = &told["sessions"][0]["id"];
    let instance = json!({ "phoneNumber": PHONE, "wasenderInstanceId": session });
    admin.post("/api/admin/vendors/v/waba-instances", instance).await;
    let set_up = admin.post("/api/admin/vendors/v/setup-wasender-webhook", json!({})).await;
    assert_eq!(set_up.status, 200, "{}", set_up.text);
    let customer = json!({ "session": session, "from": "+221705550001", "text": "bonjour" });
    let url = text(&told["customerUrl"]);
    let headers = [("content-type", "application/json")];
    let answer = admin.raw("POST", &url, &headers, customer.to_string().into_bytes()).await;
    assert_eq!(answer.json()["status"], 200, "{}", answer.text);
    let started = Instant::now();
    loop {
        let messages = admin.get("/api/admin/vendors/v/messages").await.json();
        // Who asks too often is told so instead.
        let messages = messages["messages"].as_array().cloned().unwrap_or_default();
        if messages.iter().any(|it| it["message"] == "merci" && it["status"] == "read") {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{messages:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[test]
fn completions_know_every_command_and_every_help_has_its_exit_codes() {
    let run = |arguments: &[&str]| {
        let output = Command::new(gateway_binary()).args(arguments).env_clear().output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        let text = run(&["completions", shell]);
        for word in [
            "doctor", "status", "why", "vendor", "twin", "key", "serve", "demo", "journal",
            "backup", "restore",
        ] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    for command in [
        "doctor",
        "status",
        "why",
        "twin",
        "key create",
        "key revoke",
        "vendor show",
        "vendor pause",
        "vendor test",
        "backup",
        "restore",
        "journal ledger",
        "journal list",
        "journal replay",
    ] {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.push("--help");
        assert!(run(&words).contains("Exit codes: 0"), "{command}");
    }
}

#[test]
fn the_demo_speaks_french() {
    let output = Command::new(gateway_binary())
        .args(["demo", "--once"])
        .env_clear()
        .env("LC_ALL", "fr_FR.UTF-8")
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("Démonstration de waba-gateway\u{a0}:"), "{text}");
    assert_eq!(text.matches(" a répondu après ").count(), 6, "{text}");
}

/// Misbehaviour at set-up shows in what `doctor` reads.
#[tokio::test]
async fn a_session_that_is_not_ours_is_told() {
    let desk = Desk::new().await;
    desk.twin.misbehave(desk.session, Misbehaviour::PatRefused, Times::Always);
    let faults = desk.found("fault").await;
    assert!(
        faults.iter().any(|it| it.0.contains("refused the personal access token")),
        "{faults:?}"
    );
}

#[tokio::test]
async fn vendors_go_from_one_gateway_to_another_as_a_file() {
    let desk = Desk::new().await;
    let (file, directory) = ("vendors.json", elsewhere(&desk));
    let exported = desk.run(&["vendor", "export", "--secrets", file]).await;
    assert_eq!((exported.code, exported.out.as_str()), (0, ""), "{exported:?}");
    let there = [("DATA_DIR", directory.as_str())];
    let dry = desk.run_in(&there, &["vendor", "import", "--dry-run", file]).await;
    assert_eq!(
        (dry.code, dry.out.as_str()),
        (0, "1 vendors to make, 0 to change, with 1 numbers\n")
    );
    assert_eq!(desk.run_in(&there, &["vendor", "import", file]).await.code, 0);
    let again = desk.run_in(&there, &["vendor", "export", "--secrets"]).await;
    let path = desk.directory.path().join(file);
    let written: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(again.json()["vendors"], written["vendors"]);
    // Nothing of a file with a fault is taken.
    std::fs::write(&path, r#"{"version":1,"vendors":[{"vendorId":"x y"}]}"#).unwrap();
    let bad = desk.run_in(&there, &["vendor", "import", file]).await;
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.err.contains("nothing was changed"), "{bad:?}");
}

fn elsewhere(desk: &Desk) -> String {
    desk.directory.path().join("elsewhere").display().to_string()
}

/// What changes the journal is done by the server, or here when there is none.
#[tokio::test]
async fn the_journal_is_operated_with_a_server_and_without_one() {
    let mut desk = Desk::new().await;
    let ledger = desk.run(&["journal", "ledger", "--verify"]).await;
    assert_eq!(ledger.code, 0, "{ledger:?}");
    assert!(ledger.out.contains("a count of the entries gives the same"), "{ledger:?}");
    let stats = desk.run(&["journal", "stats"]).await;
    assert!(stats.out.contains("synced transactions since the server's start"), "{stats:?}");
    let paused = desk.post("pause", json!({})).await;
    let to = json!({ "to": "+221705550001", "message": "held back" });
    assert_eq!((paused, desk.post("send-message", to).await), (200, 202));
    let list = desk.run(&["journal", "list", "--state", "waiting", "--json"]).await;
    let id = list.json()["entries"][0]["id"].as_str().unwrap().to_owned();
    let parked = desk.run(&["journal", "park", &id]).await;
    assert_eq!((parked.code, parked.err.as_str()), (0, ""), "{parked:?}");
    // A key that is not the server's.
    let other = [("ADMIN_API_KEY", "another-admin-key-of-at-least-32-characters")];
    let refused = desk.run_in(&other, &["journal", "release", &id]).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("refuses the admin key"), "{refused:?}");
    let file = desk.directory.path().join("copy.db").display().to_string();
    let copied = desk.run(&["backup", &file]).await;
    assert_eq!(copied.code, 0, "{copied:?}");
    assert!(copied.err.contains("encryption key"), "{copied:?}");
    let taken = desk.run(&["restore", "--force", &file]).await;
    assert_eq!(taken.code, 2, "{taken:?}");
    assert!(taken.err.contains("stop it first"), "{taken:?}");

    let port = desk.admin_port();
    desk.process.take().unwrap().kill();
    let shown = desk.run(&["journal", "show", &id]).await;
    assert!(shown.out.contains("parked (held)"), "{shown:?}");
    assert!(!shown.out.contains("held back") && !shown.out.contains("70555"), "{shown:?}");
    let released = desk.run(&["journal", "release", &id]).await;
    assert_eq!(released.code, 0, "{released:?}");
    assert!(released.err.contains("no server runs"), "{released:?}");
    let again = desk.run(&["journal", "release", &id]).await;
    assert_eq!(again.code, 1, "{again:?}");
    let none = ["journal", "replay", "--vendor", "v", "--since", "1h", "--json"];
    assert_eq!(desk.run(&none).await.json()["replayed"], 0);
    assert_eq!(desk.run(&["journal", "replay"]).await.code, 2);
    assert_eq!(desk.run(&["vendor", "resume", "v"]).await.code, 0);
    desk.serve(port).await;
    desk.twin.wait_sends(2, DEADLINE).await;
    let deeds = on_record(&desk.admin).await;
    let is = |by: fn(&str) -> bool, what: &str| {
        deeds.iter().any(|it| by(&it[0]) && it[1] == what && it[2] == id)
    };
    assert!(is(|it| it != "cli", "journalPark"), "the server did it: {deeds:?}");
    assert!(is(|it| it == "cli", "journalRelease"), "there was no server: {deeds:?}");

    desk.process.take().unwrap().kill();
    let restored = desk.run(&["restore", "--force", &file]).await;
    assert_eq!(restored.code, 0, "{restored:?}");
    let verified = desk.run(&["journal", "ledger", "--verify", "--json"]).await;
    assert_eq!(verified.json()["verified"], true, "{verified:?}");
    let parked = desk.run(&["journal", "list", "--state", "parked"]).await;
    assert!(parked.out.contains(&id), "{parked:?}");
}

#[tokio::test]
async fn a_message_is_replayed_with_a_server_and_without_one() {
    let mut desk = Desk::new().await;
    let refusal = Misbehaviour::Refuse { status: 422, message: "invalid".to_owned() };
    desk.twin.misbehave(desk.session, refusal, Times::Once);
    let to = json!({ "to": "+221705550001", "message": "prêt" });
    let sent = desk.admin.post("/api/admin/vendors/v/send-message", to).await.json();
    let id = sent["messageId"].as_str().unwrap().to_owned();
    let dead = ["journal", "list", "--state", "dead"];
    desk.until(&dead, |it| it.out.contains(&id)).await;
    let replayed = desk.run(&["journal", "replay", &id]).await;
    assert_eq!((replayed.code, replayed.err.as_str()), (0, ""), "{replayed:?}");
    desk.twin.wait_sends(2, DEADLINE).await;
    // The customer has it: only who insists sends it twice.
    let refused = desk.run(&["journal", "replay", &id]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let again = ["journal", "replay", &id, "--again"];
    let insisted = desk.until(&again, |it| it.code == 0).await;
    assert!(insisted.err.contains("a second time"), "{insisted:?}");
    desk.twin.wait_sends(3, DEADLINE).await;
    // Its outcome is on disk before the process dies.
    let is_accepted = |it: &Ended| {
        ["accepted", "sent", "delivered", "read"]
            .contains(&it.json()["status"].as_str().unwrap_or_default())
    };
    desk.until(&["why", &id, "--json"], is_accepted).await;

    let port = desk.admin_port();
    desk.process.take().unwrap().kill();
    assert_eq!(desk.run(&["journal", "replay", &id]).await.code, 1);
    let insisted = desk.run(&again).await;
    assert_eq!(insisted.code, 0, "{insisted:?}");
    assert!(insisted.err.contains("no server runs"), "{insisted:?}");
    assert_eq!(desk.twin.n_sends(), 3, "nobody is there to send it");
    desk.serve(port).await;
    desk.twin.wait_sends(4, DEADLINE).await;
}

#[tokio::test]
async fn a_clock_that_jumped_is_told() {
    let desk = Desk::new().await;
    let db = rusqlite::Connection::open(desk.data().join("waba.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let mark = json!({ "seen": 0, "jump": 7_200_000, "held_for": 3_600_000 }).to_string();
    let sql = "UPDATE meta SET value = ?1 WHERE key = 'clock'";
    assert_eq!(db.execute(sql, [mark.as_bytes()]).unwrap(), 1, "the start looks at the clock");
    let warnings = desk.found("warning").await;
    let told = warnings.iter().find(|it| it.0.contains("the clock has jumped by 2 h"));
    assert!(told.is_some_and(|it| it.0.contains("another 1 h")), "{warnings:?}");
    let stats = desk.run(&["journal", "stats"]).await;
    assert!(stats.out.contains("HELD"), "{stats:?}");
}

#[tokio::test]
async fn the_ways_out_of_a_number_are_told_by_why_and_its_other_numbers_by_doctor() {
    let desk = Desk::new().await;
    let account = json!({ "phoneNumberId": "1042", "accessToken": "a-token-of-metas",
        "phoneNumber": "+221770009999" });
    let change = json!({ "failover": ["meta"], "meta": account });
    let changed = desk.admin.put("/api/admin/vendors/v/waba/waba_v", change).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let doctor = desk.run(&["doctor", "--json"]).await.json();
    let findings = doctor["findings"].as_array().unwrap();
    let found = findings.iter().find(|it| it["check"] == "failover").unwrap();
    assert_eq!((&found["vendorId"], &found["level"]), (&json!("v"), &json!("warning")));
    assert!(found["message"].as_str().unwrap().contains("meta answers from another number"));
    assert!(!doctor.to_string().contains("77000"), "{doctor}");
    // The session is gone, and nobody answers at Meta.
    desk.twin.change(desk.session, |it| it.status = "logged_out".to_owned());
    let message = json!({ "to": "+221705550001", "message": "prêt" });
    let sent = desk.admin.post("/api/admin/vendors/v/send-message", message).await.json();
    let id = sent["messageId"].as_str().unwrap();
    let why = desk.run(&["why", id]).await;
    assert_eq!(why.code, 0, "{why:?}");
    let first = "Way out 1, wasender: passed over since 20";
    assert!(why.out.contains(first) && why.out.contains("(disconnected)"), "{}", why.out);
    assert!(why.out.contains("Way out 2, meta: messages pass"), "{}", why.out);
    assert!(!why.out.contains("77000") && !why.out.contains("a-token"), "{}", why.out);
    let document = desk.run(&["why", id, "--json"]).await.json();
    let ways = document["ways"].as_array().unwrap();
    let words: Vec<&Value> = ways.iter().map(|it| &it["circuit"]).collect();
    assert_eq!(words, ["open", "closed"]);
    assert_eq!(ways[0]["shutWhy"], "disconnected");
    assert!(ways[1].get("phoneNumber").is_none());
    let french = desk.run(&["why", id, "--lang", "fr"]).await.out;
    assert!(french.contains("Voie 1, wasender\u{a0}: évitée depuis"), "{french}");
}
