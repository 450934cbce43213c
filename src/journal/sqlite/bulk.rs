//! Jobs of one message to many recipients. A recipient becomes an intent in the transaction that
//! marks that they have, so neither a crash nor a second try sends to them again.

mod jobs;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{SqliteJournal, contacts, entries::ERASED, groups, state::Cx};
use crate::{
    domain::{
        bulk::{BulkDeed, BulkId, BulkState, Columns},
        clock::Millis,
        contact::Address,
        id::{ContactId, EntryId, InstanceId, VendorId},
        message::Content,
    },
    journal::{
        Bulk, BulkChanged, BulkJob, BulkProgress, Handed, Idempotency, JournalError, KeptJob,
        NewIntent, NewJob, NewRecipient, Recipient,
    },
    sqlite::{DbError, Sealed},
    vault::{Token, Vault},
};

/// Recipients forgotten in one transaction.
const DROPPED_AT_ONCE: i64 = 500;

pub(super) const JOBS: Sealed = Sealed {
    table: "bulk_jobs",
    key: "id",
    of: "CAST(id AS TEXT)",
    column: "doc",
    place: place_of_job,
};
pub(super) const RECIPIENTS: Sealed = Sealed {
    table: "bulk_recipients",
    key: "id",
    of: "CAST(job AS TEXT)",
    column: "doc",
    place: place_of_recipient,
};

fn place_of_job(id: &str) -> String {
    format!("bulk:{id}")
}

fn place_of_recipient(job: &str) -> String {
    format!("bulk_recipient:{job}")
}

/// What is sealed in a recipient's row.
#[derive(Serialize, Deserialize)]
struct Doc {
    to: Address,
    #[serde(default)]
    columns: Columns,
}

fn seal<T: Serialize>(vault: &Vault, place: &str, doc: &T) -> Result<Vec<u8>, DbError> {
    let plain = serde_json::to_vec(doc).map_err(|_| DbError::Unreadable("bulk job"))?;
    vault.seal(place, &plain).map_err(|_| DbError::Unreadable("bulk job"))
}

fn open<T: serde::de::DeserializeOwned>(
    vault: &Vault,
    place: &str,
    sealed: &[u8],
) -> Result<T, DbError> {
    let plain = vault.open(place, sealed).map_err(|_| DbError::Unreadable("bulk job"))?;
    serde_json::from_slice(&plain).map_err(|_| DbError::Unreadable("bulk job"))
}

#[async_trait]
impl Bulk for SqliteJournal {
    async fn open_job(&self, job: NewJob) -> Result<Option<BulkId>, JournalError> {
        self.write(move |cx| jobs::open_one(cx, &job)).await
    }

    async fn add_recipients(
        &self,
        job: BulkId,
        recipients: Vec<NewRecipient>,
    ) -> Result<usize, JournalError> {
        self.write_behind(move |cx| add(cx, job, &recipients)).await
    }

    async fn keep_job(
        &self,
        job: BulkId,
        idempotency: Option<Idempotency>,
    ) -> Result<KeptJob, JournalError> {
        self.write(move |cx| jobs::keep(cx, job, idempotency.as_ref())).await
    }

    async fn drop_job(&self, job: BulkId) -> Result<bool, JournalError> {
        self.write_behind(move |cx| drop_some(cx, job)).await
    }

    async fn jobs(
        &self,
        vendor: &VendorId,
        before: Option<BulkId>,
        limit: usize,
    ) -> Result<Vec<BulkJob>, JournalError> {
        let vendor = vendor.clone();
        self.read(move |connection, _| jobs::list(connection, &vendor, before, limit)).await
    }

    async fn job(
        &self,
        vendor: &VendorId,
        id: BulkId,
    ) -> Result<Option<(BulkJob, BulkProgress)>, JournalError> {
        let vendor = vendor.clone();
        // It may count for some time, and nobody is to wait for a reader meanwhile.
        let look = self.db.read_apart(move |connection| {
            let Some(job) = jobs::load(connection, &vendor, id)? else { return Ok(None) };
            Ok(Some((job, jobs::progress(connection, id)?)))
        });
        Ok(look.await?)
    }

    async fn change_job(
        &self,
        vendor: &VendorId,
        id: BulkId,
        deed: BulkDeed,
        note: Option<&'static str>,
        now: Millis,
    ) -> Result<BulkChanged, JournalError> {
        let vendor = vendor.clone();
        self.write(move |cx| jobs::change(cx, (&vendor, id), deed, note, now)).await
    }

    async fn running_jobs(&self) -> Result<Vec<BulkJob>, JournalError> {
        self.read_behind(|connection, _| jobs::running(connection))
    }

    async fn next_recipients(
        &self,
        job: BulkId,
        limit: usize,
        now: Millis,
    ) -> Result<Option<(Content, Vec<Recipient>)>, JournalError> {
        let next = self.read_behind(|connection, vault| next(connection, vault, job, limit))?;
        if next.is_none() {
            self.write_behind(move |cx| jobs::done(cx, job, now)).await?;
        }
        Ok(next)
    }

    async fn hand_over(
        &self,
        job: BulkId,
        turns: Vec<(Recipient, NewIntent)>,
    ) -> Result<Handed, JournalError> {
        let hand_over = move |cx: &mut Cx<'_>| {
            let mut made = Vec::new();
            for (recipient, intent) in &turns {
                made.extend(hand_over(cx, job, recipient.id, intent)?);
            }
            Ok(Handed { made, changes: std::mem::take(&mut cx.changes) })
        };
        self.write_behind(hand_over).await
    }

    async fn all_fail(
        &self,
        job: BulkId,
        before: &Recipient,
        of_last: (i64, i64),
    ) -> Result<bool, JournalError> {
        self.read_behind(|connection, _| jobs::all_fail(connection, job, before.id, of_last))
    }

    async fn old_job(&self, before: Millis) -> Result<Option<BulkId>, JournalError> {
        self.read(move |connection, _| jobs::old(connection, before)).await
    }
}

/// How many of them the job had already.
fn add(cx: &mut Cx<'_>, job: BulkId, recipients: &[NewRecipient]) -> Result<usize, DbError> {
    let sql = "SELECT instance FROM bulk_jobs WHERE id = ?1 AND state = ?2";
    let mut statement = cx.connection.prepare_cached(sql)?;
    let taken = params![job.0, BulkState::Taken.code()];
    let instance: Option<String> = statement.query_row(taken, |row| row.get(0)).optional()?;
    let instance = instance.and_then(|it| InstanceId::parse(&it).ok());
    let instance = instance.ok_or(DbError::Unreadable("bulk job"))?;
    let place = place_of_recipient(&job.0.to_string());
    // Nobody asks for the line any more.
    let sql = "INSERT INTO bulk_recipients (job, line, who, doc) VALUES (?1, 0, ?2, ?3)
        ON CONFLICT DO NOTHING";
    let mut statement = cx.connection.prepare_cached(sql)?;
    let mut n_new = 0;
    for it in recipients {
        let who = contacts::tokens(cx.vault, &instance, &it.to).into_iter().next();
        let doc = Doc { to: it.to.clone(), columns: it.columns.clone() };
        let doc = seal(cx.vault, &place, &doc)?;
        n_new += statement.execute(params![job.0, who, doc])?;
    }
    let n_same = recipients.len() - n_new;
    let count = |n| i64::try_from(n).unwrap_or(i64::MAX);
    let sql = "UPDATE bulk_jobs SET n_total = n_total + ?2, n_same = n_same + ?3 WHERE id = ?1";
    cx.connection.prepare_cached(sql)?.execute([job.0, count(n_new), count(n_same)])?;
    Ok(n_same)
}

/// Nobody sees it any more from the first step on, or it could be resumed with what is left.
fn drop_some(cx: &mut Cx<'_>, job: BulkId) -> Result<bool, DbError> {
    let sql = "UPDATE bulk_jobs SET state = ?2 WHERE id = ?1 AND state <> ?3";
    let [dropped, running] = [BulkState::Dropped, BulkState::Running].map(BulkState::code);
    if cx.connection.prepare_cached(sql)?.execute([job.0, dropped, running])? == 0 {
        return Ok(false);
    }
    let sql = "DELETE FROM bulk_recipients WHERE id IN
        (SELECT id FROM bulk_recipients WHERE job = ?1 LIMIT ?2)";
    let mut statement = cx.connection.prepare_cached(sql)?;
    if statement.execute([job.0, DROPPED_AT_ONCE])? > 0 {
        return Ok(true);
    }
    cx.connection.prepare_cached("DELETE FROM bulk_jobs WHERE id = ?1")?.execute([job.0])?;
    Ok(false)
}

/// The message, and who has their turn next; `None` when nobody has.
fn next(
    connection: &rusqlite::Connection,
    vault: &Vault,
    job: BulkId,
    limit: usize,
) -> Result<Option<(Content, Vec<Recipient>)>, DbError> {
    let sql = "SELECT id, doc FROM bulk_recipients
        WHERE job = ?1 AND entry IS NULL AND note IS NULL ORDER BY id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map([job.0, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<(i64, Vec<u8>)> = rows.collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return Ok(None);
    }
    let place = place_of_recipient(&job.0.to_string());
    let recipient = |(id, doc): (i64, Vec<u8>)| {
        open(vault, &place, &doc).map(|Doc { to, columns }| Recipient { id, to, columns })
    };
    let recipients = rows.into_iter().map(recipient).collect::<Result<_, _>>()?;
    Ok(Some((jobs::content(connection, vault, job)?, recipients)))
}

/// Whether it is still this recipient's turn.
fn is_waiting(cx: &Cx<'_>, job: BulkId, recipient: i64) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM bulk_recipients WHERE id = ?1 AND job = ?2 AND entry IS NULL
        AND note IS NULL AND EXISTS (SELECT 1 FROM bulk_jobs WHERE id = ?2 AND state = ?3)";
    let running = BulkState::Running.code();
    Ok(cx.connection.prepare_cached(sql)?.exists([recipient, job.0, running])?)
}

/// The intent that a recipient becomes, unless it is not their turn.
fn hand_over(
    cx: &mut Cx<'_>,
    job: BulkId,
    recipient: i64,
    intent: &NewIntent,
) -> Result<Option<EntryId>, DbError> {
    if !is_waiting(cx, job, recipient)? {
        return Ok(None);
    }
    let tokens = contacts::tokens(cx.vault, &intent.instance, &intent.to);
    let contact = contacts::resolve(cx, &intent.instance, &intent.to, &tokens, None)?;
    let who = contact.map(|it| of_contact(cx.vault, it));
    let sql = "SELECT 1 FROM bulk_recipients WHERE who = ?1 AND job = ?2";
    if cx.connection.prepare_cached(sql)?.exists(params![who, job.0])? {
        return same_again(cx, job, recipient).map(|()| None);
    }
    let id = groups::insert(cx, intent, contact, None)?;
    // Who it was, and what was said, is in the intent from now on.
    let sql = "UPDATE bulk_recipients SET entry = ?2, who = ?3, doc = x'' WHERE id = ?1";
    cx.connection.prepare_cached(sql)?.execute(params![recipient, id.0, who])?;
    let sql = "UPDATE bulk_jobs SET n_made = n_made + 1 WHERE id = ?1";
    cx.connection.prepare_cached(sql)?.execute([job.0])?;
    Ok(Some(id))
}

/// Under another name they have had their turn: only now is it known who they are.
fn same_again(cx: &Cx<'_>, job: BulkId, recipient: i64) -> Result<(), DbError> {
    cx.connection
        .prepare_cached("DELETE FROM bulk_recipients WHERE id = ?1")?
        .execute([recipient])?;
    let sql = "UPDATE bulk_jobs SET n_total = n_total - 1, n_same = n_same + 1 WHERE id = ?1";
    cx.connection.prepare_cached(sql)?.execute([job.0])?;
    Ok(())
}

/// What those who have had their turn are known by.
fn of_contact(vault: &Vault, contact: ContactId) -> Token {
    vault.token(&[b"bulk contact", &contact.0.to_be_bytes()])
}

/// Two contacts turned out to be one person.
pub(super) fn merge(cx: &Cx<'_>, from: ContactId, into: ContactId) -> Result<(), DbError> {
    // Of a job that had both before, nothing is left to do.
    let sql = "UPDATE OR IGNORE bulk_recipients SET who = ?2 WHERE who = ?1";
    let [from, into] = [from, into].map(|it| of_contact(cx.vault, it));
    cx.connection.prepare_cached(sql)?.execute([from, into])?;
    Ok(())
}

/// A customer is erased: what waits for them does not leave. To be called while they still have
/// their names.
pub(super) fn erased(cx: &Cx<'_>, contact: ContactId) -> Result<(), DbError> {
    let sql = "UPDATE bulk_recipients SET who = NULL, doc = x'',
            note = CASE WHEN entry IS NULL THEN ?2 END
        WHERE who = ?3 OR who IN (SELECT key FROM aliases WHERE contact = ?1)";
    let values = params![contact.0, ERASED, of_contact(cx.vault, contact)];
    cx.connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Jobs of which not all had come in when the process ended are forgotten: whoever sent them was
/// told nothing. Their recipients are removed later, some at a time.
pub(super) fn cut_off(cx: &Cx<'_>) -> Result<(), DbError> {
    let codes = [BulkState::Taken.code(), BulkState::Dropped.code()];
    cx.connection.execute("UPDATE bulk_jobs SET state = ?2 WHERE state = ?1", codes)?;
    Ok(())
}

/// The data come from a backup: who had their turn since it was made is not known here. That is
/// told of paused jobs too, so that whoever resumes one knows.
pub(super) fn restored(cx: &Cx<'_>) -> Result<(), DbError> {
    let sql = "UPDATE bulk_jobs SET state = ?2, note = 'restored' WHERE state IN (?1, ?2)";
    let codes = [BulkState::Running.code(), BulkState::Paused.code()];
    cx.connection.execute(sql, codes)?;
    Ok(())
}
