-- Numbers, texts and secrets are sealed (see vault.rs) or present as keyed hashes only.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- Store -----------------------------------------------------------------------------------------

CREATE TABLE vendors (
    id     TEXT PRIMARY KEY,
    doc    BLOB NOT NULL,               -- sealed settings
    paused INTEGER NOT NULL DEFAULT 0   -- sending stopped by a person
) WITHOUT ROWID;

CREATE TABLE instances (
    id        TEXT PRIMARY KEY,
    vendor    TEXT NOT NULL,
    doc       BLOB NOT NULL,            -- sealed settings and credentials
    status    TEXT NOT NULL,
    last_sync INTEGER
) WITHOUT ROWID;
CREATE INDEX instances_by_vendor ON instances (vendor);

-- Keyed hashes of what an instance is found by. One claimed by two vendors finds neither.
CREATE TABLE instance_keys (
    key      BLOB NOT NULL,
    instance TEXT NOT NULL,
    PRIMARY KEY (key, instance)
) WITHOUT ROWID;
CREATE INDEX instance_keys_by_instance ON instance_keys (instance);

CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    vendor     TEXT,                    -- NULL is an admin's
    read_only  INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- What other processes changed: a running server drops what it holds of that vendor.
CREATE TABLE changes (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    vendor TEXT NOT NULL
);

-- Journal ---------------------------------------------------------------------------------------

CREATE TABLE contacts (
    id           INTEGER PRIMARY KEY,
    instance     TEXT NOT NULL,
    doc          BLOB NOT NULL,         -- sealed address and name
    paused_until INTEGER,               -- milliseconds since the Unix epoch
    paused_at    INTEGER,
    pause_reason TEXT
);

-- Keyed hashes of (instance, phone | LID). A contact has as many as are known.
CREATE TABLE aliases (
    key     BLOB PRIMARY KEY,
    contact INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX aliases_by_contact ON aliases (contact);

CREATE TABLE entries (
    id       INTEGER PRIMARY KEY,       -- time and counter, in commit order
    kind     INTEGER NOT NULL,          -- 0 message, 1 signal, 2 intent, 3 echo
    account  INTEGER NOT NULL,          -- 0 waiting, 1 done or sent, 2 unknown, 3 parked, 4 dead
    is_open  INTEGER NOT NULL,          -- something is still to be done or waited for
    vendor   TEXT NOT NULL,
    instance TEXT NOT NULL,
    contact  INTEGER,
    pid      BLOB,                      -- keyed hash of the provider's message id; a customer's
                                        -- message is found by its dedupe key instead
    tid      BLOB,                      -- keyed hash of the provider's own number for an intent
    text_key INTEGER,                   -- keyed hash of the text of an intent
    begun_at INTEGER,                   -- when its last attempt began
    origin   INTEGER,                   -- the entry it answers or speaks of
    status   INTEGER,
    note     TEXT,                      -- a word: why it ended so
    body     BLOB NOT NULL,             -- sealed
    life     TEXT NOT NULL              -- state and journey, no private data
);
CREATE INDEX entries_by_vendor ON entries (vendor, id);
CREATE INDEX entries_by_contact ON entries (contact, id) WHERE contact IS NOT NULL;
CREATE INDEX entries_by_pid ON entries (pid) WHERE pid IS NOT NULL;
CREATE INDEX entries_by_tid ON entries (tid) WHERE tid IS NOT NULL;
CREATE INDEX entries_open ON entries (id) WHERE is_open = 1;
CREATE INDEX entries_unlinked ON entries (instance, begun_at) WHERE begun_at IS NOT NULL AND pid IS NULL;

-- The dedupe keys are in tables of their own, one a day, dropped whole: keys_<day>.

CREATE TABLE idempotency (
    key   BLOB PRIMARY KEY,             -- keyed hash of vendor and Idempotency-Key
    body  BLOB NOT NULL,                -- keyed hash of the request
    entry INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX idempotency_by_entry ON idempotency (entry);

CREATE TABLE ledger (
    vendor          TEXT PRIMARY KEY,
    accepted        INTEGER NOT NULL DEFAULT 0,
    duplicates      INTEGER NOT NULL DEFAULT 0,
    events_waiting  INTEGER NOT NULL DEFAULT 0,
    events_done     INTEGER NOT NULL DEFAULT 0,
    events_parked   INTEGER NOT NULL DEFAULT 0,
    events_dead     INTEGER NOT NULL DEFAULT 0,
    created         INTEGER NOT NULL DEFAULT 0,
    intents_waiting INTEGER NOT NULL DEFAULT 0,
    intents_sent    INTEGER NOT NULL DEFAULT 0,
    intents_unknown INTEGER NOT NULL DEFAULT 0,
    intents_parked  INTEGER NOT NULL DEFAULT 0,
    intents_dead    INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- What the latest transactions add to the ledger, one row each; folded into it from time to time,
-- because a row of each vendor in each transaction would cost more than the events.
CREATE TABLE ledger_log (
    seq    INTEGER PRIMARY KEY,
    deltas TEXT NOT NULL
);
