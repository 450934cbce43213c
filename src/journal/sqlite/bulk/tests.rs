//! Whatever happens in whatever order, a recipient becomes one intent at most, and in the end
//! exactly one, unless somebody decided otherwise.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*};

use super::{
    super::fixtures::{self, customer, now, vendor},
    *,
};
use crate::{
    domain::{
        bulk::JOBS_MAX, contact::Bsuid, delivery::Reason, id::EntryId, phone::PhoneNumber,
        secret::SecretString,
    },
    journal::{Journal, People},
    sqlite::{SharedConnection, backup, in_memory},
};

const START: Millis = 1_760_000_000_000;
const PEOPLE: usize = 6;

fn recipient(n: usize) -> NewRecipient {
    let columns = [("name".to_owned(), format!("n{n}"))].into();
    NewRecipient { to: customer(n), columns }
}

fn intent(to: &Address, at: Millis) -> NewIntent {
    let mut it = NewIntent { to: to.clone(), expires: at + 1_000_000, ..fixtures::intent(at) };
    it.policy.unknown_deadline = 1_000;
    it
}

/// A journal that can be closed and opened again.
struct Place {
    key: SecretString,
    connection: SharedConnection,
    vault: Arc<Vault>,
    journal: SqliteJournal,
}

impl Place {
    fn new() -> Self {
        let connection = in_memory().unwrap();
        let key = Vault::new_key().unwrap();
        let vault = Arc::new(Vault::new(&key, &[]).unwrap());
        let journal = SqliteJournal::inline(Arc::clone(&connection), Arc::clone(&vault)).unwrap();
        Self { key, connection, vault, journal }
    }

    /// As after a crash.
    fn restart(&mut self) {
        let (connection, vault) = (Arc::clone(&self.connection), Arc::clone(&self.vault));
        self.journal = SqliteJournal::inline(connection, vault).unwrap();
        now(self.journal.waiting(EntryId(0), 1_000)).unwrap();
    }

    fn open(&self) -> BulkId {
        let job = NewJob {
            vendor: vendor(),
            instance: InstanceId::parse("waba_vendor_001").unwrap(),
            content: Content::text("bonjour {{name}}"),
            per_minute: None,
            key: None,
            now: START,
        };
        now(self.journal.open_job(job)).unwrap().unwrap()
    }

    fn job(&self) -> BulkId {
        let job = self.open();
        let all = (0..PEOPLE).map(recipient).collect();
        assert_eq!(now(self.journal.add_recipients(job, all)).unwrap(), 0);
        assert_eq!(now(self.journal.keep_job(job, None)).unwrap(), KeptJob::New);
        job
    }

    fn progress(&self, job: BulkId) -> (BulkJob, BulkProgress) {
        now(self.journal.job(&vendor(), job)).unwrap().unwrap()
    }

    fn change(&self, job: BulkId, deed: BulkDeed) -> BulkChanged {
        now(self.journal.change_job(&vendor(), job, deed, None, START)).unwrap()
    }

    /// So many of those whose turn it is.
    fn look(&self, job: BulkId, limit: usize) -> Vec<Recipient> {
        let next = now(self.journal.next_recipients(job, limit, START)).unwrap();
        next.map(|it| it.1).unwrap_or_default()
    }

    fn hand_over(&self, job: BulkId, to: &[Recipient]) -> Vec<EntryId> {
        let turns = to.iter().map(|it| (it.clone(), intent(&it.to, START))).collect();
        now(self.journal.hand_over(job, turns)).unwrap().made
    }

    fn count(&self, sql: &str) -> i64 {
        let connection = self.connection.lock().unwrap();
        connection.query_row(sql, (), |row| row.get(0)).unwrap()
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// The next recipient is looked up, and handed over later or never.
    Look,
    /// Some that were looked up are handed over, again and again.
    Hand(usize, usize),
    Deed(BulkDeed),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Look),
        8 => (0..8_usize, 1..4_usize).prop_map(|(from, n)| Act::Hand(from, n)),
        2 => Just(Act::Deed(BulkDeed::Pause)),
        3 => Just(Act::Deed(BulkDeed::Resume)),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn nobody_has_their_turn_twice_and_everybody_has_it(
        acts in vec(act(), 0..40),
        ends_cancelled in any::<bool>(),
    ) {
        let mut place = Place::new();
        let job = place.job();
        let mut looked: Vec<Recipient> = Vec::new();
        let mut n_made = 0;
        for act in acts {
            let is_running = place.progress(job).0.state == BulkState::Running;
            match act {
                Act::Look => looked.extend(place.look(job, 2)),
                Act::Hand(from, n) => {
                    let some = looked.get(from..looked.len().min(from + n)).unwrap_or_default();
                    let made = place.hand_over(job, some);
                    prop_assert!(is_running || made.is_empty(), "one that is paused sends nothing");
                    n_made += i64::try_from(made.len()).unwrap();
                }
                Act::Deed(deed) => drop(place.change(job, deed)),
                Act::Restart => place.restart(),
            }
            let (found, progress) = place.progress(job);
            prop_assert_eq!(found.n_made, n_made);
            prop_assert_eq!(progress.n_on_their_way, n_made);
            prop_assert_eq!(progress.n_waiting + n_made, 6);
            prop_assert_eq!(place.count("SELECT count(*) FROM entries WHERE kind = 2"), n_made);
        }
        if ends_cancelled {
            place.change(job, BulkDeed::Cancel);
        } else {
            place.change(job, BulkDeed::Resume);
        }
        let waited = place.progress(job).1.n_waiting;
        while !place.hand_over(job, &place.look(job, 4)).is_empty() {}
        let (found, progress) = place.progress(job);
        let was_done = found.state == BulkState::Done;
        let left = if was_done { 0 } else { waited };
        prop_assert_eq!(progress.n_waiting, left);
        prop_assert!(was_done || ends_cancelled);
        // To nobody twice.
        let contacts = place.count("SELECT count(DISTINCT contact) FROM entries WHERE kind = 2");
        prop_assert_eq!(contacts, found.n_made);
    }
}

#[test]
fn a_job_that_is_not_whole_is_forgotten_by_the_next_start() {
    let mut place = Place::new();
    let job = place.open();
    now(place.journal.add_recipients(job, vec![recipient(0)])).unwrap();
    assert!(now(place.journal.running_jobs()).unwrap().is_empty());
    assert!(now(place.journal.job(&vendor(), job)).unwrap().is_none());
    place.restart();
    assert!(now(place.journal.jobs(&vendor(), None, 10)).unwrap().is_empty());
    assert_eq!(now(place.journal.keep_job(job, None)).unwrap(), KeptJob::Gone);
    assert_eq!(now(place.journal.old_job(0)).unwrap(), Some(job));
    while now(place.journal.drop_job(job)).unwrap() {}
    assert_eq!(place.count("SELECT count(*) FROM bulk_jobs"), 0);
    assert_eq!(place.count("SELECT count(*) FROM bulk_recipients"), 0);
}

#[test]
fn a_number_in_two_forms_is_one_recipient() {
    let place = Place::new();
    let job = place.open();
    let brazilian = |number: &str| NewRecipient {
        to: Address::phone(PhoneNumber::from_wire(number).unwrap()),
        ..recipient(0)
    };
    let both = vec![brazilian("+5511987654321"), brazilian("+551187654321")];
    assert_eq!(now(place.journal.add_recipients(job, both)).unwrap(), 1);
    now(place.journal.keep_job(job, None)).unwrap();
    let (job, _) = place.progress(job);
    assert_eq!((job.n_total, job.n_same), (1, 1));
}

#[test]
fn a_key_names_one_job_and_another_request_under_it_is_refused() {
    let place = Place::new();
    let keep = |request: &[u8]| {
        let job = place.open();
        now(place.journal.add_recipients(job, vec![recipient(1)])).unwrap();
        let key = Idempotency { key: "k".to_owned(), request: request.to_vec() };
        (job, now(place.journal.keep_job(job, Some(key))).unwrap())
    };
    let (first, kept) = keep(b"a");
    assert_eq!(kept, KeptJob::New);
    let (again, kept) = keep(b"a");
    assert_eq!(kept, KeptJob::Same(first));
    assert_eq!(keep(b"b").1, KeptJob::Conflict);
    while now(place.journal.drop_job(again)).unwrap() {}
    assert_eq!(now(place.journal.running_jobs()).unwrap().len(), 1);
}

#[test]
fn who_is_erased_is_not_sent_to_and_nothing_of_them_is_left() {
    let place = Place::new();
    let job = place.job();
    let first = place.look(job, 1);
    // They write, or were written to, before their turn in another job.
    let other = place.job();
    let known = place.look(other, 1);
    assert_eq!(known[0].to, first[0].to);
    place.hand_over(other, &known);
    let page = now(place.journal.conversations(&vendor(), None, 10)).unwrap();
    now(place.journal.erase(&vendor(), page.rows[0].id, (None, 100), START)).unwrap();
    assert!(place.hand_over(job, &first).is_empty());
    assert_eq!((place.progress(job).1.n_erased, place.progress(other).1.n_erased), (1, 0));
    let sql = "SELECT count(*) FROM bulk_recipients WHERE (who IS NOT NULL) = (doc = x'')";
    assert_eq!(place.count(sql), 0);
    assert_eq!(place.look(job, 1)[0].to, customer(1));
}

#[test]
fn who_is_given_under_two_names_is_sent_to_once() {
    let place = Place::new();
    let bsuid = Bsuid::from_wire("SN.1a2b3c4d5e6f7g8h").unwrap();
    let [phone, name] = [customer(0), Address { bsuid: Some(bsuid), ..Address::default() }];
    let both = Address { bsuid: name.bsuid.clone(), ..phone.clone() };
    // Whether they are known before the job, after it was taken, or between their two turns.
    for known_at in 0..3 {
        let job = place.open();
        let all = [&phone, &name].map(|it| NewRecipient { to: it.clone(), ..recipient(0) });
        let learn = |at| {
            if at == known_at {
                now(place.journal.submit(intent(&both, START))).unwrap();
            }
        };
        learn(0);
        now(place.journal.add_recipients(job, all.to_vec())).unwrap();
        now(place.journal.keep_job(job, None)).unwrap();
        learn(1);
        assert_eq!(place.hand_over(job, &place.look(job, 1)).len(), 1);
        learn(2);
        assert!(place.hand_over(job, &place.look(job, 1)).is_empty());
        assert!(place.look(job, 1).is_empty());
        let (job, progress) = place.progress(job);
        assert_eq!((job.n_total, job.n_same, job.n_made), (1, 1, 1), "{known_at}");
        assert_eq!((job.state, progress.n_on_their_way), (BulkState::Done, 1));
        let page = now(place.journal.conversations(&vendor(), None, 10)).unwrap();
        now(place.journal.erase(&vendor(), page.rows[0].id, (None, 100), START)).unwrap();
    }
}

#[test]
fn a_vendor_has_so_many_jobs_that_have_not_ended() {
    let place = Place::new();
    let new = |key: Option<&str>| NewJob {
        vendor: vendor(),
        instance: InstanceId::parse("waba_vendor_001").unwrap(),
        content: Content::text("bonjour"),
        per_minute: None,
        key: key.map(str::to_owned),
        now: START,
    };
    let open = |key| now(place.journal.open_job(new(key))).unwrap();
    let first = place.open();
    now(place.journal.add_recipients(first, vec![recipient(1)])).unwrap();
    let key = Idempotency { key: "k".to_owned(), request: b"a".to_vec() };
    now(place.journal.keep_job(first, Some(key))).unwrap();
    for _ in 1..JOBS_MAX {
        assert!(open(None).is_some());
    }
    assert_eq!((open(None), open(Some("other"))), (None, None));
    assert!(open(Some("k")).is_some(), "a repetition is not one more");
    place.change(first, BulkDeed::Cancel);
    assert_eq!(open(None), None, "that one counts");
    let other = NewJob { vendor: VendorId::parse("vendor_002").unwrap(), ..new(None) };
    assert!(now(place.journal.open_job(other)).unwrap().is_some(), "another's do not");
}

#[test]
fn what_nobody_needs_any_more_is_forgotten() {
    let place = Place::new();
    let old = |before| now(place.journal.old_job(before)).unwrap();
    let (running, ended, waits) = (place.job(), place.job(), place.job());
    place.change(ended, BulkDeed::Cancel);
    assert_eq!((old(START), old(START + 1)), (None, Some(ended)));
    while now(place.journal.drop_job(ended)).unwrap() {}
    // Somebody had their turn a day after it was taken; since then it waits.
    let turn = place.look(waits, 1).remove(0);
    let at = START + 86_400_000;
    let turns = vec![(turn.clone(), intent(&turn.to, at))];
    assert_eq!(now(place.journal.hand_over(waits, turns)).unwrap().made.len(), 1);
    place.change(waits, BulkDeed::Pause);
    assert_eq!((old(at), old(at + 1_000)), (None, Some(waits)));
    while now(place.journal.drop_job(waits)).unwrap() {}
    assert_eq!(old(Millis::MAX / (1 << 21)), None);
    let left = now(place.journal.jobs(&vendor(), None, 10)).unwrap();
    assert_eq!(left.iter().map(|it| it.id).collect::<Vec<_>>(), [running]);
    assert_eq!(place.count("SELECT count(DISTINCT job) FROM bulk_recipients"), 1);
}

#[test]
fn a_job_from_a_backup_waits_for_a_person() {
    let mut place = Place::new();
    let (running, paused, ended) = (place.job(), place.job(), place.job());
    place.change(paused, BulkDeed::Pause);
    place.change(ended, BulkDeed::Cancel);
    let sql = format!("INSERT INTO meta (key, value) VALUES ('{}', x'')", backup::MARK);
    place.connection.lock().unwrap().execute(&sql, ()).unwrap();
    place.restart();
    now(place.journal.park_restored(START)).unwrap();
    for job in [running, paused] {
        let (found, _) = place.progress(job);
        assert_eq!((found.state, found.note.as_deref()), (BulkState::Paused, Some("restored")));
        assert_eq!(place.change(job, BulkDeed::Resume), BulkChanged::Is);
        assert_eq!(place.progress(job).0.note, None);
    }
    assert_eq!(place.progress(ended).0.state, BulkState::Cancelled);
}

#[tokio::test]
async fn jobs_and_recipients_are_sealed_again_with_a_new_key() {
    let place = Place::new();
    let job = place.job();
    place.hand_over(job, &place.look(job, 1));
    let other = Vault::new(&Vault::new_key().unwrap(), std::slice::from_ref(&place.key)).unwrap();
    let other = Arc::new(other);
    for (what, n_done) in [(&JOBS, 1), (&RECIPIENTS, PEOPLE as u64 - 1)] {
        let done = place.journal.db().reseal(what, &other, true, |_| ()).await.unwrap();
        assert_eq!((done.n_done, done.n_shut), (n_done, 0), "{}", what.table);
    }
    let connection = place.connection.lock().unwrap();
    assert!(next(&connection, &place.vault, job, 1).is_err(), "the old key opens nothing any more");
    let (_, found) = next(&connection, &other, job, 1).unwrap().unwrap();
    assert_eq!(found[0].to, customer(1));
}

/// The ends of those who had their turn, in order; what is on its way has none.
#[test]
fn a_job_is_in_vain_only_where_the_last_ones_have_all_failed_since_it_last_began() {
    let check = |ends: &[bool], (of_last, n_looked_at): (i64, i64), want: bool| {
        let place = Place::new();
        let job = place.job();
        for (is_failed, it) in ends.iter().zip(place.look(job, PEOPLE)) {
            let mut turn = intent(&it.to, START);
            turn.parked = is_failed.then_some(Reason::Invalid);
            now(place.journal.hand_over(job, vec![(it, turn)])).unwrap();
        }
        let next = place.look(job, 1).remove(0);
        let found = now(place.journal.all_fail(job, &next, (of_last, n_looked_at))).unwrap();
        assert_eq!(found, want, "{ends:?}");
    };
    check(&[true, true, true], (3, 10), true);
    check(&[true, true, true, false, false], (3, 10), true);
    check(&[true, true, false, true], (3, 10), false);
    // The first three were before a person let it go on.
    check(&[true, true, true, false, false], (3, 2), false);
    check(&[false, false], (2, 10), false);
}

#[test]
fn a_job_that_is_being_forgotten_is_not_resumed() {
    let place = Place::new();
    let job = place.job();
    assert_eq!(place.change(job, BulkDeed::Pause), BulkChanged::Is);
    assert!(now(place.journal.drop_job(job)).unwrap());
    assert_eq!(place.change(job, BulkDeed::Resume), BulkChanged::Unknown);
    // And one that runs is not forgotten.
    let running = place.job();
    assert!(!now(place.journal.drop_job(running)).unwrap());
    assert_eq!(place.look(running, PEOPLE).len(), PEOPLE);
}
