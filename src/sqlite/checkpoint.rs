//! The write-ahead file is copied back into the database by a thread of its own, while the writer
//! goes on. What came meanwhile is little, and the writer copies it itself: only then can it begin
//! the file anew.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU8, Ordering},
    },
    thread::{self, JoinHandle, Thread},
};

use rusqlite::Connection;

use super::{DbError, connect, writer};

/// Pages in the write-ahead file before they are copied back. Hot pages are written many times
/// between two copies and copied once; at 4 KiB this is 64 MiB.
pub(super) const PAGES: i64 = 16 * 1024;
/// When something kept the file from being copied whole, it is tried again after so many more.
const PAGES_MORE: i64 = 4 * 1024;
/// What the writer copies itself.
const PAGES_LEFT_MAX: i64 = 64;
/// Times the thread goes after the writer.
const PASSES: usize = 64;
/// As many times in a row it finds little. `SQLite` syncs the database only in a pass during which
/// nothing is committed (`walCheckpoint` in its wal.c); without one the writer would wait for all
/// that was copied.
const PASSES_CALM: usize = 4;
const CACHE_KIB: i64 = 256;

const IDLE: u8 = 0;
const WANTED: u8 = 1;
const COPIED: u8 = 2;
const CLOSED: u8 = 3;

/// The writer's side.
pub(super) struct Checkpoints {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Copied back from this many pages on.
    due_at: i64,
}

struct Shared {
    /// In the write-ahead file, as of the last commit.
    n_pages: AtomicI64,
    state: AtomicU8,
}

impl Checkpoints {
    /// Takes them over from this connection, which is the writer's.
    pub(super) fn of(connection: &mut Connection, path: &Path) -> Result<Self, DbError> {
        let shared = Arc::new(Shared { n_pages: AtomicI64::new(0), state: AtomicU8::new(IDLE) });
        let count = Arc::clone(&shared);
        // In place of SQLite's own, which copies within a commit.
        let hook = move |_: &mut rusqlite::hooks::Wal, n_pages| {
            count.n_pages.store(i64::from(n_pages), Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(hook))?;
        let (behind, copier) = (connect(path, CACHE_KIB)?, Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name("sqlite-copier".to_owned())
            .spawn(move || copier.run(&behind))
            .map_err(|_| DbError::Closed)?;
        Ok(Self { shared, thread: Some(thread), due_at: PAGES })
    }

    /// After a commit.
    pub(super) fn committed(&mut self, connection: &Connection) {
        let n_pages = self.shared.n_pages.load(Ordering::Relaxed);
        match self.shared.state.load(Ordering::Acquire) {
            IDLE if n_pages >= self.due_at => self.shared.turn(WANTED, self.thread()),
            COPIED => {
                let is_whole = copy(connection).is_some_and(|left| left == 0);
                // A reader of old pages, or the disk, is in the way.
                self.due_at = if is_whole { PAGES } else { n_pages + PAGES_MORE };
                self.shared.state.store(IDLE, Ordering::Release);
            }
            _ => {}
        }
        if n_pages < PAGES {
            self.due_at = PAGES;
        }
    }

    fn thread(&self) -> Option<&Thread> {
        self.thread.as_ref().map(JoinHandle::thread)
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.shared.turn(CLOSED, self.thread());
        if let Some(thread) = self.thread.take() {
            // One that panicked has told so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn turn(&self, state: u8, thread: Option<&Thread>) {
        self.state.store(state, Ordering::Release);
        thread.inspect(|it| it.unpark());
    }

    fn run(&self, connection: &Connection) {
        crate::priority::stand_back();
        loop {
            match self.state.load(Ordering::Acquire) {
                CLOSED => return,
                WANTED => {}
                _ => {
                    thread::park();
                    continue;
                }
            }
            let mut n_calm = 0;
            for _ in 0..PASSES {
                let Some(copied) = copied(connection) else { break };
                let came = self.n_pages.load(Ordering::Relaxed) - copied;
                n_calm = if came <= PAGES_LEFT_MAX { n_calm + 1 } else { 0 };
                if n_calm == PASSES_CALM || self.state.load(Ordering::Acquire) == CLOSED {
                    break;
                }
            }
            // Unless it is closed.
            let _ =
                self.state.compare_exchange(WANTED, COPIED, Ordering::AcqRel, Ordering::Acquire);
        }
    }
}

/// Copies what can be copied. How many pages are left.
fn copy(connection: &Connection) -> Option<i64> {
    checkpoint(connection).map(|(n_pages, n_copied)| n_pages - n_copied)
}

/// The same; how many of the file's pages are copied by now.
fn copied(connection: &Connection) -> Option<i64> {
    checkpoint(connection).map(|it| it.1)
}

/// Pages in the write-ahead file, and those of them that are copied back. It waits for nobody.
fn checkpoint(connection: &Connection) -> Option<(i64, i64)> {
    let found = connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| Ok((row.get(1)?, row.get(2)?)));
    match found {
        // Less than none: another process is at it.
        Ok(found) => (found.0 >= 0).then_some(found),
        Err(error) => {
            // The pages stay where they are, and are read from there.
            tracing::warn!(error = %error, "the write-ahead file could not be copied back; it grows until it can");
            writer::end_process_if_unsynced(&error.into());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Batch, Db};
    use super::*;

    struct Nobody;

    impl Batch for Nobody {
        fn before_commit(&mut self, _: &Connection) -> Result<(), DbError> {
            Ok(())
        }
        fn rolled_back(&mut self) {}
        fn committed(&mut self, _: usize, _: u64) {}
    }

    const MIB: u64 = 1 << 20;

    async fn write(db: &Db, n_mib: u64) {
        for _ in 0..n_mib {
            let insert = |cx: &Connection| {
                let sql =
                    "INSERT INTO meta (key, value) VALUES (randomblob(16), randomblob(1048576))";
                Ok(cx.execute(sql, ())?)
            };
            db.write(insert).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_write_ahead_file_is_begun_anew_while_writes_go_on_and_no_old_reader_is_in_the_way()
    {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("waba.db");
        let db = Db::open(&path, Box::new(Nobody)).unwrap();
        let n_mib = || fs::metadata(directory.path().join("waba.db-wal")).unwrap().len() / MIB;
        let mut n_mib_written = 40;
        write(&db, n_mib_written).await;
        // Shorter than what was written, it was begun anew.
        while n_mib() + 8 >= n_mib_written {
            write(&db, 1).await;
            n_mib_written += 1;
            assert!(n_mib_written < 3_000, "{} MiB", n_mib());
        }
        // Who reads an old state keeps what came after it from being overwritten.
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM meta").unwrap();
        write(&db, 150).await;
        n_mib_written += 150;
        assert!(n_mib() >= 150, "{} MiB", n_mib());
        reader.execute_batch("COMMIT").unwrap();
        let mut n_more = 0;
        while n_mib() >= 120 {
            write(&db, 1).await;
            n_more += 1;
            assert!(n_more < 3_000, "{} MiB", n_mib());
        }
        let sql = "SELECT count(*) FROM meta WHERE length(value) = 1048576";
        let n: i64 = reader.query_row(sql, (), |row| row.get(0)).unwrap();
        assert_eq!(n, i64::try_from(n_mib_written).unwrap() + n_more);
        db.close();
    }
}
