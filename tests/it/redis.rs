//! Gateways that share a Redis.

mod changes;
mod faults;
mod reads;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use waba_gateway::{
    domain::secret::{ExposeSecret, SecretString},
    vault::Vault,
};

use super::{
    restart::free_port,
    support::{
        Client, DEADLINE, Options, Process, RedisServer, Switch, TestApp, TestVendor,
        gateway_binary, spawn_app, spawn_app_with,
    },
};

const ADMIN_KEY: &str = "an-admin-key-that-all-of-them-share-0123456789";

/// What gateways share.
struct Shared {
    redis: RedisServer,
    store: Arc<Switch>,
    key: SecretString,
    _directory: tempfile::TempDir,
}

impl Shared {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = Vault::new_key().unwrap();
        let store = Switch::open(directory.path(), &key);
        Self { redis: RedisServer::start().await, store, key, _directory: directory }
    }

    /// One more gateway, which uses Redis when this returns.
    async fn gateway(&self) -> TestApp {
        let app = self.gateway_with(&[]).await;
        until("Redis is used", || app.gateway.manager().uses_redis()).await;
        app
    }

    async fn gateway_with(&self, more: &[(&'static str, &str)]) -> TestApp {
        let mut variables = vec![
            ("REDIS_URL", self.redis.url()),
            ("ENCRYPTION_KEY", self.key.expose_secret().to_owned()),
            ("ADMIN_API_KEY", ADMIN_KEY.to_owned()),
        ];
        variables.retain(|it| !more.iter().any(|more| more.0 == it.0));
        variables.extend(more.iter().map(|it| (it.0, it.1.to_owned())));
        let store: Arc<Switch> = Arc::clone(&self.store);
        let n_looks = || self.store.n_looks.load(Ordering::SeqCst);
        let before = n_looks();
        let options = Options { variables, store: Some(store), ..Options::default() };
        let app = spawn_app_with(options).await;
        // As it starts and once more soon after: of a vendor that is half made then, it would read
        // the half, and be told of the rest by nobody.
        until("it looked at what was changed before", || n_looks() >= before + 2).await;
        app
    }

    /// What a gateway and Redis remember is forgotten, so that the next one who asks is the first.
    async fn forget_all(&self, app: &TestApp, vendors: &[&TestVendor]) {
        for vendor in vendors {
            // A copy is renewed in the background after each change.
            app.gateway.manager().known(&vendor.id).await.unwrap();
        }
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        self.redis.ask::<()>(&["FLUSHALL"]).await;
        app.gateway.manager().forget_all();
    }

    /// Waits until Redis has this many values or more.
    async fn has_values(&self, n: usize) {
        let started = Instant::now();
        loop {
            let names = self.redis.names().await;
            if names.len() >= n {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "there are {} values", names.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < DEADLINE, "in the end it was not so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a gateway answers a webhook of this vendor that carries this secret.
async fn posted(app: &TestApp, vendor: &TestVendor, secret: &str) -> u16 {
    static N: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let n = N.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let body = json!({"event": "message", "data": {
        "from": "221770555555", "message": "Bonjour", "type": "text", "id": format!("msg_{n}"),
        "time": app.now_secs(),
    }});
    let url = format!("{}/api/webhooks/wasender/{}", app.base, vendor.id);
    let headers = [("x-webhook-signature", secret)];
    app.post(&url, &headers, body.to_string().as_bytes()).await.status
}

async fn hook(app: &TestApp, vendor: &TestVendor) -> u16 {
    posted(app, vendor, vendor.secret()).await
}

/// Parts that `/ready` names, while it says that webhooks can be kept.
async fn degraded(app: &TestApp) -> Vec<String> {
    let answer = app.admin.get("/ready").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let parts = answer.json()["degraded"].as_array().cloned().unwrap_or_default();
    parts.iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// Waits until `/ready` names Redis, or does not.
async fn is_degraded(app: &TestApp, wanted: bool) {
    let started = Instant::now();
    while degraded(app).await.contains(&"redis".to_owned()) != wanted {
        assert!(started.elapsed() < DEADLINE, "it never became {wanted}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for what must become so on the other gateway because it is told: what is remembered there
/// lasts for an hour. How soon it is told is measured by `cargo bench --bench cache`.
async fn is_told(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is().await {
        assert!(started.elapsed() < DEADLINE, "it was never told: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
