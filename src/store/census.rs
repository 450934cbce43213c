//! Vendors and instances counted, from indexes: no document is opened but those of the failures
//! that are shown.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::rows;
use crate::{
    domain::{
        clock::Millis,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
    },
    sqlite::DbError,
    vault::Vault,
};

/// Failures that are shown.
pub(super) const FAILURES_MAX: i64 = 20;

/// Vendors and instances, counted.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Vendors.
    pub n_vendors: i64,
    /// Instances.
    pub n_instances: i64,
    /// Instances by the word of their provider.
    pub by_provider: BTreeMap<String, i64>,
    /// Instances by the word of their status.
    pub by_status: BTreeMap<String, i64>,
    /// The latest failures, newest first.
    pub failures: Vec<Failure>,
}

/// Why a send from an instance last failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Whose.
    pub vendor: VendorId,
    /// The instance's number.
    pub phone_number: PhoneNumber,
    /// A word of ours.
    pub error: String,
    /// When.
    pub at: Millis,
}

/// Covered by `vendors_by_pause`.
const COUNT_VENDORS: &str = "SELECT count(*) FROM vendors INDEXED BY vendors_by_pause";
/// Covered by `instances_by_status`.
const COUNT_INSTANCES: &str = "SELECT status, provider, count(*)
    FROM instances INDEXED BY instances_by_status GROUP BY status, provider";
const LATEST_FAILURES: &str =
    "SELECT id, vendor, doc, status, last_sync, last_error, last_failed_at
    FROM instances INDEXED BY instances_by_failure
    WHERE last_failed_at IS NOT NULL ORDER BY last_failed_at DESC LIMIT ?1";

pub(super) fn take(connection: &Connection, vault: &Vault) -> Result<Census, DbError> {
    let n_vendors = connection.prepare_cached(COUNT_VENDORS)?.query_row((), |row| row.get(0))?;
    let mut census = Census { n_vendors, ..Census::default() };
    let mut statement = connection.prepare_cached(COUNT_INSTANCES)?;
    let mut found = statement.query(())?;
    while let Some(row) = found.next()? {
        let n: i64 = row.get(2)?;
        census.n_instances += n;
        *census.by_status.entry(row.get(0)?).or_default() += n;
        *census.by_provider.entry(row.get(1)?).or_default() += n;
    }
    let mut statement = connection.prepare_cached(LATEST_FAILURES)?;
    let mut found = statement.query([FAILURES_MAX])?;
    while let Some(row) = found.next()? {
        let instance = rows::instance(vault, rows::raw_instance(row)?)?;
        census.failures.push(Failure {
            vendor: instance.vendor_id,
            phone_number: instance.phone_number,
            error: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
            at: row.get(6)?,
        });
    }
    Ok(census)
}

pub(super) fn failed(
    connection: &Connection,
    instance: &InstanceId,
    error: &str,
    at: Millis,
) -> Result<(), DbError> {
    let sql = "UPDATE instances SET last_error = ?2, last_failed_at = ?3 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![instance.as_str(), error, at])?;
    Ok(())
}

/// Removes an instance. `false`: the vendor has none of this id.
pub(super) fn remove(
    connection: &Connection,
    vendor: &VendorId,
    id: &InstanceId,
) -> Result<bool, DbError> {
    let sql = "DELETE FROM instances WHERE id = ?1 AND vendor = ?2";
    if connection.execute(sql, params![id.as_str(), vendor.as_str()])? == 0 {
        return Ok(false);
    }
    for sql in [
        "DELETE FROM instance_keys WHERE instance = ?1",
        "INSERT OR IGNORE INTO former_instances (id) VALUES (?1)",
    ] {
        connection.execute(sql, [id.as_str()])?;
    }
    Ok(true)
}

pub(super) fn had(connection: &Connection, id: &InstanceId) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM instances WHERE id = ?1
        UNION ALL SELECT 1 FROM former_instances WHERE id = ?1";
    Ok(connection.prepare_cached(sql)?.exists([id.as_str()])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for script in crate::sqlite::SCRIPTS {
            connection.execute_batch(script).unwrap();
        }
        connection
    }

    /// The plan of a statement, as SQLite tells it.
    fn plan(sql: &str) -> String {
        let connection = database();
        let sql = format!("EXPLAIN QUERY PLAN {}", sql.replace("?1", "20"));
        let mut statement = connection.prepare(&sql).unwrap();
        let steps = statement.query_map((), |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn counting_reads_indexes_and_no_documents() {
        assert_eq!(plan(COUNT_VENDORS), "SCAN vendors USING COVERING INDEX vendors_by_pause");
        assert_eq!(
            plan(COUNT_INSTANCES),
            "SCAN instances USING COVERING INDEX instances_by_status"
        );
        let failures = plan(LATEST_FAILURES);
        assert!(failures.contains("instances_by_failure") && !failures.contains("TEMP B-TREE"));
    }

    #[test]
    fn a_hundred_thousand_vendors_are_counted() {
        let connection = database();
        let n = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 100000)";
        for sql in [
            "INSERT INTO vendors (id, doc) SELECT 'v' || n, zeroblob(800) FROM n",
            "INSERT INTO instances (id, vendor, doc, status) SELECT 'waba_v' || n, 'v' || n,
                zeroblob(800), CASE n % 4 WHEN 0 THEN 'pending' ELSE 'connected' END FROM n",
        ] {
            connection.execute(&format!("{n} {sql}"), ()).unwrap();
        }
        let vault = Vault::new(&Vault::new_key().unwrap(), &[]).unwrap();
        let started = std::time::Instant::now();
        let census = take(&connection, &vault).unwrap();
        println!("a hundred thousand vendors: {:?}", started.elapsed());
        assert_eq!((census.n_vendors, census.n_instances), (100_000, 100_000));
        assert_eq!(census.by_status["pending"], 25_000);
    }
}
