-- One message to many recipients. What is said, and to whom, is sealed.
CREATE TABLE bulk_jobs (
    id         INTEGER PRIMARY KEY,
    vendor     TEXT NOT NULL,
    instance   TEXT NOT NULL,
    state      INTEGER NOT NULL,            -- 0 being taken, 1 running, 2 paused, 3 cancelled, 4 done
    note       TEXT,                        -- why it is paused
    per_minute INTEGER,                     -- NULL: as fast as the number may
    n_total    INTEGER NOT NULL DEFAULT 0,  -- recipients
    n_same     INTEGER NOT NULL DEFAULT 0,  -- given again, and not sent to again
    n_made     INTEGER NOT NULL DEFAULT 0,  -- recipients who have become intents
    made_since INTEGER NOT NULL DEFAULT 0,  -- the same, when it last began to run
    key        BLOB UNIQUE,                 -- the Idempotency-Key, as a keyed hash
    request    BLOB,                        -- what was asked, as a keyed hash
    doc        BLOB NOT NULL,
    made_at    INTEGER NOT NULL,            -- milliseconds since the Unix epoch
    ended_at   INTEGER
);
CREATE INDEX bulk_jobs_by_vendor ON bulk_jobs (vendor, id);
CREATE INDEX bulk_jobs_by_state ON bulk_jobs (state);
-- Who has become an intent, or is not to, is blank but for that.
CREATE TABLE bulk_recipients (
    id    INTEGER PRIMARY KEY,
    job   INTEGER NOT NULL,
    line  INTEGER NOT NULL,
    who   BLOB,                             -- as in aliases
    entry INTEGER,                          -- the intent; of several parts, the first
    note  TEXT,                             -- why there is none, and will be none
    doc   BLOB NOT NULL
);
CREATE UNIQUE INDEX bulk_recipients_who ON bulk_recipients (who, job) WHERE who IS NOT NULL;
CREATE INDEX bulk_recipients_of_job ON bulk_recipients (job, id);
CREATE INDEX bulk_recipients_waiting ON bulk_recipients (job, id) WHERE entry IS NULL AND note IS NULL;
