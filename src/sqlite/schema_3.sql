-- A conversation is found from its latest entry backwards, each entry naming the one before it, and so
-- are a vendor's messages. Such a link is written with the entry itself; an index would cost a page at a
-- random place for each event. Signals have a chain of their own: whoever reads a conversation passes
-- over none of them.
ALTER TABLE entries ADD COLUMN prev INTEGER;            -- the one before it in its conversation
ALTER TABLE entries ADD COLUMN prev_of_vendor INTEGER;  -- the vendor's message before it, 0 before the
                                                        -- first; NULL for signals
ALTER TABLE entries ADD COLUMN dedupe BLOB;             -- its dedupe key, for as long as the table of
                                                        -- its day may not have it yet
-- The latest entries, as of meta.late: what came later is found in the entries after that.
ALTER TABLE contacts ADD COLUMN last_turn INTEGER;
ALTER TABLE contacts ADD COLUMN last_signal INTEGER;
CREATE TABLE vendor_ends (
    vendor TEXT PRIMARY KEY,
    last   INTEGER NOT NULL
) WITHOUT ROWID;

UPDATE entries SET
    prev = (SELECT max(e.id) FROM entries e WHERE e.contact = entries.contact AND e.id < entries.id
        AND (e.kind = 1) = (entries.kind = 1)),
    prev_of_vendor = CASE kind WHEN 1 THEN NULL ELSE coalesce((SELECT max(e.id) FROM entries e
        WHERE e.vendor = entries.vendor AND e.id < entries.id AND e.kind <> 1), 0) END;
UPDATE contacts SET
    last_turn = (SELECT max(id) FROM entries WHERE contact = contacts.id AND kind <> 1),
    last_signal = (SELECT max(id) FROM entries WHERE contact = contacts.id AND kind = 1);
INSERT INTO vendor_ends (vendor, last)
    SELECT vendor, max(id) FROM entries WHERE kind <> 1 GROUP BY vendor;
INSERT INTO meta (key, value) SELECT 'late', max(id) FROM entries HAVING max(id) IS NOT NULL;
DROP INDEX entries_by_vendor;
DROP INDEX entries_by_contact;

-- The log is folded into the ledger some vendors at a time. What has been folded is taken off again
-- in rows of the same epoch, and an epoch's rows go together.
ALTER TABLE ledger_log ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;

-- Entries that were removed because they were old. The ledger counts them on, so a count of the
-- entries adds them.
CREATE TABLE removed (
    vendor  TEXT NOT NULL,
    kind    INTEGER NOT NULL,           -- 0 events, 1 intents
    account INTEGER NOT NULL,           -- as in entries
    n       INTEGER NOT NULL,
    PRIMARY KEY (vendor, kind, account)
) WITHOUT ROWID;
