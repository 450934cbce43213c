//! What is kept for watching: what was heard of vendors' callers, and the open alerts.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params};

use super::{SqliteStore, StoreError, rows::vendor_id};
use crate::{
    domain::{
        alert::{AlertKind, Vitals},
        clock::Millis,
        id::VendorId,
    },
    sqlite::DbError,
};

/// An open alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What it is about.
    pub kind: AlertKind,
    /// Whom it concerns; `None` is the gateway itself.
    pub vendor: Option<VendorId>,
    /// When it was raised.
    pub since: Millis,
}

/// What watching needs of a store.
#[async_trait]
pub trait Watch: Send + Sync {
    /// What was heard of a vendor's callers.
    async fn vitals(&self, vendor: &VendorId) -> Result<Option<Vitals>, StoreError>;

    /// The vendors that are refused and of which nothing was proven since.
    async fn refused(&self) -> Result<Vec<(VendorId, Vitals)>, StoreError>;

    /// Of all vendors together: the latest times and the sum.
    async fn vitals_of_all(&self) -> Result<Vitals, StoreError>;

    /// Adds what was heard: times replace, `n_refused` is added.
    async fn add_vitals(&self, heard: &[(VendorId, Vitals)]) -> Result<(), StoreError>;

    /// The vendors among these with a number whose session is not connected.
    async fn disconnected(&self, vendors: &[VendorId]) -> Result<Vec<VendorId>, StoreError>;

    /// The open alerts, by kind and vendor.
    async fn alerts(&self) -> Result<Vec<Alert>, StoreError>;

    /// Keeps alerts that were raised and forgets those that ended.
    async fn change_alerts(&self, raised: &[Alert], ended: &[Alert]) -> Result<(), StoreError>;
}

#[async_trait]
impl Watch for SqliteStore {
    async fn vitals(&self, vendor: &VendorId) -> Result<Option<Vitals>, StoreError> {
        let vendor = vendor.clone();
        self.read(move |connection, _| {
            let sql = "SELECT vendor, verified_at, refused_at, refused_since, n_refused FROM vitals
                WHERE vendor = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_row([vendor.as_str()], vitals).optional()?.map(|it| it.1))
        })
        .await
    }

    async fn refused(&self) -> Result<Vec<(VendorId, Vitals)>, StoreError> {
        self.read(|connection, _| {
            let sql = "SELECT vendor, verified_at, refused_at, refused_since, n_refused FROM vitals
                WHERE refused_since IS NOT NULL";
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map((), vitals)?;
            rows.map(|it| it.map(|(id, it)| Ok((vendor_id(&id)?, it)))?).collect()
        })
        .await
    }

    async fn vitals_of_all(&self) -> Result<Vitals, StoreError> {
        self.read(|connection, _| {
            let sql = "SELECT '', max(verified_at), max(refused_at), max(refused_since),
                coalesce(sum(n_refused), 0) FROM vitals";
            Ok(connection.query_row(sql, (), vitals)?.1)
        })
        .await
    }

    async fn add_vitals(&self, heard: &[(VendorId, Vitals)]) -> Result<(), StoreError> {
        let heard = heard.to_vec();
        self.write(move |connection, _| {
            let sql =
                "INSERT INTO vitals (vendor, verified_at, refused_at, refused_since, n_refused)
                VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (vendor) DO UPDATE SET
                verified_at = coalesce(?2, verified_at), refused_at = coalesce(?3, refused_at),
                refused_since = ?4, n_refused = n_refused + ?5";
            let mut statement = connection.prepare_cached(sql)?;
            for (vendor, it) in &heard {
                let Vitals { verified_at, refused_at, refused_since, n_refused } = it;
                let id = vendor.as_str();
                statement.execute(params![
                    id,
                    verified_at,
                    refused_at,
                    refused_since,
                    n_refused
                ])?;
            }
            Ok(())
        })
        .await
    }

    async fn disconnected(&self, vendors: &[VendorId]) -> Result<Vec<VendorId>, StoreError> {
        let vendors = vendors.to_vec();
        self.read(move |connection, _| {
            let sql = "SELECT 1 FROM instances
                WHERE vendor = ?1 AND status IN ('disconnected', 'error')";
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = Vec::new();
            for vendor in vendors {
                if statement.exists([vendor.as_str()])? {
                    found.push(vendor);
                }
            }
            Ok(found)
        })
        .await
    }

    async fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        self.read(|connection, _| {
            let sql = "SELECT kind, vendor, since FROM alerts ORDER BY kind, vendor";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(())?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (kind, vendor): (String, String) = (row.get(0)?, row.get(1)?);
                // A kind that this version does not know is not its to show or end.
                let Some(kind) = AlertKind::parse(&kind) else { continue };
                let vendor = Some(vendor).filter(|it| !it.is_empty());
                let vendor = vendor.map(|it| vendor_id(&it)).transpose()?;
                found.push(Alert { kind, vendor, since: row.get(2)? });
            }
            Ok(found)
        })
        .await
    }

    async fn change_alerts(&self, raised: &[Alert], ended: &[Alert]) -> Result<(), StoreError> {
        let (raised, ended) = (raised.to_vec(), ended.to_vec());
        self.write(move |connection, _| {
            let vendor = |it: &Alert| it.vendor.as_ref().map_or(String::new(), ToString::to_string);
            let sql = "INSERT OR REPLACE INTO alerts (kind, vendor, since) VALUES (?1, ?2, ?3)";
            let mut statement = connection.prepare_cached(sql)?;
            for it in &raised {
                statement.execute(params![it.kind.as_str(), vendor(it), it.since])?;
            }
            let sql = "DELETE FROM alerts WHERE kind = ?1 AND vendor = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            for it in &ended {
                statement.execute(params![it.kind.as_str(), vendor(it)])?;
            }
            Ok::<(), DbError>(())
        })
        .await
    }
}

fn vitals(row: &Row<'_>) -> rusqlite::Result<(String, Vitals)> {
    let vitals = Vitals {
        verified_at: row.get(1)?,
        refused_at: row.get(2)?,
        refused_since: row.get(3)?,
        n_refused: row.get(4)?,
    };
    Ok((row.get(0)?, vitals))
}
