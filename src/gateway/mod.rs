//! What the program does, one file each.

mod access;
mod admin;
mod alerts;
mod analytics;
mod ask;
mod attention;
mod audit;
mod bulk;
mod changes;
mod circuits;
mod connect;
mod content;
mod deliver;
mod elsewhere;
mod exchange;
mod failures;
mod forward;
mod instances;
mod intake;
mod media;
mod messages;
mod notify;
mod operate;
mod outbox;
mod paces;
mod people;
mod reply;
mod retention;
mod rotate;
mod setup;
mod shares;
mod states;
mod status;
mod vitals;
mod waba;
mod work;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64},
    },
};

use tokio::sync::{Mutex, MutexGuard, Notify, Semaphore};
use url::Url;

pub use self::{
    access::{Access, AccessError, Caller, KeysUsed, NewKey, hash, is_adopted, random_key},
    admin::{AdminError, VendorChange, signing_secret},
    alerts::Alerts,
    analytics::{Asked, Counted},
    attention::Attention,
    audit::BY_CLI,
    bulk::{BulkIntake, BulkJobs, BulkShown, BulkTaken, NewBulk},
    changes::ChangeError,
    circuits::SendCircuits,
    connect::{Connected, HookDone, WayStatus},
    exchange::{Export, IMPORT_VENDORS_MAX, ImportError, ImportFault, Imported},
    failures::OnceAMinute,
    forward::{Forwarding, Ping, ReplayWhich},
    instances::{NewInstance, WEBHOOK_SECRET_CHARS_MIN},
    intake::{AcceptError, Accepted, Came, free_disk_bytes},
    media::{MEDIA_KEPT, MediaError, MediaFile, MediaKeeper, NewFile, StoredFile},
    messages::{Queued, SendError, SendMessage},
    notify::{Alert, Reach},
    operate::{LISTED_MAX, Replayed, Stats},
    paces::Paces,
    people::EraseError,
    retention::Retention,
    rotate::{Rotated, Rotation},
    setup::{
        SetUp, SetUpDone, SetUpError, StatusOfInstance, WEBHOOK_EVENTS, can_reach, shown_url,
        webhook_url, webhook_url_at,
    },
    states::InDoubt,
    vitals::Heard,
    waba::InstanceChange,
    work::{WAITING_PER_VENDOR_MAX, Work},
};
pub use crate::domain::{
    account::{AccountsChange, MetaChange, TwilioChange, UnipileChange},
    circuit::Shut,
};
use crate::{
    config::Apis,
    domain::{
        clock::{Clock, Millis},
        id::{InstanceId, VendorId},
    },
    firebase::Firebase,
    http::Http,
    journal::SharedJournal,
    provider::{Providers, Wasender},
    store::SharedStore,
    vendor::{VendorRegistry, WabaManager},
};

/// Vendors that may be changed at once, at most; more than one may share a place.
pub const TURNS: usize = 64;

/// The gateway. Clones share it.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

/// What the gateway is made of.
pub struct Inner {
    /// The durable record of work.
    pub journal: SharedJournal,
    /// Vendors, instances and keys.
    pub store: SharedStore,
    /// Vendors' services.
    pub registry: VendorRegistry,
    /// Finds instances.
    pub manager: WabaManager,
    /// The providers.
    pub providers: Providers,
    /// What may start now.
    pub work: Work,
    /// Whose back end gets an event now.
    pub forwarding: Forwarding,
    /// The way out, for events to vendors' back ends.
    pub http: Http,
    /// Files.
    pub media: MediaKeeper,
    /// The time.
    pub clock: Clock,
    /// What the operator has set.
    pub settings: Settings,
    /// Changes of one vendor are made one after another.
    pub turns: [Mutex<()>; TURNS],
    /// The same for what concerns everybody.
    pub turn_of_all: Mutex<()>,
    /// It may have been changed elsewhere whose sends are stopped.
    pub pauses_due: Notify,
    /// What the last look at the disk showed.
    pub disk_checked: DiskChecked,
    /// Which messages customers were shown something about.
    pub attention: Attention,
    /// When each instance's `lastSync` was last written.
    pub synced: Mutex<HashMap<InstanceId, Millis>>,
    /// When a failure of each instance was last written.
    pub failures: OnceAMinute,
    /// Numbers that are said to be down and have sent.
    pub in_doubt: InDoubt,
    /// What was heard of vendors' callers and is not on disk yet.
    pub heard: Heard,
    /// Proves ID tokens, where the application's users may call.
    pub firebase: Option<Firebase>,
    /// When keys were last used.
    pub keys_used: KeysUsed,
    /// The open alerts.
    pub alerts: Alerts,
    /// Which ways out are down.
    pub send_circuits: SendCircuits,
    /// How fast each customer may be written to.
    pub paces: Paces,
    /// Jobs of one message to many recipients.
    pub bulk: BulkJobs,
    /// How far removing what is old has got.
    pub retention: Retention,
    /// Of messages that are answered, so many are at the journal at once. Thousands in its queue
    /// would keep the sends that come of them waiting as long as they wait themselves. Nobody holds
    /// one while a responder is asked.
    pub answering: Semaphore,
}

/// Messages that are answered and at the journal at once.
pub const ANSWERING_MAX: usize = 64;

/// What the last look at the free disk space showed.
#[derive(Default)]
pub struct DiskChecked {
    /// When, in milliseconds since the Unix epoch.
    pub at: AtomicI64,
    /// It was too little.
    pub is_full: AtomicBool,
}

/// What the operator has set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base of the webhook URLs handed to providers.
    pub base_url: Url,
    /// Base of Wasender's API: one on this machine may reach us here.
    pub wasender_url: Url,
    /// Bases of the other providers' APIs.
    pub apis: Apis,
    /// Older messages are recorded, not answered.
    pub max_answer_age: Millis,
    /// Below this many free bytes intake answers 503.
    pub min_free_disk_bytes: u64,
    /// What has ended is removed when it is older.
    pub retention: Millis,
    /// Where the data is.
    pub data_dir: std::path::PathBuf,
}

impl Gateway {
    /// Puts a gateway together.
    #[must_use]
    pub fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// What may start now.
    #[must_use]
    pub fn work(&self) -> &Work {
        &self.inner.work
    }

    /// The durable record of work.
    #[must_use]
    pub fn journal(&self) -> &SharedJournal {
        &self.inner.journal
    }

    /// Vendors, instances and keys.
    #[must_use]
    pub fn store(&self) -> &SharedStore {
        &self.inner.store
    }

    /// Finds vendors and instances.
    #[must_use]
    pub fn manager(&self) -> &WabaManager {
        &self.inner.manager
    }

    /// Parts that do not work while others do their work.
    #[must_use]
    pub fn degraded(&self) -> Vec<&'static str> {
        let manager = &self.inner.manager;
        let redis = manager.trouble().map(|_| "redis");
        redis.into_iter().chain(manager.is_store_away().then_some("store")).collect()
    }

    /// Wasender, for looking at what only it has.
    #[must_use]
    pub fn wasender(&self) -> &Wasender {
        self.inner.providers.wasender()
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The turn to change this vendor: what is read before a change is still true when it is made.
    async fn turn_of(&self, vendor: &VendorId) -> MutexGuard<'_, ()> {
        self.its_turn(vendor).lock().await
    }

    fn its_turn(&self, vendor: &VendorId) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        vendor.hash(&mut hasher);
        let turns = &self.inner.turns;
        let n = usize::try_from(hasher.finish() % turns.len() as u64).unwrap_or_default();
        &turns[n]
    }
}
