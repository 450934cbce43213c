//! The outbox against every order of statuses: two writes at most, nothing missed, never backwards.

use std::{collections::HashMap, sync::Mutex};

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    super::fixtures::{self, journal, now, vendor},
    *,
};
use crate::{
    domain::{
        clock::{HOUR, MINUTE, SECOND},
        delivery::{Input, Outcome, Reason, Refusal},
        event::Status,
        record::{Record, WRITES_MAX},
        route::{ProviderKind, Routes},
    },
    journal::{Due, Journal, NewIntent, Operate, Resume, Step, Submitted, Ways},
};

const START: Millis = 1_760_000_000_000;
const YEAR: Millis = 365 * 24 * HOUR;

fn ways() -> Ways {
    Ways::of(Routes::only(ProviderKind::Wasender))
}

fn intent(at: Millis) -> NewIntent {
    NewIntent { expires: at + YEAR, ..fixtures::intent(at) }
}

fn decided(journal: &SqliteJournal) -> EntryId {
    match now(journal.submit(intent(START))).unwrap() {
        Submitted::New(id, _) => id,
        other => panic!("{other:?}"),
    }
}

/// The store elsewhere: what each document says, and how often it was written.
#[derive(Default)]
struct Elsewhere(Mutex<HashMap<EntryId, (Standing, u8)>>);

impl Elsewhere {
    fn write(&self, id: EntryId, record: &Record) -> Standing {
        let standing = match record {
            Record::Message(it) => it.standing,
            Record::Standing(it) => *it,
            other => panic!("{other:?}"),
        };
        let mut all = self.0.lock().unwrap();
        let (said, n) = all.entry(id).or_insert((standing, 0));
        assert!(standing >= *said, "from {said:?} back to {standing:?}");
        (*said, *n) = (standing, *n + 1);
        standing
    }

    fn of(&self, id: EntryId) -> Option<(Standing, u8)> {
        self.0.lock().unwrap().get(&id).copied()
    }
}

/// Writes what is due. `meanwhile` happens while it is on its way.
fn write_due(
    journal: &SqliteJournal,
    elsewhere: &Elsewhere,
    at: Millis,
    mut meanwhile: impl FnMut(),
) {
    let due = now(journal.due_documents(at, 10)).unwrap();
    let mut ends = Vec::new();
    for (row, due) in due.documents {
        let end = match due {
            Due::Record(record) => DocumentEnd::Written(Some(elsewhere.write(row.entry, &record))),
            Due::Nothing => DocumentEnd::Gone,
            Due::Unreadable(what) => panic!("{what}"),
        };
        ends.push((row, end));
    }
    meanwhile();
    now(journal.end_documents(ends, at)).unwrap();
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Begin,
    Tell(Input),
    Replay,
    Write,
    /// Something is told while the document is on its way.
    WriteAndTell(Input),
}

fn act() -> impl Strategy<Value = Act> {
    use Status::{Delivered, Failed, Pending, Played, Read, Sent};
    let heard = select(vec![Pending, Sent, Failed, Delivered, Read, Played]).prop_map(Input::Heard);
    let refusals = [
        Refusal::Retry { not_before: None },
        Refusal::Park(Reason::Unauthorized),
        Refusal::GiveUp(Reason::Invalid),
    ];
    let refused = select(refusals.to_vec()).prop_map(|it| Input::Outcome(Outcome::Refused(it)));
    let other = select(vec![Input::NoAnswer, Input::Tick, Input::Crashed]);
    let outcome = select(vec![Outcome::Sent, Outcome::Unknown]).prop_map(Input::Outcome);
    let input = prop_oneof![4 => heard, 2 => outcome, 1 => refused, 1 => other].boxed();
    prop_oneof![
        2 => Just(Act::Begin),
        6 => input.clone().prop_map(Act::Tell),
        1 => Just(Act::Replay),
        4 => Just(Act::Write),
        2 => input.prop_map(Act::WriteAndTell),
    ]
}

fn wait_for() -> impl Strategy<Value = Millis> {
    select(vec![0, SECOND, 20 * SECOND, MINUTE, 5 * MINUTE, 2 * HOUR])
}

fn standing(journal: &SqliteJournal, id: EntryId) -> Standing {
    now(journal.intent(id)).unwrap().map(|it| Standing::of(&it.delivery)).unwrap()
}

fn tell(journal: &SqliteJournal, id: EntryId, input: Input, at: Millis) {
    now(journal.step(id, Step::of(input), at)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_message_costs_two_writes_at_most_in_any_order(
        acts in vec((wait_for(), act()), 1..40),
    ) {
        let (journal, elsewhere) = (journal(), Elsewhere::default());
        journal.keep_outbox();
        let id = decided(&journal);
        let mut at = START;
        for (wait, act) in acts {
            at += wait;
            match act {
                Act::Begin => drop(now(journal.begin(id, ways(), at)).unwrap()),
                Act::Tell(input) => tell(&journal, id, input, at),
                Act::Replay => replay(&journal, id, at),
                Act::Write => write_due(&journal, &elsewhere, at, || {}),
                Act::WriteAndTell(input) => {
                    write_due(&journal, &elsewhere, at, || tell(&journal, id, input, at));
                }
            }
            prop_assert!(elsewhere.of(id).is_none_or(|it| it.1 <= WRITES_MAX));
        }
        // In the end it says where the message stands, unless it was written twice before.
        for _ in 0..4 {
            at += 2 * HOUR;
            write_due(&journal, &elsewhere, at, || {});
        }
        let (said, n) = elsewhere.of(id).expect("it was written");
        prop_assert!(n <= WRITES_MAX);
        prop_assert!(n == WRITES_MAX || said >= standing(&journal, id), "{said:?}");
        let load = now(journal.outbox_load()).unwrap();
        prop_assert_eq!(load.n_waiting, 0);
    }
}

#[test]
fn what_is_read_at_once_is_written_once() {
    let (journal, elsewhere) = (journal(), Elsewhere::default());
    journal.keep_outbox();
    let id = decided(&journal);
    now(journal.begin(id, ways(), START)).unwrap();
    for input in [Input::Outcome(Outcome::Sent), Input::Heard(Status::Sent)] {
        tell(&journal, id, input, START);
        write_due(&journal, &elsewhere, START + MINUTE - 1, || {});
        assert_eq!(elsewhere.of(id), None);
    }
    tell(&journal, id, Input::Heard(Status::Read), START + 2);
    write_due(&journal, &elsewhere, START + 2, || {});
    assert_eq!(elsewhere.of(id), Some((Standing::Read, 1)));
    assert_eq!(now(journal.due_documents(START + YEAR, 10)).unwrap().next, None);
}

#[test]
fn what_gets_further_while_there_is_nothing_to_write_is_not_missed() {
    let (journal, elsewhere) = (journal(), Elsewhere::default());
    journal.keep_outbox();
    let id = decided(&journal);
    now(journal.begin(id, ways(), START)).unwrap();
    tell(&journal, id, Input::Outcome(Outcome::Sent), START);
    let at = START + MINUTE;
    write_due(&journal, &elsewhere, at, || {});
    tell(&journal, id, Input::Heard(Status::Failed), at);
    // A person starts it again, so that it is queued when it is looked at.
    replay(&journal, id, at);
    let delivered = || tell(&journal, id, Input::Heard(Status::Delivered), at);
    write_due(&journal, &elsewhere, at, delivered);
    assert_eq!(elsewhere.of(id), Some((Standing::Sent, 1)));
    write_due(&journal, &elsewhere, at + MINUTE, || {});
    assert_eq!(elsewhere.of(id), Some((Standing::Delivered, 2)));
}

fn replay(journal: &SqliteJournal, id: EntryId, at: Millis) {
    let how = Resume {
        only_parked: false,
        again: true,
        now: at,
        reply_expires: at + YEAR,
        send_expires: at + YEAR,
    };
    now(journal.resume(vec![id], how)).unwrap();
}

#[test]
fn a_customer_who_is_erased_while_a_document_is_on_its_way_is_erased_there_too() {
    let journal = journal();
    journal.keep_outbox();
    let id = decided(&journal);
    let due = now(journal.due_documents(START + MINUTE, 10)).unwrap();
    let (row, _) = &due.documents[0];
    erase(&journal);
    let end = DocumentEnd::Written(Some(Standing::Queued));
    now(journal.end_documents(vec![(*row, end)], START + MINUTE)).unwrap();
    for _ in 0..2 {
        let due = now(journal.due_documents(START + MINUTE, 10)).unwrap();
        assert!(matches!(due.documents[..], [(_, Due::Record(Record::EraseMessage))]), "{due:?}");
        assert_eq!(due.documents[0].0.entry, id);
    }
    let due = now(journal.due_documents(START + MINUTE, 10)).unwrap();
    let end = DocumentEnd::Written(None);
    now(journal.end_documents(vec![(due.documents[0].0, end)], START + MINUTE)).unwrap();
    tell(&journal, id, Input::Heard(Status::Read), START + HOUR);
    assert_eq!(now(journal.outbox_load()).unwrap(), OutboxLoad::default());
}

fn erase(journal: &SqliteJournal) {
    use crate::journal::People;
    let vendor = vendor();
    let all = now(journal.conversations(&vendor, None, 10)).unwrap();
    let erased = now(journal.erase(&vendor, all.rows[0].id, (None, 100), START + MINUTE)).unwrap();
    assert!(!erased.is_unknown && erased.next.is_none());
}

#[test]
fn with_the_embedded_store_there_is_no_outbox() {
    let journal = journal();
    let id = decided(&journal);
    now(journal.begin(id, ways(), START)).unwrap();
    tell(&journal, id, Input::Heard(Status::Read), START);
    erase(&journal);
    assert_eq!(now(journal.outbox_load()).unwrap(), OutboxLoad::default());
}

#[test]
fn what_comes_from_a_backup_replaces_nothing() {
    let journal = journal();
    journal.keep_outbox();
    let [new, old] = [decided(&journal), decided(&journal)];
    now(journal.begin(old, ways(), START)).unwrap();
    tell(&journal, old, Input::Outcome(Outcome::Sent), START);
    tell(&journal, old, Input::Heard(Status::Delivered), START);
    let elsewhere = Elsewhere::default();
    write_due(&journal, &elsewhere, START, || {});
    assert_eq!(elsewhere.of(old), Some((Standing::Delivered, 1)));
    now(journal.write(|cx| restored(cx))).unwrap();
    let due = now(journal.due_documents(START + MINUTE, 10)).unwrap();
    let [(row, Due::Record(Record::NewMessage(it)))] = &due.documents[..] else {
        panic!("{due:?}")
    };
    assert_eq!((row.entry, it.standing), (new, Standing::Queued));
    tell(&journal, old, Input::Heard(Status::Read), START);
    let end = DocumentEnd::Written(Some(Standing::Queued));
    now(journal.end_documents(vec![(*row, end)], START)).unwrap();
    assert_eq!(now(journal.outbox_load()).unwrap(), OutboxLoad::default());
}
