//! A long past: as many finished entries as are asked for, written straight into the database.
//!
//! One round trip is lived in a small database; its rows are then written again and again with ids,
//! vendors, customers, times and hashes of their own. Bodies are copies, so they cannot be opened;
//! nothing that is measured opens them.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use rusqlite::{Connection, params, params_from_iter, types::Value};
use waba_gateway::domain::{
    clock::{Clock, Millis},
    id::EntryId,
};

use crate::{
    harness::{
        gateway::{Data, Replies},
        hook::{Hooks, Shape, scattered, vendor},
        open::{Load, open_loop},
        provider::{Behaviour, Event, Provider, Reports},
    },
    matching::Arrivals,
};

const CUSTOMERS_PER_VENDOR: usize = 10;
const DAYS: i64 = 30;
/// Dedupe keys are kept so long.
const KEY_DAYS: i64 = 8;
const DAY: Millis = 24 * HOUR;
const HOUR: Millis = 3_600_000;

/// What was written.
pub struct Past {
    pub n_events: usize,
    pub n_entries: usize,
}

/// The rows of one round trip, and of its customer.
struct Sample {
    columns: Vec<String>,
    entries: Vec<Vec<Value>>,
    contact: Vec<Value>,
    /// How a table of dedupe keys is made, without its day.
    keys: (String, String),
}

/// Writes the past of so many vendors into the database of a gateway that never ran.
pub async fn write(data: &Data<'_>, n_vendors: usize, n_entries: usize) -> anyhow::Result<Past> {
    let small = tempfile::tempdir_in(data.file().parent().context("its directory")?)?;
    let sample = Sample::live(small.path()).await?;
    let db = Connection::open(data.file())?;
    db.pragma_update(None, "journal_mode", "DELETE")?;
    db.pragma_update(None, "journal_mode", "OFF")?;
    db.pragma_update(None, "synchronous", "OFF")?;
    db.pragma_update(None, "cache_size", -512 * 1_024)?;
    db.pragma_update(None, "temp_store", "FILE")?;
    db.execute_batch("BEGIN")?;
    let past = Writer { db: &db, sample, n_vendors, now: Clock::System.now() }.write(n_entries)?;
    db.execute_batch("COMMIT")?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    Ok(past)
}

/// The latest entries: of each customer the turn and the signal, of each vendor the turn. 0 is none.
struct Ends {
    contacts: Vec<[i64; 2]>,
    vendors: Vec<i64>,
}

struct Writer<'a> {
    db: &'a Connection,
    sample: Sample,
    n_vendors: usize,
    now: Millis,
}

impl Writer<'_> {
    fn write(mut self, n_entries: usize) -> anyhow::Result<Past> {
        self.contacts()?;
        let indexes = self.drop_indexes()?;
        let n_per_trip = self.sample.entries.len();
        let n_trips = n_entries / n_per_trip;
        let first = self.now - DAYS * DAY;
        let mut keys: BTreeMap<i64, Vec<([u8; 24], i64)>> = BTreeMap::new();
        let mut hours = Vec::with_capacity(n_trips);
        let mut ends = Ends {
            contacts: vec![[0; 2]; self.n_vendors * CUSTOMERS_PER_VENDOR],
            vendors: vec![0; self.n_vendors],
        };
        let places = vec!["?"; self.sample.columns.len()].join(",");
        let mut insert = self.db.prepare(&format!("INSERT INTO entries VALUES ({places})"))?;
        for trip in 0..n_trips {
            let since = i64::try_from(trip)? * (self.now - first) / i64::try_from(n_trips)?;
            let (at, of) = (first + since, trip % self.n_vendors);
            // Several of one moment have ids that follow each other.
            let id = EntryId::at(at).0 + i64::try_from(trip % 10_000 * n_per_trip)?;
            let round = trip / self.n_vendors % CUSTOMERS_PER_VENDOR;
            let made = self.sample.set(id, (of, round), at, trip, &mut ends)?;
            for (n, row) in self.sample.entries.iter().enumerate() {
                insert.execute(params_from_iter(row))?;
                if let Some(key) = made[n].filter(|_| self.now - at < KEY_DAYS * DAY) {
                    keys.entry(at.div_euclid(DAY)).or_default().push((key, id + i64::try_from(n)?));
                }
            }
            hours.push((u32::try_from(of)?, at / HOUR));
        }
        drop(insert);
        indexes.iter().try_for_each(|it| self.db.execute_batch(it))?;
        self.ends(&ends)?;
        self.names()?;
        self.keys(keys)?;
        self.ledger(n_trips, n_per_trip)?;
        self.hours(hours)?;
        Ok(Past { n_events: n_trips * (n_per_trip - 1), n_entries: n_trips * n_per_trip })
    }

    /// The customers and the hashes of their names, in order.
    fn contacts(&self) -> anyhow::Result<()> {
        let places = vec!["?"; self.sample.contact.len()].join(",");
        let mut insert = self.db.prepare(&format!("INSERT INTO contacts VALUES ({places})"))?;
        let (mut row, mut names) = (self.sample.contact.clone(), Vec::new());
        for n in 0..self.n_vendors * CUSTOMERS_PER_VENDOR {
            let id = i64::try_from(n + 1)?;
            row[0] = id.into();
            row[1] = format!("waba_{}", vendor(n / CUSTOMERS_PER_VENDOR)).into();
            insert.execute(params_from_iter(&row))?;
            names.extend([(token(usize::MAX - 2 * n), id), (token(usize::MAX - 2 * n - 1), id)]);
        }
        names.sort_unstable();
        let mut insert = self.db.prepare("INSERT INTO aliases (key, contact) VALUES (?1, ?2)")?;
        for (key, contact) in names {
            insert.execute(params![key, contact])?;
        }
        Ok(())
    }

    /// It is quicker to make them when the rows are there. How they are made again.
    fn drop_indexes(&self) -> anyhow::Result<Vec<String>> {
        let sql = "SELECT name, sql FROM sqlite_schema
            WHERE type = 'index' AND tbl_name = 'entries' AND sql IS NOT NULL";
        let mut statement = self.db.prepare(sql)?;
        let all: Vec<(String, String)> = statement
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        drop(statement);
        for (name, _) in &all {
            self.db.execute_batch(&format!("DROP INDEX {name}"))?;
        }
        Ok(all.into_iter().map(|it| it.1).collect())
    }

    /// Where conversations end, and that nothing of it is to be read from the entries any more.
    fn ends(&self, ends: &Ends) -> anyhow::Result<()> {
        let sql = "UPDATE contacts SET last_turn = nullif(?2, 0), last_signal = nullif(?3, 0)
            WHERE id = ?1";
        let mut update = self.db.prepare(sql)?;
        for (n, [turn, signal]) in ends.contacts.iter().enumerate() {
            update.execute([i64::try_from(n + 1)?, *turn, *signal])?;
        }
        let sql = "INSERT INTO vendor_ends (vendor, last) VALUES (?1, ?2)";
        let mut insert = self.db.prepare(sql)?;
        for (n, last) in ends.vendors.iter().enumerate().filter(|it| *it.1 != 0) {
            insert.execute(params![vendor(n), last])?;
        }
        let sql = "INSERT INTO meta (key, value) SELECT 'late', max(id) FROM entries";
        self.db.execute(sql, ())?;
        Ok(())
    }

    /// What the provider calls them, in order.
    fn names(&self) -> anyhow::Result<()> {
        let sql = "INSERT INTO names (key, entry)
            SELECT pid, id FROM entries WHERE pid IS NOT NULL
            UNION ALL
            SELECT tid, id FROM entries WHERE tid IS NOT NULL
            ORDER BY 1";
        self.db.execute(sql, ())?;
        Ok(())
    }

    fn keys(&self, days: BTreeMap<i64, Vec<([u8; 24], i64)>>) -> anyhow::Result<()> {
        for (day, mut keys) in days {
            let (before, after) = &self.sample.keys;
            self.db.execute_batch(&format!("{before}keys_{day}{after}"))?;
            keys.sort_unstable();
            let sql = format!("INSERT INTO keys_{day} (key, entry) VALUES (?1, ?2)");
            let mut insert = self.db.prepare(&sql)?;
            for (key, entry) in keys {
                insert.execute(params![key, entry])?;
            }
        }
        Ok(())
    }

    fn ledger(&self, n_trips: usize, n_per_trip: usize) -> anyhow::Result<()> {
        let sql = "INSERT INTO ledger (vendor, accepted, events_done, created, intents_sent)
            VALUES (?1, ?2, ?2, ?3, ?3)";
        let mut insert = self.db.prepare(sql)?;
        for n in 0..self.n_vendors {
            let trips = n_trips / self.n_vendors + usize::from(n < n_trips % self.n_vendors);
            let n_events = i64::try_from(trips * (n_per_trip - 1))?;
            insert.execute(params![vendor(n), n_events, i64::try_from(trips)?])?;
        }
        Ok(())
    }

    fn hours(&self, mut hours: Vec<(u32, i64)>) -> anyhow::Result<()> {
        hours.sort_unstable();
        let sql = "INSERT INTO hours (vendor, hour, what, n) VALUES (?1, ?2, ?3, ?4)";
        let mut insert = self.db.prepare(sql)?;
        for same in hours.chunk_by(|it, next| it == next) {
            let (of, hour) = (vendor(usize::try_from(same[0].0)?), same[0].1);
            for what in ["in", "out:read"] {
                insert.execute(params![of, hour, what, i64::try_from(same.len())?])?;
            }
        }
        Ok(())
    }
}

impl Sample {
    /// Lives one round trip, and takes its rows.
    async fn live(place: &Path) -> anyhow::Result<Self> {
        let reported = Arrivals::default();
        let told = reported.clone();
        let on_event = move |event, target| {
            if event == Event::Reported {
                told.add(target);
            }
        };
        let provider = Provider::start(Behaviour {
            reports: Some(Reports::Real),
            hangs_for: None,
            on_event: Box::new(on_event),
        })?;
        let data = Data::make(place, 1, |_| Replies::Rules).await?;
        let gateway = data.start(&provider.api_url())?;
        provider.report_to(gateway.address);
        let hooks = Arc::new(Hooks::new(Shape { n_vendors: 1, ..Shape::default() })?);
        let load = Load {
            address: gateway.address,
            hooks: Arc::clone(&hooks),
            n_hooks: 1,
            rate: 1,
            n_connections: 1,
        };
        let sent = open_loop(load).await?;
        reported.settled(&hooks, &sent).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        gateway.process.terminate()?;
        Self::of(&Connection::open(data.file())?)
    }

    fn of(db: &Connection) -> anyhow::Result<Self> {
        let (columns, entries) = rows(db, "SELECT * FROM entries ORDER BY id")?;
        let (_, contacts) = rows(db, "SELECT * FROM contacts")?;
        let sql = "SELECT name, sql FROM sqlite_schema WHERE name GLOB 'keys_[0-9]*'";
        let (name, made): (String, String) =
            db.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (before, after) = made.split_once(&name).context("the keys' table")?;
        ensure!(entries.len() == 5, "a round trip of {} entries", entries.len());
        Ok(Self {
            columns,
            entries,
            contact: contacts.into_iter().next().context("a customer")?,
            keys: (before.to_owned(), after.to_owned()),
        })
    }

    /// Makes the rows those of another round trip. Their dedupe keys.
    fn set(
        &mut self,
        first: i64,
        (of, round): (usize, usize),
        at: Millis,
        trip: usize,
        ends: &mut Ends,
    ) -> anyhow::Result<Vec<Option<[u8; 24]>>> {
        let column = |name: &str| self.columns.iter().position(|it| it == name);
        let column = |name: &str| column(name).with_context(|| format!("no column {name}"));
        let (id, origin, kind) = (column("id")?, column("origin")?, column("kind")?);
        let (of_vendor, instance, to) =
            (column("vendor")?, column("instance")?, column("contact")?);
        let (pid, tid, begun_at) = (column("pid")?, column("tid")?, column("begun_at")?);
        let (prev, prev_of_vendor) = (column("prev")?, column("prev_of_vendor")?);
        let dedupe = column("dedupe")?;
        let n_contact = of * CUSTOMERS_PER_VENDOR + round;
        let contact = i64::try_from(n_contact + 1)?;
        let ids: Vec<Value> = self.entries.iter().map(|it| it[id].clone()).collect();
        let mut keys = Vec::new();
        for (n, row) in self.entries.iter_mut().enumerate() {
            let own = first + i64::try_from(n)?;
            row[id] = own.into();
            row[of_vendor] = vendor(of).into();
            row[instance] = format!("waba_{}", vendor(of)).into();
            if let Some(speaks_of) = ids.iter().position(|it| *it == row[origin]) {
                row[origin] = (first + i64::try_from(speaks_of)?).into();
            }
            for (column, salt) in [(pid, 5), (tid, 10)] {
                if row[column] != Value::Null {
                    row[column] = token(trip * 16 + n + salt).to_vec().into();
                }
            }
            if row[begun_at] != Value::Null {
                row[begun_at] = at.into();
            }
            let Value::Integer(of_row) = row[kind] else { anyhow::bail!("an entry of no kind") };
            let is_signal = of_row == 1;
            // What names no customer, or speaks of nothing, goes on doing so.
            if row[to] != Value::Null {
                row[to] = contact.into();
                let end = &mut ends.contacts[n_contact][usize::from(is_signal)];
                row[prev] = link(end, own);
            }
            if !is_signal {
                row[prev_of_vendor] = std::mem::replace(&mut ends.vendors[of], own).into();
            }
            keys.push((row[dedupe] != Value::Null).then(|| key(contact, trip * 16 + n)));
            if let Some(Some(key)) = keys.last() {
                row[dedupe] = key.to_vec().into();
            }
        }
        Ok(keys)
    }
}

/// The end before, and a new one.
fn link(end: &mut i64, new: i64) -> Value {
    match std::mem::replace(end, new) {
        0 => Value::Null,
        before => before.into(),
    }
}

fn key(contact: i64, n: usize) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&contact.to_be_bytes());
    key[8..].copy_from_slice(&token(n));
    key
}

fn rows(db: &Connection, sql: &str) -> anyhow::Result<(Vec<String>, Vec<Vec<Value>>)> {
    let mut statement = db.prepare(sql)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let n = columns.len();
    let read = |row: &rusqlite::Row<'_>| (0..n).map(|at| row.get(at)).collect();
    let rows: Result<Vec<Vec<Value>>, _> = statement.query_map((), read)?.collect();
    Ok((columns, rows?))
}

/// A hash of its own for each number.
fn token(n: usize) -> [u8; 16] {
    let mut token = [0; 16];
    token[..8].copy_from_slice(&scattered(n));
    token[8..].copy_from_slice(&scattered(n ^ 0x5555));
    token
}
