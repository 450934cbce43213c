//! Messages counted by the hour in which they were made: kept with the ledger, in the same
//! transaction as what they count, so that nobody has to scan for them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use async_trait::async_trait;
use rusqlite::{Connection, ToSql, params};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    SqliteJournal,
    entries::{COLUMNS, ECHO, EntryRow, INTENT, MESSAGE},
    ledger::Delta,
};
use crate::{
    domain::{
        clock::HOUR,
        event::Status,
        id::{EntryId, VendorId},
    },
    journal::{Counters, JournalError, Tally, life},
    sqlite::DbError,
};

/// What is counted, as the table has it. The log has the place in this list instead: append only.
const COUNTED: [&str; 18] = [
    "in",
    "out",
    "answered",
    "answer_ms",
    "out:queued",
    "out:sending",
    "out:unknown_yet",
    "out:accepted",
    "out:sent",
    "out:unknown",
    "out:parked",
    "out:dead",
    "out:waiting",
    "out:delivered",
    "out:read",
    "out:played",
    "out:failed",
    "out:pending",
];
/// Rows that one statement writes.
const ROWS_AT_ONCE: usize = 8;
/// How a status is told from the rest.
const STATUS: &str = "out:";

/// What is added to the hours of one vendor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(i64, u8, i64)>", into = "Vec<(i64, u8, i64)>")]
pub(super) struct Hours(BTreeMap<(i64, u8), i64>);

impl From<Vec<(i64, u8, i64)>> for Hours {
    fn from(rows: Vec<(i64, u8, i64)>) -> Self {
        Self(rows.into_iter().map(|(hour, what, n)| ((hour, what), n)).collect())
    }
}

impl From<Hours> for Vec<(i64, u8, i64)> {
    fn from(hours: Hours) -> Self {
        hours
            .0
            .into_iter()
            .filter(|it| it.1 != 0)
            .map(|((hour, what), n)| (hour, what, n))
            .collect()
    }
}

impl Hours {
    pub(super) fn is_empty(&self) -> bool {
        self.0.values().all(|it| *it == 0)
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (key, n) in &other.0 {
            *self.0.entry(*key).or_default() += n;
        }
    }

    pub(super) fn negated(&self) -> Self {
        Self(self.0.iter().map(|(key, n)| (*key, -n)).collect())
    }

    /// Customers' messages, by hours since the Unix epoch.
    pub(super) fn inbound_by_hour(&self) -> impl Iterator<Item = (i64, i64)> {
        let is_inbound = |what: u8| COUNTED.get(usize::from(what)) == Some(&"in");
        self.0.iter().filter(move |it| is_inbound(it.0.1)).map(|it| (it.0.0, *it.1))
    }

    /// A customer's message was made.
    pub(super) fn inbound(&mut self, id: EntryId) {
        self.add(id, "in", 1);
    }

    /// A message from the vendor's number was made (1), or turns out to be none (−1).
    pub(super) fn outbound(&mut self, id: EntryId, word: &str, n: i64) {
        self.add(id, "out", n);
        self.status(id, word, n);
    }

    /// The status of a message from the vendor's number has changed.
    pub(super) fn moved(&mut self, id: EntryId, before: &str, after: &str) {
        if before != after {
            self.status(id, before, -1);
            self.status(id, after, 1);
        }
    }

    /// An answer was accepted this long after its question.
    pub(super) fn answered(&mut self, id: EntryId, ms: i64) {
        self.add(id, "answered", 1);
        self.add(id, "answer_ms", ms);
    }

    fn status(&mut self, id: EntryId, word: &str, n: i64) {
        let mut all = COUNTED.iter();
        if let Some(what) = all.find(|it| it.strip_prefix(STATUS) == Some(word)) {
            self.add(id, what, n);
        }
    }

    fn add(&mut self, id: EntryId, what: &str, n: i64) {
        let at = COUNTED.iter().position(|it| *it == what);
        if let Some(code) = at.and_then(|it| u8::try_from(it).ok()) {
            *self.0.entry((hour_of(id), code)).or_default() += n;
        }
    }

    /// Adds them to the table.
    pub(super) fn fold(&self, connection: &Connection, vendor: &VendorId) -> Result<(), DbError> {
        let vendor = vendor.as_str();
        let counted = self.0.iter().filter(|it| *it.1 != 0);
        let rows: Vec<(i64, &str, i64)> = counted
            .filter_map(|((hour, code), n)| Some((*hour, *COUNTED.get(usize::from(*code))?, *n)))
            .collect();
        // Most vendors have a few: one statement for each number of rows.
        for some in rows.chunks(ROWS_AT_ONCE) {
            let values = vec!["(?, ?, ?, ?)"; some.len()].join(", ");
            let sql = format!(
                "INSERT INTO hours (vendor, hour, what, n) VALUES {values}
                ON CONFLICT DO UPDATE SET n = n + excluded.n"
            );
            let values: Vec<&dyn ToSql> =
                some.iter().flat_map(|it| [&vendor as &dyn ToSql, &it.0, &it.1, &it.2]).collect();
            connection.prepare_cached(&sql)?.execute(values.as_slice())?;
        }
        Ok(())
    }
}

#[async_trait]
impl Counters for SqliteJournal {
    async fn hours(&self, vendor: &VendorId, hours: Range<i64>) -> Result<Tally, JournalError> {
        let vendor = vendor.clone();
        self.read(move |connection, _| read(connection, &vendor, &hours)).await
    }

    async fn count_hours(
        &self,
        vendor: &VendorId,
        hours: Range<i64>,
    ) -> Result<Tally, JournalError> {
        let vendor = vendor.clone();
        self.read(move |connection, _| count(connection, &vendor, &hours)).await
    }

    fn is_status(&self, word: &str) -> bool {
        is_status(word)
    }
}

fn hour_of(id: EntryId) -> i64 {
    id.ms().div_euclid(HOUR)
}

/// The words of statuses that are counted.
fn is_status(word: &str) -> bool {
    COUNTED.iter().any(|it| it.strip_prefix(STATUS) == Some(word))
}

/// The status of a message typed on the vendor's phone.
pub(super) fn echo_word(is_open: bool, status: Option<i64>) -> &'static str {
    let heard = status.and_then(Status::of_code).map(Status::as_str);
    if is_open { "waiting" } else { heard.unwrap_or("sent") }
}

/// A vendor's messages of these hours since the Unix epoch, by the counters.
fn read(connection: &Connection, vendor: &VendorId, hours: &Range<i64>) -> Result<Tally, DbError> {
    // Table and log as of one moment.
    let moment = connection.unchecked_transaction()?;
    let mut tally = Tally::default();
    let sql = "SELECT what, sum(n) FROM hours
        WHERE vendor = ?1 AND hour >= ?2 AND hour < ?3 GROUP BY what";
    let mut statement = moment.prepare_cached(sql)?;
    let mut rows = statement.query(params![vendor.as_str(), hours.start, hours.end])?;
    while let Some(row) = rows.next()? {
        tally.add(&row.get::<_, String>(0)?, row.get(1)?);
    }
    for delta in logged(&moment, vendor)? {
        for ((hour, what), n) in &delta.hours.0 {
            if let Some(what) = COUNTED.get(usize::from(*what)).filter(|_| hours.contains(hour)) {
                tally.add(what, *n);
            }
        }
    }
    tally.by_status.retain(|_, n| *n != 0);
    Ok(tally)
}

/// What is logged of one vendor; the others' parts are passed over unread.
fn logged(connection: &Connection, vendor: &VendorId) -> Result<Vec<Delta>, DbError> {
    let unreadable = |_| DbError::Unreadable("ledger log");
    let mut statement = connection.prepare_cached("SELECT deltas FROM ledger_log")?;
    let mut rows = statement.query(())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let text = row.get_ref(0)?.as_str().map_err(|_| DbError::Unreadable("ledger log"))?;
        let all: HashMap<Cow<'_, str>, &RawValue> =
            serde_json::from_str(text).map_err(unreadable)?;
        if let Some(delta) = all.get(vendor.as_str()) {
            found.push(serde_json::from_str(delta.get()).map_err(unreadable)?);
        }
    }
    Ok(found)
}

/// The same, counted afresh from the entries.
fn count(connection: &Connection, vendor: &VendorId, hours: &Range<i64>) -> Result<Tally, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM entries WHERE vendor = ?1 AND id >= ?2 AND id < ?3
            AND kind IN ({MESSAGE}, {INTENT}, {ECHO})"
    );
    let mut statement = connection.prepare(&sql)?;
    let (first, after) = (EntryId::at(hours.start * HOUR), EntryId::at(hours.end * HOUR));
    let rows = statement.query_map(params![vendor.as_str(), first.0, after.0], EntryRow::read)?;
    let mut counted = Hours::default();
    for row in rows {
        let row = row?;
        match (row.kind, &row.life.delivery) {
            (MESSAGE, _) => counted.inbound(row.id),
            (ECHO, _) => counted.outbound(row.id, echo_word(row.is_open, row.status), 1),
            (_, delivery) => counted.outbound(row.id, life::status_word(delivery.as_ref()), 1),
        }
        if let Some(ms) = row.life.answered_after {
            counted.answered(row.id, ms);
        }
    }
    let mut tally = Tally::default();
    for ((_, what), n) in counted.0 {
        tally.add(COUNTED[usize::from(what)], n);
    }
    Ok(tally)
}

impl Tally {
    fn add(&mut self, what: &str, n: i64) {
        match what.strip_prefix(STATUS) {
            Some(status) => *self.by_status.entry(status.to_owned()).or_default() += n,
            None if what == "in" => self.inbound += n,
            None if what == "out" => self.outbound += n,
            None if what == "answered" => self.answered += n,
            None => self.answer_ms += n,
        }
    }
}

#[cfg(test)]
mod tests;
