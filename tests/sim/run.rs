//! Tells the story of one seed: starts the gateway, lets the world happen to it, kills it and starts
//! it again on what it has written, until everything has come to rest.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use waba_gateway::{
    app,
    config::Config,
    domain::{
        clock::{Clock, HOUR, Millis, SECOND},
        event::Connection,
        id::EntryId,
        message::Content,
        phone::PhoneNumber,
        secret::SecretString,
        vendor::{Dialect, OnUnknown, ResponderConfig, ResponseApi, Vendor},
        waba::{
            MetaAccount, ProviderKind, SignatureSchemes, WabaInstance, WasenderAccount,
            WebhookSecret,
        },
        webhook::Headers,
    },
    gateway::{AcceptError, Accepted, Came, Gateway, SendMessage},
    http::Http,
    journal::SqliteJournal,
    sqlite::{SharedConnection, in_memory},
    store::{SharedStore, SqliteStore, Store},
    twin::sign_hmac,
    vault::Vault,
    vendor::Source,
    worker,
};

use super::{
    executor::Executor,
    journal::Watched,
    looks, meta,
    mutation::Mutation,
    plan::{self, BASE},
    provider,
    rng::Rng,
    rules,
    store::Flaky,
    world::{Event, Hook, Says, Shared, VendorModel, World},
};

/// A story that goes on for longer never ends.
const LONGEST: Millis = 60 * HOUR;
/// Polls of one moment; more is a circle.
const POLLS_MAX: u64 = 200_000;

/// What is the same for all seeds of a thread.
pub struct Place {
    connection: SharedConnection,
    http: Http,
    vault: Arc<Vault>,
    config: Config,
    _directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        // Each process makes sure that its directory is on disk: in memory that costs no time.
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let data = directory.path().display().to_string();
        let config = Config::from_lookup(|name| match name {
            "DATA_DIR" => Some(data.clone()),
            "WASENDER_API_URL" => Some("https://wasender.test/api".to_owned()),
            "META_API_URL" => Some("https://meta.test/v25.0".to_owned()),
            "MIN_FREE_DISK" => Some("0".to_owned()),
            _ => None,
        })
        .unwrap();
        let key = SecretString::from("c2ltdWxhdGlvbiBzaW11bGF0aW9uIHNpbXVsYXRpb24=");
        Self {
            connection: in_memory().unwrap(),
            http: app::http(&config).unwrap(),
            vault: Arc::new(Vault::new(&key, &[]).unwrap()),
            config,
            _directory: directory,
        }
    }

    /// What the journal has in the end, for people.
    fn entries(&self) -> Vec<String> {
        let connection = self.connection.lock().unwrap();
        let sql = "SELECT id, kind, contact, origin, status, note, life FROM entries ORDER BY id";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map((), |row| {
            let (id, kind): (i64, i64) = (row.get(0)?, row.get(1)?);
            let (contact, origin): (Option<i64>, Option<i64>) = (row.get(2)?, row.get(3)?);
            let (status, note): (Option<i64>, Option<String>) = (row.get(4)?, row.get(5)?);
            let (origin, life): (_, String) = (origin.map(EntryId), row.get(6)?);
            let id = EntryId(id);
            Ok(format!(
                "{id} kind {kind} of {contact:?} about {origin:?}: {status:?} {note:?} {life}"
            ))
        });
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// An empty database. The tables stay, and so does the one of the first day's dedupe keys.
    fn clear(&self) {
        let connection = self.connection.lock().unwrap();
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table'";
        let mut statement = connection.prepare(sql).unwrap();
        let names: Vec<String> =
            statement.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        let first_day = format!("keys_{}", BASE.div_euclid(24 * HOUR));
        for name in names {
            let is_later = name.starts_with("keys_") && name != first_day;
            let sql = if is_later { "DROP TABLE" } else { "DELETE FROM" };
            connection.execute_batch(&format!("{sql} {name}")).unwrap();
        }
    }
}

/// What came of a seed.
pub struct Story {
    pub failure: Option<(&'static str, String)>,
    pub trace: u64,
    pub n_messages: usize,
    pub n_sent: usize,
    /// Of them through Meta.
    pub n_by_meta: usize,
    pub n_crashes: u32,
    pub lines: Vec<String>,
}

/// Tells the story of a seed.
pub fn tell(seed: u64, mutation: Option<Mutation>, is_told: bool, place: &Place) -> Story {
    place.clear();
    let clock = Clock::fixed(BASE);
    let mut world = World::new(clock.clone(), Rng::new(seed), mutation, is_told);
    plan::plan(&mut world);
    let rng = Rng::new(seed ^ 0x5eed);
    let world: Shared = Arc::new(Mutex::new(world));
    let mut run = Run { place, clock, world, rng, executor: Executor::default(), process: None };
    run.set_up();
    run.start();
    run.all();
    let mut world = run.world.lock().unwrap();
    if world.rules.failure.is_some() && is_told {
        let kept = place.entries();
        world.story.iter_mut().for_each(|it| it.extend(kept.iter().cloned()));
    }
    Story {
        failure: world.rules.failure.clone(),
        trace: world.trace,
        n_messages: world.messages.len(),
        n_sent: world.sent.len(),
        n_by_meta: world.sent.iter().filter(|it| it.via == ProviderKind::Meta).count(),
        n_crashes: world.n_crashes,
        lines: world.story.take().unwrap_or_default(),
    }
}

struct Run<'a> {
    place: &'a Place,
    clock: Clock,
    world: Shared,
    rng: Rng,
    executor: Executor,
    process: Option<Process>,
}

/// The gateway, running.
struct Process {
    gateway: Gateway,
    watched: Arc<Watched>,
    stop: CancellationToken,
    n_running: Arc<AtomicUsize>,
}

impl Run<'_> {
    fn set_up(&self) {
        let journal = self.journal();
        let store = SqliteStore::new(journal.db().clone(), Arc::clone(&self.place.vault));
        let world = self.world.lock().unwrap();
        for (n, it) in world.vendors.iter().enumerate() {
            let put = async {
                store.put_vendor(&vendor(it)).await.unwrap();
                store.put_instance(&instance(n, it, &world)).await.unwrap();
            };
            put.now_or_never().expect("the store answers at once");
        }
    }

    fn journal(&self) -> SqliteJournal {
        SqliteJournal::inline(Arc::clone(&self.place.connection), Arc::clone(&self.place.vault))
            .unwrap()
    }

    /// A new process on what the last one has written.
    fn start(&mut self) {
        let (journal, place) = (self.journal(), self.place);
        let store = SqliteStore::new(journal.db().clone(), Arc::clone(&place.vault));
        let watched = Arc::new(Watched {
            inner: journal,
            world: Arc::clone(&self.world),
            connection: Arc::clone(&place.connection),
            unwritten: Mutex::default(),
        });
        let store: SharedStore = Arc::new(Flaky { inner: store, world: Arc::clone(&self.world) });
        let (source, vault) = (Source::new(Arc::clone(&store)), Arc::clone(&place.vault));
        let manager = app::manager(&place.config, &self.clock, source, Arc::clone(&vault)).unwrap();
        let http = place.http.over(provider::wire(&self.world));
        let shared: Arc<Watched> = Arc::clone(&watched);
        let clock = self.clock.clone();
        let gateway =
            app::assemble(&place.config, http, clock, shared, store, manager, vault).unwrap();
        let (stop, n_running) = (CancellationToken::new(), Arc::<AtomicUsize>::default());
        let process = Process {
            gateway: gateway.clone(),
            watched,
            stop: stop.clone(),
            n_running: Arc::clone(&n_running),
        };
        self.process = Some(process);
        let (world, spawner) = (Arc::clone(&self.world), Arc::clone(&self.executor.spawner));
        let page = self.rng.below(40) + 1;
        self.executor.spawn(async move {
            if app::take_up(&gateway, page).await.is_err() {
                // As the program does: it ends, and is started again.
                world.lock().unwrap().crash = true;
                return;
            }
            forget_pauses(&world, &gateway);
            world.lock().unwrap().is_up = true;
            while !stop.is_cancelled() {
                while let Some(job) = gateway.work().next() {
                    {
                        let mut world = world.lock().unwrap();
                        let at = (world.tick, world.now());
                        world.rules.started.insert(job.id, at);
                        world.tell(|| format!("{:?} of {} starts", job.kind, job.id));
                    }
                    n_running.fetch_add(1, Ordering::SeqCst);
                    let (gateway, stop) = (gateway.clone(), stop.clone());
                    let n_running = Arc::clone(&n_running);
                    spawner.lock().unwrap().push(Box::pin(async move {
                        worker::work(&gateway, job, &stop).await;
                        n_running.fetch_sub(1, Ordering::SeqCst);
                    }));
                }
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = gateway.work().changed() => {}
                }
            }
        });
    }

    fn all(&mut self) {
        loop {
            self.settle();
            if self.is_broken() {
                return;
            }
            let event = self.world.lock().unwrap().pop();
            if let Some(event) = event {
                self.happen(event);
                continue;
            }
            let next = self.world.lock().unwrap().next_at();
            let Some(next) = next.into_iter().chain(self.clock.next_wake()).min() else { break };
            let now = self.clock.now();
            if next > BASE + LONGEST {
                let how = "something is still to be done after days".to_owned();
                self.world.lock().unwrap().broke(rules::LOST, how);
                return;
            }
            self.clock.advance((next - now).max(1));
        }
        if let Some(process) = &self.process {
            looks::at_end(&process.watched);
        }
    }

    /// Everything that can go on goes on.
    fn settle(&mut self) {
        for _ in 0..POLLS_MAX {
            self.world.lock().unwrap().tick += 1;
            let is_ready = self.executor.step(&mut self.rng);
            let crash = std::mem::take(&mut self.world.lock().unwrap().crash);
            let is_stopped = self.process.as_ref().is_some_and(|it| {
                it.stop.is_cancelled() && it.n_running.load(Ordering::SeqCst) == 0
            });
            if crash || is_stopped {
                self.end_process(crash);
            } else if !is_ready || self.is_broken() {
                return;
            }
        }
        let how = "the gateway runs in a circle".to_owned();
        self.world.lock().unwrap().broke(rules::LOST, how);
    }

    fn is_broken(&self) -> bool {
        self.world.lock().unwrap().rules.failure.is_some()
    }

    fn end_process(&mut self, is_crash: bool) {
        if self.process.take().is_none() {
            return;
        }
        self.executor.crash();
        let mut world = self.world.lock().unwrap();
        world.tell(|| format!("the process ends{}", if is_crash { ", killed" } else { "" }));
        world.is_up = false;
        world.n_crashes += u32::from(is_crash);
        let now = world.now();
        world.rules.disturbed(now);
        let in_flight = world.rules.in_flight.clone();
        world.rules.cut_off.extend(in_flight);
        world.rules.told.clear();
        world.rules.started.clear();
        world.forget_rests();
        world.rules.merged.clear();
        let after = world.rng.between(100, 8 * SECOND);
        world.after(after, Event::Start);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Hook(hook) => self.deliver(*hook),
            Event::Accept(sent) => provider::accept(&mut self.world.lock().unwrap(), *sent),
            // Who asked may have gone.
            Event::Answer(asked, answer) => drop(asked.send(answer)),
            Event::Api(n) => self.ask_to_send(n),
            Event::Pause(vendor, is_paused) => self.pause(vendor, is_paused),
            Event::Crash => self.world.lock().unwrap().crash = self.process.is_some(),
            Event::Stop => {
                if let Some(process) = &self.process {
                    process.stop.cancel();
                }
            }
            Event::Start => {
                if self.process.is_none() {
                    self.start();
                }
            }
        }
    }

    /// The gateway, when it answers.
    fn gateway(&self) -> Option<Gateway> {
        let is_up = self.world.lock().unwrap().is_up;
        self.process.as_ref().filter(|_| is_up).map(|it| it.gateway.clone())
    }

    fn deliver(&self, hook: Hook) {
        let world = Arc::clone(&self.world);
        let Some(gateway) = self.gateway() else {
            return again(&mut world.lock().unwrap(), hook);
        };
        let (to, secret) = {
            let world = world.lock().unwrap();
            (world.vendors[hook.to].id.to_string(), world.vendors[hook.vendor].secret.clone())
        };
        self.executor.spawn(async move {
            let body = hook.body.to_string();
            let proof = match hook.by {
                ProviderKind::Meta => {
                    let mac = sign_hmac(&meta::app_secret(hook.vendor), body.as_bytes());
                    ("x-hub-signature-256".to_owned(), format!("sha256={mac}"))
                }
                _ => ("x-webhook-signature".to_owned(), secret),
            };
            let (by, headers) = (hook.by, Headers(vec![proof]));
            let taken = async {
                let (service, _) = gateway.knock(by, &to, &headers).await?;
                let body = body.into();
                let came = Came { by, headers: headers.clone(), url: String::new(), body };
                gateway.accept(&service, came).await
            };
            let taken = taken.await;
            delivered(&mut world.lock().unwrap(), hook, taken);
        });
    }

    fn ask_to_send(&self, n: usize) {
        let world = Arc::clone(&self.world);
        let Some(gateway) = self.gateway() else {
            return world.lock().unwrap().after(3 * SECOND, Event::Api(n));
        };
        let (vendor, to) = {
            let world = world.lock().unwrap();
            let it = &world.api[n];
            let names = &world.people[it.person].names;
            (world.vendors[it.vendor].id.clone(), format!("+{}", names.phone))
        };
        self.executor.spawn(async move {
            let message = SendMessage {
                to,
                content: Content::text(format!("api k{n}")),
                reply_to: None,
                instance: None,
                provider: None,
                send_at: None,
                idempotency_key: Some(format!("k{n}")),
            };
            let queued = gateway.send_message(&vendor, message).await;
            let mut world = world.lock().unwrap();
            match queued {
                Ok(queued) => {
                    let known = world.api[n].id.replace(queued.id);
                    if known.is_some_and(|it| it != queued.id) {
                        let how = format!("k{n} is {known:?} and {}", queued.id);
                        world.broke(rules::DUPLICATE, how);
                    }
                }
                Err(_) if world.api[n].tries < 4 => {
                    world.api[n].tries += 1;
                    world.after(2 * SECOND, Event::Api(n));
                }
                Err(_) => {}
            }
        });
    }

    fn pause(&self, vendor: usize, is_paused: bool) {
        let world = Arc::clone(&self.world);
        let Some(gateway) = self.gateway() else {
            return world.lock().unwrap().after(2 * SECOND, Event::Pause(vendor, is_paused));
        };
        let id = {
            let mut world = world.lock().unwrap();
            let now = world.now();
            world.rules.disturbed(now);
            if !is_paused {
                world.rules.paused_since.remove(&vendor);
            }
            world.vendors[vendor].id.clone()
        };
        self.executor.spawn(async move {
            let done = gateway.pause(Some(&id), is_paused).await;
            let mut world = world.lock().unwrap();
            if done.is_err() {
                return world.after(2 * SECOND, Event::Pause(vendor, is_paused));
            }
            let now = world.now();
            world.tell(|| format!("vendor {vendor} is paused: {is_paused}"));
            world.rules.disturbed(now);
            // The other one may have been asked for before and be done first.
            if is_paused {
                world.rules.paused_since.insert(vendor, now);
            } else {
                world.rules.paused_since.remove(&vendor);
            }
        });
    }
}

/// In a broken world a restart forgets who is paused.
fn forget_pauses(world: &Shared, gateway: &Gateway) {
    let world = world.lock().unwrap();
    if world.is_broken(Mutation::PauseIsForgotten) {
        world.vendors.iter().for_each(|it| gateway.work().pause(Some(&it.id), false));
    }
}

fn again(world: &mut World, hook: Hook) {
    if hook.tries > 1 && world.rng.chance(500) {
        let after = world.rng.between(SECOND, 20 * SECOND);
        let hook = Hook { tries: hook.tries - 1, ..hook };
        world.after(after, Event::Hook(Box::new(hook)));
    }
}

fn delivered(world: &mut World, hook: Hook, taken: Result<Accepted, AcceptError>) {
    let is_foreign = hook.to != hook.vendor;
    match taken {
        Ok(_) if is_foreign => {
            world.broke(rules::ISOLATION, "a webhook was taken for another vendor".to_owned());
        }
        Ok(accepted) => {
            world.tell(|| format!("kept from {}: {:?} as {:?}", hook.by, hook.says, accepted.id));
            let is_new = !accepted.is_duplicate || matches!(hook.says, Says::Message(_));
            let id = accepted.id.filter(|_| is_new);
            world.kept(hook.vendor, id, hook.says, hook.links);
        }
        Err(AcceptError::NotProven) if !is_foreign => {
            world.broke(rules::LOST, "a webhook with the right secret was refused".to_owned());
        }
        Err(AcceptError::NotProven) => {}
        Err(_) => again(world, hook),
    }
}

fn vendor(it: &VendorModel) -> Vendor {
    let secret = SecretString::from("whsec_c2ltdWxhdGlvbiBzaW11bGF0aW9uIHNpbXVsYXRpb24=");
    let mut vendor = Vendor::new(it.id.clone(), it.id.to_string(), secret, BASE);
    vendor.silence = it.silence;
    vendor.intent_ttl = it.ttl;
    vendor.unknown_deadline = it.unknown_deadline;
    vendor.on_unknown = if it.risks { OnUnknown::Retry } else { OnUnknown::GiveUp };
    vendor.welcome_message = it.has_welcome.then(|| "welcome".to_owned());
    vendor.apology = it.has_apology.then(|| "sorry".to_owned());
    vendor.responders = vec![ResponderConfig::ResponseApi(ResponseApi {
        url: "https://bot.test/answer".to_owned(),
        headers: Vec::new(),
        dialect: Dialect::Bot,
    })];
    vendor
}

/// The key that a vendor sends with.
fn session_key(it: &VendorModel, world: &World) -> String {
    match world.mutation {
        Some(Mutation::KeyOfNobody) => "nobody's".to_owned(),
        Some(Mutation::KeyOfAnother) => {
            let other = world.vendors.iter().find(|other| other.id != it.id).unwrap_or(it);
            other.session_key.clone()
        }
        _ => it.session_key.clone(),
    }
}

fn meta_account(n: usize) -> MetaAccount {
    MetaAccount {
        phone_number_id: meta::number(n),
        waba_id: None,
        access_token: Some(SecretString::from(meta::token_of(n))),
        app_secret: Some(SecretString::from(meta::app_secret(n))),
        verify_token: None,
        phone_number: None,
    }
}

fn instance(n: usize, it: &VendorModel, world: &World) -> WabaInstance {
    let meta = it.has_meta.then(|| Box::new(meta_account(n)));
    WabaInstance {
        id: it.instance.clone(),
        vendor_id: it.id.clone(),
        phone_number: PhoneNumber::from_wire(&it.phone).unwrap(),
        provider: ProviderKind::Wasender,
        failover: meta.iter().map(|_| ProviderKind::Meta).collect(),
        meta,
        unipile: None,
        twilio: None,
        status: Connection::Connected,
        schemes: SignatureSchemes::default(),
        account_protection: it.is_protected && !world.is_broken(Mutation::PaceIsIgnored),
        wasender: WasenderAccount {
            instance_id: Some(it.session.clone()),
            session_key: Some(SecretString::from(session_key(it, world))),
            webhook_secrets: vec![WebhookSecret {
                secret: SecretString::from(it.secret.clone()),
                until: None,
                is_sessions: true,
            }],
            token: it.has_log.then(|| SecretString::from(format!("token-{}", it.id))),
        },
        created_at: BASE,
        updated_at: BASE,
        last_sync: None,
    }
}
