//! Entries by what providers call them. What is known here of a name may be out of date, so each
//! entry that is found is asked whether it is still called so.

use rusqlite::params;

use super::{
    entries::{self, EntryRow},
    state::Cx,
};
use crate::{domain::id::EntryId, sqlite::DbError, vault::Token};

/// An entry is called this from now on.
pub(super) fn put(cx: &mut Cx<'_>, name: Token, id: EntryId) -> Result<(), DbError> {
    let connection = cx.connection;
    if cx.late()?.put_name(name, id) {
        return Ok(());
    }
    // A restart does not find it by its entry any more.
    let sql = "INSERT OR IGNORE INTO names (key, entry) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![name, id.0])?;
    Ok(())
}

/// An entry was called these, and is called those from now on.
pub(super) fn changed(
    cx: &mut Cx<'_>,
    id: EntryId,
    before: [Option<Token>; 2],
    after: [Option<Token>; 2],
) -> Result<(), DbError> {
    for name in before.into_iter().flatten().filter(|it| !after.contains(&Some(*it))) {
        remove(cx, name, id)?;
    }
    for name in after.into_iter().flatten().filter(|it| !before.contains(&Some(*it))) {
        put(cx, name, id)?;
    }
    Ok(())
}

/// The entry is gone, or not called so any more.
pub(super) fn remove(cx: &mut Cx<'_>, name: Token, id: EntryId) -> Result<(), DbError> {
    cx.late()?.remove_name(name, id);
    let sql = "DELETE FROM names WHERE key = ?1 AND entry = ?2";
    cx.connection.prepare_cached(sql)?.execute(params![name, id.0])?;
    Ok(())
}

/// The entries that are called this, oldest first.
pub(super) fn find(cx: &mut Cx<'_>, name: Token) -> Result<Vec<EntryRow>, DbError> {
    let mut ids = cx.late()?.named(name);
    let sql = "SELECT entry FROM names WHERE key = ?1";
    let mut statement = cx.connection.prepare_cached(sql)?;
    for id in statement.query_map([name], |row| row.get(0).map(EntryId))? {
        ids.push(id?);
    }
    drop(statement);
    ids.sort_unstable();
    ids.dedup();
    let mut rows = Vec::new();
    for id in ids {
        let is_its = |it: &EntryRow| it.pid == Some(name) || it.tid == Some(name);
        rows.extend(entries::load(cx, id)?.filter(is_its));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use crate::sqlite::SCRIPTS;

    #[test]
    fn entries_from_before_keep_their_names() {
        let connection = Connection::open_in_memory().unwrap();
        SCRIPTS[..9].iter().for_each(|it| connection.execute_batch(it).unwrap());
        let sql = "INSERT INTO entries
                (id, kind, account, is_open, vendor, instance, pid, tid, body, life)
            VALUES (1, 2, 1, 0, 'v', 'w', x'02', x'01', x'', ''),
                (2, 3, 1, 0, 'v', 'w', x'02', NULL, x'', ''),
                (3, 0, 1, 0, 'v', 'w', NULL, NULL, x'', '')";
        connection.execute(sql, ()).unwrap();
        connection.execute_batch(SCRIPTS[9]).unwrap();
        let mut statement =
            connection.prepare("SELECT key, entry FROM names ORDER BY 1, 2").unwrap();
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let names: Vec<(Vec<u8>, i64)> = rows.map(Result::unwrap).collect();
        assert_eq!(names, [(vec![1], 1), (vec![2], 1), (vec![2], 2)]);
    }
}
