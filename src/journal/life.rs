//! What an entry's row remembers besides its columns: state and journey. No private data.

mod log;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use self::log::Log;
use crate::domain::{
    clock::Millis,
    delivery::{Account, Delivery, Policy, State, Todo},
    event::Status,
    route::{ProviderKind, Routes},
    schedule::{Kind, Next},
    vendor::OnUnknown,
};

/// The `life` column.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Life {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) delivery: Option<Delivery>,
    #[serde(default)]
    pub(super) policy: StoredPolicy,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) is_automatic: bool,
    /// The vendor's back end is told what becomes of it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) forward: bool,
    /// How far the back end was told that it has got.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) told: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ticket: Option<String>,
    /// Its place in a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<Part>,
    /// A person let it go on: its place in its lane, which is the tail as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<i64>,
    /// The only provider that it may go through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) only: Option<ProviderKind>,
    /// The entry it quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) quotes: Option<i64>,
    /// What was done to it later.
    #[serde(default, skip_serializing_if = "Marks::is_empty")]
    pub(super) marks: Marks,
    #[serde(default, skip_serializing_if = "Log::is_empty")]
    pub(super) log: Log,
    /// It is one of several answers to a message, of which only the first accepted one counts.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) is_one_of_several: bool,
    /// It was the first answer accepted, this long after the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answered_after: Option<Millis>,
}

/// One of several messages that leave one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// The first of them.
    pub(super) group: i64,
    /// Which it is, from 1.
    pub(super) number: usize,
    /// How many there are.
    pub(super) of: usize,
    /// The one before it: this one leaves only when that one has been sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<i64>,
    /// The one after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<i64>,
}

/// The latest entries that changed a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marks {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) edit: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reaction: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) votes: Option<i64>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) is_deleted: bool,
}

impl Marks {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct StoredPolicy {
    #[serde(default, skip_serializing_if = "is_false")]
    is_retry: bool,
    unknown_deadline: Millis,
    /// Before there were several it was the number of them.
    #[serde(default = "wasender")]
    pub(super) providers: Routes,
}

fn wasender() -> Routes {
    Routes::WASENDER
}

impl Default for StoredPolicy {
    fn default() -> Self {
        let unknown_deadline = crate::domain::vendor::UNKNOWN_DEADLINE;
        Self { is_retry: false, unknown_deadline, providers: Routes::WASENDER }
    }
}

impl From<Policy> for StoredPolicy {
    fn from(it: Policy) -> Self {
        let is_retry = it.on_unknown == OnUnknown::Retry;
        Self { is_retry, unknown_deadline: it.unknown_deadline, providers: it.routes }
    }
}

impl From<StoredPolicy> for Policy {
    fn from(it: StoredPolicy) -> Self {
        let on_unknown = if it.is_retry { OnUnknown::Retry } else { OnUnknown::GiveUp };
        Self { on_unknown, unknown_deadline: it.unknown_deadline, routes: it.providers }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(it: &bool) -> bool {
    !*it
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(it: &u8) -> bool {
    *it == 0
}

/// How far a message has got by a word; of other words 0.
fn rank(word: &str) -> u8 {
    match word {
        "accepted" => 1,
        "sent" => 2,
        "delivered" => 3,
        "read" => 4,
        "played" => 5,
        _ => 0,
    }
}

impl Life {
    /// A life without a step, of an entry whose vendor's back end gets its events.
    pub(super) const FORWARDED: &'static str = r#"{"forward":true}"#;

    pub(super) fn parse(text: &str) -> Self {
        // An empty column is a life without a step; a damaged one must not lose its entry.
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Whether the stored life is that of an automatic answer, without reading the rest.
    pub(super) fn is_automatic(text: &str) -> bool {
        #[derive(Default, Deserialize)]
        struct Automatic {
            #[serde(default)]
            is_automatic: bool,
        }
        serde_json::from_str::<Automatic>(text).unwrap_or_default().is_automatic
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The ways of its number now: it goes those that it may.
    pub(super) fn ways_are(&mut self, routes: Routes) {
        let may = |it: &ProviderKind| self.only.is_none_or(|only| only == *it);
        self.policy.providers = routes.iter().filter(may).collect();
    }

    /// Whether a word is news to the back end, which is told it now. What an attempt after the
    /// first goes through again is none.
    pub(super) fn tells(&mut self, word: &str) -> bool {
        if !self.forward {
            return false;
        }
        let rank = rank(word);
        let is_news = rank == 0 || rank > self.told;
        // After a word that takes progress back, progress is news again.
        self.told = if rank == 0 { 0 } else { self.told.max(rank) };
        is_news
    }

    pub(super) fn note(&mut self, at: Millis, step: impl AsRef<str>) {
        self.log.note(at, step.as_ref());
    }
}

/// What the scheduler must do with an intent; `None` while a worker has it in hand.
pub(super) fn next_of(delivery: &Delivery, policy: &Policy) -> Option<Next> {
    let hold = delivery.holds_lane_until();
    match delivery.todo(policy) {
        Todo::Send { at } => Some(Next::Again { kind: Kind::Send, due: at, hold: None }),
        Todo::Later { at } => Some(Next::Again { kind: Kind::Later, due: at, hold: None }),
        Todo::Ask { at } | Todo::Tick { at } => {
            Some(Next::Again { kind: Kind::Follow, due: at, hold })
        }
        Todo::InHand => None,
        Todo::Nothing => Some(Next::Gone),
    }
}

/// The word of a state, as callers and journeys have it.
pub(super) fn word(state: &State) -> &'static str {
    match state {
        State::Waiting { .. } => "queued",
        State::Begun => "sending",
        State::Fenced { .. } => "unknown_yet",
        State::Accepted { .. } => "accepted",
        State::Sent => "sent",
        State::Unknown => "unknown",
        State::Parked(_) => "parked",
        State::Dead(_) => "dead",
    }
}

/// The status of an intent, as callers have it.
pub(super) fn status_word(delivery: Option<&Delivery>) -> &'static str {
    let Some(delivery) = delivery else { return "queued" };
    match (delivery.state, delivery.status) {
        (State::Sent, Some(heard)) => heard.as_str(),
        (state, _) => word(&state),
    }
}

/// The word that a vendor's back end is told; `None` while there is no news. It only moves forward
/// as long as nobody replays the message.
pub(super) fn told(delivery: &Delivery) -> Option<&'static str> {
    match (delivery.state, delivery.status) {
        (State::Waiting { .. } | State::Begun | State::Fenced { .. }, _) => None,
        // Queued at the provider, and never heard of again.
        (State::Sent, Some(Status::Pending)) => Some("accepted"),
        (State::Sent, Some(heard)) => Some(heard.as_str()),
        (state, _) => Some(word(&state)),
    }
}

/// The reason of a state that has one.
pub(super) fn reason(state: &State) -> Option<&'static str> {
    match state {
        State::Parked(reason) | State::Dead(reason) => Some(reason.as_str()),
        _ => None,
    }
}

/// The number an account is stored as.
pub(in crate::journal) fn code(account: Account) -> i64 {
    match account {
        Account::Waiting => 0,
        Account::Sent => 1,
        Account::Unknown => 2,
        Account::Parked => 3,
        Account::Dead => 4,
    }
}

/// When the latest attempt began, of which something may have left.
pub(super) fn begun_at(
    known: Option<Millis>,
    before: u32,
    after: u32,
    now: Millis,
) -> Option<Millis> {
    match after.cmp(&before) {
        Ordering::Greater => Some(now),
        // It was given back: nothing of it has ever left.
        Ordering::Less if after == 0 => None,
        Ordering::Less | Ordering::Equal => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_news_again_after_a_word_that_took_it_back() {
        let mut life = Life { forward: true, ..Life::default() };
        let words = ["sent", "sent", "unknown", "sent", "read", "delivered", "failed", "delivered"];
        let told: Vec<bool> = words.iter().map(|it| life.tells(it)).collect();
        assert_eq!(told, [true, false, true, true, true, false, true, true]);
    }

    #[test]
    fn what_was_stored_before_is_still_read() {
        let old = r#"{"delivery":{"state":{"accepted":{"at":5}},"attempts":1,"asked":0,"route":0,
            "reopened":0,"expires":9,"status":null},"policy":{"is_retry":true,
            "unknown_deadline":7,"routes":1},"is_automatic":true,"ticket":"100","log":[[1,"queued"]]}"#;
        let life = Life::parse(old);
        assert_eq!(life.delivery.as_ref().unwrap().state, State::Accepted { at: 5 });
        assert_eq!((life.ticket.as_deref(), life.is_automatic), (Some("100"), true));
        assert_eq!((life.part, life.quotes, life.marks), (None, None, Marks::default()));
        assert_eq!(life.log.to_vec(), [(1, "queued".to_owned())]);
        // What a plain message does not have costs it nothing.
        let text = life.text();
        for new in ["part", "quotes", "marks"] {
            assert!(!text.contains(new), "{text}");
        }
    }
}
