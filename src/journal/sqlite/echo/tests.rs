//! Whose an echo is, where several sends say the same.

use super::{
    super::fixtures::{customer, instance, intent, journal, now, vendor},
    *,
};
use crate::{
    domain::{clock::HOUR, delivery::Outcome, message::Content, route::Routes},
    journal::{Journal, NewEvent, NewEvents, SqliteJournal, Step, Submitted, Ways},
};

const START: Millis = 1_760_000_000_000;

/// A send that Wasender took under this number of its own.
fn sends(journal: &SqliteJournal, ticket: &str, at: Millis) -> EntryId {
    let Submitted::New(id, _) = now(journal.submit(intent(at))).unwrap() else {
        panic!("a new one")
    };
    let ways = Ways::of(Routes::only(ProviderKind::Wasender));
    now(journal.begin(id, ways, at)).unwrap();
    let outcome = Step::of(Input::Outcome(Outcome::Sent));
    now(journal.step(id, Step { ticket: Some(ticket.to_owned()), ..outcome }, at + 1)).unwrap();
    id
}

/// What is typed on the phone, or was sent by us. How many people that makes.
fn echo(journal: &SqliteJournal, id: &str, at: Millis) -> usize {
    let what = What::Echo(Content::text("bonjour"));
    let mut event = Event::new(what, Chat::Private, customer(1));
    event.provider_id = Some(id.to_owned());
    let batch = NewEvents {
        vendor: vendor(),
        instance: instance(),
        silence: HOUR,
        forward: false,
        is_told_twice: false,
        now: at,
        raw: id.to_owned().into(),
        events: vec![NewEvent { event, unanswered: None }],
    };
    now(journal.append(batch)).unwrap().n_humans
}

#[test]
fn a_send_whose_id_an_echo_gave_to_another_gets_it_when_its_provider_is_asked() {
    let journal = journal();
    sends(&journal, "1", START);
    let second = sends(&journal, "2", START + 4 * SECOND);
    // The second's echo comes first, and says the same.
    assert_eq!(echo(&journal, "3EB2", START + 6 * SECOND), 0);
    let told = Step {
        provider_id: Some("3EB2".to_owned()),
        ticket: Some("2".to_owned()),
        ..Step::of(Input::Heard(Status::Delivered))
    };
    now(journal.step(second, told, START + 34 * SECOND)).unwrap();
    assert_eq!(echo(&journal, "3EB1", START + 44 * SECOND), 0, "the first's own");
    assert_eq!(echo(&journal, "3EB3", START + 45 * SECOND), 1, "nobody else is waited for");
}
