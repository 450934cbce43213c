//! `--setup-webhooks`, against the simulated Wasender.

use std::{
    process::Child,
    time::{Duration, Instant},
};

use waba_gateway::twin::{NewSession, Twin};

use super::place::{BAD, Place, Ran};
use crate::support::DEADLINE;

const BASE: &str = "http://localhost:9002/api/webhooks/wasender";

struct Scene {
    place: Place,
    twin: Twin,
}

impl Scene {
    /// Sessions 1 to 4: one points nowhere, one to another system, one has another number.
    async fn new() -> (Self, String) {
        let twin = Twin::start().await.unwrap();
        let mut rows = Vec::new();
        for n in 1..=3_u64 {
            let number = format!("+22177123400{n}");
            let of_session = if n == 3 { "+221771239999" } else { &number };
            twin.add_session(NewSession { id: Some(n), ..NewSession::new(of_session) });
            rows.push(format!("shop_{n},Shop,{number},{n},marked-secret-{n},"));
        }
        twin.set_webhook(2, "https://old.example/hook?token=marked");
        let place = Place::new();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let file = place.file(&rows);
        (Self { place, twin }, file)
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let (url, token) = (self.twin.api_url(), self.twin.pat().to_owned());
        let vars = [
            ("WASENDER_API_URL", url.as_str()),
            ("WASENDER_API_KEY", &token),
            ("APP_BASE_URL", "http://localhost:9002"),
            ("ALLOW_PRIVATE_TARGETS", "true"),
            ("MIN_FREE_DISK", "0"),
        ];
        self.place.command(arguments, &vars).spawn().unwrap()
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let child = self.start(arguments);
        // The twin answers on this runtime.
        let ended = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
        Ran::of(&ended.await.unwrap())
    }

    fn leads_to(&self, id: u64) -> Option<String> {
        let session = self.twin.session(id).unwrap();
        session.webhook_url.filter(|_| session.webhook_enabled)
    }
}

#[tokio::test]
async fn sessions_are_pointed_here_and_one_that_fails_stops_no_other() {
    let (scene, file) = Scene::new().await;
    let report = scene.place.dir.path().join("done.csv");
    let report = report.to_str().unwrap();
    let fast = ["--setup-webhooks", "--webhooks-per-minute", "600", "--report", report];
    let ran = scene.run(&[&["batch", &file][..], &fast].concat()).await;
    ran.says(
        1,
        &[
            "line 2  shop_1  created  webhook set up",
            "line 3  shop_2  created  webhook failed",
            "line 3 (shop_2): webhook: the session's webhooks go to https://old.example/hook; ",
            "line 4 (shop_3): webhook: the session at Wasender belongs to another phone number",
            "3 rows: 3 created, 0 updated, 0 unchanged, 0 bad; webhooks: 1 lead here, 2 could not",
        ],
    );
    assert_eq!(scene.leads_to(1), Some(format!("{BASE}/shop_1")));
    assert_eq!(scene.leads_to(2).as_deref(), Some("https://old.example/hook?token=marked"));
    let number = scene.place.open().instance("shop_1").await.unwrap();
    let session = scene.twin.session(1).unwrap();
    assert!(super::place::secrets(&number).contains(&session.webhook_secret.as_str()));
    // Again: what leads here is only looked at.
    let n_before = scene.twin.requests().len();
    let ran = scene.run(&[&["batch", &file, "--replace-webhooks"][..], &fast].concat()).await;
    ran.says(
        1,
        &["shop_1  unchanged  webhook already set up", "shop_2  unchanged  webhook set up"],
    );
    ran.says(1, &["webhooks: 2 lead here, 1 could not be set up"]);
    assert_eq!(scene.leads_to(2), Some(format!("{BASE}/shop_2")));
    let requests = scene.twin.requests().split_off(n_before);
    let of_first = requests.iter().filter(|it| it.path.ends_with("/whatsapp-sessions/1"));
    assert_eq!(of_first.map(|it| it.method.as_str()).collect::<Vec<_>>(), ["GET"]);
    let told = std::fs::read_to_string(report).unwrap();
    let n_of = |it: &str| told.matches(it).count();
    assert_eq!((n_of(",webhook,set up,"), n_of(",webhook,failed,"), n_of("already")), (2, 3, 0));
    assert_eq!(n_of(",row,created,"), 3);
    assert!(!told.contains("marked") && !told.contains("22177"), "{told}");
}

#[tokio::test]
async fn webhooks_are_set_up_at_the_pace_that_is_asked_for() {
    let (scene, file) = Scene::new().await;
    let started = Instant::now();
    let pace = ["--setup-webhooks", "--webhooks-per-minute", "100"];
    scene.run(&[&["batch", &file][..], &pace].concat()).await.says(1, &["webhooks: 1 lead here"]);
    assert!(started.elapsed() >= Duration::from_millis(1_200), "{:?}", started.elapsed());
    let (scene, _) = Scene::new().await;
    let none = ["batch", "absent.csv", "--setup-webhooks", "--webhooks-per-minute", "0"];
    scene.run(&none).await.says(2, &["--webhooks-per-minute"]);
}

#[tokio::test]
async fn what_cannot_succeed_for_any_row_is_refused_before_anything_is_done() {
    let (scene, file) = Scene::new().await;
    let place = &scene.place;
    let arguments = ["batch", &file, "--setup-webhooks"];
    let base = [("APP_BASE_URL", "http://localhost:9002"), ("WASENDER_API_KEY", "1|marked")];
    let ran = place.run_with(&arguments, &base);
    ran.says(2, &["APP_BASE_URL is http://localhost:9002/, which wasender cannot reach"]);
    place.run(&arguments).says(2, &["--setup-webhooks needs WASENDER_API_KEY"]);
    place.run(&["batch", &file, "--replace-webhooks"]).says(2, &["--setup-webhooks"]);
    assert!(!place.data().exists() && scene.twin.requests().is_empty());
    let ran = scene.run(&[&arguments[..], &["--dry-run"]].concat()).await;
    ran.says(0, &["shop_1  would be created  webhook would be set up  http://localhost:9002/"]);
    let bad = place.file(&[BAD]);
    scene.run(&["batch", &bad, "--setup-webhooks"]).await.says(1, &["nothing was written"]);
    assert!(!place.data().exists() && scene.twin.requests().is_empty());
}

#[tokio::test]
async fn after_a_kill_every_session_is_set_up_and_none_twice() {
    const N: u64 = 25;
    let (scene, _) = Scene::new().await;
    let mut rows = Vec::new();
    for n in 101..101 + N {
        let number = format!("+221771234{n}");
        scene.twin.add_session(NewSession { id: Some(n), ..NewSession::new(&number) });
        rows.push(format!("shop_{n},Shop,{number},{n},marked-secret-{n},"));
    }
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let file = scene.place.file(&rows);
    let report = scene.place.dir.path().join("done.csv");
    let arguments = ["--setup-webhooks", "--webhooks-per-minute", "600", "--report"];
    let arguments = [&["batch", &file][..], &arguments, &[report.to_str().unwrap()]].concat();
    let n_set_up = || (101..101 + N).filter(|it| scene.leads_to(*it).is_some()).count();
    let mut child = scene.start(&arguments);
    let started = Instant::now();
    while n_set_up() < 3 {
        assert!(started.elapsed() < DEADLINE, "it does not begin");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(n_set_up() < rows.len(), "it was done");
    scene.run(&arguments).await.says(0, &["25 unchanged, 0 bad; webhooks: 25 lead here, 0"]);
    assert_eq!(n_set_up(), rows.len());
    for n in 101..101 + N {
        let path = format!("/whatsapp-sessions/{n}");
        let requests = scene.twin.requests();
        let changes = requests.iter().filter(|it| it.method == "PUT" && it.path.ends_with(&path));
        assert_eq!(changes.count(), 1, "session {n}");
        let number = scene.place.open().instance(&format!("shop_{n}")).await.unwrap();
        let session = scene.twin.session(n).unwrap();
        assert!(super::place::secrets(&number).contains(&session.webhook_secret.as_str()));
    }
    let told = std::fs::read_to_string(report).unwrap();
    let vendors = (101..101 + N).filter(|it| told.contains(&format!(",shop_{it},webhook,")));
    assert_eq!(vendors.count(), rows.len());
}
