-- What one linked device of a phone told and another one of the same phone has not told yet.
CREATE TABLE told_once (
    contact INTEGER NOT NULL,           -- 0: nobody is named
    at      INTEGER NOT NULL,           -- when the provider says it happened, in milliseconds
    entry   INTEGER NOT NULL,
    kind    INTEGER NOT NULL,           -- 0 message, 1 echo, 2 change; 4 more outside private chats
    via     TEXT NOT NULL,
    what    BLOB,                       -- keyed hash of what it says; NULL where none can tell
    PRIMARY KEY (contact, at, entry)
) WITHOUT ROWID;
