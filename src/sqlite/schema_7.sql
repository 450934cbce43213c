-- Documents that are due in a store elsewhere. What they say is not copied here: it is read from the
-- entry when they are written.
CREATE TABLE outbox (
    entry INTEGER NOT NULL,
    what  INTEGER NOT NULL,             -- 0 the message, 1 that its customer needs a person
    deed  INTEGER NOT NULL DEFAULT 0,   -- 0 write, 1 write where there is nothing, 2 erase
    due   INTEGER,                      -- milliseconds since the Unix epoch; NULL: it is written
    n     INTEGER NOT NULL DEFAULT 0,   -- how often it was written
    said  INTEGER NOT NULL DEFAULT -1,  -- where the document says that the message stands
    tries INTEGER NOT NULL DEFAULT 0,   -- how often it was refused
    since INTEGER,                      -- when it was due that was tried in vain since
    PRIMARY KEY (entry, what)
) WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (due) WHERE due IS NOT NULL;
CREATE INDEX outbox_tried ON outbox (since) WHERE since IS NOT NULL;
