//! The ledger: cumulative counts per vendor, in the same transaction as what they count.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{hours::Hours, keep};
use crate::{domain::id::VendorId, journal::Ledger, sqlite::DbError};

/// Transactions that are logged before they are folded into the ledger.
const FOLD_EVERY: usize = 1_024;

/// What one transaction adds to a vendor's line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Delta {
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) accepted: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) duplicates: i64,
    /// By account code: waiting, done, (none), parked, dead.
    #[serde(default, skip_serializing_if = "are_zero")]
    pub(super) events: [i64; 5],
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) created: i64,
    /// By account code: waiting, sent, unknown, parked, dead.
    #[serde(default, skip_serializing_if = "are_zero")]
    pub(super) intents: [i64; 5],
    #[serde(default, skip_serializing_if = "Hours::is_empty")]
    pub(super) hours: Hours,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(n: &i64) -> bool {
    *n == 0
}

fn are_zero(all: &[i64; 5]) -> bool {
    all.iter().all(|it| *it == 0)
}

impl Delta {
    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.created += other.created;
        for n in 0..5 {
            self.events[n] += other.events[n];
            self.intents[n] += other.intents[n];
        }
        self.hours.add_all(&other.hours);
    }

    fn negated(&self) -> Self {
        Self {
            accepted: -self.accepted,
            duplicates: -self.duplicates,
            events: self.events.map(|it| -it),
            created: -self.created,
            intents: self.intents.map(|it| -it),
            hours: self.hours.negated(),
        }
    }
}

type Deltas = HashMap<VendorId, Delta>;

/// What is logged and not folded yet. The log is one row a transaction; when it is long enough its
/// sum is folded into the ledger, some vendors in each transaction: all of them at once would hold
/// everybody up.
pub(super) struct Log {
    deltas: Deltas,
    n_rows: usize,
    /// Rows are written in this one.
    epoch: i64,
    /// The sum of the epochs before, as far as it is not folded.
    leaving: Vec<(VendorId, Delta)>,
    /// Vendors folded in one transaction.
    n_at_once: usize,
}

impl Log {
    /// What earlier processes left.
    pub(super) fn load(connection: &Connection) -> Result<Self, DbError> {
        let mut statement = connection.prepare_cached("SELECT deltas, epoch FROM ledger_log")?;
        let mut rows = statement.query(())?;
        let (mut deltas, mut n_rows, mut epoch) = (Deltas::new(), 0, 0);
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            let logged: Deltas =
                serde_json::from_str(&text).map_err(|_| DbError::Unreadable("ledger log"))?;
            for (vendor, delta) in logged {
                deltas.entry(vendor).or_default().add(&delta);
            }
            n_rows += 1;
            epoch = epoch.max(row.get(1)?);
        }
        Ok(Self { deltas, n_rows, epoch, leaving: Vec::new(), n_at_once: 0 })
    }

    /// What is logged of this vendor's hours.
    pub(super) fn hours_of(&self, vendor: &VendorId) -> impl Iterator<Item = &Hours> {
        let leaving = self.leaving.iter().find(|it| it.0 == *vendor).map(|it| &it.1);
        self.deltas.get(vendor).into_iter().chain(leaving).map(|it| &it.hours)
    }

    /// Writes what a transaction adds, and folds some of what was logged before.
    pub(super) fn write(&mut self, connection: &Connection, new: &Deltas) -> Result<(), DbError> {
        if self.leaving.is_empty() && self.n_rows >= FOLD_EVERY {
            self.leaving = self.deltas.drain().collect();
            // Neighbours in the table are folded together.
            self.leaving.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            self.n_at_once = self.leaving.len().div_ceil(FOLD_EVERY / 2);
            (self.n_rows, self.epoch) = (0, self.epoch + 1);
        }
        if !new.is_empty() {
            log(connection, new, self.epoch)?;
            for (vendor, delta) in new {
                self.deltas.entry(vendor.clone()).or_default().add(delta);
            }
            self.n_rows += 1;
        }
        self.fold_some(connection)
    }

    /// What is folded is taken off the log in a row of its epoch, until the epoch goes as a whole.
    fn fold_some(&mut self, connection: &Connection) -> Result<(), DbError> {
        if self.leaving.is_empty() {
            return Ok(());
        }
        let n_left = self.leaving.len().saturating_sub(self.n_at_once);
        let mut folded = Deltas::new();
        for (vendor, delta) in self.leaving.drain(n_left..) {
            fold(connection, &vendor, &delta)?;
            delta.hours.fold(connection, &vendor)?;
            folded.insert(vendor, delta.negated());
        }
        let before = self.epoch - 1;
        if n_left > 0 {
            return log(connection, &folded, before);
        }
        let sql = "DELETE FROM ledger_log WHERE epoch <= ?1";
        connection.prepare_cached(sql)?.execute([before])?;
        Ok(())
    }
}

fn log(connection: &Connection, deltas: &Deltas, epoch: i64) -> Result<(), DbError> {
    let text = serde_json::to_string(deltas).map_err(|_| DbError::Unreadable("ledger log"))?;
    let sql = "INSERT INTO ledger_log (deltas, epoch) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![text, epoch])?;
    Ok(())
}

fn fold(connection: &Connection, vendor: &VendorId, it: &Delta) -> Result<(), DbError> {
    let sql = "INSERT INTO ledger (vendor, accepted, duplicates, events_waiting, events_done,
            events_parked, events_dead, created, intents_waiting, intents_sent, intents_unknown,
            intents_parked, intents_dead)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
        ON CONFLICT (vendor) DO UPDATE SET
            accepted = accepted + ?2, duplicates = duplicates + ?3,
            events_waiting = events_waiting + ?4, events_done = events_done + ?5,
            events_parked = events_parked + ?6, events_dead = events_dead + ?7,
            created = created + ?8, intents_waiting = intents_waiting + ?9,
            intents_sent = intents_sent + ?10, intents_unknown = intents_unknown + ?11,
            intents_parked = intents_parked + ?12, intents_dead = intents_dead + ?13";
    let (e, i) = (it.events, it.intents);
    connection.prepare_cached(sql)?.execute((
        vendor.as_str(),
        it.accepted,
        it.duplicates,
        e[0],
        e[1],
        e[3],
        e[4],
        it.created,
        i[0],
        i[1],
        i[2],
        i[3],
        i[4],
    ))?;
    Ok(())
}

pub(super) fn read(connection: &Connection, vendor: Option<&VendorId>) -> Result<Ledger, DbError> {
    // Ledger and log as of one moment.
    read_at(&*connection.unchecked_transaction()?, vendor)
}

/// The same within a transaction.
pub(super) fn read_at(moment: &Connection, vendor: Option<&VendorId>) -> Result<Ledger, DbError> {
    let mut ledger = folded(moment, vendor)?;
    for (_, it) in Log::load(moment)?.deltas.iter().filter(|it| vendor.is_none_or(|v| v == it.0)) {
        ledger.accepted += it.accepted;
        ledger.duplicates += it.duplicates;
        ledger.events_waiting += it.events[0];
        ledger.events_done += it.events[1];
        ledger.events_parked += it.events[3];
        ledger.events_dead += it.events[4];
        ledger.created += it.created;
        ledger.intents_waiting += it.intents[0];
        ledger.intents_sent += it.intents[1];
        ledger.intents_unknown += it.intents[2];
        ledger.intents_parked += it.intents[3];
        ledger.intents_dead += it.intents[4];
    }
    Ok(ledger)
}

fn folded(connection: &Connection, vendor: Option<&VendorId>) -> Result<Ledger, DbError> {
    let sql = "SELECT sum(accepted), sum(duplicates), sum(events_waiting), sum(events_done),
            sum(events_parked), sum(events_dead), sum(created), sum(intents_waiting),
            sum(intents_sent), sum(intents_unknown), sum(intents_parked), sum(intents_dead)
        FROM ledger WHERE ?1 IS NULL OR vendor = ?1";
    let found = connection.prepare_cached(sql)?.query_row([vendor.map(VendorId::as_str)], |row| {
        let n = |at: usize| row.get::<_, Option<i64>>(at).map(Option::unwrap_or_default);
        Ok(Ledger {
            accepted: n(0)?,
            duplicates: n(1)?,
            events_waiting: n(2)?,
            events_done: n(3)?,
            events_parked: n(4)?,
            events_dead: n(5)?,
            created: n(6)?,
            intents_waiting: n(7)?,
            intents_sent: n(8)?,
            intents_unknown: n(9)?,
            intents_parked: n(10)?,
            intents_dead: n(11)?,
        })
    });
    Ok(found.optional()?.unwrap_or_default())
}

/// The ledger, and what a count of the entries gives, as of one moment.
pub(super) fn both(
    connection: &Connection,
    vendor: Option<&VendorId>,
) -> Result<(Ledger, Ledger), DbError> {
    let moment = connection.unchecked_transaction()?;
    let ledger = read_at(&moment, vendor)?;
    let counted = counted(&moment, vendor, ledger.duplicates)?;
    Ok((ledger, counted))
}

/// Counts the entries themselves.
pub(super) fn count(connection: &Connection, vendor: Option<&VendorId>) -> Result<Ledger, DbError> {
    both(connection, vendor).map(|it| it.1)
}

/// Duplicates leave no entry, so they are taken from the ledger; what was removed because it was old
/// was counted when it was.
fn counted(
    connection: &Connection,
    vendor: Option<&VendorId>,
    duplicates: i64,
) -> Result<Ledger, DbError> {
    let mut found = Ledger { duplicates, ..Ledger::default() };
    let sql = "SELECT kind = 2, account, count(*) FROM entries
        WHERE ?1 IS NULL OR vendor = ?1 GROUP BY 1, 2";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([vendor.map(VendorId::as_str)], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    let mut all: Vec<(bool, i64, i64)> = rows.collect::<Result<_, _>>()?;
    all.extend(keep::removed(connection, vendor)?);
    for (is_intent, account, n) in all {
        *(if is_intent { &mut found.created } else { &mut found.accepted }) += n;
        let column = match (is_intent, account) {
            (false, 0) => &mut found.events_waiting,
            (false, 1) => &mut found.events_done,
            (false, 3) => &mut found.events_parked,
            (false, _) => &mut found.events_dead,
            (true, 0) => &mut found.intents_waiting,
            (true, 1) => &mut found.intents_sent,
            (true, 2) => &mut found.intents_unknown,
            (true, 3) => &mut found.intents_parked,
            (true, _) => &mut found.intents_dead,
        };
        *column += n;
    }
    Ok(found)
}
