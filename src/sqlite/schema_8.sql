-- When each customer last wrote through a provider that lets free text through only for a day
-- after that.
CREATE TABLE windows (
    contact  INTEGER NOT NULL,
    provider TEXT NOT NULL,
    wrote_at INTEGER NOT NULL,          -- milliseconds since the Unix epoch
    PRIMARY KEY (contact, provider)
) WITHOUT ROWID;
