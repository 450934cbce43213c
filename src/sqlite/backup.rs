//! A copy of the database that is whole in itself, made while others write, and a look at one.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{BUSY_TIMEOUT, DbError, SCRIPTS};
use crate::domain::clock::Millis;

/// The row of table `meta` that tells a backup from the data it was made of. Its value is when.
pub const MARK: &str = "backup";

/// What is known of a copy.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// When it was made, where it is a backup of ours.
    pub made_at: Option<Millis>,
    /// The version of its tables.
    pub version: usize,
}

/// Copies what is committed now into `file`, which must be empty. Writers are not held up; what they
/// write meanwhile stays in the write-ahead file until this has ended.
pub fn copy(database: &Path, file: &Path, now: Millis) -> Result<(), DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let file = file.to_str().ok_or(DbError::Unreadable("the name of the file"))?;
    connection.execute("VACUUM INTO ?1", [file])?;
    mark(Path::new(file), now).map(|_| ())
}

/// Notes in a copy that it is one, so that what was unfinished in it is not taken up by itself.
/// `false`: it knew that already.
pub fn mark(file: &Path, now: Millis) -> Result<bool, DbError> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // No second file beside it, whatever happens.
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let sql = "INSERT OR IGNORE INTO meta (key, value) VALUES (?1, ?2)";
    Ok(connection.execute(sql, rusqlite::params![MARK, now.to_string().as_bytes()])? > 0)
}

/// Reads a copy whole, and says what it is.
///
/// # Errors
///
/// It is damaged, of a newer version, or no database of this program.
pub fn check(file: &Path) -> Result<Found, DbError> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let end: String = connection.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))?;
    if end != "ok" {
        return Err(DbError::Unreadable("the file is damaged"));
    }
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version == 0 {
        return Err(DbError::Unreadable("the file is no database of waba-gateway"));
    }
    if version > SCRIPTS.len() {
        return Err(DbError::TooNew { found: version, known: SCRIPTS.len() });
    }
    let sql = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?1";
    let made_at = connection.query_row(sql, [MARK], |row| row.get(0)).optional()?;
    Ok(Found { made_at, version })
}
