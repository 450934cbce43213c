//! Order at size: many conversations, each under two names, with retries, restarts, fences and
//! overtaking edits and statuses, through the real scheduler and journal. No message of a contact is
//! worked on before an earlier one, and no send leaves before an earlier one.
//!
//! The long form: `SIM_MESSAGES=1000000 cargo sim order`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures_util::FutureExt;
use waba_gateway::{domain::route::Routes, journal::Ways};
use waba_gateway::{
    domain::{
        clock::{HOUR, MINUTE, Millis, SECOND},
        contact::{Address, Lid},
        delivery::{Input, Outcome, Policy, Refusal, State},
        event::{Chat, Event, Status, What},
        id::{EntryId, InstanceId, VendorId},
        message::{Content, Text},
        phone::PhoneNumber,
        schedule::{Job, Kind, Limit, Next, Scheduler},
        secret::SecretString,
        vendor::OnUnknown,
    },
    journal::{
        Begun, Change, Journal, MessageEnd, NewEvent, NewEvents, NewIntent, Recorded,
        SqliteJournal, Step,
    },
    sqlite::{SharedConnection, in_memory},
    vault::Vault,
};

use super::{plan::BASE, rng::Rng, seeds::number};

const MESSAGES: usize = if cfg!(debug_assertions) { 1_000 } else { 40_000 };
/// Messages of one conversation.
const PER_CONVERSATION: usize = 100;
const CONVERSATIONS_PER_VENDOR: usize = 25;
/// Conversations that live in one database.
const CONVERSATIONS: usize = 250;

#[test]
fn order_is_kept_over_retries_restarts_and_aliases() {
    let n_messages = number("SIM_MESSAGES").map_or(MESSAGES, |it| usize::try_from(it).unwrap());
    let n_conversations = (n_messages / PER_CONVERSATION).max(1);
    let n_plays = n_conversations.div_ceil(CONVERSATIONS);
    let (started, next) = (Instant::now(), AtomicUsize::new(0));
    let sums = Mutex::new(Sums::default());
    let run = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= n_plays {
                break;
            }
            let size = CONVERSATIONS.min(n_conversations - n * CONVERSATIONS);
            let sum = Play::new(n as u64, size).all();
            sums.lock().unwrap().add(&sum);
        }
    };
    std::thread::scope(|scope| {
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..n_threads).for_each(|_| drop(scope.spawn(run)));
    });
    let sums = sums.into_inner().unwrap();
    println!(
        "{n_conversations} conversations in {:.1} s: {sums:?}",
        started.elapsed().as_secs_f64()
    );
    assert_eq!(sums.inversions, 0);
    assert_eq!(sums.answered, n_conversations * PER_CONVERSATION);
    assert_eq!(sums.left_over, 0);
    assert!(sums.restarts > 0 && sums.merges > 0 && sums.retries > 0, "{sums:?}");
}

#[derive(Debug, Default)]
struct Sums {
    answered: usize,
    sends: usize,
    retries: usize,
    unknown: usize,
    restarts: usize,
    merges: usize,
    signals: usize,
    inversions: usize,
    left_over: usize,
}

impl Sums {
    fn add(&mut self, it: &Self) {
        self.answered += it.answered;
        self.sends += it.sends;
        self.retries += it.retries;
        self.unknown += it.unknown;
        self.restarts += it.restarts;
        self.merges += it.merges;
        self.signals += it.signals;
        self.inversions += it.inversions;
        self.left_over += it.left_over;
    }
}

/// How one event names its customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Phone,
    Lid,
    Both,
}

/// What a conversation has seen in one direction.
#[derive(Clone, Default)]
struct Seen {
    /// The latest that ended, by the name it came under.
    by_name: BTreeMap<Name, EntryId>,
    /// The latest that ended of those that began when both names were known to be one contact.
    linked: Option<EntryId>,
}

impl Seen {
    /// Notes an end. Whether something later had ended before it.
    fn ends(&mut self, id: EntryId, name: Name, is_linked: bool) -> bool {
        let before = self.by_name.get(&name).copied().max(self.linked);
        let is_inversion = before.is_some_and(|it| it > id);
        let latest = self.by_name.entry(name).or_insert(id);
        *latest = id.max(*latest);
        if is_linked {
            self.linked = Some(self.linked.map_or(id, |it| it.max(id)));
        }
        is_inversion
    }
}

#[derive(Clone, Default)]
struct Conversation {
    n_sent: usize,
    linked_at: Option<Millis>,
    worked: Seen,
    left: Seen,
}

enum Happening {
    Arrives(usize),
    Ends(Job, u64),
    Signals(usize, What),
    Restarts,
}

struct Play {
    connection: SharedConnection,
    vault: Arc<Vault>,
    journal: SqliteJournal,
    scheduler: Scheduler,
    rng: Rng,
    now: Millis,
    queue: BTreeMap<(Millis, u64), Happening>,
    n_queued: u64,
    /// Which process it is.
    process: u64,
    conversations: Vec<Conversation>,
    /// Whose a message is, and under which name it came.
    messages: HashMap<EntryId, (usize, Name)>,
    started: HashMap<EntryId, Millis>,
    begun: HashSet<EntryId>,
    sums: Sums,
    salt: u64,
}

impl Play {
    fn new(salt: u64, n_conversations: usize) -> Self {
        let connection = in_memory().unwrap();
        let key = SecretString::from("c2ltdWxhdGlvbiBzaW11bGF0aW9uIHNpbXVsYXRpb24=");
        let vault = Arc::new(Vault::new(&key, &[]).unwrap());
        let journal = SqliteJournal::inline(Arc::clone(&connection), Arc::clone(&vault)).unwrap();
        let mut play = Self {
            connection,
            vault,
            journal,
            scheduler: Scheduler::new(BASE),
            rng: Rng::new(salt),
            now: BASE,
            queue: BTreeMap::new(),
            n_queued: 0,
            process: 0,
            conversations: vec![Conversation::default(); n_conversations],
            messages: HashMap::new(),
            started: HashMap::new(),
            begun: HashSet::new(),
            sums: Sums::default(),
            salt,
        };
        play.limit();
        for n in 0..n_conversations {
            let first = play.rng.between(0, MINUTE);
            play.after(first, Happening::Arrives(n));
        }
        play.after(30 * SECOND, Happening::Restarts);
        play
    }

    fn all(mut self) -> Sums {
        loop {
            while let Some(job) = self.scheduler.next(self.now) {
                self.start(job);
            }
            let next = self.queue.first_key_value().map(|it| it.0.0);
            let Some(next) = next.into_iter().chain(self.scheduler.wake_at()).min() else { break };
            self.now = next.max(self.now);
            let is_due = self.queue.first_key_value().is_some_and(|it| it.0.0 <= self.now);
            if is_due && let Some((_, happening)) = self.queue.pop_first() {
                self.happen(happening);
            }
        }
        let sql = "SELECT count(*) FROM entries WHERE is_open = 1";
        let open: i64 =
            self.connection.lock().unwrap().query_row(sql, (), |row| row.get(0)).unwrap();
        self.sums.left_over = usize::try_from(open).unwrap();
        self.sums
    }

    fn after(&mut self, ms: Millis, happening: Happening) {
        self.n_queued += 1;
        self.queue.insert((self.now + ms, self.n_queued), happening);
    }

    fn vendor(&self, conversation: usize) -> VendorId {
        let n = conversation / CONVERSATIONS_PER_VENDOR;
        VendorId::parse(&format!("vendor_{}_{n}", self.salt)).unwrap()
    }

    fn limit(&mut self) {
        for n in (0..self.conversations.len()).step_by(CONVERSATIONS_PER_VENDOR) {
            let instance = InstanceId::nth(&self.vendor(n), 1);
            self.scheduler.set_limit(&instance, Limit::WASENDER);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives(n) => self.arrives(n),
            Happening::Ends(job, process) if process == self.process => self.end(&job),
            // Cut off.
            Happening::Ends(..) => {}
            Happening::Signals(n, what) => {
                self.sums.signals += 1;
                let event = Event::new(what, Chat::Private, address(n, Name::Both, self.salt));
                // It names both, but is no message that would have to wait.
                self.link(n);
                self.append(n, event);
            }
            Happening::Restarts => self.restart(),
        }
    }

    fn link(&mut self, n: usize) {
        self.conversations[n].linked_at.get_or_insert(self.now);
    }

    /// A message comes in, perhaps twice, perhaps after its own edit.
    fn arrives(&mut self, n: usize) {
        let sent = self.conversations[n].n_sent;
        self.conversations[n].n_sent += 1;
        let id = format!("C{n}M{sent}");
        // Both names together are rare, so that many conversations are two for a while.
        let name = match self.rng.below(100) {
            0..3 => Name::Both,
            3..60 => Name::Phone,
            _ => Name::Lid,
        };
        if name == Name::Both {
            self.link(n);
        }
        let edit = What::Edit { target: id.clone(), text: Text("edited".to_owned()) };
        let is_edited = self.rng.chance(30) && self.conversations[n].linked_at.is_some();
        let is_overtaken = is_edited && self.rng.chance(500);
        if is_overtaken {
            self.happen(Happening::Signals(n, edit.clone()));
        }
        for _ in 0..=usize::from(self.rng.chance(50)) {
            let what = What::Message(Content::text(format!("message {sent}")));
            let mut event = Event::new(what, Chat::Private, address(n, name, self.salt));
            event.provider_id = Some(id.clone());
            if let Some(id) = self.append(n, event) {
                self.messages.insert(id, (n, name));
            }
        }
        if is_edited && !is_overtaken {
            let after = self.rng.between(1, 3_000);
            self.after(after, Happening::Signals(n, edit));
        }
        if sent + 1 < PER_CONVERSATION {
            // People write several messages in a row.
            let pause = if self.rng.chance(600) { 4 * SECOND } else { 2 * MINUTE };
            let after = self.rng.between(1, pause);
            self.after(after, Happening::Arrives(n));
        }
    }

    fn append(&mut self, n: usize, event: Event) -> Option<EntryId> {
        let vendor = self.vendor(n);
        let batch = NewEvents {
            instance: InstanceId::nth(&vendor, 1),
            vendor,
            silence: HOUR,
            forward: false,
            is_told_twice: false,
            now: self.now,
            raw: format!("{n} {}", self.n_queued).into(),
            events: vec![NewEvent { event, unanswered: None }],
        };
        let appended = now(self.journal.append(batch)).unwrap();
        self.apply(appended.changes);
        match appended.entries[0] {
            Recorded::New(id) => Some(id),
            Recorded::Duplicate(_) => None,
        }
    }

    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::New(job) => self.scheduler.add(job, self.now),
                Change::Decided(job, next) => self.scheduler.decided(job, next, self.now),
                Change::Placed { id, place } => self.scheduler.place(id, place),
                Change::Merged { from, into } => {
                    self.sums.merges += 1;
                    self.scheduler.merge(from, into, self.now);
                }
            }
        }
    }

    fn restart(&mut self) {
        self.sums.restarts += 1;
        self.process += 1;
        self.journal =
            SqliteJournal::inline(Arc::clone(&self.connection), Arc::clone(&self.vault)).unwrap();
        self.scheduler = Scheduler::new(self.now);
        self.limit();
        let mut after = EntryId(0);
        loop {
            let page = now(self.journal.waiting(after, 100)).unwrap();
            let last = page.iter().rev().find_map(|it| match it {
                Change::New(job) | Change::Decided(job, _) => Some(job.id),
                Change::Placed { .. } | Change::Merged { .. } => None,
            });
            self.apply(page);
            let Some(last) = last else { break };
            after = last;
        }
        if self.conversations.iter().any(|it| it.n_sent < PER_CONVERSATION) {
            let next = self.rng.between(SECOND, 3 * MINUTE);
            self.after(next, Happening::Restarts);
        }
    }

    fn start(&mut self, job: Job) {
        self.started.insert(job.id, self.now);
        let lasts = match job.kind {
            Kind::Message => self.rng.between(20, 3_000),
            Kind::Send => {
                if let Some(next) = self.begin(&job) {
                    self.scheduler.finish(job.id, next, self.now);
                    return;
                }
                self.rng.between(20, 1_000)
            }
            Kind::Later => unreachable!("it becomes a send first"),
            Kind::Signal | Kind::Follow => self.rng.between(1, 200),
        };
        let process = self.process;
        self.after(lasts, Happening::Ends(job, process));
    }

    /// A send leaves. `Some`: it does not.
    fn begin(&mut self, job: &Job) -> Option<Next> {
        let to_send =
            match now(self.journal.begin(job.id, Ways::of(Routes::WASENDER), self.now)).unwrap() {
                Begun::Go(to_send) => to_send,
                Begun::No(stepped) => {
                    self.apply(stepped.changes);
                    return Some(stepped.next);
                }
            };
        let (n, name) = self.messages[&to_send.origin.expect("all sends are answers")];
        self.begun.insert(job.id);
        self.sums.sends += 1;
        let is_linked = self.conversations[n].linked_at.is_some();
        self.sums.inversions +=
            usize::from(self.conversations[n].left.ends(job.id, name, is_linked));
        None
    }

    fn end(&mut self, job: &Job) {
        let next = match job.kind {
            Kind::Message => self.answer(job),
            Kind::Send => self.sent(job),
            Kind::Signal => {
                let rechecked = now(self.journal.recheck(job.id, self.now)).unwrap();
                self.apply(rechecked.changes);
                rechecked.next
            }
            Kind::Follow => self.follow(job),
            Kind::Later => unreachable!("it becomes a send first"),
        };
        self.scheduler.finish(job.id, next, self.now);
    }

    fn answer(&mut self, job: &Job) -> Next {
        if self.rng.chance(50) {
            self.sums.retries += 1;
            let due = self.now + self.rng.between(100, 5_000);
            return Next::Again { kind: Kind::Message, due, hold: None };
        }
        let Some(message) = now(self.journal.message(job.id, true)).unwrap() else {
            return Next::Gone;
        };
        let (n, name) = self.messages[&job.id];
        let linked_at = self.conversations[n].linked_at;
        // What began before the names were known to be one person's may still end in any order.
        let is_linked = linked_at.is_some_and(|it| it < self.started[&job.id]);
        let is_inversion = self.conversations[n].worked.ends(job.id, name, is_linked);
        self.sums.inversions += usize::from(is_inversion);
        self.sums.answered += 1;
        let policy = Policy {
            on_unknown: OnUnknown::GiveUp,
            unknown_deadline: 5 * MINUTE,
            routes: Routes::WASENDER,
        };
        let intent = NewIntent {
            vendor: message.vendor,
            instance: message.instance,
            contact: Some(message.contact),
            to: address(n, Name::Phone, self.salt),
            content: Content::text(format!("answer to {}", job.id)),
            more: Vec::new(),
            reply_to: None,
            forward: false,
            is_automatic: true,
            origin: Some(job.id),
            now: self.now,
            send_at: None,
            only: None,
            expires: self.now + 24 * HOUR,
            policy,
            parked: None,
            idempotency: None,
        };
        let end = MessageEnd {
            intents: vec![intent],
            unanswered: None,
            pause: None,
            intent: None,
            now: self.now,
        };
        let changes = now(self.journal.settle(job.id, end)).unwrap();
        self.apply(changes);
        Next::Gone
    }

    fn sent(&mut self, job: &Job) -> Next {
        let id = format!("W{}", job.id);
        let outcome = match self.rng.below(100) {
            0..5 => {
                self.sums.retries += 1;
                Outcome::Refused(Refusal::Retry { not_before: None })
            }
            5..8 => {
                self.sums.unknown += 1;
                Outcome::Unknown
            }
            _ => Outcome::Sent,
        };
        if outcome == Outcome::Sent {
            self.tell_status(job, &id);
        }
        let provider_id = (outcome == Outcome::Sent).then_some(id);
        let step = Step { provider_id, ..Step::of(Input::Outcome(outcome)) };
        let stepped = now(self.journal.step(job.id, step, self.now)).unwrap();
        self.apply(stepped.changes);
        stepped.next
    }

    /// A status that comes before the answer, or after it.
    fn tell_status(&mut self, job: &Job, id: &str) {
        if !self.rng.chance(300) {
            return;
        }
        let Some(origin) = now(self.journal.journey(&job.vendor, job.id)).unwrap() else { return };
        let (n, _) = self.messages[&origin.row.origin.expect("all sends are answers")];
        if self.conversations[n].linked_at.is_none() {
            return;
        }
        let status = [Status::Sent, Status::Delivered, Status::Read][self.rng.below(3)];
        let what = What::Status { target: id.to_owned(), status, participant: None, failure: None };
        if self.rng.chance(500) {
            self.happen(Happening::Signals(n, what));
        } else {
            let after = self.rng.between(1, 20_000);
            self.after(after, Happening::Signals(n, what));
        }
    }

    fn follow(&mut self, job: &Job) -> Next {
        let Some(intent) = now(self.journal.intent(job.id)).unwrap() else { return Next::Gone };
        let input = if intent.delivery.state == State::Begun {
            Input::Crashed
        } else {
            match intent.next {
                Next::Again { kind: Kind::Follow, due, .. } if due <= self.now => Input::NoAnswer,
                next => return next,
            }
        };
        let stepped = now(self.journal.step(job.id, Step::of(input), self.now)).unwrap();
        self.apply(stepped.changes);
        stepped.next
    }
}

/// The inline journal answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the journal answers at once")
}

fn address(n: usize, name: Name, salt: u64) -> Address {
    let phone = PhoneNumber::from_wire(&format!("2217{salt:03}{n:05}")).unwrap();
    let lid = Lid::from_wire(&format!("9{salt:05}{n:07}@lid")).unwrap();
    match name {
        Name::Phone => Address { phone: Some(phone), ..Address::default() },
        Name::Lid => Address { lid: Some(lid), ..Address::default() },
        Name::Both => Address { phone: Some(phone), lid: Some(lid), bsuid: None },
    }
}
