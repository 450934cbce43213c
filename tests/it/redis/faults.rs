//! Redis gone, slow, full, and empty again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use waba_gateway::store::Store;

use super::{
    Client, Process, RedisServer, Shared, free_port, gateway_binary, hook, is_degraded, is_told,
    posted, spawn_app,
};

#[tokio::test]
async fn no_webhook_fails_while_redis_is_gone_and_it_is_used_again_when_it_is_back() {
    let mut shared = Shared::new().await;
    let (one, two) = (shared.gateway().await, shared.gateway().await);
    let (known, cold) = (one.vendor(1).await, one.vendor(2).await);
    let marker = one.vendor(3).await;
    assert_eq!(hook(&two, &marker).await, 200);
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", marker.id);
    let last = "the-last-of-what-the-other-one-is-told";
    let change = serde_json::json!({"wasenderWebhookSecret": last});
    assert_eq!(one.admin.put(&path, change).await.status, 200);
    is_told("all is heard of", async || posted(&two, &marker, last).await == 200).await;
    assert_eq!((hook(&one, &known).await, hook(&two, &known).await), (200, 200));
    // The other one goes on remembering.
    one.gateway.manager().forget_all();
    shared.redis.kill();
    assert_eq!((hook(&one, &known).await, hook(&one, &cold).await), (200, 200));
    is_degraded(&one, true).await;
    let metrics = one.admin.get("/metrics").await.text;
    assert!(metrics.contains("waba_degraded{part=\"redis\"} 1"), "{metrics}");
    // What is changed meanwhile is told when it is back.
    let path = format!("/api/admin/vendors/{}/waba/waba_{}", known.id, known.id);
    let new = "a-new-secret-that-is-long-enough-to-be-one";
    let change = serde_json::json!({"wasenderWebhookSecret": new});
    assert_eq!(one.admin.put(&path, change).await.status, 200);
    assert_eq!(posted(&one, &known, new).await, 200);
    assert_eq!(posted(&two, &known, new).await, 401, "the other one cannot know yet");
    shared.redis.start_again().await;
    is_degraded(&one, false).await;
    is_degraded(&two, false).await;
    let started = Instant::now();
    while posted(&two, &known, new).await != 200 {
        assert!(started.elapsed() < super::DEADLINE, "it was never told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It is empty, and filled again.
    two.gateway.manager().forget_all();
    assert_eq!((hook(&two, &known).await, hook(&two, &cold).await), (200, 200));
    shared.has_values(2).await;
    let change =
        serde_json::json!({"wasenderWebhookSecret": "one-more-secret-that-is-long-enough"});
    assert_eq!(one.admin.put(&path, change).await.status, 200);
    is_told("it is told at once again", async || {
        posted(&two, &known, "one-more-secret-that-is-long-enough").await == 200
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_waited_for_once() {
    let shared = Shared::new().await;
    let one = shared.gateway().await;
    let mut cold = Vec::new();
    for n in 1..=12 {
        cold.push(one.vendor(n).await);
    }
    shared.forget_all(&one, &cold.iter().collect::<Vec<_>>()).await;
    shared.redis.pause();
    for vendor in &cold {
        assert_eq!(hook(&one, vendor).await, 200);
        assert!(!one.gateway.manager().uses_redis(), "the next one waits for it too");
    }
    let path = format!("/api/admin/vendors/{}", cold[0].id);
    let change = serde_json::json!({"businessName": "Boutique"});
    assert_eq!(one.admin.put(&path, change).await.status, 200);
    is_degraded(&one, true).await;
    shared.redis.go_on();
    is_degraded(&one, false).await;
}

/// A way to this Redis on which each answer takes this long, and how many it gave.
async fn slow_way(redis: &RedisServer, each: Duration) -> (String, Arc<AtomicUsize>) {
    let n_answers = Arc::new(AtomicUsize::new(0));
    let n_given = Arc::clone(&n_answers);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = redis.url().strip_prefix("redis://").unwrap().to_owned();
    tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            let server = tokio::net::TcpStream::connect(&server).await.unwrap();
            let n_given = Arc::clone(&n_given);
            tokio::spawn(async move {
                let (mut asks, mut told) = caller.into_split();
                let (mut answers, mut asked) = server.into_split();
                let there = tokio::io::copy(&mut asks, &mut asked);
                let back = async {
                    let mut bytes = vec![0; 65_536];
                    loop {
                        let n = answers.read(&mut bytes).await?;
                        if n == 0 {
                            return Ok::<_, std::io::Error>(());
                        }
                        tokio::time::sleep(each).await;
                        n_given.fetch_add(1, Ordering::SeqCst);
                        told.write_all(&bytes[..n]).await?;
                    }
                };
                let _ = tokio::join!(there, back);
            });
        }
    });
    (format!("redis://{address}"), n_answers)
}

#[tokio::test]
async fn a_request_asks_a_slow_redis_for_a_bounded_time_in_sum() {
    const N: usize = 25;
    let shared = Shared::new().await;
    let (url, n_answers) = slow_way(&shared.redis, Duration::from_millis(10)).await;
    let one = shared.gateway_with(&[("REDIS_URL", &url)]).await;
    super::until("Redis is used", || one.gateway.manager().uses_redis()).await;
    let mut vendors = Vec::new();
    for n in 1..=N {
        vendors.push(one.vendor(u32::try_from(n).unwrap()).await);
    }
    shared.forget_all(&one, &vendors.iter().collect::<Vec<_>>()).await;
    super::until("Redis is used", || one.gateway.manager().uses_redis()).await;
    // As what a webhook has for many numbers asks whose they are.
    let manager = one.gateway.manager();
    let all = async {
        for vendor in &vendors {
            for key in shared.store.instances(&vendor.id).await.unwrap()[0].keys() {
                assert!(manager.by_key(&key).await.unwrap().is_some());
            }
        }
    };
    let n_before = n_answers.load(Ordering::SeqCst);
    waba_gateway::cache::redis::request(all).await;
    let n_asked = n_answers.load(Ordering::SeqCst) - n_before;
    // Without a bound, three times for each vendor, and what it puts there; so much comes from what
    // is done in the background.
    assert!(n_asked < 2 * N, "{n_asked} answers");
    super::until("it was asked", || n_answers.load(Ordering::SeqCst) > n_before).await;
}

#[tokio::test]
async fn one_call_of_a_redis_that_does_not_answer_ends_its_use() {
    let shared = Shared::new().await;
    let side = super::changes::side(&shared.redis, &shared.key).await;
    let subject = waba_gateway::cache::Subject::Pauses;
    shared.redis.pause();
    let mut n_calls = 0;
    while side.is_used() {
        let _ = side.get(&subject).await;
        n_calls += 1;
    }
    assert_eq!(n_calls, 1, "the first that fails ends it");
}

#[tokio::test]
async fn no_webhook_fails_while_redis_is_full_and_no_change_is_lost() {
    let shared = Shared::new().await;
    let (one, two) = (shared.gateway().await, shared.gateway().await);
    let (known, cold) = (one.vendor(1).await, one.vendor(2).await);
    assert_eq!((hook(&one, &known).await, hook(&two, &known).await), (200, 200));
    shared.forget_all(&one, &[&cold]).await;
    shared.redis.fill(true).await;
    assert_eq!((hook(&one, &known).await, hook(&one, &cold).await), (200, 200));
    let started = Instant::now();
    // What is put may be too late to be refused, or there already.
    while !super::degraded(&one).await.contains(&"redis".to_owned()) {
        assert!(started.elapsed() < super::DEADLINE, "it was never refused");
        shared.forget_all(&one, &[&cold]).await;
        assert_eq!(hook(&one, &cold).await, 200);
    }
    let path = format!("/api/admin/vendors/{}/waba/waba_{}", known.id, known.id);
    let new = "a-new-secret-that-is-long-enough-to-be-one";
    let change = serde_json::json!({"wasenderWebhookSecret": new});
    assert_eq!(one.admin.put(&path, change).await.status, 200);
    is_told("it is told all the same", async || posted(&two, &known, new).await == 200).await;
    shared.redis.fill(false).await;
    is_degraded(&one, false).await;
    is_degraded(&two, false).await;
    assert_eq!(posted(&two, &known, new).await, 200);
    let another = one.vendor(3).await;
    assert_eq!(hook(&two, &another).await, 200);
    let has_it = async || shared.redis.names().await.iter().any(|it| it.contains("vendor_003"));
    is_told("it is put there again", has_it).await;
}

#[tokio::test]
async fn doctor_names_a_redis_that_cannot_be_reached_without_its_password() {
    let (app, mut server) = (spawn_app().await, RedisServer::start().await);
    let url = server.url().replace("redis://", "redis://:hunter2@");
    let doctor = async |url: &str| {
        let mut doctor = std::process::Command::new(gateway_binary());
        doctor
            .args(["doctor", "--json"])
            .env("DATA_DIR", app.data_dir())
            .env("REDIS_URL", url)
            .env("LISTEN_ADDR", app.base.strip_prefix("http://").unwrap())
            .env("WASENDER_API_URL", app.twin.api_url())
            .current_dir(app.directory.path());
        // It asks the server, which runs here.
        let ended = tokio::task::spawn_blocking(move || doctor.output().unwrap()).await.unwrap();
        let text = String::from_utf8(ended.stdout).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let findings = document["findings"].as_array().unwrap().clone();
        let of_redis = findings.into_iter().find(|it| it["check"] == "redis");
        of_redis.map(|it| (it["level"].as_str().unwrap().to_owned(), it["message"].to_string()))
    };
    let (level, _) = doctor(&server.url()).await.unwrap();
    assert_eq!(level, "ok");
    server.fill(true).await;
    let (level, message) = doctor(&server.url()).await.unwrap();
    assert!(level == "warning" && message.contains("refuses writes"), "{message}");
    server.kill();
    let (level, message) = doctor(&url).await.unwrap();
    assert!(level == "warning" && message.contains("cannot be reached"), "{message}");
    assert!(message.contains(server.url().trim_start_matches("redis://")), "{message}");
}

#[tokio::test]
async fn a_gateway_starts_without_its_redis() {
    let mut shared = Shared::new().await;
    shared.redis.kill();
    let one = shared.gateway_with(&[]).await;
    let vendor = one.vendor(1).await;
    assert_eq!(hook(&one, &vendor).await, 200);
    is_degraded(&one, true).await;
    shared.redis.start_again().await;
    is_degraded(&one, false).await;
    super::until("Redis is used", || one.gateway.manager().uses_redis()).await;
}

/// How a Redis is of no use.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Gone,
    Paused,
    Full,
}

async fn breaks(server: &mut RedisServer, fault: Fault, is_broken: bool) {
    match (fault, is_broken) {
        (Fault::Gone, true) => server.kill(),
        (Fault::Gone, false) => server.start_again().await,
        (Fault::Paused, true) => server.pause(),
        (Fault::Paused, false) => server.go_on(),
        (Fault::Full, _) => server.fill(is_broken).await,
    }
}

#[tokio::test]
async fn a_redis_that_is_of_no_use_is_told_once_in_the_log_and_once_when_it_is_back() {
    let (mut server, directory) = (RedisServer::start().await, tempfile::tempdir().unwrap());
    let (data, log) = (directory.path().join("data"), directory.path().join("log"));
    let key = "an-admin-key-of-at-least-32-characters";
    let variables = [("REDIS_URL", server.url()), ("ADMIN_API_KEY", key.to_owned())]
        .into_iter()
        .chain([("ENCRYPTION_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned())]);
    let variables: Vec<(&str, String)> = variables.collect();
    let process = Process::serve(&data, free_port(), &variables, &log).await;
    let client = Client::new(&process.base, key);
    let is_degraded = async || client.get("/ready").await.text.contains("redis");
    let mut n_asked = 0;
    let mut until = async |wanted: bool, fault: Fault| {
        let (started, before) = (Instant::now(), n_asked);
        while is_degraded().await != wanted || n_asked < before + 50 {
            assert!(started.elapsed() < super::DEADLINE, "{fault:?}: it never became {wanted}");
            n_asked += 1;
            let stranger = format!("/api/admin/vendors/stranger_{n_asked}");
            assert!([404, 429].contains(&client.get(&stranger).await.status));
        }
    };
    let told = || {
        let log = std::fs::read_to_string(&log).unwrap();
        let n = |what: &str| log.lines().filter(|it| it.contains(what)).count();
        let words = ["is away", "answers again", "refuses writes", "takes writes again"];
        words.map(|it| n(&format!("Redis {it}")))
    };
    until(false, Fault::Gone).await;
    let mut wanted = [0; 4];
    for fault in [Fault::Gone, Fault::Paused, Fault::Full, Fault::Full, Fault::Gone] {
        let first = if fault == Fault::Full { 2 } else { 0 };
        for (is_broken, of) in [(true, first), (false, first + 1)] {
            breaks(&mut server, fault, is_broken).await;
            until(is_broken, fault).await;
            wanted[of] += 1;
            assert_eq!(told(), wanted, "{fault:?}");
        }
    }
}
