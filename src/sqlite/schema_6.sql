-- What was last known of vendors in a store elsewhere, for as long as that is away. Sealed; keys of
-- instances are keyed hashes.
CREATE TABLE known (
    vendor TEXT PRIMARY KEY,
    doc    BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE known_keys (
    key      BLOB NOT NULL,
    vendor   TEXT NOT NULL,
    instance TEXT NOT NULL,
    PRIMARY KEY (key, vendor, instance)
) WITHOUT ROWID;
CREATE INDEX known_keys_by_vendor ON known_keys (vendor);
-- Whose sends are stopped; '*' is everybody's, '' that it is known at all.
CREATE TABLE known_paused (vendor TEXT PRIMARY KEY) WITHOUT ROWID;
