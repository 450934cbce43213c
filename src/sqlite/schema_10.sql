-- What providers call an entry (its pid and its tid) by which statuses find it. An index has its
-- page for each, at a random place; this is written late and in order (late.rs), and whether it is
-- still so the entry itself says.
CREATE TABLE names (
    key   BLOB NOT NULL,
    entry INTEGER NOT NULL,
    PRIMARY KEY (key, entry)
) WITHOUT ROWID;
INSERT INTO names (key, entry)
    SELECT pid, id FROM entries WHERE pid IS NOT NULL
    UNION
    SELECT tid, id FROM entries WHERE tid IS NOT NULL
    ORDER BY 1, 2;
DROP INDEX entries_by_pid;
DROP INDEX entries_by_tid;
