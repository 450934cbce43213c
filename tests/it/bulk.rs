//! One message to many recipients.

mod held;
mod pace;

use std::{collections::BTreeSet, fmt::Write, time::Duration};

use serde_json::{Value, json};
use waba_gateway::{
    domain::clock::{Clock, MINUTE, SECOND},
    twin::{Customer, Misbehaviour, NewSession, Times, Twin},
};

use crate::{
    restart::free_port,
    support::{
        Answer, Client, DEADLINE, Options, Process, TestApp, TestVendor, spawn_app, spawn_app_with,
    },
};

const NOW: i64 = 1_760_000_000_000;
const CSV: &str = "text/csv";
pub const LINES: &str = "application/x-ndjson";
const BEGUN: &str =
    "SELECT count(*) FROM entries WHERE kind = 2 AND account = 0 AND begun_at IS NOT NULL";

/// A service whose clock the test moves, with rested pace buckets.
async fn still() -> (TestApp, TestVendor) {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    app.clock.advance(MINUTE);
    (app, vendor)
}

fn path(vendor: &TestVendor) -> String {
    format!("/api/v1/vendors/{}/messages/bulk", vendor.id)
}

pub async fn post(app: &TestApp, vendor: &TestVendor, form: &str, key: &str, body: &str) -> Answer {
    let (bearer, url) = (app.admin.bearer(), format!("{}{}", app.base, path(vendor)));
    let mut headers = vec![("authorization", bearer.as_str()), ("content-type", form)];
    headers.extend((!key.is_empty()).then_some(("idempotency-key", key)));
    app.admin.raw("POST", &url, &headers, body.as_bytes().to_vec()).await
}

/// A job with so many recipients, as JSON lines.
pub fn lines(n: usize, per_minute: Option<u32>) -> String {
    let message = json!({ "type": "text", "text": "Bonjour {{name}}" });
    let mut body = json!({ "message": message, "perMinute": per_minute }).to_string();
    for n in 0..n {
        let line = json!({ "to": format!("+22170555{n:04}"), "name": format!("n{n}") });
        write!(body, "\n{line}").unwrap();
    }
    body
}

pub async fn taken(app: &TestApp, vendor: &TestVendor, body: &str) -> String {
    let answer = post(app, vendor, LINES, "", body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["jobId"].as_str().unwrap().to_owned()
}

async fn shown(app: &TestApp, vendor: &TestVendor, job: &str) -> Value {
    let answer = app.gateway.bulk_job(&vendor.id, job.parse().unwrap()).await.unwrap();
    let progress = answer.progress;
    json!({
        "state": answer.job.state.as_str(),
        "note": answer.job.note,
        "waiting": progress.n_waiting,
        "away": progress.n_on_their_way,
        "sent": progress.n_sent,
        "parked": progress.n_parked,
    })
}

/// Lets time pass until the job is as `is` says.
async fn until(
    app: &TestApp,
    vendor: &TestVendor,
    job: &str,
    is: impl Fn(&Value) -> bool,
) -> Value {
    let started = std::time::Instant::now();
    loop {
        let it = shown(app, vendor, job).await;
        if is(&it) {
            return it;
        }
        assert!(started.elapsed() < DEADLINE, "in the end it was {it:#}");
        app.clock.advance(SECOND);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_variable_that_stands_in_a_message_thousands_of_times_makes_it_no_monster() {
    let (app, vendor) = still().await;
    let many = "{{x}}".repeat(20_000);
    let value = "é".repeat(4_096);
    let options = json!([{ "id": "a", "title": "a" }]);
    let template = |variables: Value| json!({ "contentSid": "HX1", "variables": variables });
    for (message, field) in [
        (json!({ "type": "text", "text": many }), "message"),
        (
            json!({ "type": "buttons", "buttons": { "text": "x", "footer": many, "options": options } }),
            "message",
        ),
        (
            json!({ "type": "buttons",
            "buttons": { "text": "x", "footer": "{{x}}", "options": options } }),
            "buttons.footer",
        ),
        (
            json!({ "type": "list",
            "list": { "text": "x", "button": "{{x}}", "options": options } }),
            "list.button",
        ),
        (
            json!({ "type": "template", "template": template(json!({ "1": "{{x}}".repeat(9) })) }),
            "template.variables",
        ),
    ] {
        let body = format!("{}\nto,x\n+221705550001,{value}\n", json!({ "message": message }));
        let answer = post(&app, &vendor, CSV, "", &body).await;
        assert_eq!(answer.status, 422, "{field}: {}", answer.text);
        assert!(answer.text.contains(&format!("{field}: has more than ")), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_job_goes_to_each_number_once_in_its_own_words() {
    let (app, vendor) = still().await;
    let message = json!({ "message": { "type": "text", "text": "Bonjour {{ prénom }}, {{n}}" } });
    let mut body = format!("{message}\r\nto,prénom,n,unused\r\n");
    let n_recipients = 120;
    for n in 0..n_recipients {
        writeln!(body, "+22170555{n:04},\"Awa, {n}\",{n},x\r").unwrap();
    }
    body.push_str("70 555 00 01,again,0,x\r\n00221705550002,again,0,\"a\nb\"\r\n\r\n");
    let answer = post(&app, &vendor, CSV, "spring", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let job = answer.json()["jobId"].as_str().unwrap().to_owned();
    let want = json!({ "success": true, "jobId": job, "recipients": 120, "duplicates": 2 });
    assert_eq!(answer.json(), want);
    assert_eq!(post(&app, &vendor, CSV, "spring", &body).await.json()["jobId"], json!(job));
    assert_eq!(post(&app, &vendor, CSV, "spring", &body.replace("Awa", "Ali")).await.status, 409);

    until(&app, &vendor, &job, |it| it["state"] == "done" && it["away"] == 0).await;
    let sends = app.twin.sends();
    let said: BTreeSet<(String, String)> =
        sends.iter().map(|it| (it.to.clone(), it.text.clone())).collect();
    let wanted = (0..n_recipients)
        .map(|n| (format!("+22170555{n:04}"), format!("Bonjour Awa, {n}, {n}")))
        .collect();
    assert_eq!(said, wanted);
    assert_eq!(sends.len(), n_recipients);
    let shown = app.admin.get(&format!("{}/{job}", path(&vendor))).await.json();
    let counts = ["total", "duplicates", "sent", "queued", "failed", "secondsLeft"];
    assert_eq!(counts.map(|it| shown[it].as_i64().unwrap()), [120, 2, 120, 0, 0, 0], "{shown:#}");
    let list = app.admin.get(&path(&vendor)).await.json();
    assert_eq!(list["jobs"].as_array().unwrap().len(), 1);
    assert_eq!((&list["jobs"][0]["state"], &list["cursor"]), (&json!("done"), &Value::Null));
    app.settled().await;
}

/// Bodies, and how the refusal of each begins.
fn bad_bodies() -> Vec<(&'static str, String, &'static str)> {
    let job = |text: &str| json!({ "message": { "type": "text", "text": text } }).to_string();
    let ok = r#"{"to":"+221705550001","name":"x"}"#;
    vec![
        (LINES, String::new(), "line 1: the job is missing"),
        (LINES, "{}".to_owned(), "line 1: the body is malformed"),
        (LINES, format!("{}\n{ok}", job(" ")), "line 2: text: is empty"),
        (LINES, job("x"), "there is no recipient"),
        (
            LINES,
            format!("{}\n{ok}", json!({ "message": { "type": "text", "text": "x", "to": "y" } })),
            "line 1: message.to",
        ),
        (
            LINES,
            format!(
                "{}\n{ok}",
                json!({ "message": { "type": "text", "text": "x" }, "perMinute": 0 })
            ),
            "line 1: perMinute: is 1 to 6000",
        ),
        (
            LINES,
            format!(
                "{}\n{ok}",
                json!({ "message": { "type": "reaction", "reaction": { "emoji": "x" } } })
            ),
            "line 1: type: a reaction",
        ),
        (LINES, format!("{}\n{ok}\n\n{{\"to\":\"77\"}}", job("x")), "line 4: to: "),
        (LINES, format!("{}\n{ok}\n{{\"name\":\"x\"}}", job("x")), "line 3: to: is missing"),
        (
            LINES,
            format!("{}\n{ok}\n{{\"to\":\"+221705550002\"}}", job("{{name}}")),
            "line 3: name: is missing",
        ),
        (LINES, format!("{}\n{ok}\nnonsense", job("x")), "line 3: is not a JSON object"),
        (CSV, job("x"), "line 2: the header is missing"),
        (
            CSV,
            format!("{}\nto,name\n+221705550001,x", job("{{nom}}")),
            "line 2: nom: there is no such column",
        ),
        (CSV, format!("{}\nto,name\n+221705550001", job("x")), "line 3: has 1 fields"),
        (CSV, format!("{}\nto\n\"+2217", job("x")), "line 3: its quotes do not end"),
        ("application/json", job("x"), "Content-Type"),
    ]
}

#[tokio::test]
async fn a_bad_line_is_named_and_nothing_is_kept() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    for (form, body, want) in bad_bodies() {
        let answer = post(&app, &vendor, form, "", &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with(want), "{error} is not {want}");
    }
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    let n_rows = || {
        let sql =
            "SELECT (SELECT count(*) FROM bulk_jobs) + (SELECT count(*) FROM bulk_recipients)";
        db.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap()
    };
    let started = std::time::Instant::now();
    while n_rows() > 0 {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(app.twin.n_sends(), 0);
}

#[tokio::test]
async fn a_job_is_paused_resumed_and_cancelled() {
    let (app, vendor) = still().await;
    let job = taken(&app, &vendor, &lines(60, Some(60))).await;
    until(&app, &vendor, &job, |it| it["sent"].as_i64() >= Some(3)).await;
    let deed = async |deed: &str| {
        app.admin.post(&format!("{}/{job}/{deed}", path(&vendor)), json!({})).await
    };
    assert_eq!(deed("pause").await.json()["state"], "paused");
    let at_rest = until(&app, &vendor, &job, |it| it["away"] == 0).await;
    app.clock.advance(10 * MINUTE);
    app.settled().await;
    assert_eq!(shown(&app, &vendor, &job).await, at_rest);
    assert!(at_rest["waiting"].as_i64() > Some(20), "{at_rest:#}");
    let resumed = deed("resume").await.json();
    assert_eq!(resumed["state"], "running");
    assert!(resumed["secondsLeft"].as_i64() > Some(20), "{resumed:#}");
    until(&app, &vendor, &job, |it| it["sent"].as_i64() > at_rest["sent"].as_i64()).await;
    let cancelled = deed("cancel").await.json();
    assert_eq!(cancelled["state"], "cancelled");
    assert!(cancelled["cancelled"].as_i64() > Some(0), "{cancelled:#}");
    let at_rest = until(&app, &vendor, &job, |it| it["away"] == 0).await;
    app.clock.advance(10 * MINUTE);
    app.settled().await;
    assert_eq!(shown(&app, &vendor, &job).await, at_rest);
    for name in ["pause", "resume"] {
        assert_eq!(deed(name).await.status, 409);
    }
    assert_eq!(deed("cancel").await.status, 200, "again");
    let other = app.vendor(2).await;
    let of_other = format!("{}/{job}", path(&other));
    assert_eq!(app.admin.get(&of_other).await.status, 404, "another vendor's");
}

#[tokio::test]
async fn an_answer_leaves_before_the_rest_of_a_job() {
    // Customers write at the present time.
    let clock = Clock::fixed(Clock::System.now());
    let app = spawn_app_with(Options { clock, ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    app.clock.advance(MINUTE);
    taken(&app, &vendor, &lines(100, None)).await;
    // The clock stands still: only what the job leaves over can leave now.
    app.twin.wait_sends(28, DEADLINE).await;
    app.settled_sends().await;
    let before = app.twin.n_sends();
    assert_eq!(before, 28, "a part of what may leave at once is kept");
    for n in 0..4 {
        let customer = Customer::new(&format!("+22170666000{n}"));
        assert!(app.twin.customer_says(vendor.session.id, &customer, "horaires").await.is_ok());
    }
    let sends = app.twin.wait_sends(before + 4, DEADLINE).await;
    assert_eq!(sends.len(), before + 4);
    assert!(sends[before..].iter().all(|it| it.text.contains("ouvert")));
}

#[tokio::test]
async fn a_job_of_which_nothing_gets_through_waits_for_a_person() {
    let (app, vendor) = still().await;
    let refuse = Misbehaviour::Refuse { status: 422, message: "no".to_owned() };
    app.twin.misbehave(vendor.session.id, refuse, Times::Always);
    let job = taken(&app, &vendor, &lines(60, None)).await;
    let held = until(&app, &vendor, &job, |it| it["state"] == "paused").await;
    assert_eq!(held["note"], "failing");
    assert!(held["waiting"].as_i64() >= Some(20), "{held:#}");
    app.twin.behave(vendor.session.id);
    let resume = format!("{}/{job}/resume", path(&vendor));
    assert_eq!(app.admin.post(&resume, json!({})).await.status, 200);
    let done = until(&app, &vendor, &job, |it| it["state"] == "done" && it["away"] == 0).await;
    assert_eq!(done["sent"], held["waiting"]);
}

#[tokio::test]
async fn killed_again_and_again_it_sends_to_nobody_twice_and_leaves_nobody_out() {
    const VENDORS: usize = 6;
    const RECIPIENTS: usize = 8;
    let twin = Twin::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (data, log) = (directory.path().join("data"), directory.path().join("log"));
    let key = "an-admin-key-of-at-least-32-characters";
    let variables = [("WASENDER_API_URL", twin.api_url()), ("ADMIN_API_KEY", key.to_owned())];
    let port = free_port();
    let mut process = Process::serve(&data, port, &variables, &log).await;
    let admin = Client::new(&process.base, key);
    for n in 0..VENDORS {
        let phone = format!("+22177000000{n}");
        let session = twin.add_session(NewSession::new(&phone));
        twin.misbehave(session.id, Misbehaviour::Slow(Duration::from_millis(120)), Times::Always);
        admin.put(&format!("/api/admin/vendors/v{n}"), json!({})).await;
        let number = json!({ "phoneNumber": phone, "wasenderInstanceId": session.id,
            "wasenderApiKey": session.api_key, "wasenderWebhookSecret": session.webhook_secret });
        let path = format!("/api/admin/vendors/v{n}/waba-instances");
        assert_eq!(admin.post(&path, number).await.status, 201);
        let (bearer, url) =
            (admin.bearer(), format!("{}/api/v1/vendors/v{n}/messages/bulk", process.base));
        let headers = [("authorization", bearer.as_str()), ("content-type", LINES)];
        let body = lines(RECIPIENTS, None).into_bytes();
        assert_eq!(admin.raw("POST", &url, &headers, body).await.status, 202);
    }
    let count = |sql: &str| {
        let db = rusqlite::Connection::open(data.join("waba.db")).unwrap();
        db.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap()
    };
    let mut n_begun = 0;
    for n_lives in 1..=2 {
        twin.wait_sends(n_lives * 2 * VENDORS, DEADLINE).await;
        process.kill();
        // Those that were answered a moment ago among them: an outcome goes with the next write.
        n_begun += count(BEGUN);
        process = Process::serve(&data, port, &variables, &log).await;
    }
    let started = std::time::Instant::now();
    let on_their_way =
        "SELECT count(*) FROM entries WHERE kind = 2 AND account = 0 AND begun_at IS NULL";
    let waiting = "SELECT count(*) FROM bulk_recipients WHERE entry IS NULL";
    while count(waiting) + count(on_their_way) > 0 {
        assert!(started.elapsed() < DEADLINE, "{} wait", count(waiting));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let n_all = i64::try_from(VENDORS * RECIPIENTS).unwrap();
    assert_eq!(count("SELECT count(DISTINCT entry) FROM bulk_recipients"), n_all);
    assert_eq!(count("SELECT count(*) FROM entries WHERE kind = 2"), n_all);
    twin.idle().await;
    let sends = twin.sends();
    let people: BTreeSet<(u64, &str)> =
        sends.iter().map(|it| (it.session, it.to.as_str())).collect();
    assert_eq!(people.len(), sends.len(), "somebody was sent to twice");
    // Of those whose send a kill cut off, nobody can know; of the others all were sent to, and the
    // last of them are told to be a moment later.
    let cut = "SELECT count(*) FROM entries WHERE kind = 2 AND account <> 1";
    while count(cut) > n_begun {
        assert!(started.elapsed() < DEADLINE, "{} of {n_begun}", count(cut));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(i64::try_from(people.len()).unwrap() >= n_all - count(cut));
}

/// What it takes to take in, and to send to, as many as there may be. By hand:
/// `cargo nextest run --release --test it --run-ignored only -E 'test(/a_hundred_thousand/)'`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn a_hundred_thousand_recipients_are_taken_in() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let mut body = json!({ "message": { "type": "text", "text": "Bonjour {{name}}" } }).to_string();
    for n in 0..100_000 {
        write!(body, "\n{{\"to\":\"+22170{n:07}\",\"name\":\"Awa {n}\"}}").unwrap();
    }
    let started = std::time::Instant::now();
    let job = taken(&app, &vendor, &body).await;
    println!("taken in {:?} ({} bytes)", started.elapsed(), body.len());
    let started = std::time::Instant::now();
    let shown = shown(&app, &vendor, &job).await;
    let n_all: i64 = ["waiting", "away", "sent"].map(|it| shown[it].as_i64().unwrap()).iter().sum();
    assert_eq!(n_all, 100_000);
    println!("counted in {:?}: {shown}", started.elapsed());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap().trim();
    println!("at most {peak}");
    let kilobytes: u64 = peak.trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 512 * 1024, "it is kept as it comes, not in memory");
}
