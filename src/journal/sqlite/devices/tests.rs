//! What two linked devices of one phone tell, in any order.

use std::sync::Arc;

use super::{
    super::fixtures::{customer, instance, intent, now, vendor},
    *,
};
use crate::{
    domain::{
        delivery::{Input, Outcome, Policy, State},
        event::Status,
        message::{Card, Text},
        route::Routes,
        vendor::OnUnknown,
    },
    journal::{
        Appended, Journal, NewEvent, NewEvents, NewIntent, People, Recorded, SqliteJournal, Step,
        Submitted, Ways,
    },
    sqlite::{SharedConnection, in_memory},
};
use ProviderKind::{Unipile, Wasender};

const START: Millis = 1_760_000_000_000;

/// Who tells something, what, and seconds after the start.
type Told<'a> = (ProviderKind, What, &'a str, Millis);

/// What it is about, who tells what and when, and how many messages that is.
type Case = (&'static str, Vec<(ProviderKind, What, Millis)>, usize);

struct World {
    connection: SharedConnection,
    vault: Arc<Vault>,
    journal: SqliteJournal,
}

impl World {
    fn new() -> Self {
        let key = Vault::new_key().unwrap();
        let (vault, connection) = (Arc::new(Vault::new(&key, &[]).unwrap()), in_memory().unwrap());
        let journal = SqliteJournal::inline(Arc::clone(&connection), Arc::clone(&vault)).unwrap();
        Self { connection, vault, journal }
    }

    fn restarted(self) -> Self {
        let Self { connection, vault, .. } = self;
        let journal = SqliteJournal::inline(Arc::clone(&connection), Arc::clone(&vault)).unwrap();
        Self { connection, vault, journal }
    }

    fn tell(&self, is_told_twice: bool, (by, what, id, at): Told<'_>) -> Appended {
        let mut event = Event::new(what, Chat::Private, customer(1));
        event.provider_id = Some(format!("{by}-{id}"));
        event.via = (by != Wasender).then_some(by);
        event.at = Some(START + at * SECOND);
        let batch = NewEvents {
            vendor: vendor(),
            instance: instance(),
            silence: HOUR,
            forward: true,
            is_told_twice,
            now: START + at * SECOND,
            raw: format!("{by} {id}").into(),
            events: vec![NewEvent { event, unanswered: None }],
        };
        now(self.journal.append(batch)).unwrap()
    }

    /// The entry, and whether it is new.
    fn hears(&self, told: Told<'_>) -> (EntryId, bool) {
        match self.tell(true, told).entries[0] {
            Recorded::New(id) => (id, true),
            Recorded::Duplicate(id) => (id, false),
        }
    }

    /// A send that left this way, and was not answered.
    fn sends(&self, via: ProviderKind) -> EntryId {
        let routes = Routes::only(via);
        let policy = Policy { on_unknown: OnUnknown::GiveUp, unknown_deadline: HOUR, routes };
        let intent = NewIntent { policy, ..intent(START - 1) };
        let Submitted::New(id, _) = now(self.journal.submit(intent)).unwrap() else {
            panic!("a new one")
        };
        now(self.journal.begin(id, Ways::of(routes), START - 1)).unwrap();
        now(self.journal.step(id, Step::of(Input::Outcome(Outcome::Unknown)), START)).unwrap();
        id
    }

    fn n(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.connection.lock().unwrap().query_row(&sql, (), |row| row.get(0)).unwrap()
    }
}

fn says(text: &str) -> What {
    What::Message(Content::text(text))
}

fn shows(kind: &str, caption: &str) -> What {
    let media = serde_json::json!({"type": "media", "kind": kind, "caption": caption});
    What::Message(serde_json::from_value(media).unwrap())
}

fn unreadable() -> What {
    What::Message(Content::Unsupported { kind: "empty".to_owned(), text: Text::default() })
}

fn card() -> What {
    What::Message(of_card())
}

fn of_card() -> Content {
    let (vcard, name, others) = (Text::default(), Text("Awa".to_owned()), Vec::<Card>::new());
    Content::Contact { vcard, name, phone: None, others }
}

#[test]
fn what_both_devices_tell_is_one_message_and_what_one_tells_is_too() {
    let cases: Vec<Case> = vec![
        ("the first", vec![(Wasender, says("ok"), 0), (Unipile, says("ok"), 0)], 1),
        ("the other one first", vec![(Unipile, says("ok"), 0), (Wasender, says("ok"), 0)], 1),
        ("the other one alone", vec![(Unipile, says("ok"), 0)], 1),
        ("white space", vec![(Wasender, says("a  b"), 0), (Unipile, says("a b"), 0)], 1),
        ("rounded times", vec![(Wasender, says("ok"), 0), (Unipile, says("ok"), 1)], 1),
        ("an hour later", vec![(Wasender, says("ok"), 0), (Unipile, says("ok"), 3_600)], 2),
        ("twice by one", vec![(Wasender, says("ok"), 0), (Wasender, says("ok"), 0)], 2),
        ("another text", vec![(Wasender, says("oui"), 0), (Unipile, says("non"), 0)], 2),
        ("files", vec![(Wasender, shows("image", "a"), 0), (Unipile, shows("image", "a"), 0)], 1),
        (
            "captions",
            vec![(Wasender, shows("image", "a"), 0), (Unipile, shows("image", "b"), 0)],
            2,
        ),
        ("kinds", vec![(Wasender, shows("image", ""), 0), (Unipile, shows("video", ""), 0)], 2),
        ("no word for it", vec![(Wasender, card(), 0), (Unipile, unreadable(), 0)], 1),
        (
            "the nearest of two",
            vec![
                (Wasender, says("ok"), 0),
                (Wasender, says("ok"), 3),
                (Unipile, says("ok"), 3),
                (Unipile, says("ok"), 0),
            ],
            2,
        ),
        (
            "what can be told apart first",
            vec![
                (Wasender, unreadable(), 0),
                (Wasender, says("ok"), 1),
                (Unipile, says("ok"), 0),
                (Unipile, unreadable(), 1),
            ],
            2,
        ),
    ];
    for (name, told, want) in cases {
        let it = World::new();
        let n_told = told.len();
        let hear = |(n, (by, what, at))| it.hears((by, what, &format!("{n}"), at)).1;
        let n_new = told.into_iter().enumerate().map(hear).filter(|it| *it).count();
        assert_eq!(n_new, want, "{name}");
        let n_met = i64::try_from(n_told - n_new).unwrap();
        let n_open = i64::try_from(n_new).unwrap() - n_met;
        assert_eq!(it.n("told_once"), n_open, "{name}: what was told by both is not kept");
    }
}

#[test]
fn in_every_order_each_of_several_equal_messages_counts_once() {
    let said = [("ok", 0), ("ok", 1), ("non", 1), ("ok", 2)];
    // Whose turn it is, as bits: each device tells its own in order.
    for order in 0_u32..1 << 8 {
        if order.count_ones() != 4 {
            continue;
        }
        let (it, mut told) = (World::new(), [0; 2]);
        let mut n_new = 0;
        for turn in 0..8 {
            let by = usize::from(order & (1 << turn) == 0);
            let (text, at) = said[told[by]];
            told[by] += 1;
            let id = told[by].to_string();
            n_new += usize::from(it.hears(([Wasender, Unipile][by], says(text), &id, at)).1);
        }
        assert_eq!((n_new, it.n("told_once")), (4, 0), "{order:08b}");
    }
}

#[test]
fn what_comes_again_is_known_by_either_id_also_after_a_restart() {
    let it = World::new();
    let (first, _) = it.hears((Wasender, says("ok"), "1", 0));
    assert_eq!(it.hears((Unipile, says("ok"), "1", 0)), (first, false));
    let it = it.restarted();
    for by in [Wasender, Unipile] {
        assert_eq!(it.hears((by, says("ok"), "1", 0)), (first, false));
    }
    assert!(it.hears((Unipile, says("ok"), "2", 0)).1, "another one");
    let it = it.restarted();
    assert!(!it.hears((Wasender, says("ok"), "2", 0)).1);
    assert_eq!(it.n("told_once"), 0);
}

#[test]
fn a_change_is_told_to_the_back_end_once_and_by_who_knows_what_it_changes() {
    let reacts =
        |target: &str| What::Reaction { target: target.to_owned(), text: Text("👍".to_owned()) };
    let it = World::new();
    it.hears((Unipile, says("ok"), "1", 0));
    it.hears((Wasender, says("ok"), "1", 0));
    assert_eq!(it.n("forwards"), 1);
    // Each names the message by its own id.
    let (reaction, is_new) = it.hears((Wasender, reacts("wasender-1"), "2", 9));
    assert!(is_new);
    assert_eq!(it.hears((Unipile, reacts("unipile-1"), "2", 9)), (reaction, false));
    assert_eq!(it.n("forwards"), 2);
    // One that does not know the message keeps nobody from telling.
    assert!(it.hears((Unipile, reacts("of another"), "3", 20)).1);
    assert_eq!(it.n("forwards"), 2);
    assert!(it.hears((Wasender, reacts("wasender-1"), "3", 20)).1);
    assert_eq!(it.n("forwards"), 3);
}

#[test]
fn who_types_on_the_phone_takes_over_once() {
    for order in [[Wasender, Unipile], [Unipile, Wasender]] {
        let it = World::new();
        let typed = || What::Echo(Content::text("je suis là"));
        let n_humans = order.map(|by| it.tell(true, (by, typed(), "1", 0)).n_humans);
        assert_eq!((n_humans, it.n("entries")), ([1, 0], 1));
    }
}

#[test]
fn what_is_typed_is_a_humans_also_when_the_first_device_does_not_say_what_it_is() {
    let wordless = || Content::Unsupported { kind: "empty".to_owned(), text: Text::default() };
    let echo =
        |it: &World, by, content, n, at| it.tell(true, (by, What::Echo(content), n, at)).n_humans;
    let it = World::new();
    let sent = it.sends(Wasender);
    // The send itself, told by the other device first.
    assert_eq!(echo(&it, Unipile, wordless(), "1", 1), 0);
    assert_eq!(echo(&it, Wasender, Content::text("bonjour"), "1", 1), 0);
    let state = now(it.journal.intent(sent)).unwrap().unwrap().delivery.state;
    assert_eq!(state, State::Sent);
    // A card that somebody shares soon after.
    let humans = [echo(&it, Unipile, wordless(), "2", 30), echo(&it, Wasender, of_card(), "2", 30)];
    assert_eq!(humans, [0, 1]);
    // And one that the other device tells later.
    let humans = [echo(&it, Wasender, of_card(), "3", 50), echo(&it, Unipile, wordless(), "3", 50)];
    assert_eq!(humans, [1, 0]);
}

#[test]
fn what_an_erased_customer_wrote_is_known_when_the_other_device_tells_it_only_then() {
    let it = World::new();
    let (first, _) = it.hears((Wasender, says("ok"), "1", 0));
    let erased = now(it.journal.erase(&vendor(), ContactId(1), (None, 100), START)).unwrap();
    assert!(!erased.is_unknown);
    assert_eq!(it.hears((Unipile, says("ok"), "1", 0)), (first, false));
    assert!(it.hears((Unipile, says("ok"), "2", 0)).1, "another one");
}

#[test]
fn nothing_is_kept_of_a_number_with_one_device_nor_for_longer_than_a_day() {
    let it = World::new();
    it.tell(false, (Wasender, says("ok"), "1", 0));
    assert_eq!(it.n("told_once"), 0);
    it.hears((Wasender, says("ok"), "2", 0));
    assert_eq!(it.n("told_once"), 1);
    let two_days = 48 * HOUR / SECOND;
    it.tell(false, (Wasender, says("ok"), "3", two_days));
    assert_eq!(it.n("told_once"), 0);
}

/// The same text twice: one message left through each device, and nobody knows yet what became of
/// the second.
#[test]
fn the_echoes_of_two_equal_sends_are_each_ones_own_whichever_device_tells_them() {
    for order in [[Wasender, Unipile], [Unipile, Wasender]] {
        let it = World::new();
        let [first, second] = [Wasender, Unipile].map(|via| it.sends(via));
        let echo = || What::Echo(Content::text("bonjour"));
        for (n, at) in [("1", 0), ("2", 1)] {
            for by in order {
                it.tell(true, (by, echo(), n, at));
            }
        }
        for id in [first, second] {
            let state = now(it.journal.intent(id)).unwrap().unwrap().delivery.state;
            assert_eq!(state, State::Sent);
        }
        // Each is known by the id of its own way from then on, and by no other.
        for (id, by, n) in [(first, Wasender, "1"), (second, Unipile, "2")] {
            let target = format!("{by}-{n}");
            let status = Status::Read;
            let what = What::Status { target, status, participant: None, failure: None };
            it.tell(true, (by, what, "", 5));
            let heard = now(it.journal.intent(id)).unwrap().unwrap().delivery.status;
            assert_eq!(heard, Some(Status::Read), "{order:?}");
        }
    }
}
