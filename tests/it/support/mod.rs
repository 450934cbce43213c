//! `spawn_app`: the service as `main` builds it, with a simulated Wasender for a world.

mod bot;
mod client;
mod firestore;
mod process;
mod redis;
mod switch;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use waba_gateway::{
    app::{App, Listeners, loopback},
    config::Config,
    domain::{
        clock::Clock,
        id::VendorId,
        phone::PhoneNumber,
        secret::ExposeSecret,
        vendor::{ResponderConfig, Rule},
        waba::SignatureSchemes,
    },
    gateway::{AccountsChange, Gateway, NewInstance, VendorChange},
    journal::{SqliteJournal, Tally},
    sqlite::Db,
    store::SharedStore,
    telemetry,
    twin::{NewSession, Session, Twin},
    vault::Vault,
};

pub use self::{
    bot::Bot,
    client::{Answer, Client},
    firestore::{Emulator, Program, time},
    process::{Process, gateway_binary, migrate_binary},
    redis::RedisServer,
    switch::Switch,
};

/// For everything that must happen in the end.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// The service, and the world around it.
pub struct TestApp {
    pub app: Option<App>,
    pub gateway: Gateway,
    pub twin: Twin,
    pub base: String,
    pub admin: Client,
    pub clock: Clock,
    pub config: Config,
    pub store: Option<SharedStore>,
    pub directory: tempfile::TempDir,
}

/// What a test wants to be different.
pub struct Options {
    pub clock: Clock,
    pub variables: Vec<(&'static str, String)>,
    /// In place of the embedded one.
    pub store: Option<SharedStore>,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: Clock::System, variables: Vec::new(), store: None }
    }
}

pub async fn spawn_app() -> TestApp {
    spawn_app_with(Options::default()).await
}

pub async fn spawn_app_with(options: Options) -> TestApp {
    let twin = Twin::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let listener = loopback().await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let config = config(&directory.path().join("data"), &base, &twin, &options.variables);
    let app = start_on(&config, options.clock.clone(), listener, options.store.clone()).await;
    let key = app.new_admin_key.as_ref().or(config.admin_key.as_ref());
    let key = key.unwrap().expose_secret().to_owned();
    TestApp {
        gateway: app.gateway.clone(),
        app: Some(app),
        twin,
        admin: Client::new(&base, &key),
        base,
        clock: options.clock,
        config,
        store: options.store,
        directory,
    }
}

pub fn config(
    data_dir: &std::path::Path,
    base: &str,
    twin: &Twin,
    variables: &[(&str, String)],
) -> Config {
    let mut all = HashMap::from([
        ("DATA_DIR", data_dir.display().to_string()),
        ("APP_BASE_URL", base.to_owned()),
        ("WASENDER_API_URL", twin.api_url()),
        ("WASENDER_API_KEY", twin.pat().to_owned()),
        ("ALLOW_PRIVATE_TARGETS", "true".to_owned()),
        ("MIN_FREE_DISK", "0".to_owned()),
    ]);
    all.extend(variables.iter().map(|it| (it.0, it.1.clone())));
    Config::from_lookup(|name| all.get(name).cloned()).unwrap()
}

pub async fn start(config: &Config, clock: Clock, main: tokio::net::TcpListener) -> App {
    start_on(config, clock, main, None).await
}

async fn start_on(
    config: &Config,
    clock: Clock,
    main: tokio::net::TcpListener,
    store: Option<SharedStore>,
) -> App {
    // A process counts with the first it starts, whatever is started again in it.
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    let metrics = METRICS.get_or_init(|| telemetry::start_metrics().unwrap()).clone();
    let listeners = Listeners { main, metrics: None };
    let work = Handle::current();
    App::start_on(config, clock, listeners, metrics, &work, store).await.unwrap()
}

/// A vendor with one number, known to the twin, its webhooks set up.
#[derive(Clone)]
pub struct TestVendor {
    pub id: VendorId,
    pub phone: String,
    pub session: Session,
    pub hook: String,
}

impl TestVendor {
    pub fn secret(&self) -> &str {
        &self.session.webhook_secret
    }
}

impl TestApp {
    /// A vendor that answers «horaires» by a rule and everything else by «merci».
    pub async fn vendor(&self, n: u32) -> TestVendor {
        self.vendor_with(n, VendorChange { responders: Some(rules()), ..VendorChange::default() })
            .await
    }

    pub async fn vendor_with(&self, n: u32, change: VendorChange) -> TestVendor {
        let id = VendorId::parse(&format!("vendor_{n:03}")).unwrap();
        self.gateway.put_vendor(&id, change).await.unwrap();
        let phone = format!("+22177000{n:04}");
        self.number(&id, &phone, 1_000 + u64::from(n)).await
    }

    /// One more number of a vendor.
    pub async fn number(&self, id: &VendorId, phone: &str, session: u64) -> TestVendor {
        let session =
            self.twin.add_session(NewSession { id: Some(session), ..NewSession::new(phone) });
        let new = NewInstance {
            phone_number: PhoneNumber::from_wire(phone).unwrap(),
            wasender_instance_id: Some(session.id.to_string()),
            session_key: Some(session.api_key.clone().into()),
            webhook_secret: Some(session.webhook_secret.clone().into()),
            token: None,
            account_protection: false,
            schemes: SignatureSchemes::default(),
            accounts: AccountsChange::default(),
        };
        self.gateway.create_instance(id, new).await.unwrap();
        let hook = format!("{}/api/webhooks/wasender/{id}", self.base);
        self.twin.set_webhook(session.id, &hook);
        let session = self.twin.session(session.id).unwrap();
        TestVendor { id: id.clone(), phone: phone.to_owned(), session, hook }
    }

    /// Posts a body with these headers to a vendor's webhook route.
    pub async fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.admin.raw("POST", url, headers, body.to_vec()).await
    }

    /// Posts a body signed in both ways a provider may, one of them.
    pub async fn post_signed(&self, vendor: &TestVendor, body: &Value) -> Answer {
        let body = body.to_string();
        let headers = [("x-webhook-signature", vendor.secret())];
        self.post(&vendor.hook, &headers, body.as_bytes()).await
    }

    /// A vendor's messages, newest first.
    pub async fn messages(&self, vendor: &TestVendor) -> Vec<Value> {
        let page = self.gateway.messages(&vendor.id, None, 200).await.unwrap();
        page.rows
            .iter()
            .map(|it| {
                json!({
                    "id": it.id.to_string(),
                    "inbound": it.is_inbound,
                    "human": it.by_human,
                    "status": it.status,
                    "reason": it.reason,
                    "text": it.text.0,
                    "type": it.kind,
                    "contact": it.contact.map(|it| it.0),
                })
            })
            .collect()
    }

    /// Waits until the vendor's messages are as `is` says.
    pub async fn until(&self, vendor: &TestVendor, is: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let started = std::time::Instant::now();
        loop {
            let messages = self.messages(vendor).await;
            if is(&messages) {
                return messages;
            }
            assert!(started.elapsed() < DEADLINE, "in the end there was {messages:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until nothing is left to do now, and checks that the ledger is right.
    pub async fn settled(&self) {
        let started = std::time::Instant::now();
        while self.gateway.work().load().1 > 0 || self.has_waiting().await {
            assert!(started.elapsed() < DEADLINE, "work is left: {:?}", self.gateway.work().load());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.balanced().await;
    }

    /// Waits until nothing runs.
    pub async fn settled_sends(&self) {
        let started = std::time::Instant::now();
        while self.gateway.work().load().1 > 0 {
            assert!(started.elapsed() < DEADLINE, "work is left: {:?}", self.gateway.work().load());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn has_waiting(&self) -> bool {
        let ledger = self.gateway.journal().ledger(None).await.unwrap();
        ledger.events_waiting > 0 || ledger.intents_waiting > 0
    }

    /// Checks that the ledger is what a count of the entries gives. Webhooks may still come in
    /// between the two readings, so they are compared until they stand still.
    pub async fn balanced(&self) {
        let started = std::time::Instant::now();
        loop {
            let ledger = self.gateway.journal().ledger(None).await.unwrap();
            let counted = self.gateway.journal().count(None).await.unwrap();
            assert!(ledger.balances(), "{ledger:?}");
            let hours = self.hours_differ().await;
            if ledger == counted && hours.is_none() {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "{ledger:?} is not {counted:?}, {hours:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A vendor whose messages by the hour are not what a count of the entries gives.
    async fn hours_differ(&self) -> Option<(Tally, Tally)> {
        const ALL: std::ops::Range<i64> = 0..1_000_000;
        let journal = self.gateway.journal();
        for vendor in self.gateway.vendors(None, 1_000).await.unwrap().vendors {
            let counters = journal.hours(&vendor.id, ALL).await.unwrap();
            let counted = journal.count_hours(&vendor.id, ALL).await.unwrap();
            if counters != counted {
                return Some((counters, counted));
            }
        }
        None
    }

    /// Stops the service, as SIGTERM does, and starts it again on the same data and address.
    pub async fn restart(&mut self) {
        self.app.take().unwrap().stop().await;
        self.start_again().await;
    }

    /// Starts it again after it was stopped.
    pub async fn start_again(&mut self) {
        let address = self.base.strip_prefix("http://").unwrap();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let (clock, store) = (self.clock.clone(), self.store.clone());
        let app = start_on(&self.config, clock, listener, store).await;
        self.gateway = app.gateway.clone();
        self.app = Some(app);
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The embedded database, opened once more.
    pub fn db(&self) -> Db {
        SqliteJournal::open(&self.data_dir().join("waba.db"), self.vault()).unwrap().db().clone()
    }

    /// With the key of the configuration.
    pub fn vault(&self) -> Arc<Vault> {
        Arc::new(Vault::new(self.config.encryption_key.as_ref().unwrap(), &[]).unwrap())
    }

    pub fn now_secs(&self) -> i64 {
        self.clock.now() / 1_000
    }
}

pub fn rules() -> Vec<ResponderConfig> {
    let rule = |contains: &str, reply: &str| Rule {
        contains: contains.to_owned(),
        reply: reply.to_owned(),
    };
    let rules = vec![rule("horaires", "ouvert de 8 h à 19 h")];
    vec![ResponderConfig::Rules { rules, otherwise: Some("merci".to_owned()) }]
}

/// A rule that answers each message differently is a responder that repeats it.
pub fn change(responders: Vec<ResponderConfig>) -> VendorChange {
    VendorChange { responders: Some(responders), ..VendorChange::default() }
}
