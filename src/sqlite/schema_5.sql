-- A key may end by itself, and shows when it was last used.
ALTER TABLE api_keys ADD COLUMN expires_at INTEGER;
ALTER TABLE api_keys ADD COLUMN used_at INTEGER;

-- What admins changed, and who.
CREATE TABLE audit (
    id     INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,            -- milliseconds since the Unix epoch
    by     TEXT NOT NULL,               -- a key's id, or 'cli'
    what   TEXT NOT NULL,               -- the operation's id, as in openapi.json
    vendor TEXT,
    about  TEXT                         -- the id of what was changed; never a value
);
CREATE INDEX audit_by_vendor ON audit (vendor, id) WHERE vendor IS NOT NULL;
