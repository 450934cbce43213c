//! What a person does with single entries: looks, puts aside, lets go on.

mod look;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    SqliteJournal,
    entries::{self, COLUMNS, DONE, ECHO, EntryRow, INTENT, MESSAGE, WAITING},
    hours, intents, keep, ledger, names,
    state::Cx,
};
use crate::{
    domain::{
        clock::Millis,
        delivery::{Input, Reason, State},
        id::{ContactId, EntryId, VendorId},
        schedule::{Kind, Next},
    },
    journal::{
        Change, Entry, JournalError, Ledger, Listing, Operate, PartOf, Refused, Replayable, Resume,
        Resumed, Step, Volume, life,
    },
    sqlite::DbError,
};

pub(super) const PARKED: i64 = 3;

#[async_trait]
impl Operate for SqliteJournal {
    async fn entry(&self, id: EntryId) -> Result<Option<Entry>, JournalError> {
        self.read(move |connection, _| {
            let sql = format!("SELECT {COLUMNS} FROM entries WHERE id = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            Ok(statement.query_row([id.0], EntryRow::read).optional()?.map(Entry::from))
        })
        .await
    }

    async fn entries(&self, listing: Listing) -> Result<Vec<Entry>, JournalError> {
        self.read_chains(move |connection, _, ends| look::list(connection, ends, &listing)).await
    }

    async fn resume(&self, ids: Vec<EntryId>, how: Resume) -> Result<Resumed, JournalError> {
        self.write(move |cx| {
            let ends = ids.iter().map(|it| resume(cx, *it, &how));
            let ends = ends.collect::<Result<Vec<_>, _>>()?;
            Ok(Resumed { ends, changes: std::mem::take(&mut cx.changes) })
        })
        .await
    }

    async fn put_aside(
        &self,
        id: EntryId,
        now: Millis,
    ) -> Result<Result<Vec<Change>, Refused>, JournalError> {
        self.write(move |cx| {
            let end = put_aside(cx, id, now)?;
            Ok(end.map(|()| std::mem::take(&mut cx.changes)))
        })
        .await
    }

    async fn replayable(
        &self,
        vendor: &VendorId,
        after: EntryId,
        which: Replayable,
        limit: usize,
    ) -> Result<Vec<EntryId>, JournalError> {
        let vendor = vendor.clone();
        self.read(move |connection, _| look::replayable(connection, &vendor, after, which, limit))
            .await
    }

    async fn volume(&self) -> Result<Volume, JournalError> {
        let wal = self.db.path().with_extension("db-wal");
        let (n_commits, n_writes) = self.state.n_written();
        let volume = self.db.read_apart(volume).await?;
        let wal_bytes = std::fs::metadata(wal).map_or(0, |it| it.len());
        Ok(Volume { wal_bytes, n_commits, n_writes, ..volume })
    }

    async fn verify(&self, vendor: Option<&VendorId>) -> Result<(Ledger, Ledger), JournalError> {
        let vendor = vendor.cloned();
        Ok(self.db.read_apart(move |connection| ledger::both(connection, vendor.as_ref())).await?)
    }
}

impl From<EntryRow> for Entry {
    fn from(row: EntryRow) -> Self {
        let delivery = row.life.delivery.as_ref();
        let state = match (row.kind, row.account) {
            (INTENT, _) => life::status_word(delivery),
            (ECHO, _) => hours::echo_word(row.is_open, row.status),
            (_, WAITING) => "waiting",
            (_, PARKED) => "parked",
            (_, DONE) => "received",
            _ => "dead",
        };
        let due = delivery.and_then(|it| match it.state {
            State::Waiting { due } => Some(due),
            _ => None,
        });
        let part = row.life.part;
        let received = (row.kind != INTENT).then(|| (row.id.ms(), "received".to_owned()));
        Self {
            id: row.id,
            kind: match row.kind {
                MESSAGE => "message",
                INTENT => "send",
                ECHO => "echo",
                _ => "signal",
            },
            state,
            due,
            expires: delivery.map(|it| it.expires),
            attempts: delivery.map_or(0, |it| it.attempts),
            reason: row.note.filter(|_| !row.is_open || row.account != WAITING),
            is_open: row.is_open,
            is_automatic: row.life.is_automatic,
            origin: row.origin,
            part: part.map(|it| PartOf { group: EntryId(it.group), number: it.number, of: it.of }),
            steps: received.into_iter().chain(row.life.log.to_vec()).collect(),
            vendor: row.vendor,
            instance: row.instance,
            contact: row.contact,
        }
    }
}

fn resume(cx: &mut Cx<'_>, id: EntryId, how: &Resume) -> Result<Result<(), Refused>, DbError> {
    let Some(row) = entries::load(cx, id)? else { return Ok(Err(Refused::NoEntry)) };
    let refused = match row.kind {
        MESSAGE => refuse_message(&row, how),
        INTENT => refuse_intent(&row, how),
        _ => Some(Refused::NotWork),
    };
    let refused = refused.or(row.is_erased().then_some(Refused::Erased));
    if let Some(refused) = refused {
        return Ok(Err(refused));
    }
    if row.kind == MESSAGE || row.life.is_automatic {
        // A human who answers there is not talked over.
        if let Some(until) = paused_until(cx, row.contact, how.now)? {
            return Ok(Err(Refused::Paused(until)));
        }
    }
    let place = cx.next_id(how.now)?;
    cx.changes.push(Change::Placed { id, place });
    if row.kind == MESSAGE {
        resume_message(cx, row, place, how)?;
    } else {
        resume_intent(cx, row, place, how)?;
    }
    Ok(Ok(()))
}

fn refuse_message(row: &EntryRow, how: &Resume) -> Option<Refused> {
    match (row.account, row.note.as_deref()) {
        (WAITING, _) => Some(Refused::InHand),
        (PARKED, Some(note)) if note == Reason::Restored.as_str() => {
            (!how.again && !how.only_parked).then_some(Refused::MayHaveArrived)
        }
        (PARKED, _) => None,
        _ if row.contact.is_none() && !row.is_erased() => Some(Refused::NotPrivate),
        _ if how.only_parked => Some(Refused::NotParked),
        (DONE, None) if !how.again => Some(Refused::MayHaveArrived),
        _ => None,
    }
}

fn refuse_intent(row: &EntryRow, how: &Resume) -> Option<Refused> {
    let delivery = row.life.delivery.as_ref()?;
    if delivery.is_in_hand() {
        return Some(Refused::InHand);
    }
    let is_parked = matches!(delivery.state, State::Parked(_));
    if how.only_parked {
        return (!is_parked).then_some(Refused::NotParked);
    }
    (!how.again && delivery.may_have_arrived()).then_some(Refused::MayHaveArrived)
}

fn paused_until(
    cx: &Cx<'_>,
    contact: Option<ContactId>,
    now: Millis,
) -> Result<Option<Millis>, DbError> {
    let Some(contact) = contact else { return Ok(None) };
    let sql = "SELECT paused_until FROM contacts WHERE id = ?1 AND paused_until > ?2";
    let mut statement = cx.connection.prepare_cached(sql)?;
    Ok(statement.query_row(params![contact.0, now], |row| row.get(0)).optional()?)
}

fn resume_message(
    cx: &mut Cx<'_>,
    mut row: EntryRow,
    place: EntryId,
    how: &Resume,
) -> Result<(), DbError> {
    row.life.place = Some(place.0);
    row.life.note(how.now, if how.only_parked { "released" } else { "replayed" });
    move_message(cx, &row, WAITING, None)?;
    let next = Next::Again { kind: Kind::Message, due: how.now, hold: None };
    cx.changes.push(Change::Decided(row.job(Kind::Message, how.now), next));
    Ok(())
}

fn resume_intent(
    cx: &mut Cx<'_>,
    mut row: EntryRow,
    place: EntryId,
    how: &Resume,
) -> Result<(), DbError> {
    let expires = if row.life.is_automatic { how.reply_expires } else { how.send_expires };
    row.life.place = Some(place.0);
    row.life.note(how.now, if how.only_parked { "released" } else { "replayed" });
    names::changed(cx, row.id, [row.pid, row.tid], [None; 2])?;
    // What an earlier attempt was known by is not the next one's: its echo is its own.
    (row.pid, row.tid, row.begun_at, row.life.ticket) = (None, None, None, None);
    row.life.told = 0;
    let after = row.life.part.and_then(|it| it.after);
    let job = row.job(Kind::Send, how.now);
    let input = if how.again { Input::Again { expires } } else { Input::Release { expires } };
    let stepped = intents::advance(cx, row, &Step::of(input), how.now)?;
    if let Some(delivery) = &stepped.delivery {
        renew_followers(cx, after, delivery.expires)?;
    }
    cx.changes.push(Change::Decided(job, stepped.next));
    Ok(())
}

/// Parts that wait for this one, from the `next` on, are worth sending as long as it is.
fn renew_followers(cx: &Cx<'_>, mut next: Option<i64>, expires: Millis) -> Result<(), DbError> {
    while let Some(id) = next {
        let Some(mut row) = entries::load(cx, EntryId(id))? else { break };
        next = row.life.part.and_then(|it| it.after);
        let Some(delivery) = &mut row.life.delivery else { break };
        if delivery.state != State::Parked(Reason::PartBefore) {
            break;
        }
        delivery.expires = delivery.expires.max(expires);
        let sql = "UPDATE entries SET life = ?2 WHERE id = ?1";
        cx.connection.prepare_cached(sql)?.execute(params![id, row.life.text()])?;
    }
    Ok(())
}

fn put_aside(cx: &mut Cx<'_>, id: EntryId, now: Millis) -> Result<Result<(), Refused>, DbError> {
    let Some(mut row) = entries::load(cx, id)? else { return Ok(Err(Refused::NoEntry)) };
    let kind = match row.kind {
        MESSAGE if row.account == WAITING => {
            row.life.note(now, "parked");
            move_message(cx, &row, PARKED, Some(Reason::Held.as_str()))?;
            Kind::Message
        }
        INTENT => {
            match row.life.delivery.as_ref().map(|it| it.state) {
                Some(State::Waiting { .. }) => {}
                Some(State::Begun | State::Fenced { .. }) => return Ok(Err(Refused::Leaving)),
                _ => return Ok(Err(Refused::NotWaiting)),
            }
            intents::advance(cx, row.clone(), &Step::of(Input::Park(Reason::Held)), now)?;
            Kind::Send
        }
        MESSAGE => return Ok(Err(Refused::NotWaiting)),
        _ => return Ok(Err(Refused::NotWork)),
    };
    cx.changes.push(Change::Decided(row.job(kind, now), Next::Gone));
    Ok(Ok(()))
}

/// Moves a message to another account, with what its row's life has by now.
pub(super) fn move_message(
    cx: &mut Cx<'_>,
    row: &EntryRow,
    account: i64,
    note: Option<&str>,
) -> Result<(), DbError> {
    let sql = "UPDATE entries SET account = ?2, is_open = ?3, note = ?4, life = ?5 WHERE id = ?1";
    let values = params![row.id.0, account, account == WAITING, note, row.life.text()];
    cx.connection.prepare_cached(sql)?.execute(values)?;
    let delta = cx.delta(&row.vendor);
    delta.events[usize::try_from(row.account).unwrap_or_default()] -= 1;
    delta.events[usize::try_from(account).unwrap_or_default()] += 1;
    Ok(())
}

fn volume(connection: &Connection) -> Result<Volume, DbError> {
    let moment = connection.unchecked_transaction()?;
    let pragma = |name: &str| -> Result<u64, DbError> {
        let n: i64 = moment.pragma_query_value(None, name, |row| row.get(0))?;
        Ok(u64::try_from(n).unwrap_or_default())
    };
    let page_bytes = pragma("page_size")?;
    let ledger = ledger::read_at(&moment, None)?;
    let n_removed = keep::removed(&moment, None)?.iter().map(|it| it.2).sum();
    let sql = "SELECT count(*) FROM entries INDEXED BY entries_open
        WHERE is_open = 1 AND kind IN (1, 3)";
    let n_signals_open = moment.query_row(sql, (), |row| row.get(0))?;
    let oldest: Option<i64> =
        moment.query_row("SELECT min(id) FROM entries", (), |row| row.get(0))?;
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'keys_[0-9]*'";
    let mut statement = moment.prepare(sql)?;
    let tables = statement.query_map((), |row| row.get::<_, String>(0))?;
    let mut n_keys = 0;
    for table in tables {
        let sql = format!("SELECT count(*) FROM {}", table?);
        n_keys += moment.query_row(&sql, (), |row| row.get::<_, i64>(0))?;
    }
    Ok(Volume {
        n_entries: ledger.accepted + ledger.created - n_removed,
        n_removed,
        oldest: oldest.map(|it| EntryId(it).ms()),
        n_signals_open,
        n_keys,
        file_bytes: pragma("page_count")? * page_bytes,
        free_bytes: pragma("freelist_count")? * page_bytes,
        ..Volume::default()
    })
}
