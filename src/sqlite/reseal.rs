//! What is sealed in the database sealed again with the key that is used now, some rows at a time,
//! beside whoever works on it. Each box says which key it needs, so nothing has to be remembered of
//! how far it has come.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, params,
    types::{Value, ValueRef},
};

use super::{Db, DbError};
use crate::vault::Vault;

/// Rows looked at together.
const ROWS: usize = 1_000;
/// Bytes to be written, after which no more are looked at for now.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Rows written in one transaction: others wait for its end.
const ROWS_WRITTEN: usize = 200;

/// A column with something sealed in it.
pub struct Sealed {
    /// Its table.
    pub table: &'static str,
    /// The table's primary key, by which it is gone through.
    pub key: &'static str,
    /// What its place is made of, in SQL.
    pub of: &'static str,
    /// The column.
    pub column: &'static str,
    /// The place it is sealed for.
    pub place: fn(&str) -> String,
}

/// How far it has come with one table, in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Looked at.
    pub n_seen: u64,
    /// Sealed again, or to be.
    pub n_done: u64,
    /// That no key opens.
    pub n_shut: u64,
}

/// What one look found.
struct Page {
    n_rows: usize,
    last: Option<Value>,
    is_last: bool,
    n_shut: u64,
    /// Key, as it is, as it is to be.
    again: Vec<(Value, Vec<u8>, Vec<u8>)>,
}

impl Db {
    /// How many rows have something sealed.
    pub async fn count_sealed(&self, what: &'static Sealed) -> Result<u64, DbError> {
        let sql = format!("SELECT count(*) FROM {}", what.table);
        let n = self.read_apart(move |it| Ok(it.query_row(&sql, (), |row| row.get::<_, i64>(0))?));
        Ok(u64::try_from(n.await?).unwrap_or_default())
    }

    /// Goes through a column; with `apply` it writes. `told` hears of each step. The writer is left
    /// to others for half of the time.
    ///
    /// # Errors
    ///
    /// The database's. What was sealed again until then stays so.
    pub async fn reseal(
        &self,
        what: &'static Sealed,
        vault: &Arc<Vault>,
        apply: bool,
        mut told: impl FnMut(Resealed),
    ) -> Result<Resealed, DbError> {
        let (mut so_far, mut after) = (Resealed::default(), Value::Null);
        loop {
            let vault = Arc::clone(vault);
            let page = self.read_apart(move |it| look(it, what, &vault, &after)).await?;
            so_far.n_seen += page.n_rows as u64;
            so_far.n_shut += page.n_shut;
            if !apply {
                so_far.n_done += page.again.len() as u64;
            }
            for some in page.again.chunks(ROWS_WRITTEN).filter(|_| apply) {
                let (some, started) = (some.to_vec(), Instant::now());
                so_far.n_done += self.write_behind(move |it| keep(it, what, &some)).await?;
                tokio::time::sleep(started.elapsed().min(Duration::from_secs(1))).await;
            }
            told(so_far);
            match page.last {
                Some(last) if !page.is_last => after = last,
                _ => return Ok(so_far),
            }
        }
    }
}

fn look(
    connection: &Connection,
    what: &Sealed,
    vault: &Vault,
    after: &Value,
) -> Result<Page, DbError> {
    let Sealed { table, key, of, column, place } = what;
    let (condition, after) = match after {
        Value::Null => (String::new(), None),
        after => (format!("WHERE {key} > ?1"), Some(after)),
    };
    let sql = format!(
        "SELECT {key}, {of}, {column} FROM {table} {condition} ORDER BY {key} LIMIT {ROWS}"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(after))?;
    let mut page = Page { n_rows: 0, last: None, is_last: false, n_shut: 0, again: Vec::new() };
    let mut n_bytes = 0;
    while n_bytes < BYTES_MAX {
        let Some(row) = rows.next()? else {
            page.is_last = page.n_rows < ROWS;
            break;
        };
        page.n_rows += 1;
        let key: Value = row.get(0)?;
        // Some have nothing to seal: who was erased, or became one with another.
        if let ValueRef::Blob(sealed) = row.get_ref(2)?
            && !sealed.is_empty()
            && !vault.is_current(sealed)
        {
            match vault.reseal(&place(&row.get::<_, String>(1)?), sealed) {
                Ok(Some(again)) => {
                    n_bytes += again.len();
                    page.again.push((key.clone(), sealed.to_vec(), again));
                }
                Ok(None) => {}
                Err(_) => page.n_shut += 1,
            }
        }
        page.last = Some(key);
    }
    Ok(page)
}

/// Writes those that are still what they were; what was written since is sealed with the key of its
/// writer.
fn keep(
    connection: &Connection,
    what: &Sealed,
    some: &[(Value, Vec<u8>, Vec<u8>)],
) -> Result<u64, DbError> {
    let Sealed { table, key, column, .. } = what;
    let sql = format!("UPDATE {table} SET {column} = ?3 WHERE {key} = ?1 AND {column} = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut n_done = 0;
    for (key, before, again) in some {
        n_done += statement.execute(params![key, before, again])? as u64;
    }
    Ok(n_done)
}
