//! Rows of the jobs themselves.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Cx, open, place_of_job, seal};
use crate::{
    domain::{
        bulk::{BulkDeed, BulkId, BulkState, JOBS_MAX},
        clock::Millis,
        delivery::Account,
        id::{EntryId, InstanceId, VendorId},
        message::Content,
    },
    journal::{BulkChanged, BulkJob, BulkProgress, Idempotency, KeptJob, NewJob, life},
    sqlite::DbError,
    vault::{Token, Vault},
};

const COLUMNS: &str = "id, vendor, instance, state, note, per_minute, n_total, n_same, n_made, \
    made_since, made_at, ended_at";

fn read(row: &Row<'_>) -> rusqlite::Result<BulkJob> {
    let bad = |at| rusqlite::Error::InvalidColumnType(at, "id".into(), rusqlite::types::Type::Text);
    let (n_made, made_since): (i64, i64) = (row.get(8)?, row.get(9)?);
    Ok(BulkJob {
        id: BulkId(row.get(0)?),
        vendor: VendorId::parse(&row.get::<_, String>(1)?).map_err(|_| bad(1))?,
        instance: InstanceId::parse(&row.get::<_, String>(2)?).map_err(|_| bad(2))?,
        state: BulkState::of_code(row.get(3)?).ok_or_else(|| bad(3))?,
        note: row.get(4)?,
        per_minute: row.get(5)?,
        n_total: row.get(6)?,
        n_same: row.get(7)?,
        n_made,
        n_made_since: n_made - made_since,
        made_at: row.get(10)?,
        ended_at: row.get(11)?,
    })
}

pub(super) fn open_one(cx: &mut Cx<'_>, job: &NewJob) -> Result<Option<BulkId>, DbError> {
    if has_too_many(cx, job)? {
        return Ok(None);
    }
    let sql = "SELECT coalesce(max(id), 0) FROM bulk_jobs";
    let last = cx.connection.prepare_cached(sql)?.query_row((), |row| row.get(0).map(BulkId))?;
    let id = BulkId::next(last, job.now);
    let doc = seal(cx.vault, &place_of_job(&id.0.to_string()), &job.content)?;
    let sql = "INSERT INTO bulk_jobs (id, vendor, instance, state, per_minute, doc, made_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (vendor, instance) = (job.vendor.as_str(), job.instance.as_str());
    let state = BulkState::Taken.code();
    let values = params![id.0, vendor, instance, state, job.per_minute, doc, job.now];
    cx.connection.prepare_cached(sql)?.execute(values)?;
    Ok(Some(id))
}

/// Whether the vendor has as many as it may. A repetition is not one more.
fn has_too_many(cx: &Cx<'_>, job: &NewJob) -> Result<bool, DbError> {
    let [taken, running, paused] =
        [BulkState::Taken, BulkState::Running, BulkState::Paused].map(BulkState::code);
    let sql = "SELECT count(*) FROM bulk_jobs WHERE vendor = ?1 AND state IN (?2, ?3, ?4)";
    let values = params![job.vendor.as_str(), taken, running, paused];
    let n: i64 = cx.connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    if n < JOBS_MAX {
        return Ok(false);
    }
    let Some(key) = &job.key else { return Ok(true) };
    let key = token_of_key(cx.vault, job.vendor.as_str(), key);
    let sql = "SELECT 1 FROM bulk_jobs WHERE key = ?1";
    Ok(!cx.connection.prepare_cached(sql)?.exists([key])?)
}

fn token_of_key(vault: &Vault, vendor: &str, key: &str) -> Token {
    vault.token(&[b"bulk idempotency", vendor.as_bytes(), key.as_bytes()])
}

pub(super) fn keep(
    cx: &mut Cx<'_>,
    job: BulkId,
    idempotency: Option<&Idempotency>,
) -> Result<KeptJob, DbError> {
    let sql = "SELECT vendor FROM bulk_jobs WHERE id = ?1 AND state = ?2";
    let mut statement = cx.connection.prepare_cached(sql)?;
    let taken = [job.0, BulkState::Taken.code()];
    let vendor: Option<String> = statement.query_row(taken, |row| row.get(0)).optional()?;
    let Some(vendor) = vendor else { return Ok(KeptJob::Gone) };
    let claim = idempotency.map(|it| {
        let key = token_of_key(cx.vault, &vendor, &it.key);
        (key, cx.vault.token(&[b"bulk request", vendor.as_bytes(), &it.request]))
    });
    if let Some((key, request)) = &claim {
        let sql = "SELECT id, request FROM bulk_jobs WHERE key = ?1";
        let mut statement = cx.connection.prepare_cached(sql)?;
        let found: Option<(i64, Token)> =
            statement.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if let Some((id, before)) = found {
            let is_same = before == *request;
            return Ok(if is_same { KeptJob::Same(BulkId(id)) } else { KeptJob::Conflict });
        }
    }
    let (key, request) = claim.unzip();
    let sql = "UPDATE bulk_jobs SET state = ?2, key = ?3, request = ?4 WHERE id = ?1";
    let values = params![job.0, BulkState::Running.code(), key, request];
    cx.connection.prepare_cached(sql)?.execute(values)?;
    Ok(KeptJob::New)
}

pub(super) fn load(
    connection: &Connection,
    vendor: &VendorId,
    id: BulkId,
) -> Result<Option<BulkJob>, DbError> {
    let sql =
        format!("SELECT {COLUMNS} FROM bulk_jobs WHERE id = ?1 AND vendor = ?2 AND state > 0");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row(params![id.0, vendor.as_str()], read).optional()?)
}

pub(super) fn list(
    connection: &Connection,
    vendor: &VendorId,
    before: Option<BulkId>,
    limit: usize,
) -> Result<Vec<BulkJob>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM bulk_jobs WHERE vendor = ?1 AND id < ?2 AND state > 0
            ORDER BY id DESC LIMIT ?3"
    );
    let before = before.map_or(i64::MAX, |it| it.0);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![vendor.as_str(), before, limit], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn running(connection: &Connection) -> Result<Vec<BulkJob>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM bulk_jobs WHERE state = ?1 ORDER BY id");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([BulkState::Running.code()], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A job's message, with its variables.
pub(super) fn content(
    connection: &Connection,
    vault: &Vault,
    job: BulkId,
) -> Result<Content, DbError> {
    let mut statement = connection.prepare_cached("SELECT doc FROM bulk_jobs WHERE id = ?1")?;
    let doc: Vec<u8> = statement.query_row([job.0], |row| row.get(0))?;
    open(vault, &place_of_job(&job.0.to_string()), &doc)
}

/// In what stands for accounts of intents; what has none is below zero.
pub(super) fn progress(connection: &Connection, job: BulkId) -> Result<BulkProgress, DbError> {
    let sql = "SELECT CASE WHEN r.entry IS NOT NULL THEN coalesce(e.account, -1)
            WHEN r.note IS NULL THEN -2 ELSE -3 END, count(*)
        FROM bulk_recipients r LEFT JOIN entries e ON e.id = r.entry WHERE r.job = ?1 GROUP BY 1";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([job.0])?;
    let mut progress = BulkProgress::default();
    while let Some(row) = rows.next()? {
        let (what, n): (i64, i64) = (row.get(0)?, row.get(1)?);
        let of = |account| what == life::code(account);
        match what {
            -2 => progress.n_waiting += n,
            -3 => progress.n_erased += n,
            _ if of(Account::Waiting) => progress.n_on_their_way += n,
            _ if of(Account::Sent) => progress.n_sent += n,
            _ if of(Account::Parked) => progress.n_parked += n,
            _ if of(Account::Dead) => progress.n_failed += n,
            // What has been removed for its age had ended; how, nobody knows any more.
            _ => progress.n_unknown += n,
        }
    }
    Ok(progress)
}

pub(super) fn change(
    cx: &mut Cx<'_>,
    (vendor, id): (&VendorId, BulkId),
    deed: BulkDeed,
    note: Option<&str>,
    now: Millis,
) -> Result<BulkChanged, DbError> {
    let Some(job) = load(cx.connection, vendor, id)? else { return Ok(BulkChanged::Unknown) };
    let Some(after) = job.state.after(deed) else { return Ok(BulkChanged::Not(job.state)) };
    if after != job.state {
        let is_resumed = after == BulkState::Running;
        let made_since = if is_resumed { job.n_made } else { job.n_made - job.n_made_since };
        let ended_at = (after == BulkState::Cancelled).then_some(now);
        let sql = "UPDATE bulk_jobs SET state = ?2, note = ?3, made_since = ?4, ended_at = ?5
            WHERE id = ?1";
        let values = params![id.0, after.code(), note, made_since, ended_at];
        cx.connection.prepare_cached(sql)?.execute(values)?;
    }
    Ok(BulkChanged::Is)
}

/// Nobody waits for their turn any more, unless somebody does.
pub(super) fn done(cx: &mut Cx<'_>, job: BulkId, now: Millis) -> Result<(), DbError> {
    let sql = "UPDATE bulk_jobs SET state = ?2, ended_at = ?4 WHERE id = ?1 AND state = ?3
        AND NOT EXISTS (SELECT 1 FROM bulk_recipients
            WHERE job = ?1 AND entry IS NULL AND note IS NULL)";
    let values = [job.0, BulkState::Done.code(), BulkState::Running.code(), now];
    cx.connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Whether the last ones, so many, who had their turn before this one were parked or given up. The
/// newest that are on their way count neither way; one that is on its way before others have ended
/// may be getting through.
pub(super) fn all_fail(
    connection: &Connection,
    job: BulkId,
    before: i64,
    (of_last, n_looked_at): (i64, i64),
) -> Result<bool, DbError> {
    let sql = "WITH made (id, account) AS MATERIALIZED (
            SELECT r.id, e.account FROM bulk_recipients r CROSS JOIN entries e ON e.id = r.entry
            WHERE r.job = ?1 AND r.id < ?2 ORDER BY r.id DESC LIMIT ?7)
        SELECT count(*) FROM (SELECT account FROM made
            WHERE id <= (SELECT max(id) FROM made WHERE account <> ?4) ORDER BY id DESC LIMIT ?3)
        WHERE account IN (?5, ?6)";
    let [waiting, parked, dead] =
        [Account::Waiting, Account::Parked, Account::Dead].map(life::code);
    let mut statement = connection.prepare_cached(sql)?;
    let values = [job.0, before, of_last, waiting, parked, dead, n_looked_at];
    let n: i64 = statement.query_row(values, |row| row.get(0))?;
    Ok(n >= of_last)
}

/// A job that nobody needs any more: not taken whole, ended before this time, or paused without
/// anybody having had their turn since.
pub(super) fn old(connection: &Connection, before: Millis) -> Result<Option<BulkId>, DbError> {
    let sql = "SELECT id FROM bulk_jobs WHERE state = ?1
            OR state IN (?2, ?3) AND ended_at < ?5
            OR state = ?4 AND made_at < ?5 AND NOT EXISTS
                (SELECT 1 FROM bulk_recipients WHERE job = bulk_jobs.id AND entry >= ?6)
        LIMIT 1";
    let [dropped, cancelled, done, paused] =
        [BulkState::Dropped, BulkState::Cancelled, BulkState::Done, BulkState::Paused]
            .map(BulkState::code);
    let values = [dropped, cancelled, done, paused, before, EntryId::at(before).0];
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row(values, |row| row.get(0).map(BulkId)).optional()?)
}
