//! Puts the parts together, once: `main` and the tests start the same thing.

mod backup;
mod bootstrap;
mod changes;
mod data;
mod elsewhere;
mod late;
mod own;
mod stores;
mod watch;

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use futures_util::future::OptionFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{Mutex, Notify, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use self::stores::Stores;
pub use self::{
    backup::{Restored, back_up, restore},
    bootstrap::{operator_key, vault},
    data::{BothStores, Data, Vaulted, patiently},
    late::store_is_away,
};
use crate::{
    cache::redis::Redis,
    config::{Config, Targets},
    domain::{clock::Clock, id::EntryId, secret::SecretString},
    firebase::Firebase,
    gateway::{
        ANSWERING_MAX, Alerts, Attention, BulkJobs, DiskChecked, Forwarding, Gateway, Heard,
        InDoubt, Inner, KeysUsed, MediaKeeper, OnceAMinute, Paces, Retention, SendCircuits,
        Settings, Work,
    },
    http::{Allow, Http, Reach, reach},
    journal::{SharedJournal, SqliteJournal},
    provider::{Meta, Providers, Twilio, Unipile, Wasender},
    responder::{Circuits, Means},
    sqlite::{Db, DbError},
    store::{SharedStore, SqliteStore, StoreError},
    vault::Vault,
    vendor::{Parts, Source, VendorRegistry, WabaManager},
    web::{self, Ends, Web},
    worker,
};

/// For sends that have begun when the process is asked to stop; with the connections' goodbye it
/// stays within 20 s.
const SENDS_END_WITHIN: Duration = Duration::from_secs(15);
/// Connections to `/metrics` on its own port.
const METRICS_CONNECTIONS_MAX: usize = 64;
/// Unfinished entries read at once at start.
const WAITING_PAGE: usize = 5_000;

/// The gateway, running.
pub struct App {
    /// What it does.
    pub gateway: Gateway,
    /// Where webhooks and administration are served.
    pub address: std::net::SocketAddr,
    /// Where `/metrics` is served without a key.
    pub metrics_address: Option<std::net::SocketAddr>,
    /// The admin key, when it was made at this start.
    pub new_admin_key: Option<SecretString>,
    db: Db,
    stop_work: CancellationToken,
    ends: Ends,
    worker: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
    /// Held for as long as the process uses the directory.
    _lock: std::fs::File,
}

/// Sockets to serve on.
pub struct Listeners {
    /// Webhooks and administration.
    pub main: TcpListener,
    /// `/metrics` without a key.
    pub metrics: Option<TcpListener>,
}

impl App {
    /// Starts the gateway: takes the directory, opens what is in it, takes up what was unfinished,
    /// serves. `work` runs what webhooks gave to do, which can wait while webhooks cannot.
    pub async fn start(
        config: &Config,
        clock: Clock,
        listeners: Listeners,
        metrics: PrometheusHandle,
        work: &Handle,
    ) -> anyhow::Result<Self> {
        Self::start_on(config, clock, listeners, metrics, work, None).await
    }

    /// As [`Self::start`], on a store that other gateways may share, in place of the embedded one.
    pub async fn start_on(
        config: &Config,
        clock: Clock,
        listeners: Listeners,
        metrics: PrometheusHandle,
        work: &Handle,
        store: Option<SharedStore>,
    ) -> anyhow::Result<Self> {
        let lock = bootstrap::take_directory(&config.data_dir)?;
        let Opened { journal, embedded, vault } = open(config, &clock).await?;
        let db = journal.db().clone();
        let stores = Stores::open(config, embedded, &db, &vault, store).await?;
        let (store, source) = stores.shared();
        let (own_vault, vault) = (vault, stores.vault());
        let manager = manager(config, &clock, source, Arc::clone(&vault))?;
        let (journal, http) = (Arc::new(journal), http(config)?);
        let gateway = assemble(config, http, clock, journal, store, manager, vault)?;
        let (new_admin_key, late) = late::start(config, &gateway).await?;
        gateway.take_up_forwards().await.context("take up events to forward")?;

        let (stop_work, ends) = (CancellationToken::new(), Ends::default());
        let own = config.own_number.clone().map(|it| {
            own::Own::new(it, gateway.clone(), db.clone(), own_vault).start(ends.stop.clone())
        });
        let own = OptionFuture::from(own).await;

        let web = Web::new(gateway.clone(), metrics, config.body_bytes_max);
        let address = listeners.main.local_addr()?;
        let metrics_address =
            listeners.metrics.as_ref().map(TcpListener::local_addr).transpose()?;
        let serve = |n_max, listener, router| {
            tokio::spawn(web::serve_at_most(n_max, listener, router, ends.clone()))
        };
        let mut others = vec![serve(web::connections_max(), listeners.main, web.router())];
        let metrics = listeners.metrics;
        others.extend(metrics.map(|it| serve(METRICS_CONNECTIONS_MAX, it, web.metrics_router())));
        others.extend(changes::spawn(&gateway, &ends.stop).await);
        others.extend(stores.firestore().map(|it| {
            let (gateway, stop) = (gateway.clone(), ends.stop.clone());
            work.spawn(async move { gateway.tend_outbox(it, stop).await })
        }));
        others.extend(own);
        others.extend(stores.listen(&ends.stop));
        others.extend(late.map(|it| it.spawn(gateway.clone(), ends.stop.clone())));
        if gateway.manager().has_redis() {
            others.push(tokio::spawn(elsewhere::listen(gateway.clone(), ends.stop.clone())));
        }
        others.push(work.spawn(worker::forward(gateway.clone(), stop_work.clone())));
        others.push(tokio::spawn(watch::watch(gateway.clone(), ends.stop.clone())));
        let (tender, stop) = (gateway.clone(), stop_work.clone());
        others.push(tokio::spawn(async move { tender.tend_media(stop).await }));
        let (tender, stop) = (gateway.clone(), stop_work.clone());
        others.push(tokio::spawn(async move { tender.tend_journal(stop).await }));
        let (tender, stop) = (gateway.clone(), stop_work.clone());
        others.push(work.spawn(async move { tender.tend_bulk(stop).await }));
        let worker = work.spawn(worker::run(gateway.clone(), stop_work.clone()));
        Ok(Self {
            gateway,
            address,
            metrics_address,
            new_admin_key,
            db,
            stop_work,
            ends,
            worker,
            others,
            _lock: lock,
        })
    }

    /// Stops: sends that have begun end, responders' calls are dropped, and webhooks are taken to
    /// the very end.
    pub async fn stop(self) {
        self.stop_work.cancel();
        self.ends.near.cancel();
        let sends_end = tokio::time::timeout(SENDS_END_WITHIN, self.worker);
        let (ended, ()) = tokio::join!(sends_end, tokio::time::sleep(web::LINGER));
        if ended.is_err() {
            tracing::error!(
                "a send did not end in time; what became of it is asked after the restart"
            );
        }
        self.ends.stop.cancel();
        for other in self.others {
            // A task that panicked has told so.
            let _ = other.await;
        }
        let db = self.db;
        let _ = tokio::task::spawn_blocking(move || db.close()).await;
    }
}

/// What is in the data directory.
struct Opened {
    journal: SqliteJournal,
    embedded: SqliteStore,
    vault: Arc<Vault>,
}

async fn open(config: &Config, clock: &Clock) -> anyhow::Result<Opened> {
    let vault = Arc::new(bootstrap::vault(config)?);
    let (path, for_open) = (database_of(config), Arc::clone(&vault));
    let is_told_elsewhere = config.firestore.is_some();
    let open = move || {
        let journal = SqliteJournal::open(&path, for_open)?;
        journal.remember_keys(&path);
        if is_told_elsewhere {
            journal.keep_outbox();
        }
        Ok::<_, DbError>(journal)
    };
    let journal = tokio::task::spawn_blocking(open).await?.context("open waba.db")?;
    let embedded = SqliteStore::new(journal.db().clone(), Arc::clone(&vault));
    embedded.check_key().await.context("the encryption key does not fit the data")?;
    let keyed = embedded.keyed();
    keyed.seals().await.context("the encryption key does not fit the data")?;
    if keyed.has_old().await? {
        tracing::warn!(
            "data are still sealed with a key of ENCRYPTION_KEYS_OLD: \"waba-gateway vault rotate\" seals them with ENCRYPTION_KEY"
        );
    }
    let restored = journal.park_restored(clock.now()).await.context("a backup's work")?;
    if let Some(n_entries) = restored {
        tracing::warn!(
            n_entries,
            "these data come from a backup: what was unfinished in it is parked until a person releases it"
        );
    }
    Ok(Opened { journal, embedded, vault })
}

/// Puts a gateway together: everything but what serves it and works for it.
pub fn assemble(
    config: &Config,
    http: Http,
    clock: Clock,
    journal: SharedJournal,
    store: SharedStore,
    manager: WabaManager,
    vault: Arc<Vault>,
) -> anyhow::Result<Gateway> {
    let (url, token) = (config.wasender_url.clone(), config.wasender_token.clone());
    let media = MediaKeeper::open(&config.data_dir, http.clone(), vault);
    let media = media.context("the directory of files")?;
    let (apis, own) = (config.apis.clone(), config.base_url.clone());
    let providers = Providers::new(
        Wasender::new(http.clone(), url, token, clock.clone()),
        Meta::new(http.clone(), apis.meta, clock.clone()),
        Unipile::new(http.clone(), apis.unipile, clock.clone()),
        Twilio::new(http.clone(), apis.twilio, own, clock.clone()),
    );
    let parts = Parts {
        providers: providers.clone(),
        means: Means { http: http.clone(), clock: clock.clone(), circuits: Circuits::default() },
        default_responder: config
            .response_api
            .clone()
            .map(|it| (it, config.forward_secret.clone())),
    };
    let registry = VendorRegistry::new(manager.clone(), parts);
    let firebase = config.firebase.as_ref().map(|(project, keys_url)| {
        Firebase::new(project, keys_url.clone(), http.clone(), clock.clone())
    });
    Ok(Gateway::new(Inner {
        journal,
        store,
        registry,
        manager,
        providers,
        work: Work::new(clock.clone()),
        forwarding: Forwarding::default(),
        http,
        media,
        clock,
        settings: Settings {
            base_url: config.base_url.clone(),
            wasender_url: config.wasender_url.clone(),
            apis: config.apis.clone(),
            max_answer_age: config.max_answer_age,
            min_free_disk_bytes: config.min_free_disk_bytes,
            retention: config.retention,
            data_dir: config.data_dir.clone(),
        },
        turns: std::array::from_fn(|_| Mutex::default()),
        turn_of_all: Mutex::default(),
        pauses_due: Notify::new(),
        disk_checked: DiskChecked::default(),
        attention: Attention::default(),
        synced: Mutex::default(),
        failures: OnceAMinute::default(),
        in_doubt: InDoubt::default(),
        heard: Heard::default(),
        send_circuits: SendCircuits::default(),
        paces: Paces::default(),
        firebase,
        keys_used: KeysUsed::default(),
        alerts: Alerts::default(),
        bulk: BulkJobs::default(),
        retention: Retention::default(),
        answering: Semaphore::new(ANSWERING_MAX),
    }))
}

/// Finds vendors where this configuration says: in memory, in Redis where there is one, then at
/// the source.
pub fn manager(
    config: &Config,
    clock: &Clock,
    source: Source,
    vault: Arc<Vault>,
) -> anyhow::Result<WabaManager> {
    let redis = config.redis.as_ref().map(|url| {
        let (vault, ttl) = (Arc::clone(&vault), config.cache_ttl);
        // What is wrong may quote the URL.
        Redis::new(url, vault, clock.clone(), ttl)
            .map_err(|_| anyhow::anyhow!("REDIS_URL cannot be used"))
    });
    Ok(WabaManager::new(config.cache_ttl, redis.transpose()?, source, vault))
}

/// The way out, as this configuration allows it.
pub fn http(config: &Config) -> anyhow::Result<Http> {
    Http::new(Arc::new(Guard(config.targets.clone()))).context("the HTTP client")
}

/// Takes up what was unfinished when the last process ended, so many entries at once.
pub async fn take_up(gateway: &Gateway, page: usize) -> anyhow::Result<()> {
    hold_paused(gateway).await?;
    take_up_entries(gateway, page).await
}

async fn take_up_entries(gateway: &Gateway, page_size: usize) -> anyhow::Result<()> {
    let (mut after, mut n_taken) = (EntryId(0), 0);
    loop {
        let page = gateway.journal().waiting(after, page_size).await?;
        n_taken += page.len();
        let last = page.iter().rev().find_map(|it| match it {
            crate::journal::Change::New(job) | crate::journal::Change::Decided(job, _) => {
                Some(job.id)
            }
            crate::journal::Change::Placed { .. } | crate::journal::Change::Merged { .. } => None,
        });
        let is_last = page.len() < page_size;
        gateway.work().apply(page);
        match last.filter(|_| !is_last) {
            Some(last) => after = last,
            None => break,
        }
    }
    if n_taken > 0 {
        tracing::info!(n_entries = n_taken, "took up unfinished work");
    }
    Ok(())
}

/// Whose sends are stopped, as the store has it.
async fn hold_paused(gateway: &Gateway) -> Result<(), StoreError> {
    let paused = gateway.manager().paused().await?;
    paused.vendors.iter().for_each(|it| gateway.work().pause(Some(it), true));
    gateway.work().pause(None, paused.all);
    Ok(())
}

/// What vendors' URLs may reach.
struct Guard(Targets);

impl Allow for Guard {
    fn allows(&self, host: &str, address: IpAddr) -> bool {
        let is_named = || {
            self.0.nets.iter().any(|it| it.contains(&address))
                || self.0.hosts.iter().any(|it| it.eq_ignore_ascii_case(host))
        };
        match reach(address) {
            Reach::Public => true,
            Reach::Private => self.0.all_private || is_named(),
            Reach::Never => false,
        }
    }

    fn allows_customers(&self, _: IpAddr) -> bool {
        self.0.all_private
    }
}

/// The address of a fresh loopback port, for the demo and the tests.
pub async fn loopback() -> std::io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", 0)).await
}

/// Where the data of this configuration is.
#[must_use]
pub fn database_of(config: &Config) -> PathBuf {
    config.data_dir.join("waba.db")
}
