-- Vendors and numbers are counted without reading their documents.
CREATE INDEX vendors_by_pause ON vendors (paused);
ALTER TABLE instances ADD COLUMN provider TEXT NOT NULL DEFAULT 'wasender';
ALTER TABLE instances ADD COLUMN last_error TEXT;          -- a word of ours
ALTER TABLE instances ADD COLUMN last_failed_at INTEGER;   -- milliseconds since the Unix epoch
CREATE INDEX instances_by_status ON instances (status, provider);
CREATE INDEX instances_by_failure ON instances (last_failed_at) WHERE last_failed_at IS NOT NULL;
-- Ids of deleted instances are not given again: what is kept under one is not another number's.
CREATE TABLE former_instances (id TEXT PRIMARY KEY) WITHOUT ROWID;

-- What was heard of a vendor's callers, written every few seconds and not with each webhook.
CREATE TABLE vitals (
    vendor        TEXT PRIMARY KEY,
    verified_at   INTEGER,
    refused_at    INTEGER,
    refused_since INTEGER,              -- the first since one was proven
    n_refused     INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX vitals_refused ON vitals (vendor) WHERE refused_since IS NOT NULL;

-- Alerts that are open. One that concerns no vendor has an empty one.
CREATE TABLE alerts (
    kind   TEXT NOT NULL,
    vendor TEXT NOT NULL,
    since  INTEGER NOT NULL,
    PRIMARY KEY (kind, vendor)
) WITHOUT ROWID;

-- What the status of the whole is counted from, without reading every entry.
CREATE INDEX entries_stuck ON entries (vendor, account, kind, note) WHERE account IN (2, 3, 4);
CREATE INDEX contacts_paused ON contacts (paused_until) WHERE paused_until IS NOT NULL;

-- Messages counted by hour, for analytics and for knowing a number's habit. `what` is `in`, `out`,
-- `out:<status>`, `answered` (answers that left) or `answer_ms` (how long they took together).
CREATE TABLE hours (
    vendor TEXT NOT NULL,
    hour   INTEGER NOT NULL,            -- hours since the Unix epoch
    what   TEXT NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (vendor, hour, what)
) WITHOUT ROWID;
-- What was kept before there were counters.
INSERT INTO hours (vendor, hour, what, n)
    SELECT vendor, (id >> 20) / 3600000, CASE kind WHEN 0 THEN 'in' ELSE 'out' END, count(*)
    FROM entries WHERE kind IN (0, 2, 3) GROUP BY 1, 2, 3;
INSERT INTO hours (vendor, hour, what, n)
    SELECT vendor, hour, 'out:' || CASE
            WHEN kind = 3 AND is_open THEN 'waiting'
            WHEN kind = 2 AND state IS NULL THEN 'queued'
            WHEN kind = 3 OR state = 'sent' THEN CASE status
                WHEN 0 THEN 'pending' WHEN 2 THEN 'failed' WHEN 3 THEN 'delivered'
                WHEN 4 THEN 'read' WHEN 5 THEN 'played' ELSE 'sent' END
            WHEN state = 'waiting' THEN 'queued'
            WHEN state = 'begun' THEN 'sending'
            WHEN state = 'fenced' THEN 'unknown_yet'
            ELSE state END, count(*)
    FROM (SELECT vendor, (id >> 20) / 3600000 AS hour, kind, is_open, status,
            CASE json_type(life, '$.delivery.state')
                WHEN 'text' THEN life ->> '$.delivery.state'
                ELSE (SELECT key FROM json_each(life, '$.delivery.state')) END AS state
        FROM (SELECT vendor, id, kind, is_open, status, CASE life WHEN '' THEN '{}' ELSE life END
                AS life FROM entries WHERE kind IN (2, 3)))
    GROUP BY 1, 2, 3;

-- Keyed hashes of erased customers' names, for as long as what they sent may come again.
CREATE TABLE erased (
    key     BLOB PRIMARY KEY,
    contact INTEGER NOT NULL,           -- its number in the dedupe keys
    at      INTEGER NOT NULL
) WITHOUT ROWID;

-- Files. A customer's has the id of its message and stays encrypted as WhatsApp made it; its key is
-- in the message. An uploaded one is encrypted in the same way under a key of its own.
CREATE TABLE media (
    id       TEXT PRIMARY KEY,          -- msg_… or med_…
    vendor   TEXT NOT NULL,
    contact  INTEGER,
    entry    INTEGER,                   -- the message it came with
    state    INTEGER NOT NULL,          -- 0 to be fetched, 1 kept, 2 given up
    due      INTEGER NOT NULL,          -- when it is to be fetched, milliseconds since the Unix epoch
    tries    INTEGER NOT NULL DEFAULT 0,
    note     TEXT,                      -- a word: why it was given up
    n_bytes  INTEGER,                   -- of the clear file
    doc      BLOB,                      -- sealed: type, name and, of an uploaded one, the key
    made_at  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX media_due ON media (due) WHERE state = 0;
CREATE INDEX media_by_contact ON media (contact) WHERE contact IS NOT NULL;
CREATE INDEX media_by_vendor ON media (vendor, n_bytes) WHERE state = 1;
CREATE INDEX media_by_age ON media (made_at);

-- Events on their way to vendors' own back ends. One that was taken is gone. The id is never given
-- twice, also after a restore from a backup: the time is in its upper bits, as in that of entries.
CREATE TABLE forwards (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    vendor  TEXT NOT NULL,
    entry   INTEGER NOT NULL,           -- the event or intent it tells of
    what    TEXT NOT NULL,              -- the type of the forwarded event
    word    TEXT,                       -- a status, where it tells of one
    reason  TEXT,                       -- why, in a word
    state   INTEGER NOT NULL DEFAULT 0, -- 0 waiting, 1 dead
    due     INTEGER NOT NULL,           -- milliseconds since the Unix epoch
    expires INTEGER NOT NULL,
    tries   INTEGER NOT NULL DEFAULT 0,
    note    TEXT                        -- a word: what the last try came to
);
CREATE INDEX forwards_by_turn ON forwards (vendor, due, id) WHERE state = 0;
CREATE INDEX forwards_by_vendor ON forwards (vendor, state, id);
CREATE INDEX forwards_by_expiry ON forwards (state, expires);
CREATE INDEX forwards_by_entry ON forwards (entry);
