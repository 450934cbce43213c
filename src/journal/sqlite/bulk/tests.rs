//! Whatever happens in whatever order, a recipient becomes one intent at most, and in the end
//! exactly one, unless somebody decided otherwise.

use std::sync::Arc;

use futures_util::FutureExt;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    domain::{
        delivery::Policy,
        id::EntryId,
        phone::PhoneNumber,
        route::{ProviderKind, Routes},
        secret::SecretString,
        vendor::OnUnknown,
    },
    journal::{Journal, People},
    sqlite::{SharedConnection, backup, in_memory},
};

const START: Millis = 1_760_000_000_000;
const PEOPLE: usize = 6;

/// The journal does everything at once here.
fn now<T>(it: impl Future<Output = T>) -> T {
    it.now_or_never().expect("it waits for nothing")
}

fn vendor() -> VendorId {
    VendorId::parse("vendor_001").unwrap()
}

fn to(n: usize) -> Address {
    Address::phone(PhoneNumber::from_wire(&format!("+2217055500{n:02}")).unwrap())
}

fn recipient(n: usize) -> NewRecipient {
    let columns = [("name".to_owned(), format!("n{n}"))].into();
    NewRecipient { line: n + 2, to: to(n), columns }
}

fn intent(to: &Address, at: Millis) -> NewIntent {
    NewIntent {
        vendor: vendor(),
        instance: InstanceId::parse("waba_vendor_001").unwrap(),
        contact: None,
        to: to.clone(),
        content: Content::text("bonjour"),
        more: Vec::new(),
        reply_to: None,
        forward: false,
        is_automatic: false,
        origin: None,
        now: at,
        send_at: None,
        only: None,
        expires: at + 1_000_000,
        policy: Policy {
            on_unknown: OnUnknown::GiveUp,
            unknown_deadline: 1_000,
            routes: Routes::only(ProviderKind::Wasender),
        },
        parked: None,
        idempotency: None,
    }
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
            now: START,
        };
        now(self.journal.open_job(job)).unwrap()
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

    fn count(&self, sql: &str) -> i64 {
        let connection = self.connection.lock().unwrap();
        connection.query_row(sql, (), |row| row.get(0)).unwrap()
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// The next recipient is looked up, and handed over later or never.
    Look,
    /// One that was looked up is handed over, again and again.
    Hand(usize),
    PassOver(usize),
    Deed(BulkDeed),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Look),
        8 => (0..8_usize).prop_map(Act::Hand),
        1 => (0..8_usize).prop_map(Act::PassOver),
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
        let (mut n_passed, mut n_made) = (0, 0);
        for act in acts {
            let is_running = place.progress(job).0.state == BulkState::Running;
            match act {
                Act::Look => looked.extend(now(place.journal.next_recipient(job, START)).unwrap()),
                Act::Hand(n) => {
                    let Some(it) = looked.get(n) else { continue };
                    let handed = now(place.journal.hand_over(job, it, intent(&it.to, START)));
                    if let Handed::Made(..) = handed.unwrap() {
                        prop_assert!(is_running, "one that is paused sends nothing");
                        n_made += 1;
                    }
                }
                Act::PassOver(n) => {
                    let Some(it) = looked.get(n) else { continue };
                    let before = place.progress(job).1.n_failed;
                    now(place.journal.pass_over(job, it, "invalid")).unwrap();
                    n_passed += place.progress(job).1.n_failed - before;
                }
                Act::Deed(deed) => drop(place.change(job, deed)),
                Act::Restart => place.restart(),
            }
            let (found, progress) = place.progress(job);
            prop_assert_eq!(found.n_made, n_made);
            prop_assert_eq!(progress.n_on_their_way, n_made);
            prop_assert_eq!(progress.n_waiting + n_made + n_passed, 6);
            prop_assert_eq!(place.count("SELECT count(*) FROM entries WHERE kind = 2"), n_made);
        }
        if ends_cancelled {
            place.change(job, BulkDeed::Cancel);
        } else {
            place.change(job, BulkDeed::Resume);
        }
        let waited = place.progress(job).1.n_waiting;
        while let Some(it) = now(place.journal.next_recipient(job, START)).unwrap() {
            let handed = now(place.journal.hand_over(job, &it, intent(&it.to, START))).unwrap();
            if matches!(handed, Handed::Not) {
                break;
            }
        }
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
    assert_eq!(place.count("SELECT count(*) FROM bulk_jobs"), 0);
    assert_eq!(place.count("SELECT count(*) FROM bulk_recipients"), 0);
    assert_eq!(now(place.journal.keep_job(job, None)).unwrap(), KeptJob::Gone);
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
    let first = now(place.journal.next_recipient(job, START)).unwrap().unwrap();
    // They write, or were written to, before their turn in another job.
    let other = place.job();
    let known = now(place.journal.next_recipient(other, START)).unwrap().unwrap();
    assert_eq!(known.to, first.to);
    now(place.journal.hand_over(other, &known, intent(&known.to, START))).unwrap();
    let page = now(place.journal.conversations(&vendor(), None, 10)).unwrap();
    now(place.journal.erase(&vendor(), page.rows[0].id, 100, START)).unwrap();
    let handed = now(place.journal.hand_over(job, &first, intent(&first.to, START))).unwrap();
    assert!(matches!(handed, Handed::Not));
    assert_eq!(place.progress(job).1.n_erased, 1);
    let sql = "SELECT count(*) FROM bulk_recipients WHERE (who IS NOT NULL) = (doc = x'')";
    assert_eq!(place.count(sql), 0);
    let next = now(place.journal.next_recipient(job, START)).unwrap().unwrap();
    assert_eq!(next.to, to(1));
}

#[test]
fn a_job_from_a_backup_waits_for_a_person() {
    let mut place = Place::new();
    let job = place.job();
    let sql = format!("INSERT INTO meta (key, value) VALUES ('{}', x'')", backup::MARK);
    place.connection.lock().unwrap().execute(&sql, ()).unwrap();
    place.restart();
    now(place.journal.park_restored(START)).unwrap();
    let (found, _) = place.progress(job);
    assert_eq!((found.state, found.note.as_deref()), (BulkState::Paused, Some("restored")));
    assert!(matches!(place.change(job, BulkDeed::Resume), BulkChanged::Is(_)));
}

#[tokio::test]
async fn jobs_and_recipients_are_sealed_again_with_a_new_key() {
    let place = Place::new();
    let job = place.job();
    let recipient = now(place.journal.next_recipient(job, START)).unwrap().unwrap();
    now(place.journal.hand_over(job, &recipient, intent(&recipient.to, START))).unwrap();
    let other = Vault::new(&Vault::new_key().unwrap(), std::slice::from_ref(&place.key)).unwrap();
    let other = Arc::new(other);
    for (what, n_done) in [(&JOBS, 1), (&RECIPIENTS, PEOPLE as u64 - 1)] {
        let done = place.journal.db().reseal(what, &other, true, |_| ()).await.unwrap();
        assert_eq!((done.n_done, done.n_shut), (n_done, 0), "{}", what.table);
    }
    let connection = place.connection.lock().unwrap();
    assert!(next(&connection, &place.vault, job).is_err(), "the old key opens nothing any more");
    let found = next(&connection, &other, job).unwrap().unwrap();
    assert_eq!((found.to, found.line), (to(1), 3));
}
