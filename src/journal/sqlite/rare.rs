//! What is rare and therefore known whole by the writer: signals that wait for their message, and
//! conversations in which the bot is paused. Where there is none, the database need not be asked.
//! There may be more here than there is, never less.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use crate::{
    domain::{
        clock::{MINUTE, Millis},
        id::ContactId,
    },
    sqlite::DbError,
    vault::Token,
};

/// Waiting signals that are known; with more of them the database is asked again.
const ORPHANS_MAX: usize = 100_000;
/// Paused conversations after which those that have ended are left out, and with how many of them
/// the database is asked again.
const PAUSED_MAX: usize = 65_536;
const PAUSED_READ_MAX: usize = PAUSED_MAX / 2;

/// The messages that open signals wait for, and how many for each.
#[derive(Default)]
pub(super) struct Orphans {
    n: HashMap<Token, u32>,
    /// Those from before the start are among them.
    is_whole: bool,
    /// Was made so by the open transaction.
    is_fresh: bool,
    /// Ended by the open transaction.
    ended: Vec<Token>,
}

impl Orphans {
    /// Reads what waits, once nothing else works on it.
    pub(super) fn load(&mut self, connection: &Connection) -> Result<(), DbError> {
        let sql = "SELECT pid FROM entries INDEXED BY entries_open
            WHERE is_open = 1 AND kind IN (1, 3) AND pid IS NOT NULL";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query(())?;
        self.n.clear();
        self.ended.clear();
        (self.is_whole, self.is_fresh) = (true, true);
        while let Some(row) = rows.next()? {
            self.waits(row.get(0)?);
        }
        Ok(())
    }

    /// A signal begins to wait for this message.
    pub(super) fn waits(&mut self, pid: Token) {
        if !self.is_whole {
            return;
        }
        *self.n.entry(pid).or_default() += 1;
        if self.n.len() > ORPHANS_MAX {
            self.n = HashMap::new();
            self.is_whole = false;
        }
    }

    /// One that waited for it does not any more.
    pub(super) fn ended(&mut self, pid: Token) {
        if self.is_whole {
            self.ended.push(pid);
        }
    }

    /// Whether some may wait for it.
    pub(super) fn may_wait(&self, pid: &Token) -> bool {
        !self.is_whole || self.n.contains_key(pid)
    }

    /// Whether some may wait at all.
    pub(super) fn may_be_any(&self) -> bool {
        !self.is_whole || !self.n.is_empty()
    }

    pub(super) fn committed(&mut self) {
        self.is_fresh = false;
        for pid in self.ended.drain(..) {
            match self.n.get_mut(&pid) {
                Some(n) if *n > 1 => *n -= 1,
                _ => {
                    self.n.remove(&pid);
                }
            }
        }
    }

    pub(super) fn rolled_back(&mut self) {
        self.ended.clear();
        // What was read may not be so.
        self.is_whole &= !self.is_fresh;
        self.is_fresh = false;
    }
}

/// Conversations in which the bot is, or was, paused.
#[derive(Default)]
pub(super) struct Paused(Option<PausedSince>);

struct PausedSince {
    /// When they were read.
    at: Millis,
    /// Those that were paused then, and those that were since; `None`: they are too many.
    all: Option<HashSet<ContactId>>,
}

impl PausedSince {
    fn read(connection: &Connection, now: Millis) -> Result<Self, DbError> {
        let sql = "SELECT id FROM contacts INDEXED BY contacts_paused
            WHERE paused_until > ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let found = statement.query_map([now], |row| row.get(0).map(ContactId))?;
        let all: HashSet<ContactId> = found.take(PAUSED_READ_MAX).collect::<Result<_, _>>()?;
        Ok(Self { at: now, all: (all.len() < PAUSED_READ_MAX).then_some(all) })
    }

    fn is_good(&self, now: Millis) -> bool {
        match &self.all {
            Some(all) => all.len() < PAUSED_MAX,
            // To read so many costs more than to ask for each.
            None => (now - self.at).abs() < MINUTE,
        }
    }
}

impl Paused {
    /// Whether the bot may be paused there now.
    pub(super) fn may_be(
        &mut self,
        connection: &Connection,
        contact: ContactId,
        now: Millis,
    ) -> Result<bool, DbError> {
        let known = match &mut self.0 {
            Some(known) if known.is_good(now) => known,
            known => known.insert(PausedSince::read(connection, now)?),
        };
        // A clock that was set back makes pauses that had ended count again.
        Ok(now < known.at || known.all.as_ref().is_none_or(|it| it.contains(&contact)))
    }

    /// It is paused from now on, or may be.
    pub(super) fn paused(&mut self, contact: ContactId) {
        if let Some(all) = self.0.as_mut().and_then(|it| it.all.as_mut()) {
            all.insert(contact);
        }
    }

    pub(super) fn rolled_back(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is kept or not of each transaction: who waits is known to wait.
        #[test]
        fn a_signal_that_waits_is_known_to_wait(
            transactions in proptest::collection::vec(
                (proptest::collection::vec((0_u8..4, any::<bool>()), 0..6), any::<bool>()), 0..40,
            ),
        ) {
            let pid = |n: u8| [n; 16];
            let mut orphans = Orphans { is_whole: true, ..Orphans::default() };
            let mut waiting = HashMap::<u8, u32>::new();
            for (steps, is_kept) in transactions {
                let mut then = waiting.clone();
                for (n, begins) in steps {
                    let there = then.entry(n).or_default();
                    if begins {
                        *there += 1;
                        orphans.waits(pid(n));
                    } else if *there > 0 {
                        *there -= 1;
                        orphans.ended(pid(n));
                    }
                }
                if is_kept {
                    orphans.committed();
                    waiting = then;
                } else {
                    orphans.rolled_back();
                }
                for (n, there) in &waiting {
                    prop_assert!(*there == 0 || orphans.may_wait(&pid(*n)));
                }
            }
        }
    }

    #[test]
    fn what_was_not_read_to_the_end_is_asked_for() {
        let mut orphans = Orphans::default();
        assert!(orphans.may_wait(&[0; 16]), "nothing is known yet");
        orphans.is_whole = true;
        assert!(!orphans.may_wait(&[0; 16]));
        (0..=ORPHANS_MAX as u128).for_each(|n| orphans.waits(n.to_be_bytes()));
        assert!(orphans.may_wait(&[255; 16]), "too many to know");
    }

    #[test]
    fn with_many_pauses_the_database_is_asked_and_not_read_again_and_again() {
        let now = 10 * MINUTE;
        let many = (0..).take(PAUSED_READ_MAX).map(ContactId).collect();
        let known = PausedSince { at: now, all: Some(many) };
        assert!(known.is_good(now + MINUTE));
        let too_many = PausedSince { at: now, all: None };
        assert!(too_many.is_good(now + MINUTE - 1) && !too_many.is_good(now + MINUTE));
        let mut paused = Paused(Some(too_many));
        let none = Connection::open_in_memory().unwrap();
        assert!(paused.may_be(&none, ContactId(1), now).unwrap(), "nothing is known");
        paused.paused(ContactId(1));
    }
}
