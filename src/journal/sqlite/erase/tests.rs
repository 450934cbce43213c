//! What a part of an erasure costs, and what happens between two of them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    super::{
        fixtures::{intent, now, vendor},
        groups,
    },
    *,
};
use crate::{
    domain::{
        delivery::{Outcome, Refusal},
        route::Routes,
    },
    journal::{Journal, People, SqliteJournal, Submitted, Ways},
    sqlite::{SharedConnection, in_memory},
    vault::Vault,
};

const START: Millis = 1_760_000_000_000;

struct World {
    connection: SharedConnection,
    journal: SqliteJournal,
    contact: ContactId,
    /// What the database has done, in hundreds of its steps.
    n_steps: Arc<AtomicU64>,
}

impl World {
    /// One conversation of so many entries.
    fn with(n_entries: usize) -> Self {
        let vault = Arc::new(Vault::new(&Vault::new_key().unwrap(), &[]).unwrap());
        let (connection, n_steps) = (in_memory().unwrap(), Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&n_steps);
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        };
        connection.lock().unwrap().progress_handler(100, Some(count)).unwrap();
        let journal = SqliteJournal::inline(Arc::clone(&connection), vault).unwrap();
        for _ in 0..n_entries {
            let submitted = now(journal.submit(intent(START))).unwrap();
            assert!(matches!(submitted, Submitted::New(..)));
        }
        Self { connection, journal, contact: ContactId(1), n_steps }
    }

    fn erase(&self, from: Option<EraseFrom>, limit: usize) -> Option<EraseFrom> {
        let part = (from, limit);
        let erased = now(self.journal.erase(&vendor(), self.contact, part, START)).unwrap();
        assert!(!erased.is_unknown);
        erased.next
    }

    fn erase_all(&self, mut from: Option<EraseFrom>) {
        loop {
            from = self.erase(from, 2);
            if from.is_none() {
                break;
            }
        }
        let sql = "SELECT count(*) FROM entries WHERE contact IS NOT NULL OR note IS NOT 'erased'";
        let n: i64 = self.db(|it| it.query_row(sql, (), |row| row.get(0)).unwrap());
        assert_eq!(n, 0, "left behind");
    }

    fn db<T>(&self, f: impl FnOnce(&rusqlite::Connection) -> T) -> T {
        f(&self.connection.lock().unwrap())
    }

    /// The costliest part.
    fn costs(&self) -> u64 {
        let (mut from, mut most) = (None, 0);
        loop {
            let before = self.n_steps.load(Ordering::Relaxed);
            from = self.erase(from, 50);
            most = most.max(self.n_steps.load(Ordering::Relaxed) - before);
            if from.is_none() {
                return most;
            }
        }
    }
}

#[test]
fn nothing_that_was_on_its_way_to_an_erased_customer_goes_again() {
    let again = Outcome::Refused(Refusal::Retry { not_before: None });
    for happens in [Input::Outcome(again), Input::Unbegin { due: START }] {
        let it = World::with(0);
        let routes = Routes::WASENDER;
        let Submitted::New(id, _) = now(it.journal.submit(intent(START))).unwrap() else {
            panic!("it is new")
        };
        now(it.journal.begin(id, Ways::of(routes), START)).unwrap();
        it.erase_all(None);
        let stepped = now(it.journal.step(id, Step::of(happens), START)).unwrap();
        assert_eq!(stepped.next, Next::Gone, "{happens:?}");
        assert_eq!(stepped.delivery.unwrap().state, State::Dead(Reason::Erased));
        // Nothing that could tell whose it was is left.
        let sql = "SELECT count(*) FROM entries WHERE is_open OR coalesce(pid, tid) IS NOT NULL
            OR text_key IS NOT NULL";
        let n: i64 = it.db(|it| it.query_row(sql, (), |row| row.get(0)).unwrap());
        assert_eq!(n, 0, "{happens:?}");
    }
}

#[test]
fn a_part_costs_the_same_however_long_the_conversation_is() {
    let (short, long) = (World::with(200).costs(), World::with(3_000).costs());
    assert!(2 * long < 3 * short, "{long} in place of {short}");
}

#[test]
fn what_is_added_or_removed_between_two_parts_keeps_nothing_from_being_erased() {
    // As an answer that was under way.
    let world = World::with(9);
    let from = world.erase(None, 2);
    let (new, contact) = (intent(START), Some(world.contact));
    now(world.journal.write(move |cx| groups::insert(cx, &new, contact, None))).unwrap();
    world.erase_all(from);
    // As what was too old to be kept.
    let world = World::with(9);
    let from = world.erase(None, 2);
    let next = from.and_then(|it| it.next[0]).unwrap();
    world.db(|it| it.execute("DELETE FROM entries WHERE id = ?1", [next.0]).unwrap());
    let sql =
        "UPDATE entries SET prev = (SELECT max(id) FROM entries WHERE id < ?1) WHERE prev = ?1";
    world.db(|it| it.execute(sql, [next.0]).unwrap());
    world.erase_all(from);
    // The process died in between.
    let world = World::with(9);
    world.erase(None, 2);
    assert!(now(world.journal.conversation(&vendor(), world.contact)).unwrap().is_some());
    world.erase_all(None);
    assert!(now(world.journal.conversation(&vendor(), world.contact)).unwrap().is_none());
}
