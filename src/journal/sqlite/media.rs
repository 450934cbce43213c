//! The media table: which files there are, and which are still to be fetched.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::{SqliteJournal, append::Prepared, entries, state::Cx};
use crate::{
    domain::{
        clock::Millis,
        event::{Event, What},
        id::{ContactId, EntryId, InstanceId, VendorId},
        media::MediaId,
        message::{Content, Media, MediaKind, Text},
        secret::ExposeSecret,
    },
    journal::{JournalError, MediaDue, MediaEnd, MediaJournal, MediaState, NewUpload, StoredMedia},
    sqlite::DbError,
    vault::Vault,
};

const TO_FETCH: i64 = 0;
const KEPT: i64 = 1;
const GIVEN_UP: i64 = 2;
/// The contact of a file that was sent to several; no contact has this id.
const SEVERAL: i64 = -1;

#[async_trait]
impl MediaJournal for SqliteJournal {
    async fn media(
        &self,
        vendor: &VendorId,
        id: &MediaId,
    ) -> Result<Option<StoredMedia>, JournalError> {
        let (vendor, id) = (vendor.clone(), id.clone());
        self.read(move |connection, vault| load(connection, vault, &vendor, &id)).await
    }

    async fn media_due(
        &self,
        query: MediaDue,
    ) -> Result<(Vec<StoredMedia>, Option<Millis>), JournalError> {
        let query = Arc::new(query);
        loop {
            let asked = Arc::clone(&query);
            let found = self.read(move |connection, vault| due(connection, vault, &asked)).await?;
            let Due { files, unreadable, next } = found;
            if unreadable.is_empty() {
                return Ok((files, next));
            }
            // As an error they would keep all files of all vendors from being fetched.
            for id in &unreadable {
                tracing::error!(
                    media.id = id,
                    "what is known of a customer's file cannot be opened or read, and it is given up"
                );
            }
            self.write(move |cx| give_up(cx, &unreadable)).await?;
        }
    }

    async fn add_media(&self, upload: NewUpload) -> Result<(), JournalError> {
        self.write(move |cx| add(cx, &upload)).await
    }

    async fn end_media(&self, id: &MediaId, end: MediaEnd) -> Result<bool, JournalError> {
        let id = id.clone();
        self.write(move |cx| end_one(cx, &id, &end)).await
    }

    async fn old_media(&self, before: Millis, limit: usize) -> Result<Vec<MediaId>, JournalError> {
        self.read(move |connection, _| old(connection, before, limit)).await
    }

    async fn media_of(&self, contact: ContactId) -> Result<Vec<MediaId>, JournalError> {
        self.read(move |connection, _| of_contact(connection, contact)).await
    }

    async fn unknown_media(&self, ids: Vec<MediaId>) -> Result<Vec<MediaId>, JournalError> {
        self.read(move |connection, _| unknown(connection, &ids)).await
    }

    async fn media_bytes(&self, vendor: &VendorId) -> Result<u64, JournalError> {
        let vendor = vendor.clone();
        self.read(move |connection, _| {
            let sql = "SELECT coalesce(sum(n_bytes), 0) FROM media WHERE vendor = ?1 AND state = 1";
            let n: i64 =
                connection.prepare_cached(sql)?.query_row([vendor.as_str()], |row| row.get(0))?;
            Ok(u64::try_from(n).unwrap_or_default())
        })
        .await
    }

    async fn forget_media(&self, ids: Vec<MediaId>) -> Result<(), JournalError> {
        self.write(move |cx| forget(cx, &ids)).await
    }
}

/// What is sealed in the row of an uploaded file.
#[derive(Serialize, Deserialize)]
struct Doc {
    kind: MediaKind,
    mime_type: String,
    #[serde(default)]
    file_name: Option<String>,
    key: String,
}

/// Whether an event brings a file that could be fetched.
pub(super) fn has_file(event: &Event) -> bool {
    match &event.what {
        What::Message(Content::Media(it)) | What::Echo(Content::Media(it)) => {
            let is_somewhere = it.url.is_some() || (it.source.is_some() && it.id.is_some());
            is_somewhere && it.media_key.is_some()
        }
        _ => false,
    }
}

/// Notes that the file of a message is to be fetched. An echo that turned out to be our own is no
/// message: its file came from here.
pub(super) fn announce(
    cx: &mut Cx<'_>,
    batch: &Prepared,
    id: EntryId,
    contact: ContactId,
) -> Result<usize, DbError> {
    let sql = "INSERT INTO media (id, vendor, contact, entry, state, due, made_at)
        SELECT ?1, ?2, ?3, ?4, 0, ?5, ?5
        WHERE EXISTS (SELECT 1 FROM entries WHERE id = ?4 AND kind IN (0, 3))";
    let file = MediaId::of_message(id);
    let values = params![file.as_str(), batch.vendor.as_str(), contact.0, id.0, batch.now];
    Ok(cx.connection.prepare_cached(sql)?.execute(values)?)
}

/// Keeps what is known of an uploaded file.
fn add(cx: &mut Cx<'_>, it: &NewUpload) -> Result<(), DbError> {
    let doc = Doc {
        kind: it.kind,
        mime_type: it.mime_type.clone(),
        file_name: it.file_name.clone(),
        key: it.key.expose_secret().to_owned(),
    };
    let plain = serde_json::to_vec(&doc).map_err(|_| DbError::Unreadable("media"))?;
    let sealed = cx.vault.seal(&place(&it.id.to_string()), &plain);
    let sealed = sealed.map_err(|_| DbError::Unreadable("media"))?;
    let sql = "INSERT INTO media (id, vendor, state, due, n_bytes, doc, made_at)
        VALUES (?1, ?2, 1, ?3, ?4, ?5, ?3)";
    let n_bytes = i64::try_from(it.n_bytes).unwrap_or(i64::MAX);
    let values = params![it.id.as_str(), it.vendor.as_str(), it.now, n_bytes, sealed];
    cx.connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

const COLUMNS: &str = "id, vendor, entry, state, due, tries, note, n_bytes, doc, made_at";

fn load(
    connection: &Connection,
    vault: &Vault,
    vendor: &VendorId,
    id: &MediaId,
) -> Result<Option<StoredMedia>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM media WHERE id = ?1 AND vendor = ?2");
    let values = params![id.as_str(), vendor.as_str()];
    let mut statement = connection.prepare_cached(&sql)?;
    let row = statement.query_row(values, MediaRow::read).optional()?;
    row.map(|it| it.open(connection, vault)).transpose()
}

/// Files that are to be fetched now.
struct Due {
    files: Vec<StoredMedia>,
    /// Those of them that no key opens, or that are damaged.
    unreadable: Vec<String>,
    /// When the next one will be.
    next: Option<Millis>,
}

fn due(connection: &Connection, vault: &Vault, query: &MediaDue) -> Result<Due, DbError> {
    let list = |it: Vec<&str>| serde_json::json!(it).to_string();
    let not = list(query.not.iter().map(MediaId::as_str).collect());
    let not_of = list(query.not_of.iter().map(VendorId::as_str).collect());
    let sql = format!(
        "SELECT {COLUMNS} FROM media WHERE state = 0 AND due <= ?1
            AND id NOT IN (SELECT value FROM json_each(?2))
            AND vendor NOT IN (SELECT value FROM json_each(?3))
         ORDER BY due LIMIT ?4"
    );
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let values = params![query.now, not, not_of, limit];
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(values, MediaRow::read)?.collect::<Result<Vec<_>, _>>()?;
    let (mut files, mut unreadable) = (Vec::new(), Vec::new());
    for row in rows {
        let id = row.id.clone();
        match row.open(connection, vault) {
            Ok(file) => files.push(file),
            Err(DbError::Unreadable(_)) => unreadable.push(id),
            Err(error) => return Err(error),
        }
    }
    let sql = "SELECT min(due) FROM media WHERE state = 0 AND due > ?1";
    let next = connection.prepare_cached(sql)?.query_row([query.now], |row| row.get(0))?;
    Ok(Due { files, unreadable, next })
}

fn give_up(cx: &mut Cx<'_>, unreadable: &[String]) -> Result<(), DbError> {
    let sql = "UPDATE media SET state = 2, note = 'unreadable' WHERE id = ?1 AND state = 0";
    for id in unreadable {
        cx.connection.prepare_cached(sql)?.execute([id])?;
    }
    Ok(())
}

/// Records what came of a try. `false`: the file was erased meanwhile.
fn end_one(cx: &mut Cx<'_>, id: &MediaId, end: &MediaEnd) -> Result<bool, DbError> {
    let (state, due, note, n_bytes) = match end {
        MediaEnd::Kept { n_bytes } => (KEPT, None, None, i64::try_from(*n_bytes).ok()),
        MediaEnd::Again { due } => (TO_FETCH, Some(*due), None, None),
        MediaEnd::GivenUp(word) => (GIVEN_UP, None, Some(*word), None),
    };
    let sql = "UPDATE media SET state = ?2, due = coalesce(?3, due), note = ?4,
        n_bytes = coalesce(?5, n_bytes), tries = tries + 1 WHERE id = ?1";
    let values = params![id.as_str(), state, due, note, n_bytes];
    Ok(cx.connection.prepare_cached(sql)?.execute(values)? > 0)
}

fn old(connection: &Connection, before: Millis, limit: usize) -> Result<Vec<MediaId>, DbError> {
    let sql = "SELECT id FROM media WHERE made_at < ?1 ORDER BY made_at LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    ids(connection, sql, params![before, limit])
}

fn of_contact(connection: &Connection, contact: ContactId) -> Result<Vec<MediaId>, DbError> {
    ids(connection, "SELECT id FROM media WHERE contact = ?1", params![contact.0])
}

/// Those of these that nothing is known of.
fn unknown(connection: &Connection, all: &[MediaId]) -> Result<Vec<MediaId>, DbError> {
    let list: Vec<&str> = all.iter().map(MediaId::as_str).collect();
    let sql = "SELECT value FROM json_each(?1) WHERE value NOT IN (SELECT id FROM media)";
    ids(connection, sql, params![serde_json::json!(list).to_string()])
}

fn forget(cx: &mut Cx<'_>, all: &[MediaId]) -> Result<(), DbError> {
    for id in all {
        let mut statement = cx.connection.prepare_cached("DELETE FROM media WHERE id = ?1")?;
        statement.execute([id.as_str()])?;
    }
    Ok(())
}

/// An uploaded file is sent to somebody: it is erased with them, unless others got it too.
pub(super) fn sent_to(cx: &Cx<'_>, content: &Content, contact: ContactId) -> Result<(), DbError> {
    let Content::Media(Media { upload: Some(id), .. }) = content else { return Ok(()) };
    let sql = "UPDATE media SET contact = CASE coalesce(contact, ?2) WHEN ?2 THEN ?2 ELSE ?3 END
        WHERE id = ?1 AND entry IS NULL";
    cx.connection.prepare_cached(sql)?.execute(params![id, contact.0, SEVERAL])?;
    Ok(())
}

/// Two contacts are one person.
pub(super) fn merge(cx: &Cx<'_>, from: ContactId, into: ContactId) -> Result<(), DbError> {
    let sql = "UPDATE media SET contact = ?2 WHERE contact = ?1";
    cx.connection.prepare_cached(sql)?.execute([from.0, into.0])?;
    Ok(())
}

fn ids(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<MediaId>, DbError> {
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(values, |row| row.get::<_, String>(0))?;
    let parse = |it: String| MediaId::parse(&it).map_err(|_| DbError::Unreadable("media"));
    found.map(|it| parse(it?)).collect()
}

pub(super) fn place(id: &str) -> String {
    format!("media:{id}")
}

struct MediaRow {
    id: String,
    vendor: String,
    entry: Option<i64>,
    state: i64,
    due: Millis,
    n_tries: u32,
    note: Option<String>,
    n_bytes: Option<u64>,
    doc: Option<Vec<u8>>,
    made_at: Millis,
}

impl MediaRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            vendor: row.get(1)?,
            entry: row.get(2)?,
            state: row.get(3)?,
            due: row.get(4)?,
            n_tries: row.get(5)?,
            note: row.get(6)?,
            n_bytes: row.get::<_, Option<i64>>(7)?.and_then(|it| it.try_into().ok()),
            doc: row.get(8)?,
            made_at: row.get(9)?,
        })
    }

    fn open(self, connection: &Connection, vault: &Vault) -> Result<StoredMedia, DbError> {
        let bad = || DbError::Unreadable("media");
        let id = MediaId::parse(&self.id).map_err(|_| bad())?;
        let vendor = VendorId::parse(&self.vendor).map_err(|_| bad())?;
        let found = match self.found(connection, vault, &id) {
            // Nobody opens what was given up.
            Err(DbError::Unreadable(_)) if self.state == GIVEN_UP => None,
            found => found?,
        };
        let state = match self.state {
            TO_FETCH => MediaState::ToFetch { due: self.due, n_tries: self.n_tries },
            KEPT => MediaState::Kept { n_bytes: self.n_bytes.unwrap_or_default() },
            _ => MediaState::GivenUp(self.note.unwrap_or_default()),
        };
        let (instance, media) = found.unzip();
        let instance = instance.flatten();
        Ok(StoredMedia { id, vendor, state, made_at: self.made_at, instance, media })
    }

    fn found(
        &self,
        connection: &Connection,
        vault: &Vault,
        id: &MediaId,
    ) -> Result<Option<(Option<InstanceId>, Media)>, DbError> {
        let bad = || DbError::Unreadable("media");
        match (&self.doc, self.entry) {
            (Some(sealed), _) => {
                let plain = vault.open(&place(&id.to_string()), sealed).map_err(|_| bad())?;
                let doc: Doc = serde_json::from_slice(&plain).map_err(|_| bad())?;
                Ok(Some((None, doc.media(self.n_bytes))))
            }
            (None, Some(entry)) => announced(connection, vault, EntryId(entry)),
            (None, None) => Ok(None),
        }
    }
}

impl Doc {
    fn media(self, n_bytes: Option<u64>) -> Media {
        Media {
            kind: self.kind,
            caption: Text::default(),
            url: None,
            mime_type: Some(self.mime_type),
            file_name: self.file_name,
            media_key: Some(self.key),
            sha256: None,
            encrypted_sha256: None,
            bytes: n_bytes,
            upload: None,
            view_once: false,
            id: None,
            source: None,
        }
    }
}

/// What a message says of its file, and the number that it came to.
fn announced(
    connection: &Connection,
    vault: &Vault,
    id: EntryId,
) -> Result<Option<(Option<InstanceId>, Media)>, DbError> {
    let sql = "SELECT instance, body FROM entries WHERE id = ?1 AND kind <> 2";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?));
    let Some((instance, body)) = statement.query_row([id.0], read).optional()? else {
        return Ok(None);
    };
    let instance = InstanceId::parse(&instance).map_err(|_| DbError::Unreadable("media"))?;
    let event: Event = entries::open(vault, &instance, &body)?;
    Ok(match event.what {
        What::Message(Content::Media(it)) | What::Echo(Content::Media(it)) => {
            Some((Some(instance), it))
        }
        _ => None,
    })
}
