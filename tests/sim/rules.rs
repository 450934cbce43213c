//! What must hold in every story. The first thing that does not hold ends it.

use std::collections::{BTreeMap, HashMap, HashSet};

use waba_gateway::domain::{
    clock::{MINUTE, Millis, SECOND},
    id::{ContactId, EntryId},
    route::ProviderKind,
};

use super::{
    provider::Sent,
    world::{Says, World, Written},
};

pub const ONCE: &str = "at most one send per decision to send";
pub const BEGUN: &str = "no request leaves before its attempt is written down";
pub const LOST: &str = "nothing accepted is lost";
pub const ORDER_IN: &str = "messages of one conversation are worked on in order";
pub const ORDER_OUT: &str = "sends of one conversation leave in order, one at a time";
pub const FENCE: &str = "a fence holds its lane for at most 30 s";
pub const HEARD: &str = "what was heard of a send settles it";
pub const SILENCE: &str = "nothing automatic is sent after a human has taken over";
pub const PAUSED: &str = "nothing is sent while the vendor is paused";
pub const EXPIRED: &str = "nothing is sent after it has expired";
pub const BACKWARDS: &str = "statuses never move backwards";
pub const LEDGER: &str = "the ledger balances";
pub const HOURS: &str = "the counters by hour are those of the entries";
pub const ISOLATION: &str = "one vendor never sends for another";
pub const PACE: &str = "the provider's limit is kept";
pub const RETRY_AFTER: &str = "nothing is tried again before the provider wants it";
pub const PARTS: &str = "a part leaves only when the one before it was sent";
pub const TRUE_SENT: &str = "what is called sent was sent, what is called dead was not";
pub const ONE_PERSON: &str = "one person is one conversation";
pub const DUPLICATE: &str = "one message is one entry";
pub const ANSWERED: &str = "what the bot answers is sent, and silence has a true reason";
pub const CAUSE: &str = "what is given up or parked has a true reason";
pub const STALE: &str = "nobody is answered about what is too old";
pub const LOOP: &str = "two bots do not talk on";
pub const APOLOGY: &str = "one apology an hour";
pub const SAME_ID: &str = "a question asked again has the same id";
pub const UNCHANGED: &str = "what a customer wrote reaches the bot unchanged";
pub const OWN_BOT: &str = "one vendor never sees another's messages";
pub const OWN_KEY: &str = "a vendor sends with its own key";
pub const OWN_CUSTOMER: &str = "a vendor's message goes to its own customer";
pub const OWN_SENDS: &str = "one vendor never asks for another's sends";

/// All of them: each is broken on purpose in `mutation.rs`.
pub const ALL: [&str; 31] = [
    ONCE,
    BEGUN,
    LOST,
    ORDER_IN,
    ORDER_OUT,
    FENCE,
    HEARD,
    SILENCE,
    PAUSED,
    EXPIRED,
    BACKWARDS,
    LEDGER,
    HOURS,
    ISOLATION,
    PACE,
    RETRY_AFTER,
    PARTS,
    TRUE_SENT,
    ONE_PERSON,
    DUPLICATE,
    ANSWERED,
    CAUSE,
    STALE,
    LOOP,
    APOLOGY,
    SAME_ID,
    UNCHANGED,
    OWN_BOT,
    OWN_KEY,
    OWN_CUSTOMER,
    OWN_SENDS,
];

/// What has been seen so far.
#[derive(Default)]
pub struct Rules {
    pub failure: Option<(&'static str, String)>,
    /// By what tells a text from others: when the provider took it.
    pub accepted: BTreeMap<String, Vec<Millis>>,
    /// Attempts that were written down, and requests that left, by text.
    pub begun: HashMap<String, usize>,
    pub left: HashMap<String, usize>,
    /// The entry of the latest attempt with this text.
    pub entry_of: HashMap<String, EntryId>,
    pub expires: HashMap<String, Millis>,
    /// By text and provider: when it may be tried again there. `None` is every provider.
    pub not_before: HashMap<(String, Option<ProviderKind>), Millis>,
    /// Texts that came too late for Meta, and that it refused for its token.
    pub closed: HashSet<String>,
    pub unauthorized: HashSet<String>,
    /// When an automatic answer was decided.
    pub decided_at: HashMap<String, Millis>,
    /// By person: when a human took over, and until when.
    pub silenced: HashMap<usize, (Millis, Millis)>,
    pub paused_since: HashMap<usize, Millis>,
    /// When work was started: the poll and the time.
    pub started: HashMap<EntryId, (u64, Millis)>,
    /// When the scheduler was told of an entry.
    pub told: HashMap<EntryId, u64>,
    pub merged: HashMap<ContactId, u64>,
    /// Contacts that were two once, in any process.
    pub ever_merged: HashSet<ContactId>,
    /// Texts that the provider refused for good.
    pub invalid: HashSet<String>,
    /// Texts of which nobody could tell for a time whether they were sent.
    pub unsure: HashSet<String>,
    /// Attempts that a process left behind without an outcome.
    pub cut_off: HashSet<EntryId>,
    /// Vendors whose bot has failed.
    pub bot_failed: HashSet<usize>,
    /// When work was handed out that then became a request to Wasender, by vendor.
    pub sends: HashMap<usize, Vec<Millis>>,
    /// When something last went wrong, or was not as usual.
    pub disturbed_at: Millis,
    /// Attempts under way when the last process died.
    pub in_flight: HashSet<EntryId>,
    pub statuses: HashMap<i64, (i64, i64)>,
    /// Webhooks that were answered 200.
    pub kept: Vec<(usize, EntryId, Says)>,
    pub humans: HashMap<EntryId, usize>,
    /// Persons whose names are known to be one person's.
    pub linked: HashSet<usize>,
}

impl Rules {
    /// A provider does not want to be asked again before this time; `None` is every provider.
    pub fn wants_rest(&mut self, via: Option<ProviderKind>, text: &str, until: Millis) {
        self.not_before.insert((text.to_owned(), via), until);
        self.disturbed(until);
    }

    pub fn disturbed(&mut self, now: Millis) {
        self.disturbed_at = self.disturbed_at.max(now);
    }
}

impl World {
    /// A request has left for the provider.
    pub fn request_left(&mut self, via: ProviderKind, vendor: usize, person: usize, text: &str) {
        let now = self.now();
        self.tell(|| format!("a request leaves through {via}: {text} for person {person}"));
        let left = self.rules.left.entry(text.to_owned()).or_default();
        *left += 1;
        if *left > self.rules.begun.get(text).copied().unwrap_or_default() {
            self.broke(BEGUN, format!("{text:?}"));
        }
        if let Some(Written { vendor: of, person: to }) = self.meant_for(text)
            && (of, to) != (vendor, person)
        {
            self.broke(ISOLATION, format!("{text:?} of vendor {of} left from vendor {vendor}"));
        }
        let is_unique = self.meant_for(text).is_some();
        let wants_rest = [None, Some(via)].into_iter().any(|via| {
            let until = self.rules.not_before.get(&(text.to_owned(), via));
            until.is_some_and(|it| now < *it)
        });
        if is_unique && wants_rest {
            self.broke(RETRY_AFTER, format!("{text:?}"));
        }
        // What the worker had in hand already may still leave.
        let since = self.rules.paused_since.get(&vendor);
        if since.is_some_and(|it| now > it + 10 * SECOND) {
            self.broke(PAUSED, format!("{text:?}"));
        }
        self.check_part(text);
        self.check_pace(via, vendor, text);
    }

    /// Where there is a choice of ways a new process does not know which of them wants a rest.
    pub fn forget_rests(&mut self) {
        let has_choice =
            |text: &str| self.meant_for(text).is_some_and(|it| self.vendors[it.vendor].has_meta);
        let kept =
            self.rules.not_before.iter().filter(|it| it.0.1.is_none() || !has_choice(&it.0.0));
        self.rules.not_before = kept.map(|it| (it.0.clone(), *it.1)).collect();
    }

    fn check_part(&mut self, text: &str) {
        let Some(before) = text.strip_suffix(" p2").map(|it| format!("{it} p1")) else { return };
        if !self.rules.accepted.contains_key(&before) {
            self.broke(PARTS, format!("{text:?}"));
        }
    }

    fn check_pace(&mut self, via: ProviderKind, vendor: usize, text: &str) {
        if via != ProviderKind::Wasender {
            return;
        }
        let Some(id) = self.rules.entry_of.get(text) else { return };
        let Some((_, at)) = self.rules.started.get(id).copied() else { return };
        let is_protected = self.vendors[vendor].is_protected;
        let sends = self.rules.sends.entry(vendor).or_default();
        sends.push(at);
        let in_minute = sends.iter().filter(|it| at - **it < MINUTE).count();
        let is_close = sends.iter().rev().skip(1).any(|it| (at - it).abs() < 5 * SECOND);
        if in_minute > 256 {
            self.broke(PACE, format!("{in_minute} in a minute"));
        } else if is_protected && is_close {
            self.broke(PACE, format!("{text:?}, under account protection"));
        }
    }

    /// The provider has taken a message.
    pub fn accepted(&mut self, sent: &Sent) {
        let (now, text) = (self.now(), sent.text.clone());
        self.tell(|| format!("{} takes {text}", sent.via));
        self.rules.accepted.entry(text.clone()).or_default().push(now);
        // What failed on its way may leave another one.
        let has_meta = self.vendors[sent.vendor].has_meta;
        let is_one = |it: &&Sent| it.text == text && !(has_meta && it.fails);
        let n_times = self.sent.iter().filter(is_one).count() + usize::from(is_one(&sent));
        if self.meant_for(&text).is_none() {
            return;
        }
        let most = if self.vendors[sent.vendor].risks { 2 } else { 1 };
        if n_times > most {
            self.broke(ONCE, format!("{text:?} was sent {n_times} times"));
        }
        // All of one answer was decided at once.
        let Some((of, answer)) = answer(&text) else { return };
        let other = self
            .rules
            .accepted
            .keys()
            .find(|it| self::answer(it).is_some_and(|it| it.0 == of && it.1 != answer));
        if let Some(other) = other.cloned() {
            self.broke(ONCE, format!("{text:?} and {other:?} answer one message"));
        }
    }

    /// A webhook was answered 200.
    pub fn kept(&mut self, vendor: usize, id: Option<EntryId>, says: Says, links: bool) {
        let now = self.now();
        let person = match says {
            Says::Message(n) => Some(self.messages[n].person),
            Says::Human(n) => Some(self.humans[n].person),
            Says::Echo(n) => Some(self.sent[n].person),
            Says::Status(..) | Says::Other => None,
        };
        self.rules.linked.extend(person.filter(|_| links));
        match says {
            Says::Echo(n) => {
                self.sent[n].echoed_at.get_or_insert(now);
            }
            Says::Status(n, code) => {
                // Meta's names the send by our own id.
                if self.sent[n].reference.is_some() {
                    self.sent[n].echoed_at.get_or_insert(now);
                }
                let code = rank(code);
                self.sent[n].told = Some(self.sent[n].told.map_or(code, |it| it.max(code)));
            }
            Says::Message(_) | Says::Human(_) | Says::Other => {}
        }
        if let Some(id) = id {
            self.rules.kept.push((vendor, id, says));
        }
    }
}

/// The message that a text answers, and which answer it is.
fn answer(text: &str) -> Option<(&str, &str)> {
    let mut words = text.strip_prefix("re ")?.split(' ');
    Some((words.next()?, words.next()?))
}

/// Wasender's code of a status as our own: a failure goes over being on the way.
pub fn rank(code: i64) -> i64 {
    match code {
        0 => 2,
        1 => 0,
        2 => 1,
        other => other,
    }
}
