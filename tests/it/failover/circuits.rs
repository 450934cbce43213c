//! A way out that fails is left alone, and tried again now and then; all who ask are told.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use waba_gateway::domain::{
    circuit::{FAILURES_MAX, OPEN_FOR},
    clock::SECOND,
};

use super::*;
use crate::support::gateway_binary;

impl Shop {
    /// What the status says of the first way out.
    async fn first_way(&self) -> Value {
        let path = format!("/api/admin/vendors/{}/status", self.vendor.id);
        let mut told = self.asked(&path).await;
        told["numbers"][0]["providers"][0].take()
    }

    /// How often the circuits of Meta have opened and closed, by the counters. Other tests of the
    /// same process turn them, too.
    async fn n_turned(&self) -> [u64; 2] {
        let metrics = self.app.admin.get("/metrics").await.text;
        ["open", "closed"].map(|to| {
            let line = format!("waba_circuits_turned_total{{of=\"meta\",turned=\"{to}\"}} ");
            let found = metrics.lines().find_map(|it| it.strip_prefix(&line));
            found.map_or(0, |it| it.parse().unwrap())
        })
    }

    async fn has_turned(&self, before: [u64; 2], [opened, closed]: [u64; 2]) {
        let now = self.n_turned().await;
        let has = now[0] >= before[0] + opened && now[1] >= before[1] + closed;
        assert!(has, "from {before:?} to {now:?}");
    }

    /// What the command line says of a message.
    async fn why(&self, id: &str) -> String {
        let mut command = Command::new(gateway_binary());
        let listen = self.app.base.strip_prefix("http://").unwrap();
        command
            .args(["why", id])
            .env_clear()
            .env("DATA_DIR", self.app.data_dir())
            .env("LISTEN_ADDR", listen)
            .env("APP_BASE_URL", &self.app.base)
            .env("ADMIN_API_KEY", self.app.admin.bearer().trim_start_matches("Bearer "))
            .current_dir(self.app.data_dir())
            .stdin(Stdio::null());
        // The gateway lives in this process and must be able to answer.
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// One more message, which leaves within some seconds: each way has its pace.
    async fn now(&self, text: &str) -> String {
        let id = send(&self.app, &self.vendor, TO, text).await;
        for _ in 0..8 {
            self.app.settled_sends().await;
            self.app.clock.advance(SECOND);
        }
        status_is(&self.app, &self.vendor, &id, "read").await;
        id
    }

    /// The same, where what became of it is told later: time goes on slowly until then.
    async fn told(&self, text: &str) -> String {
        let id = send(&self.app, &self.vendor, TO, text).await;
        let started = Instant::now();
        let is_read = async || {
            let all = self.app.messages(&self.vendor).await;
            all.iter().any(|it| it["id"] == *id && it["status"] == "read")
        };
        while !is_read().await {
            assert!(started.elapsed() < DEADLINE, "it was never read");
            self.app.settled_sends().await;
            self.app.clock.advance(SECOND);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        id
    }

    /// The same, a while later.
    async fn later(&self, text: &str) -> String {
        self.app.clock.advance(MINUTE);
        self.now(text).await
    }
}

#[tokio::test]
async fn a_way_that_fails_five_times_is_left_alone_until_one_message_gets_through() {
    let (clock, meta) = (Clock::fixed(Clock::System.now()), MetaTwin::start().await.unwrap());
    let shop = shop_on(clock, meta.api_url(), meta, "meta", "wasender").await;
    let turned = shop.n_turned().await;
    let unavailable = MetaMisbehaviour::Fail { status: 503, accepted: false };
    shop.meta.misbehave(&shop.number.id, unavailable, Times::Always);
    let (_, before) = shop.n_sent();
    for n in 1..=FAILURES_MAX {
        let id = shop.later("par Wasender").await;
        if n + 1 == FAILURES_MAX {
            assert_eq!(shop.journey(&id).await["attempts"], 2, "it found out by failing");
            assert_eq!(shop.first_way().await["circuit"], "closed");
        }
    }
    let way = shop.first_way().await;
    assert_eq!((&way["circuit"], &way["shutWhy"]), (&json!("open"), &json!("unavailable")));
    shop.has_turned(turned, [1, 0]).await;
    // The next one does not try it, while it is open.
    let id = shop.now("sans essai").await;
    assert_eq!(shop.journey(&id).await["attempts"], 1);
    shop.app.clock.advance(OPEN_FOR);
    assert_eq!(shop.first_way().await["circuit"], "half_open");
    // One probe that fails opens it once more, and who asks of a message is told.
    let id = shop.later("un essai").await;
    assert_eq!(shop.journey(&id).await["attempts"], 2);
    assert_eq!(shop.first_way().await["circuit"], "open");
    shop.has_turned(turned, [2, 0]).await;
    let park = format!("/api/admin/vendors/{}/pause", shop.vendor.id);
    assert_eq!(shop.app.admin.post(&park, json!({})).await.status, 200);
    let waits = send(&shop.app, &shop.vendor, TO, "un dernier essai").await;
    let why = shop.why(&waits).await;
    let first = "Way out 1, meta: passed over since 20";
    assert!(why.contains(first) && why.contains("(unavailable), and not tried before"), "{why}");
    assert!(why.contains("Way out 2, wasender: messages pass"), "{why}");
    // One that gets through closes it.
    shop.meta.behave(&shop.number.id);
    shop.app.clock.advance(OPEN_FOR);
    let resume = format!("/api/admin/vendors/{}/resume", shop.vendor.id);
    assert_eq!(shop.app.admin.post(&resume, json!({})).await.status, 200);
    status_is(&shop.app, &shop.vendor, &waits, "read").await;
    assert_eq!(shop.first_way().await["circuit"], "closed");
    shop.has_turned(turned, [2, 1]).await;
    assert_eq!(shop.n_sent().1, before + 1);
}

#[tokio::test]
async fn a_way_that_takes_messages_and_fails_them_later_is_left_alone_until_one_gets_through() {
    let (clock, meta) = (Clock::fixed(Clock::System.now()), MetaTwin::start().await.unwrap());
    let shop = shop_on(clock, meta.api_url(), meta, "meta", "wasender").await;
    shop.told("par Meta").await;
    let turned = shop.n_turned().await;
    // The account cannot pay.
    shop.meta.misbehave(&shop.number.id, MetaMisbehaviour::FailsLater(131_042), Times::Always);
    for _ in 1..=FAILURES_MAX {
        assert_eq!(shop.first_way().await["circuit"], "closed");
        shop.app.clock.advance(MINUTE);
        let id = shop.told("par Wasender").await;
        let journey = shop.journey(&id).await;
        assert_eq!(journey["attempts"], 2, "it was taken, and failed: {journey}");
    }
    let way = shop.first_way().await;
    assert_eq!((&way["circuit"], &way["shutWhy"]), (&json!("open"), &json!("plan")));
    shop.has_turned(turned, [1, 0]).await;
    let id = shop.told("sans essai").await;
    assert_eq!(shop.journey(&id).await["attempts"], 1);
    // That a probe is taken closes nothing.
    shop.app.clock.advance(MINUTE);
    let id = shop.told("un essai").await;
    assert_eq!(shop.journey(&id).await["attempts"], 2);
    assert_eq!(shop.first_way().await["circuit"], "open");
    let id = shop.told("sans essai").await;
    assert_eq!(shop.journey(&id).await["attempts"], 1);
    // One that gets through does.
    shop.meta.behave(&shop.number.id);
    shop.app.clock.advance(MINUTE);
    let id = shop.told("par Meta").await;
    let journey = shop.journey(&id).await;
    assert_eq!((&journey["attempts"], &journey["provider"]), (&json!(1), &json!("meta")));
    assert_eq!(shop.first_way().await["circuit"], "closed");
    shop.has_turned(turned, [1, 1]).await;
}

#[tokio::test]
async fn a_number_that_meta_says_is_restricted_is_passed_over_at_once() {
    let (clock, meta) = (Clock::fixed(Clock::System.now()), MetaTwin::start().await.unwrap());
    let shop = shop_on(clock, meta.api_url(), meta, "meta", "wasender").await;
    let tell = async |state: &str| {
        let ban = json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": state } });
        let told = shop.meta.tell_of_account(&shop.number.id, "account_update", ban).await;
        assert_eq!(told.status, 200);
    };
    let is = |status: &str| shop.meta.change(&shop.number.id, |it| it.status = status.to_owned());
    let turned = shop.n_turned().await;
    let (_, before) = shop.n_sent();
    is("BANNED");
    tell("DISABLE").await;
    let way = shop.first_way().await;
    assert_eq!((&way["circuit"], &way["shutWhy"]), (&json!("open"), &json!("error")));
    shop.has_turned(turned, [1, 0]).await;
    let id = shop.now("par Wasender").await;
    assert_eq!(shop.journey(&id).await["attempts"], 1, "nobody found out by failing");
    // The word of Meta closes it as well.
    is("CONNECTED");
    tell("REINSTATE").await;
    assert_eq!(shop.first_way().await["circuit"], "closed");
    shop.has_turned(turned, [1, 1]).await;
    shop.now("par Meta").await;
    assert_eq!(shop.n_sent(), (1, before + 1));
}

#[tokio::test]
async fn a_restriction_whose_end_nobody_tells_is_over_when_a_message_passes() {
    let (clock, meta) = (Clock::fixed(Clock::System.now()), MetaTwin::start().await.unwrap());
    let shop = shop_on(clock, meta.api_url(), meta, "meta", "wasender").await;
    let restrict = async |kind: &str| {
        let value = json!({ "event": "ACCOUNT_RESTRICTION",
            "restriction_info": [{ "restriction_type": kind, "expiration": 1_900_000_000 }] });
        let told = shop.meta.tell_of_account(&shop.number.id, "account_update", value).await;
        assert_eq!(told.status, 200);
    };
    let status = async || {
        let path = format!("/api/admin/vendors/{}/waba-instances", shop.vendor.id);
        shop.app.admin.get(&path).await.json()["instances"][0]["status"].take()
    };
    shop.now("par Meta").await;
    // Nobody is answered less for it.
    let before = status().await;
    restrict("RESTRICTED_ADD_PHONE_NUMBER_ACTION").await;
    assert_eq!(status().await, before);
    let through = async |text: &str| shop.journey(&shop.now(text).await).await["provider"].take();
    assert_eq!(through("toujours par Meta").await, "meta");
    restrict("RESTRICTED_CUSTOMER_INITIATED_MESSAGING").await;
    assert_eq!(status().await, "error");
    assert_eq!(through("par Wasender").await, "wasender");
    assert_eq!(status().await, "error");
    shop.app.clock.advance(MINUTE);
    assert_eq!(through("de nouveau par Meta").await, "meta");
    let started = Instant::now();
    while status().await != "connected" {
        assert!(started.elapsed() < DEADLINE, "nobody noticed");
        // Callers are allowed ten requests a second.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn what_is_refused_for_one_customer_shuts_no_way_for_the_others() {
    let (clock, meta) = (Clock::fixed(Clock::System.now()), MetaTwin::start().await.unwrap());
    let shop = shop_on(clock, meta.api_url(), meta, "meta", "wasender").await;
    // A country that this number may not write to.
    shop.meta.misbehave(&shop.number.id, MetaMisbehaviour::Refuse(130_497), Times::Always);
    for _ in 0..=FAILURES_MAX {
        let id = shop.later("par Wasender").await;
        let journey = shop.journey(&id).await;
        assert_eq!((&journey["attempts"], &journey["provider"]), (&json!(2), &json!("wasender")));
    }
    assert_eq!(shop.first_way().await["circuit"], "closed");
    // The same told later, and a file that Meta could not fetch.
    for code in [130_497, 131_053] {
        let later = MetaMisbehaviour::FailsLater(code);
        shop.meta.misbehave(&shop.number.id, later, Times::Always);
        let mut last = String::new();
        for _ in 0..=FAILURES_MAX {
            shop.app.clock.advance(MINUTE);
            last = shop.told("par Wasender").await;
        }
        assert_eq!(shop.journey(&last).await["attempts"], 2, "{code}");
        assert_eq!(shop.first_way().await["circuit"], "closed", "{code}");
    }
    shop.meta.behave(&shop.number.id);
    let id = shop.later("par Meta").await;
    let journey = shop.journey(&id).await;
    assert_eq!((&journey["attempts"], &journey["provider"]), (&json!(1), &json!("meta")));
}
