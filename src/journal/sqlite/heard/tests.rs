//! Statuses that name a message by our own id, while it has gone more than one way.

use super::{
    super::fixtures::{instance, intent, journal, now, vendor},
    *,
};
use crate::{
    domain::{
        clock::HOUR,
        contact::Address,
        delivery::{Outcome, Policy, Reason, Refusal},
        event::{Chat, Failure, What},
        route::{ProviderSet, Routes},
        vendor::OnUnknown,
    },
    journal::{Journal, NewEvent, NewEvents, NewIntent, SqliteJournal, Step, Submitted, Ways},
};
use ProviderKind::{Meta, Wasender};

const START: Millis = 1_760_000_000_000;

/// A journal with one message for a number with a way through Meta and one through Wasender.
struct World {
    journal: SqliteJournal,
    id: EntryId,
}

impl World {
    fn new() -> Self {
        let routes: Routes = [Meta, Wasender].into_iter().collect();
        let policy = Policy { on_unknown: OnUnknown::Retry, unknown_deadline: HOUR, routes };
        let journal = journal();
        let intent = NewIntent { policy, ..intent(START) };
        let Submitted::New(id, _) = now(journal.submit(intent)).unwrap() else {
            panic!("a new one")
        };
        Self { journal, id }
    }

    fn begin(&self, at: Millis) {
        let routes: Routes = [Meta, Wasender].into_iter().collect();
        let ways = Ways { routes, down: ProviderSet::NONE, up_at: 0 };
        now(self.journal.begin(self.id, ways, at)).unwrap();
    }

    fn ends(&self, outcome: Outcome, id: Option<&str>, at: Millis) {
        let step = Step { provider_id: id.map(str::to_owned), ..Step::of(Input::Outcome(outcome)) };
        now(self.journal.step(self.id, step, at)).unwrap();
    }

    /// Meta says so, by our own id and one of its own.
    fn meta_says(&self, status: Status, id: &str, at: Millis) {
        let failure = (status == Status::Failed).then(|| Failure {
            code: "131042".to_owned(),
            refusal: Refusal::FailOver(Reason::Plan),
        });
        let what = What::Status { target: id.to_owned(), status, participant: None, failure };
        let mut event = Event::new(what, Chat::Private, Address::default());
        (event.reference, event.via) = (Some(self.id), Some(Meta));
        let batch = NewEvents {
            vendor: vendor(),
            instance: instance(),
            silence: 0,
            forward: false,
            is_told_twice: false,
            now: at,
            raw: bytes::Bytes::from(format!("{id} {status:?}")),
            events: vec![NewEvent { event, unanswered: None }],
        };
        now(self.journal.append(batch)).unwrap();
    }

    fn state(&self) -> State {
        now(self.journal.intent(self.id)).unwrap().unwrap().delivery.state
    }
}

/// Meta took it and it failed later, so Wasender is next.
fn passed_on() -> World {
    let it = World::new();
    it.begin(START);
    it.ends(Outcome::Sent, Some("wamid.1"), START + 1);
    it.meta_says(Status::Failed, "wamid.1", START + 2);
    assert!(matches!(it.state(), State::Waiting { .. }));
    it
}

#[test]
fn what_an_earlier_way_says_late_does_not_settle_the_next_one() {
    for is_begun in [false, true] {
        let it = passed_on();
        if is_begun {
            it.begin(START + 3);
            assert_eq!(it.state(), State::Begun);
        }
        for status in [Status::Pending, Status::Sent, Status::Failed] {
            it.meta_says(status, "wamid.1", START + 4);
        }
        if is_begun {
            it.ends(Outcome::Refused(Refusal::Retry { not_before: None }), None, START + 5);
        }
        assert!(matches!(it.state(), State::Waiting { .. }), "{:?}", it.state());
        it.begin(START + HOUR);
        it.ends(Outcome::Sent, Some("3EB0"), START + HOUR + 1);
        assert!(matches!(it.state(), State::Accepted { .. }), "its own id is the one that counts");
    }
}

#[test]
fn that_the_customer_has_it_is_believed_of_any_way() {
    for status in [Status::Delivered, Status::Read] {
        let it = passed_on();
        it.meta_says(status, "wamid.1", START + 4);
        assert_eq!(it.state(), State::Sent);
    }
}

#[test]
fn a_second_send_the_same_way_is_not_ended_by_the_first_ones_failure() {
    let it = World::new();
    it.begin(START);
    it.ends(Outcome::Unknown, None, START + 1);
    // The vendor risks it once more.
    now(it.journal.step(it.id, Step::of(Input::Tick), START + HOUR + 2)).unwrap();
    it.begin(START + HOUR + 2);
    assert_eq!(it.state(), State::Begun);
    it.meta_says(Status::Failed, "wamid.1", START + HOUR + 3);
    it.ends(Outcome::Sent, Some("wamid.2"), START + HOUR + 4);
    assert!(matches!(it.state(), State::Accepted { .. }), "{:?}", it.state());
    it.meta_says(Status::Read, "wamid.2", START + HOUR + 5);
    assert_eq!(it.state(), State::Sent);
}

#[test]
fn a_send_that_nobody_answered_is_settled_by_our_own_id() {
    let it = World::new();
    it.begin(START);
    it.ends(Outcome::Unknown, None, START + 1);
    it.meta_says(Status::Sent, "wamid.1", START + 2);
    assert_eq!(it.state(), State::Sent);
    it.meta_says(Status::Failed, "wamid.1", START + 3);
    assert!(matches!(it.state(), State::Waiting { .. }), "{:?}", it.state());
}
