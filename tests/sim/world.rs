//! Everything outside the gateway, and the times at which it happens.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::sync::oneshot;
use waba_gateway::{
    domain::{
        clock::{Clock, Millis},
        id::{InstanceId, VendorId},
        route::ProviderKind,
    },
    http::{HttpError, Reply},
};

use super::{bot::Asked, mutation::Mutation, provider::Sent, rng::Rng, rules::Rules, wire::Names};

pub type Shared = Arc<Mutex<World>>;

/// A vendor, as the world knows it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are choices, each on its own")]
pub struct VendorModel {
    pub id: VendorId,
    pub instance: InstanceId,
    pub phone: String,
    pub session_key: String,
    pub secret: String,
    pub session: String,
    /// The provider lets one message through in 5 seconds.
    pub is_protected: bool,
    /// A send whose end is not known may be sent once more.
    pub risks: bool,
    pub unknown_deadline: Millis,
    pub ttl: Option<Millis>,
    pub silence: Millis,
    pub has_welcome: bool,
    pub has_apology: bool,
    pub has_log: bool,
    /// What Wasender cannot carry leaves through Meta.
    pub has_meta: bool,
}

#[derive(Clone, Debug)]
pub struct Person {
    pub vendor: usize,
    pub names: Names,
    /// It is a bot as well: whatever it writes is answered the same.
    pub is_bot: bool,
}

/// A webhook, and what it is about.
#[derive(Clone, Debug)]
pub struct Hook {
    pub by: ProviderKind,
    pub vendor: usize,
    /// To whose address it is sent.
    pub to: usize,
    pub body: Value,
    pub says: Says,
    /// It is sent again when it is not taken.
    pub tries: u32,
    /// It names its customer by both names.
    pub links: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Says {
    /// A customer's message, by its number.
    Message(usize),
    /// The nth accepted send, seen on the vendor's phone.
    Echo(usize),
    /// How far the nth accepted send has got.
    Status(usize, i64),
    /// A human typed on the vendor's phone.
    Human(usize),
    /// Something else.
    Other,
}

/// What happens at a time.
pub enum Event {
    Hook(Box<Hook>),
    /// The provider takes a request that was sent to it.
    Accept(Box<Sent>),
    /// Whoever asked is answered.
    Answer(oneshot::Sender<Result<Reply, HttpError>>, Result<Reply, HttpError>),
    /// A back end asks for a message to be sent, by its number.
    Api(usize),
    Pause(usize, bool),
    /// The process dies.
    Crash,
    /// The process is asked to stop.
    Stop,
    Start,
}

/// A message that a back end wants to be sent.
#[derive(Clone, Debug)]
pub struct ApiSend {
    pub vendor: usize,
    pub person: usize,
    pub tries: u32,
    pub id: Option<waba_gateway::domain::id::EntryId>,
}

/// A customer's message or a human's.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub vendor: usize,
    pub person: usize,
}

pub struct World {
    pub clock: Clock,
    pub rng: Rng,
    pub vendors: Vec<VendorModel>,
    pub people: Vec<Person>,
    pub messages: Vec<Written>,
    pub humans: Vec<Written>,
    /// Who wrote, and when.
    pub wrote: Vec<(usize, Millis)>,
    pub api: Vec<ApiSend>,
    pub sent: Vec<Sent>,
    pub asked: BTreeMap<usize, Asked>,
    /// Messages that came too late to be answered.
    pub old: HashSet<usize>,
    /// The vendors' bot answers nobody then.
    pub bot_down: Range<Millis>,
    queue: BTreeMap<(Millis, u64), Event>,
    n_queued: u64,
    pub faults_until: Millis,
    /// The process shall die at once.
    pub crash: bool,
    pub is_up: bool,
    pub n_crashes: u32,
    pub mutation: Option<Mutation>,
    pub rules: Rules,
    /// Grows with every poll.
    pub tick: u64,
    pub story: Option<Vec<String>>,
    /// What happened, in one number.
    pub trace: u64,
    pub n_events: u64,
}

impl World {
    pub fn new(clock: Clock, rng: Rng, mutation: Option<Mutation>, is_told: bool) -> Self {
        Self {
            clock,
            rng,
            vendors: Vec::new(),
            people: Vec::new(),
            messages: Vec::new(),
            humans: Vec::new(),
            wrote: Vec::new(),
            api: Vec::new(),
            sent: Vec::new(),
            asked: BTreeMap::new(),
            old: HashSet::new(),
            bot_down: 0..0,
            queue: BTreeMap::new(),
            n_queued: 0,
            faults_until: 0,
            crash: false,
            is_up: false,
            n_crashes: 0,
            mutation,
            rules: Rules::default(),
            tick: 0,
            story: is_told.then(Vec::new),
            trace: 0xcbf2_9ce4_8422_2325,
            n_events: 0,
        }
    }

    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    pub fn at(&mut self, at: Millis, event: Event) {
        self.n_queued += 1;
        self.queue.insert((at.max(self.now()), self.n_queued), event);
    }

    pub fn after(&mut self, ms: Millis, event: Event) {
        self.at(self.now() + ms, event);
    }

    pub fn next_at(&self) -> Option<Millis> {
        self.queue.first_key_value().map(|it| it.0.0)
    }

    /// What happens next, if its time has come.
    pub fn pop(&mut self) -> Option<Event> {
        let due = self.next_at().filter(|it| *it <= self.now())?;
        debug_assert!(due <= self.now());
        self.queue.pop_first().map(|it| it.1)
    }

    /// Whether things go wrong now, with this chance.
    pub fn fault(&mut self, per_mille: u64) -> bool {
        self.now() < self.faults_until && self.rng.chance(per_mille)
    }

    /// Notes something that happened.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        let (now, mut trace) = (self.now(), self.trace);
        let said = what();
        for byte in said.bytes().chain(now.to_le_bytes()) {
            trace = (trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.trace = trace;
        self.n_events += 1;
        if let Some(story) = &mut self.story {
            story.push(format!("{:>9.3} s  {said}", seconds(now - super::plan::BASE)));
        }
    }

    pub fn is_broken(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub fn broke(&mut self, rule: &'static str, how: String) {
        if self.rules.failure.is_none() {
            self.tell(|| format!("BROKEN: {rule}: {how}"));
            self.rules.failure = Some((rule, how));
        }
    }

    /// Whose text this is: the vendor and the person that it is for.
    pub fn meant_for(&self, text: &str) -> Option<Written> {
        let mut words = text.split(' ');
        match words.next()? {
            "re" => {
                let n: usize = words.next()?.strip_prefix('m')?.parse().ok()?;
                self.messages.get(n).copied()
            }
            "api" => {
                let n: usize = words.next()?.strip_prefix('k')?.parse().ok()?;
                let it = self.api.get(n)?;
                Some(Written { vendor: it.vendor, person: it.person })
            }
            _ => None,
        }
    }

    /// Who wrote this.
    pub fn written_by(&self, text: &str) -> Option<Written> {
        if let Some(n) = text.strip_prefix("human ") {
            return self.humans.get(n.parse::<usize>().ok()?).copied();
        }
        self.messages.get(text.strip_prefix('m')?.parse::<usize>().ok()?).copied()
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn seconds(ms: Millis) -> f64 {
    ms as f64 / 1_000.0
}

/// What tells a text from all others; filler is left out.
pub fn token(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take_while(|it| !it.starts_with('x')).collect();
    words.join(" ")
}
